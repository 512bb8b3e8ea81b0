//! Packet mode: what one write(2) brings. The runtime prints a line in many writes, everybody else
//! a line, or several, in one; so a packet continues a line of the runtime exactly where the
//! runtime would go on, and is a line of its own otherwise.

use super::entry::{Entry, Text};
use super::lanes::give_up;
use super::line::{Assembler, LINE_LIMIT, PACKET};
use super::pieces::{Pieces, awaits_words, literal, number, of_runtime, piece, split_line, tail};
use super::sched::HEAD;
use super::strand::{Body, Strand};

/// Writes that are held back because they may be lines of others or the words of a crash.
const HELD: usize = 16;

impl Assembler {
    /// `follows`: the packet before was a full one, so this one goes on with the same write.
    pub(super) fn packet(&mut self, bytes: &[u8], follows: bool, out: &mut impl FnMut(Entry<'_>)) {
        // The runtime begins a record right behind a long write of exactly whole packets.
        if follows && bytes != HEAD {
            return self.more_of_a_write(bytes, out);
        }
        if bytes == HEAD {
            self.worlds.open(None);
            return self.hand_out_packets(out);
        }
        // A key of versions to come, unless a line is in progress that may have such a piece.
        if self.worlds.fits(bytes)
            && (self.text.is_empty() || !of_runtime(&self.text) || self.worlds.expects(bytes))
        {
            // Of a line in any shape no piece is known: a figure may be meant for it.
            if number(bytes) && self.worlds.several() && !self.text.is_empty() {
                self.worlds.doubt(bytes);
            }
            self.worlds.take(bytes);
            return self.hand_out_packets(out);
        }
        if let Some(line) = Pieces::opens(bytes)
            && (!line.vague() || self.text.is_empty())
        {
            self.worlds.open(Some(Body::Line(line)));
            return self.hand_out_packets(out);
        }
        if !self.held.is_empty() && self.words(bytes, out) {
            return;
        }
        self.route(bytes, out);
    }

    /// Behind `panic: ` stood what may be a line of somebody else, or the first of several lines
    /// of the panic's text. The runtime goes on behind the latter with a tab (from 1.23) or a
    /// newline; anything else is the text itself. True when the packet was taken.
    fn words(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) -> bool {
        let ended = bytes.len() > 1 && bytes.last() == Some(&b'\n');
        if ended && self.held.len() < HELD {
            self.held.push(bytes.to_vec());
            return true;
        }
        let mut held = std::mem::take(&mut self.held).into_iter();
        if matches!(bytes, b"\t" | b"\n")
            && let Some(words) = held.next()
        {
            self.append(&words, out);
        }
        for line in held {
            self.own_lines(&line, out);
        }
        false
    }

    /// A packet that is no piece of a record.
    fn route(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if number(bytes) {
            self.worlds.doubt_last();
        }
        // A crash begins behind what somebody left without its newline.
        if matches!(bytes, b"panic: " | b"fatal error: ") && self.text != b"\t" {
            let left = std::mem::take(&mut self.text);
            if !left.is_empty() {
                out(Entry::Text(Text { partial: true, ..Text::line(&left) }));
            }
        }
        let ended = bytes.last() == Some(&b'\n');
        let foreign = ended && bytes.len() > 1 && self.classifier.gathers();
        if self.text.is_empty() && !foreign {
            // A tab or three dots began some other line than a place or an elision.
            if let Some(begun) = self.worlds.reclaim() {
                self.text.extend_from_slice(&begun);
            }
        }
        if self.text.is_empty() && self.raw.is_empty() {
            return self.own_lines(bytes, out);
        }
        if ended && bytes.len() > 1 && self.classifier.expects_words() && awaits_words(&self.text) {
            self.held.push(bytes.to_vec());
            return;
        }
        let long = bytes.len() >= PACKET && of_runtime(&self.text);
        if (ended || long) && self.interrupts(bytes) {
            return self.own_lines(bytes, out);
        }
        if piece(bytes) && self.worlds.revive(bytes) {
            return self.hand_out_packets(out);
        }
        self.append(bytes, out);
    }

    /// Hands out the records and lines that are complete.
    pub(super) fn hand_out_packets(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if self.worlds.several() {
            self.classifier.several();
        }
        let crossed = self.worlds.several() && self.worlds.tracing();
        for Strand { body, doubtful, late, mixed, .. } in self.worlds.ready() {
            match body {
                Body::Record(mut lane) => {
                    // A key may be one of versions to come, or behind a piece that was missed.
                    let strange = lane.complete() && lane.strange() > 0;
                    self.strange |= strange && !mixed && !doubtful;
                    let missed = (strange && !self.strange) || lane.lacks(self.last.as_ref());
                    lane.doubtful |= doubtful || (mixed && missed);
                    match lane.finish() {
                        Some(snapshot) => {
                            self.last = Some(snapshot.clone());
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

    /// The stream has ended.
    pub(super) fn end_packets(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.worlds.end();
        self.hand_out_packets(out);
        self.words(b"", out);
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
        while let Some((line, others)) = split_line(rest) {
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
            rest = others;
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
        while let Some((line, others)) = split_line(rest) {
            self.pieced = !self.text.is_empty();
            rest = others;
            if !self.pieced && !self.continues && line.len() < LINE_LIMIT {
                self.classifier.line(line, out);
                continue;
            }
            self.text.extend_from_slice(line);
            self.shed(out);
            self.finish_line(out);
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
        (of_runtime(&self.text) || gathers || self.classifier.gathers()) && !tail(bytes)
    }
}
