//! Reads a process's cgroups through a `Root`: its limits once at start, later only the few files
//! that can change them, through descriptors that stay open.

use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::files::Root;
use crate::linux::cgroup::{self, MemoryEvents, Throttling, Value, Version};
use crate::policy::limits::{self, Candidate, Controller, Home, Limits};
use crate::units::Pid;

/// Longest mountinfo that is read; a machine with 8,000 mounts fits.
const MOUNTINFO_MAX: usize = 1 << 20;
/// Longest limit, status or stat file that is read.
const FILE_MAX: usize = 64 << 10;
/// Most files that a watch keeps open.
const WATCHED_MAX: usize = 24;

/// Where the files of a process's cgroup are, for reading counters later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The cgroup with the cpu controller, and its version.
    pub cpu: Option<(Version, Vec<u8>)>,
    /// The cgroup with the memory controller, and its version.
    pub memory: Option<(Version, Vec<u8>)>,
}

/// The limits of a process; of goinit itself, and so of its children, without `pid`.
#[must_use]
pub fn read(root: &Root, pid: Option<Pid>) -> (Limits, Places) {
    let mut reader = Reader::new(root);
    reader.run(pid);
    (reader.limits, reader.places)
}

struct Reader<'r> {
    root: &'r Root,
    buffer: Vec<u8>,
    path: Vec<u8>,
    limits: Limits,
    places: Places,
    /// Paths of files that hold a limit, in case they are to be watched.
    files: Vec<(Kind, Vec<u8>)>,
}

/// How a watched file is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Byte by byte.
    Text,
    /// By its hierarchical_memory_limit only; the rest changes all the time.
    MemoryStat,
}

impl<'r> Reader<'r> {
    fn new(root: &'r Root) -> Self {
        Self {
            root,
            buffer: Vec::with_capacity(8192),
            path: Vec::with_capacity(256),
            limits: Limits::default(),
            places: Places::default(),
            files: Vec::new(),
        }
    }

    fn run(&mut self, pid: Option<Pid>) {
        let process = match pid {
            None => "self".to_owned(),
            Some(pid) => pid.to_string(),
        };
        let own = self.root.read(
            format!("/proc/{process}/cgroup").as_bytes(),
            FILE_MAX,
            &mut self.buffer,
        );
        let own: Option<Vec<u8>> = own.ok().map(<[u8]>::to_vec);
        // Roots in mountinfo are relative to the reader's cgroup namespace, just as the paths in
        // another process's cgroup file are: so mounts are always our own.
        let mounts = self.root.read(b"/proc/self/mountinfo", MOUNTINFO_MAX, &mut self.buffer);
        let mounts: Option<Vec<u8>> = mounts.ok().map(<[u8]>::to_vec);
        for controller in [Controller::Cpu, Controller::Memory] {
            let home = limits::home(controller, own.as_deref(), mounts.as_deref());
            self.read_controller(controller, &home);
        }
        let status = format!("/proc/{process}/status");
        if let Ok(text) = self.root.read(status.as_bytes(), FILE_MAX, &mut self.buffer) {
            self.limits.affinity = cgroup::allowed_cpus(text);
        }
        if let Ok(text) = self.root.read(b"/proc/meminfo", FILE_MAX, &mut self.buffer) {
            self.limits.machine_memory = cgroup::machine_memory(text);
        }
    }

    fn read_controller(&mut self, controller: Controller, home: &Home) {
        let root = self.root;
        let exists = |candidate: &&Candidate| {
            root.is_dir(&[candidate.point.as_slice(), &candidate.rest].concat())
        };
        let chosen = home.candidates.iter().find(exists);
        self.limits.locate(controller, home, chosen);
        let Some(chosen) = chosen else { return };
        let levels = chosen.levels();
        let version = home.version.unwrap_or_else(|| self.guess(controller, &chosen.point));
        if let Some(own) = levels.first() {
            let place = Some((version, own.clone()));
            match controller {
                Controller::Cpu => self.places.cpu = place,
                Controller::Memory => self.places.memory = place,
            }
        }
        for (level, directory) in levels.iter().enumerate() {
            match (controller, version) {
                (Controller::Cpu, Version::V2) => self.cpu_v2(level, directory),
                (Controller::Cpu, Version::V1) => self.cpu_v1(level, directory),
                (Controller::Memory, Version::V2) => self.memory_v2(level, directory),
                (Controller::Memory, Version::V1) => {
                    // A parent without use_hierarchy does not count what its children use.
                    if level > 0 && self.number(directory, "memory.use_hierarchy") == Some(0) {
                        break;
                    }
                    self.memory_v1(level, directory);
                }
            }
        }
    }

    /// Without mountinfo: which version an assumed directory is.
    fn guess(&mut self, controller: Controller, directory: &[u8]) -> Version {
        let v1 = match controller {
            Controller::Cpu => "cpu.cfs_quota_us",
            Controller::Memory => "memory.limit_in_bytes",
        };
        let version = if self.get(directory, v1).is_some() { Version::V1 } else { Version::V2 };
        match controller {
            Controller::Cpu => self.limits.cpu.version = Some(version),
            Controller::Memory => self.limits.memory.version = Some(version),
        }
        version
    }

    fn cpu_v2(&mut self, level: usize, directory: &[u8]) {
        if let Some(value) = self.get(directory, "cpu.max").map(cgroup::cpu_max) {
            self.limits.add_cpu(level, &String::from_utf8_lossy(&self.path), &self.buffer, value);
            self.watch(Kind::Text);
        }
    }

    fn cpu_v1(&mut self, level: usize, directory: &[u8]) {
        let period = self.get(directory, "cpu.cfs_period_us").map(<[u8]>::to_vec);
        if period.is_some() {
            self.watch(Kind::Text);
        }
        if self.get(directory, "cpu.cfs_quota_us").is_some() {
            let value = cgroup::cpu_cfs(&self.buffer, period.as_deref());
            let mut text = self.buffer.trim_ascii().to_vec();
            text.push(b' ');
            text.extend_from_slice(period.as_deref().unwrap_or_default());
            self.limits.add_cpu(level, &String::from_utf8_lossy(&self.path), &text, value);
            self.watch(Kind::Text);
        }
    }

    fn memory_v2(&mut self, level: usize, directory: &[u8]) {
        if let Some(value) = self.get(directory, "memory.max").map(cgroup::memory_limit) {
            self.limits.add_memory(
                level,
                &String::from_utf8_lossy(&self.path),
                &self.buffer,
                value,
            );
            self.watch(Kind::Text);
        }
        if let Some(value) = self.get(directory, "memory.high").map(cgroup::memory_limit) {
            let path = String::from_utf8_lossy(&self.path);
            self.limits.add_memory_high(level, &path, &self.buffer, value);
            self.watch(Kind::Text);
        }
    }

    fn memory_v1(&mut self, level: usize, directory: &[u8]) {
        if let Some(value) = self.get(directory, "memory.limit_in_bytes").map(cgroup::memory_limit)
        {
            self.limits.add_memory(
                level,
                &String::from_utf8_lossy(&self.path),
                &self.buffer,
                value,
            );
            self.watch(Kind::Text);
        }
        // It covers all ancestors, so the process's own directory is enough (rule 4).
        if level > 0 {
            return;
        }
        let value = self.get(directory, "memory.stat").map(cgroup::hierarchical_memory_limit);
        if let Some(value) = value.filter(|value| *value != Value::Absent) {
            let path = format!("{} hierarchical_memory_limit", String::from_utf8_lossy(&self.path));
            let text = value.limit().map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
            self.limits.add_memory(level, &path, text.as_bytes(), value);
            self.watch(Kind::MemoryStat);
        }
    }

    /// Reads a file of a cgroup into the buffer and leaves its path in `path`.
    fn get(&mut self, directory: &[u8], name: &str) -> Option<&[u8]> {
        self.path.clear();
        self.path.extend_from_slice(directory.strip_suffix(b"/").unwrap_or(directory));
        self.path.push(b'/');
        self.path.extend_from_slice(name.as_bytes());
        self.root.read(&self.path, FILE_MAX, &mut self.buffer).ok()
    }

    fn number(&mut self, directory: &[u8], name: &str) -> Option<u64> {
        self.get(directory, name).and_then(cgroup::plain)
    }

    fn watch(&mut self, kind: Kind) {
        self.files.push((kind, self.path.clone()));
    }
}

/// Sees limits change while the program runs, as an in-place resize of a pod does.
///
/// It keeps the limit files open and compares what they say; only after a difference is
/// everything read again. A file that appears later is not seen.
#[derive(Debug)]
pub struct Watch {
    root: Root,
    files: Vec<Watched>,
    buffer: Vec<u8>,
    limits: Limits,
}

#[derive(Debug)]
struct Watched {
    file: File,
    kind: Kind,
    last: Vec<u8>,
}

impl Watch {
    /// Reads the limits of this process and keeps their files open.
    #[must_use]
    pub fn new(root: &Root) -> (Self, Places) {
        let mut reader = Reader::new(root);
        reader.run(None);
        let mut watch = Self {
            root: root.clone(),
            files: Vec::new(),
            buffer: vec![0; 8192],
            limits: reader.limits,
        };
        for (kind, path) in reader.files.into_iter().take(WATCHED_MAX) {
            let path = Path::new(std::ffi::OsStr::from_bytes(&path)).to_path_buf();
            if let Ok(file) = File::open(root.locate(&path)) {
                let mut watched = Watched { file, kind, last: Vec::new() };
                watched.moved(&mut watch.buffer);
                watch.files.push(watched);
            }
        }
        (watch, reader.places)
    }

    /// What was last read.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Looks at the files; the limits as they were, if they are others now.
    pub fn check(&mut self) -> Option<Limits> {
        let buffer = &mut self.buffer;
        let moved =
            self.files.iter_mut().filter_map(|file| file.moved(buffer).then_some(())).count();
        if moved == 0 {
            return None;
        }
        let now = read(&self.root, None).0;
        let before = std::mem::replace(&mut self.limits, now);
        let same = before.cpu.limit == self.limits.cpu.limit
            && before.memory.limit == self.limits.memory.limit
            && before.memory_high == self.limits.memory_high;
        (!same).then_some(before)
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
    /// Opens the counters of a cgroup; what is not there stays unknown.
    #[must_use]
    pub fn open(root: &Root, places: &Places) -> Self {
        let open = |directory: &[u8], name: &str| {
            let path = Path::new(std::ffi::OsStr::from_bytes(directory)).join(name);
            File::open(root.locate(&path)).ok()
        };
        let mut counters = Self::default();
        if let Some((_, directory)) = &places.cpu {
            counters.cpu_stat = open(directory, "cpu.stat");
        }
        if let Some((version, directory)) = &places.memory {
            let names = match version {
                Version::V2 => ["memory.current", "memory.peak", "memory.events"],
                Version::V1 => {
                    ["memory.usage_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"]
                }
            };
            let [usage, peak, events] = names.map(|name| open(directory, name));
            counters.usage = usage;
            counters.peak = peak;
            counters.events = events;
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

/// Reads a small file from its beginning.
fn text<T>(file: Option<&File>, parse: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let mut buffer = [0; 4096];
    let count = file?.read_at(&mut buffer, 0).ok()?;
    buffer.get(..count).map(parse)
}
