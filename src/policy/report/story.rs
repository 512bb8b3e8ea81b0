//! What one run of a program said, gathered entry by entry in bounded memory.

use super::clock::Clock;
use super::evidence::Testimony;
use super::judge::Told;
use super::series::Series;
use crate::go::crash::{CrashHead, CrashKind};
use crate::go::dump::{Frame, Group, Totals, abridged};
use crate::go::entry::Entry;
use crate::go::gc::GcTrace;
use crate::go::init::InitTrace;
use crate::go::snapshot::Snapshot;
use crate::policy::dumped::{Dumped, Seen};
use crate::policy::evidence::Goroutines;
use crate::policy::history::History;
use crate::policy::record::{MESSAGE_LIMIT, shorten};
use crate::policy::verdict::Crash;
use crate::units::{Mono, Wall};
use std::collections::BTreeMap;
use std::time::Duration;

/// Different states, groups, packages and moments that are kept; the rest is counted.
const STATES: usize = 256;
const GROUPS: usize = 200;
const PACKAGES: usize = 4_096;
const MOMENTS: usize = 64;
/// Frames of a group that are kept.
const FRAMES: usize = 32;
/// Ordinary snapshots after a crash by which the runtime is known to have gone on.
const WENT_ON: u64 = 5;

/// A package whose initialisation was seen to finish.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Import path.
    pub name: String,
    /// When it began, ms since the runtime's start.
    pub at_ms: f64,
    /// How long it took, ms.
    pub duration_ms: f64,
    /// Bytes it allocated.
    pub bytes: u64,
    /// Number of its allocations.
    pub allocs: u64,
}

/// Goroutines with equal stacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// How many.
    pub count: u64,
    /// Wait reason or status.
    pub state: String,
    /// Longest wait, whole minutes.
    pub minutes: u64,
    /// Numbers of the first of them.
    pub ids: Vec<u64>,
    /// Function and place of every frame, innermost first, as a user wants to see them.
    pub frames: Vec<(String, String)>,
    /// Who started them.
    pub created_by: Option<(String, String)>,
    /// Bound to their thread.
    pub locked: u64,
    /// Profiler labels.
    pub labels: Option<String>,
    /// What the headers say besides.
    pub remarks: Option<String>,
    /// The creators of the creators.
    pub ancestors: Vec<String>,
    /// What they wait for, where goinit saw it.
    pub waits_on: Option<String>,
    /// Started by the runtime for itself.
    pub system: bool,
}

/// What a crash said besides the first line of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The `[signal …]` line, or where a deadly signal struck.
    pub signal: Option<String>,
    /// What the runtime printed before it.
    pub lead: Option<String>,
    /// Only the runtime can have printed it.
    pub proven: bool,
    /// The whole text, if it has more lines than one: chained panics, errors of several lines.
    pub text: Option<String>,
}

/// Sums over `gctrace` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gc {
    /// Collections seen.
    pub cycles: u64,
    /// Those that the program asked for.
    pub forced: u64,
    /// Longest pause, ms.
    pub pause_max_ms: f64,
    /// All pauses, ms.
    pub pause_total_ms: f64,
    /// Largest heap, MiB.
    pub heap_max_mb: u64,
    /// The last collection.
    pub last: GcTrace,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When, since the start of the story.
    pub at: Mono,
    /// A word for programs: `start`, `first_heartbeat`, `stall`, `recover`, `crash`, `end`, …
    pub what: &'static str,
    /// A sentence for people.
    pub text: String,
}

/// How a run ended, where the log says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The exit code that was given.
    pub code: Option<u8>,
    /// The program's own code, where it differs.
    pub own_code: Option<u8>,
    /// The signal that ended it, `SIGKILL`.
    pub signal: Option<String>,
    /// `completed`, `stall`, `oom_killed`, …
    pub cause: Option<String>,
    /// `child`, `goinit`, `kernel`, `signal`.
    pub by: Option<String>,
    /// goinit's sentence.
    pub sentence: Option<String>,
    /// Class and cause of the verdict on the end.
    pub verdict: Option<(String, String)>,
}

impl Exit {
    /// The end in a few words: `exit code 123: stall, by goinit`.
    #[must_use]
    pub fn words(&self) -> Option<String> {
        let mut text = format!("exit code {}", self.code?);
        // A signal that ended the program is cause and author at once.
        if self.cause.as_deref() == Some("signal") {
            text.push_str(": ");
            text.push_str(self.signal.as_deref().unwrap_or("after a signal"));
            return Some(text);
        }
        for (mark, word) in [(": ", &self.cause), (", by ", &self.by), (", ", &self.signal)] {
            if let Some(word) = word {
                text.push_str(mark);
                text.push_str(&word.replace('_', " "));
            }
        }
        Some(text)
    }
}

/// What is known of a run that goinit watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Eight hex digits.
    pub run: String,
    /// The last number.
    pub seq: u64,
    /// Records seen.
    pub records: u64,
    /// Records that are missing between others.
    pub lost: u64,
    /// Records out of order, or of a run that never began.
    pub suspects: u64,
    /// Records that goinit says it gave up.
    pub dropped: u64,
    /// The first record is not the run's first.
    pub headless: bool,
    /// The command line.
    pub command: Vec<String>,
    /// Pod, container and the like.
    pub pod: Option<String>,
    /// The sentence of the start record.
    pub start: Option<String>,
    /// Snapshots that goinit counted, when more than are in the log.
    pub sched_lines: u64,
}

/// One run.
#[derive(Debug, Default)]
pub struct Story {
    /// Time, as far as the log tells it.
    pub clock: Clock,
    /// What the verdict rules look at.
    pub history: History,
    /// Lines of the program.
    pub lines: u64,
    /// Those of them that are JSON.
    pub json_lines: u64,
    /// The last line of the program.
    pub last_line: Vec<u8>,
    /// When it came.
    pub last_line_at: Option<Mono>,
    /// Snapshots read.
    pub snapshots: u64,
    /// Snapshots begun that could not be put together.
    pub damaged: u64,
    /// Largest number of threads.
    pub max_threads: u32,
    /// Detailed snapshots among them.
    pub detailed: u64,
    /// The newest detailed snapshot.
    pub detail: Option<Snapshot>,
    /// Busy processors, queue and threads over time.
    pub series: Series,
    /// Goroutines of all dumps.
    pub goroutines: u64,
    /// Groups of all dumps.
    pub groups: u64,
    /// Frames of all dumps.
    pub frames: u64,
    /// Goroutines by state.
    pub states: BTreeMap<String, u64>,
    /// The groups of the newest dump.
    pub stacks: Vec<Stack>,
    /// Groups of it that are not kept.
    pub stacks_left_out: u64,
    pub(super) fresh: bool,
    /// Heartbeats at the end of the last dump; what comes before the next belongs to it.
    pub(super) dumped_at: Option<u64>,
    /// The first panic, fatal error or deadly signal, and when.
    pub crash: Option<(Crash, Mono)>,
    /// What the crash said besides.
    pub said: Said,
    /// The group that crashed, in the dump behind it.
    pub crashed_in: Option<usize>,
    /// Snapshots since the crash.
    pub(super) since_crash: u64,
    /// Somebody asked for a dump with SIGQUIT.
    pub asked: Option<Mono>,
    pub(super) dumped: Dumped,
    /// The goroutines of the newest dump.
    pub seen: Option<Seen>,
    /// Packages initialised.
    pub packages: Vec<Package>,
    /// How many, the kept ones included.
    pub packages_total: u64,
    /// Collections.
    pub gc: Gc,
    /// What happened when.
    pub moments: Vec<Moment>,
    /// How it ended.
    pub exit: Exit,
    /// What goinit said of itself.
    pub own: Option<Own>,
    /// Evidence records of the last stall.
    pub testimony: Testimony,
    /// The last verdict in the log.
    pub told: Option<Told>,
    /// The stall that lasts.
    pub stall: Option<(String, u64)>,
}

impl Story {
    /// Takes an entry of the program's stderr, collected at `wall` if that is known.
    pub fn entry(&mut self, wall: Option<Wall>, entry: &Entry<'_>) {
        if let Some(wall) = wall {
            self.clock.wall(wall);
        }
        match entry {
            Entry::Text(text) => self.line(text.bytes, !text.continues),
            Entry::Json(line) => {
                self.json_lines = self.json_lines.saturating_add(1);
                self.line(line.bytes, true);
            }
            Entry::Sched(snapshot) => self.snapshot(wall.is_some(), snapshot),
            Entry::Damaged(_) => self.damaged = self.damaged.saturating_add(1),
            Entry::Init(trace) => self.package(trace),
            Entry::Gc(trace, _) => self.collected(trace),
            Entry::Crash(head) => self.crashed(head),
            Entry::Goroutines(group) => self.group(group),
            Entry::DumpEnd(totals) => self.dump(totals),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.clock.now
    }

    /// Takes a line of the program.
    pub(super) fn line(&mut self, bytes: &[u8], whole: bool) {
        self.begin();
        self.lines = self.lines.saturating_add(u64::from(whole));
        let length = u64::try_from(bytes.len()).unwrap_or(0).saturating_add(1);
        // What stands behind the dump of a program that was ended by it (`exit status 2` of go
        // run, a shell's `Quit`) is no sign of life.
        if self.asked.is_some() {
            return;
        }
        if self.snapshots == 0
            && let Some(wall) = super::capture::own_time(bytes)
        {
            self.clock.own(wall);
        }
        self.history.now = self.now();
        self.quiet();
        self.history.wrote(self.now(), length);
        self.last_line_at = Some(self.now());
        if !bytes.is_empty() {
            let head = bytes.get(..MESSAGE_LIMIT).unwrap_or(bytes);
            self.last_line.clear();
            self.last_line.extend_from_slice(head);
        }
    }

    /// Takes a snapshot; `stamped` = a collector has said what time it is.
    pub(super) fn snapshot(&mut self, stamped: bool, snapshot: &Snapshot) {
        let extra = snapshot.gcwaiting.is_some();
        self.clock.uptime(snapshot.uptime_ms, extra, !stamped);
        self.begin();
        self.snapshots = self.snapshots.saturating_add(1);
        self.max_threads = self.max_threads.max(snapshot.threads);
        if self.snapshots == 1 {
            let text = format!("first heartbeat, GOMAXPROCS {}", snapshot.gomaxprocs);
            self.moment("first_heartbeat", text);
        }
        self.dumped.snapshot(snapshot);
        if snapshot.detail.is_some() {
            self.detailed = self.detailed.saturating_add(1);
            self.detail = Some(snapshot.clone());
        }
        if (self.crash.is_some() || self.asked.is_some()) && !snapshot.frozen() {
            self.since_crash = self.since_crash.saturating_add(1);
            self.asked = self.asked.filter(|_| self.since_crash < WENT_ON);
        }
        self.series.push(self.now(), snapshot);
        if snapshot.frozen() {
            return;
        }
        self.history.now = self.now();
        self.history.beat(self.now(), snapshot);
    }

    /// Whether the runtime went on after what looked like its crash: a child's, for instance.
    #[must_use]
    pub fn went_on(&self) -> bool {
        self.since_crash >= WENT_ON
    }

    pub(super) fn package(&mut self, trace: &InitTrace<'_>) {
        self.begin();
        self.packages_total = self.packages_total.saturating_add(1);
        if self.packages.len() < PACKAGES {
            self.packages.push(Package {
                name: text(trace.package),
                at_ms: trace.at_ms,
                duration_ms: trace.duration_ms,
                bytes: trace.bytes,
                allocs: trace.allocs,
            });
        }
        self.history.now = self.now();
        self.history.init_finished(self.now());
        if trace.package == b"main" {
            self.moment("main", "all packages are initialised, main begins".to_owned());
        }
    }

    pub(super) fn collected(&mut self, trace: &GcTrace) {
        self.begin();
        let gc = &mut self.gc;
        gc.cycles = gc.cycles.saturating_add(1);
        gc.forced = gc.forced.saturating_add(u64::from(trace.forced));
        gc.pause_max_ms = gc.pause_max_ms.max(trace.pause_ms);
        gc.pause_total_ms += trace.pause_ms;
        gc.heap_max_mb = gc.heap_max_mb.max(trace.heap_before_mb).max(trace.heap_after_mb);
        gc.last = *trace;
        self.history.now = self.now();
        // The line has its own clock, finer than the heartbeat's.
        let at = Mono(0).after(Duration::from_secs_f64((trace.at_ms / 1_000.0).clamp(0.0, 1e9)));
        self.history.collected(at, trace);
    }

    fn crashed(&mut self, head: &CrashHead<'_>) {
        self.begin();
        let (signal, lead) = (head.signal.map(text), head.lead.map(text));
        let kind = match head.kind {
            CrashKind::Panic => "panic",
            CrashKind::Fatal => "fatal",
            CrashKind::Signal => "signal",
        };
        self.crash_words(
            kind,
            &text(head.message),
            Said { signal, lead, proven: head.proven, text: None },
        );
    }

    /// Takes the first words of a crash, or of a dump that somebody asked for.
    pub(super) fn crash_words(&mut self, kind: &str, words: &str, mut said: Said) {
        let mut message = words.lines().next().unwrap_or_default().to_owned();
        let kind = match kind {
            "panic" => "panic",
            "fatal" => "fatal",
            _ => "signal",
        };
        if kind == "signal" && message.starts_with("SIGQUIT") {
            self.asked = Some(self.now());
            self.since_crash = 0;
            self.moment("sigquit", "SIGQUIT: somebody asked for the goroutines".to_owned());
            return;
        }
        if self.crash.is_some() && !self.went_on() {
            return;
        }
        let _ = shorten(&mut message, 1_000);
        let mut words = words.to_owned();
        let _ = shorten(&mut words, 1_000);
        said.text = Some(words).filter(|words| words.contains('\n'));
        let word = if kind == "fatal" { "fatal error: " } else { "" };
        let head = if kind == "panic" { "panic: " } else { word };
        self.moment("crash", format!("{head}{message}"));
        self.crash = Some((Crash { kind, message }, self.now()));
        self.said = said;
        self.crashed_in = None;
        self.since_crash = 0;
    }

    fn group(&mut self, group: &Group<'_>) {
        self.dumped.add(group);
        let frames: Vec<Frame<'_>> = group.frames().collect();
        let system = group.created_by().is_some_and(|by| by.function.starts_with(b"runtime."));
        self.stack(Stack {
            count: group.count(),
            state: text(group.state()),
            minutes: group.wait_minutes_max(),
            ids: group.first_ids().to_vec(),
            frames: shown(&frames),
            created_by: group.created_by().map(|by| pair(&by)),
            locked: group.locked(),
            labels: group.labels().map(text),
            remarks: group.remarks().map(text),
            ancestors: group.ancestors().map(text).collect(),
            waits_on: None,
            system,
        });
    }

    /// Takes one group of a dump; the first of a new dump displaces the old one's.
    pub(super) fn stack(&mut self, stack: Stack) {
        // With GOTRACEBACK=crash every thread adds a dump of its own to the first.
        if !std::mem::replace(&mut self.fresh, true) && self.dumped_at != Some(self.history.beats) {
            self.stacks.clear();
            self.stacks_left_out = 0;
            self.seen = None;
        }
        if self.states.len() < STATES || self.states.contains_key(&stack.state) {
            let count = self.states.entry(stack.state.clone()).or_default();
            *count = count.saturating_add(stack.count);
        }
        if self.stacks.len() < GROUPS {
            self.stacks.push(stack);
        } else {
            self.stacks_left_out = self.stacks_left_out.saturating_add(1);
        }
    }

    fn dump(&mut self, totals: &Totals) {
        self.goroutines = self.goroutines.saturating_add(totals.goroutines);
        self.groups = self.groups.saturating_add(totals.groups);
        self.frames = self.frames.saturating_add(totals.frames);
        let dumped = std::mem::take(&mut self.dumped);
        let larger = |seen: &Seen| seen.goroutines.total;
        if let Some(seen) = dumped.seen(totals)
            && self.seen.as_ref().is_none_or(|old| larger(old) <= larger(&seen))
        {
            self.seen = Some(seen);
        }
        self.dump_ended(totals.crash);
    }

    /// The newest dump is whole; `crash` = a crash or a signal caused it.
    pub(super) fn dump_ended(&mut self, crash: bool) {
        self.fresh = false;
        self.dumped_at = Some(self.history.beats);
        // sysmon goes on while a long dump is printed: only what comes later is a sign of life.
        self.since_crash = 0;
        if crash && self.crash.is_some() && self.crashed_in.is_none() {
            let runs = |stack: &Stack| stack.state == "running";
            self.crashed_in = self.stacks.iter().position(runs).or_else(|| self.main_stack());
        }
    }

    /// The goroutines that the runtime itself printed last.
    #[must_use]
    pub fn goroutines(&self) -> Option<Goroutines> {
        let seen = self.seen.as_ref().filter(|seen| seen.whole);
        let logged = || {
            let some = !self.stacks.is_empty();
            some.then(|| super::evidence::goroutines(&self.stacks, self.goroutines, &None))
        };
        seen.map(|seen| seen.goroutines.clone()).or_else(logged)
    }

    /// The group of goroutine 1 in the newest dump.
    #[must_use]
    pub fn main_stack(&self) -> Option<usize> {
        self.stacks.iter().position(|stack| stack.ids.contains(&1))
    }

    /// A long silence that a line has just ended goes on record.
    fn quiet(&mut self) {
        let (now, before) = (self.now(), self.history.output);
        if now.since(before) < Duration::from_secs(10) || self.own.is_some() {
            return;
        }
        let long = self.clock.interval().saturating_mul(10);
        if self.history.app_bytes > 0 && now.since(before) >= long {
            let text = format!("no output for {}", crate::policy::verdict::span(now.since(before)));
            self.moment_at(before, "silence", text);
            self.moment("output", "output again".to_owned());
        }
    }

    /// The first thing of a story: its clock begins.
    fn begin(&mut self) {
        if self.moments.is_empty() {
            self.moments.push(Moment { at: self.now(), what: "start", text: String::new() });
            let now = self.now();
            self.history = History::new(now);
        }
    }

    pub(super) fn moment(&mut self, what: &'static str, text: String) {
        self.moment_at(self.now(), what, text);
    }

    fn moment_at(&mut self, at: Mono, what: &'static str, text: String) {
        if self.moments.len() < MOMENTS {
            self.moments.push(Moment { at, what, text });
        } else if let Some(last) = self.moments.last_mut() {
            // The end of the list stays true; what is lost is the middle.
            *last = Moment { at, what, text };
        }
    }

    /// Whether anything of the Go runtime or of goinit was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.own.is_none()
            && self.snapshots + self.damaged + self.goroutines + self.packages_total == 0
            && self.gc.cycles == 0
            && self.crash.is_none()
            && self.asked.is_none()
    }
}

/// The frames that a user wants to see; all if there are no others.
fn shown(frames: &[Frame<'_>]) -> Vec<(String, String)> {
    let kept = frames.iter().filter(|frame| !hidden(frame.function));
    let kept: Vec<_> = kept.map(pair).collect();
    let all = || frames.iter().map(pair).collect();
    let gap = ("...".to_owned(), String::new());
    abridged(if kept.is_empty() { all() } else { kept }, FRAMES, gap)
}

/// As the runtime's own tracebacks do: unexported functions of the runtime are no frames of the
/// program (runtime/traceback.go, `showframe`).
pub(super) fn hidden(function: &[u8]) -> bool {
    let inner = function.strip_prefix(b"runtime.");
    inner.is_some_and(|name| !name.first().is_some_and(u8::is_ascii_uppercase))
        && function != b"runtime.cgocall"
}

fn pair(frame: &Frame<'_>) -> (String, String) {
    (text(frame.function), text(frame.place))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
