//! The element types of channels: what a goroutine waits for is told far better by `os.Signal` or
//! `time.Time` than by an address.
//!
//! A channel points to the type of its elements (runtime/chan.go, `hchan.elemtype`), a type has
//! the offset of its name from the start of the module's types (internal/abi/type.go, `Type.Str`),
//! a name is a byte of flags, a varint length, and the text.

use super::bytes::{index, u8_at, u32_at, u64_at};
use super::gather::Gathered;
use super::memory::ReadMemory;
use super::program::Program;
use std::collections::BTreeMap;

/// Channels looked at, at most.
const CHANNELS: usize = 4096;
/// Bytes of a name that are kept; a longer one is cut.
const NAME: usize = 120;
/// `Type.TFlag` and the flag for a name that is stored with a star before it.
const FLAGS: usize = 20;
const EXTRA_STAR: u8 = 2;
/// `Type.Str`, and the bytes of a type up to its end.
const NAME_OFFSET: usize = 40;
const TYPE_BYTES: usize = 44;

/// The names of the element types of `channels` (addresses), as far as they can be read.
#[must_use]
pub fn names(
    memory: &dyn ReadMemory,
    program: &Program<'_>,
    channels: impl Iterator<Item = u64>,
) -> BTreeMap<u64, String> {
    // In a layout that was measured these places are not known.
    if program.calibrated {
        return BTreeMap::new();
    }
    let minor = program.layout.minor;
    // From 1.23 on the timer that feeds a channel stands before its type.
    let element = if minor >= 23 { 40 } else { 32 };
    // moduledata.types; 1.20 put two words of coverage counters before it (runtime/symtab.go).
    let types = program.module.address.saturating_add(if minor >= 20 { 296 } else { 280 });
    let Some(types) = memory.word(types) else { return BTreeMap::new() };
    let channels: Vec<u64> = channels.take(CHANNELS).collect();
    let places: Vec<u64> = channels.iter().map(|at| at.saturating_add(element)).collect();
    let kinds = Gathered::read(memory, &places, 8);
    // Channels are many, types are few.
    let mut known: BTreeMap<u64, Option<String>> = BTreeMap::new();
    let named = |(number, at): (usize, &u64)| {
        let kind = u64_at(kinds.get(number)?, 0)?;
        let name = known.entry(kind).or_insert_with(|| name(memory, types, kind));
        Some((*at, name.clone()?))
    };
    channels.iter().enumerate().filter_map(named).collect()
}

/// The name of the type at `kind`.
fn name(memory: &dyn ReadMemory, types: u64, kind: u64) -> Option<String> {
    let mut bytes = [0u8; TYPE_BYTES];
    if kind < types || !memory.read(kind, &mut bytes) {
        return None;
    }
    let offset = u32_at(&bytes, NAME_OFFSET)?;
    let starred = u8_at(&bytes, FLAGS)? & EXTRA_STAR != 0;
    let at = types.checked_add(offset.into())?;
    // Flags, and a length of at most two bytes for any name that is worth showing.
    let head = memory.word(at)?.to_le_bytes();
    let (low, high) = (*head.get(1)?, *head.get(2)?);
    let (length, text) = match low & 0x80 {
        0 => (u64::from(low), at.checked_add(2)?),
        _ => (u64::from(low & 0x7f) | u64::from(high & 0x7f) << 7, at.checked_add(3)?),
    };
    let mut name = vec![0u8; index(length).min(NAME)];
    if name.is_empty() || !memory.read(text, &mut name) {
        return None;
    }
    let name = String::from_utf8(name).ok()?;
    let name = if starred { name.strip_prefix('*').unwrap_or(&name) } else { &name };
    let printable = name.chars().all(|c| !c.is_control());
    (printable && !name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::memory::Recorded;

    const TYPES: u64 = 0x50_0000;

    fn check(stored: &[u8], flags: u8, expected: Option<&str>) {
        let mut kind = [0u8; TYPE_BYTES];
        kind[FLAGS] = flags;
        kind[NAME_OFFSET..].copy_from_slice(&0x40u32.to_le_bytes());
        let mut memory = Recorded::default();
        memory.add(TYPES, &[0; 0x10]);
        memory.add(TYPES + 0x10, &kind);
        memory.add(TYPES + 0x40, stored);
        assert_eq!(name(&memory, TYPES, TYPES + 0x10).as_deref(), expected, "{stored:?}");
    }

    #[test]
    fn a_name_is_flags_length_and_text() {
        check(b"\x01\x09os.Signal.....", 0, Some("os.Signal"));
        check(b"\x01\x0a*time.Time....", EXTRA_STAR, Some("time.Time"));
        check(b"\x01\x05*main.job.....", 0, Some("*main"));
        let long = [b"\x01\xc8\x01".as_slice(), &[b'x'; 200]].concat();
        check(&long, 0, Some(&"x".repeat(NAME)));
    }

    #[test]
    fn what_is_no_name_is_none() {
        check(b"\x01\x00..............", 0, None);
        check(b"\x01\x09os\x00Signal.....", 0, None);
        check(b"\x01\x7fcut", 0, None);
        let empty = Recorded::default();
        assert_eq!(name(&empty, TYPES, TYPES + 8), None);
        assert_eq!(name(&empty, TYPES, TYPES - 8), None);
    }
}
