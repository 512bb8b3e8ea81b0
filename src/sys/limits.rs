//! What a process gives up before it looks at foreign data: memory, descriptors, time,
//! privileges. And the descriptors that it was started with.

#![expect(unsafe_code, reason = "adopting an inherited descriptor; kill with signal 0")]

use crate::units::Pid;
use nix::sys::resource::{Resource, setrlimit};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// A limit of the own process, see setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Address space, bytes; mapped files count.
    AddressSpace,
    /// Private writable memory, bytes.
    Data,
    /// Open descriptors.
    Descriptors,
    /// CPU time, seconds.
    CpuSeconds,
    /// Size of a core dump, bytes.
    Core,
}

/// Lowers a limit for good.
///
/// # Errors
/// EPERM when it is already lower.
pub fn lower(limit: Limit, value: u64) -> io::Result<()> {
    let resource = match limit {
        Limit::AddressSpace => Resource::RLIMIT_AS,
        Limit::Data => Resource::RLIMIT_DATA,
        Limit::Descriptors => Resource::RLIMIT_NOFILE,
        Limit::CpuSeconds => Resource::RLIMIT_CPU,
        Limit::Core => Resource::RLIMIT_CORE,
    };
    Ok(setrlimit(resource, value, value)?)
}

/// Our effective user number.
#[must_use]
pub fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Our effective group number.
#[must_use]
pub fn group() -> u32 {
    nix::unistd::getegid().as_raw()
}

/// Becomes another user for good: supplementary groups, then group, then user, real, effective
/// and saved.
///
/// # Errors
/// EPERM without CAP_SETGID and CAP_SETUID.
pub fn become_user(user: u32, group: u32, groups: &[u32]) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(group));
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// Takes over a descriptor that we were started with, named by number; nothing if it is closed
/// or one of the first three.
#[must_use]
pub fn inherited(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl with numbers on any descriptor, open or not.
    let open = fd > 2 && unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } != -1;
    // SAFETY: it is open, and whoever started us named it for us alone; asked for once.
    open.then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether a process of that number exists, ended but not reaped ones included.
#[must_use]
pub fn exists(pid: Pid) -> bool {
    // SAFETY: kill with signal 0 sends nothing.
    pid.0 > 0
        && (unsafe { libc::kill(pid.0, 0) } == 0
            || io::Error::last_os_error().raw_os_error() == Some(libc::EPERM))
}
