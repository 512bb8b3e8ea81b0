//! A crash that was printed by a program that then does not end.
//!
//! From Go 1.24 on `fatal` (runtime/panic.go) holds the lock of printing and wants the scheduler's,
//! while the runtime's monitor, which prints a snapshot, holds and wants them the other way round.
//! Then nothing in the process moves any more, SIGTERM is not answered, and there are no snapshots.
//!
//! The same words can be anybody's: a program may print them as text, or pass on what a child of
//! its own said. So only a program is ended that has had a heartbeat and lost it, that says nothing,
//! uses no CPU time and writes nothing (a core dump takes its time), for long.

use super::progress::Sample;
use crate::units::Mono;
use std::time::Duration;

/// So long nothing moves before it counts, and so many heartbeats at least.
const LIMIT: Duration = Duration::from_secs(10);
const BEATS: u32 = 5;
/// How long the last sample may take to arrive.
const ANSWER: Duration = Duration::from_secs(1);
/// CPU time that even a process that does nothing may have used between two looks, µs.
const IDLE_CPU_US: u64 = 20_000;

/// Watches what follows a crash.
#[derive(Debug)]
pub(super) struct Hang {
    limit: Duration,
    /// It has had a heartbeat.
    beats: bool,
    silence: Option<Silence>,
    /// It is stopped by a signal: what does not run cannot end.
    stopped: bool,
}

/// Nothing was heard since a crash, or since the last that was heard after it.
#[derive(Debug)]
struct Silence {
    since: Mono,
    looks: u8,
    before: Option<Sample>,
}

impl Silence {
    fn new(since: Mono) -> Self {
        Self { since, looks: 0, before: None }
    }

    /// When the next look is due.
    fn due(&self, limit: Duration) -> Mono {
        self.since.after(match self.looks {
            0 => limit / 2,
            1 => limit,
            _ => limit + ANSWER,
        })
    }
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the program's counters.
    Look,
    /// It has locked itself up.
    Hung,
}

impl Hang {
    /// Nothing has crashed; `heartbeat` is the interval of the program's snapshots.
    pub(super) fn new(heartbeat: Duration) -> Self {
        Self { limit: LIMIT.max(heartbeat * BEATS), beats: false, silence: None, stopped: false }
    }

    /// A runtime that goes on did not crash, whatever was printed.
    pub(super) fn beat(&mut self) {
        self.beats = true;
        self.silence = None;
    }

    /// The words of a crash were printed.
    pub(super) fn crashed(&mut self, now: Mono) {
        self.silence = self.beats.then(|| Silence::new(now));
    }

    /// Something was printed, or time passed in which it could not have been.
    pub(super) fn heard(&mut self, now: Mono) {
        self.silence = self.silence.take().map(|_| Silence::new(now));
    }

    /// It was stopped or goes on.
    pub(super) fn stopped(&mut self, now: Mono, stopped: bool) {
        self.stopped = stopped;
        self.heard(now);
    }

    /// Its counters.
    pub(super) fn sampled(&mut self, now: Mono, sample: &Sample) {
        let Some(silence) = self.silence.as_mut().filter(|silence| silence.looks > 0) else {
            return;
        };
        match &silence.before {
            Some(before) if moved(before, sample) => self.heard(now),
            Some(_) => {}
            None => silence.before = Some(*sample),
        }
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Mono) -> Option<Step> {
        let silence = self.silence.as_mut().filter(|_| !self.stopped)?;
        if now < silence.due(self.limit) {
            return None;
        }
        if silence.looks < 2 {
            silence.looks += 1;
            return Some(Step::Look);
        }
        self.silence = None;
        Some(Step::Hung)
    }

    /// The next instant at which something is due.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let silence = self.silence.as_ref().filter(|_| !self.stopped)?;
        Some(silence.due(self.limit))
    }
}

/// Whether the process did anything between two samples, as far as they can tell.
fn moved(before: &Sample, after: &Sample) -> bool {
    let more = |of: fn(&Sample) -> Option<u64>, idle: u64| {
        of(after).zip(of(before)).is_some_and(|(after, before)| after.abs_diff(before) > idle)
    };
    after.stopped
        || more(|sample| sample.cpu_us, IDLE_CPU_US)
        || more(|sample| sample.read_bytes, 0)
        || more(|sample| sample.written_bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn sample(cpu_us: u64, written: u64) -> Sample {
        Sample { cpu_us: Some(cpu_us), written_bytes: Some(written), ..Sample::default() }
    }

    /// A program with a heartbeat every second that crashed at second 1.
    fn crashed() -> Hang {
        let mut hang = Hang::new(Duration::from_secs(1));
        hang.beat();
        hang.crashed(at(1));
        hang
    }

    #[test]
    fn a_lost_heartbeat_and_no_movement_are_a_hang() {
        let mut hang = crashed();
        assert_eq!(hang.deadline(), Some(at(6)));
        assert_eq!(hang.tick(at(5)), None);
        assert_eq!(hang.tick(at(6)), Some(Step::Look));
        hang.sampled(at(6), &sample(100_000, 7));
        assert_eq!(hang.tick(at(11)), Some(Step::Look));
        hang.sampled(at(11), &sample(101_000, 7));
        assert_eq!(hang.tick(at(11)), None);
        assert_eq!(hang.tick(at(12)), Some(Step::Hung));
        assert_eq!((hang.tick(at(60)), hang.deadline()), (None, None));
    }

    #[test]
    fn without_a_heartbeat_before_nobody_is_accused() {
        let mut hang = Hang::new(Duration::from_secs(1));
        hang.crashed(at(1));
        assert_eq!((hang.tick(at(100)), hang.deadline()), (None, None));
    }

    #[test]
    fn a_heartbeat_after_it_denies_the_crash() {
        let mut hang = crashed();
        hang.beat();
        assert_eq!(hang.tick(at(100)), None);
    }

    #[test]
    fn a_rare_heartbeat_is_waited_for() {
        let mut hang = Hang::new(Duration::from_secs(60));
        hang.beat();
        hang.crashed(at(0));
        assert_eq!(hang.deadline(), Some(at(150)));
    }

    #[test]
    fn whatever_moves_is_waited_for() {
        // Words, and time in which goinit did not run.
        let mut hang = crashed();
        hang.heard(at(5));
        assert_eq!(hang.deadline(), Some(at(10)));
        // CPU time, and bytes of a core dump.
        for later in [sample(130_000, 7), sample(100_000, 8)] {
            let mut hang = crashed();
            hang.tick(at(6));
            hang.sampled(at(6), &sample(100_000, 7));
            hang.tick(at(11));
            hang.sampled(at(11), &later);
            assert_eq!(hang.tick(at(12)), None);
            assert_eq!(hang.deadline(), Some(at(16)));
        }
        // SIGSTOP.
        let mut hang = crashed();
        hang.stopped(at(2), true);
        assert_eq!((hang.tick(at(90)), hang.deadline()), (None, None));
        hang.stopped(at(90), false);
        assert_eq!(hang.deadline(), Some(at(95)));
    }
}
