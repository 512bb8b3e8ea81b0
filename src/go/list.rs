//! The runtime's list of all goroutines (`runtime.allgs`): it only grows, and its array may be
//! replaced by a larger one at any moment.

use super::bytes::{index, u64_at, wide};
use super::fields::RawG;
use super::gather::Gathered;
use super::goroutine::{Goroutine, Status};
use super::memory::ReadMemory;
use super::program::Program;

/// Looks at a list that keeps moving.
const TRIES: u8 = 6;

/// Addresses of goroutines.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Addresses of `g` structures.
    pub list: Vec<u64>,
    /// How many more there are.
    pub left_out: usize,
}

impl Program<'_> {
    /// The list of all goroutines, read until its header stands still.
    #[must_use]
    pub fn goroutines(&self, memory: &dyn ReadMemory, limit: usize) -> Addresses {
        let mut found = Addresses::default();
        for _ in 0..TRIES {
            let header = self.goroutine_list(memory);
            let Some((start, count)) = header else { return found };
            let taken = index(count).min(limit);
            let mut bytes = vec![0u8; taken.saturating_mul(8)];
            // The array may be replaced by a larger one meanwhile; the old one stays readable
            // until it is collected.
            let got = memory.read(start, &mut bytes);
            if got {
                found.list = bytes.chunks_exact(8).filter_map(|word| u64_at(word, 0)).collect();
                found.left_out = index(count) - taken;
                if self.goroutine_list(memory) == header {
                    return found;
                }
            }
        }
        found
    }

    /// Address and length of the list of all goroutines.
    #[must_use]
    pub fn goroutine_list(&self, memory: &dyn ReadMemory) -> Option<(u64, u64)> {
        let mut header = [0u8; 16];
        if !memory.read(self.all_goroutines, &mut header) {
            return None;
        }
        let (start, count) = (u64_at(&header, 0)?, u64_at(&header, 8)?);
        (start != 0 && count < wide(usize::MAX >> 8)).then_some((start, count))
    }
}

/// How many of the first goroutines have sane fields, and how many were tried.
#[must_use]
pub fn sanity(program: &Program<'_>, memory: &dyn ReadMemory) -> (usize, usize) {
    let addresses = program.goroutines(memory, 64);
    let found = Gathered::read(memory, &addresses.list, program.layout.size.into());
    let sane = |number: &usize| {
        let address = addresses.list.get(*number).copied().unwrap_or(0);
        found
            .get(*number)
            .is_some_and(|bytes| RawG::parse(address, bytes, &program.layout).is_sane(program))
    };
    ((0..addresses.list.len()).filter(sane).count(), addresses.list.len())
}

/// Goroutines read together for their marks.
const CHUNK: usize = 1024;

/// Where every goroutine stood at one moment, to be compared with later: 8 bytes each, by place
/// in the runtime's list.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    list: Vec<u64>,
}

impl Marks {
    /// Reads the states of all goroutines, without their stacks. Nothing where the layout has no
    /// count of runs: an equal stack pointer alone proves no standstill.
    #[must_use]
    pub fn read(program: &Program<'_>, memory: &dyn ReadMemory, limit: usize) -> Self {
        let layout = &program.layout;
        if layout.tracking == 0 {
            return Self::default();
        }
        let addresses = program.goroutines(memory, limit);
        let mut list = Vec::with_capacity(addresses.list.len());
        for chunk in addresses.list.chunks(CHUNK) {
            let found = Gathered::read(memory, chunk, layout.size.into());
            for (number, address) in chunk.iter().enumerate() {
                let bytes = found.get(number);
                list.push(bytes.map_or(0, |bytes| RawG::parse(*address, bytes, layout).mark()));
            }
        }
        Self { list }
    }

    /// Whether the goroutine at this place of the list ran since; unknown while it is on a CPU,
    /// and without an earlier look.
    #[must_use]
    pub fn moved(&self, place: usize, goroutine: &Goroutine) -> Option<bool> {
        if self.list.is_empty() || goroutine.status == Status::RUNNING {
            return None;
        }
        Some(self.list.get(place) != Some(&goroutine.mark))
    }
}
