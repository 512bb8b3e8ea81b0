//! Line assembly and everything behind it: any bytes, cut in any way, give entries without a
//! panic, and the same entries as the uncut stream gives.
//!
//! seeds: ../shared/corpus/go/*.log
//! max_len: 2048
#![no_main]

#[path = "common/entries.rs"]
mod entries;

use goinit::go::line::Framing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The last byte says how to cut, so that a seed is a plain log.
    let Some((cut, bytes)) = data.split_last() else { return };
    let whole = entries::entries(Framing::Stream, std::iter::once(bytes));
    let chunk = usize::from(cut % 32) + 1;
    assert_eq!(whole, entries::entries(Framing::Stream, bytes.chunks(chunk)), "chunks of {chunk}");
});
