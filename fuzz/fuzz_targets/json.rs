//! Whole JSON objects are told from what only looks like one, as the common reader tells them.
//!
//! max_len: 512
#![no_main]

use goinit::go::json;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let known = serde_json::from_slice::<IgnoredAny>(line).is_ok();
        let object = line.first() == Some(&b'{') && line.last() == Some(&b'}');
        if json::object(line).is_some() {
            // The reader looks for UTF-8 only in what it keeps; this one looks always.
            assert!(known, "{}", String::from_utf8_lossy(line));
        } else if object && known && std::str::from_utf8(line).is_ok() {
            let depth = line.iter().filter(|byte| b"[{".contains(byte)).count();
            assert!(depth >= 127, "{}", String::from_utf8_lossy(line));
        }
    }
});
