//! What Rust's runtime does before its own `main`, where goinit needs it: see `main.rs`.

#![expect(unsafe_code, reason = "the arguments of C's main; poll, open and signal by number")]

use super::signals;
use crate::units::Signal;
use std::ffi::{CStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStringExt;

/// The second argument of C's `main`. Only the caller of `main` can make one.
#[derive(Debug)]
#[repr(transparent)]
pub struct Argv(*const *const c_char);

/// An allocation that gets a mapping of its own; glibc's first value, which would grow with use.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: c_int = 128 << 10;

/// Prepares the process and gives its arguments, the name first.
#[must_use]
pub fn enter(count: c_int, arguments: Argv) -> Vec<OsString> {
    occupy_standard();
    // A log whose reader went away is an error of write(2), not a signal.
    signals::ignore(Signal::PIPE);
    // SAFETY: mallopt takes two numbers. One arena is enough for threads that allocate next to
    // nothing (glibc would map 128 MiB for the second), and a large buffer goes back to the
    // kernel when a flood is over, however large the one before it was.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
    };
    let count = usize::try_from(count).unwrap_or(0);
    let argument = |at| {
        // SAFETY: C's main is given `count` pointers to strings that live as long as the process.
        let bytes = unsafe { CStr::from_ptr(*arguments.0.add(at)) }.to_bytes();
        OsString::from_vec(bytes.to_vec())
    };
    (0..count).map(argument).collect()
}

/// Our environment as the kernel left it, `NAME=VALUE`. Nothing is copied: it is as large as
/// Kubernetes makes it, and the program waits for us.
pub fn environment() -> impl Iterator<Item = &'static CStr> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library sets it before `main`, and nobody in goinit changes the environment.
    let first = unsafe { environ };
    (0..).map_while(move |at| {
        // SAFETY: a list of pointers to strings that live as long as the process; its end is
        // null, and what follows that is not looked at.
        unsafe {
            let entry = if first.is_null() { first.cast() } else { *first.add(at) };
            (!entry.is_null()).then(|| CStr::from_ptr(entry))
        }
    })
}

/// Makes sure that 0, 1 and 2 are open, on /dev/null if need be: what is opened later must not
/// become somebody's standard output by accident.
fn occupy_standard() {
    let closed = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut standard = [closed(0), closed(1), closed(2)];
    // SAFETY: three live pollfds; with no events and no patience this only looks.
    unsafe { libc::poll(standard.as_mut_ptr(), 3, 0) };
    for one in standard.iter().filter(|one| one.revents & libc::POLLNVAL != 0) {
        // SAFETY: a NUL-terminated path. The lowest free number is `one.fd`, as those below it
        // are open by now. Without /dev/null (an empty root) the number stays free.
        let _ = (one.fd, unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) });
    }
}
