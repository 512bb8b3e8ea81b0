//! The first words of a crash: `panic:`, `fatal error:`, `SIGQUIT: quit` and what belongs to
//! them, until the traceback begins (runtime/panic.go, runtime/signal_unix.go).

use super::scan::{after, decimal, first};

/// Longest head that is kept: a panic text can be any length.
pub(crate) const HEAD_BYTES: usize = 8 * 1024;

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
    /// The text of the `[signal …]` line: `SIGSEGV: segmentation violation code=… addr=… pc=…`.
    pub signal: Option<&'a [u8]>,
    /// More than one panic is in the chain.
    pub chained: bool,
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

/// A head that waits for the line that proves it: the program can print `panic: …` itself.
#[derive(Debug)]
pub(crate) struct Pending {
    kind: CrashKind,
    /// The lines as they came, each with a newline, to give them back when it was no crash.
    lines: Vec<u8>,
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
    pub(crate) fn new(kind: CrashKind, line: &[u8]) -> Self {
        let mut lines = Vec::with_capacity(line.len().saturating_add(128));
        lines.extend_from_slice(first(line, HEAD_BYTES));
        lines.push(b'\n');
        Self { kind, lines, signal: None, blank: false }
    }

    /// Judges the next line and takes it when it belongs to the head.
    pub(crate) fn next(&mut self, line: &[u8]) -> Says {
        let says = self.judge(line);
        if says == Says::Belongs {
            self.blank = line.is_empty();
            let start = self.lines.len();
            self.lines.extend_from_slice(line);
            self.lines.push(b'\n');
            if let Some(text) = line.strip_prefix(b"[signal ") {
                let text = text.strip_suffix(b"]").unwrap_or(text);
                let start = start.saturating_add(8);
                self.signal = Some((start, start.saturating_add(text.len())));
            }
        }
        says
    }

    fn judge(&self, line: &[u8]) -> Says {
        if self.lines.len().saturating_add(line.len()) > HEAD_BYTES {
            return Says::Denies;
        }
        if line.starts_with(b"[signal SIG") {
            return Says::Belongs;
        }
        if proves(line) && (self.blank || self.kind != CrashKind::Panic) {
            return Says::Proves;
        }
        if line.is_empty() || self.kind == CrashKind::Panic {
            return Says::Belongs;
        }
        // After `fatal error:` the runtime may print the fault's address or its own state; the
        // text of a signal has one line only.
        if self.kind == CrashKind::Fatal && line.starts_with(b"runtime: ") {
            return Says::Belongs;
        }
        Says::Denies
    }

    /// The head's own text; `None` when nothing was said.
    pub(crate) fn head(&self) -> CrashHead<'_> {
        let end = self.signal.map_or(self.lines.len(), |(start, _)| start.saturating_sub(8));
        let mut text = first(&self.lines, end);
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
        }
    }

    /// The lines as they came.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.strip_suffix(b"\n").unwrap_or(&self.lines).split(|b| *b == b'\n')
    }
}

/// Whether only the runtime goes on so after the head of a crash.
fn proves(line: &[u8]) -> bool {
    line.starts_with(b"runtime stack:")
        || line.starts_with(b"PC=0x")
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
        let mut head = Pending::new(CrashKind::Panic, b"panic: cannot apply migration 7:");
        for line in ["  line 3: syntax error", "goroutine 99 [fake]:", "SCHED 0ms: fake", ""] {
            assert_eq!(head.next(line.as_bytes()), Says::Belongs, "{line}");
        }
        assert_eq!(head.next(b"goroutine 1 [running]:"), Says::Proves);
        assert_eq!(head.head().first_line(), b"cannot apply migration 7:");
        assert_eq!(head.lines().count(), 5);
    }

    #[test]
    fn a_fatal_error_that_the_program_prints_is_denied_by_its_next_line() {
        let mut head = Pending::new(CrashKind::Fatal, b"fatal error: printed by the program");
        assert_eq!(head.next(b"and so on"), Says::Denies);
    }

    #[test]
    fn the_signal_line_is_kept_apart_from_the_message() {
        let mut head = Pending::new(CrashKind::Panic, b"panic: nil pointer");
        assert_eq!(head.next(b"[signal SIGSEGV: segmentation violation code=0x1]"), Says::Belongs);
        assert_eq!(head.head().message, b"nil pointer");
        assert_eq!(head.head().signal, Some(&b"SIGSEGV: segmentation violation code=0x1"[..]));
    }
}
