//! A whole look at the goroutines of a live process: executable, load address, memory, walk.
//!
//! Whoever calls this may hang (memory of a stuck process) and may meet a bug of ours; PID 1
//! never does: there it is done in a process of its own.

use super::binary::{self, Binary};
use super::described::{self, Threads};
use super::evidence::proc::Program as Process;
use super::files::Root;
use super::memory::Live;
use super::running;
use crate::go::element;
use crate::go::goroutine::Dump;
use crate::go::list::Marks;
use crate::go::program::{Program, Refused};
use crate::go::subject::Subject;
use crate::go::summary::{self, Summary};
use crate::go::walk::{GOROUTINES, Walker};
use crate::sys::{clock, trace};
use crate::units::{Mono, Pid};
use std::fs::{self, File};
use std::io;
use std::time::Duration;

pub use super::binary::Early;
pub use super::denied::Denied;

/// What is to be read, and how to reach it.
#[derive(Debug)]
pub struct Access {
    /// The process.
    pub pid: Pid,
    /// What was opened right after its exec.
    pub early: Early,
    /// Also read goroutines that are on a CPU: stops the thread of each for a moment. Not for a
    /// process that reaps children: its waits would take the stops.
    pub running: bool,
    /// Look twice, so far apart, and tell which goroutines moved.
    pub sample: Option<Duration>,
    /// Also find who has this channel or lock on the stack.
    pub subject: Option<Subject>,
}

impl Access {
    /// One look at a process, nothing opened before.
    #[must_use]
    pub fn to(pid: Pid) -> Self {
        Self { pid, early: Early::default(), running: false, sample: None, subject: None }
    }
}

/// Reads all goroutines of a process, until `deadline`.
///
/// # Errors
/// Why there is no dump, as a fragment that fits after "cannot read …: ".
pub fn read(mut access: Access, deadline: Mono) -> Result<Dump, Denied> {
    let pid = access.pid;
    let early = std::mem::take(&mut access.early).if_current();
    let entry = early.entry();
    let Early { memory, executable, .. } = early;
    let exe = match executable {
        Some(file) => Ok(file),
        None => open_executable(pid)?,
    };
    let entry = match entry {
        Some(entry) => entry,
        None => binary::entry(pid)
            .map_err(|error| Denied::by(pid, "auxv", error))?
            .ok_or(Denied::Refused(Refused::NotStarted))?,
    };
    let live = Live::new(pid, memory);
    live.probe(entry).map_err(|error| Denied::by(pid, "memory", error))?;
    let unusable = match exe.map_err(|error| Denied::File("executable", error)) {
        Ok(file) => {
            let binary = Binary::of_file(&file, entry)?;
            match look(&binary, &live, &access, deadline) {
                Err(Denied::Refused(Refused::NotGo | Refused::Table(_))) if binary.is_packed() => {}
                seen => return seen,
            }
            Denied::Refused(Refused::NotGo)
        }
        Err(why) => why,
    };
    // The file cannot be used: what it became can. Code is large and seldom holds the tables.
    for code in [false, true] {
        let Ok(binary) = Binary::of_mappings(pid, &live, code) else { return Err(unusable) };
        match look(&binary, &live, &access, deadline) {
            Err(Denied::Refused(Refused::NotGo)) => {}
            seen => return seen,
        }
    }
    Err(Denied::Refused(Refused::NotGo))
}

/// Opens the executable of `pid`; the inner error means that only the file itself is refused.
fn open_executable(pid: Pid) -> Result<io::Result<File>, Denied> {
    let path = format!("/proc/{pid}/exe");
    match File::open(&path) {
        Ok(file) => Ok(Ok(file)),
        Err(error) => match fs::read_link(&path) {
            Ok(_) => Ok(Err(error)),
            Err(error) => Err(Denied::by(pid, "exe", error)),
        },
    }
}

/// Reads the goroutines of a program whose executable is there.
fn look(binary: &Binary, live: &Live, access: &Access, deadline: Mono) -> Result<Dump, Denied> {
    let image = binary.image().ok_or(Denied::Refused(Refused::NotGo))?;
    let program = Program::locate(image, live).map_err(Denied::Refused)?;
    let process = Process::new(Root::live(), access.pid);
    let expired = || clock::mono() >= deadline;
    let mut walker = Walker::new(&program, live);
    if let Some(apart) = access.sample {
        let before = clock::mono();
        let marks = Marks::read(&program, live, GOROUTINES);
        trace::pause(u16::try_from(apart.as_millis()).unwrap_or(u16::MAX));
        let age = clock::mono().since(before).as_nanos();
        walker.compare(marks, u64::try_from(age).unwrap_or(u64::MAX));
    }
    walker.read(&expired);
    let threads = if walker.goroutines().iter().any(|goroutine| goroutine.thread != 0) {
        Threads::read(&process)
    } else {
        Threads::default()
    };
    if access.running {
        running::add_stacks(&threads, &mut walker, deadline);
    }
    let asked = access.subject.map_or_else(Vec::new, |subject| walker.addresses(subject));
    walker.find_holders(&asked, &expired);
    let mut dump = walker.finish();
    dump.elements = element::names(live, &program, dump.channels.keys().copied());
    described::describe(&process, &threads, live.file(), &mut dump);
    Ok(dump)
}

/// What the evidence of a hang needs of all goroutines.
///
/// # Errors
/// As [`read`].
pub fn summary(access: Access, deadline: Mono) -> Result<Summary, Denied> {
    let dump = read(access, deadline)?;
    Ok(Summary::of(&dump, clock::mono().0, summary::GROUPS))
}
