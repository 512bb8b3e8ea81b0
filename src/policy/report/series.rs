//! A curve over a whole run in a fixed number of points: when they are used up, neighbours join.

use crate::go::snapshot::Snapshot;
use crate::units::Mono;

/// Points at most.
const POINTS: usize = 512;

/// Some snapshots in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When the first of them came.
    pub at: Mono,
    /// Processors at work, on average, as a share of all.
    pub busy: f32,
    /// The longest run queue.
    pub queue: u32,
    /// Most threads.
    pub threads: u32,
}

/// The curve.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    /// Snapshots in one point.
    width: u32,
    /// Snapshots in the last point.
    filled: u32,
}

impl Series {
    /// The points, oldest first.
    #[must_use]
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Takes a snapshot.
    pub fn push(&mut self, at: Mono, snapshot: &Snapshot) {
        let all = snapshot.gomaxprocs.max(1);
        let busy = f64::from(all.saturating_sub(snapshot.idleprocs)) / f64::from(all);
        let queue = u32::try_from(snapshot.queued()).unwrap_or(u32::MAX);
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
        let new = Point { at, busy: busy as f32, queue, threads: snapshot.threads };
        self.width = self.width.max(1);
        match self.points.last_mut() {
            Some(last) if self.filled < self.width => {
                join(last, &new, self.filled, 1);
                self.filled = self.filled.saturating_add(1);
            }
            Some(_) | None => {
                if self.points.len() >= POINTS {
                    self.halve();
                }
                self.points.push(new);
                self.filled = 1;
            }
        }
    }

    fn halve(&mut self) {
        let pairs = self.points.chunks(2).filter_map(|pair| {
            let mut first = *pair.first()?;
            if let Some(second) = pair.get(1) {
                join(&mut first, second, 1, 1);
            }
            Some(first)
        });
        self.points = pairs.collect();
        self.width = self.width.saturating_mul(2);
    }
}

#[expect(clippy::cast_precision_loss, reason = "weights of an average")]
fn join(into: &mut Point, other: &Point, have: u32, more: u32) {
    let (a, b) = (have as f32, more as f32);
    into.busy = (into.busy * a + other.busy * b) / (a + b).max(1.0);
    into.queue = into.queue.max(other.queue);
    into.threads = into.threads.max(other.threads);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_keeps_its_peaks_in_few_points() {
        let mut series = Series::default();
        for n in 0..100_000u32 {
            let runqueue = if n == 77_777 { 99 } else { 0 };
            let snapshot = Snapshot {
                gomaxprocs: 2,
                idleprocs: u32::from(n >= 50_000) * 2,
                threads: 5,
                runqueue,
                ..Snapshot::default()
            };
            series.push(Mono(u64::from(n)), &snapshot);
        }
        let points = series.points();
        assert!((POINTS / 2..=POINTS).contains(&points.len()), "{}", points.len());
        assert_eq!(points.iter().map(|point| point.queue).max(), Some(99));
        assert!(points[0].busy > 0.99 && points[points.len() - 1].busy < 0.01);
    }
}
