//! What counts as progress: two readings of the program's counters become an [`Activity`].
//!
//! The figures behind the thresholds are measured: schedtrace keeps sysmon awake and costs about
//! 2 ms of CPU a second, a program that only ticks uses at most 0.02 % of a CPU, the smallest
//! healthy worker 0.9 %. Schedticks are no progress: a timer-woken goroutine inherits its time
//! slice and does not count (runtime/proc.go, `execute`).

use crate::units::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// CPU of the threads other than sysmon from which the program counts as moving, in thousandths
/// of one CPU.
pub const MOVING_PERMILLE: u64 = 5;
/// CPU from which it counts as burning, in thousandths of one CPU.
pub const BURNING_PERMILLE: u64 = 50;
/// Bytes a second that the runtime reads for itself: netpoll's eventfd, from Go 1.25 on the
/// control group's files once a second.
const OWN_READS: u64 = 256;

/// Cheap counters of the program at one instant, all cumulative. `None` = not readable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// When they were read.
    pub at: Mono,
    /// Bytes that read calls returned (`rchar` of /proc/PID/io).
    pub read_bytes: Option<u64>,
    /// Bytes that write calls took (`wchar`), the runtime's own output included.
    pub written_bytes: Option<u64>,
    /// Read calls (`syscr`), those that found nothing included.
    pub read_calls: Option<u64>,
    /// Write calls (`syscw`).
    pub write_calls: Option<u64>,
    /// CPU time of all threads but sysmon, µs.
    pub cpu_us: Option<u64>,
    /// Threads.
    pub threads: Option<u32>,
    /// Whether all of it is stopped by a signal (state T).
    pub stopped: bool,
    /// Enforcement periods of the control group's CPU quota.
    pub nr_periods: Option<u64>,
    /// Those of them in which it was throttled.
    pub nr_throttled: Option<u64>,
}

/// What moved between two samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// It read or wrote more than the runtime does by itself.
    pub io: bool,
    /// CPU of the threads other than sysmon, in thousandths of one CPU.
    pub cpu_permille: Option<u64>,
    /// Percent of the quota periods in which it was throttled; `None` = no quota or no period.
    pub throttled_percent: Option<u64>,
}

/// Compares each sample with the one before it.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    before: Option<Sample>,
    /// Bytes that were read from the program's stderr so far, its own words and the runtime's, and
    /// write calls that brought them, as far as they could be told apart.
    stderr: Output,
    /// How far what was written was ahead of that at the last samples. Bytes may be in flight when
    /// a sample is taken, so the difference shakes by a snapshot; only a new maximum is progress.
    ahead: VecDeque<i64>,
    /// Write calls of the program's own beside stderr, as many as there ever seemed to be. Children
    /// write to the same stderr, which takes some away again.
    wakes: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Output {
    bytes: u64,
    calls: u64,
}

/// Samples over which a new maximum is looked for.
const WINDOW: usize = 8;
/// Bytes of one wake-up of the network poller, which is a write and a read of an eventfd (one byte
/// of a pipe before Go 1.20); runtime/netpoll_epoll.go, `netpollBreak`.
const WAKE_BYTES: u64 = 8;

impl Meter {
    /// Takes note of bytes that came out of the program's stderr, and of the write calls that
    /// brought them; 0 = not known.
    pub fn stderr(&mut self, bytes: u64, calls: u64) {
        self.stderr.bytes = self.stderr.bytes.saturating_add(bytes);
        self.stderr.calls = self.stderr.calls.saturating_add(calls);
    }

    /// What moved since the sample before. The first sample only sets the base.
    pub fn take(&mut self, sample: &Sample) -> Activity {
        let wrote = self.wrote(sample);
        let Some(before) = self.before.replace(*sample) else { return Activity::default() };
        let elapsed = sample.at.since(before.at);
        let read = grown(before.read_bytes, sample.read_bytes).unwrap_or(0);
        let wakes = grown(before.read_calls, sample.read_calls).unwrap_or(0) * WAKE_BYTES;
        let read = read.saturating_sub(wakes);
        Activity {
            io: wrote || read > per_second(OWN_READS, elapsed).max(OWN_READS),
            cpu_permille: grown(before.cpu_us, sample.cpu_us).and_then(|us| permille(us, elapsed)),
            throttled_percent: throttled(&before, sample),
        }
    }

    /// Whether more was written than came out of stderr and than wake-ups account for.
    fn wrote(&mut self, sample: &Sample) -> bool {
        let Some(written) = sample.written_bytes else { return false };
        let calls = sample.write_calls.filter(|_| self.stderr.calls > 0);
        let calls = calls.map_or(0, |calls| signed(calls) - signed(self.stderr.calls));
        self.wakes = self.wakes.max(calls);
        let wakes = self.wakes * signed(WAKE_BYTES);
        let ahead = signed(written) - signed(self.stderr.bytes) - wakes;
        let new = self.ahead.iter().max().is_some_and(|most| ahead > *most);
        if self.ahead.len() >= WINDOW {
            self.ahead.pop_front();
        }
        self.ahead.push_back(ahead);
        new
    }
}

/// A counter to calculate with; none comes near the limit, which keeps sums of them in range.
fn signed(count: u64) -> i64 {
    const LIMIT: i64 = 1 << 56;
    i64::try_from(count).unwrap_or(LIMIT).min(LIMIT)
}

/// How much a counter grew.
fn grown(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
}

/// `rate` a second for `elapsed`.
fn per_second(rate: u64, elapsed: Duration) -> u64 {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    rate.saturating_mul(milliseconds) / 1_000
}

/// CPU time in thousandths of one CPU.
#[must_use]
pub fn permille(cpu_us: u64, elapsed: Duration) -> Option<u64> {
    let elapsed = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    cpu_us.saturating_mul(1_000).checked_div(elapsed)
}

fn throttled(before: &Sample, after: &Sample) -> Option<u64> {
    let periods = grown(before.nr_periods, after.nr_periods)?;
    let throttled = grown(before.nr_throttled, after.nr_throttled)?;
    throttled.saturating_mul(100).checked_div(periods)
}

/// CPU time of one thread, as its `schedstat` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTime {
    /// Its number.
    pub tid: i32,
    /// Time on a CPU, ns.
    pub run_ns: u64,
    /// How often it got one.
    pub slices: u64,
}

/// Adds up the CPU time of all threads but sysmon over the lives of the threads.
#[derive(Clone, Debug, Default)]
pub struct ThreadBook {
    at: Mono,
    threads: Vec<ThreadTime>,
    sysmon: Option<i32>,
    others_ns: u64,
}

/// sysmon sleeps 10 ms at a time when all is idle and does next to nothing in between; it is the
/// only thread that wakes this often (measured: 83 to 99 times a second).
const SYSMON_WAKES: std::ops::RangeInclusive<u64> = 60..=130;
/// CPU time that sysmon takes each time, at most, ns.
const SYSMON_SLICE_NS: u64 = 200_000;

impl ThreadBook {
    /// Takes a reading of all threads and gives the CPU time of all but sysmon since the first
    /// reading, µs. `threads` may come in any order.
    pub fn take(&mut self, at: Mono, threads: Vec<ThreadTime>) -> u64 {
        let elapsed = at.since(self.at);
        let first = self.threads.is_empty();
        let mut likeliest = None;
        let mut grown_ns = 0u64;
        for thread in &threads {
            let before = self.threads.iter().find(|t| t.tid == thread.tid);
            let before = before.copied().unwrap_or_default();
            let ran = thread.run_ns.saturating_sub(before.run_ns);
            let slices = thread.slices.saturating_sub(before.slices);
            if is_sysmon(ran, slices, elapsed) && likeliest.is_none_or(|(_, most)| slices > most) {
                likeliest = Some((thread.tid, slices));
            }
            if self.sysmon != Some(thread.tid) {
                grown_ns = grown_ns.saturating_add(ran);
            }
        }
        if !first {
            if self.sysmon.is_none() {
                self.sysmon = likeliest.map(|(tid, _)| tid);
            }
            self.others_ns = self.others_ns.saturating_add(grown_ns);
        }
        (self.at, self.threads) = (at, threads);
        self.others_ns / 1_000
    }

    /// The thread that is taken for sysmon.
    #[must_use]
    pub fn sysmon(&self) -> Option<i32> {
        self.sysmon
    }
}

fn is_sysmon(ran_ns: u64, slices: u64, elapsed: Duration) -> bool {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    let rate = slices.saturating_mul(1_000).checked_div(milliseconds).unwrap_or(0);
    SYSMON_WAKES.contains(&rate) && ran_ns <= slices.saturating_mul(SYSMON_SLICE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn sample(seconds: u64, read: u64, written: u64, cpu_us: u64) -> Sample {
        Sample {
            at: at(seconds),
            read_bytes: Some(read),
            written_bytes: Some(written),
            cpu_us: Some(cpu_us),
            ..Sample::default()
        }
    }

    #[test]
    fn the_runtime_alone_is_no_progress() {
        let mut meter = Meter::default();
        meter.stderr(100, 0);
        let _ = meter.take(&sample(1, 3_000, 100, 0));
        for second in 2..20 {
            meter.stderr(100, 0);
            let reads = 3_000 + second * 20;
            let activity = meter.take(&sample(second, reads, second * 100, second * 200));
            assert_eq!(activity, Activity { cpu_permille: Some(0), ..activity });
            assert!(!activity.io, "second {second}");
        }
    }

    #[test]
    fn a_slow_download_and_a_file_being_written_are_progress() {
        let mut meter = Meter::default();
        let _ = meter.take(&sample(1, 0, 0, 0));
        assert!(meter.take(&sample(2, 3_000, 0, 0)).io);
        assert!(!meter.take(&sample(3, 3_000, 0, 0)).io);
        assert!(meter.take(&sample(4, 3_000, 40, 0)).io);
    }

    #[test]
    fn output_that_is_still_in_the_pipe_is_progress_at_most_once() {
        let mut meter = Meter::default();
        let _ = meter.take(&sample(1, 0, 0, 0));
        let mut moved = 0;
        for second in 2..100 {
            let late = if second % 3 == 0 { 90 } else { 0 };
            moved += u32::from(meter.take(&sample(second, 0, second * 100 + late, 0)).io);
            meter.stderr(100, 0);
        }
        assert!(moved <= 3, "{moved}");
    }

    #[test]
    fn wake_ups_of_the_poller_are_no_progress_and_a_line_on_stdout_is() {
        let mut meter = Meter::default();
        let (mut bytes, mut calls) = (0, 0);
        let mut next = |second: u64, line: u64| {
            // A hundred wake-ups a second, and a snapshot of 28 writes.
            (bytes, calls) = (bytes + 800 + 112 + line, calls + 128 + u64::from(line > 0));
            meter.stderr(112, 28);
            let sample = Sample {
                read_calls: Some(second * 100),
                write_calls: Some(calls),
                ..sample(second, second * 800, bytes, 0)
            };
            meter.take(&sample).io
        };
        for second in 1..30 {
            assert!(!next(second, 0), "second {second}");
        }
        assert!(next(30, 20));
        assert!(!next(31, 0));
        for second in 32..40 {
            assert!(next(second, 12), "second {second}");
        }
    }

    #[test]
    fn what_a_child_writes_to_the_same_stderr_is_no_progress_of_the_program() {
        let mut meter = Meter::default();
        for second in 1..60 {
            // Its own snapshot, and one of a child that inherited schedtrace.
            meter.stderr(224, 56);
            let (bytes, calls) = (second * 112, second * 28);
            let sample = Sample { write_calls: Some(calls), ..sample(second, 0, bytes, 0) };
            assert!(!meter.take(&sample).io, "second {second}");
        }
    }

    #[test]
    fn sysmon_is_found_by_its_rhythm_and_left_out() {
        let mut book = ThreadBook::default();
        let threads = |second: u64| {
            vec![
                ThreadTime { tid: 7, run_ns: 5_000_000, slices: 9 },
                ThreadTime { tid: 9, run_ns: second * 2_000_000, slices: second * 95 },
            ]
        };
        let _ = book.take(at(1), threads(1));
        let _ = book.take(at(2), threads(2));
        assert_eq!(book.sysmon(), Some(9));
        let before = book.take(at(3), threads(3));
        assert_eq!(book.take(at(4), threads(4)), before);
    }

    #[test]
    fn a_thread_that_ends_takes_nothing_away() {
        let mut book = ThreadBook::default();
        let busy = ThreadTime { tid: 8, run_ns: 0, slices: 1 };
        let _ = book.take(at(1), vec![busy]);
        let used = book.take(at(2), vec![ThreadTime { run_ns: 500_000_000, ..busy }]);
        assert_eq!(used, 500_000);
        assert_eq!(book.take(at(3), Vec::new()), 500_000);
    }

    #[test]
    fn throttling_is_a_share_of_the_periods() {
        let mut meter = Meter::default();
        let quota = |second, periods, throttled| Sample {
            nr_periods: Some(periods),
            nr_throttled: Some(throttled),
            ..sample(second, 0, 0, 0)
        };
        let _ = meter.take(&quota(1, 10, 5));
        assert_eq!(meter.take(&quota(2, 20, 14)).throttled_percent, Some(90));
        assert_eq!(meter.take(&quota(3, 20, 14)).throttled_percent, None);
    }
}
