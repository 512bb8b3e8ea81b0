//! The function table of a Go executable (pclntab): functions by address, their names, their
//! files, and the compressed tables that map a program counter to a value.
//!
//! Formats of Go 1.18 and later (debug/gosym, runtime/symtab.go). The table is read in place and
//! never copied; every offset in it is foreign and checked; every walk has a cap.

use super::bytes::{cstr_at, index, u8_at, u32_at, u64_at, wide};
use super::image::Image;
use std::borrow::Cow;

/// Functions at most; the largest known program has 400,000.
const FUNCTIONS: u64 = 8_000_000;
/// The longest function or file name; generics nest deep.
pub const NAME_BYTES: usize = 4096;
/// Steps of one pc-value table; a function of several megabytes stays below.
const STEPS: u32 = 1_000_000;

/// `flag` of a function: nothing called it, a stack ends here.
pub const TOP_FRAME: u8 = 1;
/// `flag` of a function: it writes the stack pointer, so its frame cannot be walked.
pub const SP_WRITE: u8 = 2;

/// PCDATA that gives the index into the inlining tree.
const INLINE_INDEX: u32 = 2;
/// FUNCDATA that gives the inlining tree.
const INLINE_TREE: u8 = 3;

/// The function table.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a> {
    /// From the header to the end of what holds it.
    bytes: &'a [u8],
    /// Run-time address of the header.
    pub address: u64,
    /// Run-time address that function offsets count from; from the module data.
    pub text: u64,
    /// The layout of Go 1.18 and 1.19.
    pub old: bool,
    min_step: u32,
    /// Number of functions.
    pub functions: usize,
    names: usize,
    units: usize,
    files: usize,
    values: usize,
    records: usize,
}

/// One function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Run-time address of its first instruction.
    pub entry: u64,
    /// Run-time address behind it.
    pub end: u64,
    /// Where its name is in the table of names.
    pub name: u32,
    /// [`TOP_FRAME`], [`SP_WRITE`].
    pub flag: u8,
    /// The runtime's number for functions it treats specially; differs between versions.
    pub id: u8,
    record: usize,
}

impl<'a> Table<'a> {
    /// Finds the table of `image`: where the section table says, else by its header.
    #[must_use]
    pub fn find(image: &Image<'a>) -> Option<Self> {
        let named = image.pclntab.and_then(|at| Self::at(image.from(at)?, at));
        named.or_else(|| image.parts.iter().find_map(|part| Self::search(part.bytes, part.start)))
    }

    fn search(bytes: &'a [u8], start: u64) -> Option<Self> {
        // All but the first byte of the magic, and the two zero bytes behind it, are the same in
        // both layouts.
        memchr::memmem::find_iter(bytes, b"\xff\xff\xff\0\0").find_map(|found| {
            let at = found.checked_sub(1)?;
            if !at.is_multiple_of(8) {
                return None;
            }
            Self::at(bytes.get(at..)?, start.checked_add(wide(at))?)
        })
    }

    /// The table whose header is at the start of `bytes`, if it is one.
    fn at(bytes: &'a [u8], address: u64) -> Option<Self> {
        let old = match u32_at(bytes, 0)? {
            0xffff_fff0 => true,
            0xffff_fff1 => false,
            _ => return None,
        };
        let step = u8_at(bytes, 6)?;
        let pad = u8_at(bytes, 4)? | u8_at(bytes, 5)?;
        if pad != 0 || ![1, 2, 4].contains(&step) || u8_at(bytes, 7)? != 8 {
            return None;
        }
        let functions = u64_at(bytes, 8).filter(|count| (1..FUNCTIONS).contains(count))?;
        let mut offsets = [0usize; 5];
        for (number, offset) in offsets.iter_mut().enumerate() {
            *offset = index(u64_at(bytes, 32 + number * 8)?);
        }
        let [names, units, files, values, records] = offsets;
        let end = index(functions).checked_mul(8)?.checked_add(8)?.checked_add(records)?;
        if !offsets.is_sorted() || names < 72 || end > bytes.len() {
            return None;
        }
        Some(Self {
            bytes,
            address,
            text: 0,
            old,
            min_step: u32::from(step),
            functions: index(functions),
            names,
            units,
            files,
            values,
            records,
        })
    }

    /// What the module data holds at 8, 32, 80 and 128: addresses of the sub-tables.
    #[must_use]
    pub fn parts(&self) -> [u64; 4] {
        [self.names, self.units, self.values, self.records]
            .map(|offset| self.address.wrapping_add(wide(offset)))
    }

    /// Entry offset and record offset of the `number`th row; the row behind the last function
    /// holds the end of the code.
    fn row(&self, number: usize) -> Option<(u32, u32)> {
        let at = self.records.checked_add(number.checked_mul(8)?)?;
        Some((u32_at(self.bytes, at)?, u32_at(self.bytes, at + 4)?))
    }

    /// The `number`th function in the order of addresses.
    #[must_use]
    pub fn function(&self, number: usize) -> Option<Function> {
        if number >= self.functions {
            return None;
        }
        let (entry, record) = self.row(number)?;
        let (end, _) = self.row(number + 1)?;
        let record = self.records.checked_add(index(u64::from(record)))?;
        let shift = if self.old { 0 } else { 4 };
        Some(Function {
            entry: self.text.checked_add(u64::from(entry))?,
            end: self.text.checked_add(u64::from(end))?,
            name: u32_at(self.bytes, record.checked_add(4)?)?,
            id: u8_at(self.bytes, record.checked_add(36 + shift)?)?,
            flag: u8_at(self.bytes, record.checked_add(37 + shift)?)?,
            record,
        })
    }

    /// The function that holds `pc`.
    #[must_use]
    pub fn function_at(&self, pc: u64) -> Option<Function> {
        let offset = u32::try_from(pc.checked_sub(self.text)?).ok()?;
        let (mut low, mut high) = (0, self.functions);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.0 <= offset { low = middle + 1 } else { high = middle }
        }
        self.function(low.checked_sub(1)?).filter(|function| pc < function.end)
    }

    /// The function called `name`: one pass over the table, ending at the first of that name.
    #[must_use]
    pub fn function_named(&self, name: &str) -> Option<Function> {
        (0..self.functions).find_map(|number| {
            let function = self.function(number)?;
            let at = self.names.checked_add(index(u64::from(function.name)))?;
            let bytes = self.bytes.get(at..)?;
            let same = bytes.starts_with(name.as_bytes()) && bytes.get(name.len()) == Some(&0);
            same.then_some(function)
        })
    }

    /// The name at offset `at` of the table of names.
    #[must_use]
    pub fn name(&self, at: u32) -> Cow<'a, str> {
        let at = self.names.saturating_add(index(u64::from(at)));
        cstr_at(self.bytes, at, NAME_BYTES).map_or(Cow::Borrowed("?"), String::from_utf8_lossy)
    }

    /// Whether a name starts at offset `at`: what stands before it is the end of another.
    #[must_use]
    pub fn starts_name(&self, at: u32) -> bool {
        let at = self.names.saturating_add(index(u64::from(at)));
        let before = at.checked_sub(1).and_then(|before| u8_at(self.bytes, before));
        at < self.units && before == Some(0) && u8_at(self.bytes, at).is_some_and(|byte| byte != 0)
    }

    /// A `u32` of the function's record behind its fixed part: `pcdata` tables, then `funcdata`.
    fn tail(&self, function: &Function, number: u32) -> Option<u32> {
        let fixed = if self.old { 40 } else { 44 };
        let at = function.record.checked_add(fixed)?;
        u32_at(self.bytes, at.checked_add(index(u64::from(number)).checked_mul(4)?)?)
    }

    fn field(&self, function: &Function, at: usize) -> Option<u32> {
        u32_at(self.bytes, function.record.checked_add(at)?)
    }

    /// Offset of the function's inlining tree in `go:func.*`, if it has one.
    #[must_use]
    pub fn inline_tree(&self, function: &Function) -> Option<u32> {
        let count = function.record.checked_add(if self.old { 39 } else { 43 })?;
        if u8_at(self.bytes, count)? <= INLINE_TREE {
            return None;
        }
        let tables = self.field(function, 28)?;
        let value = self.tail(function, tables.checked_add(u32::from(INLINE_TREE))?)?;
        (value != u32::MAX).then_some(value)
    }

    /// Index into the inlining tree at `pc`; negative or absent when nothing is inlined there.
    #[must_use]
    pub fn inline_index(&self, function: &Function, pc: u64) -> Option<i32> {
        if self.field(function, 28)? <= INLINE_INDEX {
            return None;
        }
        self.value(self.tail(function, INLINE_INDEX)?, function.entry, pc)
    }

    /// How far the stack pointer is below where it was at the function's entry, in bytes.
    #[must_use]
    pub fn stack_delta(&self, function: &Function, pc: u64) -> Option<i32> {
        self.value(self.field(function, 16)?, function.entry, pc)
    }

    /// File and line of the instruction at `pc`.
    #[must_use]
    pub fn line(&self, function: &Function, pc: u64) -> (Cow<'a, str>, u32) {
        let line = self.field(function, 24).and_then(|at| self.value(at, function.entry, pc));
        let file = self.file(function, pc).unwrap_or(Cow::Borrowed("?"));
        (file, line.and_then(|line| u32::try_from(line).ok()).unwrap_or(0))
    }

    fn file(&self, function: &Function, pc: u64) -> Option<Cow<'a, str>> {
        let number = self.value(self.field(function, 20)?, function.entry, pc)?;
        let unit = index(u64::from(self.field(function, 32)?));
        let row = unit.checked_add(usize::try_from(number).ok()?)?.checked_mul(4)?;
        let offset = u32_at(self.bytes, self.units.checked_add(row)?)?;
        if offset == u32::MAX {
            return None;
        }
        let at = self.files.checked_add(index(u64::from(offset)))?;
        cstr_at(self.bytes, at, NAME_BYTES).map(String::from_utf8_lossy)
    }

    /// The value at `target` of the pc-value table at `offset`, for a function at `entry`.
    ///
    /// Value starts at -1, pc at the entry; each step is a zig-zag delta of the value and a delta
    /// of the pc, both varints; the value holds below the new pc (runtime/symtab.go, `step`).
    fn value(&self, offset: u32, entry: u64, target: u64) -> Option<i32> {
        if offset == 0 {
            return None;
        }
        let mut at = self.values.checked_add(index(u64::from(offset)))?;
        let (mut pc, mut value) = (entry, -1i32);
        for step in 0..STEPS {
            let delta = self.varint(&mut at)?;
            if delta == 0 && step != 0 {
                return None;
            }
            let half = i32::try_from(delta >> 1).ok()?;
            value = value.wrapping_add(if delta & 1 == 0 { half } else { !half });
            let advance = u64::from(self.varint(&mut at)?) * u64::from(self.min_step);
            pc = pc.checked_add(advance)?;
            if target < pc {
                return Some(value);
            }
        }
        None
    }

    fn varint(&self, at: &mut usize) -> Option<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let byte = u8_at(self.bytes, *at)?;
            *at += 1;
            value |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}
