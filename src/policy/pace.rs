//! How soon to look again at a program that writes a little at a time and very often. To be woken
//! for each write costs both sides more than the write, so whoever has found the pipe empty again
//! and again lets a moment pass before the next look, as network drivers do with interrupts. The
//! moment is too short to be noticed and to fill the pipe, and a line that comes alone never waits.

use crate::units::Mono;
use std::time::Duration;

/// What one turn of reading has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Reads that brought anything.
    pub reads: u32,
    /// Those of packets, or of less than a page.
    pub small: u32,
    /// What all of them brought.
    pub bytes: usize,
    /// Then nothing was left.
    pub emptied: bool,
}

/// In a millisecond the level falls to its half.
const WINDOW: Duration = Duration::from_millis(1);
/// Small reads of late from which on it is a flood: more than the runtime needs for a snapshot of
/// a few dozen Ps, which it prints piece by piece.
pub const FLOOD: u32 = 64;
/// The level rises no higher: a flood is over soon after its end.
const LEVEL_MAX: u32 = 4 * FLOOD;
/// What a pause has to bring to be worth another one.
const WORTH_READS: u32 = 8;
const WORTH_BYTES: usize = 1 << 10;
/// The longest pause, and the shortest that is worth going to sleep.
const PAUSE: Duration = Duration::from_micros(100);
const PAUSE_LEAST: Duration = Duration::from_micros(20);
/// From one empty pipe to the next at most: a longer time was not all spent writing.
const CYCLE: Duration = Duration::from_micros(250);
/// So much later than asked for the kernel may wake us (prctl(2), PR_SET_TIMERSLACK), and a bit.
const SLACK: Duration = Duration::from_micros(60);
const PAGE: usize = 4_096;

/// The state of the decision.
#[derive(Debug)]
pub struct Pace {
    /// Pages that the program's pipe holds; a packet takes one, whatever its length.
    pages: u32,
    packets: bool,
    /// Small reads of late, and since when they count.
    level: u32,
    since: Mono,
    /// When the pipe was last seen empty.
    emptied: Mono,
    /// The last turn was followed by a pause.
    paused: bool,
}

impl Pace {
    /// The pace of a program with a pipe of so many bytes.
    #[must_use]
    pub fn new(pipe_bytes: usize, packets: bool) -> Self {
        let pages = u32::try_from(pipe_bytes / PAGE).unwrap_or(u32::MAX);
        let zero = Mono::default();
        Self { pages, packets, level: 0, since: zero, emptied: zero, paused: false }
    }

    /// Whether the program has been writing a little at a time and very often.
    #[must_use]
    pub fn floods(&self) -> bool {
        self.level >= FLOOD
    }

    /// Takes what a turn that has just ended found; gives how long to leave the pipe alone.
    pub fn turn(&mut self, now: Mono, found: Found) -> Option<Duration> {
        self.fade(now);
        let worth = found.reads >= WORTH_READS || found.bytes >= WORTH_BYTES;
        let more = if self.paused && worth { FLOOD } else { found.small };
        self.level = self.level.saturating_add(more).min(LEVEL_MAX);
        if self.paused && found.reads == 0 {
            self.level = 0;
        }
        self.paused = false;
        if !found.emptied {
            return None;
        }
        let elapsed = now.since(self.emptied).min(CYCLE);
        self.emptied = now;
        if !self.floods() {
            return None;
        }
        // In a stream a page may hold one write of little more than its half.
        let halves = found.bytes.div_ceil(PAGE / 2);
        let streamed = u32::try_from(halves).unwrap_or(u32::MAX);
        let taken = if self.packets { found.reads } else { streamed };
        let until_half_full = elapsed.saturating_mul(self.pages / 2) / taken.max(1);
        let pause = until_half_full.saturating_sub(SLACK).min(PAUSE);
        self.paused = pause >= PAUSE_LEAST;
        self.paused.then_some(pause)
    }

    /// Halves the level for each window that has passed.
    fn fade(&mut self, now: Mono) {
        let windows = now.since(self.since).as_nanos() / WINDOW.as_nanos();
        if windows > 0 {
            let windows = u32::try_from(windows).unwrap_or(u32::MAX);
            self.level = self.level.checked_shr(windows).unwrap_or(0);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIPE: usize = 1 << 20;

    /// Turns of so many small reads of 120 bytes, one each `every_us`; gives the pauses in us.
    fn pauses(pace: &mut Pace, turns: u64, reads: u32, every_us: u64) -> Vec<Option<u128>> {
        let bytes = usize::try_from(reads).unwrap() * 120;
        let found = Found { reads, small: reads, bytes, emptied: true };
        let start = pace.emptied;
        let mut turn = |number| {
            let now = start.after(Duration::from_micros(every_us * number));
            pace.turn(now, found).map(|pause| pause.as_micros())
        };
        (1..=turns).map(&mut turn).collect()
    }

    #[test]
    fn lines_that_come_one_by_one_are_read_at_once() {
        for every_us in [40, 1_000, 1_000_000] {
            let mut pace = Pace::new(PIPE, true);
            assert!(pauses(&mut pace, 1_000, 1, every_us).iter().all(Option::is_none));
            assert!(!pace.floods());
        }
    }

    #[test]
    fn a_snapshot_in_pieces_is_read_at_once() {
        let mut pace = Pace::new(PIPE, true);
        assert!(pauses(&mut pace, 50, 60, 1_000_000).iter().all(Option::is_none));
    }

    #[test]
    fn a_flood_of_lines_is_read_in_pauses_that_end_with_it() {
        for packets in [true, false] {
            let mut pace = Pace::new(PIPE, packets);
            let found = pauses(&mut pace, 200, 1, 5);
            assert!(found[..60].iter().all(Option::is_none), "{found:?}");
            assert_eq!(found[199], Some(100));
        }
        // What the pauses bring keeps them up, and nothing more does.
        let mut pace = Pace::new(PIPE, false);
        assert!(pauses(&mut pace, 200, 1, 5).iter().any(Option::is_some));
        assert_eq!(pauses(&mut pace, 50, 30, 150).last(), Some(&Some(100)));
        assert_eq!(pauses(&mut pace, 50, 1, 150).last(), Some(&None));
        let mut pace = Pace::new(PIPE, true);
        assert_eq!(pauses(&mut pace, 200, 1, 5).last(), Some(&Some(100)));
        let nothing = Found { emptied: true, ..Found::default() };
        assert_eq!((pace.turn(pace.emptied, nothing), pace.floods()), (None, false));
    }

    #[test]
    fn a_pause_leaves_half_of_the_pipe_free() {
        for (pages, reads, every_us) in [(256, 200, 150), (256, 256, 150), (16, 3, 10), (16, 8, 90)]
        {
            let mut pace = Pace::new(pages * PAGE, true);
            let last = *pauses(&mut pace, 300, reads, every_us).last().unwrap();
            let half = u128::try_from(pages / 2).unwrap() * u128::from(every_us);
            let fills = |pause| (pause + SLACK.as_micros()) * u128::from(reads);
            assert!(last.is_none_or(|pause| fills(pause) <= half), "{pages} {reads} {last:?}");
        }
    }

    #[test]
    fn while_there_is_more_nobody_pauses() {
        let mut pace = Pace::new(PIPE, true);
        let found = Found { reads: 500, small: 500, bytes: 60_000, emptied: false };
        let pauses = (1..50).map(|ms| pace.turn(Mono(ms * 500_000), found));
        assert!(pauses.flatten().next().is_none() && pace.floods());
    }
}
