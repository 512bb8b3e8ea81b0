//! Reads a process's cgroups through a `Root`: its limits once at start, later only the few files
//! that can change them, through descriptors that stay open.

mod counters;
mod search;
mod watch;

pub use counters::{Counters, MemoryUse, oom_kills};
pub use watch::Watch;

use super::files::Root;
use crate::linux::cgroup::{self, Quota, Value, Version};
use crate::linux::mountinfo::Mounts;
use crate::policy::limits::{self, Candidate, Controller, GoReader, Home, Limits, Way};
use crate::sys::job::own_pid;
use crate::sys::limits as machine;
use crate::units::Pid;

/// Longest mountinfo that is read. Linux allows 100,000 mounts (fs.mount-max), of about 150 bytes.
const MOUNTINFO_MAX: usize = 16 << 20;
/// Longest other file that is read.
const FILE_MAX: usize = 128 << 10;

/// Where the files of a process's cgroup are, for reading counters later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The cgroup with the cpu controller, and its version.
    pub cpu: Option<(Version, Vec<u8>)>,
    /// The cgroup with the memory controller, and its version.
    pub memory: Option<(Version, Vec<u8>)>,
    /// The cgroup whose quota binds, if that is an ancestor: throttling is counted there.
    pub quota: Option<Vec<u8>>,
}

/// How many of the limit files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Those that decide: a file that can only say what another one said already is left out.
    /// Every start of a program waits for this, and opening a file is most of its cost.
    Deciding,
    /// Every file that holds a limit, for people who ask where a number comes from.
    Everything,
}

/// The limits of a process; of goinit itself, and so of its children, without `pid`. In a captured
/// tree `pid` is the number that the process had.
#[must_use]
pub fn read(root: &Root, pid: Option<Pid>, depth: Depth) -> (Limits, Places) {
    let reader = Reader::read(root, pid, depth);
    (reader.limits, reader.places)
}

struct Reader<'r> {
    root: &'r Root,
    depth: Depth,
    buffer: Vec<u8>,
    path: Vec<u8>,
    limits: Limits,
    places: Places,
    /// The quota of the process's own cgroup.
    own_quota: Option<Quota>,
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
    fn read(root: &'r Root, pid: Option<Pid>, depth: Depth) -> Self {
        let mut reader = Self {
            root,
            depth,
            buffer: Vec::with_capacity(8192),
            path: Vec::with_capacity(256),
            limits: Limits::default(),
            places: Places::default(),
            own_quota: None,
            files: Vec::new(),
        };
        reader.run(pid);
        reader
    }

    fn run(&mut self, pid: Option<Pid>) {
        let live = self.root.is_live();
        // A captured tree holds one process, as /proc/self, whatever its number was.
        let number = pid.filter(|pid| live || self.root.is_dir(format!("/proc/{pid}").as_bytes()));
        let process = number.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let own = self.text(&format!("/proc/{process}/cgroup"), FILE_MAX);
        // Roots in mountinfo are relative to the reader's cgroup namespace, just as the paths in
        // another process's cgroup file are: so mounts are always our own.
        let mut mounts = self.text("/proc/self/mountinfo", MOUNTINFO_MAX);
        if mounts.is_none() && !live {
            mounts = self.text(&format!("/proc/{process}/mountinfo"), MOUNTINFO_MAX);
        }
        let mounts = mounts.as_deref().map(Mounts::read);
        let (own, mounts) = (own.as_deref(), mounts.as_ref());
        let wanted = pid.or_else(|| live.then(own_pid).map(Pid));
        let [cpu, memory] = limits::homes(own, mounts);
        let found = self.choose(&cpu, wanted);
        self.take(Controller::Cpu, &cpu, found.as_ref());
        let found = if memory == cpu { found } else { self.choose(&memory, wanted) };
        self.take(Controller::Memory, &memory, found.as_ref());
        self.limits.go.go25 = self.seen_by(GoReader::Go25, own, mounts);
        self.limits.go.go26 = self.seen_by(GoReader::Go26, own, mounts);
        self.machine(&process, number, live);
    }

    /// CPUs and memory of the machine: the kernel tells, a captured tree holds the files.
    fn machine(&mut self, process: &str, pid: Option<Pid>, live: bool) {
        if live {
            self.limits.affinity = machine::cpus(pid.unwrap_or(Pid(0)));
            self.limits.machine_memory = machine::machine_memory();
        }
        if self.limits.affinity.is_none() {
            let status = self.text(&format!("/proc/{process}/status"), FILE_MAX);
            self.limits.affinity = status.as_deref().and_then(cgroup::allowed_cpus);
        }
        if self.limits.machine_memory.is_none() {
            let meminfo = self.text("/proc/meminfo", FILE_MAX);
            self.limits.machine_memory = meminfo.as_deref().and_then(cgroup::machine_memory);
        }
    }

    /// A file of /proc; of one that is longer than the limit the whole lines.
    fn text(&mut self, path: &str, limit: usize) -> Option<Vec<u8>> {
        let mut text = self.root.read(path.as_bytes(), limit, &mut self.buffer).ok()?.to_vec();
        if text.len() >= limit {
            let end = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
            text.truncate(end);
            self.limits
                .cut
                .push(format!("{path} is longer than {limit} bytes: its end is not read"));
        }
        Some(text)
    }

    /// The candidate that exists; failing that, the one that holds the process.
    fn choose(&mut self, home: &Home, pid: Option<Pid>) -> Option<(Way, Candidate)> {
        let root = self.root;
        let exists = |one: &&Candidate| one.mounted || root.is_dir(&one.directory());
        if let Some(found) = home.candidates.iter().find(exists) {
            return Some((Way::Mount, found.clone()));
        }
        let pid = pid?;
        let mut searched = search::Search::new(root, pid);
        let found = home.distant.iter().find_map(|distant| searched.below(distant));
        if searched.gave_up() {
            self.limits.cut.push(format!(
                "process {pid} was not found in the first {} cgroups below the mount point",
                search::DIRECTORIES_MAX
            ));
        }
        found.map(|candidate| (Way::Search, candidate))
    }

    fn take(&mut self, controller: Controller, home: &Home, found: Option<&(Way, Candidate)>) {
        self.limits.locate(controller, home, found.map(|(way, _)| *way));
        let Some((_, chosen)) = found else { return };
        let levels = chosen.levels();
        let version = home.version.unwrap_or_else(|| self.guess(controller, &chosen.point));
        if let Some(own) = levels.first() {
            let place = Some((version, own.clone()));
            match controller {
                Controller::Cpu => self.places.cpu = place,
                Controller::Memory => self.places.memory = place,
            }
        }
        self.levels(controller, version, &levels);
        let binding = self.limits.cpu.limit.as_ref().map_or(0, |limit| limit.level);
        if controller == Controller::Cpu && binding > 0 {
            self.places.quota = levels.into_iter().nth(binding);
        }
    }

    fn levels(&mut self, controller: Controller, version: Version, levels: &[Vec<u8>]) {
        match (controller, version) {
            (Controller::Cpu, Version::V2) => {
                levels.iter().enumerate().for_each(|(level, dir)| self.cpu_v2(level, dir));
            }
            (Controller::Cpu, Version::V1) => {
                levels.iter().enumerate().for_each(|(level, dir)| self.cpu_v1(level, dir));
            }
            (Controller::Memory, Version::V2) => {
                levels.iter().enumerate().for_each(|(level, dir)| self.memory_v2(level, dir));
            }
            (Controller::Memory, Version::V1) => self.memory_v1(levels),
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
            let path = String::from_utf8_lossy(&self.path);
            self.limits.add_cpu(level, &path, &self.buffer, value);
            self.note_quota(level, value);
            self.watch(Kind::Text);
        }
    }

    fn cpu_v1(&mut self, level: usize, directory: &[u8]) {
        let Some(mut text) = self.get(directory, "cpu.cfs_quota_us").map(<[u8]>::to_vec) else {
            return;
        };
        let path = String::from_utf8_lossy(&self.path).into_owned();
        self.watch(Kind::Text);
        let mut value = cgroup::cpu_cfs(&text, None);
        // A period without a quota limits nothing.
        if value != Value::Unlimited || self.depth == Depth::Everything {
            let period = self.get(directory, "cpu.cfs_period_us").map(<[u8]>::to_vec);
            value = cgroup::cpu_cfs(&text, period.as_deref());
            text = [text.trim_ascii(), b" ", period.as_deref().unwrap_or_default()].concat();
            if period.is_some() {
                self.watch(Kind::Text);
            }
        }
        self.limits.add_cpu(level, &path, &text, value);
        self.note_quota(level, value);
    }

    fn note_quota(&mut self, level: usize, value: Value<Quota>) {
        if level == 0 {
            self.own_quota = value.limit();
        }
    }

    fn memory_v2(&mut self, level: usize, directory: &[u8]) {
        self.memory(level, directory, "memory.max");
        if let Some(value) = self.get(directory, "memory.high").map(cgroup::memory_limit) {
            let path = String::from_utf8_lossy(&self.path);
            self.limits.add_memory_high(level, &path, &self.buffer, value);
            self.watch(Kind::Text);
        }
    }

    fn memory_v1(&mut self, levels: &[Vec<u8>]) {
        let Some(own) = levels.first() else { return };
        // It covers all ancestors (rule 4), so nothing above can say less.
        let ancestry = self.ancestry(own);
        let known = matches!(ancestry, Value::Limit(_) | Value::Unlimited);
        let levels = match self.depth {
            Depth::Deciding if ancestry == Value::Unlimited => &[],
            Depth::Deciding if known => levels.get(..1).unwrap_or_default(),
            Depth::Deciding | Depth::Everything => levels,
        };
        let mut whole = false;
        for (level, directory) in levels.iter().enumerate() {
            // A parent without use_hierarchy does not count what its children use, and a child
            // without it has such a parent: the kernel lets neither be otherwise.
            if level > 0 && (self.is_flat(directory) || level == 1 && self.is_flat(own)) {
                break;
            }
            self.memory(level, directory, "memory.limit_in_bytes");
            if !whole {
                let limit = if level == 0 { ancestry } else { self.ancestry(directory) };
                whole = self.add_ancestry(level, directory, limit);
            }
        }
        if levels.is_empty() {
            self.add_ancestry(0, own, ancestry);
        }
    }

    fn is_flat(&mut self, directory: &[u8]) -> bool {
        self.get(directory, "memory.use_hierarchy").and_then(cgroup::plain) == Some(0)
    }

    fn memory(&mut self, level: usize, directory: &[u8], name: &str) {
        if let Some(value) = self.get(directory, name).map(cgroup::memory_limit) {
            let path = String::from_utf8_lossy(&self.path);
            self.limits.add_memory(level, &path, &self.buffer, value);
            self.watch(Kind::Text);
        }
    }

    /// The limit of the whole ancestry in a v1 memory.stat.
    fn ancestry(&mut self, directory: &[u8]) -> Value<u64> {
        self.at(directory, "memory.stat");
        let stat = self.root.read(&self.path, FILE_MAX, &mut self.buffer);
        stat.map_or(Value::Absent, cgroup::hierarchical_memory_limit)
    }

    /// Takes what `ancestry` found; whether there was something.
    fn add_ancestry(&mut self, level: usize, directory: &[u8], value: Value<u64>) -> bool {
        let text = match value {
            Value::Limit(bytes) => bytes.to_string(),
            Value::Unlimited => "unlimited".to_owned(),
            Value::Malformed => "?".to_owned(),
            Value::Absent => return false,
        };
        self.at(directory, "memory.stat");
        let path = format!("{} hierarchical_memory_limit", String::from_utf8_lossy(&self.path));
        self.limits.add_memory(level, &path, text.as_bytes(), value);
        self.watch(Kind::MemoryStat);
        true
    }

    /// What a release of Go reads: as a rule a file that was read already.
    fn seen_by(
        &mut self,
        reader: GoReader,
        own: Option<&[u8]>,
        mounts: Option<&Mounts<'_>>,
    ) -> Option<Quota> {
        let (version, directory) = reader.directory(own, mounts)?;
        let directory = directory.strip_suffix(b"/").unwrap_or(&directory);
        let place = self.places.cpu.as_ref();
        if place.is_some_and(|(known, own)| *known == version && own == directory) {
            return self.own_quota;
        }
        match version {
            Version::V2 => self.get(directory, "cpu.max").map(cgroup::cpu_max)?.limit(),
            Version::V1 => {
                let period = self.get(directory, "cpu.cfs_period_us")?.to_vec();
                let quota = self.get(directory, "cpu.cfs_quota_us")?;
                cgroup::cpu_cfs(quota, Some(&period)).limit()
            }
        }
    }

    /// Leaves the path of a file of a cgroup in `path`.
    fn at(&mut self, directory: &[u8], name: &str) {
        self.path.clear();
        self.path.extend_from_slice(directory.strip_suffix(b"/").unwrap_or(directory));
        self.path.push(b'/');
        self.path.extend_from_slice(name.as_bytes());
    }

    /// Reads a file of a cgroup into the buffer and leaves its path in `path`.
    fn get(&mut self, directory: &[u8], name: &str) -> Option<&[u8]> {
        self.at(directory, name);
        self.root.read_short(&self.path, &mut self.buffer).ok()
    }

    fn watch(&mut self, kind: Kind) {
        self.files.push((kind, self.path.clone()));
    }
}
