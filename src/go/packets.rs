//! Packet mode: what one write(2) brings. The runtime prints a line in many writes, everybody else
//! a line, or several, in one; so a packet continues a line of the runtime exactly where the
//! runtime would go on, and is a line of its own otherwise.

use super::entry::{Entry, Text};
use super::lanes::give_up;
use super::line::{Assembler, LINE_LIMIT};
use super::scan::{after, first};
use super::sched::HEAD;

/// Lines in progress beside the one that is written to; the oldest gives way.
const PARKED: usize = 8;

impl Assembler {
    /// `follows`: the packet before was a full one, so this one goes on with the same write.
    pub(super) fn packet(&mut self, bytes: &[u8], follows: bool, out: &mut impl FnMut(Entry<'_>)) {
        // The runtime begins a record right behind a long write of exactly whole packets.
        if follows && bytes != HEAD {
            return self.more_of_a_write(bytes, out);
        }
        if self.undecided.is_some() && self.decide(bytes, out) {
            return self.own_lines(bytes, out);
        }
        if bytes == HEAD {
            self.worlds.open();
            return self.hand_out_packets(out);
        }
        // A key of versions to come, unless a line is in progress that may have such a piece.
        let record = self.worlds.fits(bytes)
            && (self.text.is_empty() || !runtime_piece(&self.text) || self.worlds.expects(bytes));
        if record {
            if number(bytes) {
                if let Some(at) = self.parked.iter().rposition(|line| wants(line, bytes))
                    && !wants(&self.text, bytes)
                {
                    self.resume(at, out);
                }
                if wants(&self.text, bytes) && !strict(&self.text) {
                    // Printed in one statement with the piece before it.
                    self.worlds.doubt(bytes);
                    return self.append(bytes, out);
                }
                if wants(&self.text, bytes) {
                    self.undecided = Some(bytes.to_vec());
                    return;
                }
            }
            self.worlds.take(bytes);
            return self.hand_out_packets(out);
        }
        self.route(bytes, out);
    }

    /// Says whose the number was that is held back, now that something follows it. A number is
    /// printed in one statement with what stands behind it in a line, and the runtime's print lock
    /// keeps its other threads out of a statement. So the line is told by its next word. True when
    /// this is a line of somebody else, which tells nothing.
    fn decide(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) -> bool {
        let Some(held) = self.undecided.take() else { return false };
        let before = self.text.len();
        self.text.extend_from_slice(&held);
        if wants(&self.text, bytes) {
            return false;
        }
        let foreign = bytes.last() == Some(&b'\n') && self.interrupts(bytes);
        self.text.truncate(before);
        if foreign {
            self.undecided = Some(held);
            return true;
        }
        self.worlds.presume(&held);
        self.hand_out_packets(out);
        false
    }

    /// A packet that is no piece of a record.
    fn route(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if !self.text.is_empty() && wants(&self.text, bytes) {
            return self.append(bytes, out);
        }
        if let Some(at) = self.parked.iter().rposition(|line| wants(line, bytes)) {
            self.resume(at, out);
            return self.append(bytes, out);
        }
        if self.text.is_empty() && self.raw.is_empty() {
            if piece(bytes)
                && let Some(at) = self.parked.iter().rposition(|line| !strict(line))
            {
                self.resume(at, out);
                return self.append(bytes, out);
            }
            return self.own_lines(bytes, out);
        }
        if bytes.last() == Some(&b'\n') && self.interrupts(bytes) {
            return self.own_lines(bytes, out);
        }
        let begins = bytes.first() != Some(&b'\n');
        if begins && self.raw.is_empty() && !self.continues && (strict(&self.text) || opens(bytes))
        {
            self.park(out);
            return self.own_lines(bytes, out);
        }
        if self.worlds.revive(bytes) {
            return self.hand_out_packets(out);
        }
        self.append(bytes, out);
    }

    /// Leaves the line in progress for another one.
    fn park(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if self.parked.len() >= PARKED {
            let oldest = self.parked.remove(0);
            out(Entry::Text(Text::line(&oldest)));
        }
        self.parked.push(std::mem::take(&mut self.text));
    }

    /// Takes up a line that was left.
    fn resume(&mut self, at: usize, out: &mut impl FnMut(Entry<'_>)) {
        let line = self.parked.remove(at);
        if !self.text.is_empty() {
            self.park(out);
        }
        self.text = line;
    }

    /// Hands out the records that are complete.
    pub(super) fn hand_out_packets(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        for mut lane in self.worlds.ready() {
            match lane.finish() {
                Some(snapshot) => self.classifier.sched(snapshot, out),
                None => give_up(&lane, out),
            }
        }
    }

    /// The stream has ended.
    pub(super) fn end_packets(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.worlds.end();
        self.hand_out_packets(out);
        for line in std::mem::take(&mut self.parked) {
            out(Entry::Text(Text { partial: true, ..Text::line(&line) }));
        }
    }

    /// The rest of a write of more than 4096 bytes.
    fn more_of_a_write(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if self.raw.is_empty() {
            return self.append(bytes, out);
        }
        let mut whole = std::mem::take(&mut self.raw);
        whole.extend_from_slice(bytes);
        self.own_lines(&whole, out);
    }

    /// Lines of a writer that needs nothing of what is in progress. Without a newline at the end
    /// the last one waits: in `text`, or beside it when somebody else's line is there.
    fn own_lines(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let runtime = literal(bytes);
        let foreign = self.pieced && !self.classifier.idle() && !runtime;
        let mut rest = bytes;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let line = first(rest, newline);
            if line.starts_with(HEAD)
                && let Some((snapshot, _)) = super::sched::parse(line)
            {
                self.classifier.sched(snapshot, out);
            } else if foreign {
                self.classifier.alone(line, out);
            } else {
                self.classifier.line(line, out);
                self.pieced &= runtime;
            }
            rest = after(rest, newline.saturating_add(1));
        }
        if rest.is_empty() {
            return;
        }
        if self.text.is_empty() {
            self.text.extend_from_slice(rest);
            self.shed(out);
        } else if rest.len() < LINE_LIMIT {
            self.raw.extend_from_slice(rest);
        } else {
            out(Entry::Text(Text { bytes: rest, continued: true, ..Text::default() }));
        }
    }

    /// Goes on with the line in `text`.
    fn append(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let mut rest = bytes;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            self.pieced = !self.text.is_empty();
            self.text.extend_from_slice(first(rest, newline));
            self.shed(out);
            self.finish_line(out);
            rest = after(rest, newline.saturating_add(1));
        }
        self.text.extend_from_slice(rest);
        self.shed(out);
    }

    /// Whether these whole lines stand inside a line that the runtime is printing piece by piece:
    /// the runtime ends its lines with a few fixed words, all others are somebody else's.
    fn interrupts(&self, bytes: &[u8]) -> bool {
        if self.text == b"\t" && self.classifier.expects() {
            // Go 1.23 and later print the text of a crash line by line, each behind a tab.
            return false;
        }
        let line = self.text.strip_prefix(b"\t").unwrap_or(&self.text);
        if let Some(words) =
            line.strip_prefix(b"panic: ").or_else(|| line.strip_prefix(b"fatal error: "))
        {
            // The text of a panic may end in a newline; what follows it is a newline alone.
            // So may that of a string of a named type: `main.word("first line`.
            return !words.is_empty() && !words.ends_with(b"(\"") && !tail(bytes);
        }
        let gathers = self.pieced && !self.classifier.idle();
        (runtime_piece(&self.text) || gathers || self.classifier.gathers()) && !tail(bytes)
    }
}

/// What the runtime prints in one write although it ends in a newline.
fn literal(bytes: &[u8]) -> bool {
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

fn number(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.len() <= 20 && bytes.iter().all(u8::is_ascii_digit)
}

/// Whether a line of the runtime in progress goes on with just this piece.
fn wants(line: &[u8], bytes: &[u8]) -> bool {
    let digit = line.last().is_some_and(u8::is_ascii_digit);
    let ends = |tails: &[&[u8]]| tails.iter().any(|tail| line.ends_with(tail));
    let goes_on = |pieces: &[&[u8]]| pieces.contains(&bytes);
    match line {
        [b'i', b'n', b'i', b't', b' ', ..] => init_wants(line, bytes),
        [b'g', b'o', b'r', b'o', b'u', b't', b'i', b'n', b'e', b' ', rest @ ..] => {
            let bracket = memchr::memchr(b'[', rest).is_some();
            match bytes {
                b" [" => !rest.is_empty() && !bracket,
                b" gp=" | b" mp=" | b" minutes" | b"]" | b"]:\n" => digit,
                _ => number(bytes) && (rest.is_empty() || ends(&[b" m=", b", ", b" bubble "])),
            }
        }
        [b'c', b'r', b'e', b'a', b't', b'e', b'd', b' ', ..] => {
            (ends(&[b" in goroutine "]) && number(bytes)) || (digit && goes_on(&[b"\n"]))
        }
        [b'.', b'.', b'.', rest @ ..] => rest.is_empty() && number(bytes),
        // In one statement with the words before it.
        [b'f', b'a', b't', b'a', b'l', b' ', b'e', b'r', b'r', b'o', b'r', b':', b' ', _, ..] => {
            bytes == b"\n"
        }
        [b'P', b'C', b'=', ..] => {
            (ends(&[b"="]) && number(bytes))
                || (digit && goes_on(&[b" sigcode=", b" addr=", b"\n"]))
        }
        // A place, or one more panic of a chain.
        [b'\t'] => bytes == b"panic: ",
        [b'\t', ..] => (ends(&[b":"]) && number(bytes)) || (digit && goes_on(&[b" +", b"\n"])),
        [b' ', b' ', b'P' | b'M' | b'G', rest @ ..] => {
            ((rest.is_empty() || ends(&[b"="])) && number(bytes))
                || (digit && bytes.first().is_some_and(|byte| b": (\n".contains(byte)))
        }
        _ => false,
    }
}

/// `init `, package, ` @`, figure, ` ms, `, figure, ` ms clock, `, number, ` bytes, `, number,
/// ` allocs`, newline: each a write of its own (runtime/proc.go, `doInit1`).
fn init_wants(line: &[u8], bytes: &[u8]) -> bool {
    let figure = |bytes: &[u8]| {
        !bytes.is_empty() && bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
    };
    if line == b"init " {
        let path = |byte: &u8| byte.is_ascii_graphic();
        return bytes.iter().all(path) && !figure(bytes);
    }
    if line.ends_with(b" allocs") {
        return bytes == b"\n";
    }
    if line.ends_with(b" @") || line.ends_with(b", ") {
        return figure(bytes);
    }
    let commas = memchr::memchr_iter(b',', line).count();
    match memchr::memmem::find(line, b" @") {
        None => bytes == b" @",
        Some(_) => {
            const UNITS: [&[u8]; 4] = [b" ms, ", b" ms clock, ", b" bytes, ", b" allocs"];
            UNITS.get(commas).is_some_and(|unit| *unit == bytes)
        }
    }
}

/// A line whose every next piece is known: what does not fit it belongs elsewhere.
fn strict(line: &[u8]) -> bool {
    line.starts_with(b"init ")
}

/// The first pieces of the runtime's lines.
fn opens(bytes: &[u8]) -> bool {
    const HEADS: [&[u8]; 9] = [
        b"init ",
        b"gc ",
        b"goroutine ",
        b"created by ",
        b"  P",
        b"  M",
        b"  G",
        b"panic: ",
        b"fatal error: ",
    ];
    HEADS.contains(&bytes)
}

/// What nobody would begin a line with.
fn piece(bytes: &[u8]) -> bool {
    bytes.len() <= 64
        && (bytes == b"\n"
            || number(bytes)
            || bytes.first().is_some_and(|b| b" )]}(:,.+".contains(b)))
}

/// Whether a line in progress begins as the runtime begins its lines.
fn runtime_piece(text: &[u8]) -> bool {
    const HEADS: [&[u8]; 11] = [
        b"init ",
        b"gc ",
        b"goroutine ",
        b"created by ",
        b"  P",
        b"  M",
        b"  G",
        b"PC=",
        b"\t",
        b"runtime: ",
        b"[signal ",
    ];
    HEADS.iter().any(|head| text.starts_with(head)) || super::crash::begins(text).is_some()
}

/// The ends of lines that the runtime prints as a write of their own.
fn tail(bytes: &[u8]) -> bool {
    const TAILS: [&[u8]; 5] = [
        b"-byte limit\n",
        b"-thread limit\n",
        b" frames elided...\n",
        b" allocs\n",
        b" [recovered]\n",
    ];
    bytes.len() <= 2
        || TAILS.contains(&bytes)
        || (bytes.len() <= 48
            && bytes.first().is_some_and(|b| b" )]}(:,.+".contains(b))
            && memchr::memchr(b'\n', bytes) == bytes.len().checked_sub(1))
}
