//! The grammar of `--gctrace`: figures are numbers, and nothing panics.
//!
//! seeds: ../shared/corpus/go/gc-*.log
//! seeds: ../shared/corpus/go/*-all-*.log
//! max_len: 512
#![no_main]

use goinit::go::gc;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let Some((trace, _)) = gc::parse(line) else { continue };
        assert!(line.starts_with(b"gc "));
        assert!(trace.at_ms.is_finite() && trace.pause_ms.is_finite());
    }
});
