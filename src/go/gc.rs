//! One line of `GODEBUG=gctrace=1`: a finished garbage collection (runtime/mgc.go).
//!
//! `gc 1 @0.294s 3%: 0.30+158+0.011 ms clock, 0.61+0.005/143/0.038+0.023 ms cpu, 49->55->54 MB,
//! 49 MB goal, 0 MB stacks, 0 MB globals, 8 P (forced)`; the same from 1.19 to 1.27, where 1.26
//! may put ` (checking for goroutine leaks)` behind the percentage.

use super::scan::{figure, split, whole};

/// What one gctrace line says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GcTrace {
    /// Number of the collection, from 1.
    pub cycle: u64,
    /// When it ended, in milliseconds since the program started.
    pub at_ms: f64,
    /// Share of the CPU time that collections took since the start, in percent.
    pub cpu_percent: u64,
    /// Time with the world stopped: sweep termination and mark termination, in milliseconds.
    pub pause_ms: f64,
    /// Time of concurrent marking, in milliseconds.
    pub mark_ms: f64,
    /// Heap when it started, in MiB.
    pub heap_before_mb: u64,
    /// Heap when it ended, in MiB.
    pub heap_after_mb: u64,
    /// Live heap, in MiB.
    pub heap_live_mb: u64,
    /// Heap size that was aimed at, in MiB.
    pub goal_mb: u64,
    /// Ps used.
    pub procs: u64,
    /// `runtime.GC()` asked for it.
    pub forced: bool,
}

impl GcTrace {
    /// Whether the live heap left no room below the goal. Ordinarily the goal is twice the live
    /// heap (GOGC=100); only a memory limit pushes it down to this.
    #[must_use]
    pub fn cramped(&self) -> bool {
        self.heap_live_mb >= 16
            && self.heap_live_mb.saturating_mul(20) >= self.goal_mb.saturating_mul(19)
    }
}

/// Reads a gctrace line, without its newline.
#[must_use]
pub fn parse(line: &[u8]) -> Option<GcTrace> {
    let rest = line.strip_prefix(b"gc ")?;
    let (cycle, rest) = split(rest, b" @")?;
    let (at, rest) = split(rest, b"s ")?;
    let (percent, rest) = split(rest, b"%")?;
    let (_, rest) = split(rest, b": ")?;
    let (clock, rest) = split(rest, b" ms clock, ")?;
    let (_, rest) = split(rest, b" ms cpu, ")?;
    let (heap, rest) = split(rest, b" MB, ")?;
    let (goal, rest) = split(rest, b" MB goal, ")?;
    let (before, heap) = split(heap, b"->")?;
    let (after, live) = split(heap, b"->")?;
    let (sweep, clock) = split(clock, b"+")?;
    let (mark, termination) = split(clock, b"+")?;
    let (rest, forced) = match rest.strip_suffix(b" (forced)") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    let procs = rest.strip_suffix(b" P")?.rsplit(|b| *b == b' ').next()?;
    Some(GcTrace {
        cycle: whole(cycle)?,
        at_ms: figure(at)? * 1000.0,
        cpu_percent: whole(percent)?,
        pause_ms: figure(sweep)? + figure(termination)?,
        mark_ms: figure(mark)?,
        heap_before_mb: whole(before)?,
        heap_after_mb: whole(after)?,
        heap_live_mb: whole(live)?,
        goal_mb: whole(goal)?,
        procs: whole(procs)?,
        forced,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "gc 3 @0.294s 3%: 0.30+158+0.011 ms clock, \
        0.61+0.005/143/0.038+0.023 ms cpu, 49->55->54 MB, 50 MB goal, 0 MB stacks, \
        0 MB globals, 8 P";

    #[test]
    fn a_line_gives_its_figures() {
        let gc = parse(LINE.as_bytes()).unwrap();
        assert_eq!((gc.cycle, gc.cpu_percent, gc.procs, gc.forced), (3, 3, 8, false));
        assert_eq!((gc.heap_before_mb, gc.heap_after_mb, gc.heap_live_mb), (49, 55, 54));
        assert_eq!((gc.goal_mb, gc.mark_ms), (50, 158.0));
    }

    #[test]
    fn forced_and_leak_checking_collections_are_read() {
        let forced = format!("{LINE} (forced)");
        assert_eq!(parse(forced.as_bytes()).map(|gc| gc.forced), Some(true));
        let leaks = LINE.replace("3%:", "3% (checking for goroutine leaks):");
        assert_eq!(parse(leaks.as_bytes()).map(|gc| gc.cycle), Some(3));
        assert_eq!(parse(b"gc the garbage"), None);
    }
}
