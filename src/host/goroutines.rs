//! A whole look at the goroutines of a live process: executable, load address, memory, walk.
//!
//! Sends no signal and stops nothing. Whoever calls this bounds its time with the deadline and
//! runs it where a stuck kernel lock hurts nobody.

use super::memory::Live;
use super::running;
use crate::go::element;
use crate::go::elf::Elf;
use crate::go::goroutine::{Dump, Wait};
use crate::go::image::Image;
use crate::go::program::{Program, Refused};
use crate::go::summary::Summary;
use crate::go::walk::Walker;
use crate::linux::sockets;
use crate::sys::{clock, vm::Mapped};
use crate::units::{Mono, Pid};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};

/// Tag of the entry address in the auxiliary vector (getauxval(3)).
const AT_ENTRY: u64 = 9;

/// How to reach a process's memory.
#[derive(Debug)]
pub struct Access {
    /// The process.
    pub pid: Pid,
    /// Its `/proc/PID/mem`, if it was opened earlier.
    pub memory: Option<File>,
    /// Also read goroutines that are on a CPU: stops the thread of each for a moment. Not for a
    /// process that reaps children: its waits would take the stops.
    pub running: bool,
}

/// Why there is no dump.
#[derive(Debug)]
pub enum Denied {
    /// There is no such process.
    Gone(Pid),
    /// The kernel refused; the sentence names the rule and the remedy.
    Permission(String),
    /// A file of the process could not be used.
    File(&'static str, io::Error),
    /// It is not a program that can be read.
    Refused(Refused),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(pid) => write!(f, "there is no process {pid}"),
            Self::Permission(sentence) => f.write_str(sentence),
            Self::File(name, error) => write!(f, "its {name} cannot be read: {error}"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

/// Reads all goroutines of a process, until `deadline`.
///
/// # Errors
/// Why there is no dump, as a fragment that fits after "cannot read …: ".
pub fn read(access: Access, deadline: Mono) -> Result<Dump, Denied> {
    let pid = access.pid;
    let denied = |name, error: io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            Denied::Gone(pid)
        } else if error.kind() == io::ErrorKind::PermissionDenied {
            Denied::Permission(rule(pid))
        } else {
            Denied::File(name, error)
        }
    };
    let exe = File::open(format!("/proc/{pid}/exe")).map_err(|error| denied("exe", error))?;
    let mapped = Mapped::of(&exe).map_err(|error| denied("executable", error))?;
    let file = mapped.bytes();
    let elf = Elf::read(&file).map_err(|_| Denied::Refused(Refused::NotGo))?;
    let auxv = fs::read(format!("/proc/{pid}/auxv")).map_err(|error| denied("auxv", error))?;
    let entry = entry(&auxv).unwrap_or(elf.entry);
    let bias = if elf.relocatable { entry.wrapping_sub(elf.entry) } else { 0 };
    let image = Image::of_file(&elf, file, bias).ok_or(Denied::Refused(Refused::NotGo))?;
    let memory = Live::new(pid, access.memory);
    memory.probe(entry).map_err(|error| denied("memory", error))?;
    let program = Program::locate(image, &memory).map_err(Denied::Refused)?;
    let expired = || clock::mono() >= deadline;
    let mut walker = Walker::new(&program, &memory);
    walker.read(&expired);
    if access.running {
        running::add_stacks(pid, &mut walker, deadline);
    }
    walker.find_holders(&expired);
    let mut dump = walker.finish();
    dump.elements = element::names(&memory, &program, dump.channels.keys().copied());
    describe_descriptors(pid, &mut dump);
    describe_threads(pid, &mut dump);
    Ok(dump)
}

/// Descriptors, and threads, described at most.
const DESCRIBED: usize = 256;

fn describe_descriptors(pid: Pid, dump: &mut Dump) {
    let waits = dump.goroutines.iter().flat_map(|goroutine| &goroutine.waits);
    let mut numbers: Vec<u32> = waits
        .filter_map(|wait| if let Wait::Poll { fd, .. } = wait { Some(*fd) } else { None })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.truncate(DESCRIBED);
    if numbers.is_empty() {
        return;
    }
    let table = |name: &str| {
        // Large tables are cut: a machine may have a million sockets.
        let mut text = String::new();
        let file = File::open(format!("/proc/{pid}/net/{name}"));
        let _ = file.map(|file| file.take(4 << 20).read_to_string(&mut text));
        text
    };
    let tables = [("tcp", table("tcp")), ("tcp6", table("tcp6")), ("unix", table("unix"))];
    for fd in numbers {
        let Ok(target) = fs::read_link(format!("/proc/{pid}/fd/{fd}")) else { continue };
        let target = target.to_string_lossy().into_owned();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        let socket = inode.and_then(|inode| {
            tables.iter().find_map(|(name, text)| sockets::describe(name, text, inode))
        });
        dump.descriptors.insert(fd, socket.unwrap_or(target));
    }
}

fn describe_threads(pid: Pid, dump: &mut Dump) {
    let on_thread = dump.goroutines.iter().filter(|goroutine| goroutine.thread != 0);
    let threads: Vec<u32> = on_thread.map(|goroutine| goroutine.thread).take(DESCRIBED).collect();
    for thread in threads {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/task/{thread}/syscall")) else {
            continue;
        };
        let mut words = text.split_whitespace();
        let what = match (words.next(), words.next()) {
            (Some("running") | None, _) => ", on a CPU".to_owned(),
            (Some("-1"), _) => ", blocked outside a system call".to_owned(),
            (Some(number), first) => {
                format!(", in system call {number}, first argument {}", first.unwrap_or("unknown"))
            }
        };
        dump.threads.insert(thread, what);
    }
}

/// What the evidence of a hang needs of all goroutines.
///
/// # Errors
/// As [`read`].
pub fn summary(access: Access, deadline: Mono) -> Result<Summary, Denied> {
    read(access, deadline).map(|dump| Summary::of(&dump, clock::mono().0))
}

fn entry(auxv: &[u8]) -> Option<u64> {
    let word = |bytes: &[u8], at| crate::go::bytes::u64_at(bytes, at);
    auxv.chunks_exact(16).find(|pair| word(pair, 0) == Some(AT_ENTRY)).and_then(|it| word(it, 8))
}

/// Which rule of ptrace(2), "Ptrace access mode checking", forbids reading, and the remedy.
fn rule(pid: Pid) -> String {
    let status = |who: &str| fs::read_to_string(format!("/proc/{who}/status")).unwrap_or_default();
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let (own, other) = (status("self"), status(&pid.to_string()));
    if other.is_empty() {
        return format!("there is no process {pid}");
    }
    let effective = |status: &str| field(status, "Uid:").get(1).cloned().unwrap_or_default();
    let me = effective(&own);
    if field(&other, "Uid:").iter().take(3).any(|uid| *uid != me) {
        let uid = effective(&other);
        return format!(
            "it runs as user {uid} and this goinit as user {me}: run it as user {uid}, or add \
             CAP_SYS_PTRACE"
        );
    }
    let group = |status: &str| field(status, "Gid:").get(1).cloned().unwrap_or_default();
    if field(&other, "Gid:").iter().take(3).any(|gid| *gid != group(&own)) {
        let gid = group(&other);
        return format!(
            "it runs as group {gid}: run goinit with that group, or add CAP_SYS_PTRACE"
        );
    }
    let capabilities = |status: &str| {
        let hex = field(status, "CapPrm:").first().cloned().unwrap_or_default();
        u64::from_str_radix(&hex, 16).unwrap_or(0)
    };
    if capabilities(&other) & !capabilities(&own) != 0 {
        return "it has capabilities that this goinit lacks: start it with no_new_privs \
                (allowPrivilegeEscalation: false), or give goinit the same or CAP_SYS_PTRACE"
            .to_owned();
    }
    match fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").as_deref().map(str::trim) {
        Ok("1") => {
            "kernel.yama.ptrace_scope is 1 and it is no descendant of this goinit: start it \
                    under goinit, or add CAP_SYS_PTRACE"
                .to_owned()
        }
        Ok("2") => "kernel.yama.ptrace_scope is 2: add CAP_SYS_PTRACE".to_owned(),
        Ok("3") => "kernel.yama.ptrace_scope is 3, which forbids reading until the next boot; \
                    SIGQUIT makes the program print its own dump and end"
            .to_owned(),
        _ => "it is not dumpable (its executable is not readable, or it called setuid or \
              prctl(PR_SET_DUMPABLE)), or a sandbox (seccomp, AppArmor, SELinux) forbids it: add \
              CAP_SYS_PTRACE, or start it under goinit, which opens its memory in time"
            .to_owned(),
    }
}
