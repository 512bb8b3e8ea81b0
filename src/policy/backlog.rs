//! The bounded queue of rendered records between the loop and the log, and what is given up when
//! it is full: snapshots first, then lines of the program; what goinit itself has to say has
//! reserved room. Nothing is given up uncounted.

use std::collections::VecDeque;

/// What a record is worth when room gets short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A scheduler snapshot: the newest one stands for those before it.
    Snapshot,
    /// A line of the program, or what was read out of one.
    Line,
    /// goinit's own statements: start, signals, stall, evidence, verdict, end.
    Vital,
}

/// Bytes the queue holds at most.
pub const LIMIT: usize = 1 << 20;
/// Of these, bytes that only [`Class::Vital`] may use.
pub const RESERVED: usize = 128 << 10;
/// Bytes the sink takes at once.
const BATCH: usize = 64 << 10;
/// A write of several records stays below PIPE_BUF, so that it is atomic on a pipe.
pub const ATOMIC: usize = 4_096;

/// Records given up so far, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Snapshots that newer ones stand for.
    pub snapshots: u64,
    /// Lines of the program.
    pub lines: u64,
    /// goinit's own.
    pub vital: u64,
}

impl Dropped {
    /// All records given up that were not merely merged into newer snapshots.
    #[must_use]
    pub fn lost(self) -> u64 {
        self.lines + self.vital
    }

    fn count(&mut self, class: Class) {
        match class {
            Class::Snapshot => self.snapshots += 1,
            Class::Line => self.lines += 1,
            Class::Vital => self.vital += 1,
        }
    }
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Records given up for want of room.
    pub dropped: Dropped,
    /// Records that could not be written: the reader went away, the disk is full.
    pub unwritten: u64,
    /// Whether a line still finds room.
    pub room: bool,
    /// Whether everything is written.
    pub flushed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    class: Class,
    length: usize,
}

/// The queue.
#[derive(Debug, Default)]
pub struct Backlog {
    bytes: VecDeque<u8>,
    items: VecDeque<Item>,
    snapshot_items: usize,
    dropped: Dropped,
}

impl Backlog {
    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes that wait.
    #[must_use]
    pub fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Whether a line of ordinary length still finds room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes.len() < LIMIT - RESERVED - BATCH
    }

    /// What was given up so far.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Appends a record or gives something up for it.
    pub fn push(&mut self, class: Class, record: &[u8]) {
        let limit = if class == Class::Vital { LIMIT } else { LIMIT - RESERVED };
        if self.bytes.len() + record.len() > limit && self.snapshot_items > 0 {
            self.drop_snapshots();
        }
        if self.bytes.len() + record.len() > limit {
            self.dropped.count(class);
            return;
        }
        self.snapshot_items += usize::from(class == Class::Snapshot);
        self.bytes.extend(record);
        self.items.push_back(Item { class, length: record.len() });
    }

    /// Takes out every waiting snapshot; rare, since it makes room for many lines at once.
    fn drop_snapshots(&mut self) {
        let old = std::mem::take(&mut self.bytes);
        let (front, back) = old.as_slices();
        let mut rest = front.iter().chain(back);
        let bytes = &mut self.bytes;
        let dropped = &mut self.dropped;
        bytes.reserve(old.len());
        self.items.retain(|item| {
            let record = rest.by_ref().take(item.length);
            if item.class == Class::Snapshot {
                record.for_each(drop);
                dropped.count(Class::Snapshot);
                return false;
            }
            bytes.extend(record);
            true
        });
        self.snapshot_items = 0;
    }

    /// Whether the memory of a flood is still held.
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.bytes.capacity() > 2 * BATCH
    }

    /// Gives the memory of a flood back: an idle init keeps no megabyte.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.items.shrink_to_fit();
    }

    /// Moves whole records from the front into `batch`, with the length of each write that shall
    /// be made of them: as many records as stay atomic together, or one long one.
    pub fn take(&mut self, batch: &mut Batch) {
        batch.clear();
        let mut total = 0;
        while let Some(item) = self.items.front().copied() {
            if total > 0 && total + item.length > BATCH {
                break;
            }
            self.items.pop_front();
            self.snapshot_items -= usize::from(item.class == Class::Snapshot);
            total += item.length;
            match (batch.writes.last_mut(), batch.records.last_mut()) {
                (Some(write), Some(records)) if *write + item.length <= ATOMIC => {
                    *write += item.length;
                    *records += 1;
                }
                _ => {
                    batch.writes.push(item.length);
                    batch.records.push(1);
                }
            }
        }
        let (front, back) = self.bytes.as_slices();
        let split = total.min(front.len());
        batch.bytes.extend_from_slice(front.get(..split).unwrap_or(front));
        batch.bytes.extend_from_slice(back.get(..total - split).unwrap_or_default());
        self.bytes.drain(..total);
    }
}

/// What the sink writes next.
#[derive(Debug, Default)]
pub struct Batch {
    /// Whole records.
    pub bytes: Vec<u8>,
    /// Lengths of the writes, in bytes; they add up to all of `bytes`.
    pub writes: Vec<usize>,
    /// How many records each write holds.
    pub records: Vec<u64>,
}

impl Batch {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.writes.clear();
        self.records.clear();
    }

    /// So many bytes of the first write are done.
    pub fn written(&mut self, count: usize) {
        let Some(first) = self.writes.first_mut() else { return };
        let count = count.min(*first);
        *first -= count;
        self.bytes.drain(..count);
        if *first == 0 {
            self.writes.remove(0);
            self.records.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(backlog: &mut Backlog) -> (String, Vec<usize>) {
        let (mut text, mut writes, mut batch) = (String::new(), Vec::new(), Batch::default());
        while !backlog.is_empty() {
            backlog.take(&mut batch);
            assert_eq!(batch.writes.iter().sum::<usize>(), batch.bytes.len());
            text.push_str(std::str::from_utf8(&batch.bytes).unwrap());
            writes.extend_from_slice(&batch.writes);
        }
        (text, writes)
    }

    #[test]
    fn records_come_out_in_order_and_short_ones_share_a_write() {
        let mut backlog = Backlog::default();
        backlog.push(Class::Vital, b"start\n");
        backlog.push(Class::Line, &[b'x'; 5_000]);
        backlog.push(Class::Snapshot, b"snapshot\n");
        backlog.push(Class::Line, b"line\n");
        let (text, writes) = drain(&mut backlog);
        assert!(text.starts_with("start\nxxx") && text.ends_with("snapshot\nline\n"));
        assert_eq!(writes, [6, 5_000, 14]);
    }

    #[test]
    fn a_full_queue_gives_up_snapshots_then_lines_and_counts_each() {
        let mut backlog = Backlog::default();
        let line = [b'l'; 1_000];
        for _ in 0..10 {
            backlog.push(Class::Snapshot, &line);
        }
        let fits = u64::try_from((LIMIT - RESERVED) / line.len()).unwrap();
        for _ in 0..fits + 7 {
            backlog.push(Class::Line, &line);
        }
        assert_eq!(backlog.dropped(), Dropped { snapshots: 10, lines: 7, vital: 0 });
        backlog.push(Class::Vital, b"verdict\n");
        assert_eq!(backlog.dropped().vital, 0);
        assert!(!backlog.has_room());
        let (text, _) = drain(&mut backlog);
        assert!(text.ends_with("verdict\n"));
        assert_eq!(u64::try_from(text.len()).unwrap(), fits * 1_000 + 8);
        assert!(backlog.has_room());
    }

    #[test]
    fn the_queue_is_bounded_for_its_own_words_too() {
        let mut backlog = Backlog::default();
        for _ in 0..300 {
            backlog.push(Class::Vital, &[b'v'; 5_000]);
        }
        assert!(backlog.bytes.len() <= LIMIT);
        assert_eq!(backlog.dropped().vital, 300 - u64::try_from(LIMIT / 5_000).unwrap());
    }
}
