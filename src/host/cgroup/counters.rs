//! What a process's cgroup has used and suffered so far: throttling, memory, OOM kills.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::Places;
use crate::host::files::Root;
use crate::linux::cgroup::{self, MemoryEvents, Throttling, Version};

/// Counters of a process's cgroup, in one shape for both versions.
#[derive(Debug, Default)]
pub struct Counters {
    cpu_stat: Option<File>,
    usage: Option<File>,
    peak: Option<File>,
    events: Option<File>,
    /// v1 counts hits of the limit in a file of its own.
    failcnt: Option<File>,
}

/// Memory of a cgroup, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Now, page cache included.
    pub usage: Option<u64>,
    /// The most there ever was; v2 has it from Linux 5.19 on.
    pub peak: Option<u64>,
    /// Limit hits and kills.
    pub events: Option<MemoryEvents>,
}

impl Counters {
    /// Opens the counter of throttling alone.
    #[must_use]
    pub fn of_cpu(root: &Root, places: &Places) -> Self {
        let own = || places.cpu.as_ref().map(|(_, own)| own);
        let place = places.quota.as_ref().or_else(own);
        let file = place.and_then(|place| open(root, place, "cpu.stat"));
        Self { cpu_stat: file, ..Self::default() }
    }

    /// Opens the counters of a cgroup; what is not there stays unknown.
    #[must_use]
    pub fn open(root: &Root, places: &Places) -> Self {
        let open = |directory: &[u8], name: &str| open(root, directory, name);
        let mut counters = Self::of_cpu(root, places);
        if let Some((version, directory)) = &places.memory {
            let names = match version {
                Version::V2 => ["memory.current", "memory.peak"],
                Version::V1 => ["memory.usage_in_bytes", "memory.max_usage_in_bytes"],
            };
            let [usage, peak] = names.map(|name| open(directory, name));
            counters.usage = usage;
            counters.peak = peak;
            counters.events = open(directory, events_name(*version));
            counters.failcnt = open(directory, "memory.failcnt");
        }
        counters
    }

    /// Throttling so far; nothing where the cgroup has no quota accounting.
    #[must_use]
    pub fn throttling(&self) -> Option<Throttling> {
        text(self.cpu_stat.as_ref(), cgroup::throttling)?
    }

    /// Memory now, its peak, and its events.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        let number = |file: &Option<File>| text(file.as_ref(), cgroup::plain).flatten();
        let mut events = text(self.events.as_ref(), cgroup::memory_events);
        if let (Some(events), Some(hits)) = (events.as_mut(), number(&self.failcnt)) {
            events.max = hits;
        }
        MemoryUse { usage: number(&self.usage), peak: number(&self.peak), events }
    }
}

/// How often the kernel killed somebody for the memory of this cgroup.
#[must_use]
pub fn oom_kills(root: &Root, places: &Places) -> Option<u64> {
    let (version, place) = places.memory.as_ref()?;
    let file = open(root, place, events_name(*version))?;
    text(Some(&file), cgroup::memory_events).map(|events| events.oom_kill)
}

fn events_name(version: Version) -> &'static str {
    match version {
        Version::V2 => "memory.events",
        Version::V1 => "memory.oom_control",
    }
}

fn open(root: &Root, directory: &[u8], name: &str) -> Option<File> {
    root.open_kernel_file(&[directory, b"/", name.as_bytes()].concat()).ok()
}

/// Reads a small file from its beginning.
fn text<T>(file: Option<&File>, parse: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut buffer = [0; 4096];
    let count = file?.read_at(&mut buffer, 0).ok()?;
    buffer.get(..count).map(parse)
}
