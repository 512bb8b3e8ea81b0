//! Reads the program's cheap counters when asked, in a thread of its own: the loop never reads
//! the program's /proc, which may block where the program is stuck inside the kernel.
//!
//! The thread sleeps on a condition variable, so it costs nothing between two heartbeats. A reading
//! costs one clock and one small file as a rule: the threads are only looked at when the CPU time
//! lies between what sysmon takes by itself and what sysmon can never take.

use crate::host::cgroup::{Counters, Watch};
use crate::host::files::Root;
use crate::linux::stat::{Io, Schedstat};
use crate::policy::limits::Limits;
use crate::policy::progress::{
    BURNING_PERMILLE, MOVING_PERMILLE, Sample, ThreadBook, ThreadTime, permille,
};
use crate::sys::fd::Waker;
use crate::sys::{clock, cputime};
use crate::units::{Mono, Pid};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// With more threads than this the CPU time of the whole process has to do.
const MOST_THREADS: usize = 64;
/// Limits are looked at no more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(900);
/// Stack of the thread.
const STACK_BYTES: usize = 128 << 10;

#[derive(Debug, Default)]
struct Desk {
    asked: bool,
    /// Somebody wrote to a file of the control group.
    noticed: bool,
    answer: Option<Sample>,
    limits: Option<Box<Limits>>,
}

#[derive(Debug)]
struct Shared {
    desk: Mutex<Desk>,
    asked: Condvar,
    waker: Waker,
}

/// The loop's end of the sampler.
#[derive(Debug)]
pub struct Sampler {
    shared: Arc<Shared>,
}

impl Sampler {
    /// Starts the thread for a program; nothing where no thread or descriptor is to be had.
    #[must_use]
    pub fn start(pid: Pid, counters: Counters) -> Option<Self> {
        let waker = Waker::new().ok()?;
        let shared = Arc::new(Shared { desk: Mutex::default(), asked: Condvar::new(), waker });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("sampler".into()).stack_size(STACK_BYTES);
        thread.spawn(move || work(&theirs, Gauge::new(pid, counters))).ok()?;
        Some(Self { shared })
    }

    /// Asks for a sample; while one is being read, that one will do.
    pub fn ask(&self) {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner).asked = true;
        self.shared.asked.notify_one();
    }

    /// Asks whether the limits are others than before, now and not at the next sample.
    pub fn notice(&self) {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner).noticed = true;
        self.shared.asked.notify_one();
    }

    /// Readable when there is an answer.
    #[must_use]
    pub fn waker(&self) -> BorrowedFd<'_> {
        self.shared.waker.as_fd()
    }

    /// Takes the sample, and the limits when they may be others.
    pub fn take(&self) -> (Option<Sample>, Option<Box<Limits>>) {
        self.shared.waker.clear();
        let mut desk = self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
        (desk.answer.take(), desk.limits.take())
    }
}

fn work(shared: &Shared, mut gauge: Gauge) {
    let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while !desk.asked && !desk.noticed {
            desk = shared.asked.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        let asked = std::mem::take(&mut desk.asked);
        let noticed = std::mem::take(&mut desk.noticed);
        drop(desk);
        let sample = asked.then(|| gauge.read());
        let limits = gauge.limits(noticed);
        desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.answer = sample.or(desk.answer.take());
        desk.limits = limits.or(desk.limits.take());
        shared.waker.wake();
    }
}

/// The counters of one program.
#[derive(Debug)]
struct Gauge {
    pid: Pid,
    /// /proc/PID/io, kept open; `None` = denied.
    io: Option<File>,
    counters: Counters,
    at: Mono,
    clock_ns: Option<u64>,
    /// CPU time that is certainly not sysmon's, µs.
    others_us: u64,
    book: ThreadBook,
    /// When the threads were last read, and what the book said.
    read: Option<(Mono, u64)>,
    /// Made when it is first asked for.
    watch: Option<Watch>,
    /// When the limits were last looked at.
    looked: Mono,
}

impl Gauge {
    fn new(pid: Pid, counters: Counters) -> Self {
        Self {
            pid,
            io: File::open(format!("/proc/{pid}/io")).ok(),
            counters,
            at: Mono::default(),
            clock_ns: None,
            others_us: 0,
            book: ThreadBook::default(),
            read: None,
            watch: None,
            looked: Mono::default(),
        }
    }

    /// The limits, when they may be others than at the start or before. A heartbeat can be
    /// faster than anybody changes a limit.
    fn limits(&mut self, noticed: bool) -> Option<Box<Limits>> {
        let now = clock::mono();
        let Some(watch) = &mut self.watch else {
            // Reading took its time since the start: what came in between is told now.
            self.looked = now;
            let watch = self.watch.insert(Watch::new(&Root::live()));
            return Some(Box::new(watch.limits().clone()));
        };
        if !noticed && now.since(self.looked) < LOOK_EVERY {
            return None;
        }
        self.looked = now;
        watch.check().map(|limits| Box::new(limits.clone()))
    }

    fn read(&mut self) -> Sample {
        let at = clock::mono();
        let io = self.io.as_ref().and_then(|file| text(file, Io::parse)).flatten();
        let cpu_us = self.cpu(at);
        let throttling = self.counters.throttling();
        Sample {
            at,
            read_bytes: io.map(|io| io.rchar),
            written_bytes: io.map(|io| io.wchar),
            read_calls: io.map(|io| io.syscr),
            write_calls: io.map(|io| io.syscw),
            cpu_us,
            threads: None,
            stopped: false,
            nr_periods: throttling.map(|t| t.periods),
            nr_throttled: throttling.map(|t| t.throttled),
        }
    }

    /// CPU time of the threads other than sysmon since the first sample, µs.
    fn cpu(&mut self, at: Mono) -> Option<u64> {
        let clock_ns = cputime::of_process(self.pid)?;
        let before = self.clock_ns.replace(clock_ns);
        let elapsed = at.since(std::mem::replace(&mut self.at, at));
        let Some(before) = before else { return Some(0) };
        let used_us = clock_ns.saturating_sub(before) / 1_000;
        let share = permille(used_us, elapsed).unwrap_or(0);
        // Less than this is sysmon, more than that cannot be.
        if share >= BURNING_PERMILLE {
            self.others_us = self.others_us.saturating_add(used_us);
        } else if share >= MOVING_PERMILLE {
            let others = self.threads(at, elapsed).unwrap_or(used_us);
            self.others_us = self.others_us.saturating_add(others);
        }
        Some(self.others_us)
    }

    /// CPU time of the threads other than sysmon since they were read before, µs; `None` when
    /// that is too long ago to stand for this interval, or when there are too many.
    fn threads(&mut self, at: Mono, interval: Duration) -> Option<u64> {
        let times = thread_times(self.pid)?;
        let total = self.book.take(at, times);
        let (then, before) = self.read.replace((at, total))?;
        let fresh = at.since(then) <= interval * 2 && self.book.sysmon().is_some();
        fresh.then(|| total.saturating_sub(before))
    }
}

/// CPU time of each thread.
fn thread_times(pid: Pid) -> Option<Vec<ThreadTime>> {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let entry = entry.ok()?;
        if times.len() >= MOST_THREADS {
            return None;
        }
        // A thread may end between the listing and here.
        let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(file) = File::open(entry.path().join("schedstat")) else { continue };
        if let Some(stat) = text(&file, Schedstat::parse).flatten() {
            times.push(ThreadTime { tid, run_ns: stat.run_ns, slices: stat.slices });
        }
    }
    Some(times)
}

/// Reads a small file from its beginning.
fn text<T>(file: &File, parse: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut buffer = [0; 512];
    let count = file.read_at(&mut buffer, 0).ok()?;
    buffer.get(..count).map(parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::poll;

    fn me() -> Pid {
        Pid(i32::try_from(std::process::id()).unwrap())
    }

    #[test]
    fn a_sample_comes_when_it_is_asked_for_and_counts_our_own_reads() {
        let sampler = Sampler::start(me(), Counters::default()).unwrap();
        let next = || {
            sampler.ask();
            let now = clock::now();
            let deadline = Some(now.mono.after(Duration::from_secs(10)));
            assert_eq!(poll::readable([Some(sampler.waker())], deadline, now), [true]);
            sampler.take()
        };
        let (first, limits) = next();
        assert!(limits.is_some(), "the first answer has the limits");
        let first = first.unwrap();
        let bytes = std::fs::read("/proc/self/status").unwrap().len();
        let second = next().0.unwrap();
        assert!(second.at > first.at);
        let read = second.read_bytes.unwrap() - first.read_bytes.unwrap();
        assert!(read >= u64::try_from(bytes).unwrap(), "{read}");
        assert!(second.cpu_us.is_some());
        assert_eq!(sampler.take(), (None, None), "nobody asked again");
    }

    #[test]
    fn a_program_that_is_gone_gives_an_empty_sample() {
        let mut gauge = Gauge::new(Pid(i32::MAX), Counters::default());
        let sample = gauge.read();
        assert_eq!(sample, Sample { at: sample.at, ..Sample::default() });
    }

    #[test]
    fn the_threads_of_this_process_are_read() {
        let times = thread_times(me()).unwrap();
        assert!(times.iter().any(|t| t.tid == me().0 && t.run_ns > 0 && t.slices > 0));
    }
}
