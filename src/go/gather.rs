//! Many small ranges of memory in few system calls: structures of one size, and stacks each with a
//! second look at its goroutine.

use super::fields::RawG;
use super::memory::{Piece, ReadMemory};
use std::ops::Range;

/// Many ranges of one size, read together.
#[derive(Debug)]
pub struct Gathered {
    bytes: Vec<u8>,
    got: Vec<bool>,
    size: usize,
}

impl Gathered {
    /// Reads `size` bytes at each of `places`.
    #[must_use]
    pub fn read(memory: &dyn ReadMemory, places: &[u64], size: usize) -> Self {
        let mut bytes = vec![0u8; places.len().saturating_mul(size)];
        let mut pieces: Vec<Piece<'_>> = places
            .iter()
            .zip(bytes.chunks_exact_mut(size.max(1)))
            .map(|(place, into)| Piece::new(*place, into))
            .collect();
        memory.read_pieces(&mut pieces);
        let got = pieces.iter().map(|piece| piece.got).collect();
        Self { bytes, got, size }
    }

    /// The bytes of the `number`th place, if they could be read.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let at = number.checked_mul(self.size)?;
        self.got.get(number).filter(|got| **got)?;
        self.bytes.get(at..at.checked_add(self.size)?)
    }
}

/// Stack and second state of one goroutine, as ranges of [`Looks`].
pub(super) struct Look {
    pub(super) stack: Range<usize>,
    pub(super) after: Range<usize>,
    pub(super) got: bool,
}

/// Stacks, each followed at once by a second look at its goroutine's state.
pub(super) struct Looks {
    pub(super) stacks: Vec<u8>,
    pub(super) after: Vec<u8>,
    pub(super) list: Vec<Look>,
}

impl Looks {
    /// Reads the wanted goroutines; `bytes` is the sum of their stacks.
    pub(super) fn read(
        memory: &dyn ReadMemory,
        wanted: &[(usize, RawG)],
        size: usize,
        bytes: usize,
    ) -> Self {
        let mut stacks = vec![0u8; bytes];
        let mut after = vec![0u8; wanted.len() * size];
        let mut pieces = Vec::with_capacity(wanted.len() * 2);
        let mut list = Vec::with_capacity(wanted.len());
        let (mut stacks_left, mut after_left) = (stacks.as_mut_slice(), after.as_mut_slice());
        let (mut stack_at, mut after_at) = (0, 0);
        for (_, raw) in wanted {
            let (start, length) = raw.live_stack();
            let Some((stack, rest)) = stacks_left.split_at_mut_checked(length) else { break };
            stacks_left = rest;
            let Some((second, rest)) = after_left.split_at_mut_checked(size) else { break };
            after_left = rest;
            pieces.push(Piece::new(start, stack));
            pieces.push(Piece::new(raw.address, second));
            list.push(Look {
                stack: stack_at..stack_at + length,
                after: after_at..after_at + size,
                got: false,
            });
            stack_at += length;
            after_at += size;
        }
        memory.read_pieces(&mut pieces);
        for (look, pair) in list.iter_mut().zip(pieces.chunks_exact(2)) {
            look.got = pair.iter().all(|piece| piece.got || piece.into.is_empty());
        }
        Self { stacks, after, list }
    }
}
