//! The P, M and G lines that follow a detailed `SCHED` line (runtime/proc.go, `schedtrace`).

use super::scan::{after, decimal, first, narrow, split};
use super::snapshot::{Detail, REASONS};

/// Longest wait reason that is kept.
const REASON_BYTES: usize = 64;

/// Whether a line starts like one of these; cheap, for the decision to look closer.
pub(crate) fn looks_like(line: &[u8]) -> bool {
    line.starts_with(b"  ")
        && matches!(line.get(2), Some(b'P' | b'M' | b'G'))
        && line.get(3).is_some_and(u8::is_ascii_digit)
}

/// Adds one line to the detail; false when it is none of them, or cannot belong to this snapshot
/// (the Ps are listed from 0 upwards: another runtime's would begin again).
pub(crate) fn add(detail: &mut Detail, line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"  ") else { return false };
    let Some((number, taken)) = decimal(after(rest, 1)) else { return false };
    let Some(rest_of) = after(rest, taken.saturating_add(1)).strip_prefix(b": ") else {
        return false;
    };
    match rest.first() {
        Some(b'P') => proc(detail, number, rest_of).is_some(),
        Some(b'M') => thread(detail, rest_of).is_some(),
        Some(b'G') => goroutine(detail, number, rest_of).is_some(),
        Some(_) | None => false,
    }
}

fn proc(detail: &mut Detail, number: u64, rest: &[u8]) -> Option<()> {
    if number != u64::from(detail.procs) {
        return None;
    }
    let (status, _) = decimal(rest.strip_prefix(b"status=")?)?;
    detail.procs = detail.procs.saturating_add(1);
    bump(&mut detail.procs_by_status, status);
    detail.runnable_local = detail.runnable_local.saturating_add(named(rest, b"runqsize="));
    detail.timers = detail.timers.saturating_add(named(rest, b"timerslen="));
    detail.ticks = detail.ticks.saturating_add(named(rest, b"schedtick="));
    Some(())
}

fn thread(detail: &mut Detail, rest: &[u8]) -> Option<()> {
    rest.strip_prefix(b"p=")?;
    detail.threads = detail.threads.saturating_add(1);
    if memchr::memmem::find(rest, b" blocked=true").is_some() {
        detail.threads_blocked = detail.threads_blocked.saturating_add(1);
    }
    Some(())
}

/// `status=4(chan receive) m=nil lockedm=nil`: the reason may contain parentheses.
fn goroutine(detail: &mut Detail, number: u64, rest: &[u8]) -> Option<()> {
    let rest = rest.strip_prefix(b"status=")?;
    let (printed, taken) = decimal(rest)?;
    let (reason, _) = split(after(rest, taken).strip_prefix(b"(")?, b") m=")?;
    // 0x1000 is set while the collector scans the stack.
    let status = printed & 0xfff;
    detail.goroutines = detail.goroutines.saturating_add(1);
    bump(&mut detail.goroutines_by_status, status);
    let reason = (status == 4).then(|| String::from_utf8_lossy(first(reason, REASON_BYTES)));
    if let Some(reason) = &reason {
        if let Some((_, count)) = detail.reasons.iter_mut().find(|(known, _)| known == reason) {
            *count = count.saturating_add(1);
        } else if detail.reasons.len() < REASONS {
            detail.reasons.push((reason.to_string(), 1));
        }
    }
    if number == 1 {
        detail.main_status = u8::try_from(narrow(status)).ok();
        detail.main_reason = reason.map(|reason| reason.into_owned());
    }
    Some(())
}

fn bump(counts: &mut [u32], at: u64) {
    if let Some(count) = usize::try_from(at).ok().and_then(|at| counts.get_mut(at)) {
        *count = count.saturating_add(1);
    }
}

/// The number behind ` key=`, or 0.
fn named(rest: &[u8], key: &[u8]) -> u64 {
    split(rest, key).and_then(|(_, value)| decimal(value)).map_or(0, |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_old_and_new_versions_are_summed_up() {
        let mut detail = Detail::default();
        for line in [
            "  P0: status=1 schedtick=4 syscalltick=4 m=0 runqsize=2 gfreecnt=0 timerslen=1",
            "  P1: status=0 schedtick=1 syscalltick=0 m=-1 runqsize=0 gfreecnt=0 timerslen=0",
            "  M1: p=nil curg=nil mallocing=0 throwing=0 preemptoff= locks=0 dying=0 \
             spinning=false blocked=true lockedg=nil",
            "  G1: status=4(select (no cases)) m=nil lockedm=nil",
            "  G2: status=2(sleep) m=0 lockedm=-1",
            "  G3: status=4100(sleep) m=nil lockedm=nil",
        ] {
            assert!(looks_like(line.as_bytes()) && add(&mut detail, line.as_bytes()), "{line}");
        }
        assert_eq!((detail.procs, detail.threads, detail.goroutines), (2, 1, 3));
        assert_eq!(detail.ticks, 5);
        assert_eq!((detail.runnable_local, detail.timers, detail.threads_blocked), (2, 1, 1));
        assert_eq!(detail.reasons, [("select (no cases)".into(), 1), ("sleep".into(), 1)]);
        assert_eq!(detail.main_reason.as_deref(), Some("select (no cases)"));
    }

    #[test]
    fn the_ps_of_another_runtime_are_not_added() {
        let mut detail = Detail::default();
        let line = b"  P0: status=0 schedtick=0 syscalltick=0 m=-1 runqsize=0";
        assert!(add(&mut detail, line));
        assert!(!add(&mut detail, line));
        assert!(!add(&mut detail, b"  P1: hello"));
    }
}
