//! Packet mode: writes of any content, as the runtime cuts its lines and as nobody does, give
//! entries without a panic. Each input is short: what is held for the next packet is bounded, and
//! a long input only repeats it.
//!
//! seeds: ../shared/corpus/go/*.log
//! max_len: 768
#![no_main]

#[path = "common/entries.rs"]
mod entries;

use goinit::go::line::Framing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_last() else { return };
    // Each run of digits and what is between is a write, as the runtime prints.
    let writes = bytes.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit() && *a != b'\n');
    if cut & 1 == 0 {
        entries::entries(Framing::Packets, writes);
    } else {
        entries::entries(Framing::Packets, bytes.chunks(usize::from(*cut) + 1));
    }
});
