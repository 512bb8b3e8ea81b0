//! One line of `GODEBUG=gctrace=1`: a finished garbage collection (runtime/mgc.go).
//!
//! `gc 1 @0.294s 3%: 0.30+158+0.011 ms clock, 0.61+0.005/143/0.038+0.023 ms cpu, 49->55->54 MB,
//! 49 MB goal, 0 MB stacks, 0 MB globals, 8 P (forced)`; the same from 1.19 to 1.27, where 1.26
//! may put ` (checking for goroutine leaks)` behind the percentage.

use super::scan::{after, figure, split, whole};

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
    /// Stacks to scan, in MiB.
    pub stacks_mb: u64,
    /// Global variables to scan, in MiB.
    pub globals_mb: u64,
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

/// Reads a gctrace line, without its newline: its figures, and what no version so far prints.
#[must_use]
pub fn parse(line: &[u8]) -> Option<(GcTrace, &[u8])> {
    let rest = line.strip_prefix(b"gc ")?;
    let (cycle, rest) = split(rest, b" @")?;
    let (at, rest) = split(rest, b"s ")?;
    let (percent, rest) = split(rest, b"%")?;
    let (remark, rest) = split(rest, b": ")?;
    let (clock, rest) = split(rest, b" ms clock, ")?;
    let (_, rest) = split(rest, b" ms cpu, ")?;
    let (heap, rest) = split(rest, b" MB, ")?;
    let (before, heap) = split(heap, b"->")?;
    let (after, live) = split(heap, b"->")?;
    let (sweep, clock) = split(clock, b"+")?;
    let (mark, termination) = split(clock, b"+")?;
    let mut trace = GcTrace {
        cycle: whole(cycle)?,
        at_ms: figure(at)? * 1000.0,
        cpu_percent: whole(percent)?,
        pause_ms: figure(sweep)? + figure(termination)?,
        mark_ms: figure(mark)?,
        heap_before_mb: whole(before)?,
        heap_after_mb: whole(after)?,
        heap_live_mb: whole(live)?,
        ..GcTrace::default()
    };
    let more = sizes(&mut trace, rest)?;
    Some((trace, if more.is_empty() { remark.strip_prefix(b" ").unwrap_or(remark) } else { more }))
}

/// The fields behind the heap, told by their words: `49 MB goal, 0 MB stacks, 0 MB globals, 8 P`,
/// then perhaps ` (forced)`. Gives everything from the first that is not known.
fn sizes<'a>(trace: &mut GcTrace, mut rest: &'a [u8]) -> Option<&'a [u8]> {
    let (mut goal, mut procs, mut more) = (None, None, &b""[..]);
    while !rest.is_empty() {
        let (field, later) = split(rest, b", ").unwrap_or((rest, b""));
        if let Some(value) = field.strip_suffix(b" MB goal") {
            goal = Some(whole(value)?);
        } else if let Some(value) = field.strip_suffix(b" MB stacks") {
            trace.stacks_mb = whole(value)?;
        } else if let Some(value) = field.strip_suffix(b" MB globals") {
            trace.globals_mb = whole(value)?;
        } else if let Some((value, end)) = split(field, b" P").filter(|(n, _)| whole(n).is_some()) {
            procs = whole(value);
            trace.forced = end.starts_with(b" (forced)");
            let end = after(end, if trace.forced { 9 } else { 0 });
            if more.is_empty() && !end.is_empty() {
                more = end.strip_prefix(b" ").unwrap_or(end);
            }
        } else if more.is_empty() {
            more = rest;
        }
        rest = later;
    }
    (trace.goal_mb, trace.procs) = (goal?, procs?);
    Some(more)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "gc 3 @0.294s 3%: 0.30+158+0.011 ms clock, \
        0.61+0.005/143/0.038+0.023 ms cpu, 49->55->54 MB, 50 MB goal, 1 MB stacks, \
        0 MB globals, 8 P";

    #[test]
    fn a_line_gives_its_figures() {
        let (gc, more) = parse(LINE.as_bytes()).unwrap();
        assert_eq!((gc.stacks_mb, gc.globals_mb, more), (1, 0, &b""[..]));
        assert_eq!((gc.cycle, gc.cpu_percent, gc.procs, gc.forced), (3, 3, 8, false));
        assert_eq!((gc.heap_before_mb, gc.heap_after_mb, gc.heap_live_mb), (49, 55, 54));
        assert_eq!((gc.goal_mb, gc.mark_ms), (50, 158.0));
    }

    #[test]
    fn forced_and_leak_checking_collections_are_read() {
        let forced = format!("{LINE} (forced)");
        assert_eq!(parse(forced.as_bytes()).map(|(gc, _)| gc.forced), Some(true));
        let leaks = LINE.replace("3%:", "3% (checking for goroutine leaks):");
        let (gc, more) = parse(leaks.as_bytes()).unwrap();
        assert_eq!((gc.cycle, more), (3, &b"(checking for goroutine leaks)"[..]));
        assert_eq!(parse(b"gc the garbage"), None);
    }

    #[test]
    fn fields_to_come_are_kept() {
        for (end, more, forced) in [
            (" (forced) (quick)", "(quick)", true),
            (", 3 nodes", "3 nodes", false),
            (" (forced), 3 nodes, 1 x", "3 nodes, 1 x", true),
        ] {
            let line = format!("{LINE}{end}");
            let (gc, found) = parse(line.as_bytes()).unwrap();
            assert_eq!((found, gc.forced, gc.procs), (more.as_bytes(), forced, 8), "{line}");
        }
        let line = LINE.replace("8 P", "1 MB arenas, 8 P");
        assert_eq!(parse(line.as_bytes()).map(|(_, more)| more), Some(&b"1 MB arenas, 8 P"[..]));
    }
}
