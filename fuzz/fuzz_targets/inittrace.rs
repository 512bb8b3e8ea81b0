//! The grammar of `--inittrace`: the package is a part of the line, and nothing panics.
//!
//! seeds: ../shared/corpus/go/init-*.log
//! seeds: ../shared/corpus/go/*-all-*.log
//! max_len: 512
#![no_main]

use goinit::go::init;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let Some(trace) = init::parse(line) else { continue };
        assert!(line.starts_with(b"init ") && !trace.package.is_empty());
        assert!(line[5..].starts_with(trace.package));
        assert!(trace.at_ms.is_finite() && trace.duration_ms.is_finite());
    }
});
