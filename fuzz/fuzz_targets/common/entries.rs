//! The entries of a stream.

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use std::fmt::Write;

/// Everything that comes out, as one text.
pub fn entries<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> String {
    let mut list = String::new();
    let mut assembler = Assembler::new(framing);
    let mut take = |entry: Entry<'_>| {
        let _ = match entry {
            // Most entries by far, and formatting them takes longer than reading them.
            Entry::Text(text) => {
                list.push_str(&String::from_utf8_lossy(text.bytes));
                writeln!(list, "{}{}{}", text.continues, text.continued, text.partial)
            }
            Entry::Goroutines(group) => {
                let frames: Vec<_> = group.frames().collect();
                writeln!(list, "{} {:?} {frames:?}", group.count(), group.first_ids())
            }
            other => writeln!(list, "{other:?}"),
        };
    };
    for piece in pieces {
        assembler.feed(piece, &mut take);
    }
    assembler.end(&mut take);
    list
}
