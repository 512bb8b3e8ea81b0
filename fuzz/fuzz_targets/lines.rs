//! Line assembly and everything behind it: any bytes, cut in any way, give entries without a
//! panic, and the same entries as the uncut stream gives.
//!
//! seeds: ../shared/corpus/go/*.log
#![no_main]

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The last byte says how to cut, so that a seed is a plain log.
    let Some((cut, bytes)) = data.split_last() else { return };
    let whole = entries(Framing::Stream, std::iter::once(bytes));
    let chunk = usize::from(cut % 32) + 1;
    assert_eq!(whole, entries(Framing::Stream, bytes.chunks(chunk)), "chunks of {chunk}");
    entries(Framing::Packets, writes(bytes));
    entries(Framing::Packets, bytes.chunks(usize::from(*cut) + 1));
});

/// Pieces as the runtime writes them: each run of digits and what is between is a write.
fn writes(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit() && *a != b'\n')
}

fn entries<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut list = Vec::new();
    let mut assembler = Assembler::new(framing);
    let mut take = |entry: Entry<'_>| {
        list.push(match entry {
            Entry::Goroutines(group) => {
                let frames: Vec<_> = group.frames().collect();
                format!("{} {:?} {frames:?}", group.count(), group.first_ids())
            }
            other => format!("{other:?}"),
        });
    };
    for piece in pieces {
        assembler.feed(piece, &mut take);
    }
    assembler.end(&mut take);
    list
}
