//! The first words of a crash: `panic:`, `fatal error:`, `SIGQUIT: quit` and what belongs to
//! them, until the traceback begins (runtime/panic.go, runtime/signal_unix.go).

use super::scan::{after, decimal, first};

/// Longest head that is kept: a panic text can be any length. More than the longest line.
pub(crate) const HEAD_BYTES: usize = 72 * 1024;
/// What is kept of a first line that was too long to be held.
const LONG: usize = 4 * 1024;

/// What kind of crash it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// `panic:`
    Panic,
    /// `fatal error:`
    Fatal,
    /// A signal that the runtime answers with a dump: SIGQUIT, SIGABRT, …
    Signal,
}

impl CrashKind {
    /// The word for it in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Fatal => "fatal",
            Self::Signal => "signal",
        }
    }
}

/// The head of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashHead<'a> {
    /// What kind of crash it is.
    pub kind: CrashKind,
    /// The text behind `panic: ` or `fatal error: `, or the signal line (`SIGQUIT: quit`). Later
    /// lines of the text and chained panics follow, each behind a newline.
    pub message: &'a [u8],
    /// The text of the `[signal …]` line: `SIGSEGV: segmentation violation code=… addr=… pc=…`;
    /// after a signal line where it struck: `PC=… m=0 sigcode=1 addr=0x0` and the line behind it.
    pub signal: Option<&'a [u8]>,
    /// More than one panic is in the chain.
    pub chained: bool,
    /// What the runtime printed before it: `runtime: goroutine stack exceeds 1000000000-byte
    /// limit`, `unexpected fault address 0xdead0000`.
    pub lead: Option<&'a [u8]>,
    /// Something followed that only the runtime prints; else these words alone look like it.
    pub proven: bool,
    /// All of it as it came, each line with a newline; without a first line that was handed out as
    /// text because of its length.
    pub lines: &'a [u8],
}

impl<'a> CrashHead<'a> {
    /// The first line of the message.
    #[must_use]
    pub fn first_line(&self) -> &'a [u8] {
        self.message.split(|b| *b == b'\n').next().unwrap_or_default()
    }
}

/// The kind of crash that a line begins, and the rest of the line.
pub(crate) fn begins(line: &[u8]) -> Option<(CrashKind, &[u8])> {
    if let Some(rest) = line.strip_prefix(b"panic: ") {
        return Some((CrashKind::Panic, rest));
    }
    if let Some(rest) = line.strip_prefix(b"fatal error: ") {
        return Some((CrashKind::Fatal, rest));
    }
    signal(line).then_some((CrashKind::Signal, line))
}

/// `SIGQUIT: quit`, `SIGABRT: abort`, `SIGSEGV: segmentation violation`: a name and the words of
/// the runtime's table.
fn signal(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"SIG") else { return false };
    let name = rest.iter().take_while(|b| b.is_ascii_uppercase() || b.is_ascii_digit()).count();
    let words = after(rest, name);
    (2..=10).contains(&name)
        && words.len() < 48
        && words.strip_prefix(b": ").is_some_and(|words| {
            words.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'/' | b'-'))
        })
}

/// Whether the runtime prints such a line before a `fatal error:`; `follows` = one such line came
/// already.
pub(crate) fn leads(line: &[u8], follows: bool) -> bool {
    line.starts_with(b"runtime: ")
        || line.starts_with(b"unexpected fault address ")
        // A bad pointer and the object that holds it (runtime/mbitmap.go, `badPointer`).
        || (follows
            && (line.starts_with(b"object=")
                || line.starts_with(b" *(object+")
                || line.starts_with(b" ...")))
}

/// A head that waits for the line that proves it: the program can print `panic: …` itself.
#[derive(Debug)]
pub(crate) struct Pending {
    kind: CrashKind,
    /// The lines as they came, each with a newline, to give them back when it was no crash.
    lines: Vec<u8>,
    /// Bytes at the start of `lines` that came before the head.
    lead: usize,
    /// The first line was handed out as text already, because of its length.
    told: bool,
    /// A line that only the runtime prints belongs to the head.
    proven: bool,
    /// Where the `[signal …]` text stands in `lines`.
    signal: Option<(usize, usize)>,
    /// The last line was empty: a traceback may follow now.
    pub(crate) blank: bool,
}

/// What a line says about the head before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It belongs to the head.
    Belongs,
    /// The head was real and ends here; the line is for the traceback.
    Proves,
    /// It was no crash.
    Denies,
}

impl Pending {
    /// A head behind the lines that lead to it, each with its newline.
    pub(crate) fn new(kind: CrashKind, mut lead: Vec<u8>, line: &[u8]) -> Self {
        let before = lead.len();
        lead.extend_from_slice(first(line, HEAD_BYTES));
        lead.push(b'\n');
        let (told, proven) = (false, false);
        Self { kind, lines: lead, lead: before, told, proven, signal: None, blank: false }
    }

    /// A head whose first line is too long to be held, and was handed out as text.
    pub(crate) fn told(kind: CrashKind, line: &[u8]) -> Self {
        Self { told: true, ..Self::new(kind, Vec::new(), first(line, LONG)) }
    }

    /// Judges the next line and takes it when it belongs to the head.
    pub(crate) fn next(&mut self, line: &[u8]) -> Says {
        let says = self.judge(line);
        if says == Says::Belongs {
            self.blank = line.is_empty();
            let start = self.lines.len();
            self.lines.extend_from_slice(line);
            self.lines.push(b'\n');
            let end = start.saturating_add(line.len());
            if let Some(text) = line.strip_prefix(b"[signal ") {
                let text = text.strip_suffix(b"]").unwrap_or(text);
                let start = start.saturating_add(8);
                self.signal = Some((start, start.saturating_add(text.len())));
            } else if self.kind == CrashKind::Signal && struck(line) {
                self.proven = true;
                self.signal = Some((self.signal.map_or(start, |(start, _)| start), end));
            }
        }
        says
    }

    /// Takes one more line of the panic's text, if there is room for it.
    pub(crate) fn words(&mut self, line: &[u8]) -> bool {
        let fits = self.lines.len().saturating_add(line.len()) < HEAD_BYTES;
        if fits {
            self.lines.extend_from_slice(line);
            self.lines.push(b'\n');
            self.blank = false;
        }
        fits
    }

    fn judge(&self, line: &[u8]) -> Says {
        if self.lines.len().saturating_add(line.len()) > HEAD_BYTES {
            return Says::Denies;
        }
        if line.starts_with(b"[signal SIG") || (self.kind == CrashKind::Signal && struck(line)) {
            return Says::Belongs;
        }
        if self.proven || (proves(line) && (self.blank || self.kind != CrashKind::Panic)) {
            return Says::Proves;
        }
        if line.is_empty() || self.kind == CrashKind::Panic {
            return Says::Belongs;
        }
        // Two threads can find the same fault at once.
        if self.kind == CrashKind::Fatal && line.starts_with(b"fatal error: ") {
            return Says::Belongs;
        }
        // After `fatal error:` the runtime may print the fault's address or its own state; the
        // text of a signal has one line only.
        if self.kind == CrashKind::Fatal && line.starts_with(b"runtime: ") {
            return Says::Belongs;
        }
        Says::Denies
    }

    /// Whether it can stand without a proof (GOTRACEBACK=none prints none): nothing followed but
    /// what belongs to the text of a panic in any version.
    pub(crate) fn stands(&self) -> bool {
        match self.kind {
            CrashKind::Fatal => true,
            CrashKind::Signal => self.proven,
            CrashKind::Panic => {
                let lines = after(&self.lines, self.lead).split(|b| *b == b'\n').skip(1);
                let belongs = |line: &[u8]| {
                    line.is_empty() || line.starts_with(b"\t") || line.starts_with(b"[signal SIG")
                };
                self.proven || (!self.told && lines.into_iter().all(belongs))
            }
        }
    }

    /// What was read; `proven` = the line behind it is the runtime's for sure.
    pub(crate) fn head(&self, proven: bool) -> CrashHead<'_> {
        let end = self.signal.map_or(self.lines.len(), |(start, _)| start);
        let mut text = after(first(&self.lines, end), self.lead);
        text = text.strip_suffix(b"[signal ").unwrap_or(text);
        while let Some(rest) = text.strip_suffix(b"\n") {
            text = rest;
        }
        let prefix: &[u8] = match self.kind {
            CrashKind::Panic => b"panic: ",
            CrashKind::Fatal => b"fatal error: ",
            CrashKind::Signal => b"",
        };
        let message = text.strip_prefix(prefix).unwrap_or(text);
        CrashHead {
            kind: self.kind,
            message,
            signal: self.signal.and_then(|(start, end)| self.lines.get(start..end)),
            chained: memchr::memmem::find(message, b"\n\tpanic: ").is_some(),
            lead: (self.lead > 1).then(|| first(&self.lines, self.lead.saturating_sub(1))),
            proven: proven || self.proven,
            lines: self.untold(),
        }
    }

    /// Without the first line, if that was handed out as text.
    fn untold(&self) -> &[u8] {
        let told = memchr::memchr(b'\n', &self.lines).filter(|_| self.told);
        after(&self.lines, told.map_or(0, |at| at.saturating_add(1)))
    }

    /// The lines as they came, without one that was handed out before.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.untold();
        let none = lines.is_empty();
        let lines = lines.strip_suffix(b"\n").unwrap_or(lines);
        lines.split(|b| *b == b'\n').skip(usize::from(none))
    }
}

/// Where a deadly signal struck (runtime/signal_unix.go, `sighandler`).
fn struck(line: &[u8]) -> bool {
    line.starts_with(b"PC=0x")
        || line.starts_with(b"signal arrived during ")
        || line.starts_with(b"instruction bytes: ")
}

/// Whether only the runtime goes on so after the head of a crash.
fn proves(line: &[u8]) -> bool {
    line.starts_with(b"runtime stack:")
        || line.starts_with(b"PC=")
        || line.strip_prefix(b"goroutine ").is_some_and(|rest| decimal(rest).is_some())
        || line.starts_with(b"\tpanic: ")
        || line.starts_with(b"-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_from_other_words() {
        for (line, kind) in [
            ("panic: boom", CrashKind::Panic),
            ("fatal error: all goroutines are asleep - deadlock!", CrashKind::Fatal),
            ("SIGQUIT: quit", CrashKind::Signal),
            ("SIGSEGV: segmentation violation", CrashKind::Signal),
        ] {
            assert_eq!(begins(line.as_bytes()).map(|(kind, _)| kind), Some(kind), "{line}");
        }
        for line in ["panicking", "SIGNAL: x!", "SIG: x", "error: fatal", "SIGQUIT received"] {
            assert_eq!(begins(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_text_of_many_lines_that_imitates_a_dump_stays_one_text() {
        let mut head =
            Pending::new(CrashKind::Panic, Vec::new(), b"panic: cannot apply migration 7:");
        for line in ["  line 3: syntax error", "goroutine 99 [fake]:", "SCHED 0ms: fake", ""] {
            assert_eq!(head.next(line.as_bytes()), Says::Belongs, "{line}");
        }
        assert_eq!(head.next(b"goroutine 1 [running]:"), Says::Proves);
        assert_eq!(head.head(true).first_line(), b"cannot apply migration 7:");
        assert_eq!(head.lines().count(), 5);
    }

    #[test]
    fn a_fatal_error_that_the_program_prints_is_denied_by_its_next_line() {
        let mut head =
            Pending::new(CrashKind::Fatal, Vec::new(), b"fatal error: printed by the program");
        assert_eq!(head.next(b"and so on"), Says::Denies);
    }

    #[test]
    fn the_signal_line_is_kept_apart_from_the_message() {
        let mut head = Pending::new(CrashKind::Panic, Vec::new(), b"panic: nil pointer");
        assert_eq!(head.next(b"[signal SIGSEGV: segmentation violation code=0x1]"), Says::Belongs);
        assert_eq!(head.head(true).message, b"nil pointer");
        assert_eq!(head.head(true).signal, Some(&b"SIGSEGV: segmentation violation code=0x1"[..]));
    }
}
