//! Stopping one thread for a moment to read its registers, without a signal (ptrace(2)).
//!
//! All calls must come from one thread, and that thread should end afterwards: its end detaches
//! whatever it still traces.

#![expect(unsafe_code, reason = "ptrace has no safe wrapper that takes a thread and a deadline")]

use std::io;

/// Where a stopped thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Link register; 0 on x86-64.
    pub link: u64,
}

fn request(request: libc::c_uint, thread: i32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: SEIZE without options, INTERRUPT and DETACH read and write none of our memory.
    let done = unsafe { libc::ptrace(request, thread, none, none) };
    if done == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Begins to trace `thread` and asks it to stop; it goes on running until [`has_stopped`].
///
/// # Errors
/// EPERM without permission or when it is traced already, ESRCH when it is gone.
pub fn stop(thread: i32) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, thread)?;
    request(libc::PTRACE_INTERRUPT, thread)
}

/// Whether the thread has stopped by now.
///
/// # Errors
/// ECHILD when it is not traced by this thread or is gone.
pub fn has_stopped(thread: i32) -> io::Result<bool> {
    let mut status = 0;
    // SAFETY: `status` is a live integer that the call fills.
    let found = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL | libc::WNOHANG) };
    match found {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(false),
        _ if libc::WIFSTOPPED(status) => Ok(true),
        _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
    }
}

/// Where a stopped thread is.
///
/// # Errors
/// ESRCH when it is not stopped.
pub fn place(thread: i32) -> io::Result<Place> {
    // SAFETY: all-zero is a value of this plain structure of integers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let mut range = libc::iovec {
        iov_base: (&raw mut registers).cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    let general = std::ptr::without_provenance_mut::<libc::c_void>(1);
    // SAFETY: `range` describes exactly the live structure `registers`; set 1 is NT_PRSTATUS.
    let done = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, thread, general, &raw mut range) };
    if done == -1 {
        return Err(io::Error::last_os_error());
    }
    #[cfg(target_arch = "x86_64")]
    let place = Place { pc: registers.rip, sp: registers.rsp, link: 0 };
    #[cfg(target_arch = "aarch64")]
    let place = Place { pc: registers.pc, sp: registers.sp, link: registers.regs[30] };
    Ok(place)
}

/// Lets a stopped thread go on and traces it no longer.
///
/// # Errors
/// ESRCH when it is not stopped.
pub fn release(thread: i32) -> io::Result<()> {
    request(libc::PTRACE_DETACH, thread)
}

/// Waits a moment between two looks: poll(2) on nothing.
pub fn pause(milliseconds: u16) {
    // SAFETY: no descriptors, so nothing is read or written.
    unsafe { libc::poll(std::ptr::null_mut(), 0, libc::c_int::from(milliseconds)) };
}
