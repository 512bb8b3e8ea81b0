//! The supervisor's side of the evidence process: starts it, takes its lines as they come, never
//! waits for it, and kills it at its deadline.
//!
//! Whatever goes wrong over there (no start, a crash, a hang, garbage, out of memory) becomes the
//! reason why facts are missing. The supervisor reaps; it tells by [`Collector::ended`].

use super::goroutines::Early;
use crate::exit::Ending;
use crate::policy::evidence::{Evidence, Why};
use crate::sys::spawn::{self, spawn};
use crate::sys::{fd, signals};
use crate::units::{Mono, Pid, Signal, Target};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The most that an answer may have, bytes.
const ANSWER_LIMIT: usize = 4 << 20;
/// The most taken in one turn of the loop, bytes: the program's stderr comes first.
const TURN_LIMIT: usize = 256 << 10;

/// How to start goinit once more: the path that is executed, and the descriptor that it may
/// stand on.
#[derive(Debug)]
pub struct Executable {
    path: CString,
    /// Held open where /proc is not there to name our own executable.
    _file: Option<File>,
}

impl Executable {
    /// Finds our own executable: /proc/self/exe, or without /proc the path we were started by,
    /// through a descriptor that keeps it when the file is replaced.
    #[must_use]
    pub fn own() -> Option<Self> {
        let proc = c"/proc/self/exe";
        if std::fs::exists("/proc/self/exe").unwrap_or(false) {
            return Some(Self { path: proc.to_owned(), _file: None });
        }
        // Not relative: goinit leaves its directory.
        let path = std::path::absolute(std::env::args_os().next()?).ok()?;
        let file = File::open(&path).ok()?;
        let path =
            CString::new(std::os::unix::ffi::OsStringExt::into_vec(path.into_os_string())).ok()?;
        Some(Self { path, _file: Some(file) })
    }

    /// Any program that answers like `goinit __evidence`: for tests of bad answers.
    #[must_use]
    pub fn at(path: CString) -> Self {
        Self { path, _file: None }
    }
}

/// What is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The program to look at.
    pub pid: Pid,
    /// What was opened right after its exec.
    pub early: &'a Early,
    /// Time between the two looks.
    pub sample: Duration,
    /// Time for all of it.
    pub deadline: Duration,
}

/// An evidence process under way.
#[derive(Debug)]
pub struct Collector {
    pid: Pid,
    answer: OwnedFd,
    /// The line that is not complete yet.
    rest: Vec<u8>,
    received: usize,
    evidence: Evidence,
    deadline: Mono,
    /// Whether the pipe has been read to its end, or given up.
    closed: bool,
    /// Why it was given up, or how it ended.
    fault: Option<Why>,
    /// Whether the supervisor reaped it.
    reaped: bool,
}

impl Collector {
    /// Starts the evidence process.
    ///
    /// # Errors
    /// Why there is none: to be used for [`failed`].
    pub fn start(executable: &Executable, plan: &Plan<'_>, now: Mono) -> Result<Self, Why> {
        let failed = |error: io::Error| Why::Failed(format!("not started: {error}"));
        let (answer, writer) = fd::pipe().map_err(failed)?;
        fd::set_nonblocking(answer.as_fd()).map_err(failed)?;
        let null = File::options().read(true).write(true).open("/dev/null").ok();
        let mut descriptors = vec![(writer.as_raw_fd(), 1)];
        if let Some(null) = &null {
            descriptors.extend([(null.as_raw_fd(), 0), (null.as_raw_fd(), 2)]);
        }
        // These keep their numbers, so that none can stand in another's place.
        descriptors.extend(inherited(plan.early).iter().map(|(_, fd)| (*fd, *fd)));
        let args = arguments(plan);
        let pid = spawn(spawn::Plan {
            path: &executable.path,
            args: &args,
            env: Vec::new(),
            descriptors: &descriptors,
            own_group: true,
            terminal: None,
            traceable: false,
        })
        .map_err(failed)?;
        Ok(Self {
            pid,
            answer,
            rest: Vec::new(),
            received: 0,
            evidence: Evidence { at: now, pid: plan.pid, ..Evidence::default() },
            deadline: now.after(plan.deadline),
            closed: false,
            fault: None,
            reaped: false,
        })
    }

    /// Its process number: the supervisor's reaper meets it.
    #[must_use]
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// When it has to be killed: call [`Self::expire`] then.
    #[must_use]
    pub const fn deadline(&self) -> Mono {
        self.deadline
    }

    /// The descriptor to poll; nothing when there is nothing more to read.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.closed).then(|| self.answer.as_fd())
    }

    /// Whether nothing more will come; then [`Self::finish`]. The end of the answer alone is not
    /// enough: only the reaper knows whether it was a good end.
    #[must_use]
    pub const fn done(&self) -> bool {
        self.closed && (self.reaped || self.fault.is_some())
    }

    /// Takes what has arrived, without waiting.
    pub fn read(&mut self) {
        let mut buffer = [0; 16 << 10];
        let mut taken = 0;
        while !self.closed && taken < TURN_LIMIT {
            match fd::read(self.answer.as_fd(), &mut buffer) {
                Ok(0) => self.closed = true,
                Ok(count) => {
                    taken = taken.saturating_add(count);
                    self.take(buffer.get(..count).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => self.give_up(Why::Failed(format!("its answer: {error}"))),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len());
        if self.received > ANSWER_LIMIT {
            self.give_up(Why::Malformed("an answer of more than 4 MiB".to_owned()));
            return;
        }
        for byte in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(byte);
            if self.rest.ends_with(b"\n") {
                self.evidence.absorb(&self.rest);
                self.rest.clear();
            }
        }
    }

    /// The deadline has passed: kills the process. What it told until now counts.
    pub fn expire(&mut self) {
        self.read();
        if !self.done() {
            self.give_up(Why::TimedOut);
        }
    }

    /// The supervisor reaped the process.
    pub fn ended(&mut self, ending: Ending) {
        self.reaped = true;
        if self.fault.is_none() {
            self.fault = match ending {
                Ending::Exited(0) => None,
                Ending::Exited(code) => Some(Why::Failed(format!("exit status {code}"))),
                Ending::Signalled { signal, .. } => {
                    Some(Why::Failed(format!("killed by {signal}")))
                }
            };
        }
        // It has no children, so nobody else can hold the pipe: what is there is all.
        self.read();
        self.closed = true;
    }

    fn give_up(&mut self, why: Why) {
        self.closed = true;
        self.fault.get_or_insert(why);
        self.kill();
    }

    fn kill(&self) {
        if !self.reaped {
            // Not reaped, so the number is still its own.
            let _ = signals::send(Target::Process(self.pid), Signal::KILL);
        }
    }

    /// The evidence: what arrived, and a reason for everything else. Kills what still runs.
    #[must_use]
    pub fn finish(mut self) -> Evidence {
        self.kill();
        let why = self.fault.take().unwrap_or(Why::NotAsked);
        self.evidence.close(&why);
        self.evidence
    }
}

/// Evidence for a process that could not even be started.
#[must_use]
pub fn failed(pid: Pid, why: &Why, now: Mono) -> Evidence {
    let mut evidence = Evidence { at: now, pid, ..Evidence::default() };
    evidence.close(why);
    evidence
}

/// Descriptors that the evidence process inherits, each with its name. What stands on a standard
/// stream's number would be overwritten, and is left out.
fn inherited(early: &Early) -> Vec<(&'static str, i32)> {
    let files = early.files().map(|(name, file)| (name, file.as_raw_fd()));
    files.filter(|(_, fd)| *fd > 2).collect()
}

fn arguments(plan: &Plan<'_>) -> Vec<CString> {
    // The process stops a little earlier by itself than it would be stopped.
    let deadline = plan.deadline.saturating_sub(plan.deadline / 10);
    let mut words = vec![
        "goinit".to_owned(),
        "__evidence".to_owned(),
        "--pid".to_owned(),
        plan.pid.to_string(),
        "--sample".to_owned(),
        plan.sample.as_millis().to_string(),
        "--deadline".to_owned(),
        deadline.as_millis().to_string(),
    ];
    for (name, fd) in inherited(plan.early) {
        words.extend([format!("--{name}-fd"), fd.to_string()]);
    }
    words.into_iter().filter_map(|word| CString::new(word).ok()).collect()
}
