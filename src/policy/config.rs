//! What the user asked for, as plain values. The flags that set it are in `cli/flags.rs`.

use crate::exit::Code;
use crate::units::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// What to do about a program that stalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStall {
    /// Say what is wrong, again at growing intervals, and let it run.
    #[default]
    Report,
    /// Say what is wrong, then TERM, grace period, KILL; exit 123.
    Exit,
    /// As `Exit`, with SIGQUIT first: the Go runtime prints every goroutine itself.
    Quit,
}

/// What becomes of the program's stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stderr {
    /// Lines become records, JSON lines pass through, runtime output is taken apart.
    #[default]
    Auto,
    /// As `Auto`, but JSON lines are wrapped as well.
    Wrap,
    /// Everything that is not runtime output passes through unchanged.
    Raw,
}

/// Where a copy of the program's untouched stderr goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// Appended to this file.
    File(PathBuf),
    /// Into the log itself, line by line, beside what is made of it.
    Log,
}

/// Which scheduler snapshots reach the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchedLog {
    /// Every one.
    All,
    /// The first, each change of the picture, and one every 30 seconds.
    #[default]
    Change,
    /// None, until something is wrong.
    Off,
}

/// What happens when the log's reader stops reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFull {
    /// Records are given up and counted; the program runs on.
    #[default]
    Drop,
    /// The program is held up, and with it its whole scheduler.
    Block,
}

/// Where the termination message goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Termination {
    /// `/dev/termination-log`, or the place Kubernetes mounted for it, if that exists.
    #[default]
    Auto,
    /// This file.
    File(PathBuf),
    /// Nowhere.
    Off,
}

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Adopt orphans although we are not PID 1. (When we are not, we do so unasked.)
    pub subreaper: bool,
    /// Signal the kernel sends us when our parent dies.
    pub parent_death: Option<Signal>,
    /// Signals go to the program's process group; what is left of it gets TERM at the end.
    pub group: bool,
    /// The program stays in our process group and alone gets our signals.
    pub single_child: bool,
    /// A record for each adopted orphan.
    pub warn_reaped: bool,
    /// Exit code of the program → ours.
    pub remap: Vec<(u8, u8)>,
    /// Received signal → the one passed on; `None` drops it.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// More words about what goinit does.
    pub verbose: bool,
    /// No progress for this long is a stall; zero switches the watchdog off.
    pub stall_after: Duration,
    /// What to do then.
    pub on_stall: OnStall,
    /// A command that gets the verdict as JSON on its stdin.
    pub on_stall_exec: Option<String>,
    /// Deadline of the whole run.
    pub timeout: Option<Duration>,
    /// TERM becomes KILL after this long.
    pub grace: Option<Duration>,
    /// TERM is held back this long.
    pub pre_stop_delay: Duration,
    /// How long last words are waited for when a grandchild holds the pipe.
    pub drain: Duration,
    /// End only when every descendant has ended.
    pub wait_for_all: bool,
    /// What becomes of the program's stderr; `None` lets the terminal decide.
    pub stderr: Option<Stderr>,
    /// Where a copy of the raw stream goes.
    pub raw: Option<Raw>,
    /// Which snapshots are logged.
    pub sched_log: SchedLog,
    /// What happens when the log is full.
    pub log_full: LogFull,
    /// Where the termination message goes.
    pub termination: Termination,
    /// Its size, 256 to 4,096 bytes.
    pub termination_bytes: usize,
    /// Directory for full goroutine dumps.
    pub dump_dir: Option<PathBuf>,
    /// Exit code at the deadline.
    pub exit_on_timeout: Code,
    /// Exit code after a stall that goinit ended.
    pub exit_on_stall: Code,
    /// A line of the program that says it is ready.
    pub ready_on: Option<String>,
    /// A file that says it is ready.
    pub ready_file: Option<PathBuf>,
}

/// How long TERM is waited for after goinit itself decided to end the program, unless `--grace`
/// says otherwise: well inside Kubernetes' default of 30 s.
pub const OWN_GRACE: Duration = Duration::from_secs(10);

impl Default for Config {
    fn default() -> Self {
        Self {
            subreaper: false,
            parent_death: None,
            group: false,
            single_child: false,
            warn_reaped: false,
            remap: Vec::new(),
            rewrite: Vec::new(),
            verbose: false,
            stall_after: Duration::from_secs(30),
            on_stall: OnStall::default(),
            on_stall_exec: None,
            timeout: None,
            grace: None,
            pre_stop_delay: Duration::ZERO,
            drain: Duration::from_secs(1),
            wait_for_all: false,
            stderr: None,
            raw: None,
            sched_log: SchedLog::default(),
            log_full: LogFull::default(),
            termination: Termination::default(),
            termination_bytes: 1_024,
            dump_dir: None,
            exit_on_timeout: Code::DEADLINE,
            exit_on_stall: Code::STALL,
            ready_on: None,
            ready_file: None,
        }
    }
}

impl Config {
    /// What a received signal becomes on its way to the program; `None` when it is dropped.
    #[must_use]
    pub fn rewritten(&self, signal: Signal) -> Option<Signal> {
        match self.rewrite.iter().rev().find(|(from, _)| *from == signal) {
            Some((_, to)) => *to,
            None => Some(signal),
        }
    }

    /// The final exit code for `code`.
    #[must_use]
    pub fn remapped(&self, code: Code) -> Code {
        match self.remap.iter().rev().find(|(from, _)| *from == code.0) {
            Some((_, to)) => Code(*to),
            None => code,
        }
    }
}
