//! One schedtrace emission: the `SCHED` line and, with scheddetail, what follows it.
//!
//! The runtime's own words are kept for every figure (runtime/proc.go, `schedtrace`).

use super::scan::{after, first, split};

/// What one `SCHED` line says. A figure that this Go version does not print is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Milliseconds since the runtime's first SCHED line (not since the process started).
    pub uptime_ms: u64,
    /// Number of Ps.
    pub gomaxprocs: u32,
    /// Ps that run nothing.
    pub idleprocs: u32,
    /// Ms; with cgo one more than real threads.
    pub threads: u32,
    /// Ms that look for work.
    pub spinningthreads: u32,
    /// Whether a P asks for a spinning M (1.21 and later).
    pub needspinning: Option<u32>,
    /// Ms parked.
    pub idlethreads: u32,
    /// Length of the global run queue.
    pub runqueue: u32,
    /// Length of each P's run queue; empty with scheddetail.
    pub local: Vec<u32>,
    /// Each P's schedtick (1.25 and later), a counter that wraps at 2^32.
    pub schedticks: Vec<u32>,
    /// A stop-the-world is wanted (scheddetail only).
    pub gcwaiting: Option<bool>,
    /// Ps that a stop-the-world still waits for (scheddetail only).
    pub stopwait: Option<i64>,
    /// Keys that are not known, as they stand: `newkey=5 lists=[ 1 2 ]`.
    pub more: String,
    /// What the P, M and G lines behind it say (scheddetail, and every crash and SIGQUIT); nothing
    /// where another runtime's may be among them.
    pub detail: Option<Box<Detail>>,
}

/// The P, M and G lines of a detailed snapshot, summed up while they are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// A line of it is missing or was torn by another writer: what is counted is too little.
    pub partial: bool,
    /// P lines seen.
    pub procs: u32,
    /// Ps by status: idle, running, in a system call (up to 1.25), stopped for the collector, dead.
    pub procs_by_status: [u32; 5],
    /// Entries in the run queues of the Ps.
    pub runnable_local: u64,
    /// Timers of all Ps.
    pub timers: u64,
    /// Scheduling decisions of all Ps (schedtick), which every version prints here.
    pub ticks: u64,
    /// M lines seen.
    pub threads: u32,
    /// Ms that are blocked in the runtime.
    pub threads_blocked: u32,
    /// G lines seen.
    pub goroutines: u32,
    /// Goroutines by status, 0 to 11 as in runtime2.go (1 runnable, 2 running, 3 in a system
    /// call, 4 waiting, 6 dead, 8 stack moves, 9 preempted, 10 leaked, 11 dead with its own M).
    pub goroutines_by_status: [u32; 12],
    /// Wait reasons of waiting goroutines and how many wait for each; at most [`REASONS`], the
    /// rest is in the status count only.
    pub reasons: Vec<(String, u32)>,
    /// Status of goroutine 1, where `main.main` and the package initialisers run.
    pub main_status: Option<u8>,
    /// What goroutine 1 waits for; only when its status is 4 (a stale word is printed otherwise).
    pub main_reason: Option<String>,
}

/// Bytes kept of keys that are not known.
const MORE: usize = 512;

/// Different wait reasons that a [`Detail`] keeps; the runtime knows about fifty.
pub const REASONS: usize = 64;

/// What `stopwait` starts from when the runtime freezes everything to print a crash
/// (runtime/proc.go, `freezeStopWait`); an ordinary stop counts Ps.
const FREEZE: i64 = 0x7fff_ffff;

/// The keys that versions up to 1.27 print.
const KEYS: [&[u8]; 12] = [
    b"gomaxprocs",
    b"idleprocs",
    b"threads",
    b"spinningthreads",
    b"needspinning",
    b"idlethreads",
    b"runqueue",
    b"gcwaiting",
    b"nmidlelocked",
    b"stopwait",
    b"sysmonwait",
    b"schedticks",
];

/// The keys of a `SCHED` line that are not known, with their values, as they stand.
pub(super) fn unknown(line: &[u8]) -> String {
    let mut more = Vec::new();
    let mut rest = line;
    while let Some((_, word)) = split(rest, b" ") {
        let key = word.iter().take_while(|b| b.is_ascii_lowercase()).count();
        rest = word;
        if key == 0 || word.get(key) != Some(&b'=') || KEYS.contains(&first(word, key)) {
            continue;
        }
        let list = word.get(key.saturating_add(1)) == Some(&b'[');
        let end = memchr::memchr(if list { b']' } else { b' ' }, word);
        let end = end.map_or(word.len(), |end| end.saturating_add(usize::from(list)));
        if !more.is_empty() {
            more.push(b' ');
        }
        more.extend_from_slice(first(word, end));
        rest = after(word, end);
    }
    more.truncate(MORE);
    String::from_utf8_lossy(more.trim_ascii_end()).into_owned()
}

impl Snapshot {
    /// Entries in all run queues together.
    #[must_use]
    pub fn queued(&self) -> u64 {
        let local: u64 = self.local.iter().map(|queue| u64::from(*queue)).sum();
        let detail = self.detail.as_ref().map_or(0, |detail| detail.runnable_local);
        u64::from(self.runqueue).saturating_add(local).saturating_add(detail)
    }

    /// Sum of the schedticks, if they are printed.
    #[must_use]
    pub fn ticks(&self) -> Option<u64> {
        if self.schedticks.is_empty() {
            return self
                .detail
                .as_ref()
                .filter(|detail| detail.procs > 0)
                .map(|detail| detail.ticks);
        }
        Some(self.schedticks.iter().map(|tick| u64::from(*tick)).sum())
    }

    /// Whether the runtime has stopped the world to print a crash or a dump: no sign of a stop
    /// that does not come to an end.
    #[must_use]
    pub fn frozen(&self) -> bool {
        self.stopwait.is_some_and(|wait| wait > FREEZE / 2)
    }
}
