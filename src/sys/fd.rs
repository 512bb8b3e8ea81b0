//! Descriptors: pipes, the waker, the terminal, closing what is not ours.

#![expect(
    unsafe_code,
    reason = "adopting inherited descriptors; ioctls and fcntls without wrapper"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// How reads of a pipe relate to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One read returns one write(2), up to 4,096 bytes (pipe(2), O_DIRECT).
    Packets,
    /// Reads return bytes as they come.
    Stream,
}

/// Both ends of a pipe.
#[derive(Debug)]
pub struct Pipe {
    /// The end to read.
    pub reader: OwnedFd,
    /// The end to write.
    pub writer: OwnedFd,
    /// How reads relate to writes.
    pub framing: Framing,
}

/// How large a pipe may get without privilege (`/proc/sys/fs/pipe-max-size` of every kernel we
/// know). A packet-mode pipe holds one packet a page: 256 instead of 16.
const PIPE_BYTES: libc::c_int = 1 << 20;

/// A pipe in packet mode, or a stream where the kernel refuses (gVisor, old kernels). Both ends are close-on-exec and blocking.
///
/// # Errors
/// The kernel's, such as EMFILE.
pub fn log_pipe() -> io::Result<Pipe> {
    use nix::fcntl::OFlag;
    let packets = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_DIRECT);
    let (framing, (reader, writer)) = match packets {
        Ok(ends) => (Framing::Packets, ends),
        Err(_) => (Framing::Stream, nix::unistd::pipe2(OFlag::O_CLOEXEC)?),
    };
    Ok(Pipe { reader, writer, framing })
}

/// Makes a pipe hold more, as far as the kernel allows (pipe-user-pages-soft); what is in it stays.
/// Gives the number of bytes that it holds then.
pub fn enlarge_pipe(pipe: BorrowedFd<'_>) -> usize {
    use nix::fcntl::{FcntlArg, fcntl};
    let size = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let size = size.or_else(|_| fcntl(pipe, FcntlArg::F_GETPIPE_SZ));
    // The least that a pipe can hold.
    size.ok().and_then(|size| usize::try_from(size).ok()).unwrap_or(4_096)
}

/// A pipe of our own that never waits, as large as the kernel allows.
///
/// # Errors
/// The kernel's, such as EMFILE.
pub fn side_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use nix::fcntl::OFlag;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    enlarge_pipe(reader.as_fd());
    Ok((reader, writer))
}

/// Moves all that is in one pipe into another, as far as there is room, see splice(2): the pages
/// themselves, so packets stay packets. Never waits.
///
/// # Errors
/// The kernel's, such as EAGAIN on an empty pipe that has writers; without them it is 0 bytes.
pub fn move_pages(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<usize> {
    let (from, to) = (from.as_raw_fd(), to.as_raw_fd());
    let (all, null, flags) = (1 << 30, std::ptr::null_mut(), libc::SPLICE_F_NONBLOCK);
    // SAFETY: splice with two open pipes and no offsets touches no memory of ours.
    let moved = unsafe { libc::splice(from, null, to, null, all, flags) };
    usize::try_from(moved).map_err(|_| io::Error::last_os_error())
}

/// Asks for a signal from the kernel whenever somebody writes to a file in this directory, as long
/// as the descriptor is open; see fcntl(2), F_NOTIFY. [`super::signals::SignalFd::notified`] tells.
///
/// # Errors
/// EINVAL from a kernel without it.
pub fn notify_of_writes(directory: BorrowedFd<'_>) -> io::Result<()> {
    // DN_MODIFY and DN_MULTISHOT (linux/fcntl.h): after every write, not only the first one.
    let what: libc::c_ulong = 0x2 | 0x8000_0000;
    let fd = directory.as_raw_fd();
    // SAFETY: fcntl with numbers on an open descriptor.
    let done = unsafe {
        libc::fcntl(fd, F_SETSIG, super::signals::NOTICE) == 0
            && libc::fcntl(fd, libc::F_NOTIFY, what) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets the signal of a descriptor (asm-generic/fcntl.h).
const F_SETSIG: libc::c_int = 10;

/// An ordinary pipe, close-on-exec.
///
/// # Errors
/// The kernel's, such as EMFILE.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Makes reads of one of our own pipes return instead of wait. Never for an inherited
/// descriptor: the flag belongs to the shared open file and would show up in the program.
///
/// # Errors
/// The kernel's.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

/// One read(2); an interrupted one is tried again.
///
/// # Errors
/// The kernel's, such as EAGAIN on an empty non-blocking pipe.
pub fn read(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, buffer) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// One read(2) in place of what `buffer` holds, up to its capacity; an interrupted one is tried
/// again. Memory is touched only where bytes arrive.
///
/// # Errors
/// The kernel's, such as EAGAIN on an empty non-blocking pipe; the buffer is empty then.
pub fn read_over(fd: BorrowedFd<'_>, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.clear();
    let room = buffer.spare_capacity_mut();
    loop {
        // SAFETY: pointer and length are those of live memory, which need not be initialised.
        let got = unsafe { libc::read(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len()) };
        if let Ok(length) = usize::try_from(got) {
            // SAFETY: the kernel filled so many bytes of the spare capacity.
            unsafe { buffer.set_len(length) };
            return Ok(length);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Writes what can be written without waiting, see RWF_NOWAIT in pwritev2(2). Not O_NONBLOCK: that
/// flag belongs to the open file, which the program and others share.
///
/// # Errors
/// EAGAIN where a write would wait, EOPNOTSUPP where the file does not know (terminals, pipes
/// before Linux 5.9), otherwise those of write(2).
pub fn write_now(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: one live iovec over live bytes, which a write only reads. The offset is given as
    // two halves; -1 in both means the file's own position.
    let written = unsafe {
        let (at, flags) = (-1 as libc::c_long, libc::RWF_NOWAIT);
        libc::syscall(libc::SYS_pwritev2, fd.as_raw_fd(), &raw const part, 1, at, at, flags)
    };
    usize::try_from(written).map_err(|_| io::Error::last_os_error())
}

/// One write(2), which may be short; an interrupted one is tried again.
///
/// # Errors
/// The kernel's, such as EPIPE.
pub fn write(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::write(fd, bytes) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Waits until a write finds room; false when it never will.
#[must_use]
pub fn writable(fd: BorrowedFd<'_>) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut wanted = [PollFd::new(fd, PollFlags::POLLOUT)];
    match poll(&mut wanted, PollTimeout::NONE) {
        Ok(_) => wanted
            .iter()
            .any(|fd| fd.revents().is_some_and(|events| events.contains(PollFlags::POLLOUT))),
        Err(nix::errno::Errno::EINTR) => true,
        Err(_) => false,
    }
}

/// Wakes the loop from another thread: an eventfd(2).
#[derive(Debug)]
pub struct Waker(nix::sys::eventfd::EventFd);

impl Waker {
    /// A waker nobody has woken yet.
    ///
    /// # Errors
    /// The kernel's, such as EMFILE.
    pub fn new() -> io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// Makes it unreadable again.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A second descriptor of standard error that is ours alone, or nothing when it is closed.
#[must_use]
pub fn own_stderr() -> Option<OwnedFd> {
    // SAFETY: fcntl on a number that may be closed answers EBADF and touches nothing.
    let fd = unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: a non-negative answer is a new descriptor that nobody else owns.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Standard output goes into this file from now on.
///
/// # Errors
/// The kernel's.
pub fn become_standard_output(file: File) -> io::Result<()> {
    Ok(nix::unistd::dup2_stdout(file)?)
}

/// Sets close-on-exec or clears it.
///
/// # Errors
/// The kernel's.
pub fn set_close_on_exec(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let flags = if on { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Whether a descriptor is a terminal.
#[must_use]
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    std::io::IsTerminal::is_terminal(&fd)
}

/// Most descriptors that are looked at one by one when /proc is not there.
const GUESSED: RawFd = 4_096;

/// Closes the descriptors above 2 that goinit inherited: the program has them by now (socket
/// activation), and kept here they would keep pipes and mounts busy. `own` is everything that
/// goinit itself has opened.
pub fn close_all_but(own: &[BorrowedFd<'_>]) {
    let mut own: Vec<RawFd> = own.iter().map(AsRawFd::as_raw_fd).filter(|fd| *fd > 2).collect();
    own.sort_unstable();
    let mut first = 3;
    for number in own.into_iter().chain([RawFd::MAX]) {
        // SAFETY: close_range with numbers; nothing of ours lies between two neighbours of the
        // list. Raw, because the C library's wrapper is younger than the call.
        let done = number == first
            || unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) } == 0;
        if !done {
            // Linux before 5.9, or a seccomp filter that does not know the call.
            return close_inherited();
        }
        first = number.saturating_add(1);
    }
}

/// Closes the descriptors above 2 that goinit inherited, one by one: what is not close-on-exec,
/// since everything of our own is, and nothing else could have come through our own exec.
pub fn close_inherited() {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        numbers.collect::<Vec<RawFd>>()
    });
    let numbers = listed.unwrap_or_else(|_| (3..GUESSED).collect());
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: fcntl on a number that may be closed answers EBADF and touches nothing.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: no OwnedFd holds it: whatever we open is close-on-exec.
            unsafe { libc::close(number) };
        }
    }
}

/// Makes the process adopt orphaned descendants although it is not PID 1.
///
/// # Errors
/// EINVAL before Linux 3.4.
pub fn become_subreaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Fills `bytes` from getrandom(2) without waiting.
pub(super) fn random_bytes(bytes: &mut [u8]) -> bool {
    // SAFETY: the pointer and length are those of a live slice.
    let got =
        unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK) };
    usize::try_from(got).is_ok_and(|got| got == bytes.len())
}

/// The process group in the foreground of our controlling terminal, when `fd` is that terminal.
#[must_use]
pub fn foreground(fd: BorrowedFd<'_>) -> Option<i32> {
    nix::unistd::tcgetpgrp(fd).ok().map(nix::unistd::Pid::as_raw)
}

/// Puts a process group into the foreground of the terminal. SIGTTOU is blocked in goinit, so a
/// background caller is not stopped by it.
pub fn set_foreground(fd: BorrowedFd<'_>, group: i32) {
    let _ = nix::unistd::tcsetpgrp(fd, nix::unistd::Pid::from_raw(group));
}

/// Our own process group.
#[must_use]
pub fn own_group() -> i32 {
    nix::unistd::getpgrp().as_raw()
}

/// Borrows one of the three standard descriptors if it is open.
#[must_use]
pub fn standard(number: RawFd) -> Option<BorrowedFd<'static>> {
    // SAFETY: fcntl on a closed number answers EBADF and touches nothing.
    let open = unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0;
    // SAFETY: 0, 1 and 2 stay as they are for the life of the process; nothing here closes them.
    ((0..=2).contains(&number) && open).then(|| unsafe { BorrowedFd::borrow_raw(number) })
}

/// The descriptor's number, for the list of those to keep.
#[must_use]
pub fn number(fd: &impl AsFd) -> RawFd {
    fd.as_fd().as_raw_fd()
}
/// Columns of the terminal behind a descriptor; nothing if it is none.
#[must_use]
pub fn columns(fd: &impl AsRawFd) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one winsize, and `size` is one that lives through the call.
    let done = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col > 0).then_some(size.ws_col)
}
