//! Where the status page lives: in an anonymous memory file of goinit that a probe finds below
//! /proc. It needs no writable file system, no port and no path.
//!
//! Who may open it: whoever may inspect goinit by the rules of ptrace(2), "ptrace access mode
//! checking", PTRACE_MODE_READ: the same user and group numbers and no fewer capabilities than
//! goinit has, or CAP_SYS_PTRACE. `kubectl exec` and probes run with the container's own user and
//! capabilities, so they may. Yama does not restrict reading. Everybody else reads the name of the
//! process, which is a sign of the same status.

use crate::policy::sign::Sign;
use crate::policy::status::{NAME, PAGE, Status};
use crate::sys::{job, memfile};
use crate::units::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Writes the page. One thread writes; readers check the numbers.
#[derive(Debug)]
pub struct Publisher {
    file: File,
    number: u64,
    last: Status,
}

impl Publisher {
    /// Makes the memory file, with an empty status in it.
    ///
    /// # Errors
    /// The kernel's: no descriptor left, no memory. The run goes on without; probes then say so.
    pub fn new() -> io::Result<Self> {
        let size = u64::try_from(PAGE).unwrap_or(0);
        let mut publisher =
            Self { file: memfile::sealed(NAME, size)?, number: 0, last: Status::default() };
        publisher.write();
        Ok(publisher)
    }

    /// Publishes a status if it says something new. Memory: it never waits for a device.
    pub fn publish(&mut self, status: &Status) {
        if *status != self.last {
            self.last.clone_from(status);
            self.write();
        }
    }

    fn write(&mut self) {
        job::set_name(Sign::of(&self.last).name());
        self.number = self.number.wrapping_add(1);
        // A page that could not be written keeps its old number and the old status.
        let _ = self.file.write_all_at(&self.last.page(self.number), 0);
    }
}

/// A goinit that was found.
#[derive(Debug)]
pub struct Found {
    /// Its number, as we count.
    pub goinit: Pid,
    /// What it says.
    pub view: View,
}

/// How much of a goinit can be seen.
#[derive(Debug, PartialEq, Eq)]
pub enum View {
    /// Its status page.
    Page(Box<Status>),
    /// The name of its process: its memory file is not for this user.
    Name(Sign),
}

/// Why there is no status.
#[derive(Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No process of ours that can be seen has such a file.
    Nobody,
    /// Some processes could not be looked into; the first of them.
    Denied(Pid),
    /// More than one goinit in this container.
    Several(Vec<Pid>),
    /// The file was there but could not be read.
    Unreadable(String),
}

impl std::fmt::Display for NotFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("no goinit runs here: is it the container's entrypoint?"),
            Self::Denied(pid) => write!(
                f,
                "process {pid} may not be inspected and its name tells nothing: is it a goinit? Its \
                 own user, group and capabilities, or CAP_SYS_PTRACE, see more (ptrace(2), \
                 PTRACE_MODE_READ)"
            ),
            Self::Several(pids) => {
                let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
                write!(f, "several goinit run here ({}): name one with --pid", list.join(", "))
            }
            Self::Unreadable(why) => write!(f, "the status cannot be read: {why}"),
        }
    }
}

/// Finds the goinit of this container: process 1, or, with a shared PID namespace, whoever has a
/// status file and our mount namespace. `only` looks at one process.
///
/// # Errors
/// Nobody was found, or several.
pub fn find(only: Option<Pid>) -> Result<Found, NotFound> {
    let first = only.unwrap_or(Pid(1));
    let mut denied = None;
    match look(first) {
        Ok(Some(file)) => return read(first, &file),
        Ok(None) => {}
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if let Some(sign) = sign(first) {
                return Ok(Found { goinit: first, view: View::Name(sign) });
            }
            denied = Some(first);
        }
        Err(_) => {}
    }
    if only.is_none() {
        let mut all: Vec<(Pid, Place)> = Vec::new();
        for pid in processes().into_iter().filter(|pid| *pid != first && is_ours(*pid)) {
            let place = match look(pid) {
                Ok(file) => file.map(Place::File),
                Err(_) => sign(pid).map(Place::Name),
            };
            all.extend(place.map(|place| (pid, place)));
        }
        match all.as_slice() {
            [] => {}
            [(pid, Place::File(file))] => return read(*pid, file),
            [(pid, Place::Name(sign))] => {
                return Ok(Found { goinit: *pid, view: View::Name(*sign) });
            }
            several => {
                return Err(NotFound::Several(several.iter().map(|(pid, _)| *pid).collect()));
            }
        }
    }
    Err(denied.map_or(NotFound::Nobody, NotFound::Denied))
}

/// Whether a process counts processes as we do: it is in our PID namespace.
#[must_use]
pub fn counts_as_we_do(pid: Pid) -> bool {
    let ours = fs::read_link("/proc/self/ns/pid");
    let theirs = fs::read_link(format!("/proc/{pid}/ns/pid"));
    ours.is_ok_and(|ours| theirs.is_ok_and(|theirs| ours == theirs))
}

/// Where a goinit shows its status.
enum Place {
    File(PathBuf),
    Name(Sign),
}

/// What the name of a process says; everybody may read that.
fn sign(pid: Pid) -> Option<Sign> {
    Sign::parse(&fs::read_to_string(format!("/proc/{pid}/comm")).ok()?)
}

/// Whether a process belongs to this container, when containers share their PID namespace: it has
/// our mount namespace, or, where that may not be looked at, our control group.
fn is_ours(pid: Pid) -> bool {
    let mounts = |who: &str| fs::read_link(format!("/proc/{who}/ns/mnt"));
    let group = |who: &str| fs::read(format!("/proc/{who}/cgroup"));
    let Ok(ours) = mounts("self") else { return false };
    match mounts(&pid.to_string()) {
        Ok(theirs) => theirs == ours,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let ours = group("self");
            ours.is_ok_and(|ours| group(&pid.to_string()).is_ok_and(|theirs| theirs == ours))
        }
        Err(_) => false,
    }
}

fn processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(Pid);
    entries.filter_map(|entry| number(entry.ok()?)).collect()
}

/// The status file among a process's descriptors.
fn look(pid: Pid) -> io::Result<Option<PathBuf>> {
    let wanted = format!("/memfd:{NAME} (deleted)");
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        if fs::read_link(&path).is_ok_and(|link| link == Path::new(&wanted)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Reads the page; one that is being written is whole again at once.
fn read(goinit: Pid, path: &Path) -> Result<Found, NotFound> {
    const TRIES: usize = 1000;
    let unreadable =
        |error: io::Error| NotFound::Unreadable(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(unreadable)?;
    let mut page = [0u8; PAGE];
    for _ in 0..TRIES {
        file.read_exact_at(&mut page, 0).map_err(unreadable)?;
        if let Some(status) = Status::parse(&page) {
            return Ok(Found { goinit, view: View::Page(Box::new(status)) });
        }
    }
    Err(NotFound::Unreadable("it is of another version of goinit".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_found_by_its_name() {
        let me = Pid(i32::try_from(std::process::id()).unwrap());
        let mut publisher = Publisher::new().unwrap();
        let page = || match find(Some(me)).unwrap().view {
            View::Page(status) => *status,
            View::Name(sign) => panic!("only {sign:?}"),
        };
        assert_eq!(page(), Status::default());
        for beats in 1..50 {
            let status = Status { beats, sentence: "x".repeat(80), ..Status::default() };
            publisher.publish(&status);
            assert_eq!(page(), status);
        }
        assert!(publisher.file.set_len(0).is_err(), "the size is sealed");
        drop(publisher);
        assert_eq!(find(Some(me)).unwrap_err(), NotFound::Nobody);
    }

    #[test]
    fn a_process_that_is_not_there_is_nobody() {
        assert_eq!(find(Some(Pid(i32::MAX))).unwrap_err(), NotFound::Nobody);
    }
}
