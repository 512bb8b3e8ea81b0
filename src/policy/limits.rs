//! Which limits bind a process: from the texts of `/proc/PID/cgroup`, mountinfo and the limit
//! files to one `Limits`. The reading rules are in docs/limits.md; each is named where it
//! is applied. Where nothing binds, and where that is not known, are different answers.

use crate::linux::cgroup::{self, Quota, Value, Version};
use crate::linux::mountinfo::{self, Mount, Mounts};

mod go_view;
pub use go_view::{GoReader, GoView};

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
    /// It is a mount point that mountinfo names, so it exists, whether it holds files or not.
    pub mounted: bool,
}

/// A mount that shows the hierarchy from above the top of our cgroup namespace: our cgroup is
/// below it, but nothing says under which names (rule 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distant {
    /// Where the hierarchy is mounted.
    pub point: Vec<u8>,
    /// How many levels of unknown names lie in between; never 0.
    pub down: usize,
    /// What is known of the path behind those; empty, or beginning with `/`.
    pub rest: Vec<u8>,
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
    /// Where else it can be found by looking for the process's number.
    pub distant: Vec<Distant>,
}

/// Mounts of one controller that are looked at; a container has one or two.
const CANDIDATES_MAX: usize = 8;

/// Where the files of both controllers are, cpu first, found once if they live together on v2.
#[must_use]
pub fn homes(cgroup: Option<&[u8]>, mountinfo: Option<&Mounts<'_>>) -> [Home; 2] {
    let member = |controller: Controller| {
        cgroup.and_then(|text| cgroup::membership(text, controller.name()))
    };
    let cpu = home(Controller::Cpu, cgroup, mountinfo);
    let (one, other) = (member(Controller::Cpu), member(Controller::Memory));
    let together = one == other && one.is_some_and(|(version, _)| version == Version::V2);
    let memory = if together { cpu.clone() } else { home(Controller::Memory, cgroup, mountinfo) };
    [cpu, memory]
}

/// Finds where a controller's files are (rules 1, 2 and 6). `cgroup` and `mountinfo` are the two
/// files of `/proc/PID`, or nothing if there is no such file. A `cgroup` without any line of the
/// right shape says as little as none.
#[must_use]
pub fn home(controller: Controller, cgroup: Option<&[u8]>, mountinfo: Option<&Mounts<'_>>) -> Home {
    let cgroup = cgroup.filter(|text| cgroup::has_members(text));
    let member = cgroup.map(|text| cgroup::membership(text, controller.name()));
    match (member, mountinfo) {
        (Some(None), _) => Home::default(),
        (Some(Some((version, path))), Some(mounts)) => below(controller, version, path, mounts),
        (None, Some(mounts)) => mount_points(controller, mounts),
        (Some(Some((version, path))), None) => Home {
            version: Some(version),
            assumed: true,
            candidates: usual(controller, version, path),
            distant: Vec::new(),
        },
        (None, None) => {
            // /sys/fs/cgroup is the unified hierarchy, or holds one directory per controller.
            let mut candidates = usual(controller, Version::V1, b"");
            candidates.extend(usual(controller, Version::V2, b""));
            Home { version: None, assumed: true, candidates, distant: Vec::new() }
        }
    }
}

/// Mounts that hold the process's own directory, the shortest root first: it shows most
/// ancestors.
fn below(controller: Controller, version: Version, path: &[u8], all: &Mounts<'_>) -> Home {
    let mut found: Vec<(usize, Candidate)> = Vec::new();
    let mut distant = Vec::new();
    let ours = |mount: &Mount<'_>| serves(mount, controller, version);
    let held = |mount: &Mount<'_>| within(path, &mount.root).is_some();
    let far = |mount: &Mount<'_>| above(path, &mount.root).is_some();
    let mounts = all.cgroups().iter().filter(|m| ours(m) && (held(m) || far(m)));
    for mount in mounts.take(CANDIDATES_MAX) {
        if all.covers(mount) {
            continue;
        }
        let point = mount.point.to_vec();
        if let Some(rest) = within(path, &mount.root) {
            let candidate = Candidate { point, rest: rest.to_vec(), mounted: rest.is_empty() };
            found.push((mount.root.len(), candidate));
        } else if let Some((down, rest)) = above(path, &mount.root) {
            distant.push(Distant { point, down, rest: rest.to_vec() });
        }
    }
    found.sort_by_key(|(root, _)| *root);
    let candidates = found.into_iter().map(|(_, candidate)| candidate).collect();
    Home { version: Some(version), assumed: false, candidates, distant }
}

/// The process's path below the root of a mount, if the mount shows it.
fn within<'p>(path: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    mountinfo::strip(path, root).filter(|rest| !has_parent_step(rest))
}

/// How many unknown levels down from a root like `/../..` the process's path begins, and its
/// known rest. A path may itself begin with parent steps: those are fewer unknown levels.
fn above<'p>(path: &'p [u8], root: &[u8]) -> Option<(usize, &'p [u8])> {
    let steps = root.strip_prefix(b"/")?;
    let up =
        steps.split(|b| *b == b'/').all(|step| step == b"..").then_some(steps.len().div_ceil(3));
    let mut down = up?;
    let mut rest = path;
    while let Some(after) = mountinfo::strip(rest, b"/..") {
        down = down.checked_sub(1)?;
        rest = after;
    }
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    (down > 0 && !has_parent_step(rest)).then_some((down, rest))
}

fn serves(mount: &Mount<'_>, controller: Controller, version: Version) -> bool {
    match version {
        Version::V1 => mount.is_v1_of(controller.name()),
        Version::V2 => mount.is_v2(),
    }
}

/// Without `/proc/PID/cgroup`: the mount points themselves, v1 before v2.
fn mount_points(controller: Controller, all: &Mounts<'_>) -> Home {
    for version in [Version::V1, Version::V2] {
        let candidates: Vec<_> = all
            .cgroups()
            .iter()
            .filter(|mount| serves(mount, controller, version) && !has_parent_step(&mount.root))
            .take(CANDIDATES_MAX)
            .filter(|mount| !all.covers(mount))
            .map(|mount| Candidate { point: mount.point.to_vec(), rest: Vec::new(), mounted: true })
            .collect();
        if !candidates.is_empty() {
            let version = Some(version);
            return Home { version, assumed: true, candidates, distant: Vec::new() };
        }
    }
    Home::default()
}

/// Without mountinfo: the usual places, the process's own path below them first.
fn usual(controller: Controller, version: Version, path: &[u8]) -> Vec<Candidate> {
    let points: &[&[u8]] = match (version, controller) {
        (Version::V2, _) => &[b"/sys/fs/cgroup"],
        (Version::V1, Controller::Cpu) => {
            &[b"/sys/fs/cgroup/cpu", b"/sys/fs/cgroup/cpu,cpuacct", b"/sys/fs/cgroup/cpuacct,cpu"]
        }
        (Version::V1, Controller::Memory) => &[b"/sys/fs/cgroup/memory"],
    };
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let known = !path.is_empty() && !has_parent_step(path);
    let own = points.iter().filter(|_| known).map(|point| (*point, path));
    own.chain(points.iter().map(|point| (*point, &b""[..])))
        .map(|(point, rest)| Candidate {
            point: point.to_vec(),
            rest: rest.to_vec(),
            mounted: false,
        })
        .collect()
}

fn has_parent_step(path: &[u8]) -> bool {
    path.split(|b| *b == b'/').any(|step| step == b"..")
}

impl Candidate {
    /// The process's own directory.
    #[must_use]
    pub fn directory(&self) -> Vec<u8> {
        [self.point.as_slice(), &self.rest].concat()
    }

    /// The process's directory and every one above it, up to and including the mount point
    /// (rule 3). The length of a path, at most 4,096 bytes for the kernel, bounds them.
    #[must_use]
    pub fn levels(&self) -> Vec<Vec<u8>> {
        let mut levels = Vec::new();
        let mut rest = self.rest.as_slice();
        while !rest.is_empty() {
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
    /// Found by looking for the process's number in cgroup.procs (rule 5): certain, but nobody
    /// else finds it, the Go runtime included.
    pub searched: bool,
}

impl<T> Default for Finding<T> {
    fn default() -> Self {
        Self { version: None, limit: None, undetermined: false, assumed: false, searched: false }
    }
}

/// How the cgroup of a process was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Below a mount that shows it, or not at all.
    Mount,
    /// By the process's number.
    Search,
}

/// Everything that limits a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU quota.
    pub cpu: Finding<Quota>,
    /// What Go's runtime itself would read.
    pub go: GoView,
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
    /// What was not looked at because it was too much, one sentence each.
    pub cut: Vec<String>,
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

    /// Whether a limit is another than in `other`.
    #[must_use]
    pub fn differs(&self, other: &Self) -> bool {
        self.cpu.limit != other.cpu.limit
            || self.memory.limit != other.memory.limit
            || self.memory_high != other.memory_high
            || self.affinity != other.affinity
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
    pub fn locate(&mut self, controller: Controller, home: &Home, found: Option<Way>) {
        let undetermined = home.version.is_some() && found.is_none();
        let assumed = home.assumed && found.is_some();
        let searched = found == Some(Way::Search);
        let version = home.version;
        match controller {
            Controller::Cpu => {
                self.cpu = Finding { version, limit: None, undetermined, assumed, searched };
            }
            Controller::Memory => {
                self.memory = Finding { version, limit: None, undetermined, assumed, searched };
            }
        }
    }

    /// Takes what a CPU limit file says.
    pub fn add_cpu(&mut self, level: usize, file: &str, text: &[u8], value: Value<Quota>) {
        self.note(Subject::Cpu, level, file, text, value == Value::Malformed);
        let Some(quota) = value.limit() else { return };
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

#[cfg(test)]
mod tests;
