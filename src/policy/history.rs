//! What the watchdog has seen so far, as the verdict needs it: one clock per kind of stall, each
//! running since its condition began to hold without a break.
//!
//! Everything here comes from events with an instant, so a captured log rebuilds it exactly.

use crate::go::gc::GcTrace;
use crate::go::snapshot::Snapshot;
use crate::policy::progress::{Activity, BURNING_PERMILLE, MOVING_PERMILLE};
use crate::policy::verdict::Crash;
use crate::units::Mono;
use std::collections::VecDeque;
use std::time::Duration;

/// What stopped, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No heartbeat.
    Silent,
    /// Heartbeats, no work, no CPU.
    Idle,
    /// CPU burns, nothing comes out.
    Spinning,
    /// Runnable goroutines wait in queues that do not shrink.
    Starved,
    /// A stop-the-world does not finish.
    Stw,
    /// Threads grow without bound.
    Threads,
}

impl Kind {
    /// The word in the log (`stall.kind`).
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Idle => "idle",
            Self::Spinning => "spinning",
            Self::Starved => "starved",
            Self::Stw => "stw",
            Self::Threads => "threads",
        }
    }
}

/// A stall, as it is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What stopped.
    pub kind: Kind,
    /// Since when.
    pub since: Mono,
    /// For how long.
    pub lasted: Duration,
    /// The time that was exceeded; 2, 4, 8 … times the setting when reported again.
    pub threshold: Duration,
    /// How often this stall was reported, this time included.
    pub report: u32,
    /// Heartbeats so far.
    pub beats: u64,
}

/// How many of the program's own writes are remembered with their time.
const WRITES: usize = 16;
/// How many garbage collections are remembered with their time.
const COLLECTIONS: usize = 32;
/// A queue, or a wish to stop the world, that was there for so long is no accident.
const LASTS: Duration = Duration::from_millis(900);
/// Writes closer than this are one.
const ONE_WRITE: Duration = Duration::from_millis(50);
/// Heartbeats at which wake-ups are counted.
pub const LOOKS: u32 = 8;
/// Threads at work below this number are never called an explosion.
const MANY_THREADS: u32 = 64;

/// The past of a program, in figures.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// When watching began.
    pub started: Mono,
    /// The instant of the last event.
    pub now: Mono,
    /// Heartbeats so far.
    pub beats: u64,
    /// The last heartbeat, moved by gaps.
    pub last_beat: Option<Mono>,
    /// What it said.
    pub snapshot: Option<Snapshot>,
    /// Bytes of the program's own text on stderr.
    pub app_bytes: u64,
    /// When it last wrote some of its own, newest last, at most 16.
    pub writes: VecDeque<Mono>,
    /// Package init tasks that finished (inittrace).
    pub init_done: u64,
    /// The last event that was progress of any sort: output, IO, CPU, init.
    pub progress: Mono,
    /// The last output, IO or finished init task: progress that CPU alone cannot fake.
    pub output: Mono,
    /// The last IO beside stderr.
    pub io: Option<Mono>,
    /// What moved at the last sample.
    pub activity: Activity,
    /// Since when every sample showed a burning CPU.
    pub burning: Option<Mono>,
    /// Since when all Ps were busy with long queues at every heartbeat.
    pub queued: Option<Mono>,
    /// Since when a stop-the-world was wanted at every heartbeat.
    pub stopping: Option<Mono>,
    /// Since when the number of working threads only grew, and how many there were then.
    pub growing: Option<(Mono, u32)>,
    /// Working threads at the last heartbeat: neither parked nor looking for work.
    pub working: u32,
    /// Sum of the schedticks at the last heartbeat and how fast it grows, a second.
    pub ticks: Option<(u64, u64)>,
    /// One bit for each heartbeat, the last in the lowest: all Ps idle, yet schedticks grew.
    woken: u32,
    /// Heartbeats that came late, percent, where only they tell about the CPU quota.
    pub late_percent: Option<u64>,
    /// Heartbeats in a row at which every P was idle.
    pub idle_beats: u64,
    /// Since when the program is stopped by a signal.
    pub stopped: Option<Mono>,
    /// Time that was taken out of the clocks: own gaps and stops.
    pub suspended: Duration,
    /// Garbage collections with their time, newest last, at most 32.
    pub collections: VecDeque<Mono>,
    /// CPU time the collector took since the program began, percent, as gctrace last said.
    pub gc_percent: Option<u64>,
    /// Which of the last 32 collections found no room, one bit each: the live heap was at the goal.
    pub cramped: u32,
    /// The stall that lasts, as last reported.
    pub stall: Option<Stall>,
    /// What the program's runtime said before it wanted to die.
    pub crash: Option<Crash>,
}

impl History {
    /// An empty past that begins now.
    #[must_use]
    pub fn new(now: Mono) -> Self {
        Self { started: now, now, progress: now, output: now, ..Self::default() }
    }

    /// How long the program has been watched, stops and gaps included.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.now.since(self.started)
    }

    /// Since when the condition of a stall holds; `None` = it does not.
    #[must_use]
    pub fn since(&self, kind: Kind) -> Option<Mono> {
        match kind {
            Kind::Silent => Some(self.last_beat.unwrap_or(self.started)),
            Kind::Idle => Some(self.progress),
            Kind::Spinning => self.burning.map(|since| since.max(self.output)),
            Kind::Starved => self.queued.map(|since| match self.activity.throttled_percent {
                Some(50..) => since,
                Some(_) | None => since.max(self.output),
            }),
            Kind::Stw => self.stopping,
            Kind::Threads => {
                let (since, base) = self.growing?;
                let many = base.saturating_mul(2).max(base.saturating_add(MANY_THREADS));
                (self.working >= many).then_some(since)
            }
        }
    }

    /// The best name for a stall of this kind: CPU that burns while queues do not shrink, or while
    /// the world does not stop, is told by that.
    #[must_use]
    pub fn named(&self, kind: Kind) -> Kind {
        let lasts = |since: Option<Mono>| since.is_some_and(|at| self.now.since(at) >= LASTS);
        match kind {
            Kind::Spinning if lasts(self.stopping) => Kind::Stw,
            Kind::Spinning if lasts(self.queued) => Kind::Starved,
            Kind::Silent
            | Kind::Idle
            | Kind::Spinning
            | Kind::Starved
            | Kind::Stw
            | Kind::Threads => kind,
        }
    }

    /// Takes a heartbeat.
    pub(super) fn beat(&mut self, now: Mono, snapshot: &Snapshot) {
        self.beats = self.beats.saturating_add(1);
        let pause = self.last_beat.map(|last| now.since(last));
        self.last_beat = Some(now);
        if snapshot.frozen() {
            return;
        }
        let all_idle = snapshot.idleprocs >= snapshot.gomaxprocs;
        self.idle_beats = if all_idle { self.idle_beats.saturating_add(1) } else { 0 };
        self.count_ticks(pause, snapshot, all_idle);
        let long = snapshot.queued() >= u64::from(snapshot.gomaxprocs).saturating_mul(2).max(4);
        let queued = snapshot.idleprocs == 0 && long;
        self.queued = queued.then(|| self.queued.unwrap_or(now));
        let stopping = snapshot.gcwaiting == Some(true);
        self.stopping = stopping.then(|| self.stopping.unwrap_or(now));
        self.count_threads(now, snapshot);
        if self.activity.cpu_permille.is_none() {
            self.guess_cpu(now, snapshot);
        }
        self.snapshot = Some(snapshot.clone());
    }

    /// Growth of the schedticks a second, and whether somebody was woken although all is idle: a
    /// timer passes its time slice on and does not count, a descriptor that became ready does.
    fn count_ticks(&mut self, pause: Option<Duration>, snapshot: &Snapshot, all_idle: bool) {
        let Some(ticks) = snapshot.ticks() else { return };
        let before = self.ticks.map(|(before, _)| before);
        let grown = ticks.saturating_sub(before.unwrap_or(ticks));
        let pause = pause.map_or(0, |pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        let rate = grown.saturating_mul(1_000).checked_div(pause).unwrap_or(grown);
        self.ticks = Some((ticks, rate));
        self.woken = (self.woken << 1) | u32::from(all_idle && grown > 0);
    }

    /// Of how many of the last [`LOOKS`] heartbeats at rest somebody had been woken before.
    #[must_use]
    pub fn woken(&self) -> u32 {
        (self.woken & ((1 << LOOKS) - 1)).count_ones()
    }

    fn count_threads(&mut self, now: Mono, snapshot: &Snapshot) {
        let spare = snapshot.idlethreads.saturating_add(snapshot.spinningthreads);
        let working = snapshot.threads.saturating_sub(spare);
        self.growing = match self.growing {
            Some(growing) if working >= self.working => Some(growing),
            Some(_) | None => Some((now, working)),
        };
        self.working = working;
    }

    /// Without samples the heartbeat itself has to tell whether CPU is used: a P that runs
    /// something is.
    fn guess_cpu(&mut self, now: Mono, snapshot: &Snapshot) {
        if snapshot.idleprocs < snapshot.gomaxprocs {
            self.burning = Some(self.burning.unwrap_or(now));
            self.progress = self.progress.max(now);
        } else {
            self.burning = None;
        }
    }

    /// Takes what moved between two samples.
    pub(super) fn sample(&mut self, at: Mono, activity: Activity) {
        if let Some(cpu) = activity.cpu_permille {
            if cpu >= MOVING_PERMILLE {
                self.progress = self.progress.max(at);
            }
            self.burning = (cpu >= BURNING_PERMILLE).then(|| self.burning.unwrap_or(at));
        }
        if activity.io {
            self.io = Some(at);
            self.output = self.output.max(at);
            self.progress = self.progress.max(at);
        }
        self.activity = activity;
    }

    /// Takes output of the program itself.
    pub(super) fn wrote(&mut self, now: Mono, bytes: u64) {
        self.app_bytes = self.app_bytes.saturating_add(bytes);
        self.output = now;
        self.progress = now;
        if self.writes.back().is_some_and(|last| now.since(*last) < ONE_WRITE) {
            return;
        }
        remember(&mut self.writes, now, WRITES);
    }

    /// Takes a finished init task.
    pub(super) fn init_finished(&mut self, now: Mono) {
        self.init_done = self.init_done.saturating_add(1);
        self.output = now;
        self.progress = now;
    }

    /// Takes a finished garbage collection.
    pub(super) fn collected(&mut self, now: Mono, trace: &GcTrace) {
        self.gc_percent = Some(trace.cpu_percent);
        let cramped = trace.cramped() && !trace.forced;
        self.cramped = self.cramped << 1 | u32::from(cramped);
        remember(&mut self.collections, now, COLLECTIONS);
    }

    /// Takes `gap` out of every clock: what happened before it moves towards now.
    pub(super) fn suspend(&mut self, gap: Duration) {
        let now = self.now;
        let shift = |at: &mut Mono| *at = at.after(gap).min(now);
        shift(&mut self.progress);
        shift(&mut self.output);
        self.last_beat.iter_mut().for_each(shift);
        self.burning.iter_mut().for_each(shift);
        self.queued.iter_mut().for_each(shift);
        self.stopping.iter_mut().for_each(shift);
        self.growing.iter_mut().for_each(|(at, _)| shift(at));
        if self.last_beat.is_none() {
            self.started = self.started.after(gap).min(now);
        }
        self.suspended = self.suspended.saturating_add(gap);
    }

    /// The usual time between two writes of the program, when it writes regularly: at least three
    /// writes, no pause longer than twice the shortest.
    #[must_use]
    pub fn rhythm(&self) -> Option<Duration> {
        let pauses: Vec<Duration> =
            self.writes.iter().zip(self.writes.iter().skip(1)).map(|(a, b)| b.since(*a)).collect();
        let (shortest, longest) = (pauses.iter().min()?, pauses.iter().max()?);
        (pauses.len() >= 2 && *longest <= *shortest * 2).then_some(*longest)
    }

    /// Garbage collections a second over those that are remembered.
    #[must_use]
    pub fn collections_per_second(&self) -> Option<u64> {
        let (first, last) = (self.collections.front()?, self.collections.back()?);
        let milliseconds = u64::try_from(last.since(*first).as_millis()).unwrap_or(u64::MAX);
        let count = u64::try_from(self.collections.len()).unwrap_or(0).saturating_sub(1);
        count.saturating_mul(1_000).checked_div(milliseconds)
    }
}

fn remember(times: &mut VecDeque<Mono>, now: Mono, most: usize) {
    if times.len() >= most {
        times.pop_front();
    }
    times.push_back(now);
}
