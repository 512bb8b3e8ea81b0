//! The bounded queue of rendered records between the loop and the log, and what is given up when
//! it is full: snapshots first, then what is only of use for debugging, then lines of the program;
//! what goinit itself has to say has reserved room. Nothing is given up uncounted.

use std::collections::VecDeque;

/// What a record is worth when room gets short, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A scheduler snapshot: the newest one stands for those before it.
    Snapshot,
    /// Anything else of severity DEBUG: traces of the runtime, debugging lines of the program.
    Debug,
    /// A line of the program, or what was read out of one.
    Line,
    /// goinit's own statements: start, signals, stall, evidence, verdict, end.
    Vital,
}

/// Bytes the queue holds at most.
pub const LIMIT: usize = 1 << 20;
/// Of these, bytes that only [`Class::Vital`] may use.
pub const RESERVED: usize = 128 << 10;
/// Bytes the queue holds at most for whoever stops reading the program instead of giving up: what is
/// in the last read becomes records all the same, and each of its bytes can be a line.
const KEPT: usize = 2 * LIMIT;
/// After so many bytes of records whoever stops reading looks whether there is room for more.
pub const KEPT_TURN: usize = 128 << 10;
/// Once room was short, snapshots and debugging stay out until no more than this waits: were they
/// let in at once, each line would have to search the whole queue for them again.
const RELIEVED: usize = LIMIT / 2;
/// Bytes the sink takes at once.
const BATCH: usize = 64 << 10;
/// A write of several records stays below PIPE_BUF, so that it is atomic on a pipe.
pub const ATOMIC: usize = 4_096;

/// Records given up so far, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Snapshots that newer ones stand for.
    pub snapshots: u64,
    /// Of severity DEBUG otherwise.
    pub debug: u64,
    /// Lines of the program.
    pub lines: u64,
    /// goinit's own.
    pub vital: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Dropped {
    /// All records given up that were not merely merged into newer snapshots.
    #[must_use]
    pub fn lost(self) -> u64 {
        self.debug + self.lines + self.vital
    }

    fn count(&mut self, class: Class, length: usize) {
        self.bytes += bytes(length);
        match class {
            Class::Snapshot => self.snapshots += 1,
            Class::Debug => self.debug += 1,
            Class::Line => self.lines += 1,
            Class::Vital => self.vital += 1,
        }
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Records that could not be written: the reader went away, the disk is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unwritten {
    /// How many of them, those included of which only a part was written.
    pub records: u64,
    /// Bytes that did not get through.
    pub bytes: u64,
    /// The error number of the last failure; 0 for none.
    pub errno: i32,
}

impl Unwritten {
    /// Counts a record of which so many bytes could not be written, and why.
    pub fn count(&mut self, length: usize, errno: Option<i32>) {
        self.add(Self { records: 1, bytes: bytes(length), errno: errno.unwrap_or(0) });
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
        if more.records > 0 {
            self.errno = more.errno;
        }
    }
}

/// Where the log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkReport {
    /// Records given up for want of room.
    pub dropped: Dropped,
    /// Records that could not be written.
    pub unwritten: Unwritten,
    /// The last write failed: there is no use in saying anything now.
    pub failing: bool,
    /// Whether a line still finds room.
    pub room: bool,
    /// Whether everything is written.
    pub flushed: bool,
}

impl SinkReport {
    /// All records that did not get through and for which no newer one stands.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.dropped.lost() + self.unwritten.records
    }

    /// All bytes that did not get through.
    #[must_use]
    pub fn lost_bytes(&self) -> u64 {
        self.dropped.bytes + self.unwritten.bytes
    }
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
    /// How many of [`Class::Snapshot`] and [`Class::Debug`] wait.
    cheap: [usize; 2],
    /// Room was short and is not plenty again.
    tight: bool,
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

    /// Appends a record or gives something up for it. Whoever `keeps` takes in little more once
    /// there is no room, and loses nothing.
    pub fn push(&mut self, class: Class, record: &[u8], keeps: bool) {
        let limit = match class {
            _ if keeps => KEPT,
            Class::Vital => LIMIT,
            Class::Snapshot | Class::Debug | Class::Line => LIMIT - RESERVED,
        };
        self.tight &= !keeps && self.bytes.len() > RELIEVED;
        if self.tight && self.cheap_of(class).is_some() {
            return self.dropped.count(class, record.len());
        }
        for worth_less in [Class::Snapshot, Class::Debug] {
            if worth_less == class || self.bytes.len() + record.len() <= limit {
                break;
            }
            self.give_up(worth_less);
        }
        if self.bytes.len() + record.len() > limit {
            self.tight = true;
            return self.dropped.count(class, record.len());
        }
        if let Some(count) = self.cheap_of(class) {
            *count += 1;
        }
        self.bytes.extend(record);
        self.items.push_back(Item { class, length: record.len() });
    }

    fn cheap_of(&mut self, class: Class) -> Option<&mut usize> {
        match class {
            Class::Snapshot => self.cheap.first_mut(),
            Class::Debug => self.cheap.last_mut(),
            Class::Line | Class::Vital => None,
        }
    }

    /// Takes out every waiting record of a class; rare, since none is let in again soon.
    fn give_up(&mut self, class: Class) {
        if self.cheap_of(class).is_none_or(|count| std::mem::take(count) == 0) {
            return;
        }
        self.tight = true;
        let old = std::mem::take(&mut self.bytes);
        let (front, back) = old.as_slices();
        let mut rest = front.iter().chain(back);
        let bytes = &mut self.bytes;
        let dropped = &mut self.dropped;
        bytes.reserve(old.len());
        self.items.retain(|item| {
            let record = rest.by_ref().take(item.length);
            if item.class == class {
                record.for_each(drop);
                dropped.count(class, item.length);
                return false;
            }
            bytes.extend(record);
            true
        });
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

    /// Moves whole records from the front into an empty `batch`.
    pub fn take(&mut self, batch: &mut Batch) {
        batch.clear();
        let mut total = 0;
        while let Some(item) = self.items.front().copied() {
            if total > 0 && total + item.length > BATCH {
                break;
            }
            self.items.pop_front();
            if let Some(count) = self.cheap_of(item.class) {
                *count -= 1;
            }
            total += item.length;
            batch.records.push_back(item.length);
        }
        let (front, back) = self.bytes.as_slices();
        let split = total.min(front.len());
        batch.bytes.extend_from_slice(front.get(..split).unwrap_or(front));
        batch.bytes.extend_from_slice(back.get(..total - split).unwrap_or_default());
        self.bytes.drain(..total);
    }
}

/// Whole records on their way into the log, and how much of them is written.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Bytes at the front that are written or given up.
    done: usize,
    /// Lengths of the records that are not; of the first one perhaps only the rest.
    records: VecDeque<usize>,
    /// A part of the first record is written.
    begun: bool,
}

impl Batch {
    /// Whether nothing is left to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What to write next: as many records as stay atomic together, or one long one.
    #[must_use]
    pub fn next(&self) -> &[u8] {
        let mut length = 0;
        for record in &self.records {
            if length > 0 && length + record > ATOMIC {
                break;
            }
            length += record;
        }
        let rest = self.bytes.get(self.done..).unwrap_or_default();
        rest.get(..length).unwrap_or(rest)
    }

    /// So many bytes of it are written.
    pub fn written(&mut self, mut count: usize) {
        while let Some(first) = self.records.front_mut() {
            if count < *first {
                *first -= count;
                self.done += count;
                self.begun |= count > 0;
                return;
            }
            count -= *first;
            self.done += *first;
            self.begun = false;
            self.records.pop_front();
        }
    }

    /// The first record cannot be written: gives the number of bytes that do not get through, and
    /// whether a part of it did.
    pub fn give_up(&mut self) -> (usize, bool) {
        let length = self.records.pop_front().unwrap_or(0);
        self.done += length;
        (length, std::mem::take(&mut self.begun))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        (self.done, self.begun) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that waits, and the length of each write.
    fn drain(backlog: &mut Backlog) -> (String, Vec<usize>) {
        let (mut text, mut writes, mut batch) = (String::new(), Vec::new(), Batch::default());
        while !backlog.is_empty() {
            backlog.take(&mut batch);
            while !batch.is_empty() {
                let next = batch.next();
                text.push_str(std::str::from_utf8(next).unwrap());
                writes.push(next.len());
                batch.written(next.len());
            }
        }
        (text, writes)
    }

    #[test]
    fn records_come_out_in_order_and_short_ones_share_a_write() {
        let mut backlog = Backlog::default();
        backlog.push(Class::Vital, b"start\n", false);
        backlog.push(Class::Line, &[b'x'; 5_000], false);
        backlog.push(Class::Snapshot, b"snapshot\n", false);
        backlog.push(Class::Line, b"line\n", false);
        let (text, writes) = drain(&mut backlog);
        assert!(text.starts_with("start\nxxx") && text.ends_with("snapshot\nline\n"));
        assert_eq!(writes, [6, 5_000, 14]);
    }

    #[test]
    fn a_full_queue_gives_up_snapshots_then_debugging_then_lines_and_counts_each() {
        let mut backlog = Backlog::default();
        let record = [b'l'; 1_000];
        for class in [Class::Debug, Class::Snapshot] {
            (0..10).for_each(|_| backlog.push(class, &record, false));
        }
        let fits = (LIMIT - RESERVED) / record.len();
        let mut lines = |count: usize| {
            (0..count).for_each(|_| backlog.push(Class::Line, &record, false));
            backlog.dropped()
        };
        let dropped = |snapshots, debug, lines| {
            let bytes = (snapshots + debug + lines) * 1_000;
            Dropped { snapshots, debug, lines, vital: 0, bytes }
        };
        assert_eq!(lines(fits - 20), dropped(0, 0, 0));
        assert_eq!(lines(1), dropped(10, 0, 0));
        assert_eq!(lines(9), dropped(10, 0, 0));
        assert_eq!(lines(1), dropped(10, 10, 0));
        assert_eq!(lines(9 + 7), dropped(10, 10, 7));
        // As long as it is tight nothing cheap comes in before a line.
        let mut batch = Batch::default();
        backlog.take(&mut batch);
        backlog.push(Class::Debug, &record, false);
        backlog.push(Class::Snapshot, &record, false);
        assert_eq!(backlog.dropped(), dropped(11, 11, 7));
        backlog.push(Class::Line, &record, false);
        backlog.push(Class::Vital, b"verdict\n", false);
        assert_eq!(backlog.dropped(), dropped(11, 11, 7));
        assert!(!backlog.has_room());
        let (text, _) = drain(&mut backlog);
        assert!(text.ends_with("verdict\n"));
        assert!(backlog.has_room());
        backlog.push(Class::Debug, &record, false);
        backlog.push(Class::Snapshot, &record, false);
        assert_eq!(backlog.dropped(), dropped(11, 11, 7));
    }

    #[test]
    fn the_queue_is_bounded_for_its_own_words_too() {
        let mut backlog = Backlog::default();
        for _ in 0..300 {
            backlog.push(Class::Vital, &[b'v'; 5_000], false);
        }
        assert!(backlog.bytes.len() <= LIMIT);
        assert_eq!(backlog.dropped().vital, 300 - u64::try_from(LIMIT / 5_000).unwrap());
    }

    #[test]
    fn whoever_stops_reading_loses_nothing() {
        let mut backlog = Backlog::default();
        let record = [b'l'; 1_000];
        while backlog.has_room() {
            backlog.push(Class::Debug, &record, true);
        }
        // A turn just before its end, and its last read: 4096 empty lines.
        (0..KEPT_TURN / record.len()).for_each(|_| backlog.push(Class::Line, &record, true));
        (0..4_096).for_each(|_| backlog.push(Class::Line, &[b'l'; 240], true));
        backlog.push(Class::Snapshot, &record, true);
        backlog.push(Class::Vital, &record, true);
        assert_eq!(backlog.dropped(), Dropped::default());
        // What has other sources than the program is bounded still.
        (0..10_000).for_each(|_| backlog.push(Class::Vital, &record, true));
        assert!(backlog.length() <= KEPT && backlog.dropped().vital > 0);
    }

    #[test]
    fn what_was_only_begun_is_given_up_alone() {
        let mut backlog = Backlog::default();
        for record in [&b"one\n"[..], b"two\n", b"three\n"] {
            backlog.push(Class::Line, record, false);
        }
        let mut batch = Batch::default();
        backlog.take(&mut batch);
        batch.written(6);
        assert_eq!(batch.next(), b"o\nthree\n");
        assert_eq!(batch.give_up(), (2, true));
        assert_eq!(batch.next(), b"three\n");
        assert_eq!(batch.give_up(), (6, false));
        assert!(batch.is_empty() && batch.next().is_empty());
    }
}
