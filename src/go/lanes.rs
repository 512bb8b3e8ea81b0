//! Records in progress: the SCHED lines that other writers stand inside of, or that several
//! runtimes print at the same time.

use super::entry::{Entry, Text};
use super::line::{Assembler, LINE_LIMIT};
use super::scan::{after, first};
use super::sched::{HEAD, Lane, starts};

/// Records in progress at the same time; the oldest gives way.
const LANES: usize = 16;
/// Lines of others after which a record of a stream is given up.
const PATIENCE: u32 = 32;

/// The open records, oldest first.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    open: Vec<Lane>,
    done: Option<Lane>,
    /// The youngest lane has not taken anything yet.
    fresh: bool,
    /// The oldest one, when a newer one needed its room.
    pushed_out: Option<Lane>,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Where in `rest` the next record begins.
    pub(super) fn opens(&self, rest: &[u8]) -> Option<usize> {
        memchr::memmem::find_iter(rest, HEAD).find(|at| {
            let here = after(rest, *at);
            let body = after(here, HEAD.len());
            let doubled = body.starts_with(HEAD) && self.opens_doubled(body);
            starts(here)
                || doubled
                || (!self.open.is_empty() && body.first().is_some_and(u8::is_ascii_digit))
        })
    }

    /// A second `SCHED ` straight behind the first: two runtimes began at the same time.
    fn opens_doubled(&self, body: &[u8]) -> bool {
        starts(body) || after(body, HEAD.len()).first().is_some_and(u8::is_ascii_digit)
    }

    /// Begins a record.
    pub(super) fn open(&mut self) {
        if self.open.len() >= LANES {
            self.pushed_out = Some(self.open.remove(0));
        }
        self.open.push(Lane::new());
        self.fresh = true;
    }

    /// The record that was completed last.
    pub(super) fn completed(&mut self) -> Option<Lane> {
        self.done.take()
    }

    /// Gives the bytes of `piece` to the records that they continue and the rest to `text`.
    /// `last` tells that a newline follows; true means that a record was completed and took it.
    pub(super) fn resume(&mut self, piece: &[u8], last: bool, text: &mut Vec<u8>) -> bool {
        if self.open.is_empty() {
            text.extend_from_slice(piece);
            return false;
        }
        let mut bytes = piece.to_vec();
        if last {
            bytes.push(b'\n');
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if let Some((at, taken)) = self.best(rest, last, text.is_empty()) {
                self.give(at, first(rest, taken));
                rest = after(rest, taken);
                if self.done.is_some() {
                    return true;
                }
                continue;
            }
            let foreign = self.resumes_later(rest).unwrap_or(rest.len());
            self.unmask(text);
            text.extend_from_slice(first(rest, foreign));
            rest = after(rest, foreign);
        }
        if last && text.last() == Some(&b'\n') {
            text.pop();
        }
        false
    }

    /// The record that can take most of `rest`, and how much.
    fn best(&mut self, rest: &[u8], last: bool, text_empty: bool) -> Option<(usize, usize)> {
        let fresh = std::mem::take(&mut self.fresh);
        let youngest = self.open.len().saturating_sub(1);
        let mut best = None;
        let mut most = 0;
        for (at, lane) in self.open.iter().enumerate() {
            let (taken, keys) = lane.measure(rest);
            let all = taken == rest.len()
                || (last && !text_empty && taken.saturating_add(1) == rest.len());
            let sure = all || keys > 0 || (fresh && at == youngest);
            if taken > 0 && sure && taken >= most {
                most = taken;
                best = Some((at, taken));
            }
        }
        best
    }

    fn give(&mut self, at: usize, bytes: &[u8]) {
        let Some(lane) = self.open.get_mut(at) else { return };
        lane.take(bytes);
        if lane.complete() {
            self.done = Some(self.open.remove(at));
        }
    }

    /// Where behind foreign text a record goes on to its very end.
    fn resumes_later(&self, rest: &[u8]) -> Option<usize> {
        let tail = rest.len().saturating_sub(1024).max(1);
        (tail..rest.len()).find(|at| {
            let rest = after(rest, *at);
            rest.len() > 1
                && rest.first() != Some(&b'\n')
                && self.open.iter().any(|lane| lane.measure(rest).0 == rest.len())
        })
    }

    /// Text stands behind the first words of a record, where the first value should be: it was
    /// the program that printed these words.
    fn unmask(&mut self, text: &mut Vec<u8>) {
        if let Some(lane) = self.open.pop_if(|lane| lane.keys() < 2) {
            text.extend_from_slice(lane.raw());
        }
    }

    /// One more line of others went by.
    pub(super) fn age(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if let Some(lane) = self.pushed_out.take() {
            give_up(&lane, out);
        }
        for lane in &mut self.open {
            lane.waited = lane.waited.saturating_add(1);
        }
        self.open.retain(|lane| {
            let stays = lane.waited <= PATIENCE;
            if !stays {
                give_up(lane, out);
            }
            stays
        });
    }

    /// Gives up all records in progress.
    pub(super) fn expire(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        for lane in self.open.drain(..) {
            give_up(&lane, out);
        }
    }

    /// Packet mode: gives a whole packet to the record that it continues.
    pub(super) fn take_packet(&mut self, bytes: &[u8]) -> bool {
        let fits = |lane: &Lane| lane.measure(bytes).0 == bytes.len();
        let mut fitting = self.open.iter().enumerate().filter(|(_, lane)| fits(lane));
        let (Some((only, _)), second) = (fitting.next(), fitting.next()) else { return false };
        let mut at = only;
        if second.is_some() {
            // Which of them it belongs to cannot be told: none of them is to be trusted.
            for (number, lane) in self.open.iter_mut().enumerate() {
                if lane.measure(bytes).0 == bytes.len() {
                    lane.doubtful = true;
                    at = number;
                }
            }
        }
        self.give(at, bytes);
        true
    }

    /// Packet mode: whether a record could take the packet.
    fn fits(&self, bytes: &[u8]) -> bool {
        self.open.iter().any(|lane| lane.measure(bytes).0 == bytes.len())
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

/// Packet mode: what one write(2) brings.
impl Assembler {
    /// `follows`: the packet before was a full one, so this one goes on with the same write.
    pub(super) fn packet(&mut self, bytes: &[u8], follows: bool, out: &mut impl FnMut(Entry<'_>)) {
        // The runtime begins a record right behind a long write of exactly whole packets.
        if follows && bytes != HEAD {
            return self.more_of_a_write(bytes, out);
        }
        let newline = bytes.last() == Some(&b'\n');
        let foreign = newline && !self.text.is_empty() && self.interrupts(bytes);
        if !foreign && let Some(held) = self.undecided.take() {
            if goes_on_as_text(bytes) {
                self.text.extend_from_slice(&held);
            } else {
                self.lanes.take_packet(&held);
                self.hand_out(out);
            }
        }
        if bytes == HEAD {
            self.lanes.open();
            self.lanes.age(out);
            return;
        }
        if !self.lanes.is_empty() && self.lanes.fits(bytes) {
            if self.text_wants(bytes) {
                self.undecided = Some(bytes.to_vec());
                return;
            }
            self.lanes.take_packet(bytes);
            return self.hand_out(out);
        }
        if foreign || (self.text.is_empty() && self.raw.is_empty()) {
            return self.own_lines(bytes, out);
        }
        self.append(bytes, out);
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
        let mut rest = bytes;
        while let Some(newline) = memchr::memchr(b'\n', rest) {
            let line = first(rest, newline);
            if line.starts_with(HEAD)
                && let Some(snapshot) = super::sched::parse(line)
            {
                self.classifier.sched(snapshot, out);
            } else {
                self.classifier.line(line, out);
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
        let panics = self.text.starts_with(b"panic: ")
            || self.text.starts_with(b"\tpanic: ")
            || self.text.starts_with(b"fatal error: ");
        !panics && (runtime_piece(&self.text) || self.classifier.gathers()) && !tail(bytes)
    }

    /// Whether the line in `text` needs such a piece next: a figure of an inittrace line, or the
    /// bracket of a goroutine's header.
    fn text_wants(&self, bytes: &[u8]) -> bool {
        let text = &self.text;
        if bytes == b" [" {
            return text.starts_with(b"goroutine ");
        }
        text.starts_with(b"init ")
            && (text.ends_with(b" @") || text.ends_with(b", "))
            && bytes.iter().all(u8::is_ascii_digit)
    }
}

/// What the runtime prints behind the pieces that [`Assembler::text_wants`] holds back.
fn goes_on_as_text(bytes: &[u8]) -> bool {
    [&b" ms, "[..], b" ms clock, ", b" bytes, ", b" allocs"].contains(&bytes)
        || bytes.first().is_some_and(u8::is_ascii_alphabetic)
}

/// Whether a line in progress begins as the runtime begins its lines.
fn runtime_piece(text: &[u8]) -> bool {
    const HEADS: [&[u8]; 10] = [
        b"init ",
        b"gc ",
        b"goroutine ",
        b"created by ",
        b"  P",
        b"  M",
        b"  G",
        b"PC=",
        b"\t/",
        b"runtime: ",
    ];
    HEADS.iter().any(|head| text.starts_with(head))
}

/// The ends of lines that the runtime prints as a write of their own.
fn tail(bytes: &[u8]) -> bool {
    const TAILS: [&[u8]; 4] =
        [b"-byte limit\n", b" frames elided...\n", b" allocs\n", b" [recovered]\n"];
    bytes.len() <= 2
        || TAILS.contains(&bytes)
        || (bytes.len() <= 48
            && bytes.first().is_some_and(|b| b" )]}(:,.+".contains(b))
            && memchr::memchr(b'\n', bytes) == bytes.len().checked_sub(1))
}
