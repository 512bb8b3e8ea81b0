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
use super::scan::first;
use super::sched::{HEAD, Lane};
use super::snapshot::Snapshot;
use super::strand::{Body, Strand};
use super::weave::{Found, Weave};
use super::worlds::Worlds;
use memchr::memmem::Finder;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// A longer line comes out in pieces of this many bytes.
pub const LINE_LIMIT: usize = 64 * 1024;
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
    /// Records and, in packet mode, lines of the runtime in progress.
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
            weave: Weave::default(),
            text: Vec::new(),
            continues: false,
            raw: Vec::new(),
            full_packet: false,
            wording: false,
            held: Vec::new(),
            left: (0, 0),
            worlds: Worlds::new(framing == Framing::Stream),
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
            let waits = self.framing == Framing::Stream && self.worlds.busy();
            return (waits || self.worlds.undecided()).then_some(RUNTIME);
        }
        let runtime = self.classifier.sure() || self.classifier.expects();
        Some(if runtime { RUNTIME } else { ANYBODY })
    }

    /// Nothing more arrived for a while: hands out what is held although it is whole (a detailed
    /// snapshot, the head of a crash, a dump between two goroutines). Beginnings of lines stay.
    pub fn idle(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.go_on(false, out);
        match self.framing {
            // What comes after such a pause is whoever's.
            Framing::Stream => self.worlds.end(),
            Framing::Packets => self.worlds.rest(),
        }
        self.hand_out(out);
        self.unweave(out);
        self.classifier.pause(out);
    }

    /// The stream has ended: hands out everything.
    pub fn end(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.go_on(false, out);
        let raw = std::mem::take(&mut self.raw);
        if !raw.is_empty() {
            self.tangled(&raw, false, out);
        }
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
    pub(super) fn line(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let weaves =
            self.framing == Framing::Stream && (self.classifier.lists() || !self.weave.is_empty());
        if !weaves || self.weave.plain(line) {
            return self.classifier.line(line, out);
        }
        self.weave.line(line);
        let found = self.weave.ready();
        self.found(found, out);
    }

    /// Hands out the records and lines that are complete.
    pub(super) fn hand_out(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let several = self.worlds.several();
        if several {
            self.classifier.several();
        }
        let crossed = several && self.worlds.tracing();
        let stream = self.framing == Framing::Stream;
        let ready: Vec<Strand> = self.worlds.ready().collect();
        for Strand { body, doubtful, late, mixed, beside, .. } in ready {
            match Rc::unwrap_or_clone(body) {
                Body::Record(mut lane) => {
                    // A key may be one of versions to come, or behind a piece that was missed.
                    let strange = lane.complete() && lane.strange() > 0;
                    self.strange |= strange && !mixed && !doubtful;
                    let missed = (strange && !self.strange) || lane.lacks(self.last.as_ref());
                    // Put together of two, it goes on from neither.
                    let told = if stream { beside || self.worlds.knows_any() } else { several };
                    let strays = told && (lane.unlikely() || !self.worlds.knows(lane.snapshot()));
                    let doubtful = doubtful || (mixed && (missed || strays));
                    match lane.finish().filter(|_| !doubtful) {
                        Some(snapshot) => {
                            self.last = Some(snapshot.clone());
                            self.worlds.note(&snapshot);
                            let detailed = snapshot.gcwaiting.is_some();
                            self.classifier.sched(snapshot, out);
                            if late && detailed {
                                self.classifier.doubt_detail();
                            }
                        }
                        None => {
                            if lane.detailed() {
                                self.classifier.lost();
                            }
                            give_up(&lane, out);
                        }
                    }
                }
                Body::Line(line) if !line.complete() => {
                    out(Entry::Text(Text { partial: true, ..Text::line(line.text()) }));
                }
                Body::Line(line) => {
                    // While another runtime prints, the lines may be either's.
                    let missed = mixed && line.strange() > 0;
                    if line.detail() && (doubtful || late || crossed || missed) {
                        self.classifier.doubt_detail();
                    }
                    if doubtful {
                        self.classifier.alone(line.text(), out);
                    } else {
                        self.classifier.line(line.text(), out);
                        self.pieced = true;
                    }
                }
            }
        }
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

/// A record that never ended: its bytes, as damaged or, when it had hardly begun, as text.
fn give_up(lane: &Lane, out: &mut impl FnMut(Entry<'_>)) {
    if lane.keys() >= 2 {
        out(Entry::Damaged(lane.raw()));
    } else {
        out(Entry::Text(Text::line(lane.raw())));
    }
}
