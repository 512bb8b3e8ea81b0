//! The P, M and G lines that follow a detailed `SCHED` line (runtime/proc.go, `schedtrace`).

use super::scan::{after, decimal, first, narrow, split};
use super::snapshot::{Detail, REASONS, Snapshot};

/// Longest wait reason that is kept.
const REASON_BYTES: usize = 64;

/// What a line says about the snapshot that it was offered to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It belongs to it.
    Belongs,
    /// It can only be another runtime's, whose other lines may have been taken before.
    Another,
    /// It is none of these lines, or what is left of one.
    Torn,
}

/// A detailed snapshot in progress. The runtime lists the Ps from 0 upwards, then the Ms from the
/// youngest to M0, then the Gs from G1; that tells whether lines are missing, and whether another
/// runtime's are among them.
#[derive(Clone, Debug)]
pub(crate) struct Gathering {
    snapshot: Snapshot,
    /// The number of the last M.
    last: Option<u64>,
    /// Lines of two runtimes may be among these: no detail is made of them.
    mixed: bool,
}

impl Gathering {
    pub(crate) fn new(snapshot: Snapshot, mixed: bool) -> Self {
        Self { snapshot, last: None, mixed }
    }

    /// Leaves the detail out.
    pub(crate) fn mix(&mut self) {
        self.mixed = true;
    }

    /// How many Ps it has, and how many goroutines were listed, if these are its own.
    pub(crate) fn size(&self) -> Option<(u32, u32)> {
        let goroutines = self.snapshot.detail.as_ref().map_or(0, |detail| detail.goroutines);
        (!self.mixed && self.sound()).then_some((self.snapshot.gomaxprocs, goroutines))
    }

    /// Whether its Ps and Ms were all listed: what can still come are Gs.
    pub(crate) fn listed(&self) -> bool {
        self.last == Some(0)
    }

    /// Whether the list of its Ps and Ms is the one that its figures announce.
    pub(crate) fn sound(&self) -> bool {
        let Some(detail) = &self.snapshot.detail else { return false };
        self.listed()
            && !detail.partial
            && detail.procs == self.snapshot.gomaxprocs
            && detail.threads == self.snapshot.threads
    }

    /// The snapshot, with its detail as far as that is its own.
    pub(crate) fn finish(mut self) -> Snapshot {
        let sound = self.sound();
        if self.mixed {
            self.snapshot.detail = None;
        }
        if let Some(detail) = &mut self.snapshot.detail {
            detail.partial |= !sound || detail.goroutines == 0;
        }
        self.snapshot
    }

    /// Offers a line.
    pub(crate) fn line(&mut self, line: &[u8]) -> Says {
        let Some((letter, number, rest)) = parts(line) else {
            if remains(line) {
                self.torn();
            }
            return Says::Torn;
        };
        let procs = self.snapshot.gomaxprocs;
        let detail = self.snapshot.detail.get_or_insert_default();
        let phase = match letter {
            b'P' => self.last.is_none() && detail.goroutines == 0 && number < u64::from(procs),
            b'M' => detail.goroutines == 0 && self.last.is_none_or(|last| number < last),
            // The main goroutine is the first one; where its line is missing, that was seen.
            _ if number == 1 => detail.goroutines == 0,
            _ => self.last == Some(0) && (detail.goroutines > 0 || detail.partial),
        };
        if !phase || (letter == b'P' && number < u64::from(detail.procs)) {
            return Says::Another;
        }
        let taken = match letter {
            b'P' => {
                detail.partial |= number != u64::from(detail.procs);
                proc(detail, number, rest)
            }
            b'M' => thread(detail, rest),
            _ => goroutine(detail, number, rest),
        };
        if taken.is_none() {
            self.torn();
            return Says::Torn;
        }
        match letter {
            b'M' => self.last = Some(number),
            // The line of M0 is missing.
            b'G' if self.last != Some(0) => {
                self.last = Some(0);
                self.torn();
            }
            _ => {}
        }
        Says::Belongs
    }

    /// A line of it is missing.
    pub(crate) fn torn(&mut self) {
        self.snapshot.detail.get_or_insert_default().partial = true;
    }
}

/// Whether some piece of such a line stands in a line of somebody else.
fn remains(line: &[u8]) -> bool {
    const MARKS: [&[u8]; 6] = [b"  P", b"  M", b"  G", b"status=", b"lockedm=", b" lockedg="];
    MARKS.iter().any(|mark| memchr::memmem::find(line, mark).is_some())
}

/// Whether it is one of these lines, of whatever snapshot.
pub(crate) fn is_one(line: &[u8]) -> bool {
    parts(line).is_some()
}

/// The letter, the number and what stands behind the colon.
fn parts(line: &[u8]) -> Option<(u8, u64, &[u8])> {
    let rest = line.strip_prefix(b"  ")?;
    if !matches!(rest.first(), Some(b'P' | b'M' | b'G')) {
        return None;
    }
    let (number, taken) = decimal(after(rest, 1))?;
    let rest_of = after(rest, taken.saturating_add(1)).strip_prefix(b": ")?;
    Some((*rest.first()?, number, rest_of))
}

fn proc(detail: &mut Detail, number: u64, rest: &[u8]) -> Option<()> {
    let (status, _) = decimal(rest.strip_prefix(b"status=")?)?;
    detail.procs = narrow(number).saturating_add(1);
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

    fn gathering(procs: u32, threads: u32) -> Gathering {
        let head = Snapshot { gomaxprocs: procs, threads, ..Snapshot::default() };
        Gathering::new(head, false)
    }

    const P0: &str =
        "  P0: status=1 schedtick=4 syscalltick=4 m=0 runqsize=2 gfreecnt=0 timerslen=1";
    const P1: &str =
        "  P1: status=0 schedtick=1 syscalltick=0 m=-1 runqsize=0 gfreecnt=0 timerslen=0";
    const M1: &str = "  M1: p=nil curg=nil mallocing=0 throwing=0 preemptoff= locks=0 dying=0 \
        spinning=false blocked=true lockedg=nil";
    const M0: &str = "  M0: p=0 curg=1 mallocing=0 throwing=0 preemptoff= locks=0 dying=0 \
        spinning=false blocked=false lockedg=nil";
    const G1: &str = "  G1: status=4(select (no cases)) m=nil lockedm=nil";

    fn all(lines: &[&str]) -> (Vec<Says>, Snapshot) {
        let mut gathering = gathering(2, 2);
        let says = lines.iter().map(|line| gathering.line(line.as_bytes())).collect();
        (says, gathering.finish())
    }

    #[test]
    fn lines_of_old_and_new_versions_are_summed_up() {
        let others =
            ["  G2: status=2(sleep) m=0 lockedm=-1", "  G3: status=4100(sleep) m=nil lockedm=nil"];
        let (says, snapshot) = all(&[P0, P1, M1, M0, G1, others[0], others[1]]);
        assert!(says.iter().all(|says| *says == Says::Belongs), "{says:?}");
        let detail = snapshot.detail.unwrap();
        assert_eq!((detail.procs, detail.threads, detail.goroutines), (2, 2, 3));
        assert_eq!((detail.ticks, detail.partial), (5, false));
        assert_eq!((detail.runnable_local, detail.timers, detail.threads_blocked), (2, 1, 1));
        assert_eq!(detail.reasons, [("select (no cases)".into(), 1), ("sleep".into(), 1)]);
        assert_eq!(detail.main_reason.as_deref(), Some("select (no cases)"));
    }

    #[test]
    fn lines_that_are_missing_make_it_partial() {
        let torn = "<hello>  G";
        for lines in [
            &[P0, M1, M0, G1][..],
            &[P1, M1, M0, G1],
            &[P0, P1, M1, G1],
            &[P0, P1],
            &[P0, P1, M1, M0, G1, torn],
        ] {
            let (says, snapshot) = all(lines);
            assert!(!says.contains(&Says::Another), "{says:?}");
            assert!(snapshot.detail.unwrap().partial, "{lines:?}");
        }
        let (says, snapshot) = all(&[P0, P1, M1, M0, G1, "  G2: status=4(chan re<hello>"]);
        assert_eq!(says.last(), Some(&Says::Torn));
        assert!(snapshot.detail.unwrap().partial);
    }

    #[test]
    fn the_lines_of_another_runtime_are_noticed() {
        for lines in [&[P0, P0][..], &[P0, P1, M0, M1], &[P0, P1, M1, M0, G1, P1]] {
            assert_eq!(all(lines).0.last(), Some(&Says::Another), "{lines:?}");
        }
        let early = "  G7: status=4(sleep) m=nil lockedm=nil";
        assert_eq!(all(&[P0, P1, early]).0.last(), Some(&Says::Another));
        let mut mixed = gathering(2, 2);
        mixed.line(P0.as_bytes());
        mixed.mix();
        assert_eq!(mixed.finish().detail, None);
    }

    #[test]
    fn a_list_that_was_cut_is_partial() {
        let mut gathering = gathering(2, 2);
        for line in [P0, P1, M1, M0, G1] {
            gathering.line(line.as_bytes());
        }
        assert_eq!(gathering.size(), Some((2, 1)));
        gathering.torn();
        assert_eq!(gathering.size(), None);
        assert!(gathering.finish().detail.unwrap().partial);
    }
}
