//! From evidence to one sentence that is true.
//!
//! [`judge`] asks ordered rules; the first that knows answers. Each rule has a name, a test and a
//! paragraph in docs/verdicts.md. What is only waiting is described (`ok`), never accused; a
//! deadlock is `certain` only when nobody is left who could wake anybody.

mod children;
mod ending;
mod goroutines;
mod lockup;
mod machine;
pub(super) mod place;
mod purpose;
mod running;
mod threads;
mod words;

pub use ending::{End, Sent, of_end, of_stop};
pub(in crate::policy) use place::place;
pub use running::of_running;
pub(super) use threads::SYSMON_MS;
pub use threads::sysmon;
pub use words::{message, recovered, span, stall};

use super::evidence::Evidence;
use super::history::{History, Kind};
use super::watchdog::Stall;
use std::time::Duration;

/// What a program printed before it wanted to die.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// `panic`, `fatal` or `signal`.
    pub kind: &'static str,
    /// The first line of its text.
    pub message: String,
}

/// How a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is well: it works, waits for time, or serves.
    Ok,
    /// It makes progress, but far too little CPU or memory is there for it.
    Slow,
    /// It will never go on by itself, as far as can be seen.
    Stalled,
    /// It ended with an error of its own.
    Crashed,
    /// The kernel ended it.
    Killed,
    /// Somebody stopped it.
    Stopped,
}

impl Class {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Stalled => "stalled",
            Self::Crashed => "crashed",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
        }
    }
}

/// How sure a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// It cannot be otherwise.
    Certain,
    /// The evidence speaks for it and nothing against it.
    Likely,
    /// It is the best that can be said.
    Unclear,
}

impl Confidence {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Unclear => "unclear",
        }
    }
}

/// What the evidence says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How the program is.
    pub class: Class,
    /// Why, from the closed list of docs/verdicts.md.
    pub cause: &'static str,
    /// How sure that is.
    pub confidence: Confidence,
    /// Where in the program: `main.fetch (/src/fetch.go:12)`.
    pub place: Option<String>,
    /// What it waits for: `tcp 10.0.3.7:5432 SYN_SENT`.
    pub on: Option<String>,
    /// For how long.
    pub since: Duration,
    /// One sentence for a person.
    pub sentence: String,
    /// One next step for that person.
    pub next: &'static str,
}

impl Verdict {
    /// Whether `--on-stall` may end the program for it.
    #[must_use]
    pub fn condemns(&self) -> bool {
        self.class == Class::Stalled && self.confidence != Confidence::Unclear
    }
}

/// Everything a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What stopped, seen from outside.
    pub kind: Kind,
    /// For how long.
    pub lasted: Duration,
    /// What was seen before.
    pub history: &'a History,
    /// What the evidence process found; an empty one if it found nothing.
    pub evidence: &'a Evidence,
}

/// What a rule found; [`judge`] adds the rest.
struct Finding {
    class: Class,
    cause: &'static str,
    confidence: Confidence,
    place: Option<String>,
    on: Option<String>,
    sentence: String,
    next: &'static str,
}

impl Finding {
    fn new(class: Class, cause: &'static str, confidence: Confidence, sentence: String) -> Self {
        Self { class, cause, confidence, place: None, on: None, sentence, next: "" }
    }

    fn at(mut self, place: Option<String>) -> Self {
        self.place = place;
        self
    }

    fn on(mut self, on: Option<String>) -> Self {
        self.on = on;
        self
    }

    fn next(mut self, next: &'static str) -> Self {
        self.next = next;
        self
    }
}

/// A rule: what it finds, or that the case is not its own.
type Rule = fn(&Case<'_>) -> Option<Finding>;

/// The rules in the order in which they explain each other: what keeps the whole process from
/// running comes before what its goroutines wait for.
const RULES: &[(&str, Rule)] = &[
    ("stopped", machine::stopped),
    ("log-blocked", threads::log_blocked),
    ("locked-up", lockup::locked_up),
    ("gc-stw", machine::stop_the_world),
    ("gc-thrash", machine::gc_thrash),
    ("memory-pressure", machine::memory_pressure),
    ("throttled", machine::throttled),
    ("starved", machine::starved),
    ("livelock", machine::livelock),
    ("cpu-bound", machine::cpu_bound),
    ("not-started", machine::not_started),
    ("syscall-threads", threads::explosion),
    ("lock-cycle", goroutines::lock_cycle),
    ("blocked-call", threads::blocked_call),
    ("cgo", goroutines::cgo),
    ("connecting", threads::connecting),
    ("subprocess", children::subprocess),
    ("goroutine", goroutines::main_goroutine),
    ("reading", threads::reading),
    ("serving", threads::serving),
    ("timer", threads::timer),
    ("not-go", threads::not_go),
    ("unreadable", threads::unreadable),
];

/// Every cause there is; docs/verdicts.md has a section for each.
pub const CAUSES: [&str; 40] = [
    "busy-loop",
    "cgo",
    "channel",
    "config",
    "cpu-bound",
    "deadlock",
    "exit-code",
    "fatal",
    "fifo",
    "file-lock",
    "finished",
    "gc-stw",
    "gc-thrash",
    "init",
    "init-connect",
    "io-progress",
    "io-read",
    "livelock",
    "lock-cycle",
    "locked-up",
    "log-blocked",
    "memory-pressure",
    "mutex",
    "network-connect",
    "network-read",
    "not-started",
    "oom",
    "panic",
    "polling",
    "serving",
    "signal",
    "sigstop",
    "starved",
    "subprocess",
    "sync",
    "syscall-threads",
    "throttled",
    "timer-wait",
    "unknown",
    "waiting-for-child",
];

/// The names of the rules, in the order in which they are asked.
pub fn rules() -> impl Iterator<Item = &'static str> {
    RULES.iter().map(|(name, _)| *name)
}

/// Judges. There is always an answer; the last one is that nothing is known.
#[must_use]
pub fn judge(case: &Case<'_>) -> Verdict {
    let finding = RULES.iter().find_map(|(_, rule)| rule(case)).unwrap_or_else(|| {
        let sentence = format!("no visible progress{}", words::lasting(case.lasted));
        Finding::new(Class::Stalled, "unknown", Confidence::Unclear, sentence)
            .next("look at the last lines of the program and at `goinit dump` of its pid")
    });
    with(finding, case.lasted)
}

/// A finding as a verdict on something that lasted so long.
fn with(finding: Finding, since: Duration) -> Verdict {
    debug_assert!(CAUSES.contains(&finding.cause), "{} is no known cause", finding.cause);
    let mut sentence = finding.sentence;
    super::record::shorten(&mut sentence, super::record::MESSAGE_LIMIT);
    Verdict {
        class: finding.class,
        cause: finding.cause,
        confidence: finding.confidence,
        place: finding.place,
        on: finding.on,
        since,
        sentence,
        next: finding.next,
    }
}

/// Judges a stall with the evidence that was collected for it.
#[must_use]
pub fn of_stall(stall: &Stall, history: &History, evidence: &Evidence) -> Verdict {
    judge(&Case { kind: stall.kind, lasted: stall.lasted, history, evidence })
}

#[cfg(test)]
mod tests;
