//! Starting processes: the program, and the helpers that collect evidence.
//!
//! Not `std::process::Command`: it passes the blocked signal mask on, cannot give 32 and 33 their
//! default dispositions, cannot write the child's own pid into LISTEN_PID, and copies page tables
//! for a fork. Not posix_spawn(3) either: it cannot do the second and third. The child here
//! shares our memory until it execs and we wait meanwhile (vfork(2) semantics), which is also how
//! glibc's posix_spawn works; so an exec error comes back through memory.

#![expect(unsafe_code, reason = "clone and exec")]

use super::signals::{Mask, set_default, set_mask};
use crate::units::Pid;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::RawFd;

/// What to start and in which state.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Path of the executable; no search is done.
    pub path: &'a CStr,
    /// Arguments, the name first.
    pub args: &'a [CString],
    /// The whole environment, `KEY=VALUE`.
    pub env: Vec<Cow<'a, CStr>>,
    /// Descriptors the child gets: ours → its number. They lose close-on-exec in the child.
    pub descriptors: &'a [(RawFd, RawFd)],
    /// Put the child into a process group of its own.
    pub own_group: bool,
    /// Hand over the foreground of the terminal behind this descriptor.
    pub terminal: Option<RawFd>,
    /// Let our own process (and what it starts) read the child's memory where the Yama module
    /// restricts ptrace to ancestors (PR_SET_PTRACER): the evidence process is a sibling.
    pub traceable: bool,
}

/// The variable in which socket activation names its addressee, sd_listen_fds(3).
const LISTEN_PID: &[u8] = b"LISTEN_PID=";
/// Room for any pid behind [`LISTEN_PID`].
const PID_DIGITS: usize = 10;
/// Stack of the child between clone and exec; it calls a handful of system calls.
const STACK_BYTES: usize = 16 * 1024;

/// What the child needs, prepared while allocating is still allowed.
struct Prepared<'a> {
    plan: &'a Plan<'a>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
    /// Where the child writes its own pid, if LISTEN_PID named us.
    listen_pid: Option<*mut u8>,
    our_pid: libc::pid_t,
    /// errno of the failed exec, written by the child.
    errno: c_int,
}

/// Starts the process and waits until it has exec'd.
///
/// # Errors
/// The errno of clone(2) or of the failed execve(2).
pub fn spawn(mut plan: Plan<'_>) -> io::Result<Pid> {
    let our_pid = i32::try_from(std::process::id()).unwrap_or(0);
    let mut listen = listen_buffer(&mut plan.env, our_pid);
    let argv = plan.args.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]).collect();
    let listen_pid = listen.as_mut().map(|buffer| buffer.as_mut_ptr());
    let listen_entry = listen_pid.map(|start| start.cast_const().cast::<c_char>());
    let envp = plan.env.iter().map(|var| var.as_ptr()).chain(listen_entry);
    let envp = envp.chain([std::ptr::null()]).collect();
    let mut prepared = Prepared { plan: &plan, argv, envp, listen_pid, our_pid, errno: 0 };
    let mut stack = vec![0u128; 0];
    stack.reserve_exact(STACK_BYTES / size_of::<u128>());
    let top = stack.as_mut_ptr().wrapping_byte_add(STACK_BYTES).cast::<c_void>();
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is 64 KiB of live memory, aligned to 16; `prepared` outlives the child's
    // use of it, because CLONE_VFORK holds us here until the child has exec'd or ended.
    let pid = unsafe { libc::clone(child, top, flags, (&raw mut prepared).cast()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `errno` is live; read as volatile since another process wrote it.
    let errno = unsafe { (&raw const prepared.errno).read_volatile() };
    if errno == 0 {
        return Ok(Pid(pid));
    }
    let mut status = 0;
    // SAFETY: `status` is a live int; the child has ended by _exit and is ours to reap.
    unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) };
    Err(io::Error::from_raw_os_error(errno))
}

/// Takes LISTEN_PID out of the environment if it names us, and gives a buffer
/// `LISTEN_PID=` + room for digits in its place.
fn listen_buffer(env: &mut Vec<Cow<'_, CStr>>, our_pid: libc::pid_t) -> Option<Vec<u8>> {
    let ours = our_pid.to_string();
    let at = env.iter().position(|var| {
        var.to_bytes().strip_prefix(LISTEN_PID).is_some_and(|pid| pid == ours.as_bytes())
    })?;
    env.remove(at);
    let mut buffer = LISTEN_PID.to_vec();
    buffer.resize(LISTEN_PID.len() + PID_DIGITS + 1, 0);
    Some(buffer)
}

/// The child between clone and exec: it shares our memory, so it allocates nothing, takes no
/// lock, and writes only what it was given to write.
extern "C" fn child(argument: *mut c_void) -> c_int {
    // SAFETY: `argument` is the `Prepared` of the waiting parent; nobody else uses it meanwhile.
    let prepared = unsafe { &mut *argument.cast::<Prepared<'_>>() };
    prepared.errno = exec(prepared);
    // SAFETY: _exit runs no destructors and no atexit handlers, which are the parent's.
    unsafe { libc::_exit(127) }
}

/// Sets the child's state and execs; gives the errno if that failed.
fn exec(prepared: &Prepared<'_>) -> c_int {
    let plan = prepared.plan;
    if plan.own_group {
        // SAFETY: setpgid takes no pointers.
        unsafe { libc::setpgid(0, 0) };
    }
    if let Some(terminal) = plan.terminal {
        // SAFETY: as above. SIGTTOU is still blocked here, so this cannot stop us.
        unsafe { libc::tcsetpgrp(terminal, libc::getpid()) };
    }
    for signal in 1..=64 {
        set_default(signal);
    }
    for &(ours, theirs) in plan.descriptors {
        if let Err(errno) = give(ours, theirs) {
            return errno;
        }
    }
    if plan.traceable {
        // SAFETY: prctl with numbers only; kernels without Yama answer EINVAL, which is fine.
        unsafe { libc::prctl(libc::PR_SET_PTRACER, prepared.our_pid, 0, 0, 0) };
    }
    if let Some(start) = prepared.listen_pid {
        write_pid(start);
    }
    set_mask(Mask::NONE);
    // SAFETY: path, argv and envp are NUL-terminated and live in the waiting parent.
    unsafe {
        libc::execve(plan.path.as_ptr(), prepared.argv.as_ptr(), prepared.envp.as_ptr());
        *libc::__errno_location()
    }
}

/// Makes our descriptor the child's `theirs`, open across exec.
fn give(ours: RawFd, theirs: RawFd) -> Result<(), c_int> {
    let done = if ours == theirs {
        // SAFETY: fcntl with numbers; clears close-on-exec in the child's own table.
        unsafe { libc::fcntl(ours, libc::F_SETFD, 0) }
    } else {
        // SAFETY: dup2 with numbers, in the child's own table.
        unsafe { libc::dup2(ours, theirs) }
    };
    // SAFETY: errno is the waiting parent's thread-local, which nobody else uses now.
    if done < 0 { Err(unsafe { *libc::__errno_location() }) } else { Ok(()) }
}

/// Writes the child's pid behind `LISTEN_PID=`.
fn write_pid(start: *mut u8) {
    // SAFETY: getpid takes nothing and cannot fail.
    let mut rest = unsafe { libc::getpid() }.unsigned_abs();
    let mut digits = [0u8; PID_DIGITS];
    let mut count = 0;
    for digit in &mut digits {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        count += 1;
        if rest == 0 {
            break;
        }
    }
    for (place, digit) in digits.iter().take(count).rev().enumerate() {
        // SAFETY: the buffer has PID_DIGITS + 1 bytes behind the prefix, the last one stays NUL.
        unsafe { start.add(LISTEN_PID.len() + place).write(*digit) };
    }
}

/// Replaces our own process by a program, for GOINIT_DISABLED. Returns only when that failed.
#[must_use]
pub fn replace(path: &CStr, args: &[CString], env: &[Cow<'_, CStr>]) -> io::Error {
    let argv: Vec<_> = args.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    let envp: Vec<_> = env.iter().map(|v| v.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: path, argv and envp are NUL-terminated and live until the call returns.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr(), envp.as_ptr()) };
    io::Error::last_os_error()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn words(list: &[&str]) -> Vec<CString> {
        list.iter().map(|word| CString::new(*word).unwrap()).collect()
    }

    #[test]
    fn a_failed_exec_gives_its_errno_and_leaves_no_child() {
        let plan = Plan {
            path: c"/nonexistent/program",
            args: &words(&["program"]),
            env: Vec::new(),
            descriptors: &[],
            own_group: true,
            terminal: None,
            traceable: true,
        };
        let error = spawn(plan).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn the_child_gets_its_pid_in_listen_pid_and_our_pipe_as_stdout() {
        let (reader, writer) = super::super::fd::pipe().unwrap();
        let ours = format!("LISTEN_PID={}", std::process::id());
        let plan = Plan {
            path: c"/bin/sh",
            args: &words(&["sh", "-c", "test $$ = $LISTEN_PID && echo same"]),
            env: words(&["A=1", &ours]).into_iter().map(Cow::Owned).collect(),
            descriptors: &[(writer.as_raw_fd(), 1)],
            own_group: false,
            terminal: None,
            traceable: false,
        };
        let pid = spawn(plan).unwrap();
        drop(writer);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut text).unwrap();
        assert_eq!(text, "same\n");
        let mut status = 0;
        // SAFETY: the child of this test, a live int.
        unsafe { libc::waitpid(pid.0, &raw mut status, 0) };
    }
}
