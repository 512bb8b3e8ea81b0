//! The program's stderr as it came: for `--raw stderr`, and for a run whose diagnosis failed.

use super::backlog::Class;
use super::outbox::Outbox;
use crate::go::line::LINE_LIMIT;

/// Passes on whole lines, and pieces of endless ones, so that no record ever stands within one.
#[derive(Debug, Default)]
pub struct Repeater {
    /// The beginning of a line, below the limit.
    held: Vec<u8>,
}

impl Repeater {
    /// Takes what was read.
    pub fn feed(&mut self, bytes: &[u8], outbox: &mut Outbox) {
        self.held.extend_from_slice(bytes);
        let whole = memchr::memrchr(b'\n', &self.held).map_or(0, |end| end + 1);
        let ready = if self.held.len() >= LINE_LIMIT { self.held.len() } else { whole };
        for line in self.held.drain(..ready).as_slice().split_inclusive(|byte| *byte == b'\n') {
            outbox.write(Class::Line, |_, out| {
                out.extend_from_slice(line);
                if line.last() != Some(&b'\n') {
                    out.push(b'\n');
                }
            });
        }
    }

    /// Passes on what is held: no more will come.
    pub fn end(&mut self, outbox: &mut Outbox) {
        if !self.held.is_empty() {
            self.feed(b"\n", outbox);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(reads: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut outbox, mut repeater) = (Outbox::new(1), Repeater::default());
        for bytes in reads {
            repeater.feed(bytes, &mut outbox);
        }
        repeater.end(&mut outbox);
        outbox.records().map(|(_, bytes)| bytes.to_vec()).collect()
    }

    #[test]
    fn lines_are_whole_however_they_were_read() {
        let expected = [&b"one\n"[..], b"two\n", b"\n", b"three\n"];
        assert_eq!(repeated(&[b"one\ntwo\n\nthree"]), expected);
        assert_eq!(repeated(&[b"on", b"e\ntwo", b"\n", b"\nthree\n"]), expected);
        assert!(repeated(&[b"", b""]).is_empty());
    }

    #[test]
    fn a_line_without_end_is_passed_on_in_pieces() {
        let piece = [b'x'; LINE_LIMIT];
        let lines = repeated(&[&piece, &piece, b"end\n"]);
        assert_eq!(
            lines.iter().map(Vec::len).collect::<Vec<_>>(),
            [LINE_LIMIT + 1, LINE_LIMIT + 1, 4]
        );
    }
}
