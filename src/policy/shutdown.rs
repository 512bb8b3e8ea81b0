//! The way to the end: forward → grace → kill → drain → finish.
//!
//! Holds signals back (`--pre-stop-delay`), escalates only if asked (`--grace`) or when goinit
//! itself decided to end the program, and knows when last words have been waited for long enough.

use crate::policy::config::{Config, OWN_GRACE, OnStall};
use crate::units::{Mono, Signal};
use std::time::Duration;

/// Why goinit itself ends the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It stalled and `--on-stall` says to end it.
    Stall,
    /// `--timeout` is over.
    Deadline,
    /// A crash was printed, but the process did not end (the runtime can lock itself up).
    CrashHang,
}

/// How long the runtime gets to print its goroutines before TERM follows QUIT, and half of the
/// grace period at most: KILL is due at its end in any case.
const DUMP_TIME: Duration = Duration::from_secs(5);
/// How long a dump into `--dump-dir` may read the program before TERM: 100,000 goroutines took
/// less than 700 ms.
const READ_TIME: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The program has ended; its pipe may still hold last words.
    Draining {
        until: Mono,
    },
    /// The program's descendants are waited for (`--wait-for-all`).
    Lingering,
    Over,
}

/// What the end has come to.
#[derive(Debug)]
pub struct Shutdown {
    phase: Phase,
    /// Signals due later, in order of their time.
    due: Vec<(Mono, Signal)>,
    reason: Option<Reason>,
    /// Somebody asked for the end by a terminating signal.
    asked: Option<Signal>,
    /// The signals that were passed on, each once.
    passed: Vec<Signal>,
    pipe_open: bool,
    drain: Duration,
    linger: bool,
    childless: bool,
}

impl Shutdown {
    /// Nothing has ended yet. `pipe_open` tells whether the program's stderr is a pipe of ours.
    #[must_use]
    pub fn new(config: &Config, pipe_open: bool) -> Self {
        Self {
            phase: Phase::Running,
            due: Vec::new(),
            reason: None,
            asked: None,
            passed: Vec::new(),
            pipe_open,
            drain: config.drain,
            linger: config.wait_for_all,
            childless: false,
        }
    }

    /// A signal arrived: the signal to pass on now, if any.
    pub fn received(&mut self, now: Mono, signal: Signal, config: &Config) -> Option<Signal> {
        let passed = config.rewritten(signal)?;
        if !self.passed.contains(&passed) {
            self.passed.push(passed);
        }
        if signal != Signal::TERM {
            return Some(passed);
        }
        self.asked = Some(signal);
        let start = now.after(config.pre_stop_delay);
        if let Some(grace) = config.grace {
            self.schedule(start.after(grace), Signal::KILL);
        }
        if config.pre_stop_delay.is_zero() {
            return Some(passed);
        }
        self.schedule(start, passed);
        None
    }

    /// goinit ends the program itself: the signal to send now. The first reason stays.
    pub fn end(&mut self, now: Mono, reason: Reason, config: &Config) -> Option<Signal> {
        if self.phase != Phase::Running || self.reason.is_some() {
            return None;
        }
        self.reason = Some(reason);
        let grace = config.grace.unwrap_or(OWN_GRACE);
        if reason == Reason::CrashHang {
            // It has printed what it had to say, and a runtime that locked itself up handles
            // no signal any more.
            return Some(Signal::KILL);
        }
        self.schedule(now.after(grace), Signal::KILL);
        if config.on_stall == OnStall::Quit {
            self.schedule(now.after(DUMP_TIME.min(grace / 2)), Signal::TERM);
            return Some(Signal::QUIT);
        }
        if config.dump_dir.is_some() {
            self.schedule(now.after(READ_TIME.min(grace / 2)), Signal::TERM);
            return None;
        }
        Some(Signal::TERM)
    }

    /// A second signal of the same kind moves nothing: the first deadline stands.
    fn schedule(&mut self, at: Mono, signal: Signal) {
        if self.due.iter().any(|(_, pending)| *pending == signal) {
            return;
        }
        self.due.push((at, signal));
        self.due.sort_by_key(|(at, _)| *at);
    }

    /// The program has ended.
    pub fn child_ended(&mut self, now: Mono) {
        if self.phase == Phase::Running {
            self.due.clear();
            self.phase = Phase::Draining { until: now.after(self.drain) };
            self.advance(now);
        }
    }

    /// The pipe of the program's stderr has no writer any more.
    pub fn pipe_closed(&mut self, now: Mono) {
        self.pipe_open = false;
        self.advance(now);
    }

    /// No descendant is left.
    pub fn childless(&mut self, now: Mono) {
        self.childless = true;
        self.advance(now);
    }

    /// Time has passed: the signals that are due.
    pub fn tick(&mut self, now: Mono) -> Vec<Signal> {
        self.advance(now);
        let count = self.due.iter().take_while(|(at, _)| *at <= now).count();
        self.due.drain(..count).map(|(_, signal)| signal).collect()
    }

    fn advance(&mut self, now: Mono) {
        if let Phase::Draining { until } = self.phase
            && (!self.pipe_open || now >= until)
        {
            self.phase = if self.linger { Phase::Lingering } else { Phase::Over };
        }
        if self.phase == Phase::Lingering && self.childless {
            self.phase = Phase::Over;
        }
    }

    /// Whether everything that was waited for has happened.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// Whether the pipe was still held open by somebody when the drain deadline passed.
    #[must_use]
    pub fn pipe_left_open(&self) -> bool {
        self.is_over() && self.pipe_open
    }

    /// Why goinit itself ended the program, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// The terminating signal somebody asked for the end with.
    #[must_use]
    pub fn asked(&self) -> Option<Signal> {
        self.asked
    }

    /// The signals that were passed on, or are about to be.
    #[must_use]
    pub fn passed(&self) -> &[Signal] {
        &self.passed
    }

    /// Whether the program still runs, as far as anybody told.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// The next instant at which something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let drain = match self.phase {
            Phase::Draining { until } => Some(until),
            Phase::Running | Phase::Lingering | Phase::Over => None,
        };
        self.due.first().map(|(at, _)| *at).into_iter().chain(drain).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn term_is_passed_on_and_escalates_only_if_grace_is_given() {
        let config = Config::default();
        let mut plain = Shutdown::new(&config, true);
        assert_eq!(plain.received(at(1), Signal::TERM, &config), Some(Signal::TERM));
        assert_eq!(plain.deadline(), None);

        let config = Config { grace: Some(secs(5)), ..Config::default() };
        let mut strict = Shutdown::new(&config, true);
        assert_eq!(strict.received(at(1), Signal::TERM, &config), Some(Signal::TERM));
        assert_eq!(strict.received(at(4), Signal::TERM, &config), Some(Signal::TERM));
        assert_eq!(strict.deadline(), Some(at(6)));
        assert_eq!(strict.tick(at(6)), [Signal::KILL]);
    }

    #[test]
    fn term_is_held_back_for_the_pre_stop_delay() {
        let config = Config { pre_stop_delay: secs(3), grace: Some(secs(5)), ..Config::default() };
        let mut shutdown = Shutdown::new(&config, true);
        assert_eq!(shutdown.received(at(0), Signal::TERM, &config), None);
        assert_eq!(shutdown.received(at(0), Signal::HUP, &config), Some(Signal::HUP));
        assert_eq!(shutdown.tick(at(3)), [Signal::TERM]);
        assert_eq!(shutdown.tick(at(8)), [Signal::KILL]);
    }

    #[test]
    fn quit_is_followed_by_term_and_kill() {
        let config = Config { on_stall: OnStall::Quit, ..Config::default() };
        let mut shutdown = Shutdown::new(&config, true);
        assert_eq!(shutdown.end(at(0), Reason::Stall, &config), Some(Signal::QUIT));
        assert_eq!(shutdown.end(at(1), Reason::Deadline, &config), None);
        assert_eq!(shutdown.reason(), Some(Reason::Stall));
        assert_eq!(shutdown.tick(at(5)), [Signal::TERM]);
        assert_eq!(shutdown.tick(at(10)), [Signal::KILL], "all inside the grace period");
        let config = Config { grace: Some(secs(4)), ..config };
        let mut short = Shutdown::new(&config, true);
        assert_eq!(short.end(at(0), Reason::Stall, &config), Some(Signal::QUIT));
        assert_eq!(short.tick(at(2)), [Signal::TERM]);
        assert_eq!(short.tick(at(4)), [Signal::KILL]);
    }

    #[test]
    fn a_dump_into_a_directory_is_read_before_the_end() {
        let dump_dir = Some("/dumps".into());
        let config = Config { on_stall: OnStall::Exit, dump_dir, ..Config::default() };
        let mut shutdown = Shutdown::new(&config, true);
        assert_eq!(shutdown.end(at(0), Reason::Stall, &config), None);
        assert_eq!(shutdown.tick(at(1)), [Signal::TERM]);
    }

    #[test]
    fn last_words_are_waited_for_until_the_pipe_closes_or_the_drain_deadline() {
        let config = Config::default();
        let mut closed = Shutdown::new(&config, true);
        closed.child_ended(at(1));
        assert!(!closed.is_over());
        closed.pipe_closed(at(1));
        assert!(closed.is_over() && !closed.pipe_left_open());

        let mut held = Shutdown::new(&config, true);
        held.child_ended(at(1));
        assert_eq!(held.deadline(), Some(at(2)));
        assert!(held.tick(at(2)).is_empty());
        assert!(held.is_over() && held.pipe_left_open());
    }

    #[test]
    fn all_descendants_are_waited_for_if_asked() {
        let config = Config { wait_for_all: true, ..Config::default() };
        let mut shutdown = Shutdown::new(&config, false);
        shutdown.child_ended(at(1));
        assert!(!shutdown.is_over());
        shutdown.childless(at(9));
        assert!(shutdown.is_over());
    }
}
