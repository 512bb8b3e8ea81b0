//! Records on their way from the session to the log: rendered bytes with the class of each.

use super::backlog::Class;
use super::record::{Frame, Record, Severity};
use crate::units::Wall;

/// Bytes of memory that are kept for the next records.
const KEPT: usize = 64 << 10;

/// Rendered records of one turn of the loop.
#[derive(Debug)]
pub struct Outbox {
    /// Gives each record its time and number.
    pub frame: Frame,
    /// Records of goinit below this severity are not rendered at all.
    least: Severity,
    bytes: Vec<u8>,
    items: Vec<(Class, usize)>,
    /// Turns in a row that needed little of the memory.
    calm: u32,
}

impl Outbox {
    /// An empty one for the run with this number.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self {
            frame: Frame::new(run),
            least: Severity::Debug,
            bytes: Vec::new(),
            items: Vec::new(),
            calm: 0,
        }
    }

    /// Leaves out records below `least`: a terminal that the program kept is not a log.
    pub fn quiet(&mut self, least: Severity) {
        self.least = least;
    }

    /// Renders a record.
    pub fn post(&mut self, wall: Wall, class: Class, record: &Record) {
        if record.severity() < self.least {
            return;
        }
        self.write(class, |frame, out| frame.render(wall, record, out));
    }

    /// Lets `render` append one whole record with its newline.
    pub fn write(&mut self, class: Class, render: impl FnOnce(&mut Frame, &mut Vec<u8>)) {
        let start = self.bytes.len();
        render(&mut self.frame, &mut self.bytes);
        let length = self.bytes.len() - start;
        if length > 0 {
            self.items.push((class, length));
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The waiting records in order.
    pub fn records(&self) -> impl Iterator<Item = (Class, &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.items.iter().map(move |(class, length)| {
            let (record, later) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = later;
            (*class, record)
        })
    }

    /// Bytes that wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// The waiting records, as many in one piece as stay within `limit` bytes, or one that is
    /// longer: how many they are, and their bytes.
    pub fn pieces(&self, limit: usize) -> impl Iterator<Item = (usize, &[u8])> {
        let mut bytes = self.bytes.as_slice();
        let mut items = self.items.as_slice();
        std::iter::from_fn(move || {
            let (mut count, mut length) = (0usize, 0usize);
            for (_, record) in items {
                if count > 0 && length.saturating_add(*record) > limit {
                    break;
                }
                length = length.saturating_add(*record);
                count = count.saturating_add(1);
            }
            let (piece, later) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            (bytes, items) = (later, items.get(count..).unwrap_or_default());
            (count > 0).then_some((count, piece))
        })
    }

    /// Forgets what was handed on. The memory of a flood is kept while it lasts: to give it back
    /// and to fetch it anew every turn costs a third of the throughput, in page faults.
    pub fn clear(&mut self) {
        const TURNS: u32 = 64;
        let calm = self.bytes.len() <= self.bytes.capacity() / 4;
        self.calm = if calm { self.calm.saturating_add(1) } else { 0 };
        self.bytes.clear();
        self.items.clear();
        if self.calm >= TURNS {
            self.shrink();
        }
    }

    /// Whether the memory of a flood is still held.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes.capacity() > KEPT
    }

    /// Gives the memory of a flood back.
    pub fn shrink(&mut self) {
        self.calm = 0;
        self.bytes.shrink_to(KEPT);
        self.items.shrink_to(KEPT / 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_flood_is_given_back() {
        let mut outbox = Outbox::new(7);
        for _ in 0..20 {
            outbox.write(Class::Line, |_, out| out.resize(out.len() + 10_000, b'x'));
        }
        outbox.clear();
        assert!(outbox.is_large());
        outbox.shrink();
        assert!(!outbox.is_large());
    }

    #[test]
    fn pieces_hold_whole_records_and_a_long_one_stands_alone() {
        let mut outbox = Outbox::new(7);
        for length in [3usize, 5, 20, 4, 4, 1] {
            outbox.write(Class::Line, |_, out| out.resize(out.len() + length, b'x'));
        }
        let pieces: Vec<_> = outbox.pieces(8).map(|(count, bytes)| (count, bytes.len())).collect();
        assert_eq!(pieces, [(2, 8), (1, 20), (2, 8), (1, 1)]);
        assert_eq!(outbox.length(), 37);
    }
}
