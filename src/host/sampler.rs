//! Reads the program's cheap counters when asked, in a thread of its own: the loop never reads
//! the program's /proc, which may block where the program is stuck inside the kernel.
//!
//! The thread sleeps on a condition variable, so it costs nothing between two heartbeats.

use crate::host::cgroup::Counters;
use crate::policy::progress::{Sample, ThreadBook, ThreadTime};
use crate::sys::clock;
use crate::sys::fd::Waker;
use crate::units::Pid;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Threads whose times are read; with more of them the sum is not worth its price.
const THREADS: usize = 64;
/// Stack of the thread.
const STACK_BYTES: usize = 64 << 10;

#[derive(Debug, Default)]
struct Desk {
    asked: bool,
    answer: Option<Sample>,
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
        thread.spawn(move || work(&theirs, pid, &counters)).ok()?;
        Some(Self { shared })
    }

    /// Asks for a sample; while one is being read, that one will do.
    pub fn ask(&self) {
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner).asked = true;
        self.shared.asked.notify_one();
    }

    /// Readable when there is a sample.
    #[must_use]
    pub fn waker(&self) -> BorrowedFd<'_> {
        self.shared.waker.as_fd()
    }

    /// Takes the sample.
    pub fn take(&self) -> Option<Sample> {
        self.shared.waker.clear();
        self.shared.desk.lock().unwrap_or_else(PoisonError::into_inner).answer.take()
    }
}

fn work(shared: &Shared, pid: Pid, counters: &Counters) {
    let mut book = ThreadBook::default();
    let mut desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while !desk.asked {
            desk = shared.asked.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.asked = false;
        drop(desk);
        let sample = sample(pid, counters, &mut book);
        desk = shared.desk.lock().unwrap_or_else(PoisonError::into_inner);
        desk.answer = Some(sample);
        shared.waker.wake();
    }
}

fn sample(pid: Pid, counters: &Counters, book: &mut ThreadBook) -> Sample {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let counter = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|number| number.trim().parse().ok())
    };
    let throttling = counters.throttling();
    let at = clock::mono();
    let (threads, times) = times(pid);
    Sample {
        at,
        read_bytes: counter("rchar:"),
        written_bytes: counter("wchar:"),
        cpu_us: times.map(|times| book.take(at, times)),
        threads,
        stopped: false,
        nr_periods: throttling.as_ref().map(|t| t.periods),
        nr_throttled: throttling.as_ref().map(|t| t.throttled),
    }
}

/// Number of threads, and the CPU time of each if there are not too many.
fn times(pid: Pid) -> (Option<u32>, Option<Vec<ThreadTime>>) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return (None, None) };
    let numbers: Vec<i32> =
        tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok()).collect();
    let count = u32::try_from(numbers.len()).ok();
    if numbers.len() > THREADS {
        return (count, None);
    }
    let time = |tid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{tid}/schedstat")).ok()?;
        let mut words = text.split_whitespace();
        let run_ns = words.next()?.parse().ok()?;
        let slices = words.nth(1)?.parse().ok()?;
        Some(ThreadTime { tid: *tid, run_ns, slices })
    };
    (count, Some(numbers.iter().filter_map(time).collect()))
}
