//! What the loop looks at the program with, and what it starts beside it: the sampler, the
//! evidence process, the commands of a stall. Each may fail alone; the loop never waits for any.

use super::cgroup::{Counters, Places};
use super::collector::{Collector, Executable, Plan, failed};
use super::files::Root;
use super::goroutines::Early;
use super::sampler::Sampler;
use super::status::Publisher;
use crate::exit::Ending;
use crate::policy::evidence::Evidence;
use crate::policy::limits::Limits;
use crate::policy::progress::Sample;
use crate::policy::status::Status;
use crate::sys::fd;
use crate::sys::spawn::{self, spawn};
use crate::sys::start;
use crate::units::{Mono, Pid};
use std::borrow::Cow;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// Time between the two looks of the evidence process.
const SAMPLE: Duration = Duration::from_millis(100);
/// Time for all of it.
const DEADLINE: Duration = Duration::from_secs(3);
/// Processes of our own that may run at once beside the evidence process.
const HELPERS: usize = 8;

/// The state of it all.
#[derive(Debug)]
pub struct Lookout {
    /// The program.
    pid: Pid,
    /// Its memory and its executable, opened right after its exec.
    early: Early,
    executable: Option<Executable>,
    /// Where the sampler's counters are, until the first question: a program without heartbeat
    /// needs no sampler.
    places: Option<Places>,
    sampler: Option<Sampler>,
    collector: Option<Collector>,
    /// Evidence of a process that could not be started.
    stillborn: Option<Evidence>,
    helpers: Vec<Pid>,
    dump_dir: Option<PathBuf>,
    /// Made with the first status, tried once.
    publisher: Option<Publisher>,
    published: bool,
    /// Directories of the control group; the kernel tells when a file in them is written.
    _notices: Vec<File>,
}

impl Lookout {
    /// Looks at `pid`, with what was opened of it right after its exec, so that it stays readable
    /// when the program changes its user or makes itself non-dumpable.
    #[must_use]
    pub fn new(pid: Pid, early: Early, places: &Places, dump_dir: Option<PathBuf>) -> Self {
        Self {
            pid,
            early,
            executable: Executable::own(),
            places: Some(places.clone()),
            publisher: None,
            published: false,
            sampler: None,
            collector: None,
            stillborn: None,
            helpers: Vec::new(),
            dump_dir,
            _notices: notices(places),
        }
    }

    /// Asks for the program's counters.
    pub fn ask(&mut self) {
        if let Some(sampler) = self.sampler() {
            sampler.ask();
        }
    }

    /// Asks whether the limits are others than before, because a file of them was written.
    pub fn notice(&mut self) {
        if let Some(sampler) = self.sampler() {
            sampler.notice();
        }
    }

    fn sampler(&mut self) -> Option<&Sampler> {
        if let Some(places) = self.places.take() {
            self.sampler = Sampler::start(self.pid, Counters::of_cpu(&Root::live(), &places));
            if self.sampler.is_none() {
                log::warn!("no thread for the program's counters: progress is seen by output only");
            }
        }
        self.sampler.as_ref()
    }

    /// Publishes the status for `goinit probe`. Without a memory file there is nothing to probe.
    pub fn publish(&mut self, status: &Status) {
        if !std::mem::replace(&mut self.published, true) {
            self.publisher = Publisher::new()
                .inspect_err(|error| log::warn!("no memory file for probes: {error}"))
                .ok();
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.publish(status);
        }
    }

    /// Starts the evidence process, unless one is under way.
    pub fn collect(&mut self, now: Mono) {
        if self.collector.is_some() {
            return;
        }
        let plan = Plan { pid: self.pid, early: &self.early, sample: SAMPLE, deadline: DEADLINE };
        let none = || crate::policy::evidence::Why::Unsupported("no /proc/self/exe".to_owned());
        let started = match &self.executable {
            Some(executable) => Collector::start(executable, &plan, now),
            None => Err(none()),
        };
        match started {
            Ok(collector) => {
                log::debug!("evidence process {} started", collector.pid());
                self.helpers.push(collector.pid());
                self.collector = Some(collector);
            }
            Err(why) => self.stillborn = Some(failed(self.pid, &why, now)),
        }
    }

    /// Descriptors of the sampler and of the evidence process.
    #[must_use]
    pub fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 2] {
        let sampler = self.sampler.as_ref().map(Sampler::waker);
        [sampler, self.collector.as_ref().and_then(Collector::descriptor)]
    }

    /// When the evidence process has to be looked after.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let stillborn = self.stillborn.as_ref().map(|_| Mono(0));
        stillborn.or_else(|| self.collector.as_ref().map(Collector::deadline))
    }

    /// The sample that was asked for, and the limits when they may have changed.
    pub fn sample(&self) -> (Option<Sample>, Option<Box<Limits>>) {
        self.sampler.as_ref().map(Sampler::take).unwrap_or_default()
    }

    /// The evidence, when it is complete or its time is over.
    pub fn evidence(&mut self, now: Mono, readable: bool) -> Option<Evidence> {
        if let Some(evidence) = self.stillborn.take() {
            return Some(evidence);
        }
        let collector = self.collector.as_mut()?;
        if readable {
            collector.read();
        }
        if now >= collector.deadline() {
            collector.expire();
        }
        if !collector.done() {
            return None;
        }
        let evidence = self.collector.take().map(Collector::finish)?;
        log::debug!("evidence after {} ms", evidence.took_ms);
        Some(evidence)
    }

    /// Whether a process that ended is one of ours.
    pub fn is_own(&mut self, pid: Pid, ending: Ending) -> bool {
        if let Some(collector) = self.collector.as_mut().filter(|one| one.pid() == pid) {
            collector.ended(ending);
            self.helpers.retain(|helper| *helper != pid);
            return true;
        }
        let before = self.helpers.len();
        self.helpers.retain(|helper| *helper != pid);
        self.helpers.len() != before
    }

    /// Runs a command of the user's with `input` on its standard input.
    pub fn run(&mut self, command: &str, input: &str) {
        let Ok(command) = CString::new(command) else { return };
        let Ok((reader, writer)) = fd::pipe() else { return };
        if fd::set_nonblocking(writer.as_fd()).is_err() {
            return;
        }
        // The object is far smaller than a pipe, so this never waits and never falls short.
        let _ = fd::write(writer.as_fd(), input.as_bytes());
        drop(writer);
        let args = [c"sh".to_owned(), c"-c".to_owned(), command];
        self.start(c"/bin/sh", &args, &[(reader.as_raw_fd(), 0)]);
    }

    /// Writes the program's goroutines into the dump directory, by `goinit dump`.
    pub fn dump(&mut self) {
        let Some(directory) = &self.dump_dir else { return };
        let seconds = crate::sys::clock::now().wall.0 / 1_000_000_000;
        let path = directory.join(format!("goroutines-{}-{seconds}.txt", self.pid));
        let words = ["goinit", "dump", "--output"].map(OsString::from);
        let words = words.into_iter().chain([path.into(), self.pid.to_string().into()]);
        // That process opens the file: its file system may keep it waiting.
        let args: Result<Vec<_>, _> = words.map(|word| CString::new(word.into_vec())).collect();
        if let Ok(args) = args {
            self.start(c"/proc/self/exe", &args, &[]);
        }
    }

    fn start(&mut self, path: &std::ffi::CStr, args: &[CString], descriptors: &[(i32, i32)]) {
        if self.helpers.len() >= HELPERS {
            return;
        }
        let started = spawn(spawn::Plan {
            path,
            args,
            env: start::environment().map(Cow::Borrowed).collect(),
            descriptors,
            own_group: true,
            terminal: None,
            traceable: false,
        });
        if let Err(error) = &started {
            log::warn!("{} could not be started: {error}", path.to_string_lossy());
        }
        self.helpers.extend(started);
    }
}

/// Asks the kernel to tell when somebody writes to a file of the control groups that limit the
/// program (fcntl(2), F_NOTIFY): a changed limit is seen at once, without waking up to look.
/// Unlike inotify it takes nothing from the few instances that a user has on a whole node.
fn notices(places: &Places) -> Vec<File> {
    let cpu = places.cpu.as_ref().map(|(_, path)| path);
    let memory = places.memory.as_ref().map(|(_, path)| path).filter(|path| Some(*path) != cpu);
    let all = cpu.into_iter().chain(memory).chain(&places.quota);
    let open = |path: &Vec<u8>| {
        let directory = File::open(std::ffi::OsStr::from_bytes(path)).ok()?;
        fd::notify_of_writes(directory.as_fd()).ok().map(|()| directory)
    };
    all.filter_map(open).collect()
}
