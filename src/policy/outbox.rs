//! Records on their way from the session to the log: rendered bytes with the class of each.

use super::backlog::Class;
use super::record::{Frame, Record, Severity};
use crate::units::Wall;

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

    /// Forgets what was handed on. The memory of a flood is kept while it lasts: to give it back
    /// and to fetch it anew every turn costs a third of the throughput, in page faults.
    pub fn clear(&mut self) {
        const KEPT: usize = 64 << 10;
        const TURNS: u32 = 64;
        let calm = self.bytes.len() <= self.bytes.capacity() / 4;
        self.calm = if calm { self.calm.saturating_add(1) } else { 0 };
        self.bytes.clear();
        self.items.clear();
        if self.calm >= TURNS {
            self.calm = 0;
            self.bytes.shrink_to(KEPT);
            self.items.shrink_to(KEPT / 64);
        }
    }
}
