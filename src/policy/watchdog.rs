//! Is the program alive? A pure table of state and event; the words of the answer come later,
//! from evidence.
//!
//! Suspicion only asks for evidence; with the answer, or without one when its time is over, the
//! stall is reported. Time in which goinit did not run or the program was stopped on purpose is
//! not the program's silence. `Blind` never accuses: no output is not proof when output was never
//! possible.

use crate::go::gc::GcTrace;
use crate::go::snapshot::Snapshot;
use crate::policy::progress::{Meter, Sample};
use crate::policy::verdict::Crash;
use crate::units::Mono;
use std::time::Duration;

pub use crate::policy::history::{History, Kind, Stall};

/// What the watchdog is told once.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// No progress for this long is suspicious (`--stall-after`).
    pub stall_after: Duration,
    /// The interval of the heartbeat (schedtrace).
    pub heartbeat: Duration,
    /// How long evidence may take before the stall is reported without it.
    pub evidence_limit: Duration,
    /// Whether the program is one that prints a heartbeat: a Go program with schedtrace set.
    pub expect_heartbeat: bool,
}

/// Something that happened to the program.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A scheduler snapshot came out of its stderr.
    Heartbeat(&'a Snapshot),
    /// Its counters were read.
    Sample(&'a Sample),
    /// It wrote this many bytes of its own to stderr.
    AppBytes(u64),
    /// The runtime wrote this many bytes to stderr: snapshots, traces, dumps.
    RuntimeBytes(u64),
    /// So many write calls brought what was read of stderr; only packets tell.
    Writes(u64),
    /// A package's init finished (inittrace).
    InitDone,
    /// A garbage collection finished (gctrace).
    Collected(&'a GcTrace),
    /// The runtime printed the head of a panic or fatal error.
    Crashed(&'a Crash),
    /// Nobody can write to its stderr any more.
    StderrClosed,
    /// It was stopped by a signal.
    Stopped,
    /// It goes on.
    Continued,
    /// goinit itself did not run for this long.
    Gap(Duration),
    /// The evidence that was asked for has come; `true` = it shows progress that the counters
    /// had missed.
    Evidence(bool),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Start the evidence process; answer with [`Seen::Evidence`].
    Collect,
    /// Judge and report the stall: the first time, and again at 2, 4, 8 … times the threshold.
    Report(Stall),
    /// It moves again; the stall is the one that was last reported, with its whole length.
    Recovered(Stall),
    /// The watchdog cannot see and says so, once.
    Blind(&'static str),
}

/// What is to be done, in order; mostly nothing.
pub type Moves = Vec<Move>;

/// Where the watchdog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No heartbeat yet.
    Arming,
    /// Heartbeats come, progress is made.
    Watching,
    /// Too long without; evidence is being collected until the deadline.
    Suspect {
        /// What seems to have stopped.
        kind: Kind,
        /// When to report without evidence.
        until: Mono,
    },
    /// A stall was reported.
    Stalled {
        /// As it was last reported.
        stall: Stall,
        /// Whose clock runs; the report may have a better name for it.
        kind: Kind,
        /// When to report again, or, while evidence is collected, without it.
        next: Mono,
        /// Whether evidence is being collected.
        asked: bool,
    },
    /// Nothing can be seen.
    Blind,
}

/// What an event means to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    /// A heartbeat, or a change of counters.
    Beat,
    /// A threshold has passed.
    Due(Kind),
    /// The evidence came without progress.
    Convicted,
    /// The evidence came and showed progress.
    Cleared,
    /// Clocks were suspended.
    Gap,
    /// stderr has no writer any more.
    Closed,
    /// The time for an answer or for the next report has come.
    Late,
    /// None of it.
    Nothing,
}

/// The watchdog of one program.
#[derive(Debug)]
pub struct Watchdog {
    settings: Settings,
    state: State,
    history: History,
    meter: Meter,
    /// The instant at which, while watching, no threshold had passed.
    clear: Option<Mono>,
}

/// The shortest time between two looks at the clock while heartbeats are missing.
const NAP: Duration = Duration::from_secs(1);
/// Reasons for being blind.
const NO_HEARTBEAT: &str = "not a Go program with schedtrace: it cannot be seen whether it moves";
const CLOSED: &str = "the program closed its stderr: no heartbeat can be seen any more";

impl Watchdog {
    /// A watchdog for a program that starts now. Without a heartbeat to expect it is blind from
    /// the beginning and says so at its first step.
    #[must_use]
    pub fn new(settings: Settings, now: Mono) -> Self {
        let (state, history, meter) = (State::Arming, History::new(now), Meter::default());
        Self { settings, state, history, meter, clear: None }
    }

    /// What was seen so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Where it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// The stall that lasts at present, as last reported.
    #[must_use]
    pub fn stall(&self) -> Option<Stall> {
        match self.state {
            State::Stalled { stall, .. } => Some(stall),
            State::Arming | State::Watching | State::Suspect { .. } | State::Blind => None,
        }
    }

    /// Takes one event.
    #[must_use]
    pub fn step(&mut self, now: Mono, seen: Seen<'_>) -> Moves {
        self.history.now = self.history.now.max(now);
        if !self.settings.expect_heartbeat && self.state == State::Arming {
            // A program that prints a heartbeat although nobody expected one can be watched.
            if !matches!(seen, Seen::Heartbeat(_)) {
                self.note(now, seen);
                self.state = State::Blind;
                return vec![Move::Blind(NO_HEARTBEAT)];
            }
        }
        let wrote = matches!(seen, Seen::AppBytes(_) | Seen::RuntimeBytes(_));
        let mut happening = self.note(now, seen);
        if wrote && self.clear == Some(now) {
            // Many writes come at one instant, and none makes a threshold pass.
            debug_assert_eq!(self.due(now), happening, "{:?}", self.history);
            return Moves::new();
        }
        if happening == Happening::Nothing {
            happening = self.due(now);
        }
        let clear = self.state == State::Watching && happening == Happening::Nothing;
        self.clear = clear.then_some(now);
        self.turn(now, happening)
    }

    /// The instant at which [`Seen::Tick`] is wanted, if nothing else happens before.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Arming => Some(self.silence_due().min(self.nap_ends())),
            State::Watching => {
                let mut earliest = self.silence_due().min(self.nap_ends());
                for kind in [Kind::Idle, Kind::Spinning] {
                    if let Some(due) = self.due_at(kind) {
                        earliest = earliest.min(due);
                    }
                }
                Some(earliest)
            }
            State::Suspect { until, .. } => Some(until),
            State::Stalled { next, .. } => Some(next),
            State::Blind => None,
        }
    }

    /// Writes the event into the history and says what it means to the table.
    fn note(&mut self, now: Mono, seen: Seen<'_>) -> Happening {
        let history = &mut self.history;
        match seen {
            Seen::Heartbeat(snapshot) => {
                // A heartbeat proves that it runs, whatever was said about stops.
                history.stopped = None;
                history.beat(now, snapshot);
                Happening::Beat
            }
            Seen::Sample(sample) => {
                let activity = self.meter.take(sample);
                history.sample(sample.at.min(now), activity);
                if sample.stopped {
                    history.stopped = Some(history.stopped.unwrap_or(sample.at));
                }
                Happening::Nothing
            }
            Seen::AppBytes(bytes) => {
                self.meter.stderr(bytes, 0);
                history.wrote(now, bytes);
                Happening::Nothing
            }
            Seen::RuntimeBytes(bytes) => {
                self.meter.stderr(bytes, 0);
                Happening::Nothing
            }
            Seen::Writes(calls) => {
                self.meter.stderr(0, calls);
                Happening::Nothing
            }
            Seen::InitDone => {
                history.init_finished(now);
                Happening::Nothing
            }
            Seen::Collected(trace) => {
                history.collected(now, trace);
                Happening::Nothing
            }
            Seen::Crashed(crash) => {
                history.crash.get_or_insert_with(|| crash.clone());
                Happening::Nothing
            }
            Seen::StderrClosed => Happening::Closed,
            Seen::Stopped => {
                history.stopped = Some(now);
                Happening::Gap
            }
            Seen::Continued => {
                let gap = history.stopped.take().map(|since| now.since(since));
                history.suspend(gap.unwrap_or_default());
                Happening::Gap
            }
            Seen::Gap(gap) => {
                history.suspend(gap);
                Happening::Gap
            }
            Seen::Evidence(true) => Happening::Cleared,
            Seen::Evidence(false) => Happening::Convicted,
            Seen::Tick => Happening::Nothing,
        }
    }

    /// The table. Every pair is decided here, none by wildcard.
    fn turn(&mut self, now: Mono, happening: Happening) -> Moves {
        match (self.state, happening) {
            (State::Arming, Happening::Beat) => self.watch(),
            // A wrapper whose Go program ended is no longer to be seen; that is no silence.
            (State::Arming | State::Watching, Happening::Due(Kind::Silent))
                if !self.settings.expect_heartbeat =>
            {
                self.state = State::Blind;
                Moves::new()
            }
            (State::Arming | State::Watching, Happening::Due(kind)) => self.suspect(now, kind),
            (State::Watching, Happening::Beat) => match self.due(now) {
                Happening::Due(kind) => self.suspect(now, kind),
                Happening::Beat
                | Happening::Convicted
                | Happening::Cleared
                | Happening::Gap
                | Happening::Closed
                | Happening::Late
                | Happening::Nothing => Moves::new(),
            },
            (State::Suspect { kind, .. }, Happening::Beat | Happening::Nothing) => {
                if self.over(kind) { self.watch() } else { Moves::new() }
            }
            (State::Suspect { .. }, Happening::Cleared) => {
                self.history.output = now;
                self.history.progress = now;
                self.watch()
            }
            (State::Suspect { kind, .. }, Happening::Convicted | Happening::Late) => {
                self.report(now, kind, 1)
            }
            (State::Suspect { kind, .. }, Happening::Gap) => {
                let until = now.after(self.settings.evidence_limit);
                self.state = State::Suspect { kind, until };
                if self.over(kind) { self.watch() } else { Moves::new() }
            }
            (State::Stalled { stall, kind, .. }, Happening::Beat | Happening::Nothing) => {
                self.recover(now, stall, kind)
            }
            (State::Stalled { stall, kind, .. }, Happening::Cleared) => {
                self.history.output = now;
                self.history.progress = now;
                self.recover(now, stall, kind)
            }
            (State::Stalled { stall, kind, asked: false, .. }, Happening::Late) => {
                let next = now.after(self.settings.evidence_limit);
                self.state = State::Stalled { stall, kind, next, asked: true };
                vec![Move::Collect]
            }
            (
                State::Stalled { stall, kind, asked: true, .. },
                Happening::Convicted | Happening::Late,
            ) => {
                let kind = self.kind_now(now).unwrap_or(kind);
                self.report(now, kind, stall.report.saturating_add(1))
            }
            (State::Stalled { .. }, Happening::Convicted | Happening::Closed) => Moves::new(),
            (State::Stalled { stall, kind, .. }, Happening::Gap) => self.recover(now, stall, kind),
            (State::Arming | State::Watching | State::Suspect { .. }, Happening::Closed) => {
                self.state = State::Blind;
                vec![Move::Blind(CLOSED)]
            }
            // A threshold that has passed means nothing new to one who knows.
            (State::Suspect { .. } | State::Stalled { .. }, Happening::Due(_)) => Moves::new(),
            // An answer that nobody waits for any more, and clocks that were moved already.
            (
                State::Arming | State::Watching,
                Happening::Convicted
                | Happening::Cleared
                | Happening::Gap
                | Happening::Late
                | Happening::Nothing,
            ) => Moves::new(),
            // A wrapper (a shell script) may start a Go program, which then can be watched.
            (State::Blind, Happening::Beat) if !self.settings.expect_heartbeat => self.watch(),
            // Otherwise blind stays blind and has said so.
            (
                State::Blind,
                Happening::Beat
                | Happening::Due(_)
                | Happening::Convicted
                | Happening::Cleared
                | Happening::Gap
                | Happening::Closed
                | Happening::Late
                | Happening::Nothing,
            ) => Moves::new(),
        }
    }

    /// While heartbeats are missing the loop looks at the clock now and then: waking up later than
    /// it wanted tells that it did not run itself (a paused container), and for how long. With
    /// heartbeats this instant is never reached.
    fn nap_ends(&self) -> Mono {
        self.history.now.after((self.settings.heartbeat * 5 / 2).max(NAP))
    }

    /// Silence is only silence when several heartbeats are missing.
    fn silence_due(&self) -> Mono {
        let since = self.history.since(Kind::Silent).unwrap_or(self.history.started);
        since.after(self.settings.stall_after.max(self.settings.heartbeat * 5 / 2))
    }

    /// When a threshold will have passed, as far as can be said now. While the program is stopped
    /// it can only be silent.
    fn due_at(&self, kind: Kind) -> Option<Mono> {
        let history = &self.history;
        if kind == Kind::Silent {
            return Some(self.silence_due());
        }
        if history.stopped.is_some() {
            return None;
        }
        // What a heartbeat has shown holds until the next one is late: then it is silence.
        let late = history
            .last_beat
            .is_some_and(|beat| history.now.since(beat) > self.settings.heartbeat * 2);
        if late && kind != Kind::Idle {
            return None;
        }
        let due = history.since(kind)?.after(self.settings.stall_after);
        // A little CPU now and then (background tickers) must not hide a dead program for ever:
        // without output or IO it is looked at after four times the patience.
        let murmuring = kind == Kind::Idle && history.burning.is_none();
        let hushed = history.output.after(self.settings.stall_after.saturating_mul(4));
        Some(if murmuring { due.min(hushed) } else { due })
    }

    /// Which threshold has passed, in the order in which kinds explain each other.
    fn kind_now(&self, now: Mono) -> Option<Kind> {
        [Kind::Silent, Kind::Stw, Kind::Threads, Kind::Starved, Kind::Spinning, Kind::Idle]
            .into_iter()
            .find(|kind| self.due_at(*kind).is_some_and(|due| due <= now))
    }

    /// What the clock alone means.
    fn due(&self, now: Mono) -> Happening {
        match self.state {
            // While nothing has come, silence is the only thing that can be told.
            State::Arming if self.silence_due() <= now => Happening::Due(Kind::Silent),
            State::Watching => self.kind_now(now).map_or(Happening::Nothing, Happening::Due),
            State::Suspect { kind, until } if until <= now && !self.over(kind) => Happening::Late,
            State::Stalled { kind, next, .. } if next <= now && !self.over(kind) => Happening::Late,
            State::Arming | State::Suspect { .. } | State::Stalled { .. } | State::Blind => {
                Happening::Nothing
            }
        }
    }

    /// Whether the condition of a stall has ended: its clock stands still or was set anew. A
    /// program that is stopped by a signal does not recover by that.
    fn over(&self, kind: Kind) -> bool {
        if kind != Kind::Silent && self.history.stopped.is_some() {
            return false;
        }
        self.due_at(kind).is_none_or(|due| self.history.now < due)
    }

    fn watch(&mut self) -> Moves {
        self.state = if self.history.beats == 0 { State::Arming } else { State::Watching };
        Moves::new()
    }

    fn suspect(&mut self, now: Mono, kind: Kind) -> Moves {
        self.state = State::Suspect { kind, until: now.after(self.settings.evidence_limit) };
        vec![Move::Collect]
    }

    fn report(&mut self, now: Mono, kind: Kind, report: u32) -> Moves {
        let (since, patience) = self.since(now, kind);
        let times = 1u32.checked_shl(report.saturating_sub(1)).unwrap_or(u32::MAX);
        let threshold = patience.saturating_mul(times);
        let stall = Stall {
            kind: self.history.named(kind),
            since,
            lasted: now.since(since),
            threshold,
            report,
            beats: self.history.beats,
        };
        let next = since.after(threshold.saturating_mul(2)).max(now.after(patience));
        self.history.stall = Some(stall);
        self.state = State::Stalled { stall, kind, next, asked: false };
        vec![Move::Report(stall)]
    }

    /// Since when a stall lasts, and the patience it has exceeded.
    fn since(&self, now: Mono, kind: Kind) -> (Mono, Duration) {
        let history = &self.history;
        let patience = self.settings.stall_after;
        let since = history.since(kind).unwrap_or(now);
        match kind {
            Kind::Silent => (since, self.silence_due().since(since)),
            Kind::Idle if now.since(since) < patience => (history.output, patience),
            Kind::Idle | Kind::Spinning | Kind::Starved | Kind::Stw | Kind::Threads => {
                (since, patience)
            }
        }
    }

    fn recover(&mut self, now: Mono, stall: Stall, kind: Kind) -> Moves {
        if !self.over(kind) {
            return Moves::new();
        }
        let _ = self.watch();
        self.history.stall = None;
        vec![Move::Recovered(Stall { lasted: now.since(stall.since), ..stall })]
    }
}

#[cfg(test)]
mod tests;
