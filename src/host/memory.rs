//! A live process's memory: process_vm_readv in batches, or its memory file.
//!
//! A memory file opened right after exec keeps working when the program later drops privileges
//! or makes itself undumpable, because access is checked at open only.

use crate::go::memory::{Piece, ReadMemory};
use crate::sys::vm;
use crate::units::Pid;
use std::cell::{Cell, OnceCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How memory is reached at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Batches,
    File,
}

/// The memory of one process.
#[derive(Debug)]
pub struct Live {
    pid: Pid,
    file: OnceCell<Option<File>>,
    route: Cell<Route>,
}

impl Live {
    /// The memory of `pid`; `file` is its `/proc/PID/mem` if it was opened earlier.
    #[must_use]
    pub fn new(pid: Pid, file: Option<File>) -> Self {
        let known = OnceCell::new();
        if file.is_some() {
            let _ = known.set(file);
        }
        Self { pid, file: known, route: Cell::new(Route::Batches) }
    }

    /// Whether one byte at `at` can be read by any route, and the kernel's answer if not.
    ///
    /// # Errors
    /// What the last route said: EPERM, EACCES or ESRCH.
    pub fn probe(&self, at: u64) -> io::Result<()> {
        let mut byte = [0u8; 1];
        match vm::read_ranges(self.pid, &mut [(at, &mut byte)]) {
            Ok(1) => return Ok(()),
            Ok(_) => {}
            Err(_) => self.route.set(Route::File),
        }
        if let Some(Some(file)) = self.file.get() {
            return file.read_exact_at(&mut byte, at);
        }
        let file = File::open(format!("/proc/{}/mem", self.pid))?;
        file.read_exact_at(&mut byte, at)?;
        let _ = self.file.set(Some(file));
        Ok(())
    }

    /// Its memory file, opened now if it was not before and may be.
    pub(crate) fn file(&self) -> Option<&File> {
        let open = || File::open(format!("/proc/{}/mem", self.pid)).ok();
        self.file.get_or_init(open).as_ref()
    }

    fn through_file(&self, pieces: &mut [Piece<'_>]) {
        let Some(file) = self.file() else { return };
        for piece in pieces {
            piece.got = file.read_exact_at(piece.into, piece.at.0).is_ok();
        }
    }

    /// Reads one batch; false when this route is closed for good.
    fn batch(&self, pieces: &mut [Piece<'_>]) -> bool {
        let mut done = 0;
        while done < pieces.len() {
            let Some(rest) = pieces.get_mut(done..) else { break };
            let mut ranges: Vec<(u64, &mut [u8])> =
                rest.iter_mut().map(|piece| (piece.at.0, &mut *piece.into)).collect();
            let mut read = match vm::read_ranges(self.pid, &mut ranges) {
                Ok(read) => read,
                Err(error) if error.raw_os_error() == Some(libc_efault()) => 0,
                Err(_) => return done > 0,
            };
            let mut filled = 0;
            for piece in rest.iter_mut() {
                if piece.into.len() > read {
                    break;
                }
                read -= piece.into.len();
                piece.got = true;
                filled += 1;
            }
            // The first piece that was not filled cannot be read: go on behind it.
            done += filled + 1;
        }
        true
    }
}

/// EFAULT: the first range of a batch is not mapped.
fn libc_efault() -> i32 {
    14
}

impl ReadMemory for Live {
    fn read_pieces(&self, pieces: &mut [Piece<'_>]) {
        for batch in pieces.chunks_mut(vm::RANGES) {
            if self.route.get() == Route::Batches && self.batch(batch) {
                continue;
            }
            self.route.set(Route::File);
            self.through_file(batch);
        }
    }
}
