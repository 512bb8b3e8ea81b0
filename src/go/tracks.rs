//! The runtimes that print, as far as their snapshots tell: what each printed last. The figures of
//! one runtime only go on from there, so a record whose figures go on from nobody's is one that
//! was put together of two.

use super::snapshot::Snapshot;

/// Runtimes that are kept; the one that printed longest ago gives way.
const TRACKS: usize = 64;
/// Snapshots of others after which a runtime is taken to have ended.
const ENDED: u64 = 256;
/// Milliseconds that may lie between two snapshots beyond four times what was seen: a runtime may
/// have been throttled.
const SLACK: u64 = 500;

/// What one runtime printed last: the figures that its next snapshots go on from.
#[derive(Clone, Debug)]
struct Track {
    uptime_ms: u64,
    gomaxprocs: u32,
    threads: u32,
    needspinning: bool,
    schedticks: Vec<u32>,
    /// When it was seen, in snapshots.
    seen: u64,
}

impl Track {
    /// Whether the snapshot can be a later one of this runtime (runtime/proc.go, `schedtrace`).
    /// Ms that end are not counted any more, which is rare: such a snapshot is taken for that of
    /// a new runtime.
    fn continues(&self, next: &Snapshot) -> bool {
        let ticks = || {
            self.schedticks.len() != next.schedticks.len()
                || self.schedticks.iter().zip(&next.schedticks).all(|(before, now)| before <= now)
        };
        next.gomaxprocs == self.gomaxprocs
            && next.needspinning.is_some() == self.needspinning
            && next.uptime_ms >= self.uptime_ms
            && next.threads >= self.threads
            && ticks()
    }

    /// Milliseconds from its last snapshot to this one.
    fn gap(&self, next: &Snapshot) -> u64 {
        next.uptime_ms.saturating_sub(self.uptime_ms)
    }

    /// How far the snapshot is from what this runtime usually prints next, `usual` milliseconds
    /// later.
    fn distance(&self, next: &Snapshot, usual: u64) -> u64 {
        let ticks = self.schedticks.iter().zip(&next.schedticks);
        let ticks: u64 = ticks.map(|(before, now)| u64::from(now.abs_diff(*before))).sum();
        ticks.saturating_add(self.gap(next).abs_diff(usual))
    }
}

/// The runtimes.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    all: Vec<Track>,
    seen: u64,
    /// Milliseconds between two snapshots of a runtime, usually and at most; nothing is known before
    /// a runtime printed its second one. Without ticks, from the nearest of any that it may be.
    usual: u64,
    longest: Option<u64>,
}

impl Tracks {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the snapshot goes on from that of a known runtime, or is the first of one: that
    /// one is printed at 0 ms.
    pub(super) fn knows(&self, next: &Snapshot) -> bool {
        let most = self.longest.map_or(u64::MAX, |gap| gap.saturating_mul(4).saturating_add(SLACK));
        let mut tracks = self.all.iter();
        next.uptime_ms == 0 || tracks.any(|one| one.continues(next) && one.gap(next) <= most)
    }

    /// Takes note of a snapshot that was printed so.
    pub(super) fn note(&mut self, next: &Snapshot) {
        self.seen = self.seen.saturating_add(1);
        let (seen, usual) = (self.seen, self.usual);
        // Without ticks runtimes look alike: what each printed is kept for a while.
        let told = !next.schedticks.is_empty();
        let later = next.uptime_ms > 0;
        let tracks = self.all.iter_mut().filter(|track| later && track.continues(next));
        let nearest = tracks
            .min_by_key(|track| if told { track.distance(next, usual) } else { track.gap(next) });
        if let Some(track) = nearest {
            let gap = track.gap(next);
            // A mean of the last ones.
            self.usual = usual.saturating_mul(7).saturating_add(gap).div_ceil(8);
            self.longest = self.longest.max(Some(gap));
            if told {
                // It goes on from this track, so the rest of the figures are the same.
                (track.uptime_ms, track.threads, track.seen) = (next.uptime_ms, next.threads, seen);
                track.schedticks.clone_from(&next.schedticks);
                return;
            }
        }
        self.all.retain(|track| track.seen.saturating_add(ENDED) > seen);
        if self.all.len() >= TRACKS {
            let oldest = self.all.iter().enumerate().min_by_key(|(_, track)| track.seen);
            if let Some((at, _)) = oldest {
                self.all.swap_remove(at);
            }
        }
        self.all.push(Track {
            uptime_ms: next.uptime_ms,
            gomaxprocs: next.gomaxprocs,
            threads: next.threads,
            needspinning: next.needspinning.is_some(),
            schedticks: next.schedticks.clone(),
            seen,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(uptime_ms: u64, schedticks: &[u32]) -> Snapshot {
        let schedticks = schedticks.to_vec();
        Snapshot { uptime_ms, gomaxprocs: 2, threads: 4, schedticks, ..Snapshot::default() }
    }

    #[test]
    fn any_heartbeat_goes_on_with_and_without_ticks() {
        for ticks in [&[][..], &[7, 9]] {
            for period in [1, 200, 1_000, 60_000] {
                let mut tracks = Tracks::default();
                tracks.note(&snapshot(0, ticks));
                for beat in 1..100 {
                    let next = snapshot(beat * period, ticks);
                    assert!(tracks.knows(&next), "{beat} x {period} ms, {ticks:?}");
                    if beat % 3 > 0 {
                        tracks.note(&next);
                    }
                }
                // Two figures taken for one.
                assert!(!tracks.knows(&snapshot(period * 100_100 + 600, ticks)));
            }
        }
    }

    #[test]
    fn nothing_goes_back() {
        let mut tracks = Tracks::default();
        tracks.note(&snapshot(0, &[1, 1]));
        tracks.note(&snapshot(10, &[5, 9]));
        tracks.note(&snapshot(0, &[50, 20]));
        assert!(tracks.knows(&snapshot(20, &[5, 10])) && tracks.knows(&snapshot(5, &[50, 20])));
        assert!(!tracks.knows(&snapshot(5, &[49, 20])) && !tracks.knows(&snapshot(9, &[5, 9])));
        assert!(!tracks.knows(&Snapshot { threads: 3, ..snapshot(20, &[5, 10]) }));
    }
}
