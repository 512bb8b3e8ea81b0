//! Changed limits, seen at little cost.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Depth, Kind, Reader};
use crate::host::files::Root;
use crate::linux::cgroup::{self, Value};
use crate::policy::limits::Limits;
use crate::sys::limits::cpus;
use crate::units::Pid;

/// Most files that a watch keeps open.
const WATCHED_MAX: usize = 16;
/// Everything is read again once in so many checks.
const WHOLE_EVERY: u32 = 32;

/// Sees limits change while the program runs, as an in-place resize of a pod does.
///
/// It keeps the limit files open and compares what they say; only after a difference is
/// everything read again. A file that appears later, and a process that is moved, is seen when
/// everything is read without a difference, every so many checks.
#[derive(Debug)]
pub struct Watch {
    root: Root,
    files: Vec<Watched>,
    buffer: Vec<u8>,
    checks: u32,
    limits: Limits,
}

#[derive(Debug)]
struct Watched {
    file: File,
    kind: Kind,
    path: Vec<u8>,
    last: Vec<u8>,
}

impl Watch {
    /// Reads the limits of this process and keeps their files open. Where descriptors are scarce
    /// it keeps as many as it gets.
    #[must_use]
    pub fn new(root: &Root) -> Self {
        let mut watch = Self {
            root: root.clone(),
            files: Vec::new(),
            buffer: vec![0; 4096],
            checks: 0,
            limits: Limits::default(),
        };
        watch.read();
        watch
    }

    /// What was last read.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at the files; the new limits if they are others than before.
    pub fn check(&mut self) -> Option<&Limits> {
        self.checks = self.checks.wrapping_add(1);
        let buffer = &mut self.buffer;
        // Every file is looked at, so that one change is not reported twice.
        let moved = self.files.iter_mut().fold(false, |any, file| file.moved(buffer) | any);
        let cpus = self.root.is_live().then(|| cpus(Pid(0))).flatten();
        let moved = moved || cpus.is_some_and(|cpus| self.limits.affinity != Some(cpus));
        if !moved && !self.checks.is_multiple_of(WHOLE_EVERY) {
            return None;
        }
        let before = self.read();
        before.differs(&self.limits).then_some(&self.limits)
    }

    /// Reads everything and opens the files that matter; the limits as they were.
    fn read(&mut self) -> Limits {
        let reader = Reader::read(&self.root, None, Depth::Deciding);
        let old = std::mem::take(&mut self.files);
        let mut old: Vec<_> = old.into_iter().map(Some).collect();
        let mut limits = reader.limits;
        let mut opened = false;
        for (kind, path) in reader.files.into_iter().take(WATCHED_MAX) {
            let known = old.iter_mut().find(|one| one.as_ref().is_some_and(|one| one.path == path));
            if let Some(watched) = known.and_then(Option::take) {
                self.files.push(watched);
            } else if let Ok(file) = self.root.open_kernel_file(&path) {
                let mut watched = Watched { file, kind, path, last: Vec::new() };
                watched.moved(&mut self.buffer);
                self.files.push(watched);
                opened = true;
            }
        }
        if opened {
            // A limit written after it was read and before its file was looked at first would
            // never be seen to change.
            limits = Reader::read(&self.root, None, Depth::Deciding).limits;
        }
        std::mem::replace(&mut self.limits, limits)
    }
}

impl Watched {
    /// Reads the file again; whether it says something else. A file that cannot be read any more
    /// says what it said.
    fn moved(&mut self, buffer: &mut [u8]) -> bool {
        let Ok(count) = self.file.read_at(buffer, 0) else { return false };
        let text = buffer.get(..count).unwrap_or_default();
        let key = match self.kind {
            Kind::Text => text,
            Kind::MemoryStat => match cgroup::hierarchical_memory_limit(text) {
                Value::Limit(bytes) => &bytes.to_ne_bytes()[..],
                Value::Absent | Value::Unlimited | Value::Malformed => b"",
            },
        };
        if key == self.last {
            return false;
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        true
    }
}
