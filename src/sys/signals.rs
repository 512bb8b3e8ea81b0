//! Signals: block everything, receive through a signalfd, send by raw number.
//!
//! Raw numbers throughout: nix's `Signal` knows no real-time signals, and glibc's own functions
//! hide 32 and 33, which must be forwarded and reset like any other. signal-hook's handlers would
//! coalesce real-time signals and are deaf under an inherited block, so it serves here as the
//! reference for names and numbers, in tests.

#![expect(unsafe_code, reason = "system calls without a safe wrapper")]

use crate::units::{Pid, Received, Signal, Target};
use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A set of signals as the kernel sees it: bit n-1 stands for signal n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// Every signal there is.
    pub const ALL: Self = Self(u64::MAX);
    /// No signal.
    pub const NONE: Self = Self(0);
}

/// Size of the kernel's signal set (`_NSIG / 8`), which the raw system calls want to be told.
const SET_SIZE: usize = 8;

/// Sets the calling thread's signal mask and gives the old one, see rt_sigprocmask(2).
///
/// Even the fault signals may be blocked: a real fault is forced through by the kernel, a fault
/// signal that somebody *sends* then arrives at the signalfd and can be forwarded.
pub fn set_mask(mask: Mask) -> Mask {
    let mut old = 0u64;
    // SAFETY: both pointers are to live 8-byte sets, as the size says. The raw call is used
    // because glibc's sigprocmask silently leaves 32 and 33 out.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask.0,
            &raw mut old,
            SET_SIZE,
        )
    };
    Mask(old)
}

/// The kernel's `struct sigaction` with its fields in the kernel's order.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: libc::c_ulong,
    restorer: usize,
    mask: u64,
}

/// Gives one signal its default disposition, also 32 and 33, see rt_sigaction(2).
pub(crate) fn set_default(signal: u8) {
    let action = KernelAction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    // SAFETY: `action` is a live kernel sigaction of the right layout; SIG_DFL needs no
    // restorer. SIGKILL and SIGSTOP answer EINVAL, which changes nothing. Async-signal-safe.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::c_int::from(signal),
            &raw const action,
            std::ptr::null_mut::<KernelAction>(),
            SET_SIZE,
        )
    };
}

/// Ignores one signal; the disposition survives exec, so children must reset it.
pub fn ignore(signal: Signal) {
    // SAFETY: SIG_IGN is a valid disposition and runs no code of ours.
    unsafe { libc::signal(libc::c_int::from(signal.0), libc::SIG_IGN) };
}

/// SIGCHLD back to its default: inherited as ignored, the kernel would reap our children itself
/// and their exit codes would be lost (tini and catatonit then wait for ever).
pub fn watch_children() {
    set_default(Signal::CHLD.0);
}

/// SIGPIPE back to its default, for what takes our place.
pub fn stop_ignoring_pipes() {
    set_default(Signal::PIPE.0);
}

/// Descriptor that delivers blocked signals, one queued instance at a time.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
    /// Our own process.
    own: Pid,
    notified: Cell<bool>,
}

/// Signal that the kernel tells of writes with: a real-time one, because those are queued one by
/// one, so that somebody else's signal of that number is not lost in ours.
pub(super) const NOTICE: libc::c_int = 64;
/// `si_code` of such a notice, and of a SIGIO in its place when the queue is full
/// (asm-generic/siginfo.h). The kernel alone can say either.
const POLL_MSG: i32 = 3;
const SI_KERNEL: i32 = 0x80;

impl SignalFd {
    /// A non-blocking signalfd(2) for every signal.
    ///
    /// # Errors
    /// The kernel's, such as EMFILE.
    pub fn all() -> io::Result<Self> {
        let mask = u64::MAX;
        // SAFETY: the pointer is to a live 8-byte set, as the size says; -1 asks for a new
        // descriptor. The raw call is used because glibc's sigset_t hides 32 and 33.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_signalfd4,
                -1,
                &raw const mask,
                SET_SIZE,
                libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
            )
        };
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made `fd` for us; nobody else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let own = Pid(super::job::own_pid());
        Ok(Self { fd, own, notified: Cell::new(false) })
    }

    /// The next pending signal, or nothing. Notices of the kernel are kept for
    /// [`SignalFd::notified`].
    pub fn next(&self) -> Option<Received> {
        loop {
            let (received, code) = self.read()?;
            let notice = [(NOTICE, POLL_MSG), (libc::SIGIO, SI_KERNEL)];
            if notice.contains(&(i32::from(received.signal.0), code)) {
                self.notified.set(true);
            // What we sent ourselves is nobody's signal to the program: SIGPIPE of a log whose
            // reader went away, SIGTSTP to the job we belong to.
            } else if received.from != Some(self.own) {
                return Some(received);
            }
        }
    }

    /// Whether the kernel has told of a write, see [`super::fd::notify_of_writes`]; once.
    pub fn notified(&self) -> bool {
        self.notified.take()
    }

    fn read(&self) -> Option<(Received, i32)> {
        // SAFETY: signalfd_siginfo is plain old data for which all zeroes is a value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = std::mem::size_of_val(&info);
        // SAFETY: `info` is live and `size` bytes long.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), (&raw mut info).cast(), size) };
        if usize::try_from(got).ok()? != size {
            return None;
        }
        let signal = Signal::from_number(i32::try_from(info.ssi_signo).ok()?)?;
        // SI_USER, SI_QUEUE and SI_TKILL come from a process; 0 is one outside our namespace.
        let sent = matches!(info.ssi_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
        let from = i32::try_from(info.ssi_pid).ok().filter(|pid| sent && *pid != 0).map(Pid);
        Some((Received { signal, from }, info.ssi_code))
    }
}

impl std::os::fd::AsFd for SignalFd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Sends a signal, see kill(2) and tgkill(2). Raw, because nix's `kill` cannot send a real-time
/// signal.
///
/// # Errors
/// ESRCH when nobody is there, EPERM when the target changed its user.
pub fn send(target: Target, signal: Signal) -> io::Result<()> {
    let number = libc::c_int::from(signal.0);
    let pid = match target {
        Target::Process(pid) => pid.0,
        Target::Group(pid) => -pid.0,
        Target::Thread(pid, thread) => {
            // SAFETY: tgkill takes no pointers.
            let sent = unsafe { libc::syscall(libc::SYS_tgkill, pid.0, thread.0, number) };
            return if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
        }
    };
    if pid == 0 || pid == -1 {
        // Our own group or everybody: never what a caller means.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    // SAFETY: kill takes no pointers.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Suspends the calling process as a shell job, with `group` everybody in its process group: SIGTSTP,
/// which the kernel acts on as soon as it is not blocked. Returns after SIGCONT, at once if that came
/// before, or if the process group is orphaned, so that nobody would ever send one. Not SIGSTOP: it
/// would throw away a SIGCONT that somebody quick has sent already.
pub fn suspend_self(group: bool) {
    let target = if group { 0 } else { super::job::own_pid() };
    let others = Mask(!(1 << (libc::SIGTSTP - 1)));
    // SAFETY: kill takes no pointers.
    unsafe { libc::kill(target, libc::SIGTSTP) };
    let mask = set_mask(others);
    set_mask(mask);
}

/// Asks the kernel to send `signal` to us when our parent dies, see PR_SET_PDEATHSIG.
///
/// # Errors
/// The kernel's; EINVAL for no signal.
pub fn on_parent_death(signal: Signal) -> io::Result<()> {
    // SAFETY: this prctl takes one number.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::c_ulong::from(signal.0), 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_names_and_numbers_are_those_of_signal_hook() {
        for number in 1..=31u8 {
            let signal = Signal(number);
            if let Some(name) = signal_hook::low_level::signal_name(i32::from(number)) {
                assert_eq!(Signal::parse(name), Some(signal), "{name}");
            }
        }
    }

    #[test]
    fn nobody_is_signalled_by_group_zero_or_everybody() {
        assert!(send(Target::Process(Pid(-1)), Signal::CONT).is_err());
        assert!(send(Target::Group(Pid(1)), Signal::CONT).is_err());
        assert!(send(Target::Process(Pid(0)), Signal::CONT).is_err());
    }
}
