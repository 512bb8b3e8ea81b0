//! The module data of a running Go program: where its code, its variables and its inlining trees
//! are, and the list of all goroutines.
//!
//! Read live, because values are relocated there. Layouts: runtime/symtab.go, `moduledata`.

use super::allgs;
use super::bytes::{u32_at, u64_at};
use super::image::Image;
use super::layout::Layout;
use super::memory::ReadMemory;
use super::pclntab::Table;
use super::sweep;
use std::ops::Range;

/// Bytes of the module data that are read; the largest is 592.
const BYTES: usize = 600;
/// Functions tried when the base of the inlining trees is looked for.
const SAMPLE: usize = 400;

/// What is needed of `runtime.firstmoduledata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its address.
    pub address: u64,
    /// Where function offsets count from.
    pub text: u64,
    /// Where code ends.
    pub text_end: u64,
    /// All variables: from the first pointer-free one to the end of those without initial value.
    pub data: Range<u64>,
    /// Variables with an initial value.
    pub initialised: Range<u64>,
    /// Base of the inlining trees (`go:func.*`).
    pub inlined: u64,
    /// Address and number of the package initialisation tasks (1.21 and later).
    pub init_tasks: Option<(u64, u64)>,
}

impl Module {
    /// Whether `pc` lies in this module's code.
    #[must_use]
    pub fn holds(&self, pc: u64) -> bool {
        (self.text..self.text_end).contains(&pc)
    }
}

/// The raw module data at its address.
#[derive(Debug)]
pub struct Raw {
    address: u64,
    bytes: [u8; BYTES],
}

impl Raw {
    /// Finds the module data: at the section of that name, else by the pointer to the function
    /// table that is its first word.
    #[must_use]
    pub fn find(image: &Image<'_>, memory: &dyn ReadMemory, table: &Table<'_>) -> Option<Self> {
        if let Some(raw) = image.module.and_then(|at| Self::at(memory, table, at)) {
            return Some(raw);
        }
        let mut found = None;
        for range in image.writable() {
            sweep::words(memory, range, &mut |at, [word]| {
                if word == table.address {
                    found = Self::at(memory, table, at);
                }
                found.is_some()
            });
            if found.is_some() {
                break;
            }
        }
        found
    }

    fn at(memory: &dyn ReadMemory, table: &Table<'_>, address: u64) -> Option<Self> {
        let mut bytes = [0u8; BYTES];
        // The end of the last structure may touch the end of its mapping.
        let head = bytes.first_chunk_mut::<472>()?;
        if !memory.read(address, head) {
            return None;
        }
        memory.read(address, &mut bytes);
        let raw = Self { address, bytes };
        let same = [8, 32, 80, 128]
            .iter()
            .zip(table.parts())
            .all(|(at, part)| raw.word(*at) == Some(part));
        let rows = raw.word(136)? == super::bytes::wide(table.functions).checked_add(1)?;
        let (low, high, text) = (raw.word(160)?, raw.word(168)?, raw.word(176)?);
        let sane = raw.word(0)? == table.address && same && rows && text <= low && low < high;
        sane.then_some(raw)
    }

    fn word(&self, at: usize) -> Option<u64> {
        u64_at(&self.bytes, at)
    }

    /// Run-time address that function offsets count from.
    #[must_use]
    pub fn text(&self) -> u64 {
        self.word(176).unwrap_or(0)
    }

    /// The stretch from the lowest of `starts` to the highest of the words behind them: external
    /// linkers order the sections as they like.
    fn span(&self, starts: &[usize]) -> Range<u64> {
        let low = starts.iter().filter_map(|at| self.word(*at)).min().unwrap_or(0);
        let high = starts.iter().filter_map(|at| self.word(*at + 8)).max().unwrap_or(0);
        low..high
    }

    /// Variables with an initial value, where a version string is looked for.
    #[must_use]
    pub fn initialised(&self) -> Range<u64> {
        self.span(&[192, 208])
    }

    /// Whether another module follows: plugins are loaded.
    #[must_use]
    pub fn has_next(&self, layout: &Layout) -> bool {
        self.word(layout.next_module.into()).is_some_and(|next| next != 0)
    }

    /// The module as `layout` reads it; `table` must know its text address by now.
    #[must_use]
    pub fn module(&self, image: &Image<'_>, table: &Table<'_>, layout: &Layout) -> Option<Module> {
        let initialised = self.initialised();
        let tasks = usize::from(layout.init_tasks);
        let init_tasks = if tasks == 0 {
            None
        } else {
            self.word(tasks)
                .zip(self.word(tasks + 8))
                .filter(|(at, count)| image.contains(*at) && (1..100_000).contains(count))
        };
        Some(Module {
            address: self.address,
            text: self.text(),
            text_end: self.word(184)?,
            data: self.span(&[192, 208, 224, 240]),
            initialised,
            inlined: self.inlined(image, table, layout),
            init_tasks,
        })
    }

    /// The base of the inlining trees: the table's word if it scores, else the best that does.
    fn inlined(&self, image: &Image<'_>, table: &Table<'_>, layout: &Layout) -> u64 {
        let known = self.word(usize::from(layout.inlined)).unwrap_or(0);
        let (tried, right) = score(image, table, known);
        if right * 10 >= tried * 9 {
            return known;
        }
        let candidates = (256..480).step_by(8).filter_map(|at| self.word(at));
        let best = candidates
            .filter(|base| image.contains(*base))
            .map(|base| (score(image, table, base), base))
            .max_by_key(|((_, right), _)| *right);
        match best {
            Some(((tried, right), base)) if right * 10 >= tried * 9 => base,
            _ => 0,
        }
    }
}

/// How many functions have an inlining tree, of the first [`SAMPLE`], and how many of those trees
/// make sense if trees start at `base`.
fn score(image: &Image<'_>, table: &Table<'_>, base: u64) -> (usize, usize) {
    let (mut tried, mut right) = (0, 0);
    for number in 0..table.functions.min(SAMPLE * 20) {
        let Some(function) = table.function(number) else { break };
        let Some(tree) = table.inline_tree(&function) else { continue };
        tried += 1;
        let entry = base.checked_add(u64::from(tree)).and_then(|at| image.from(at));
        let (name_at, pc_at) = if table.old { (12, 16) } else { (4, 8) };
        if let Some(entry) = entry
            && let (Some(name), Some(pc)) = (u32_at(entry, name_at), u32_at(entry, pc_at))
            && u64::from(pc) < function.end.saturating_sub(function.entry)
            && table.starts_name(name)
        {
            right += 1;
        }
        if tried == SAMPLE {
            break;
        }
    }
    (tried, right)
}

/// The address of `runtime.allgs`, decoded from the function that appends to it.
#[must_use]
pub fn all_goroutines(
    image: &Image<'_>,
    memory: &dyn ReadMemory,
    table: &Table<'_>,
    module: &Module,
) -> Option<u64> {
    let function = table.function_named("runtime.allgadd")?;
    let length = super::bytes::index(function.end.checked_sub(function.entry)?.min(64 * 1024));
    let mut copy = Vec::new();
    let code = match image.from(function.entry) {
        Some(code) => code.get(..length).unwrap_or(code),
        // An image made of mappings may be without its code.
        None => {
            copy.resize(length, 0);
            if memory.read(function.entry, &mut copy) { copy.as_slice() } else { return None }
        }
    };
    let addresses = if image.arm {
        allgs::arm64_references(code, function.entry)
    } else {
        allgs::amd64_references(code, function.entry)
    };
    allgs::slice_header(&addresses, &module.data)
}
