//! A stream: where a write ends is not known, and a line may hold pieces of several records and of
//! other writers' text. A piece belongs to a record in progress when it continues it; where that
//! leaves a choice, [`Worlds`](super::worlds::Worlds) keeps every choice, and makes no snapshot of
//! figures that could be another's.

use super::entry::Entry;
use super::line::{Assembler, LINE_LIMIT};
use super::scan::{after, first};
use super::sched::{HEAD, parse, starts};
use memchr::memmem;

/// A SCHED line may be longer than others: 4096 Ps need 90 KB.
const SCHED_LIMIT: usize = 256 * 1024;
/// The bytes at the end of a piece of text in which a record may go on.
const TAIL: usize = 1024;

impl Assembler {
    pub(super) fn stream(&mut self, mut bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
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
        self.continues || !self.raw.is_empty() || self.worlds.busy() || !self.text.is_empty()
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
            self.worlds.note(&snapshot);
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
        let record = memmem::find_iter(&line, HEAD)
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

    /// A line in which records and text may be mixed; `ended` tells whether it has a newline.
    pub(super) fn tangled(&mut self, line: &[u8], ended: bool, out: &mut impl FnMut(Entry<'_>)) {
        self.worlds.ease(line.len());
        let mut bytes = line.to_vec();
        bytes.extend(ended.then_some(b'\n'));
        let mut rest = bytes.as_slice();
        let mut ended_text = ended;
        loop {
            let here = self.opens(rest);
            let piece = first(rest, here.unwrap_or(rest.len()));
            if self.resume(piece, here.is_none() && ended) {
                ended_text = false;
            }
            self.hand_out(out);
            let Some(at) = here else { break };
            rest = after(rest, at.saturating_add(HEAD.len()));
            self.worlds.open(None);
            self.worlds.mix();
        }
        if ended_text {
            self.finish_line(out);
        }
        self.worlds.age();
        self.hand_out(out);
        self.shed(out);
    }

    /// Where in `rest` the next record begins.
    fn opens(&self, rest: &[u8]) -> Option<usize> {
        let busy = self.worlds.busy();
        memmem::find_iter(rest, HEAD).find(|at| {
            let here = after(rest, *at);
            let mut body = after(here, HEAD.len());
            // Several right behind each other: runtimes that began at the same time.
            let mut doubled = body.starts_with(HEAD);
            while let Some(next) = body.strip_prefix(HEAD) {
                body = next;
            }
            let digits = body.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
            let figure = digits > 0;
            doubled |= after(body, digits).starts_with(HEAD);
            starts(here) || ((busy || doubled) && figure) || (busy && self.worlds.wants(body))
        })
    }

    /// Gives the bytes of `piece` to the records that they continue and the rest to the text.
    /// `last` tells that it ends in the newline; true means that a record took that.
    fn resume(&mut self, piece: &[u8], last: bool) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            let torn = !self.text.is_empty();
            let taken = self.worlds.read(rest, |taken| {
                let left = rest.len().saturating_sub(taken);
                left == 0 || (last && torn && left == 1)
            });
            if taken > 0 {
                rest = after(rest, taken);
                // A date or a time: its first digits went to the figure in front of it.
                if rest.first().is_some_and(|byte| b"/:-.,".contains(byte)) {
                    self.worlds.hang(true);
                }
                if rest.is_empty() {
                    return last;
                }
                continue;
            }
            let foreign = self.resumes_later(rest).unwrap_or(rest.len());
            if let Some(begun) = self.worlds.unmask() {
                self.text.extend_from_slice(&begun);
            }
            self.text.extend_from_slice(first(rest, foreign));
            rest = after(rest, foreign);
        }
        if last {
            self.text.pop();
        }
        false
    }

    /// Where behind foreign text a record goes on to its very end.
    fn resumes_later(&self, rest: &[u8]) -> Option<usize> {
        if !self.worlds.busy() {
            return None;
        }
        let tail = rest.len().saturating_sub(TAIL).max(1);
        (tail..rest.len()).find(|at| {
            let rest = after(rest, *at);
            rest.len() > 1 && rest.first() != Some(&b'\n') && self.worlds.reaches(rest)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::line::Framing;
    use crate::go::snapshot::Snapshot;

    fn read(stream: &str) -> (Vec<Snapshot>, usize, Vec<String>) {
        let mut assembler = Assembler::new(Framing::Stream);
        let (mut snapshots, mut damaged, mut lines) = (Vec::new(), 0, Vec::new());
        let mut take = |entry: Entry<'_>| match entry {
            Entry::Sched(snapshot) => snapshots.push(snapshot),
            Entry::Damaged(_) => damaged += 1,
            Entry::Text(text) => lines.push(String::from_utf8_lossy(text.bytes).into_owned()),
            Entry::Init(_)
            | Entry::Gc(..)
            | Entry::Crash(_)
            | Entry::Goroutines(_)
            | Entry::DumpEnd(_)
            | Entry::Json(_) => {}
        };
        assembler.feed(stream.as_bytes(), &mut take);
        assembler.end(&mut take);
        (snapshots, damaged, lines)
    }

    /// A record of Go 1.25 with two Ps.
    fn record(uptime: u64, idle: u32, ticks: [u32; 2]) -> String {
        format!(
            "SCHED {uptime}ms: gomaxprocs=2 idleprocs={idle} threads=4 spinningthreads=0 \
             needspinning=0 idlethreads=2 runqueue=0 [ 0 0 ] schedticks=[ {} {} ]\n",
            ticks[0], ticks[1]
        )
    }

    #[test]
    fn a_record_inside_another_is_told_from_it() {
        for beat in [10, 1_000] {
            let before = record(0, 2, [1, 1]) + &record(0, 2, [7, 7]);
            let (outer, inner) = (record(beat, 2, [2, 3]), record(beat + 1, 1, [8, 9]));
            for at in 6..outer.len() - 1 {
                // A write of the runtime ends behind a figure or in front of one.
                let digit = |at: usize| outer.as_bytes()[at].is_ascii_digit();
                if digit(at - 1) == digit(at) {
                    continue;
                }
                let (head, tail) = outer.split_at(at);
                let stream = format!("{before}{head}{inner}{tail}{}", record(beat * 2, 2, [4, 4]));
                let (snapshots, _, lines) = read(&stream);
                let wrong = snapshots.iter().filter(|one| {
                    let figures = (one.idleprocs, &one.schedticks[..]);
                    (one.uptime_ms == beat && figures != (2, &[2, 3]))
                        || (one.uptime_ms == beat + 1 && figures != (1, &[8, 9]))
                });
                assert_eq!(wrong.count(), 0, "{stream}{snapshots:?}");
                let whole = snapshots.len() >= 4 || at < 12;
                assert!(whole && lines.is_empty(), "{stream}{snapshots:?} {lines:?}");
            }
        }
    }

    #[test]
    fn a_record_around_a_line_is_whole_at_any_heartbeat() {
        for beat in [10, 1_000, 60_000] {
            let outer = record(beat * 2, 2, [2, 3]);
            let (head, tail) = outer.split_at(outer.find(" threads").unwrap());
            let before = record(0, 2, [1, 1]) + &record(beat, 2, [1, 2]);
            let (snapshots, damaged, lines) = read(&format!("{before}{head}ready\n{tail}"));
            assert_eq!((snapshots.len(), damaged), (3, 0), "{beat} {lines:?}");
            assert_eq!(lines, ["ready"]);
        }
    }

    #[test]
    fn figures_that_go_on_from_no_runtime_are_nobodys() {
        let before = record(0, 2, [5, 5]) + &record(0, 2, [70, 70]);
        // Two that keep step, whose figures cannot be told apart.
        let both = "SCHED SCHED 1110ms: gomaxprocs=ms: gomaxprocs=22 idleprocs= idleprocs=21 \
            threads= threads=44 spinningthreads= spinningthreads=00 needspinning= \
            needspinning=00 idlethreads= idlethreads=22 runqueue= runqueue=00  [ [ 00  00 ] \
            ] schedticks=[  schedticks=[ 671  771   ]\n]\n";
        let (snapshots, damaged, _) = read(&(before + both));
        assert_eq!((snapshots.len(), damaged), (2, 2), "{snapshots:?}");
    }

    #[test]
    fn the_digits_of_a_date_are_no_figure() {
        let (head, tail) = (
            "SCHED 9ms: gomaxprocs=2 idleprocs=1 threads=4",
            " spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n",
        );
        let torn = |line: &str| read(&format!("{head}{line}\n{tail}"));
        let (snapshots, damaged, lines) = torn("2026/11/26 ready");
        assert_eq!((snapshots.len(), damaged, lines.len()), (0, 1, 1));
        let (snapshots, damaged, lines) = torn("ready");
        assert_eq!((snapshots.len(), damaged), (1, 0), "{lines:?}");
        assert_eq!((snapshots[0].threads, &lines[..]), (4, &["ready".to_owned()][..]));
    }
}
