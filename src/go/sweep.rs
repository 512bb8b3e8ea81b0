//! Looking through live data word by word, a block at a time.

use super::bytes::{index, u64_at, wide};
use super::memory::ReadMemory;
use std::ops::Range;

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;
/// Bytes looked at in one scan; the data of the largest programs stays below.
const LIMIT: u64 = 256 * 1024 * 1024;

/// Gives `seen` each 8-aligned address of `range` with the `N` words there, until it says true.
/// Unreadable blocks are stepped over.
pub fn words<const N: usize>(
    memory: &dyn ReadMemory,
    range: Range<u64>,
    seen: &mut dyn FnMut(u64, [u64; N]) -> bool,
) {
    let tail = N * 8;
    let mut block = vec![0u8; BLOCK + tail];
    let mut at = range.start.next_multiple_of(8);
    let end = range.end.min(range.start.saturating_add(LIMIT));
    while at < end {
        let wanted = index(end - at).min(block.len());
        let Some(bytes) = block.get_mut(..wanted) else { return };
        if memory.read(at, bytes) {
            for offset in (0..wanted.min(BLOCK)).step_by(8) {
                let mut words = [0u64; N];
                for (number, word) in words.iter_mut().enumerate() {
                    *word = u64_at(bytes, offset + number * 8).unwrap_or(0);
                }
                if offset + tail <= wanted && seen(at + wide(offset), words) {
                    return;
                }
            }
        }
        let Some(next) = at.checked_add(wide(BLOCK)) else { return };
        at = next;
    }
}
