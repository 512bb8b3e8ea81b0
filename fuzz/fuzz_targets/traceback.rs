//! The grammar of a traceback without a crash before it: the runtime's own goroutines, or text that
//! comes out again as it was.
//!
//! seeds: ../shared/corpus/go/chan-*.log
//! max_len: 1024
#![no_main]

#[path = "common/kept.rs"]
mod kept;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    kept::kept(data);
    kept::kept(&[b"goroutine ", data].concat());
    kept::kept(&[b"goroutine 7 [running]:\n", data].concat());
});
