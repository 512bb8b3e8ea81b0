//! Which limits bind a process: from the texts of `/proc/PID/cgroup`, mountinfo and the limit
//! files to one `Limits`. The eight reading rules are in ARCHITECTURE.md; each is named where it
//! is applied. Where nothing binds, and where that is not known, are different answers.

use crate::linux::cgroup::{self, Quota, Value, Version};
use crate::linux::mountinfo::{self, Mount};

/// The two controllers that limit what goinit sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Memory.
    Memory,
}

impl Controller {
    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// A directory in which a process's cgroup may be visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where the hierarchy is mounted.
    pub point: Vec<u8>,
    /// The process's cgroup below that; empty, or beginning with `/`.
    pub rest: Vec<u8>,
    /// Whether the mount shows the hierarchy from the top of our namespace. If not, it is a bind
    /// mount of a part, which Go 1.25 gets wrong (golang/go#76390).
    pub whole: bool,
}

/// Where the files of a controller are to be looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// Version of the hierarchy that has the controller; nothing if none has it.
    pub version: Option<Version>,
    /// Found only by assuming (rule 6): no `/proc/PID/cgroup`, or no mountinfo.
    pub assumed: bool,
    /// Possible directories, best first. The first that exists is right; if none does, the
    /// process's cgroup is undetermined (rule 5).
    pub candidates: Vec<Candidate>,
}

/// Finds where a controller's files are (rules 1, 2 and 6). `cgroup` and `mountinfo` are the two
/// files of `/proc/PID`, or nothing if there is no such file.
#[must_use]
pub fn home(controller: Controller, cgroup: Option<&[u8]>, mountinfo: Option<&[u8]>) -> Home {
    let member = cgroup.map(|text| cgroup::membership(text, controller.name()));
    match (member, mountinfo) {
        (Some(None), _) => Home::default(),
        (Some(Some((version, path))), Some(mounts)) => Home {
            version: Some(version),
            assumed: false,
            candidates: below(controller, version, path, mounts),
        },
        (None, Some(mounts)) => mount_points(controller, mounts),
        (Some(Some((version, _))), None) => {
            let candidates = vec![candidate(default_point(controller, version), b"")];
            Home { version: Some(version), assumed: true, candidates }
        }
        (None, None) => {
            // /sys/fs/cgroup is the unified hierarchy, or holds one directory per controller.
            let v1 = candidate(default_point(controller, Version::V1), b"");
            let v2 = candidate(default_point(controller, Version::V2), b"");
            Home { version: None, assumed: true, candidates: vec![v1, v2] }
        }
    }
}

/// Mounts that hold the process's own directory, the shortest root first: it shows most
/// ancestors.
fn below(controller: Controller, version: Version, path: &[u8], text: &[u8]) -> Vec<Candidate> {
    let mut found: Vec<(usize, Candidate)> = Vec::new();
    for mount in mountinfo::mounts(text).filter(|mount| serves(mount, controller, version)) {
        let Some(rest) = mountinfo::strip(path, &mount.root) else { continue };
        if has_parent_step(rest) || mountinfo::is_covered(text, &mount) {
            continue;
        }
        let whole = &*mount.root == b"/";
        let candidate = Candidate { point: mount.point.to_vec(), rest: rest.to_vec(), whole };
        found.push((mount.root.len(), candidate));
    }
    found.sort_by_key(|(root, _)| *root);
    found.into_iter().map(|(_, candidate)| candidate).collect()
}

fn serves(mount: &Mount<'_>, controller: Controller, version: Version) -> bool {
    match version {
        Version::V1 => mount.is_v1_of(controller.name()),
        Version::V2 => mount.is_v2(),
    }
}

/// Without `/proc/PID/cgroup`: the mount points themselves, v1 before v2.
fn mount_points(controller: Controller, text: &[u8]) -> Home {
    for version in [Version::V1, Version::V2] {
        let candidates: Vec<_> = mountinfo::mounts(text)
            .filter(|mount| serves(mount, controller, version))
            .filter(|mount| !has_parent_step(&mount.root) && !mountinfo::is_covered(text, mount))
            .map(|mount| candidate(&mount.point, b""))
            .collect();
        if !candidates.is_empty() {
            return Home { version: Some(version), assumed: true, candidates };
        }
    }
    Home::default()
}

fn candidate(point: &[u8], rest: &[u8]) -> Candidate {
    Candidate { point: point.to_vec(), rest: rest.to_vec(), whole: true }
}

fn default_point(controller: Controller, version: Version) -> &'static [u8] {
    match (version, controller) {
        (Version::V2, _) => b"/sys/fs/cgroup",
        (Version::V1, Controller::Cpu) => b"/sys/fs/cgroup/cpu",
        (Version::V1, Controller::Memory) => b"/sys/fs/cgroup/memory",
    }
}

fn has_parent_step(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|step| step == b"..")
}

/// How many levels of cgroups are read; deeper ones would be counted as undetermined ancestors.
pub const LEVELS_MAX: usize = 32;

impl Candidate {
    /// The process's directory and every one above it, up to and including the mount point
    /// (rule 3), at most `LEVELS_MAX`; the mount point is always among them.
    #[must_use]
    pub fn levels(&self) -> Vec<Vec<u8>> {
        let mut levels = Vec::new();
        let mut rest = self.rest.as_slice();
        while !rest.is_empty() && levels.len() + 1 < LEVELS_MAX {
            levels.push([self.point.as_slice(), rest].concat());
            let cut = rest.iter().rposition(|b| *b == b'/').unwrap_or(0);
            rest = rest.get(..cut).unwrap_or_default();
        }
        levels.push(self.point.clone());
        levels
    }
}

/// What a limit file limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// CPU time.
    Cpu,
    /// Memory, hard.
    Memory,
    /// Memory, above which the kernel slows the program down and reclaims (v2).
    MemoryHigh,
}

/// One limit file that was read, for people who ask where a number comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it limits.
    pub subject: Subject,
    /// Its path.
    pub file: String,
    /// What it says, cut after 64 bytes; for v1 CPU quota and period together.
    pub text: String,
    /// 0 is the process's own cgroup, 1 its parent, and so on.
    pub level: usize,
    /// Whether it could be understood.
    pub malformed: bool,
}

/// A limit and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound<T> {
    /// The limit.
    pub value: T,
    /// The file that says so.
    pub file: String,
    /// 0 is the process's own cgroup, 1 its parent, and so on.
    pub level: usize,
}

/// What is known about one controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding<T> {
    /// Version of the hierarchy; nothing if no hierarchy has the controller.
    pub version: Option<Version>,
    /// The smallest limit that can be seen.
    pub limit: Option<Bound<T>>,
    /// A cgroup exists but its files cannot be found: unknown, not unlimited.
    pub undetermined: bool,
    /// Found only by assuming that the usual place is ours.
    pub assumed: bool,
    /// Whether the hierarchy is mounted as a whole, not as a bind mount of a part.
    pub whole_mount: bool,
}

impl<T> Default for Finding<T> {
    fn default() -> Self {
        Self { version: None, limit: None, undetermined: false, assumed: false, whole_mount: true }
    }
}

/// Everything that limits a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU quota.
    pub cpu: Finding<Quota>,
    /// What the process's own cgroup says about CPU, whatever its ancestors say: all that Go's
    /// runtime looks at.
    pub cpu_own: Option<Quota>,
    /// Hard memory limit, bytes.
    pub memory: Finding<u64>,
    /// Smallest memory.high, bytes (v2).
    pub memory_high: Option<Bound<u64>>,
    /// CPUs the process may run on.
    pub affinity: Option<u32>,
    /// The machine's memory, bytes.
    pub machine_memory: Option<u64>,
    /// Every limit file that was read.
    pub sources: Vec<Source>,
}

impl Limits {
    /// Whether any controller's cgroup exists but cannot be found.
    #[must_use]
    pub fn undetermined(&self) -> bool {
        self.cpu.undetermined || self.memory.undetermined
    }

    /// Whether any controller was found only by assuming.
    #[must_use]
    pub fn assumed(&self) -> bool {
        self.cpu.assumed || self.memory.assumed
    }

    /// Files that could not be understood.
    pub fn malformed(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|source| source.malformed)
    }

    /// The hard memory limit if it can bind at all: one above the machine's memory never does.
    #[must_use]
    pub fn binding_memory(&self) -> Option<&Bound<u64>> {
        self.memory.limit.as_ref().filter(|limit| self.binds(limit.value))
    }

    /// Whether a number of bytes is less than the machine has.
    #[must_use]
    pub fn binds(&self, bytes: u64) -> bool {
        self.machine_memory.is_none_or(|machine| bytes < machine)
    }

    /// Notes where a controller was found.
    pub fn locate(&mut self, controller: Controller, home: &Home, chosen: Option<&Candidate>) {
        let undetermined = home.version.is_some() && chosen.is_none();
        let whole_mount = chosen.is_none_or(|candidate| candidate.whole);
        let assumed = home.assumed && chosen.is_some();
        let version = home.version;
        match controller {
            Controller::Cpu => {
                self.cpu = Finding { version, limit: None, undetermined, assumed, whole_mount };
            }
            Controller::Memory => {
                self.memory = Finding { version, limit: None, undetermined, assumed, whole_mount };
            }
        }
    }

    /// Takes what a CPU limit file says.
    pub fn add_cpu(&mut self, level: usize, file: &str, text: &[u8], value: Value<Quota>) {
        self.note(Subject::Cpu, level, file, text, value == Value::Malformed);
        let Some(quota) = value.limit() else { return };
        if level == 0 {
            self.cpu_own = Some(quota);
        }
        lower(&mut self.cpu.limit, quota, file, level);
    }

    /// Takes what a memory limit file says.
    pub fn add_memory(&mut self, level: usize, file: &str, text: &[u8], value: Value<u64>) {
        self.note(Subject::Memory, level, file, text, value == Value::Malformed);
        let Some(bytes) = value.limit() else { return };
        lower(&mut self.memory.limit, bytes, file, level);
    }

    /// Takes what a memory.high says.
    pub fn add_memory_high(&mut self, level: usize, file: &str, text: &[u8], value: Value<u64>) {
        self.note(Subject::MemoryHigh, level, file, text, value == Value::Malformed);
        let Some(bytes) = value.limit() else { return };
        lower(&mut self.memory_high, bytes, file, level);
    }

    fn note(&mut self, subject: Subject, level: usize, file: &str, text: &[u8], malformed: bool) {
        let text = text.trim_ascii();
        let cut = text.get(..64).unwrap_or(text);
        self.sources.push(Source {
            subject,
            file: file.to_owned(),
            text: String::from_utf8_lossy(cut).into_owned(),
            level,
            malformed,
        });
    }
}

/// Keeps the smaller limit; of two equal ones the first, which is the closer.
fn lower<T: PartialOrd>(limit: &mut Option<Bound<T>>, value: T, file: &str, level: usize) {
    if limit.as_ref().is_none_or(|known| value < known.value) {
        *limit = Some(Bound { value, file: file.to_owned(), level });
    }
}
