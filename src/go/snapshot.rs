//! One schedtrace emission: the `SCHED` line and, with scheddetail, what follows it.
//!
//! The runtime's own words are kept for every figure (runtime/proc.go, `schedtrace`).

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
}
