//! Records in progress in a stream: the SCHED lines that other writers stand inside of, or that
//! several runtimes print at the same time. Only the grammar tells whose the bytes are.

use super::entry::{Entry, Text};
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
}

/// A record that never ended: its bytes, as damaged or, when it had hardly begun, as text.
pub(super) fn give_up(lane: &Lane, out: &mut impl FnMut(Entry<'_>)) {
    if lane.keys() >= 2 {
        out(Entry::Damaged(lane.raw()));
    } else {
        out(Entry::Text(Text::line(lane.raw())));
    }
}
