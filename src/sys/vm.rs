//! Another process's memory, and files mapped to be read in place.

#![expect(unsafe_code, reason = "process_vm_readv, mmap and munmap have no safe wrapper")]

use crate::units::Pid;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Ranges of one call at most (UIO_MAXIOV).
pub const RANGES: usize = 1024;

/// Reads ranges of `pid`'s memory, in order, into the buffers; at most [`RANGES`] of them. Gives
/// the bytes read: fewer than wanted means that the first range not filled could not be read.
/// See process_vm_readv(2).
///
/// # Errors
/// EPERM without permission, ESRCH when the process is gone, ENOSYS or EPERM in sandboxes, EFAULT
/// when the first range cannot be read.
pub fn read_ranges(pid: Pid, ranges: &mut [(u64, &mut [u8])]) -> io::Result<usize> {
    let count = ranges.len().min(RANGES);
    let mut local = Vec::with_capacity(count);
    let mut remote = Vec::with_capacity(count);
    for (at, into) in ranges.iter_mut().take(count) {
        let start = usize::try_from(*at).unwrap_or(0);
        local.push(libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() });
        remote.push(libc::iovec {
            iov_base: std::ptr::without_provenance_mut(start),
            iov_len: into.len(),
        });
    }
    let count = libc::c_ulong::try_from(count).unwrap_or(0);
    // SAFETY: `local` describes exactly the live, exclusively borrowed buffers of `ranges`, and
    // both vectors have `count` entries. Remote addresses are checked by the kernel.
    let read =
        unsafe { libc::process_vm_readv(pid.0, local.as_ptr(), count, remote.as_ptr(), count, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// A file mapped read-only. The kernel refuses to shorten an executable that runs (ETXTBSY), so
/// the bytes stay there; whoever maps another file accepts SIGBUS if it is cut meanwhile.
#[derive(Debug)]
pub struct Mapped {
    start: *const u8,
    length: usize,
}

impl Mapped {
    /// Maps all of `file`. See mmap(2).
    ///
    /// # Errors
    /// The kernel's: ENODEV for what cannot be mapped, EINVAL for an empty file.
    pub fn of(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice; it overlaps nothing.
        let start = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, flags, file.as_raw_fd(), 0)
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast_const().cast(), length })
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `length` readable bytes, lives as long as `self`, and is never
        // written: it is private, and the file is an executable in use.
        unsafe { std::slice::from_raw_parts(self.start, self.length) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `of`; no slice of it outlives `self`.
        unsafe { libc::munmap(self.start.cast_mut().cast(), self.length) };
    }
}
