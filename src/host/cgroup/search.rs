//! Finds a process's cgroup by its number, where a mount shows the hierarchy from above the top of
//! our cgroup namespace and no path leads to it (`docker run -v /sys/fs/cgroup:/sys/fs/cgroup` on
//! cgroup v2). Exactly as many levels down as the mount's root says, and no further.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::host::files::Root;
use crate::policy::limits::{Candidate, Distant};
use crate::units::Pid;

/// Directories that are looked at altogether; a node with 250 pods has some 2,000.
pub(super) const DIRECTORIES_MAX: usize = 4096;
/// Longest cgroup.procs that is read: 100,000 numbers.
const PROCS_MAX: usize = 1 << 20;

/// One search, with what is left of its work.
pub(super) struct Search<'r> {
    root: &'r Root,
    pid: Pid,
    left: usize,
    buffer: Vec<u8>,
}

impl<'r> Search<'r> {
    pub(super) fn new(root: &'r Root, pid: Pid) -> Self {
        Self { root, pid, left: DIRECTORIES_MAX, buffer: Vec::new() }
    }

    /// Whether there was more to look at than allowed.
    pub(super) fn gave_up(&self) -> bool {
        self.left == 0
    }

    /// The cgroup below a mount that holds the process.
    pub(super) fn below(&mut self, distant: &Distant) -> Option<Candidate> {
        let found = self.down(distant.point.clone(), distant.down, &distant.rest)?;
        let rest = found.get(distant.point.len()..)?.to_vec();
        Some(Candidate { point: distant.point.clone(), rest, mounted: false })
    }

    fn down(&mut self, directory: Vec<u8>, levels: usize, rest: &[u8]) -> Option<Vec<u8>> {
        if levels == 0 {
            let own = [directory.as_slice(), rest].concat();
            return self.holds(&own).then_some(own);
        }
        for name in self.children(&directory) {
            self.left = self.left.checked_sub(1)?;
            let child = [directory.as_slice(), b"/", &name].concat();
            if let Some(found) = self.down(child, levels - 1, rest) {
                return Some(found);
            }
        }
        None
    }

    fn children(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(directory));
        let Ok(path) = self.root.resolve(&path) else { return Vec::new() };
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        let directories = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.map(|entry| entry.file_name().into_vec()).take(self.left + 1).collect()
    }

    /// Whether this cgroup holds the process. Numbers are those of our own PID namespace.
    fn holds(&mut self, directory: &[u8]) -> bool {
        let file = [directory, b"/cgroup.procs"].concat();
        let pid = self.pid.to_string();
        self.root
            .read(&file, PROCS_MAX, &mut self.buffer)
            .is_ok_and(|text| text.split(|b| *b == b'\n').any(|line| line == pid.as_bytes()))
    }
}
