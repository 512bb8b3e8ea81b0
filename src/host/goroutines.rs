//! A whole look at the goroutines of a live process: executable, load address, memory, walk.
//!
//! Sends no signal and stops nothing. Whoever calls this bounds its time with the deadline and
//! runs it where a stuck kernel lock hurts nobody.

use super::memory::Live;
use crate::go::elf::Elf;
use crate::go::goroutine::Dump;
use crate::go::image::Image;
use crate::go::program::{Program, Refused};
use crate::go::summary::Summary;
use crate::go::walk::Walker;
use crate::sys::{clock, vm::Mapped};
use crate::units::{Mono, Pid};
use std::fmt;
use std::fs::{self, File};
use std::io;

/// Tag of the entry address in the auxiliary vector (getauxval(3)).
const AT_ENTRY: u64 = 9;

/// How to reach a process's memory.
#[derive(Debug)]
pub struct Access {
    /// The process.
    pub pid: Pid,
    /// Its `/proc/PID/mem`, if it was opened earlier.
    pub memory: Option<File>,
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
    let denied = |name, error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Denied::Gone(pid),
        io::ErrorKind::PermissionDenied => Denied::Permission(rule(pid)),
        _ => Denied::File(name, error),
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
    walker.find_holders(&expired);
    Ok(walker.finish())
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
