//! Arguments of the calls in which threads block: one line a call.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    /// A descriptor.
    Fd,
    /// An `int`.
    Int,
    /// A length or count.
    Size,
    /// Milliseconds; negative = for ever.
    Ms,
    /// A pointer that is not followed.
    Ptr,
    /// A pointer to a path.
    Path,
    /// A pointer to a socket address; its length is the next argument.
    SockAddr,
    /// A pointer to a `timespec`: how long at most.
    Relative,
    /// A pointer to a `timeval`: how long at most.
    RelativeMicros,
    /// The address of a futex.
    Futex,
    /// What to do with it.
    FutexOp,
    /// A pointer to `pollfd`s; their count is the next argument.
    WatchedFds,
    /// How many descriptors are watched.
    Count,
    /// The pid of wait4.
    WaitPid,
    /// The id type of waitid; the id is the next argument.
    IdType,
    /// The operation of flock.
    Flock,
    /// The command of fcntl.
    Fcntl,
    /// The flags of open.
    OpenFlags,
    /// A clock.
    Clock,
}

use Arg::{
    Clock, Count, Fcntl, Fd, Flock, Futex, FutexOp, IdType, Int, Ms, OpenFlags, Path, Ptr,
    Relative, RelativeMicros, Size, SockAddr, WaitPid, WatchedFds,
};

/// Each call with its arguments. Those behind the last interesting one are left out where they
/// are flags that nobody waits for.
const SIGNATURES: &[(&str, &[Arg])] = &[
    ("read", &[Fd, Ptr, Size]),
    ("write", &[Fd, Ptr, Size]),
    ("pread64", &[Fd, Ptr, Size, Size]),
    ("pwrite64", &[Fd, Ptr, Size, Size]),
    ("readv", &[Fd, Ptr, Size]),
    ("writev", &[Fd, Ptr, Size]),
    ("preadv", &[Fd, Ptr, Size, Size]),
    ("pwritev", &[Fd, Ptr, Size, Size]),
    ("recvfrom", &[Fd, Ptr, Size, Int]),
    ("recvmsg", &[Fd, Ptr, Int]),
    ("recvmmsg", &[Fd, Ptr, Size, Int, Relative]),
    ("sendto", &[Fd, Ptr, Size, Int, SockAddr, Size]),
    ("sendmsg", &[Fd, Ptr, Int]),
    ("sendmmsg", &[Fd, Ptr, Size, Int]),
    ("connect", &[Fd, SockAddr, Size]),
    ("accept", &[Fd, Ptr, Ptr]),
    ("accept4", &[Fd, Ptr, Ptr, Int]),
    ("shutdown", &[Fd, Int]),
    ("poll", &[WatchedFds, Count, Ms]),
    ("ppoll", &[WatchedFds, Count, Relative, Ptr]),
    ("select", &[Count, Ptr, Ptr, Ptr, RelativeMicros]),
    ("pselect6", &[Count, Ptr, Ptr, Ptr, Relative, Ptr]),
    ("epoll_wait", &[Fd, Ptr, Size, Ms]),
    ("epoll_pwait", &[Fd, Ptr, Size, Ms, Ptr]),
    ("epoll_pwait2", &[Fd, Ptr, Size, Relative, Ptr]),
    ("futex", &[Futex, FutexOp, Int, Ptr]),
    ("futex_wait", &[Futex, Size, Size, Int, Ptr, Clock]),
    ("flock", &[Fd, Flock]),
    ("fcntl", &[Fd, Fcntl, Ptr]),
    ("ioctl", &[Fd, Ptr, Ptr]),
    ("wait4", &[WaitPid, Ptr, Int, Ptr]),
    ("waitid", &[IdType, Int, Ptr, Int]),
    ("open", &[Path, OpenFlags]),
    ("openat", &[Fd, Path, OpenFlags]),
    ("openat2", &[Fd, Path, Ptr, Size]),
    ("close", &[Fd]),
    ("stat", &[Path, Ptr]),
    ("newfstatat", &[Fd, Path, Ptr, Int]),
    ("statx", &[Fd, Path, Int, Int, Ptr]),
    ("unlinkat", &[Fd, Path, Int]),
    ("renameat", &[Fd, Path, Fd, Path]),
    ("execve", &[Path, Ptr, Ptr]),
    ("nanosleep", &[Relative, Ptr]),
    ("clock_nanosleep", &[Clock, Int, Relative, Ptr]),
    ("fsync", &[Fd]),
    ("fdatasync", &[Fd]),
    ("sync_file_range", &[Fd, Size, Size, Int]),
    ("fallocate", &[Fd, Int, Size, Size]),
    ("ftruncate", &[Fd, Size]),
    ("getdents64", &[Fd, Ptr, Size]),
    ("sendfile", &[Fd, Fd, Ptr, Size]),
    ("splice", &[Fd, Ptr, Fd, Ptr, Size]),
    ("tee", &[Fd, Fd, Size, Int]),
    ("copy_file_range", &[Fd, Ptr, Fd, Ptr, Size]),
    ("rt_sigtimedwait", &[Ptr, Ptr, Relative, Size]),
    ("rt_sigsuspend", &[Ptr, Size]),
    ("io_uring_enter", &[Fd, Size, Size, Int]),
    ("io_getevents", &[Ptr, Size, Size, Ptr, Relative]),
    ("mq_timedreceive", &[Fd, Ptr, Size, Ptr, Ptr]),
    ("mq_timedsend", &[Fd, Ptr, Size, Int, Ptr]),
    ("msgrcv", &[Int, Ptr, Size, Size, Int]),
    ("semop", &[Int, Ptr, Size]),
    ("semtimedop", &[Int, Ptr, Size, Relative]),
    ("mount", &[Path, Path, Ptr, Ptr, Ptr]),
    ("exit_group", &[Int]),
];

/// The arguments of a call; empty = not known.
pub(super) fn of(name: &str) -> &'static [Arg] {
    SIGNATURES.iter().find(|(known, _)| *known == name).map_or(&[], |(_, arguments)| arguments)
}

/// Whether a call is known to have no arguments.
pub(super) fn takes_nothing(name: &str) -> bool {
    matches!(name, "pause" | "sync" | "sched_yield" | "fork" | "vfork" | "restart_syscall")
}

/// The word at a number, or the number.
pub(super) fn word(words: &[&str], number: u32) -> String {
    let at = usize::try_from(number).unwrap_or(usize::MAX);
    words.get(at).map_or_else(|| format!("{number:#x}"), |word| (*word).to_owned())
}

/// Commands of fcntl(2).
pub(super) fn fcntl(command: u32) -> String {
    let names =
        ["F_DUPFD", "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_GETLK", "F_SETLK", "F_SETLKW"];
    match command {
        36 => "F_OFD_GETLK".to_owned(),
        37 => "F_OFD_SETLK".to_owned(),
        38 => "F_OFD_SETLKW".to_owned(),
        1024 => "F_SETLEASE".to_owned(),
        other => word(&names, other),
    }
}

/// Flags of open(2): the access mode and the common flags (fcntl.h; the numbers of those shown
/// are the same on x86_64 and arm64).
pub(super) fn open_flags(flags: u32) -> String {
    const KNOWN: [(u32, &str); 7] = [
        (0o100, "O_CREAT"),
        (0o200, "O_EXCL"),
        (0o1000, "O_TRUNC"),
        (0o2000, "O_APPEND"),
        (0o4000, "O_NONBLOCK"),
        (0o1_0000, "O_DSYNC"),
        (0o200_0000, "O_CLOEXEC"),
    ];
    let mut text = word(&["O_RDONLY", "O_WRONLY", "O_RDWR"], flags & 3);
    let mut rest = flags & !3;
    for (bit, name) in KNOWN {
        if rest & bit != 0 {
            text.push('|');
            text.push_str(name);
            rest &= !bit;
        }
    }
    if rest != 0 {
        text.push_str(&format!("|{rest:#o}"));
    }
    text
}
