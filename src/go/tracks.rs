//! The runtimes that print, as far as their snapshots tell: what each printed last. The figures of
//! one runtime only go on from there, so a record whose figures go on from nobody's is one that
//! was put together of two.

use super::snapshot::Snapshot;

/// Runtimes that are kept; the one that printed longest ago gives way.
const TRACKS: usize = 64;
/// Snapshots of others after which a runtime is taken to have ended.
const ENDED: u64 = 256;
/// Milliseconds that may lie between two snapshots of a runtime beyond four times what was seen:
/// it may have been throttled.
const SLACK: u64 = 500;

/// What one runtime printed last.
#[derive(Clone, Debug)]
struct Track {
    last: Snapshot,
    /// The longest time between two of its snapshots, in milliseconds.
    gap: u64,
    /// When it was seen, in snapshots.
    seen: u64,
}

impl Track {
    /// Whether the snapshot can be the next one of this runtime (runtime/proc.go, `schedtrace`).
    /// Ms that end are not counted any more, which is rare: such a snapshot is taken for that of
    /// a new runtime.
    fn continues(&self, next: &Snapshot) -> bool {
        let last = &self.last;
        let gap = next.uptime_ms.checked_sub(last.uptime_ms);
        let most = self.gap.saturating_mul(4).saturating_add(SLACK);
        let ticks = || {
            last.schedticks.len() != next.schedticks.len()
                || last.schedticks.iter().zip(&next.schedticks).all(|(before, now)| before <= now)
        };
        next.gomaxprocs == last.gomaxprocs
            && next.needspinning.is_some() == last.needspinning.is_some()
            && gap.is_some_and(|gap| gap <= most)
            && next.threads >= last.threads
            && ticks()
    }

    /// How far the snapshot is from what this runtime usually prints next, `usual` milliseconds
    /// later.
    fn distance(&self, next: &Snapshot, usual: u64) -> u64 {
        let ticks = self.last.schedticks.iter().zip(&next.schedticks);
        let ticks: u64 = ticks.map(|(before, now)| u64::from(now.abs_diff(*before))).sum();
        let gap = next.uptime_ms.saturating_sub(self.last.uptime_ms);
        ticks.saturating_add(gap.abs_diff(usual))
    }
}

/// The runtimes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    all: Vec<Track>,
    seen: u64,
    /// Milliseconds between two snapshots of a runtime, usually.
    usual: u64,
}

impl Tracks {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the snapshot goes on from that of a known runtime, or is the first of one: that
    /// one is printed at 0 ms.
    pub(super) fn knows(&self, next: &Snapshot) -> bool {
        next.uptime_ms == 0 || self.all.iter().any(|track| track.continues(next))
    }

    /// Takes note of a snapshot that was printed so.
    pub(super) fn note(&mut self, next: &Snapshot) {
        self.seen = self.seen.saturating_add(1);
        let (seen, usual) = (self.seen, self.usual);
        // Without ticks runtimes look alike: what each printed is kept for a while.
        let told = !next.schedticks.is_empty();
        let nearest = self.all.iter_mut().filter(|track| told && track.continues(next));
        if let Some(track) = nearest.min_by_key(|track| track.distance(next, usual)) {
            let gap = next.uptime_ms.saturating_sub(track.last.uptime_ms);
            track.gap = track.gap.max(gap);
            // A mean of the last ones.
            self.usual = usual.saturating_mul(7).saturating_add(gap).div_ceil(8);
            let mut ticks = std::mem::take(&mut track.last.schedticks);
            if !next.schedticks.is_empty() {
                ticks.clone_from(&next.schedticks);
            }
            track.last = Snapshot {
                local: Vec::new(),
                schedticks: ticks,
                more: String::new(),
                detail: None,
                ..*next
            };
            track.seen = seen;
            return;
        }
        self.all.retain(|track| track.seen.saturating_add(ENDED) > seen);
        if self.all.len() >= TRACKS {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, track)| track.seen);
            if let Some((at, _)) = oldest {
                self.all.swap_remove(at);
            }
        }
        let last = Snapshot { detail: None, local: Vec::new(), ..next.clone() };
        self.all.push(Track { last, gap: usual, seen });
    }
}
