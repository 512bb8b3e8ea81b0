//! The loop: owns the descriptors, feeds the session, performs its actions.
//!
//! From the first turn on there is no early return and no exit but [`Action::Finish`]. The loop
//! waits for nothing but poll.

use super::diagnostics;
use super::intake::{Intake, Taken};
use super::lookout::Lookout;
use super::sink::Sink;
use super::termination::{Leaving, Message};
use crate::exit::{Code, Ending};
use crate::policy::backlog::{Class, KEPT_TURN, SinkReport};
use crate::policy::event::{Action, Event, Identity, Reaped};
use crate::policy::session::Session;
use crate::sys::fd;
use crate::sys::signals::{SignalFd, send, suspend_self};
use crate::sys::wait::{Change, Next, next, peek};
use crate::sys::{clock, job, memory, poll};
use crate::units::{Mono, Now, Pid, Signal};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What the loop was given when the program was started.
#[derive(Debug)]
pub struct Supervisor {
    /// Delivers every signal.
    pub signals: SignalFd,
    /// The program.
    pub child: Pid,
    /// Its stderr, if it is a pipe of ours.
    pub stderr: Option<Intake>,
    /// The log.
    pub sink: Sink,
    /// Copy of the raw stream.
    pub raw: Option<Sink>,
    /// Terminal whose foreground the program was given.
    pub terminal: Option<BorrowedFd<'static>>,
    /// Whether names of orphans are wanted.
    pub name_orphans: bool,
    /// The termination message.
    pub message: Message,
    /// It being written.
    pub leaving: Leaving,
    /// Tells the number of OOM kills in our cgroup since the start.
    pub oom_kills: super::oom::OomWatch,
    /// What the program's state is looked at with.
    pub lookout: Lookout,
}

/// Bytes read from the program in one turn at most, so that signals are never starved.
const TURN_BYTES: usize = 64 << 10;
/// Waking up later than this after the deadline means that we ourselves did not run.
const SLACK: Duration = Duration::from_millis(500);
/// waitpid(2) for any child walks the list of all children, so with ten thousand orphans that die
/// one by one a sweep for each would cost their square. A sweep longer than this is followed by a
/// rest of so many times its length, at most so long, and the next one finds many at once.
const SWEEP: Duration = Duration::from_micros(300);
const SWEEP_REST: u32 = 8;
const SWEEP_REST_MAX: Duration = Duration::from_millis(20);
/// So long after the last records of a flood what it took is given back.
const CALM: Duration = Duration::from_secs(1);
/// How long the log's reader may pause before the last records, how long it may take for all of
/// them, and how often it is looked whether it goes on.
const FLUSH: Duration = Duration::from_secs(1);
const FLUSH_LAST: Duration = Duration::from_secs(5);
const FLUSH_LOOK: Duration = Duration::from_millis(100);

impl Supervisor {
    /// Runs until the session finishes; gives goinit's exit code.
    pub fn run(mut self, session: &mut Session) -> Code {
        let mut intake = self.stderr.take();
        let mut report = SinkReport::default();
        let mut copied = None;
        // The program may have ended before the loop began.
        let mut reap = true;
        // When the next sweep may begin, after a long one.
        let mut rested = Mono::default();
        let mut code = None;
        let mut settled = false;
        // When the memory of a flood is given back.
        let mut calm = None;
        while code.is_none() {
            if report.flushed && !std::mem::replace(&mut settled, report.flushed) {
                // The first records are written: the start is over.
                memory::forget_code();
            }
            let before = clock::now();
            if calm.is_some_and(|at| before.mono >= at) {
                calm = None;
                session.outbox().shrink();
                memory::forget_code();
            }
            let deadline = session.deadline();
            let deadline = if reap { Some(before.mono.max(rested)) } else { deadline };
            let due = intake.as_mut().and_then(|intake| intake.due(before.mono));
            let trial = intake.as_ref().and_then(|intake| intake.trial(before.mono));
            let stderr = intake.as_ref().filter(|_| session.wants_stderr());
            let due = due.filter(|_| stderr.is_some());
            let stderr = stderr.filter(|_| due.is_none());
            let deadline =
                [deadline, self.lookout.deadline(), due, trial, calm].into_iter().flatten().min();
            let [sampler, collector] = self.lookout.descriptors();
            let wanted = [
                Some(self.signals.as_fd()),
                stderr.map(Intake::pipe),
                self.sink.waker(),
                self.raw.as_ref().and_then(Sink::waker),
                sampler,
                collector,
            ];
            let [signals, stderr, sink, copy, sampler, collector] =
                poll::readable(wanted, deadline, before);
            let now = clock::now();
            if deadline.is_some_and(|at| now.mono.since(at.max(before.mono)) > SLACK) {
                // When in this time we stopped running cannot be told: none of it counts.
                let gap = now.mono.since(before.mono);
                self.feed(session, now, &Event::Gap(gap), &mut code);
            }
            if signals {
                reap |= self.take_signals(session, now, &mut code);
            }
            if reap && now.mono >= rested {
                reap = false;
                self.reap(session, now, &mut code);
                let took = clock::mono().since(now.mono);
                if took > SWEEP {
                    rested = now.mono.after((took * SWEEP_REST).min(SWEEP_REST_MAX));
                }
            }
            if stderr || due.is_some_and(|at| now.mono >= at) {
                self.read_stderr(session, now, &mut intake, &mut code);
                calm = session.outbox().is_large().then(|| now.mono.after(CALM));
            }
            if sink {
                self.sink.heard();
            }
            if let Some(raw) = &self.raw {
                if copy {
                    raw.heard();
                }
                let current = raw.report();
                if copied.replace(current) != Some(current) {
                    self.feed(session, now, &Event::Copy(current), &mut code);
                }
            }
            if sampler {
                let (sample, limits) = self.lookout.sample();
                if let Some(sample) = sample {
                    self.feed(session, now, &Event::Sample(sample), &mut code);
                }
                if let Some(limits) = limits {
                    self.feed(session, now, &Event::Limits(limits), &mut code);
                }
            }
            if let Some(evidence) = self.lookout.evidence(now.mono, collector) {
                self.feed(session, now, &Event::Evidence(Box::new(evidence)), &mut code);
            }
            self.hand_on(session);
            let current = self.sink.report();
            if current != report {
                report = current;
                self.feed(session, now, &Event::Sink(report), &mut code);
            }
            self.feed(session, now, &Event::Tick, &mut code);
            self.hand_on(session);
        }
        self.flush();
        self.leaving.wait();
        if let Some(terminal) = self.terminal {
            fd::set_foreground(terminal, fd::own_group());
        }
        code.unwrap_or(Code::FAILED)
    }

    /// One event into the session, its actions performed.
    fn feed(
        &mut self,
        session: &mut Session,
        now: Now,
        event: &Event<'_>,
        code: &mut Option<Code>,
    ) {
        for action in session.step(now, event) {
            match action {
                Action::Send(target, signal) => {
                    // Nobody there: the program ended meanwhile and will be reaped next.
                    let _ = send(target, signal);
                    // Whoever shares our CPU with the program would make it wait for the record.
                    job::give_way();
                }
                Action::Suspend { job } => self.suspend(job),
                Action::Resume => {
                    if let Some(terminal) = self.terminal {
                        fd::set_foreground(terminal, self.child.0);
                    }
                }
                Action::Sample => self.lookout.ask(),
                Action::Collect => self.lookout.collect(now.mono),
                Action::Run { command, input } => self.lookout.run(&command, &input),
                Action::Publish(status) => self.lookout.publish(&status),
                Action::Dump => self.lookout.dump(),
                Action::LeaveMessage(text) => self.leaving = self.message.leave(&text),
                Action::Finish(end) => *code = code.or(Some(end)),
            }
        }
    }

    /// Stops ourselves like a shell job, with those beside us in it if we gave the program their
    /// terminal (a script that runs goinit would wait for it for ever); the terminal goes back to whoever had it, and is handed
    /// to the program again when we are continued.
    fn suspend(&self, job: bool) {
        if let Some(terminal) = self.terminal {
            fd::set_foreground(terminal, fd::own_group());
        }
        log::debug!("suspended with the program");
        suspend_self(job && self.terminal.is_some());
        log::debug!("continued");
        if let Some(terminal) = self.terminal
            && fd::foreground(terminal) == Some(fd::own_group())
        {
            fd::set_foreground(terminal, self.child.0);
        }
    }

    /// Takes every pending signal; says whether there is somebody to reap.
    fn take_signals(&mut self, session: &mut Session, now: Now, code: &mut Option<Code>) -> bool {
        let mut reap = false;
        while let Some(received) = self.signals.next() {
            if received.signal == Signal::CHLD {
                reap = true;
            } else {
                self.feed(session, now, &Event::Signal(received), code);
            }
        }
        if self.signals.notified() {
            self.lookout.notice();
        }
        reap
    }

    /// Reaps until nobody is left who has changed: signals coalesce.
    fn reap(&mut self, session: &mut Session, now: Now, code: &mut Option<Code>) {
        loop {
            let identity = self.name_orphans.then(peek).flatten().and_then(identity);
            let event = match next() {
                Next::Changed(pid, Change::Ended(ending)) if self.lookout.is_own(pid, ending) => {
                    continue;
                }
                Next::Changed(pid, Change::Ended(ending)) => {
                    let killed = pid == self.child
                        && matches!(ending, Ending::Signalled { signal: Signal::KILL, .. });
                    let oom_kills = killed.then(|| self.oom_kills.since_start()).flatten();
                    Event::Reaped(Reaped { pid, ending, identity, oom_kills })
                }
                Next::Changed(pid, Change::Stopped(signal)) => Event::Stopped(pid, signal),
                Next::Changed(pid, Change::Continued) => Event::Continued(pid),
                Next::Nobody => return,
                Next::Childless => {
                    self.feed(session, now, &Event::Childless, code);
                    return;
                }
            };
            self.feed(session, now, &event, code);
        }
    }

    /// Reads what the program wrote, up to a turn's worth of bytes, or of records.
    fn read_stderr(
        &mut self,
        session: &mut Session,
        now: Now,
        intake: &mut Option<Intake>,
        code: &mut Option<Code>,
    ) {
        let Some(stderr) = intake else { return };
        stderr.begin();
        while stderr.taken() < TURN_BYTES && session.outbox().length() < KEPT_TURN {
            match stderr.take() {
                Taken::Bytes(bytes) => {
                    if let Some(raw) = &self.raw {
                        raw.copy(bytes);
                    }
                    self.feed(session, now, &Event::Stderr(bytes), code);
                }
                Taken::Nothing => {
                    if !stderr.has_more() {
                        self.feed(session, now, &Event::Quiet, code);
                    }
                    return;
                }
                Taken::Closed => {
                    *intake = None;
                    self.feed(session, now, &Event::StderrClosed, code);
                    return;
                }
            }
        }
    }

    /// Hands the session's records to the log.
    fn hand_on(&self, session: &mut Session) {
        let keeps = session.keeps();
        let outbox = session.outbox();
        for record in diagnostics::take() {
            outbox.post(clock::now().wall, Class::Vital, &record);
        }
        if !outbox.is_empty() {
            self.sink.push(keeps, outbox);
        }
        outbox.clear();
    }

    /// Waits until the log is written, as long as somebody reads it, but not for ever.
    fn flush(&self) {
        let last = clock::mono().after(FLUSH_LAST);
        for sink in std::iter::once(&self.sink).chain(self.raw.as_ref()) {
            let mut waiting = usize::MAX;
            let mut until = Mono::default();
            while !sink.report().flushed {
                let now = clock::now();
                let left = sink.waiting();
                if std::mem::replace(&mut waiting, left) > left {
                    until = now.mono.after(FLUSH).min(last);
                }
                if now.mono >= until {
                    break;
                }
                let look = now.mono.after(FLUSH_LOOK).min(until);
                let [_] = poll::readable([sink.waker()], Some(look), now);
                sink.heard();
            }
        }
    }
}

/// Name and parent of a zombie, as long as it is one.
fn identity(pid: Pid) -> Option<Identity> {
    let process = procfs::process::Process::new(pid.0).ok()?;
    let stat = process.stat().ok()?;
    Some(Identity { name: stat.comm, parent: Pid(stat.ppid) })
}
