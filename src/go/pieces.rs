//! Lines that the runtime prints piece by piece, each piece a write(2) of its own: which piece can
//! come next (runtime/proc.go, mgc.go, traceback.go, signal_unix.go). One that fits no line in
//! progress is somebody else's.

use super::line::LINE_LIMIT;
use super::scan::{after, first};
use std::hash::Hash;

/// The lines of which every piece is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    /// `init net/http @4.2 ms, 0.35 ms clock, 18432 bytes, 211 allocs`
    Init,
    /// `gc 1 @0.294s 3%: 0.30+158+0.011 ms clock, …`
    Gc,
    /// `goroutine 1 gp=0xc000002380 m=nil [chan receive, 3 minutes]:`
    Goroutine,
    /// `created by main.main in goroutine 1`
    Created,
    /// A tab, `/src/pool.go:88 +0x1d fp=0x… sp=0x… pc=0x…`
    Place,
    /// `...56 frames elided...`
    Elided,
    /// `[originating from goroutine 7]:`
    Ancestor,
    /// `PC=0x47f1a3 m=0 sigcode=0`
    Counter,
    /// `  P0: status=1 schedtick=4 …`
    Proc,
    /// `  M0: p=0 curg=1 …`
    Thread,
    /// `  G1: status=4(chan receive) m=nil lockedm=nil`
    Status,
}

/// How each of them begins.
const OPENERS: [(&[u8], Kind); 11] = [
    (b"init ", Kind::Init),
    (b"gc ", Kind::Gc),
    (b"goroutine ", Kind::Goroutine),
    (b"created by ", Kind::Created),
    (b"\t", Kind::Place),
    (b"...", Kind::Elided),
    (b"[originating from goroutine ", Kind::Ancestor),
    (b"PC=", Kind::Counter),
    (b"  P", Kind::Proc),
    (b"  M", Kind::Thread),
    (b"  G", Kind::Status),
];

/// What stands between the figures, in order; a figure comes first.
const INIT: [&[u8]; 4] = [b" ms, ", b" ms clock, ", b" bytes, ", b" allocs"];
const GC: [&[u8]; 18] = [
    b" @",
    b"s ",
    b"%: ",
    b"+",
    b"+",
    b" ms clock, ",
    b"+",
    b"/",
    b"/",
    b"+",
    b" ms cpu, ",
    b"->",
    b"->",
    b" MB, ",
    b" MB goal, ",
    b" MB stacks, ",
    b" MB globals, ",
    b" P",
];
const PROC: [&[u8]; 7] = [
    b": status=",
    b" schedtick=",
    b" syscalltick=",
    b" m=",
    b" runqsize=",
    b" gfreecnt=",
    b" timerslen=",
];
const THREAD: [&[u8]; 10] = [
    b": p=",
    b" curg=",
    b" mallocing=",
    b" throwing=",
    b" preemptoff=",
    b" locks=",
    b" dying=",
    b" spinning=",
    b" blocked=",
    b" lockedg=",
];
const COUNTER: [&[u8]; 3] = [b" m=", b" sigcode=", b" addr="];

/// The end of a line.
const END: u8 = u8::MAX;

/// A line of the runtime in progress.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    kind: Kind,
    step: u8,
    /// Keys that no known version prints there.
    strange: u32,
    bytes: Vec<u8>,
}

impl Pieces {
    /// The line that begins with this piece.
    pub(super) fn opens(bytes: &[u8]) -> Option<Self> {
        let (_, kind) = OPENERS.iter().find(|(opener, _)| *opener == bytes)?;
        Some(Self { kind: *kind, step: 0, strange: 0, bytes: bytes.to_vec() })
    }

    /// A tab or three dots begin something else as well.
    pub(super) fn vague(&self) -> bool {
        matches!(self.kind, Kind::Place | Kind::Elided)
    }

    /// Whether only the first piece was seen.
    pub(super) fn begun(&self) -> bool {
        self.step == 0
    }

    /// Whether it is one of the lines behind a detailed record.
    pub(super) fn detail(&self) -> bool {
        matches!(self.kind, Kind::Proc | Kind::Thread | Kind::Status)
    }

    /// The line so far, without its newline.
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes)
    }

    /// Whether the newline was seen.
    pub(super) fn complete(&self) -> bool {
        self.step == END
    }

    /// How much of it is not as any known version prints it.
    pub(super) fn strange(&self) -> u32 {
        self.strange
    }

    /// Where it goes on, whatever was read so far.
    pub(super) fn place(&self) -> impl Hash {
        (self.kind, self.step)
    }

    /// Whether this can be the next piece; true inside when a known version prints it so.
    pub(super) fn fits(&self, bytes: &[u8]) -> Option<bool> {
        let (_, strange) = self.next(bytes)?;
        Some(!strange)
    }

    /// Takes a piece that fits.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        let Some((step, strange)) = self.next(bytes) else { return };
        self.step = step;
        self.strange = self.strange.saturating_add(u32::from(strange));
        self.bytes.extend_from_slice(bytes);
    }

    /// Whether the runtime is inside a print statement here, of which its print lock keeps its
    /// other threads out.
    pub(super) fn locked(&self) -> bool {
        match self.kind {
            // ` @` and every unit end a statement.
            Kind::Init => self.step == 0 || !self.step.is_multiple_of(2),
            // After the number, the pointers, the state, and the bracket.
            Kind::Goroutine => !matches!(self.step, 1 | 3 | 5 | 7 | 10..=13),
            Kind::Created => self.step == 2,
            Kind::Place => !matches!(self.step, 3 | 5 | 11),
            Kind::Status => !matches!(self.step, 6..=9),
            Kind::Proc => !matches!(self.step, 8 | 9),
            Kind::Thread => !matches!(self.step, 2..=5 | 20..),
            Kind::Gc | Kind::Elided | Kind::Ancestor | Kind::Counter => true,
        }
    }

    /// The step behind this piece, and whether it is strange; nothing if it does not fit.
    fn next(&self, bytes: &[u8]) -> Option<(u8, bool)> {
        if self.bytes.len() >= LINE_LIMIT {
            return None;
        }
        let known = |step: Option<u8>| step.map(|step| (step, false));
        match self.kind {
            Kind::Init => known(init(self.step, bytes)),
            Kind::Gc => gc(self.step, bytes),
            Kind::Goroutine => known(goroutine(self.step, bytes)),
            Kind::Created => known(created(self.step, bytes)),
            Kind::Place => known(place(self.step, bytes)),
            Kind::Elided => known(match self.step {
                0 if number(bytes) => Some(1),
                1 if bytes == b" frames elided...\n" => Some(END),
                _ => None,
            }),
            Kind::Ancestor => known(match self.step {
                0 if number(bytes) => Some(1),
                1 if bytes == b"]:\n" => Some(END),
                _ => None,
            }),
            Kind::Counter => keyed(self.step, bytes, &COUNTER),
            Kind::Proc => keyed(self.step, bytes, &PROC),
            Kind::Thread => keyed(self.step, bytes, &THREAD),
            Kind::Status => known(status(self.step, bytes)),
        }
    }
}

/// Digits only.
pub(super) fn number(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= 20 && bytes.iter().all(u8::is_ascii_digit)
}

fn figure(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() <= 24
        && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

fn hex(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(b"0x")
        .is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit))
}

/// What stands behind a key of scheddetail.
fn value(bytes: &[u8]) -> bool {
    matches!(bytes, b"nil" | b"true" | b"false")
        || number(bytes.strip_prefix(b"-").unwrap_or(bytes))
        || hex(bytes)
}

/// Step 0: the package, 1: ` @`, then figures (even) and units (odd) in turn.
fn init(step: u8, bytes: &[u8]) -> Option<u8> {
    let next = step.checked_add(1);
    match step {
        0 => {
            let path = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
            (path && !figure(bytes)).then_some(1)
        }
        1 => (bytes == b" @").then_some(2),
        10 => (bytes == b"\n").then_some(END),
        _ if step.is_multiple_of(2) => figure(bytes).then_some(next?),
        _ => {
            let unit = INIT.get(usize::from(step / 2).checked_sub(1)?)?;
            (bytes == *unit).then_some(next?)
        }
    }
}

/// Figures (even steps) and what is between them (odd ones) in turn.
fn gc(step: u8, bytes: &[u8]) -> Option<(u8, bool)> {
    /// Between the percent sign and the colon of 1.26 and later.
    const SPLIT: u8 = 100;
    let next = step.checked_add(1)?;
    match (step, bytes) {
        (5, b"%") => return Some((SPLIT, false)),
        (SPLIT, b": ") => return Some((6, false)),
        (SPLIT, _) => return bytes.starts_with(b" (").then_some((SPLIT, false)),
        (36, b"\n") => return Some((END, false)),
        (36, _) => return bytes.starts_with(b" (").then_some((36, false)),
        _ => {}
    }
    if step.is_multiple_of(2) {
        return figure(bytes).then_some((next, false));
    }
    (GC.get(usize::from(step / 2)) == Some(&bytes)).then_some((next, false))
}

fn goroutine(step: u8, bytes: &[u8]) -> Option<u8> {
    let ended = bytes.last() == Some(&b'\n');
    match (step, bytes) {
        (0 | 9, _) if number(bytes) => Some(if step == 0 { 1 } else { 7 }),
        (1, b" gp=") => Some(2),
        (2, _) if hex(bytes) => Some(3),
        (3, b" m=") => Some(4),
        (3, b" m=nil") => Some(5),
        (4, _) if number(bytes) => Some(14),
        (14, b" mp=") => Some(15),
        (15, _) if hex(bytes) => Some(5),
        (1 | 5, b" [") => Some(6),
        (6, _) if !ended && !number(bytes) && bytes.first() != Some(&b' ') => Some(7),
        (7, b"]:\n") | (10, b":\n") => Some(END),
        (7, b"]") => Some(10),
        (7, b", ") => Some(8),
        (8, _) if number(bytes) => Some(16),
        (16, b" minutes") => Some(7),
        (7, b" labels:{") => Some(13),
        (7, _) if bytes.starts_with(b", synctest ") => Some(9),
        (7, _) if !ended && (bytes.starts_with(b" (") || bytes.starts_with(b", ")) => Some(7),
        (10, b" {") => Some(11),
        (11, b"}") => Some(12),
        (12, b":\n") => Some(END),
        (13, b"}") => Some(7),
        // The text of a label.
        (11..=13, _) if !ended => Some(if step == 12 { 11 } else { step }),
        _ => None,
    }
}

fn created(step: u8, bytes: &[u8]) -> Option<u8> {
    match (step, bytes) {
        (1 | 3, b"\n") => Some(END),
        (1, b" in goroutine ") => Some(2),
        (2, _) if number(bytes) => Some(3),
        // A name comes in up to five pieces.
        (0 | 1, _) => {
            let name = bytes.first().is_some_and(|b| b.is_ascii_graphic() && !b.is_ascii_digit());
            (name && !bytes.contains(&b'\n') && bytes.len() <= 1024).then_some(1)
        }
        _ => None,
    }
}

fn place(step: u8, bytes: &[u8]) -> Option<u8> {
    match (step, bytes) {
        (0, _) if source(bytes) => Some(1),
        (1, b":") => Some(2),
        (2, _) if number(bytes) => Some(3),
        (3, b" +") => Some(4),
        (3 | 5, b" fp=") => Some(6),
        (7, b" sp=") => Some(8),
        (9, b" pc=") => Some(10),
        (4 | 6 | 8 | 10, _) if hex(bytes) => step.checked_add(1),
        // A frame of C code (runtime/traceback.go, `printOneCgoTraceback`).
        (3, b" ") => Some(14),
        (0 | 14, b"pc=") => Some(12),
        (12, _) if hex(bytes) => Some(13),
        (3 | 5 | 11 | 13, b"\n") => Some(END),
        _ => None,
    }
}

/// Whether this can be the name of a source file.
fn source(bytes: &[u8]) -> bool {
    const TAILS: [&[u8]; 5] = [b".go", b".s", b".c", b".h", b">"];
    !bytes.contains(&b'\n') && TAILS.iter().any(|tail| bytes.ends_with(tail))
}

/// Step 0: the number; then keys (odd steps) and values (even steps) in the order of `keys`.
fn keyed(step: u8, bytes: &[u8], keys: &[&[u8]]) -> Option<(u8, bool)> {
    let at = usize::from(step / 2);
    let key = |from: usize| {
        let found = after_keys(keys, from).iter().position(|key| *key == bytes);
        let unknown = bytes.first() == Some(&b' ') && bytes.last() == Some(&b'=');
        match found {
            Some(skipped) => {
                let step = u8::try_from(from.saturating_add(skipped)).ok()?.checked_mul(2)?;
                Some((step.checked_add(2)?, skipped > 0))
            }
            None => (unknown && !keys.contains(&bytes)).then_some((step & !1, true)),
        }
    };
    if step.is_multiple_of(2) {
        if bytes == b"-" {
            return Some((step, false));
        }
        if value(bytes) {
            let key = at.checked_sub(1).and_then(|at| keys.get(at)).copied().unwrap_or_default();
            return Some((step.checked_add(1)?, !kind_of(key, bytes)));
        }
        // preemptoff= has an empty value as a rule, or a word.
        let empty = at > 0 && keys.get(at.saturating_sub(1)) == Some(&&b" preemptoff="[..]);
        if !empty {
            return None;
        }
        return key(at).or_else(|| {
            let word = bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b' ');
            (word && bytes.first() != Some(&b' ')).then_some((step.saturating_add(1), false))
        });
    }
    if bytes == b"\n" {
        // `addr=` is left out where the signal has none.
        return Some((END, at < keys.len() && keys.len() != COUNTER.len()));
    }
    key(at)
}

/// Whether a known version prints such a value behind the key.
fn kind_of(key: &[u8], bytes: &[u8]) -> bool {
    let figure = bytes.first().is_some_and(u8::is_ascii_digit);
    match key {
        b" m=" | b": p=" | b" curg=" | b" lockedg=" => figure || bytes == b"nil",
        b" spinning=" | b" blocked=" => matches!(bytes, b"true" | b"false"),
        _ => figure,
    }
}

fn after_keys<'a>(keys: &'a [&'a [u8]], from: usize) -> &'a [&'a [u8]] {
    keys.get(from..).unwrap_or_default()
}

fn status(step: u8, bytes: &[u8]) -> Option<u8> {
    match (step, bytes) {
        (0, _) if number(bytes) => Some(1),
        (1, b": status=") => Some(2),
        (2, _) if number(bytes) => Some(3),
        (3, b"(") => Some(4),
        (4, b") m=") | (5, b") m=") => Some(6),
        (4, _) => {
            let reason = bytes.first().is_some_and(u8::is_ascii_alphabetic);
            // No reason is `nil`: that is an M, of a line whose own reason is known.
            let other = bytes == b"nil" || bytes.contains(&b'\n');
            (reason && bytes.len() <= 64 && !other).then_some(5)
        }
        // The runtime writes the sign of a number alone.
        (6 | 8, b"-") => Some(step),
        (6, _) if bytes == b"nil" || number(bytes) => Some(7),
        (7, b" lockedm=") => Some(8),
        (8, _) if bytes == b"nil" || number(bytes) => Some(9),
        (9, b"\n") => Some(END),
        _ => None,
    }
}

/// The ends of lines that the runtime prints as a write of their own.
pub(super) fn tail(bytes: &[u8]) -> bool {
    const TAILS: [&[u8]; 11] = [
        b")\n",
        b"(...)\n",
        b"]\n",
        b"]:\n",
        b":\n",
        b"-byte limit\n",
        b"-thread limit\n",
        b" in use)\n",
        b" frames elided...\n",
        b" allocs\n",
        b" [recovered]\n",
    ];
    bytes.len() <= 1 || TAILS.contains(&bytes) || hex(bytes.strip_suffix(b"\n").unwrap_or_default())
}

/// What the runtime prints in one write although it ends in a newline.
pub(super) fn literal(bytes: &[u8]) -> bool {
    const HEADS: [&[u8]; 9] = [
        b"\n",
        b"\t",
        b"...",
        b"-----",
        b"runtime",
        b"signal arrived during",
        b"goroutine running on other thread",
        b"stack trace unavailable",
        b"panic during panic",
    ];
    tail(bytes) || HEADS.iter().any(|head| bytes.starts_with(head))
}

/// With these begin pieces inside a line, and hardly ever lines.
pub(super) const STARTS: &[u8] = b" )]}(:,.+";

/// What nobody would begin a line with.
pub(super) fn piece(bytes: &[u8]) -> bool {
    bytes.len() <= 64
        && (bytes == b"\n" || number(bytes) || bytes.first().is_some_and(|b| STARTS.contains(b)))
}

/// Whether a line in progress begins as the runtime begins its lines.
pub(super) fn of_runtime(text: &[u8]) -> bool {
    const HEADS: [&[u8]; 4] = [b"\t", b"runtime: ", b"[signal ", b"runtime."];
    HEADS.iter().any(|head| text.starts_with(head)) || super::crash::begins(text).is_some()
}

/// Whether the line is the beginning of a crash whose text is still to come, and can have any
/// shape.
pub(super) fn awaits_words(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\t").unwrap_or(text);
    matches!(text, b"" | b"panic: " | b"fatal error: ")
}

/// Whether the next piece is the text of a panic, or of a string of a named type in it.
pub(super) fn says_words(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"\t").unwrap_or(text);
    text.strip_prefix(b"panic: ").is_some_and(|said| said.is_empty() || said.ends_with(b"(\""))
}

/// The first line of several, and the rest.
pub(super) fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let newline = memchr::memchr(b'\n', bytes)?;
    Some((first(bytes, newline), after(bytes, newline.saturating_add(1))))
}
