//! The pure brain of a run: what happened goes in, what to do comes out.
//!
//! Two halves. The init half is this file and [`Shutdown`]: it forwards, reaps, waits and ends,
//! and has no reason to fail. The other half, [`Diagnosis`], reads the program's stderr and looks
//! for stalls; a panic in it is caught here, becomes a `goinit.defect` record, and the run goes
//! on as a plain init that passes stderr through.

use super::backlog::Class;
use super::config::{Config, LogFull, Raw};
use super::diagnosis::{Diagnosis, EVIDENCE_LIMIT};
use super::event::{Action, Event, Reaped};
use super::farewell;
use super::losses::Losses;
use super::outbox::Outbox;
use super::record::{Origin, Record, Severity};
use super::repeat::Repeater;
use super::shutdown::{Reason, Shutdown};
use crate::exit::Ending;
use crate::units::{Mono, Now, Pid, Received, Signal, Target, Wall};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What the session has to know about the start.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// The program.
    pub child: Pid,
    /// Whether it leads a process group of its own.
    pub own_group: bool,
    /// Whether its stderr is a pipe of ours.
    pub piped: bool,
    /// Whether we may suspend ourselves like a shell job: not PID 1, and a shell is there.
    pub job_control: bool,
    /// Whether the program keeps its terminal: records below a warning are not for it.
    pub interactive: bool,
    /// When it was started.
    pub at: Mono,
}

/// The state of a run.
#[derive(Debug)]
pub struct Session {
    pub(super) config: Config,
    pub(super) birth: Birth,
    pub(super) shutdown: Shutdown,
    pub(super) outbox: Outbox,
    pub(super) diagnosis: Option<Box<Diagnosis>>,
    pub(super) counts: Counts,
    pub(super) losses: Losses,
    /// The program's end, once known.
    pub(super) end: Option<Reaped>,
    /// Signals whose records are not written yet: passing them on comes first.
    heard: Vec<Heard>,
    /// The last signal was one that stops a job, sent to us and not by the program's terminal.
    stop_passed: bool,
    /// Its terminal stopped the program's whole process group.
    job_stopped: bool,
    /// The runtime's monitor thread, once evidence has shown it.
    pub(super) sysmon: Option<Pid>,
    /// The deadline has passed and evidence is being collected until then.
    looking: Option<Mono>,
    /// Nothing more is in the program's stderr.
    read_out: bool,
    /// Everything is over, and until then what is still on its way is waited for.
    settles: Option<Mono>,
    finished: bool,
    /// Passes stderr on when the diagnosis has failed.
    plain: Repeater,
}

/// How long the last record waits for what it shall tell of.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

/// A signal that arrived.
#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Wall,
    received: Received,
    fate: Fate,
}

/// What became of a signal.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Passed(Signal),
    HeldBack,
    Dropped,
    TooLate,
}

/// What is counted for the last record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) signals: u64,
    pub(super) orphans: u64,
}

/// Whether a signal stops a shell's job.
fn is_job_stop(signal: Signal) -> bool {
    matches!(signal, Signal::TSTP | Signal::TTIN | Signal::TTOU)
}

impl Session {
    /// A session of a program that was just started.
    #[must_use]
    pub fn new(config: Config, birth: Birth, outbox: Outbox, diagnosis: Diagnosis) -> Self {
        let shutdown = Shutdown::new(&config, birth.piped);
        let losses = Losses::new(matches!(config.raw, Some(Raw::File(_))));
        Self {
            config,
            birth,
            shutdown,
            outbox,
            diagnosis: Some(Box::new(diagnosis)),
            counts: Counts::default(),
            losses,
            end: None,
            heard: Vec::new(),
            stop_passed: false,
            job_stopped: false,
            sysmon: None,
            looking: None,
            read_out: false,
            settles: None,
            finished: false,
            plain: Repeater::default(),
        }
    }

    /// Takes one event; gives what to do, in order. Records go to [`Session::outbox`].
    #[must_use]
    pub fn step(&mut self, now: Now, event: &Event<'_>) -> Vec<Action> {
        let mut actions = Vec::new();
        // The last record is the last one, whatever else the same turn of the loop brings.
        if self.finished {
            return actions;
        }
        if let Event::Signal(received) = event {
            self.signal(now, *received, &mut actions);
        } else {
            self.tell_signals();
        }
        match event {
            Event::Reaped(reaped) => self.reaped(now, reaped, &mut actions),
            Event::Stopped(pid, signal) => self.stopped(*pid, *signal, &mut actions),
            Event::Childless => self.shutdown.childless(now.mono),
            Event::StderrClosed => {
                self.read_out = true;
                self.shutdown.pipe_closed(now.mono);
            }
            Event::Quiet => self.read_out = self.shutdown.is_over(),
            Event::Sink(report) => {
                let said = self.losses.log(*report);
                self.say(now, said);
            }
            Event::Copy(report) => {
                let said = self.losses.copy(*report);
                self.say(now, said);
            }
            Event::Tick => self.tick(now, &mut actions),
            Event::Evidence(_) if self.looking.is_some() => self.looking = Some(now.mono),
            Event::Continued(_)
            | Event::Signal(_)
            | Event::Stderr(_)
            | Event::Sample(_)
            | Event::Limits(_)
            | Event::Evidence(_)
            | Event::Gap(_) => {}
        }
        self.diagnose(now, event, &mut actions);
        if self.shutdown.is_over() && self.is_settled(now) {
            self.finished = true;
            // Somebody else holds the pipe: a last line without an end stays the last.
            if self.shutdown.pipe_left_open() {
                self.diagnose(now, &Event::StderrClosed, &mut actions);
            }
            farewell::say(self, now, &mut actions);
        }
        actions
    }

    /// The earliest instant at which something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let diagnosis = self.diagnosis.as_deref().and_then(|one| one.deadline(self));
        let known = [self.shutdown.deadline(), self.timeout(), diagnosis, self.settles];
        known.into_iter().flatten().min()
    }

    /// Records waiting for the log.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether more of the program's stderr may be read; only `--log-full=block` ever says no.
    #[must_use]
    pub fn wants_stderr(&self) -> bool {
        !self.keeps() || self.losses.has_room()
    }

    /// Whether no record may be given up: then the program waits instead, as long as it lives.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.config.log_full == LogFull::Block && !self.shutdown.is_over()
    }

    /// Whether what the program does is progress or a stall. When it has ended, or its end was
    /// decided here, it is neither, and the verdict stands.
    pub(super) fn is_watched(&self) -> bool {
        self.shutdown.is_running() && self.shutdown.reason().is_none()
    }

    /// Whether the last record can tell everything: the raw copy is written, and what
    /// `--log-full=block` left in the pipe is read. Neither is waited for longer than a moment.
    fn is_settled(&mut self, now: Now) -> bool {
        let until = *self.settles.get_or_insert(now.mono.after(SETTLE_LIMIT));
        let left = self.config.log_full == LogFull::Block && self.birth.piped && !self.read_out;
        now.mono >= until || (!left && self.losses.copy_is_settled())
    }

    fn say(&mut self, now: Now, record: Option<Record>) {
        if let Some(record) = record {
            self.outbox.post(now.wall, Class::Vital, &record);
        }
    }

    fn target(&self) -> Target {
        if self.config.group && self.birth.own_group {
            Target::Group(self.birth.child)
        } else {
            Target::Process(self.birth.child)
        }
    }

    fn signal(&mut self, now: Now, received: Received, actions: &mut Vec<Action>) {
        self.counts.signals += 1;
        let signal = received.signal;
        let fate = if !self.shutdown.is_running() {
            Fate::TooLate
        } else if let Some(passed) = self.shutdown.received(now.mono, signal, &self.config) {
            let mut target = self.target();
            if passed == Signal::CONT {
                actions.push(Action::Resume);
                if std::mem::take(&mut self.job_stopped) && self.birth.own_group {
                    target = Target::Group(self.birth.child);
                }
            }
            self.stop_passed = is_job_stop(passed);
            actions.push(Action::Send(target, passed));
            Fate::Passed(passed)
        } else if signal == Signal::TERM && self.config.rewritten(signal).is_some() {
            Fate::HeldBack
        } else {
            Fate::Dropped
        };
        self.heard.push(Heard { at: now.wall, received, fate });
    }

    /// Writes down the signals that were passed on.
    fn tell_signals(&mut self) {
        for Heard { at, received, fate } in std::mem::take(&mut self.heard) {
            let name = received.signal;
            let from = received.from.map_or(String::new(), |pid| format!(" from pid {pid}"));
            let (what, sent) = match fate {
                Fate::Passed(signal) if signal == name => ("passed on to the program".into(), None),
                Fate::Passed(signal) => {
                    (format!("passed on to the program as {signal}"), Some(signal))
                }
                Fate::TooLate => ("the program has ended already".into(), None),
                Fate::HeldBack => {
                    let delay = humantime::format_duration(self.config.pre_stop_delay);
                    (format!("held back for {delay} (--pre-stop-delay)"), None)
                }
                Fate::Dropped => ("dropped (--rewrite)".into(), None),
            };
            let message = format!("{name}{from}: {what}");
            let record = Record::new(Severity::Info, "goinit.signal", Origin::Goinit, message)
                .put("signal.name", name.to_string())
                .put_some("signal.from_pid", received.from.map(|pid| pid.0))
                .put_some("signal.sent", sent.map(|signal| signal.to_string()));
            self.outbox.post(at, Class::Vital, &record);
        }
    }

    fn tick(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.timeout().is_some_and(|at| now.mono >= at) {
            self.deadline_passed(now, actions);
        }
        for signal in self.shutdown.tick(now.mono) {
            self.escalate(now, signal, actions);
        }
    }

    /// The run's own deadline: first a look at what the program does, then its end.
    fn deadline_passed(&mut self, now: Now, actions: &mut Vec<Action>) {
        if self.diagnosis.is_some() && self.looking.is_none() {
            self.looking = Some(now.mono.after(EVIDENCE_LIMIT));
            actions.push(Action::Collect);
            return;
        }
        if let Some(mut diagnosis) = self.diagnosis.take() {
            // The same boundary as for events: a fault in judging must not keep the program
            // alive beyond its deadline.
            let judged = catch_unwind(AssertUnwindSafe(|| {
                diagnosis.at_deadline(now, self);
                diagnosis
            }));
            self.diagnosis = judged.ok();
        }
        self.end(now, Reason::Deadline, actions);
    }

    /// When the run's own deadline is due, as long as it can be.
    fn timeout(&self) -> Option<Mono> {
        let pending = self.shutdown.is_running() && self.shutdown.reason().is_none();
        let due = self.config.timeout.filter(|_| pending).map(|after| self.birth.at.after(after));
        due.map(|at| self.looking.unwrap_or(at))
    }

    /// goinit itself ends the program.
    pub(super) fn end(&mut self, now: Now, reason: Reason, actions: &mut Vec<Action>) {
        if let Some(signal) = self.shutdown.end(now.mono, reason, &self.config) {
            // The thread that handles SIGQUIT wants the scheduler's lock, which it may hold itself
            // when it was interrupted: only sysmon, asleep, never does (runtime/proc.go).
            let target = match self.sysmon {
                Some(thread) if signal == Signal::QUIT => Target::Thread(self.birth.child, thread),
                Some(_) | None if signal == Signal::QUIT => Target::Process(self.birth.child),
                Some(_) | None => self.target(),
            };
            actions.push(Action::Send(target, signal));
        }
    }

    /// Sends a signal that became due.
    fn escalate(&mut self, now: Now, signal: Signal, actions: &mut Vec<Action>) {
        let message = if signal == Signal::KILL {
            "the program has not ended in its grace period: SIGKILL".to_owned()
        } else {
            format!("{signal} is due: passed on to the program")
        };
        // What was only held back is as it should be.
        let planned = signal != Signal::KILL && self.shutdown.reason().is_none();
        let severity = if planned { Severity::Info } else { Severity::Warn };
        let record = Record::new(severity, "goinit.signal", Origin::Goinit, message)
            .put("signal.name", signal.to_string());
        self.outbox.post(now.wall, Class::Vital, &record);
        actions.push(Action::Send(self.target(), signal));
    }

    fn reaped(&mut self, now: Now, reaped: &Reaped, actions: &mut Vec<Action>) {
        if reaped.pid != self.birth.child {
            self.orphan(now, reaped);
            return;
        }
        if self.end.is_some() {
            return;
        }
        self.end = Some(reaped.clone());
        self.shutdown.child_ended(now.mono);
        if self.config.group && self.birth.own_group {
            actions.push(Action::Send(Target::Group(self.birth.child), Signal::TERM));
        }
    }

    fn orphan(&mut self, now: Now, reaped: &Reaped) {
        self.counts.orphans += 1;
        let Some(identity) = &reaped.identity else { return };
        let status = match reaped.ending {
            Ending::Exited(code) => format!("exit code {code}"),
            Ending::Signalled { signal, .. } => signal.to_string(),
        };
        let name = if identity.name.is_empty() { "?" } else { &identity.name };
        let message = format!("reaped orphan {} ({name}): {status}", reaped.pid);
        let record = Record::new(Severity::Debug, "goinit.orphan", Origin::Goinit, message)
            .put("orphan.pid", reaped.pid.0)
            .put("orphan.name", identity.name.clone())
            .put("orphan.parent_pid", identity.parent.0);
        let record = match reaped.ending {
            Ending::Exited(code) => record.put("orphan.exit.code", code),
            Ending::Signalled { signal, .. } => {
                record.put("orphan.exit.signal", signal.to_string())
            }
        };
        self.outbox.post(now.wall, Class::Debug, &record);
    }

    fn stopped(&mut self, pid: Pid, signal: Signal, actions: &mut Vec<Action>) {
        if pid != self.birth.child || !is_job_stop(signal) {
            return;
        }
        let by_terminal = !std::mem::take(&mut self.stop_passed);
        if self.birth.job_control {
            self.job_stopped = by_terminal;
            actions.push(Action::Suspend { job: by_terminal });
        } else if by_terminal && signal == Signal::TSTP && self.birth.interactive {
            // Ctrl-Z where no shell could bring the program back (`docker run -it`). Without an
            // init it would have been PID 1 itself, which no Ctrl-Z stops.
            actions.push(Action::Send(Target::Group(self.birth.child), Signal::CONT));
        }
    }

    /// Lets the diagnosis see the event; a panic in it ends the diagnosis, not the run.
    fn diagnose(&mut self, now: Now, event: &Event<'_>, actions: &mut Vec<Action>) {
        let Some(mut diagnosis) = self.diagnosis.take() else {
            if let Event::Stderr(bytes) = event {
                self.plain.feed(bytes, &mut self.outbox);
            } else if matches!(event, Event::StderrClosed) {
                self.plain.end(&mut self.outbox);
            }
            return;
        };
        let seen = catch_unwind(AssertUnwindSafe(|| {
            diagnosis.see(now, event, self, actions);
            diagnosis
        }));
        match seen {
            Ok(diagnosis) => self.diagnosis = Some(diagnosis),
            Err(payload) => {
                let cause = payload
                    .downcast_ref::<&str>()
                    .map(|text| (*text).to_owned())
                    .or_else(|| payload.downcast_ref::<String>().cloned())
                    .unwrap_or_default();
                let message = "a fault in goinit's own diagnosis: it is off now, the program runs on \
                               under a plain init, its stderr passes through";
                let record = Record::new(Severity::Error, "goinit.defect", Origin::Goinit, message)
                    .put("defect.message", cause);
                self.outbox.post(now.wall, Class::Vital, &record);
            }
        }
    }
}

#[cfg(test)]
mod tests;
