//! Whether a sandbox lets a system call be made. A seccomp filter may end the process that makes
//! one it does not know (SCMP_ACT_KILL_PROCESS), and nothing tells but trying: a child tries.

#![expect(unsafe_code, reason = "a process that is a copy of this one, and ends at once")]

use std::io;

/// A child that makes one call of splice(2), or dies of it. It has no signal for its end, so that
/// nothing but [`Trial::survived`] hears of it: neither SIGCHLD nor waitpid(2) for any child tells.
#[derive(Debug)]
pub struct Trial {
    child: libc::pid_t,
    ended: bool,
}

impl Trial {
    /// Starts the child; does not wait for it.
    ///
    /// # Errors
    /// No process can be made.
    pub fn of_splice() -> io::Result<Self> {
        // Not with shared memory as in [`super::spawn`]: before Linux 5.16 a core dump ends every
        // process that shares it. SAFETY: clone(2) without flags is fork(2): the child has a copy
        // of all memory, and calls nothing but the kernel, so no lock of another thread matters.
        let child = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
        if child == 0 {
            // SAFETY: numbers and null pointers, and exit_group(2), which does not return.
            unsafe {
                libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                // No core dump, and nobody who is told of one.
                libc::syscall(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
                libc::syscall(libc::SYS_splice, -1, 0, -1, 0, 0, 0);
                loop {
                    libc::syscall(libc::SYS_exit_group, 0);
                }
            }
        }
        match libc::pid_t::try_from(child) {
            Ok(child) if child > 0 => Ok(Self { child, ended: false }),
            Ok(_) | Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Whether the child came through, once that is known. A filter that answers with an error is
    /// survived: so is the call itself then.
    pub fn survived(&mut self) -> Option<bool> {
        let mut status = 0;
        // SAFETY: `status` is a live int.
        let done =
            unsafe { libc::waitpid(self.child, &raw mut status, libc::WNOHANG | libc::__WALL) };
        self.ended = done != 0;
        self.ended.then_some(done == self.child && status == 0)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if !self.ended {
            let mut status = 0;
            // SAFETY: our own child, not reaped yet, so the number is still its; a live int.
            unsafe {
                libc::kill(self.child, libc::SIGKILL);
                libc::waitpid(self.child, &raw mut status, libc::__WALL);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_nobody_forbids_is_survived_and_nobody_else_hears_of_it() {
        let mut trial = Trial::of_splice().unwrap();
        let mut info = Vec::new();
        let survived = loop {
            info.push(super::super::wait::peek().is_some_and(|pid| pid.0 == trial.child));
            if let Some(survived) = trial.survived() {
                break survived;
            }
        };
        assert!(survived && !info.contains(&true));
        assert_eq!(trial.survived(), Some(false), "it is reaped");
    }

    #[test]
    fn an_answer_that_nobody_waits_for_leaves_no_process() {
        let trial = Trial::of_splice().unwrap();
        let child = trial.child;
        drop(trial);
        // SAFETY: signal 0 only asks.
        assert_eq!(unsafe { libc::kill(child, 0) }, -1);
    }
}
