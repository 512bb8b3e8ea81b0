//! The grammar of a crash's head: what is behind `panic: ` and its like is a crash, or comes out
//! again as the text that it was.
//!
//! seeds: ../shared/corpus/go/crash-*.log
//! max_len: 1024
#![no_main]

#[path = "common/kept.rs"]
mod kept;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    kept::kept(data);
    for head in ["panic: ", "fatal error: ", "SIG"] {
        kept::kept(&[head.as_bytes(), data].concat());
    }
});
