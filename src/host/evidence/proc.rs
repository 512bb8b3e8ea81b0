//! Reading /proc: bounded, and with a reason when it cannot be read.

use crate::host::files::Root;
use crate::policy::evidence::Why;
use crate::sys::limits;
use crate::units::Pid;
use std::io;
use std::path::Path;

/// Room for a file about one process or thread.
pub(crate) const SMALL: usize = 64 * 1024;
/// Room for a table of the whole system.
pub(crate) const LARGE: usize = 4 * 1024 * 1024;

/// The program that is looked at, through /proc.
#[derive(Debug)]
pub(crate) struct Program {
    root: Root,
    /// Its number.
    pub(crate) pid: Pid,
}

impl Program {
    pub(crate) fn new(root: Root, pid: Pid) -> Self {
        Self { root, pid }
    }

    /// Where files are read.
    pub(crate) const fn root(&self) -> &Root {
        &self.root
    }

    /// The contents of /proc/PID/`name`, at most `limit` bytes.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, Why> {
        self.read_at(&format!("/proc/{}/{name}", self.pid), limit)
    }

    /// The contents of any file, at most `limit` bytes.
    pub(crate) fn read_at(&self, path: &str, limit: usize) -> Result<Vec<u8>, Why> {
        let mut bytes = Vec::new();
        match self.root.read(path.as_bytes(), limit, &mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.why(&error, path)),
        }
    }

    /// What the link /proc/PID/`name` says.
    pub(crate) fn link(&self, name: &str) -> Result<String, Why> {
        let path = format!("/proc/{}/{name}", self.pid);
        match std::fs::read_link(self.root.locate(Path::new(&path))) {
            Ok(target) => Ok(target.to_string_lossy().into_owned()),
            Err(error) => Err(self.why(&error, &path)),
        }
    }

    /// The entries of a directory that are numbers, in order, at most `limit` of them; and how
    /// many there are in all.
    pub(crate) fn numbers(&self, path: &str, limit: usize) -> Result<(Vec<u32>, u64), Why> {
        let entries = std::fs::read_dir(self.root.locate(Path::new(path)))
            .map_err(|error| self.why(&error, path))?;
        let mut all: Vec<u32> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect();
        all.sort_unstable();
        let count = u64::try_from(all.len()).unwrap_or(u64::MAX);
        all.truncate(limit);
        Ok((all, count))
    }

    /// Why a file could not be read.
    fn why(&self, error: &io::Error, path: &str) -> Why {
        /// ESRCH: the process ended while its file was open.
        const NO_SUCH_PROCESS: i32 = 3;
        if error.raw_os_error() == Some(NO_SUCH_PROCESS) {
            return Why::Gone;
        }
        if error.kind() == io::ErrorKind::PermissionDenied {
            return Why::Denied(format!("{path}: {error}"));
        }
        if error.kind() != io::ErrorKind::NotFound {
            return Why::Unsupported(format!("{path}: {error}"));
        }
        if self.root.locate(Path::new(&format!("/proc/{}", self.pid))).exists() {
            return Why::Unsupported(format!("{path} does not exist"));
        }
        absent(&self.root, self.pid)
    }
}

/// Why a process has no directory in /proc.
pub(super) fn absent(root: &Root, pid: Pid) -> Why {
    if !root.locate(Path::new("/proc/self")).exists() {
        Why::Unsupported("/proc is not mounted".to_owned())
    } else if limits::exists(pid) {
        Why::Denied(format!("/proc/{pid} is hidden"))
    } else {
        Why::Gone
    }
}
