//! What can happen, and what can be done about it: the two closed enums between the loop and the
//! session. No callbacks: the loop turns descriptors into events and performs the actions.

use super::backlog::SinkReport;
use super::evidence::Evidence;
use super::limits::Limits;
use super::progress::Sample;
use super::status::Status;
use crate::exit::{Code, Ending};
use crate::units::{Pid, Received, Signal, Target};
use std::time::Duration;

/// Something happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A signal arrived.
    Signal(Received),
    /// A process ended: the program or an adopted orphan.
    Reaped(Reaped),
    /// A signal stopped a process.
    Stopped(Pid, Signal),
    /// SIGCONT set a stopped process going.
    Continued(Pid),
    /// No child is left at all.
    Childless,
    /// Bytes of the program's stderr: one write of it in packet mode.
    Stderr(&'a [u8]),
    /// Nothing more is waiting in the program's stderr.
    Quiet,
    /// Nobody can write to the program's stderr any more.
    StderrClosed,
    /// Where the log stands.
    Sink(SinkReport),
    /// Where the raw copy stands (`--raw FILE`).
    Copy(SinkReport),
    /// The program's counters, asked for by [`Action::Sample`].
    Sample(Sample),
    /// The limits of the container, when they may have changed.
    Limits(Box<Limits>),
    /// What the evidence process found, asked for by [`Action::Collect`].
    Evidence(Box<Evidence>),
    /// goinit itself did not run for so long beyond what it meant to wait.
    Gap(Duration),
    /// Time has passed.
    Tick,
}

/// A process that ended, with what was known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// Its number.
    pub pid: Pid,
    /// How it ended.
    pub ending: Ending,
    /// Its name and parent, if asked for (`--warn-reaped`) and still readable.
    pub identity: Option<Identity>,
    /// OOM kills in our memory cgroup so far, read when a SIGKILL ended the program.
    pub oom_kills: Option<u64>,
}

/// Name and family of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `comm`, at most 15 bytes.
    pub name: String,
    /// Its parent when it was reaped.
    pub parent: Pid,
}

/// Something to do, in the order given.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a signal.
    Send(Target, Signal),
    /// Stop ourselves like a shell job, the program having stopped.
    Suspend {
        /// With everybody in our own process group: its terminal stopped the program, and without
        /// goinit it would have stopped the whole job.
        job: bool,
    },
    /// Give the terminal back to the program, which goes on.
    Resume,
    /// Read the program's counters.
    Sample,
    /// Start the evidence process, unless one is under way.
    Collect,
    /// Run `--on-stall-exec` with the verdict, a JSON object, on its standard input.
    Run {
        /// The command, for /bin/sh.
        command: String,
        /// The object.
        input: String,
    },
    /// Tell probes how the run is.
    Publish(Box<Status>),
    /// Write the full goroutine dump into `--dump-dir`.
    Dump,
    /// Write the termination message.
    LeaveMessage(String),
    /// Flush the log and end with this code.
    Finish(Code),
}
