//! Packet mode with a writer that opened /dev/stderr anew: one read that is several writes.
//!
//! The description of such a writer is no packet one. The kernel (fs/pipe.c, `pipe_write`) lets
//! what is written behind its bytes go into the same page, the packets of others too, and a read
//! runs on until it has met a packet of its own. So a read that is several writes begins with one
//! of that writer, whole lines as a rule, and the pieces of the runtime stand behind their
//! newlines. Here such a read is cut into its writes where the grammar of what is in progress
//! proves the cut; what it does not prove stays as it is.

use super::entry::Entry;
use super::line::{Assembler, PACKET};
use super::pieces::{Pieces, awaits_words, number, of_runtime, split_line};
use super::scan::{after, first};
use super::sched::{HEAD, parse};
use super::strand::Body;
use super::worlds::Worlds;
use std::borrow::Cow;

/// For so many reads such a writer is reckoned with after it was seen.
const SEEN: u32 = 50_000;
/// Reads that wait for one that tells, and lines that are looked at for what they tell.
const WAITING: usize = 16;
const LOOKS: usize = 16;
/// Places of one read that are looked at so closely.
const TRIES: u32 = 32;
/// Longest piece of the runtime that is looked for.
const PIECE: usize = 40;
/// An expected text of so many bytes is no chance.
const SURE: usize = 4;
/// Lines of which the first piece is looked for: those behind a detailed record, and traces.
const DETAIL: [&[u8]; 3] = [b"  P", b"  M", b"  G"];
const TRACES: [&[u8]; 2] = [b"init ", b"gc "];

const WORDS: [&[u8]; 3] = [b"nil", b"true", b"false"];

/// Pieces of the runtime at the beginning of some bytes.
#[derive(Debug)]
struct Run<'a> {
    /// The length of each.
    pieces: Vec<usize>,
    /// The length of all.
    length: usize,
    /// One is a text that nobody would write there by chance.
    sure: bool,
    /// What is in progress behind them.
    worlds: Cow<'a, Worlds>,
    /// The figure at its end may be another one.
    doubtful: bool,
}

impl<'a> Run<'a> {
    /// As many pieces as are expected there; `lists` tells that a detailed snapshot is in progress.
    fn of(worlds: &'a Worlds, bytes: &[u8], lists: bool) -> Self {
        let worlds = Cow::Borrowed(worlds);
        let mut run = Run { pieces: Vec::new(), length: 0, sure: false, worlds, doubtful: false };
        // Most lines are not the runtime's, and nothing is copied for them.
        loop {
            let rest = after(bytes, run.length);
            let length = if let Some((length, body)) = opener(rest, lists) {
                run.worlds.to_mut().open(body);
                length
            } else {
                let lengths = (1..=rest.len().min(PIECE)).rev();
                let mut fitting = lengths.filter(|length| ends(rest, *length));
                let Some(length) = fitting.find(|n| run.worlds.expects(first(rest, *n))) else {
                    return run;
                };
                let piece = first(rest, length);
                if run.worlds.confused() || run.worlds.tired() || !run.worlds.to_mut().take(piece) {
                    return run;
                }
                run.sure |= length >= SURE && telling(piece);
                length
            };
            run.pieces.push(length);
            run.length = run.length.saturating_add(length);
        }
    }

    /// What was in progress before the last piece.
    fn before(&self, worlds: &'a Worlds, bytes: &[u8], lists: bool) -> Cow<'a, Worlds> {
        let mut worlds = Cow::Borrowed(worlds);
        let mut rest = bytes;
        for length in self.pieces.iter().rev().skip(1).rev() {
            let piece = first(rest, *length);
            match opener(piece, lists) {
                Some((_, body)) => worlds.to_mut().open(body),
                None => _ = worlds.to_mut().take(piece),
            }
            rest = after(rest, *length);
        }
        worlds
    }

    fn found(self) -> Found {
        match self.pieces.is_empty() {
            true => Found::Others,
            false => Found::Pieces { lengths: self.pieces, doubtful: self.doubtful },
        }
    }

    /// Leaves all but `kept` bytes of the last piece to what follows.
    fn keep(&mut self, kept: usize, before: Cow<'a, Worlds>) {
        let Some(last) = self.pieces.pop() else { return };
        self.length = self.length.saturating_sub(last).saturating_add(kept);
        if kept > 0 {
            self.pieces.push(kept);
        } else {
            self.worlds = before;
        }
    }
}

/// What stands at the beginning of a line of a read.
enum Found {
    Pieces {
        lengths: Vec<usize>,
        doubtful: bool,
    },
    /// Somebody's line.
    Others,
    /// That is told by what comes behind.
    Later,
}

/// What begins a record or a line of the runtime there.
fn opener(bytes: &[u8], lists: bool) -> Option<(usize, Option<Body>)> {
    let figure = |rest: &[u8]| rest.first().is_none_or(u8::is_ascii_digit);
    if bytes.starts_with(HEAD) {
        return Some((HEAD.len(), None));
    }
    let detail = DETAIL.iter().find(|word| lists && bytes.strip_prefix(**word).is_some_and(figure));
    let word = detail.or_else(|| TRACES.iter().find(|word| bytes.starts_with(word)))?;
    Some((word.len(), Some(Body::Line(Pieces::opens(word)?))))
}

/// Whether a piece can end there: a number is one of its own, a key ends in its sign.
fn ends(bytes: &[u8], length: usize) -> bool {
    let (piece, rest) = (first(bytes, length), after(bytes, length));
    let figure = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let (begins, next) = (piece.first().is_some_and(figure), rest.first().is_some_and(figure));
    let hex = piece.starts_with(b"0x");
    if begins && !hex {
        return !next && piece.iter().all(figure);
    }
    // The reason why a goroutine waits may have brackets, and ends before this one.
    if piece.first().is_some_and(u8::is_ascii_alphabetic) {
        let line = first(bytes, line_length(bytes));
        match memchr::memmem::find(line, b") m=") {
            Some(at) if at != length => return false,
            None if piece.contains(&b')') && !rest.is_empty() => return false,
            Some(_) | None => {}
        }
    }
    // A bracket behind any other key is that of somebody's line.
    let keyed = piece.starts_with(b" schedticks=[")
        || !first(piece, length.saturating_sub(1)).contains(&b'=');
    let inside = after(piece, 1);
    keyed
        && (hex || !inside.iter().any(u8::is_ascii_digit))
        && !first(piece, length.saturating_sub(1)).contains(&b'\n')
}

/// A text of which the runtime alone knows where it belongs: no word and no number.
fn telling(piece: &[u8]) -> bool {
    piece.ends_with(b"=")
        || piece.ends_with(b"=[ ")
        || !piece.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// The length of the first line with its newline, or of all.
fn line_length(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at.saturating_add(1))
}

/// What the lines to come say: whether the pieces were the runtime's, that is whether `with` them
/// the next ones are expected or `without` them.
fn decided(without: &Worlds, with: &Worlds, texts: &[&[u8]], lists: bool) -> Option<bool> {
    let (mut without, mut with) = (Cow::Borrowed(without), Cow::Borrowed(with));
    let mut looked = 0;
    for text in texts {
        let mut rest = *text;
        while !rest.is_empty() && looked < LOOKS {
            looked = looked.saturating_add(1);
            let [some, none] = [&*with, &*without].map(|worlds| Run::of(worlds, rest, lists));
            let length = some.length.max(none.length);
            if length == 0 || !(some.sure || none.sure || length == rest.len()) {
                rest = after(rest, line_length(rest));
            } else if some.length != none.length {
                return Some(some.length > none.length);
            } else {
                rest = after(rest, length);
                let (next, other) = (none.worlds.into_owned(), some.worlds.into_owned());
                (without, with) = (Cow::Owned(next), Cow::Owned(other));
            }
        }
    }
    None
}

/// One read, or what is left of it.
#[derive(Debug)]
pub(super) struct Read {
    bytes: Vec<u8>,
    /// It begins where the read does.
    whole: bool,
}

impl Assembler {
    /// What one read brought: one write, or several.
    pub(super) fn read(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        self.reopened = self.reopened.saturating_sub(1);
        self.worlds.ease(bytes.len());
        if self.reopened > 0 && self.worlds.confused() {
            // What was missed makes all that follows doubtful: better to begin anew.
            self.worlds.end();
            self.hand_out(out);
        }
        if !self.waiting.is_empty() {
            self.waiting.push_back(Read { bytes: bytes.to_vec(), whole: true });
            return self.go_on(self.waiting.len() < WAITING, out);
        }
        let left = self.turn(bytes, true, true, out);
        if left > 0 {
            let rest = after(bytes, bytes.len().saturating_sub(left));
            self.waiting.push_back(Read { bytes: rest.to_vec(), whole: left == bytes.len() });
        }
    }

    /// Goes on with the reads that wait for what comes behind them; where they `may_wait` no more
    /// what is likelier is taken.
    pub(super) fn go_on(&mut self, may_wait: bool, out: &mut impl FnMut(Entry<'_>)) {
        while let Some(mut read) = self.waiting.pop_front() {
            let left = self.turn(&read.bytes, read.whole, may_wait, out);
            if left > 0 {
                let taken = read.bytes.len().saturating_sub(left);
                read.whole &= taken == 0;
                read.bytes.drain(..taken);
                return self.waiting.push_front(read);
            }
        }
    }

    /// Takes a read as far as it can be told; gives how many bytes of it have to wait.
    fn turn(
        &mut self,
        bytes: &[u8],
        whole: bool,
        may_wait: bool,
        out: &mut impl FnMut(Entry<'_>),
    ) -> usize {
        let follows = std::mem::take(&mut self.full_packet);
        let mut left = 0;
        if !whole || (!follows && self.several_writes(bytes)) {
            left = self.separate(bytes, whole, may_wait, out);
        } else {
            self.packet(bytes, follows, out);
        }
        // More than a packet is several writes, of which the last one may be short.
        let open = match memchr::memrchr(b'\n', bytes) {
            Some(newline) if bytes.len() > PACKET => bytes.len().saturating_sub(newline),
            Some(_) | None => bytes.len(),
        };
        self.full_packet = open >= PACKET && bytes.last() != Some(&b'\n');
        left
    }

    /// Whether it is worth a look: it has a line, more behind it, and there is something that
    /// may go on or begin there.
    fn several_writes(&self, bytes: &[u8]) -> bool {
        // The beginning of a long write may end anywhere.
        if bytes.len() == PACKET && self.reopened == 0 {
            return false;
        }
        // The text of a crash can have any shape.
        if awaits_words(&self.text) && !self.text.is_empty() {
            return false;
        }
        let inside = first(bytes, bytes.len().saturating_sub(1));
        // Where anything may be in progress every look costs much and proves nothing.
        !self.worlds.confused()
            && !self.worlds.tired()
            && memchr::memchr(b'\n', inside).is_some()
            && (self.worlds.busy()
                || self.classifier.gathers()
                || (self.reopened > 0 && !self.text.is_empty())
                || self.finder.find(bytes).is_some())
    }

    /// Cuts the read into writes. Lines in a row that are not the runtime's stay together.
    fn separate(
        &mut self,
        bytes: &[u8],
        whole: bool,
        may_wait: bool,
        out: &mut impl FnMut(Entry<'_>),
    ) -> usize {
        let mut rest = bytes;
        let (mut others, mut tries) = (0, TRIES);
        if self.reopened > 0 || bytes.last() != Some(&b'\n') {
            self.worlds.mix();
        }
        while others < rest.len() {
            let here = after(rest, others);
            match self.judge(here, whole && here.len() == bytes.len(), may_wait, &mut tries) {
                Found::Others => {
                    if here.first().is_some_and(u8::is_ascii_digit) {
                        self.worlds.doubt_last();
                    }
                    others = others.saturating_add(line_length(here));
                }
                Found::Later => {
                    if others > 0 {
                        self.packet(first(rest, others), false, out);
                    }
                    return here.len();
                }
                Found::Pieces { lengths, doubtful } => {
                    let known = std::mem::replace(&mut self.reopened, SEEN) > 0;
                    if others > 0 {
                        self.packet(first(rest, others), false, out);
                    }
                    rest = here;
                    for length in lengths {
                        self.packet(first(rest, length), false, out);
                        rest = after(rest, length);
                    }
                    self.worlds.mix();
                    others = line_length(rest);
                    if others > 0 || !known {
                        self.worlds.hang(doubtful);
                    }
                }
            }
        }
        self.others(rest, out);
        0
    }

    /// What is behind the last piece.
    fn others(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let mut rest = bytes;
        if rest.last().is_some_and(|byte| *byte != b'\n') && self.reopened > 0 {
            self.classifier.mix_detail();
            let lines = memchr::memrchr(b'\n', rest).map_or(0, |at| at.saturating_add(1));
            if lines > 0 && (of_runtime(&self.text) || self.classifier.gathers()) {
                self.packet(first(rest, lines), false, out);
                rest = after(rest, lines);
            }
        }
        if !rest.is_empty() {
            self.packet(rest, false, out);
        }
    }

    /// Whether the runtime's pieces begin a line of the read.
    fn judge(&self, bytes: &[u8], first_write: bool, may_wait: bool, tries: &mut u32) -> Found {
        let line = first(bytes, line_length(bytes));
        if let Some((whole, _)) = split_line(line)
            && whole.starts_with(HEAD)
            && parse(whole).is_some()
        {
            return Found::Others;
        }
        let lists = self.classifier.gathers();
        let mut run = Run::of(&self.worlds, bytes, lists);
        if run.pieces.is_empty() {
            return Found::Others;
        }
        let rest = after(bytes, run.length);
        let known = self.reopened > 0;
        if rest.is_empty() {
            // Nobody else ends a short write in a value just when a value has to come.
            let figure = run.pieces.len() == 1 && (number(bytes) || WORDS.contains(&bytes));
            let proven = run.sure || bytes.starts_with(HEAD) || (!first_write && (known || figure));
            return if proven { run.found() } else { Found::Others };
        }
        let Some(left) = tries.checked_sub(1) else { return Found::Others };
        *tries = left;
        let behind = after(rest, line_length(rest));
        let mut texts = vec![behind];
        texts.extend(self.waiting.iter().map(|read| read.bytes.as_slice()));
        let head = bytes.starts_with(HEAD);
        let may = head || (known && !first_write);
        if !run.sure && !may {
            return Found::Others;
        }
        // A line of somebody may begin as a record does: only what goes on behind it is one.
        if head
            && first_write
            && !known
            && decided(&self.worlds, &run.worlds, &texts, lists) != Some(true)
        {
            return Found::Others;
        }
        if self.settle_end(&mut run, bytes, &texts, may_wait) {
            return Found::Later;
        }
        let first_line = after(bytes, run.length);
        if !run.sure {
            // A line of somebody may begin like this, but hardly with one blank.
            let blank = run.length == 1 && bytes.starts_with(b" ") && !first_line.starts_with(b" ");
            match decided(&self.worlds, &run.worlds, &texts, lists) {
                Some(true) => {}
                None if may_wait && known && !first_write => return Found::Later,
                None if known && (blank || (head && run.pieces.len() > 1)) => {}
                Some(false) | None => return Found::Others,
            }
        }
        run.found()
    }

    /// Where the pieces end and a line of somebody begins, the last piece may be a part of it.
    /// True if what is to come may tell.
    fn settle_end<'a>(
        &'a self,
        run: &mut Run<'a>,
        bytes: &[u8],
        texts: &[&[u8]],
        may_wait: bool,
    ) -> bool {
        let Some(length) = run.pieces.last().copied() else { return false };
        let piece = after(first(bytes, run.length), run.length.saturating_sub(length));
        let line = after(bytes, run.length);
        let figure = number(piece);
        let head = piece == HEAD;
        if !figure && !head && length >= SURE {
            return false;
        }
        let lists = self.classifier.gathers();
        let before = run.before(&self.worlds, bytes, lists);
        let read = decided(&before, &run.worlds, texts, lists);
        if read.is_none() && may_wait {
            return true;
        }
        if !figure {
            let bracket = piece.starts_with(b"[") && first(line, 64).contains(&b']');
            let blank = piece == b" " && line.first().is_some_and(u8::is_ascii_whitespace);
            if !read.unwrap_or(!(bracket || blank || head)) {
                run.keep(0, before);
            }
            return false;
        }
        // The digits at the beginning of a date or a time of day.
        let own = match line.first() {
            Some(b'/' | b'-') => 4,
            Some(b':' | b'.' | b',') => 2,
            _ => 0,
        };
        let kept = match (length.saturating_sub(own), read) {
            (_, Some(false)) => 0,
            (0, Some(true)) => 1,
            (kept, _) => kept,
        };
        // What it would be with fewer digits, or more.
        let last = self.last.as_ref();
        let possible = |digits: &usize| before.can_be(first(piece, *digits), last);
        run.doubtful =
            kept > 0 && (self.worlds.several() || (1..=length).filter(possible).count() != 1);
        run.keep(kept, before);
        false
    }
}

#[cfg(test)]
mod tests;
