//! Reaping: who ended, stopped or went on. Raw, because nix's `waitpid` answers EINVAL for a
//! child that a real-time signal killed, and its status is lost.

#![expect(unsafe_code, reason = "waitpid by raw status")]

use crate::exit::Ending;
use crate::units::{Pid, Signal};

/// What waitpid(2) tells about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended and is gone now.
    Ended(Ending),
    /// This signal stopped it.
    Stopped(Signal),
    /// SIGCONT set it going.
    Continued,
}

/// What there is to reap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One process changed.
    Changed(Pid, Change),
    /// Nobody has changed; children remain.
    Nobody,
    /// No child is left.
    Childless,
}

/// How often waitpid(2) is asked before its "no child" is believed: a wrong one (a sandbox's
/// hiccup) would leave the program's end unnoticed for ever, as its SIGCHLD is used up.
const ASKED: u32 = 3;

/// Takes the next status change of any child, without waiting.
pub fn next() -> Next {
    let mut refused = 0;
    loop {
        let mut status: libc::c_int = 0;
        let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        // SAFETY: `status` is a live int.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, flags) };
        if pid == 0 {
            return Next::Nobody;
        }
        if pid < 0 {
            if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) {
                continue;
            }
            refused += 1;
            if refused < ASKED {
                continue;
            }
            return Next::Childless;
        }
        if let Some(change) = change(status) {
            return Next::Changed(Pid(pid), change);
        }
    }
}

/// The number of a process that has ended and is not reaped yet, see waitid(2) with WNOWAIT:
/// as long as it is a zombie, /proc still knows its name.
#[must_use]
pub fn peek() -> Option<Pid> {
    // SAFETY: siginfo_t is plain old data for which all zeroes is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is live.
    let done = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    // SAFETY: a successful waitid filled the SIGCHLD fields, or left the pid zero.
    let pid = unsafe { info.si_pid() };
    (done == 0 && pid > 0).then_some(Pid(pid))
}

/// Decodes a wait status; nothing for ptrace events, which are not ours.
fn change(status: libc::c_int) -> Option<Change> {
    if libc::WIFEXITED(status) {
        let code = u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX);
        return Some(Change::Ended(Ending::Exited(code)));
    }
    if libc::WIFSIGNALED(status) {
        let signal = Signal::from_number(libc::WTERMSIG(status))?;
        let core = libc::WCOREDUMP(status);
        return Some(Change::Ended(Ending::Signalled { signal, core }));
    }
    if libc::WIFSTOPPED(status) {
        return Signal::from_number(libc::WSTOPSIG(status)).map(Change::Stopped);
    }
    libc::WIFCONTINUED(status).then_some(Change::Continued)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_the_kernel_can_give_is_decoded() {
        for code in 0..=255u8 {
            let status = i32::from(code) << 8;
            assert_eq!(change(status), Some(Change::Ended(Ending::Exited(code))));
        }
        for number in 1..=64u8 {
            let ending =
                |core| Some(Change::Ended(Ending::Signalled { signal: Signal(number), core }));
            assert_eq!(change(i32::from(number)), ending(false));
            assert_eq!(change(i32::from(number) | 0x80), ending(true));
        }
        assert_eq!(change(0x137f), Some(Change::Stopped(Signal::STOP)));
        assert_eq!(change(0xffff), Some(Change::Continued));
    }
}
