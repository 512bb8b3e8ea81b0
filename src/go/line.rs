//! From bytes to lines, and from lines to entries.
//!
//! Two framings. In packet mode every call brings one write(2) of the program, so pieces of the
//! runtime and lines of other writers are told apart by where they begin and end (`glue` cuts a
//! read that is several, behind a writer that has opened the pipe anew). As a stream
//! (a pipe that refuses packets, a captured file) only the grammar is left: a piece belongs to a
//! record in progress when it continues it. Either way nothing is lost: what fits nowhere is text.
//!
//! The same bytes give the same entries however a stream is cut into chunks.

use super::classify::Classifier;
use super::entry::{Entry, Text};
use super::glue::Read;
use super::lanes::Lanes;
use super::scan::{after, first};
use super::sched::{HEAD, parse, starts};
use super::snapshot::Snapshot;
use super::weave::{Found, Weave};
use super::worlds::Worlds;
use memchr::memmem::Finder;
use std::collections::VecDeque;
use std::time::Duration;

/// A longer line comes out in pieces of this many bytes.
pub const LINE_LIMIT: usize = 64 * 1024;
/// A SCHED line may be longer: 4096 Ps need 90 KB.
const SCHED_LIMIT: usize = 256 * 1024;
/// Longest write(2) that arrives as one packet; a longer one arrives in several (pipe(7)).
pub(super) const PACKET: usize = 4096;

/// How the bytes of the program arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One call of [`Assembler::feed`] brings one write(2), or 4096 bytes of a longer one.
    Packets,
    /// Calls bring any number of bytes.
    Stream,
}

/// Puts lines and records together and hands out entries.
#[derive(Debug)]
pub struct Assembler {
    framing: Framing,
    pub(super) classifier: Classifier,
    pub(super) lanes: Lanes,
    /// A stream: what two threads of one runtime print at the same time.
    weave: Weave,
    /// The beginning of a line that is not complete.
    pub(super) text: Vec<u8>,
    /// A piece of the line in `text` was handed out already.
    pub(super) continues: bool,
    /// Bytes of a stream that wait for their newline because a record may hide in them.
    /// In packet mode: the beginning of a long write that stands inside another line.
    pub(super) raw: Vec<u8>,
    /// The last packet was a full one without newline at its end: the next continues it.
    pub(super) full_packet: bool,
    /// Packet mode: the write before brought the text of a panic, or a part of it.
    pub(super) wording: bool,
    /// Packet mode: lines of others, or the words behind `panic: `; the next packet decides.
    pub(super) held: Vec<Vec<u8>>,
    /// Packet mode: the length of `text`, and the runtime's figures since it grew.
    pub(super) left: (usize, u32),
    /// Packet mode: records and lines of the runtime in progress.
    pub(super) worlds: Worlds,
    /// Packet mode: the last line was put together from several writes, as the runtime prints.
    pub(super) pieced: bool,
    /// A whole line was read that no known version prints just so.
    pub(super) strange: bool,
    /// Packet mode: for so many reads more a writer is reckoned with that opened the pipe anew.
    pub(super) reopened: u32,
    /// Packet mode: reads of which only what comes behind them tells what they are.
    pub(super) waiting: VecDeque<Read>,
    /// Packet mode: the last snapshot; the figures of the next one are not below its.
    pub(super) last: Option<Snapshot>,
    pub(super) finder: Finder<'static>,
}

impl Assembler {
    /// An assembler at the start of a stream.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            classifier: Classifier::default(),
            lanes: Lanes::default(),
            weave: Weave::default(),
            text: Vec::new(),
            continues: false,
            raw: Vec::new(),
            full_packet: false,
            wording: false,
            held: Vec::new(),
            left: (0, 0),
            worlds: Worlds::default(),
            pieced: false,
            strange: false,
            reopened: 0,
            waiting: VecDeque::new(),
            last: None,
            finder: Finder::new(HEAD),
        }
    }

    /// Takes bytes and hands out what they complete.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        match self.framing {
            Framing::Stream => self.stream(bytes, out),
            Framing::Packets => self.read(bytes, out),
        }
    }

    /// After how much quiet to call [`Self::idle`], because something is held back of which more
    /// may follow; nothing if nothing is.
    #[must_use]
    pub fn patience(&self) -> Option<Duration> {
        /// A runtime that prints may be throttled in the middle: longer than a quota period.
        const RUNTIME: Duration = Duration::from_millis(250);
        /// So far only a line that anybody could have written.
        const ANYBODY: Duration = Duration::from_millis(40);
        if !self.waiting.is_empty() {
            return Some(RUNTIME);
        }
        if self.classifier.idle() {
            return (!self.lanes.is_empty() || self.worlds.undecided()).then_some(RUNTIME);
        }
        let runtime = self.classifier.sure() || self.classifier.expects();
        Some(if runtime { RUNTIME } else { ANYBODY })
    }

    /// Nothing more arrived for a while: hands out what is held although it is whole (a detailed
    /// snapshot, the head of a crash, a dump between two goroutines). Beginnings of lines stay.
    pub fn idle(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.go_on(false, out);
        self.lanes.expire(out);
        self.unweave(out);
        self.worlds.rest();
        self.hand_out_packets(out);
        self.classifier.pause(out);
    }

    /// The stream has ended: hands out everything.
    pub fn end(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.go_on(false, out);
        let raw = std::mem::take(&mut self.raw);
        if !raw.is_empty() {
            self.tangled(&raw, false, out);
        }
        self.lanes.expire(out);
        self.end_packets(out);
        let last = std::mem::take(&mut self.text);
        if !last.is_empty() || self.continues {
            if self.classifier.idle() {
                let continues = self.continues;
                out(Entry::Text(Text { bytes: &last, continues, continued: false, partial: true }));
            } else {
                self.line(&last, out);
            }
        }
        self.continues = false;
        self.unweave(out);
        self.classifier.end(out);
    }

    /// Hands out all that is held because two threads print.
    fn unweave(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if !self.weave.is_empty() {
            let found = self.weave.end();
            self.found(found, out);
        }
    }

    fn found(&mut self, lines: Vec<Found>, out: &mut impl FnMut(Entry<'_>)) {
        for line in lines {
            if line.doubtful {
                self.classifier.doubtful(&line.bytes, out);
            } else {
                self.classifier.line(&line.bytes, out);
            }
            if self.weave.lists() {
                self.classifier.weaves();
            }
        }
    }

    /// A whole line: sysmon's detailed snapshot and a traceback may stand in it both.
    fn line(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let weaves =
            self.framing == Framing::Stream && (self.classifier.lists() || !self.weave.is_empty());
        if !weaves || self.weave.plain(line) {
            return self.classifier.line(line, out);
        }
        self.weave.line(line);
        let found = self.weave.ready();
        self.found(found, out);
    }

    // ---- stream ----

    fn stream(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        // The next `SCHED ` from here on; looked for again only when it was passed.
        let mut next = self.finder.find(bytes);
        while !bytes.is_empty() {
            if self.waits() {
                let taken = self.slow(bytes, out);
                bytes = after(bytes, taken);
                next = self.finder.find(bytes);
                continue;
            }
            let Some(newline) = memchr::memchr(b'\n', bytes) else {
                let taken = self.slow(bytes, out);
                bytes = after(bytes, taken);
                next = self.finder.find(bytes);
                continue;
            };
            let line = first(bytes, newline);
            let taken = newline.saturating_add(1);
            match next {
                Some(at) if at < newline && line.len() < LINE_LIMIT => {
                    self.whole_line(line, out);
                    bytes = after(bytes, taken);
                    next = self.finder.find(bytes);
                }
                Some(_) | None if line.len() >= LINE_LIMIT => {
                    let taken = self.slow(bytes, out);
                    bytes = after(bytes, taken);
                    next = self.finder.find(bytes);
                }
                Some(_) | None => {
                    self.line(line, out);
                    bytes = after(bytes, taken);
                    next = next.map(|at| at.saturating_sub(taken));
                }
            }
        }
    }

    /// Whether anything waits for the bytes to come.
    fn waits(&self) -> bool {
        self.continues || !self.raw.is_empty() || !self.lanes.is_empty() || !self.text.is_empty()
    }

    /// A line that holds `SCHED ` while nothing is in progress.
    fn whole_line(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if self.classifier.expects()
            && line.strip_prefix(b"\t").is_some_and(|l| l.starts_with(HEAD))
        {
            // A panic's text, which Go 1.23 and later indent, may look like a record.
            self.line(line, out);
        } else if line.starts_with(HEAD)
            && let Some((snapshot, strange)) = parse(line.strip_suffix(b"\r").unwrap_or(line))
        {
            self.strange |= strange;
            self.classifier.sched(snapshot, out);
        } else {
            self.tangled(line, true, out);
        }
    }

    /// Collects bytes up to the newline or the limit; gives the number of bytes taken.
    fn slow(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) -> usize {
        // A record is judged when there is a whole piece of it, so that the cut does not depend on
        // how the bytes arrive.
        let limit = if self.raw.len() < LINE_LIMIT { LINE_LIMIT } else { SCHED_LIMIT };
        let room = limit.saturating_sub(self.raw.len()).max(1);
        let window = first(bytes, room);
        let Some(newline) = memchr::memchr(b'\n', window) else {
            self.raw.extend_from_slice(window);
            if self.raw.len() >= limit && (limit == SCHED_LIMIT || !starts(&self.raw)) {
                self.cut(out);
            }
            return window.len();
        };
        self.raw.extend_from_slice(first(window, newline));
        let line = std::mem::take(&mut self.raw);
        // The same way as a line that came in one piece, or the entries would depend on the cut.
        if !self.waits() && line.len() < LINE_LIMIT {
            self.whole_line(&line, out);
        } else {
            self.tangled(&line, true, out);
        }
        self.raw = line;
        self.raw.clear();
        newline.saturating_add(1)
    }

    /// A line without end: gives out the piece before the place where a record may begin.
    fn cut(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let mut line = std::mem::take(&mut self.raw);
        let record = memchr::memmem::find_iter(&line, HEAD)
            .find(|at| line.len() - at < HEAD.len() + 40 || starts(after(&line, *at)));
        let keep = match record {
            Some(0) => None,
            Some(at) => Some(at),
            None => (1..HEAD.len())
                .rev()
                .find(|n| line.ends_with(first(HEAD, *n)))
                .map(|n| line.len() - n),
        };
        let cut = keep.unwrap_or(line.len());
        self.tangled(first(&line, cut), false, out);
        line.drain(..cut);
        self.raw = line;
        self.shed(out);
    }

    /// Hands out the text collected so far as a piece of its line, when there is too much of it.
    pub(super) fn shed(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        while self.text.len() >= LINE_LIMIT {
            let bytes = first(&self.text, LINE_LIMIT);
            if !self.continues {
                self.classifier.long(bytes);
            }
            out(Entry::Text(Text {
                bytes,
                continues: self.continues,
                continued: true,
                partial: false,
            }));
            self.continues = true;
            self.text.drain(..LINE_LIMIT);
        }
    }

    /// A line in which records and text may be mixed; `ended` tells whether it has a newline.
    fn tangled(&mut self, line: &[u8], ended: bool, out: &mut impl FnMut(Entry<'_>)) {
        let mut ended_text = ended;
        let mut rest = line;
        loop {
            let here = self.lanes.opens(rest);
            let piece = first(rest, here.unwrap_or(rest.len()));
            let last = here.is_none() && ended;
            if self.lanes.resume(piece, last, &mut self.text) {
                self.hand_out(out);
                ended_text = false;
            }
            let Some(at) = here else { break };
            rest = after(rest, at.saturating_add(HEAD.len()));
            self.lanes.open();
        }
        if ended_text {
            self.finish_line(out);
        }
        self.lanes.age(out);
        self.shed(out);
    }

    /// Hands out a record that is complete.
    pub(super) fn hand_out(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let Some(mut lane) = self.lanes.completed() else { return };
        // Put together of pieces, a record with a hole in it looks like one of a version to come;
        // it is believed only when a whole line has had that look.
        lane.doubtful |= lane.strange() > 0 && !self.strange;
        match lane.finish() {
            Some(snapshot) => self.classifier.sched(snapshot, out),
            None => {
                if lane.detailed() {
                    self.classifier.lost();
                }
                out(Entry::Damaged(lane.raw()));
            }
        }
    }

    /// The line in `text` has its newline.
    pub(super) fn finish_line(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let mut line = std::mem::take(&mut self.text);
        if std::mem::take(&mut self.continues) {
            out(Entry::Text(Text {
                bytes: &line,
                continues: true,
                continued: false,
                partial: false,
            }));
        } else {
            self.line(&line, out);
        }
        line.clear();
        // Keep the memory for the next line, unless it was an unusual one.
        if line.capacity() <= LINE_LIMIT {
            self.text = line;
        }
    }
}
