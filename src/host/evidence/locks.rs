//! File locks: what the program waits for and who holds it; what it holds while others wait.

use super::descriptors::Descriptors;
use super::proc::{Program, SMALL};
use crate::linux::locks::{self, Entry};
use crate::policy::evidence::{Lock, LockKind, Thread, Why};
use crate::units::Pid;

/// The most locks that are listed.
const LIMIT: usize = 32;
/// The most of /proc/locks that is read.
const TABLE: usize = 1024 * 1024;

/// The locks that matter, and how many were left out. `family` is the program and its
/// descendants.
pub(super) fn read(
    program: &Program,
    family: &[Pid],
    threads: &[Thread],
    descriptors: &Descriptors,
) -> Result<(Vec<Lock>, u64), Why> {
    let text = program.read_at("/proc/locks", TABLE);
    let entries: Vec<Entry> = locks::entries(text.as_deref().unwrap_or_default()).collect();
    let ours = |pid: i32| family.contains(&Pid(pid));
    let holder_is_ours = |entry: &Entry| {
        entries.iter().any(|other| !other.waiting && other.id == entry.id && ours(other.pid))
    };
    let waits = locks::waits(&entries, |entry| ours(entry.pid) || holder_is_ours(entry));
    let mut found: Vec<Lock> = Vec::new();
    for (waiter, holder) in waits {
        let holder = holder.map(|entry| entry.pid).filter(|pid| *pid > 0).map(Pid);
        let mut lock = Lock {
            kind: kind(&waiter.class),
            exclusive: waiter.exclusive,
            waiter: Pid(waiter.pid),
            holder,
            holder_name: holder.and_then(|pid| name(program, pid)),
            path: None,
            inode: waiter.inode,
        };
        if waiter.pid == program.pid.0 || holder == Some(program.pid) {
            lock.path = descriptors.path_of_inode(waiter.inode, program);
        }
        found.push(lock);
    }
    name_by_calls(&mut found, program, threads);
    if found.is_empty() {
        // Nobody seen to wait, but was the table there to be seen?
        text?;
    }
    let left_out = u64::try_from(found.len().saturating_sub(LIMIT)).unwrap_or(0);
    found.truncate(LIMIT);
    Ok((found, left_out))
}

/// Threads that are blocked in flock or fcntl tell the path where the table gives only an
/// inode; and a lock that the table does not show (its holder lives in another PID namespace, so
/// the kernel hides both) is known from the call alone.
fn name_by_calls(found: &mut Vec<Lock>, program: &Program, threads: &[Thread]) {
    for thread in threads {
        let Some(Some(call)) = thread.syscall.got() else { continue };
        let kind = match call.name.as_str() {
            "flock" => LockKind::Flock,
            "fcntl" if call.text.contains("F_OFD_SETLKW") => LockKind::Ofd,
            "fcntl" if call.text.contains("F_SETLKW") => LockKind::Posix,
            _ => continue,
        };
        let path = call.target.as_ref().map(|target| target.path.clone());
        let same = found.iter_mut().find(|lock| {
            lock.waiter == program.pid
                && lock.kind == kind
                && (lock.path.is_none() || lock.path == path)
        });
        match same {
            Some(lock) => lock.path = path,
            None => found.push(Lock {
                kind,
                exclusive: !call.text.contains("LOCK_SH"),
                waiter: program.pid,
                path,
                ..Lock::default()
            }),
        }
    }
}

fn kind(class: &str) -> LockKind {
    match class {
        "FLOCK" => LockKind::Flock,
        "POSIX" => LockKind::Posix,
        "OFDLCK" => LockKind::Ofd,
        "LEASE" | "DELEG" => LockKind::Lease,
        _ => LockKind::Other,
    }
}

fn name(program: &Program, pid: Pid) -> Option<String> {
    let text = program.read_at(&format!("/proc/{pid}/comm"), SMALL).ok()?;
    let name = String::from_utf8_lossy(&text).trim_end().to_owned();
    (!name.is_empty()).then_some(name)
}
