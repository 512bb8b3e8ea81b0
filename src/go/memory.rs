//! Another process's memory as the walkers see it: addresses in, bytes or nothing out.
//!
//! The live reader is `host::memory`; [`Recorded`] is a sparse image of a program that once ran,
//! so that every walker is tested without Go and without a process.

use super::bytes::{index, u32_at, u64_at, wide};
use crate::units::Addr;

/// One range that is wanted.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Where it starts.
    pub at: Addr,
    /// Where its bytes go; its length is what is wanted.
    pub into: &'a mut [u8],
    /// Whether all of it was read.
    pub got: bool,
}

impl<'a> Piece<'a> {
    /// A range not read yet.
    #[must_use]
    pub fn new(at: u64, into: &'a mut [u8]) -> Self {
        Self { at: Addr(at), into, got: false }
    }
}

/// Memory that can be read and never changed.
pub trait ReadMemory {
    /// Reads the pieces in order, each whole or not at all, and marks those that were read.
    fn read_pieces(&self, pieces: &mut [Piece<'_>]);

    /// Fills `into` from `at` on; false when any byte of it cannot be read.
    fn read(&self, at: u64, into: &mut [u8]) -> bool {
        let mut pieces = [Piece::new(at, into)];
        self.read_pieces(&mut pieces);
        pieces.first().is_some_and(|piece| piece.got)
    }

    /// The 64-bit word at `at`.
    fn word(&self, at: u64) -> Option<u64> {
        let mut word = [0u8; 8];
        self.read(at, &mut word).then(|| u64::from_le_bytes(word))
    }
}

/// First bytes of a recorded image.
const MAGIC: &[u8; 8] = b"goinmem1";
/// Ranges in a recorded image at most.
const RANGES: usize = 1 << 20;

/// A sparse copy of a program's memory: sorted ranges, and the executable's bytes among them.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    ranges: Vec<(u64, Vec<u8>)>,
}

impl Recorded {
    /// Takes `bytes` that were at `at`; a later copy does not replace an earlier one.
    pub fn add(&mut self, at: u64, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.ranges.push((at, bytes.to_vec()));
        }
    }

    /// Sorts what was taken and joins what touches or overlaps.
    pub fn settle(&mut self) {
        self.ranges.sort_by_key(|(at, _)| *at);
        let mut joined: Vec<(u64, Vec<u8>)> = Vec::new();
        for (at, bytes) in self.ranges.drain(..) {
            if let Some((start, last)) = joined.last_mut()
                && at <= start.saturating_add(wide(last.len()))
            {
                let known = index(start.saturating_add(wide(last.len())) - at);
                last.extend_from_slice(bytes.get(known..).unwrap_or(&[]));
                continue;
            }
            joined.push((at, bytes));
        }
        self.ranges = joined;
    }

    /// The ranges, for writing them out or reading tables in place.
    #[must_use]
    pub fn ranges(&self) -> &[(u64, Vec<u8>)] {
        &self.ranges
    }

    /// The image as a file: magic, then for each range its address, length and bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for (at, bytes) in &self.ranges {
            file.extend_from_slice(&at.to_le_bytes());
            file.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(0).to_le_bytes());
            file.extend_from_slice(bytes);
        }
        file
    }

    /// Reads what [`Recorded::to_bytes`] wrote; a damaged tail is left out.
    #[must_use]
    pub fn from_bytes(file: &[u8]) -> Option<Self> {
        let mut rest = file.strip_prefix(MAGIC)?;
        let mut image = Self::default();
        while let (Some(at), Some(length)) = (u64_at(rest, 0), u32_at(rest, 8)) {
            let end = index(u64::from(length)).saturating_add(12);
            let Some(bytes) = rest.get(12..end) else { break };
            if image.ranges.len() >= RANGES {
                break;
            }
            image.add(at, bytes);
            rest = rest.get(end..)?;
        }
        image.settle();
        Some(image)
    }

    fn find(&self, at: u64, count: usize) -> Option<&[u8]> {
        let next = self.ranges.partition_point(|(start, _)| *start <= at);
        let (start, bytes) = self.ranges.get(next.checked_sub(1)?)?;
        let from = index(at - start);
        bytes.get(from..from.checked_add(count)?)
    }
}

impl ReadMemory for Recorded {
    fn read_pieces(&self, pieces: &mut [Piece<'_>]) {
        for piece in pieces {
            if let Some(found) = self.find(piece.at.0, piece.into.len()) {
                piece.into.copy_from_slice(found);
                piece.got = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_image_survives_its_file_and_joins_overlaps() {
        let mut image = Recorded::default();
        image.add(0x2000, &[5, 6]);
        image.add(0x1000, &[1, 2, 3]);
        image.add(0x1002, &[9, 4]);
        image.settle();
        let image = Recorded::from_bytes(&image.to_bytes()).unwrap();
        let mut bytes = [0u8; 4];
        assert!(image.read(0x1000, &mut bytes));
        assert_eq!(bytes, [1, 2, 3, 4]);
        assert!(!image.read(0x1001, &mut bytes));
        assert!(!image.read(0x2000, &mut bytes));
        assert!(!image.read(u64::MAX, &mut bytes));
    }
}
