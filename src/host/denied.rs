//! Why a process cannot be read, as a sentence that names the rule and the remedy.
//!
//! The rules are those of ptrace(2), "Ptrace access mode checking": user and group, capabilities,
//! dumpable, then the security modules. Which one it was is told from the two status files.

use crate::go::program::Refused;
use crate::linux::stat::{self, Stat};
use crate::units::Pid;
use std::fmt;
use std::fs;
use std::io;

/// Why there is no dump.
#[derive(Debug)]
pub enum Denied {
    /// There is no such process.
    Gone(Pid),
    /// It is there, and has no program: it has ended, or is a thread of the kernel.
    Bare(&'static str),
    /// The kernel refused; the sentence names the rule and the remedy.
    Permission(String),
    /// This kernel has no way to read another process.
    NoWay,
    /// A file of the process could not be used.
    File(&'static str, io::Error),
    /// It is not a program that can be read.
    Refused(Refused),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(pid) => write!(f, "there is no process {pid}"),
            Self::Bare(what) => f.write_str(what),
            Self::Permission(sentence) => f.write_str(sentence),
            Self::NoWay => f.write_str(
                "this kernel offers neither process_vm_readv nor /proc/PID/mem (gVisor?); SIGQUIT \
                 makes the program print its own dump and end",
            ),
            Self::File(name, error) => write!(f, "its {name} cannot be read: {error}"),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl Denied {
    /// What an error on /proc/PID/`name` means.
    pub(super) fn by(pid: Pid, name: &'static str, error: io::Error) -> Self {
        /// ESRCH: it ended while the file was open.
        const NO_SUCH_PROCESS: i32 = 3;
        let gone = error.raw_os_error() == Some(NO_SUCH_PROCESS);
        if error.kind() == io::ErrorKind::PermissionDenied {
            Self::Permission(rule(pid))
        } else if gone || error.kind() == io::ErrorKind::NotFound {
            Self::absent(pid, name, error)
        } else {
            Self::File(name, error)
        }
    }

    /// Why a file of a process is not there.
    fn absent(pid: Pid, name: &'static str, error: io::Error) -> Self {
        let Ok(text) = fs::read(format!("/proc/{pid}/stat")) else { return Self::Gone(pid) };
        let state = Stat::parse(&text).map_or('?', |stat| stat.state);
        if matches!(state, 'Z' | 'X' | 'x') {
            return Self::Bare("it has ended, and its parent has not collected it yet");
        }
        match name {
            "exe" => Self::Bare("it is a thread of the kernel, or its executable is hidden"),
            "memory" => Self::NoWay,
            _ => Self::File(name, error),
        }
    }
}

/// Which rule forbids this goinit to read `pid`, and the remedy.
fn rule(pid: Pid) -> String {
    let own = fs::read("/proc/self/status").unwrap_or_default();
    let Ok(other) = fs::read(format!("/proc/{pid}/status")) else {
        return format!("/proc/{pid} is hidden (hidepid): run goinit as its user");
    };
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    explain(&own, &other, yama.as_deref().map(str::trim))
}

/// The rule by which a process with the status `own` may not read one with the status `other`
/// (Documentation/admin-guide/LSM/Yama.rst for `yama`).
fn explain(own: &[u8], other: &[u8], yama: Option<&str>) -> String {
    let effective = |status: &[u8], name| stat::ids(status, name).map_or(0, |[_, id, ..]| id);
    let differs = |name| {
        let own = effective(own, name);
        let [real, effective, saved, _] = stat::ids(other, name).unwrap_or([own; 4]);
        [real, effective, saved].iter().any(|id| *id != own)
    };
    let (user, me) = (effective(other, "Uid"), effective(own, "Uid"));
    if differs("Uid") && user != me {
        return format!(
            "it runs as user {user} and this goinit as user {me}: run it as user {user}, or add \
             CAP_SYS_PTRACE"
        );
    }
    if differs("Uid") {
        return "its real, effective and saved user differ (a set-user-ID program): add \
                CAP_SYS_PTRACE"
            .to_owned();
    }
    if differs("Gid") {
        let group = effective(other, "Gid");
        return format!(
            "it runs as group {group} and this goinit as group {}: run goinit with that group, or \
             add CAP_SYS_PTRACE",
            effective(own, "Gid")
        );
    }
    if stat::capabilities(other) & !stat::capabilities(own) != 0 {
        return "it has capabilities that this goinit lacks: start it with no_new_privs \
                (allowPrivilegeEscalation: false), or give goinit the same or CAP_SYS_PTRACE"
            .to_owned();
    }
    match yama {
        Some("1") => "kernel.yama.ptrace_scope is 1 and it is no descendant of this goinit: start \
                      it under goinit, or add CAP_SYS_PTRACE"
            .to_owned(),
        Some("2") => "kernel.yama.ptrace_scope is 2: add CAP_SYS_PTRACE".to_owned(),
        Some("3") => "kernel.yama.ptrace_scope is 3, which forbids reading until the next boot; \
                      SIGQUIT makes the program print its own dump and end"
            .to_owned(),
        _ => "it is not dumpable (its executable is not readable, or it called setuid or \
              prctl(PR_SET_DUMPABLE)), or a sandbox (seccomp, AppArmor, SELinux) forbids it: add \
              CAP_SYS_PTRACE, or start it under goinit, which opens its memory in time"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(user: &str, group: &str, capabilities: &str) -> Vec<u8> {
        format!("Name:\tx\nUid:\t{user}\nGid:\t{group}\nCapPrm:\t{capabilities}\n").into_bytes()
    }

    #[test]
    fn every_rule_is_named_with_its_remedy() {
        let me = status("1000\t1000\t1000\t1000", "1000\t1000\t1000\t1000", "0000000000000000");
        let check = |other: &[u8], yama: Option<&str>, words: [&str; 2]| {
            let why = explain(&me, other, yama);
            assert!(words.iter().all(|word| why.contains(word)), "{why}");
        };
        let other = |user: &str, group: &str, capabilities: &str| {
            status(&[user; 4].join("\t"), &[group; 4].join("\t"), capabilities)
        };
        let same = other("1000", "1000", "0");
        check(&other("65532", "65532", "0"), None, ["as user 65532", "CAP_SYS_PTRACE"]);
        check(&other("1000", "7", "0"), None, ["as group 7", "with that group"]);
        check(&status("1000\t1000\t0\t1000", "1000", "0"), None, ["set-user-ID", "CAP_SYS_PTRACE"]);
        check(&other("1000", "1000", "400"), None, ["capabilities", "no_new_privs"]);
        check(&same, Some("1"), ["ptrace_scope is 1", "under goinit"]);
        check(&same, Some("2"), ["ptrace_scope is 2", "CAP_SYS_PTRACE"]);
        check(&same, Some("3"), ["ptrace_scope is 3", "SIGQUIT"]);
        check(&same, Some("0"), ["not dumpable", "seccomp"]);
        check(&same, None, ["AppArmor", "under goinit"]);
    }

    #[test]
    fn a_status_file_of_garbage_still_gives_a_sentence() {
        assert!(explain(b"\xff", b"Uid:\nGid:\tx\n", None).contains("not dumpable"));
    }
}
