//! The diagnosing half of a session: reads the program's stderr, watches its heartbeat, judges.
//! It may fail: the session catches it and goes on without.

use super::backlog::Class;
use super::config::{Config, OnStall, Raw};
use super::dumped::Dumped;
use super::event::{Action, Event};
use super::evidence::{Evidence, Goroutines, Probe, Why};
use super::hang::{Hang, Step};
use super::history::Kind;
use super::journal::Journal;
use super::record::{Origin, Record, Severity, Value};
use super::repeat::Repeater;
use super::resize::Resize;
use super::session::Session;
use super::shutdown::Reason;
use super::status::Status;
use super::testimony;
use super::verdict::{self, Class as Judged, Crash, Verdict};
use super::watchdog::{Move, Seen, Settings, Stall, Watchdog};
use crate::go::crash::{CrashHead, CrashKind};
use crate::go::dump::Totals;
use crate::go::entry::{Entry, Object, Text};
use crate::go::gc::GcTrace;
use crate::go::line::{Assembler, Framing};
use crate::units::{Mono, Now};
use std::time::Duration;

/// What the diagnosis has to know about the start.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How the program's stderr arrives.
    pub framing: Framing,
    /// Whether the program is known to be a Go program.
    pub go: bool,
    /// Interval of its heartbeat, ms; 0 for none.
    pub heartbeat_ms: u32,
}

/// How long evidence may take: the evidence process is killed after three seconds.
pub(super) const EVIDENCE_LIMIT: Duration = Duration::from_secs(4);

/// How long after it has closed stderr a program may take to end of the crash that it told of last.
const LAST: Duration = Duration::from_millis(250);

/// Bytes kept of the program's last line.
const LAST_WORDS: usize = 200;

/// The state of the diagnosis.
#[derive(Debug)]
pub struct Diagnosis {
    assembler: Assembler,
    journal: Journal,
    /// Whether each read of stderr is one write of the program, and how many there were since the
    /// last sample.
    packets: bool,
    writes: u64,
    /// Nothing when switched off.
    watchdog: Option<Watchdog>,
    /// `--raw stderr`: everything stands in the log as it came, too.
    raw: Option<Repeater>,
    /// When what the assembler holds back is taken for whole.
    settles: Option<Mono>,
    /// The program closed stderr, which the watchdog hears of once it has outlived that: of one
    /// that ends the kernel closes it first.
    closed: bool,
    /// Whether a crash is followed by the program's end.
    hang: Hang,
    crash: Option<Crash>,
    /// The newest evidence, until it was judged.
    evidence: Option<Box<Evidence>>,
    verdict: Option<Verdict>,
    /// Kind of the stall that was last reported, for the last record.
    stall: Option<Stall>,
    stalls: u64,
    /// A stall that was judged without goroutines: a dump of the runtime may still bring them.
    unread: Option<(Stall, Box<Evidence>)>,
    /// Goroutines of the dump that is being printed.
    dumped: Dumped,
    /// Those of the last whole dump.
    dump: Option<Goroutines>,
    testimony: Vec<String>,
    /// The beginning of the last line of the program's own.
    last_words: Vec<u8>,
    goroutines: Option<u64>,
    status: Status,
    /// The status says something that was not published yet.
    news: bool,
    /// The text of `--ready-on`, until a line has contained it.
    ready_on: Option<memchr::memmem::Finder<'static>>,
    resize: Resize,
}

/// What the assembler is to do.
#[derive(Clone, Copy)]
enum Work<'a> {
    Feed(&'a [u8]),
    Idle,
    End,
}

/// What one read of the program's stderr brought, for the watchdog.
#[derive(Default)]
struct Brought {
    app_bytes: u64,
    snapshots: Vec<crate::go::snapshot::Snapshot>,
    init_tasks: u64,
    collected: Option<GcTrace>,
    crash: Option<Crash>,
    /// A dump has ended.
    dump: Option<Totals>,
}

impl Diagnosis {
    /// A diagnosis of a program that was just started.
    #[must_use]
    pub fn new(config: &Config, setup: Setup, resize: Resize, now: Mono) -> Self {
        let settings = Settings {
            stall_after: config.stall_after,
            heartbeat: Duration::from_millis(u64::from(setup.heartbeat_ms)),
            evidence_limit: EVIDENCE_LIMIT,
            expect_heartbeat: setup.go && setup.heartbeat_ms > 0,
        };
        let watches = !config.stall_after.is_zero() && setup.heartbeat_ms > 0;
        Self {
            assembler: Assembler::new(setup.framing),
            journal: Journal::new(config.stderr.unwrap_or_default(), config.sched_log),
            packets: setup.framing == Framing::Packets,
            writes: 0,
            watchdog: watches.then(|| Watchdog::new(settings, now)),
            raw: (config.raw == Some(Raw::Log)).then(Repeater::default),
            settles: None,
            closed: false,
            hang: Hang::new(settings.heartbeat),
            crash: None,
            evidence: None,
            verdict: None,
            stall: None,
            stalls: 0,
            unread: None,
            dumped: Dumped::default(),
            dump: None,
            testimony: Vec::new(),
            last_words: Vec::new(),
            goroutines: None,
            status: Status {
                ready_line: config.ready_on.as_ref().map(|_| false),
                ready_file: config.ready_file.clone(),
                ..Status::default()
            },
            news: true,
            resize,
            ready_on: config
                .ready_on
                .as_ref()
                .map(|text| memchr::memmem::Finder::new(text).into_owned()),
        }
    }

    /// Takes one event.
    pub(super) fn see(
        &mut self,
        now: Now,
        event: &Event<'_>,
        session: &mut Session,
        actions: &mut Vec<Action>,
    ) {
        let child = session.birth.child;
        match event {
            Event::Stderr(bytes) => self.read(now, bytes, session, actions),
            // The reader is faster than a runtime that prints a dump: an empty pipe alone does not
            // mean that the dump is over.
            Event::Quiet => {
                self.settles = self.assembler.patience().map(|time| now.mono.after(time));
            }
            Event::StderrClosed => {
                if let Some(raw) = &mut self.raw {
                    raw.end(&mut session.outbox);
                }
                let brought = self.assemble(now, session, Work::End);
                self.tell(now, brought, 0, session, actions);
                (self.settles, self.closed) = (Some(now.mono.after(LAST)), true);
            }
            Event::Sample(sample) => {
                let writes = std::mem::take(&mut self.writes);
                self.step(now, Seen::Writes(writes), session, actions);
                self.hang.sampled(now.mono, sample);
                self.step(now, Seen::Sample(sample), session, actions);
            }
            Event::Limits(limits) => {
                if let Some(record) = self.resize.changed((**limits).clone()) {
                    session.outbox.post(now.wall, Class::Vital, &record);
                }
            }
            Event::Evidence(evidence) => {
                self.evidence = Some(evidence.clone());
                self.step(now, Seen::Evidence(false), session, actions);
            }
            Event::Stopped(pid, _) if *pid == child => {
                self.hang.stopped(now.mono, true);
                self.step(now, Seen::Stopped, session, actions);
            }
            Event::Continued(pid) if *pid == child => {
                self.hang.stopped(now.mono, false);
                self.step(now, Seen::Continued, session, actions);
            }
            Event::Gap(gap) => {
                self.hang.heard(now.mono);
                self.step(now, Seen::Gap(*gap), session, actions);
            }
            Event::Tick => {
                if self.settles.is_some_and(|at| at <= now.mono) {
                    self.settles = None;
                    let brought = self.assemble(now, session, Work::Idle);
                    self.tell(now, brought, 0, session, actions);
                    if std::mem::take(&mut self.closed) {
                        self.step(now, Seen::StderrClosed, session, actions);
                    }
                }
                self.step(now, Seen::Tick, session, actions);
                self.check_crash(now, session, actions);
                self.publish(session, actions);
            }
            Event::Signal(_)
            | Event::Reaped(_)
            | Event::Stopped(..)
            | Event::Continued(_)
            | Event::Childless
            | Event::Sink(_)
            | Event::Copy(_) => {}
        }
    }

    fn read(&mut self, now: Now, bytes: &[u8], session: &mut Session, actions: &mut Vec<Action>) {
        self.hang.heard(now.mono);
        if let Some(raw) = &mut self.raw {
            raw.feed(bytes, &mut session.outbox);
        }
        let brought = self.assemble(now, session, Work::Feed(bytes));
        let length = u64::try_from(bytes.len()).unwrap_or(0);
        if self.packets {
            self.writes += 1;
        }
        self.tell(now, brought, length, session, actions);
    }

    /// Lets the assembler work; every entry goes to the log and leaves what the watchdog needs.
    fn assemble(&mut self, now: Now, session: &mut Session, work: Work<'_>) -> Brought {
        let mut brought = Brought::default();
        let journal = &mut self.journal;
        let outbox = &mut session.outbox;
        let ready_on = self.ready_on.as_ref();
        let dumped = &mut self.dumped;
        let words = &mut self.last_words;
        let mut ready = false;
        let mut out = |entry: Entry<'_>| {
            journal.write(now, &entry, outbox);
            if let Entry::Text(Text { bytes, .. }) | Entry::Json(Object { bytes, .. }) = &entry {
                if !bytes.is_empty() {
                    words.clear();
                    words.extend_from_slice(bytes.get(..LAST_WORDS).unwrap_or(bytes));
                }
                ready |= ready_on.is_some_and(|finder| finder.find(bytes).is_some());
            }
            match entry {
                Entry::Sched(snapshot) => {
                    dumped.snapshot(&snapshot);
                    brought.snapshots.push(snapshot);
                }
                Entry::Init(_) => brought.init_tasks += 1,
                Entry::Gc(gc, _) => brought.collected = Some(gc),
                Entry::Crash(head) => {
                    if !head.proven {
                        brought.app_bytes += length(head.lines);
                        words.clear();
                        words.extend_from_slice(head.first_line());
                        words.truncate(LAST_WORDS);
                    }
                    brought.crash = crash(&head);
                }
                Entry::Text(text) => brought.app_bytes += length(text.bytes) + 1,
                Entry::Json(object) => brought.app_bytes += length(object.bytes) + 1,
                Entry::Goroutines(group) => dumped.add(&group),
                Entry::DumpEnd(totals) => brought.dump = Some(totals),
                Entry::Damaged(_) => {}
            }
        };
        match work {
            Work::Feed(bytes) => self.assembler.feed(bytes, &mut out),
            Work::Idle => {
                self.assembler.idle(&mut out);
                self.journal.tell(&mut session.outbox);
            }
            Work::End => self.assembler.end(&mut out),
        }
        if ready {
            self.ready_on = None;
            self.status.ready_line = Some(true);
            self.news = true;
        }
        brought
    }

    /// Tells the watchdog what was brought, out of `total` bytes.
    fn tell(
        &mut self,
        now: Now,
        brought: Brought,
        total: u64,
        session: &mut Session,
        actions: &mut Vec<Action>,
    ) {
        if brought.app_bytes > 0 {
            self.step(now, Seen::AppBytes(brought.app_bytes), session, actions);
        }
        let runtime = total.saturating_sub(brought.app_bytes);
        if runtime > 0 {
            self.step(now, Seen::RuntimeBytes(runtime), session, actions);
        }
        for _ in 0..brought.init_tasks {
            self.step(now, Seen::InitDone, session, actions);
        }
        if let Some(trace) = &brought.collected {
            self.step(now, Seen::Collected(trace), session, actions);
        }
        for snapshot in &brought.snapshots {
            self.hang.beat();
            self.status.beats += 1;
            self.news = true;
            self.step(now, Seen::Heartbeat(snapshot), session, actions);
            actions.push(Action::Sample);
        }
        if let Some(crash) = brought.crash {
            self.step(now, Seen::Crashed(&crash), session, actions);
            // A dump on request does not have to be the end.
            if crash.kind != "signal" {
                self.hang.crashed(now.mono);
            }
            self.crash = Some(crash);
        }
        if let Some(totals) = &brought.dump {
            let all = std::mem::take(&mut self.dumped).finish(totals);
            self.dump = all.or(self.dump.take());
            self.judge_again(now, session);
        }
    }

    /// The runtime has printed what could not be read from its memory.
    fn judge_again(&mut self, now: Now, session: &mut Session) {
        let (Some(watchdog), Some(all)) = (&self.watchdog, &self.dump) else { return };
        let Some((stall, mut evidence)) = self.unread.take() else { return };
        evidence.goroutines = Probe::Got(all.clone());
        let found = verdict::of_stall(&stall, watchdog.history(), &evidence);
        session.outbox.post(now.wall, Class::Vital, &found.record());
        self.verdict = Some(found);
        self.news = true;
    }

    fn step(&mut self, now: Now, seen: Seen<'_>, session: &mut Session, actions: &mut Vec<Action>) {
        let Some(watchdog) = self.watchdog.as_mut().filter(|_| session.is_watched()) else {
            return;
        };
        for step in watchdog.step(now.mono, seen) {
            match step {
                Move::Collect => actions.push(Action::Collect),
                Move::Report(stall) => self.report(now, stall, session, actions),
                Move::Recovered(stall) => {
                    if self.stall.take().is_some() {
                        let record = verdict::recovered(&stall);
                        session.outbox.post(now.wall, Class::Vital, &record);
                    }
                    self.verdict = None;
                    self.news = true;
                }
                Move::Blind(why) => {
                    self.status.blind = true;
                    self.news = true;
                    let message = format!("the watchdog sees nothing: {why}");
                    let record =
                        Record::new(Severity::Info, "goinit.blind", Origin::Goinit, message);
                    session.outbox.post(now.wall, Class::Vital, &record);
                }
            }
        }
    }

    /// Judges a stall and says what it is; a program that is only waiting is described once.
    fn report(&mut self, now: Now, stall: Stall, session: &mut Session, actions: &mut Vec<Action>) {
        let Some(watchdog) = &self.watchdog else { return };
        let evidence = self.evidence.take().unwrap_or_default();
        // It ended while it was looked at: that is told by its end.
        if evidence.process.missing() == Some(&Why::Gone)
            || evidence.threads.missing() == Some(&Why::Gone)
            || evidence.goroutines.missing() == Some(&Why::Gone)
        {
            return;
        }
        let found = verdict::of_stall(&stall, watchdog.history(), &evidence);
        let harmless = found.class == Judged::Ok;
        if harmless && self.verdict.as_ref().is_some_and(|before| before.cause == found.cause) {
            return;
        }
        if !harmless {
            self.stalls += u64::from(self.stall.is_none());
            self.stall = Some(stall);
            let record = verdict::stall(&stall, watchdog.history(), session.birth.child);
            self.journal.pour_ring(&mut session.outbox);
            session.outbox.post(now.wall, Class::Vital, &record);
            self.testify(now, &evidence, stall.report, session);
        }
        session.outbox.post(now.wall, Class::Vital, &found.record());
        session.sysmon = verdict::sysmon(&evidence);
        let blind = found.class == Judged::Stalled && evidence.goroutines.got().is_none();
        // Goroutines that cannot be read are what SIGQUIT was asked for.
        let quits = blind && stall.kind == Kind::Idle && session.config.on_stall == OnStall::Quit;
        let condemned = found.condemns() || quits;
        if blind {
            self.unread = Some((stall, evidence));
        }
        if !harmless {
            self.act(&found, stall.report, session, actions);
        }
        self.verdict = Some(found);
        self.news = true;
        if condemned && session.config.on_stall != OnStall::Report {
            session.end(now, Reason::Stall, actions);
        }
    }

    /// Posts the evidence, and keeps its sentences for the termination message.
    fn testify(&mut self, now: Now, evidence: &Evidence, report: u32, session: &mut Session) {
        let records = testimony::records(evidence, &format!("stall-{report}"));
        // The last one is about what the others leave out.
        let telling = records.split_last().map_or(&[][..], |(_, telling)| telling);
        self.testimony = telling.iter().take(3).map(|one| one.message().to_owned()).collect();
        self.goroutines = evidence.goroutines.got().map(|all| all.total);
        for record in &records {
            session.outbox.post(now.wall, Class::Vital, record);
        }
    }

    /// What the user wants done beside the log, at the first report of a stall.
    fn act(&self, found: &Verdict, report: u32, session: &Session, actions: &mut Vec<Action>) {
        if report != 1 {
            return;
        }
        if let Some(command) = &session.config.on_stall_exec {
            let input = found.object(session.birth.child);
            actions.push(Action::Run { command: command.clone(), input });
        }
        if session.config.dump_dir.is_some() {
            actions.push(Action::Dump);
        }
    }

    /// The run's own deadline has come: what does the program do? With the evidence that has
    /// arrived meanwhile, if any.
    pub(super) fn at_deadline(&mut self, now: Now, session: &mut Session) {
        let Some(watchdog) = &self.watchdog else { return };
        let Some(evidence) = self.evidence.take() else { return };
        let history = watchdog.history();
        let stall =
            watchdog.stall().map(|stall| Stall { lasted: now.mono.since(stall.since), ..stall });
        let found = match &stall {
            Some(stall) => verdict::of_stall(stall, history, &evidence),
            None => verdict::of_running(history, &evidence),
        };
        session.sysmon = verdict::sysmon(&evidence);
        self.journal.pour_ring(&mut session.outbox);
        self.testify(now, &evidence, 0, session);
        session.outbox.post(now.wall, Class::Vital, &found.record());
        self.verdict = Some(found);
        if let Some(stall) = stall.filter(|_| evidence.goroutines.got().is_none()) {
            self.unread = Some((stall, evidence));
        }
    }

    /// Tells probes what is new.
    fn publish(&mut self, session: &Session, actions: &mut Vec<Action>) {
        let ended = !session.shutdown.is_running();
        if !self.news && self.status.ended == ended {
            return;
        }
        self.news = false;
        self.status.pid = Some(session.birth.child);
        self.status.ended = ended;
        let found = self.verdict.as_ref();
        self.status.verdict = found.map(|v| format!("{}/{}", v.class.word(), v.cause));
        self.status.condemned = found.is_some_and(Verdict::condemns);
        self.status.sentence = found.map(|v| v.sentence.clone()).unwrap_or_default();
        actions.push(Action::Publish(Box::new(self.status.clone())));
    }

    fn check_crash(&mut self, now: Now, session: &mut Session, actions: &mut Vec<Action>) {
        match self.hang.tick(now.mono) {
            Some(Step::Look) => actions.push(Action::Sample),
            Some(Step::Hung) => session.end(now, Reason::CrashHang, actions),
            None => {}
        }
    }

    /// The earliest instant at which it wants to be asked again.
    pub(super) fn deadline(&self, session: &Session) -> Option<Mono> {
        let watchdog = self.watchdog.as_ref().filter(|_| session.is_watched());
        let watchdog = watchdog.and_then(Watchdog::deadline);
        self.hang.deadline().into_iter().chain(watchdog).chain(self.settles).min()
    }

    /// The last verdict, if any.
    pub(super) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The crash that the runtime printed, if any.
    pub(super) fn crash(&self) -> Option<&Crash> {
        self.crash.as_ref()
    }

    /// Lines of evidence for the termination message: of the stall, else of the dump, else what the
    /// program said last.
    pub(super) fn testimony(&self) -> Vec<String> {
        if !self.testimony.is_empty() {
            return self.testimony.clone();
        }
        if let Some(dump) = &self.dump {
            return testimony::lines(dump);
        }
        let words = String::from_utf8_lossy(&self.last_words);
        let words = words.trim();
        if words.is_empty() { Vec::new() } else { vec![format!("its last words: {words}")] }
    }

    /// The goroutines that the runtime itself has printed, if it has.
    pub(super) fn dump(&self) -> Option<&Goroutines> {
        self.dump.as_ref()
    }

    /// Figures for the last record.
    pub(super) fn counters(&self) -> Vec<(&'static str, Value)> {
        let counts = self.journal.counts();
        let mut list = vec![
            ("counters.sched_lines", Value::Uint(counts.sched_lines)),
            ("counters.child_lines", Value::Uint(counts.child_lines)),
            ("counters.forged_suspects", Value::Uint(counts.forged_suspects)),
            ("counters.stalls", Value::Uint(self.stalls)),
        ];
        if counts.damaged > 0 {
            list.push(("counters.sched_damaged", Value::Uint(counts.damaged)));
        }
        if let Some(goroutines) = self.goroutines {
            list.push(("go.goroutine.count", Value::Uint(goroutines)));
        }
        list
    }

    /// The stall that lasts, if one does.
    pub(super) fn stalled(&self) -> Option<Stall> {
        self.stall
    }

    /// The program has ended, and by a crash that it has told of or not.
    pub(super) fn settle(&mut self, crashed: bool, session: &mut Session) {
        self.journal.settle(crashed, &mut session.outbox);
        if crashed {
            self.last_words.clear();
        }
    }

    /// Writes out the snapshots that were held back, at a bad end.
    pub(super) fn pour_ring(&mut self, session: &mut Session) {
        self.journal.pour_ring(&mut session.outbox);
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(0)
}

/// The head of a crash in words.
fn crash(head: &CrashHead<'_>) -> Option<Crash> {
    let kind = match head.kind {
        CrashKind::Panic => "panic",
        CrashKind::Fatal => "fatal",
        CrashKind::Signal => "signal",
    };
    let mut message = String::from_utf8_lossy(head.first_line()).into_owned();
    super::record::shorten(&mut message, super::record::MESSAGE_LIMIT);
    Some(Crash { kind, message })
}
