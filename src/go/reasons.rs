//! Why a goroutine waits, in the runtime's own words.
//!
//! The numbers moved in many releases and even inside 1.23, so the list is read from the program
//! (`runtime.waitReasonStrings`) and never assumed.

use super::bytes::u64_at;
use super::image::{Image, text_at};
use super::memory::ReadMemory;
use super::sweep;
use std::ops::Range;

/// Reasons at most; Go 1.27 has 47 and the index is one byte.
const REASONS: usize = 256;
/// The reason with number 1 in every version.
const FIRST: &str = "GC assist marking";

/// The list, empty at 0 as in the runtime; nothing when it cannot be found.
#[must_use]
pub fn read(image: &Image<'_>, memory: &dyn ReadMemory, data: Range<u64>) -> Vec<String> {
    let mut start = None;
    sweep::words(memory, data, &mut |at, [zero, none, text, length]| {
        if zero == 0 && none == 0 && length == 17 && text_at(image, text, length, 64) == Some(FIRST)
        {
            start = at.checked_add(16);
        }
        start.is_some()
    });
    let mut reasons = Vec::new();
    let mut bytes = vec![0u8; REASONS * 16];
    let Some(start) = start else { return reasons };
    // The list may end close to the end of its mapping: read less until it fits.
    while !memory.read(start, &mut bytes) {
        bytes.truncate(bytes.len() / 2);
        if bytes.is_empty() {
            return reasons;
        }
    }
    reasons.push(String::new());
    for at in (0..bytes.len()).step_by(16).take(REASONS - 1) {
        let entry = u64_at(&bytes, at).zip(u64_at(&bytes, at + 8));
        let Some(text) = entry.and_then(|(text, length)| text_at(image, text, length, 64)) else {
            break;
        };
        reasons.push(text.to_owned());
    }
    reasons
}
