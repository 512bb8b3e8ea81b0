//! The words of a crash that nothing proves yet. Anybody can print `panic: …`, so they are a line
//! of the program, unless a traceback follows or the program ends as a crash ends it: with
//! GOTRACEBACK=none the runtime says nothing more.

use super::{Journal, panic};
use crate::go::crash::CrashHead;
use crate::go::entry::{Entry, Text};
use crate::policy::backlog::Class;
use crate::policy::outbox::Outbox;
use crate::policy::record::Record;
use crate::units::Now;

/// What was said.
#[derive(Debug)]
pub(super) struct Doubt {
    at: Now,
    /// The record that it becomes when it was a crash.
    record: Record,
    /// The lines as they came.
    lines: Vec<u8>,
    /// They are in the log as lines of the program.
    told: bool,
    /// The program has said something else since: no traceback belongs to these words.
    stale: bool,
}

impl Journal {
    /// What an entry means for the words in doubt; true when it is kept instead of written.
    pub(super) fn doubts(&mut self, now: Now, entry: &Entry<'_>, outbox: &mut Outbox) -> bool {
        match entry {
            Entry::Crash(head) => {
                self.tell(outbox);
                self.doubt = (!head.proven).then(|| doubt(now, head));
                return !head.proven;
            }
            // Between the words and a traceback stands an empty line.
            Entry::Text(line) if line.bytes.is_empty() => self.tell(outbox),
            Entry::Text(_) | Entry::Json(_) => {
                self.tell(outbox);
                self.doubt.iter_mut().for_each(|doubt| doubt.stale = true);
            }
            Entry::Goroutines(_) | Entry::DumpEnd(_) => {
                if let Some(doubt) = self.doubt.take_if(|doubt| !doubt.stale) {
                    let record = doubt.record.put("panic.proven", true);
                    outbox.post(doubt.at.wall, Class::Vital, &record);
                }
            }
            Entry::Sched(_) | Entry::Damaged(_) | Entry::Init(_) | Entry::Gc(..) => {}
        }
        false
    }

    /// Nothing has followed for a while: writes the words in doubt as lines of the program.
    pub fn tell(&mut self, outbox: &mut Outbox) {
        let Some(mut doubt) = self.doubt.take() else { return };
        if !doubt.told {
            doubt.told = true;
            let lines = doubt.lines.strip_suffix(b"\n").unwrap_or(&doubt.lines);
            lines.split(|b| *b == b'\n').for_each(|l| self.text(doubt.at, &Text::line(l), outbox));
        }
        self.doubt = Some(doubt);
    }

    /// The program has ended: `crashed` = so that it was a crash.
    pub fn settle(&mut self, crashed: bool, outbox: &mut Outbox) {
        if !crashed {
            self.tell(outbox);
        }
        if let Some(doubt) = self.doubt.take().filter(|_| crashed) {
            let record = doubt.record.put("panic.proven", false);
            outbox.post(doubt.at.wall, Class::Vital, &record);
        }
    }
}

fn doubt(at: Now, head: &CrashHead<'_>) -> Doubt {
    let (lines, record) = (head.lines.to_vec(), panic(head));
    Doubt { at, record, lines, told: false, stale: false }
}
