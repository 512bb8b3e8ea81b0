//! Where the list of all goroutines is, without symbols: decoded from the machine code of the one
//! function that appends to it.
//!
//! `runtime.allgadd` is never inlined and reads and writes pointer, length and capacity of
//! `runtime.allgs` relative to its own address. No disassembler: false hits are harmless because
//! three addresses, 8 apart, must all be referenced.

use super::bytes::{array_at, u8_at, u32_at, wide};
use std::ops::Range;

/// Addresses that x86-64 `code`, loaded at `entry`, refers to relative to the instruction.
#[must_use]
pub fn amd64_references(code: &[u8], entry: u64) -> Vec<u64> {
    let mut addresses = Vec::new();
    for at in 0..code.len() {
        // Length behind the displacement: none, an 8-bit or a 32-bit immediate.
        let immediate = match u8_at(code, at) {
            Some(0x8b | 0x89 | 0x8d | 0x3b | 0x39 | 0x87 | 0x03 | 0x01 | 0x85 | 0x2b) => 0,
            Some(0x83 | 0x80) => 1,
            Some(0xc7 | 0x81) => 4,
            _ => continue,
        };
        // ModRM with mode 0 and base 5: an address relative to the next instruction.
        if u8_at(code, at + 1).is_none_or(|modrm| modrm & 0xc7 != 5) {
            continue;
        }
        let Some(displacement) = array_at::<4>(code, at + 2).map(i32::from_le_bytes) else { break };
        let next = entry.wrapping_add(wide(at + 6 + immediate));
        addresses.push(next.wrapping_add_signed(i64::from(displacement)));
    }
    addresses
}

/// Addresses that AArch64 `code`, loaded at `entry`, forms from a page and an offset.
#[must_use]
pub fn arm64_references(code: &[u8], entry: u64) -> Vec<u64> {
    let mut addresses = Vec::new();
    let mut pages = [None::<u64>; 32];
    for at in (0..code.len()).step_by(4) {
        let Some(word) = u32_at(code, at) else { break };
        let pc = entry.wrapping_add(wide(at));
        let target = register(word, 0);
        let base = pages.get(register(word, 5)).copied().flatten();
        let immediate = u64::from(word >> 10 & 0xfff);
        let mut reach = |offset: u64| {
            if let Some(base) = base {
                addresses.push(base.wrapping_add(offset));
            }
        };
        if word & 0x9f00_0000 == 0x9000_0000 {
            // ADRP: 21 bits of pages, the two low ones at 29.
            let pages_away = (word >> 29 & 3) | (word >> 5 & 0x7_ffff) << 2;
            let signed = i64::from((pages_away << 11).cast_signed() >> 11) << 12;
            if let Some(page) = pages.get_mut(target) {
                *page = Some((pc & !0xfff).wrapping_add_signed(signed));
            }
        } else if word & 0xffc0_0000 == 0x9100_0000 {
            // ADD (immediate): the sum may be the base of a pair.
            reach(immediate);
            if let (Some(base), Some(page)) = (base, pages.get_mut(target)) {
                *page = Some(base.wrapping_add(immediate));
            }
        } else if matches!(word & 0xffc0_0000, 0xf940_0000 | 0xf900_0000) {
            // LDR, STR with an unsigned offset in words.
            reach(immediate * 8);
        } else if matches!(word & 0xffc0_0000, 0xa940_0000 | 0xa900_0000) {
            // LDP, STP: two words from a signed offset; only offsets upwards occur here.
            let offset = u64::from(word >> 15 & 0x3f) * 8;
            reach(offset);
            reach(offset + 8);
        }
    }
    addresses
}

fn register(word: u32, shift: u32) -> usize {
    usize::try_from(word >> shift & 31).unwrap_or(0)
}

/// The one address inside `data` of which the words at 0, 8 and 16 are all referenced.
#[must_use]
pub fn slice_header(addresses: &[u64], data: &Range<u64>) -> Option<u64> {
    let mut inside: Vec<u64> = addresses.iter().copied().filter(|at| data.contains(at)).collect();
    inside.sort_unstable();
    inside.dedup();
    let has = |at: u64| inside.binary_search(&at).is_ok();
    let mut headers = inside.iter().filter(|at| has(**at + 8) && has(**at + 16));
    match (headers.next(), headers.next()) {
        (Some(only), None) => Some(*only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_words_referenced_from_amd64_code_are_the_slice() {
        // mov rcx,[rip+0x100]; mov rdx,[rip+0x101]; cmp [rip+0x102],rdx; lea rax,[rip+0x900]
        let code = [
            0x48, 0x8b, 0x0d, 0x00, 0x01, 0, 0, 0x48, 0x8b, 0x15, 0x01, 0x01, 0, 0, 0x48, 0x39,
            0x15, 0x02, 0x01, 0, 0, 0x48, 0x8d, 0x05, 0x00, 0x09, 0, 0,
        ];
        let addresses = amd64_references(&code, 0x1000);
        assert_eq!(slice_header(&addresses, &(0x1000..0x4000)), Some(0x1107));
        assert_eq!(slice_header(&addresses, &(0x1108..0x4000)), None);
    }

    #[test]
    fn three_words_referenced_from_arm64_code_are_the_slice() {
        // adrp x1, +1 page; add x1, x1, #0x20; ldp x2, x3, [x1]; adrp x4, +1 page; ldr x5, [x4, #0x30]
        let code: Vec<u8> = [0xb000_0001u32, 0x9100_8021, 0xa940_0c22, 0xb000_0004, 0xf940_1885]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let addresses = arm64_references(&code, 0x1_0000);
        assert_eq!(slice_header(&addresses, &(0x1_0000..0x2_0000)), Some(0x1_1020));
    }
}
