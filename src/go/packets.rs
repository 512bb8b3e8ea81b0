//! Packet mode: what one write(2) brings. The runtime prints a line in many writes, everybody else
//! a line, or several, in one; so a packet continues a line of the runtime exactly where the
//! runtime would go on, and is a line of its own otherwise.

use super::entry::{Entry, Text};
use super::line::{Assembler, LINE_LIMIT, PACKET};
use super::pieces::{
    Pieces, STARTS, awaits_words, literal, number, of_runtime, piece, says_words, split_line, tail,
};
use super::sched::HEAD;
use super::strand::Body;

/// Writes that are held back because they may be lines of others or the words of a crash.
const HELD: usize = 16;
/// Figures of the runtime behind which the beginning of a line is taken for one that was left.
const LEFT: u32 = 64;

impl Assembler {
    /// `follows`: the packet before was a full one, so this one goes on with the same write.
    pub(super) fn packet(&mut self, bytes: &[u8], follows: bool, out: &mut impl FnMut(Entry<'_>)) {
        // The runtime begins a record right behind a long write of exactly whole packets.
        if follows && bytes != HEAD {
            return self.more_of_a_write(bytes, out);
        }
        if bytes == HEAD {
            self.worlds.open(None);
            return self.hand_out(out);
        }
        // A key of versions to come, unless a line is in progress that may have such a piece.
        if self.worlds.fits(bytes)
            && (self.text.is_empty() || !of_runtime(&self.text) || self.worlds.expects(bytes))
        {
            // Of a line in any shape no piece is known: a figure may be meant for it.
            if number(bytes) && self.worlds.several() && self.beside(out) {
                self.worlds.doubt(bytes);
            }
            self.worlds.take(bytes);
            return self.hand_out(out);
        }
        if let Some(line) = Pieces::opens(bytes)
            && (!line.vague() || self.text.is_empty())
        {
            self.worlds.open(Some(Body::Line(line)));
            return self.hand_out(out);
        }
        if !self.held.is_empty() && self.words(bytes, out) {
            return;
        }
        self.route(bytes, out);
    }

    /// Whether a line in any shape is in progress to which a piece of the runtime may belong. A
    /// beginning that nobody goes on with for long is none: not even a line, when it is only a
    /// figure, but what is left of a record that could not be put together.
    fn beside(&mut self, out: &mut impl FnMut(Entry<'_>)) -> bool {
        if self.text.len() != self.left.0 {
            self.left = (self.text.len(), 0);
        }
        self.left.1 = self.left.1.saturating_add(1);
        if self.left.1 > LEFT && piece(&self.text) {
            self.hand_out_rest(out);
        }
        !self.text.is_empty() && self.left.1 <= LEFT
    }

    /// Hands out the beginning of a line that will not go on.
    fn hand_out_rest(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let left = std::mem::take(&mut self.text);
        if !left.is_empty() {
            out(Entry::Text(Text { partial: true, ..Text::line(&left) }));
        }
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
            self.hand_out_rest(out);
        }
        let ended = bytes.last() == Some(&b'\n');
        let own = ended && bytes.len() > 1 && !bytes.first().is_some_and(|b| STARTS.contains(b));
        if own && self.worlds.several() && piece(&self.text) {
            self.hand_out_rest(out);
        }
        // Between the head of a crash and its traceback a line behind a tab is of the crash's text.
        let gathers = self.classifier.gathers() && !self.classifier.expects();
        let foreign = ended && bytes.len() > 1 && gathers;
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
            return self.hand_out(out);
        }
        self.append(bytes, out);
    }

    /// The stream has ended.
    pub(super) fn end_packets(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.worlds.end();
        self.hand_out(out);
        self.words(b"", out);
    }

    /// The rest of a write of more than 4096 bytes.
    fn more_of_a_write(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if self.raw.is_empty() {
            return self.append_more(bytes, out);
        }
        let mut whole = std::mem::take(&mut self.raw);
        whole.extend_from_slice(bytes);
        self.own_lines(&whole, out);
    }

    /// Lines of a writer that needs nothing of what is in progress. Without a newline at the end
    /// the last one waits: in `text`, or beside it when somebody else's line is there.
    fn own_lines(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        // Asked only where it decides anything: nearly every packet is a line of the program.
        let runtime = self.pieced && literal(bytes);
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

    /// Goes on with the line in `text`. Up to Go 1.22 the text of a panic comes as it is, in one
    /// write: whatever its lines look like, they are nothing else.
    fn append(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        self.wording = says_words(&self.text);
        self.append_more(bytes, out);
    }

    fn append_more(&mut self, bytes: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let mut rest = bytes;
        while let Some((line, others)) = split_line(rest) {
            self.pieced = !self.text.is_empty();
            rest = others;
            if self.wording && self.words_go_on(line) {
                continue;
            }
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

    /// Takes the end of a line of a panic's text, whose head is held; false if it is none.
    fn words_go_on(&mut self, end: &[u8]) -> bool {
        if self.continues || !self.classifier.expects() {
            return false;
        }
        let begun = self.text.len();
        self.text.extend_from_slice(end);
        let taken = self.classifier.words(&self.text);
        self.text.truncate(if taken { 0 } else { begun });
        taken
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::line::Framing;

    /// The text of the crash in these writes, and how many lines and goroutines came beside it.
    fn crash(writes: &[&str]) -> (String, usize, usize) {
        let mut assembler = Assembler::new(Framing::Packets);
        let (mut text, mut lines, mut goroutines) = (String::new(), 0, 0);
        let mut take = |entry: Entry<'_>| match entry {
            Entry::Crash(head) => text = String::from_utf8_lossy(head.message).into_owned(),
            Entry::Text(_) => lines += 1,
            Entry::Goroutines(group) => goroutines += group.count(),
            Entry::Sched(_)
            | Entry::Damaged(_)
            | Entry::Init(_)
            | Entry::Gc(..)
            | Entry::DumpEnd(_)
            | Entry::Json(_) => {}
        };
        for write in writes {
            assembler.feed(write.as_bytes(), &mut take);
        }
        assembler.end(&mut take);
        (text, lines, usize::try_from(goroutines).unwrap())
    }

    const SNAPSHOT: [&str; 23] = [
        "SCHED ",
        "5",
        "ms: gomaxprocs=",
        "2",
        " idleprocs=",
        "1",
        " threads=",
        "4",
        " spinningthreads=",
        "0",
        " needspinning=",
        "0",
        " idlethreads=",
        "2",
        " runqueue=",
        "0",
        " gcwaiting=",
        "false",
        " nmidlelocked=",
        "0",
        " stopwait=",
        "0",
        " sysmonwait=",
    ];
    const TRACE: [&str; 15] = [
        "\n",
        "goroutine ",
        "1",
        " [",
        "running",
        "]:\n",
        "main.main",
        "(",
        ")\n",
        "\t",
        "/a.go",
        ":",
        "3",
        " +",
        "0x1d",
    ];

    #[test]
    fn a_blank_line_in_the_text_of_a_panic_does_not_end_it() {
        // Go 1.23 and later, with the snapshot that goes before a crash.
        let words =
            ["panic: ", "a\n", "\t", "\n", "\t", "goroutine 7 [running]:\n", "\t", "b", "\n"];
        let all = [&SNAPSHOT[..], &["false", "\n"], &words, &TRACE, &["\n"]].concat();
        assert_eq!(crash(&all), ("a\n\t\n\tgoroutine 7 [running]:\n\tb".into(), 0, 1));
    }

    #[test]
    fn a_trace_inside_the_text_of_a_panic_is_text() {
        // Up to Go 1.22, the text in one write.
        let text = "a\n\ngoroutine 7 [running]:\nmain.x()\n\t/x.go:1 +0x1\nb";
        let all = [&["panic: ", text, "\n"][..], &TRACE, &["\n"]].concat();
        assert_eq!(crash(&all), (text.into(), 0, 1));
        // It ends in a newline, and may be longer than a packet.
        let long = format!("{}\n\ngoroutine 7 [running]:\nmain.x()\n", "a".repeat(4000));
        let whole = format!("{long}{}", "\t/x.go:1 +0x1\n".repeat(9));
        let (head, rest) = whole.split_at(4096);

        let all = [&["panic: ", head, rest, "\n"][..], &TRACE, &["\n"]].concat();
        let (found, lines, goroutines) = crash(&all);
        assert_eq!((found.len(), lines, goroutines), (head.len() + rest.len() - 1, 0, 1));
    }
}
