//! Time in a captured log. A collector's stamps are the truth; without them a snapshot says how
//! long its runtime has been up, and what stands between two snapshots happened between them.

use crate::units::{Mono, Wall};
use std::time::Duration;

/// Runtimes that are told apart by their uptime; several may print to one stderr.
const RUNTIMES: usize = 32;
/// Differences from which the heartbeat's interval is guessed.
const SAMPLES: usize = 64;

/// One Go runtime that prints snapshots.
#[derive(Clone, Copy, Debug, Default)]
struct Runtime {
    /// The story's time at its first snapshot, less that one's uptime.
    base: Mono,
    /// Uptime of its last snapshot, ms.
    last: u64,
}

/// The time of a story: zero at its first line.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Now; never goes back.
    pub now: Mono,
    /// The collector's time of the story's zero.
    pub origin: Option<Wall>,
    /// The collector's first stamp, and whether a later one was another: whoever reads a whole file
    /// at once stamps all of it alike, which tells nothing.
    stamp: Option<Wall>,
    stamps_move: bool,
    /// The story's zero in the time that the program states itself.
    stated: Option<Wall>,
    runtimes: Vec<Runtime>,
    /// Milliseconds between ordinary snapshots of one runtime.
    pauses: Vec<u64>,
    /// Their median.
    usual: Option<u64>,
    /// Set when it was told rather than guessed, ms.
    told: Option<u64>,
}

impl Clock {
    /// A collector's stamp.
    pub fn wall(&mut self, wall: Wall) {
        self.stamps_move |= self.stamp.is_some_and(|first| first != wall);
        self.stamp.get_or_insert(wall);
        let origin = *self.origin.get_or_insert_with(|| Wall(wall.0.saturating_sub(self.now.0)));
        self.now = self.now.max(Mono(wall.0.saturating_sub(origin.0)));
    }

    /// The time that a line of the program states, where nobody else tells any. In which zone it
    /// is remains open, so it only measures.
    pub fn own(&mut self, wall: Wall) {
        if self.origin.is_some() {
            return;
        }
        let first = *self.stated.get_or_insert_with(|| Wall(wall.0.saturating_sub(self.now.0)));
        self.now = self.now.max(Mono(wall.0.saturating_sub(first.0)));
    }

    /// A snapshot's uptime; `extra` = it was printed out of turn, at a crash or with
    /// scheddetail; `moves` = nobody else says what time it is.
    pub fn uptime(&mut self, uptime_ms: u64, extra: bool, moves: bool) {
        let at = self.runtime(uptime_ms, extra);
        let Some(runtime) = self.runtimes.get_mut(at) else { return };
        let pause = uptime_ms.saturating_sub(runtime.last);
        if self.pauses.len() < SAMPLES && pause > 0 && runtime.last > 0 {
            self.pauses.push(pause);
            let mut sorted = self.pauses.clone();
            sorted.sort_unstable();
            self.usual = sorted.get(sorted.len() / 2).copied();
        }
        runtime.last = uptime_ms;
        if moves || (self.stamp.is_some() && !self.stamps_move) {
            self.now = self.now.max(runtime.base.after(Duration::from_millis(uptime_ms)));
        }
    }

    /// The runtime that this snapshot goes on with: uptimes only grow, and between two snapshots
    /// that are not out of turn lies at least the interval (runtime/proc.go, `sysmon`).
    fn runtime(&mut self, uptime_ms: u64, extra: bool) -> usize {
        let usual = u64::try_from(self.interval().as_millis()).unwrap_or(0);
        let least = if extra || self.pauses.is_empty() { 0 } else { usual / 2 };
        let fits = |runtime: &Runtime| match uptime_ms.checked_sub(runtime.last) {
            Some(0) => extra,
            Some(pause) => pause >= least,
            None => false,
        };
        let known = self.runtimes.iter().enumerate().filter(|(_, runtime)| fits(runtime));
        if let Some((at, _)) = known.max_by_key(|(_, runtime)| runtime.last) {
            return at;
        }
        let base = Mono(self.now.0.saturating_sub(uptime_ms.saturating_mul(1_000_000)));
        if self.runtimes.len() >= RUNTIMES {
            self.runtimes.remove(0);
        }
        self.runtimes.push(Runtime { base, last: uptime_ms });
        self.runtimes.len().saturating_sub(1)
    }

    /// How many runtimes were told apart.
    #[must_use]
    pub fn runtimes(&self) -> usize {
        self.runtimes.len()
    }

    /// The heartbeat's interval was stated.
    pub fn heartbeat(&mut self, milliseconds: u64) {
        self.told = Some(milliseconds).filter(|ms| *ms > 0);
    }

    /// The interval of the heartbeat; a second when there were too few.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.told.or(self.usual).unwrap_or(1_000))
    }

    /// How many heartbeats came late, percent: by a fifth of the interval, 20 ms at least.
    /// sysmon itself is late by 10 ms at most (runtime/proc.go).
    #[must_use]
    pub fn late_percent(&self) -> Option<u64> {
        const FEW: usize = 8;
        let mut sorted = self.pauses.clone();
        sorted.sort_unstable();
        let usual = sorted.get(sorted.len() / 4).copied().filter(|_| sorted.len() >= FEW)?;
        let limit = usual.saturating_add((usual / 5).max(20));
        let late = sorted.iter().filter(|pause| **pause > limit).count();
        u64::try_from(late * 100 / sorted.len().max(1)).ok()
    }

    /// The collector's time of an instant.
    #[must_use]
    pub fn wall_at(&self, at: Mono) -> Option<Wall> {
        self.origin.map(|origin| Wall(origin.0.saturating_add(at.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Mono {
        Mono(milliseconds * 1_000_000)
    }

    #[test]
    fn snapshots_move_time_and_stamps_overrule_them() {
        let mut clock = Clock::default();
        for uptime in [0, 200, 405] {
            clock.uptime(uptime, false, true);
        }
        assert_eq!(clock.now, at(405));
        clock.wall(Wall(5_000_000_000));
        assert_eq!(clock.now, at(405));
        clock.wall(Wall(6_000_000_000));
        assert_eq!(clock.now, at(1_405));
        clock.uptime(9_000, false, false);
        assert_eq!(clock.now, at(1_405));
    }

    #[test]
    fn stamps_that_are_all_alike_tell_no_time() {
        let mut clock = Clock::default();
        for uptime in [0, 200, 405] {
            clock.wall(Wall(5_000_000_000));
            clock.uptime(uptime, false, false);
        }
        assert_eq!(clock.now, at(405));
    }

    #[test]
    fn runtimes_are_told_apart_by_their_uptime() {
        let mut clock = Clock::default();
        for uptime in [0, 200, 0, 400, 201, 601, 402] {
            clock.uptime(uptime, false, true);
        }
        assert_eq!(clock.runtimes(), 2);
        assert_eq!(clock.interval(), Duration::from_millis(201));
        assert_eq!(clock.now, at(602));
    }
}
