//! What a process gives up before it looks at foreign data: memory, descriptors, time,
//! privileges. The descriptors that it was started with. And what the machine gives it: CPUs and
//! memory.

#![expect(
    unsafe_code,
    reason = "adopting an inherited descriptor; kill with signal 0; masks of any length"
)]

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

/// A flag of open(2): return at once, also for a FIFO without a writer.
pub const AT_ONCE: i32 = libc::O_NONBLOCK;

/// Longest mask of CPUs that is asked for: 8,192 CPUs, as the Go runtime does (getCPUCount).
const MASK_BYTES: usize = 1024;

/// How many CPUs a process may run on, see sched_getaffinity(2); our own for process 0. Unlike
/// `Cpus_allowed_list` it does not count CPUs that could be plugged in.
#[must_use]
pub fn cpus(pid: Pid) -> Option<u32> {
    let mut mask = [0u8; MASK_BYTES];
    // SAFETY: the kernel writes at most MASK_BYTES into the mask.
    let count =
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, pid.0, MASK_BYTES, mask.as_mut_ptr()) };
    let mask = mask.get(..usize::try_from(count).ok()?)?;
    Some(mask.iter().map(|byte| byte.count_ones()).sum()).filter(|cpus| *cpus > 0)
}

/// The machine's memory, bytes, as `MemTotal` of /proc/meminfo; but lxcfs puts the container's
/// limit there, and then every limit would seem to be as large as the machine.
#[must_use]
pub fn machine_memory() -> Option<u64> {
    let info = nix::sys::sysinfo::sysinfo().ok()?;
    Some(info.ram_total()).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_proc_tells() {
        let status = std::fs::read("/proc/self/status").unwrap();
        let allowed = crate::linux::cgroup::allowed_cpus(&status).unwrap();
        let cpus = cpus(Pid(0)).unwrap();
        assert!(cpus > 0 && cpus <= allowed, "{cpus} of {allowed}");
        let meminfo = std::fs::read("/proc/meminfo").unwrap();
        let total = crate::linux::cgroup::machine_memory(&meminfo).unwrap();
        assert_eq!(machine_memory(), Some(total));
    }
}
