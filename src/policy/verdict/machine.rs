//! Rules about the process as a whole: stopped, throttled, starved, collecting garbage, spinning.

use super::place;
use super::words::lasting;
use super::{Case, Class, Confidence, Finding};
use crate::policy::evidence::{Frame, GoroutineGroup, Goroutines, Thread};
use crate::policy::history::Kind;

/// Percent of quota periods from which throttling explains slowness.
const THROTTLED_PERCENT: u64 = 50;
/// Percent of the quota from which a queue is its fault.
const QUOTA_PERCENT: u64 = 75;
/// Runnable goroutines in a dump that are a crowd whatever GOMAXPROCS is.
const CROWD: u64 = 16;
/// Percent of late heartbeats from which the process itself lacks CPU.
const LATE_PERCENT: u64 = 10;
/// Percent of the memory limit from which memory explains slowness.
const MEMORY_PERCENT: u64 = 95;
/// Scheduling decisions a second that no useful work needs (a Gosched livelock makes millions).
const LIVELOCK_TICKS: u64 = 200_000;
/// Collections a second, or percent of CPU, from which collecting is all a program does.
const GC_PER_SECOND: u64 = 5;
const GC_PERCENT: u64 = 25;
/// Of the last 32 collections, so many without room are no accident.
const CRAMPED: u32 = 5;
/// CPU in thousandths of one from which a thread counts as busy.
pub(super) const BUSY_PERMILLE: u64 = 300;

/// All threads are stopped by a signal, or the cgroup is frozen.
pub(super) fn stopped(case: &Case<'_>) -> Option<Finding> {
    let process = case.evidence.process.got();
    let state = process.map(|process| process.state.as_str()).unwrap_or_default();
    let frozen = case.evidence.cgroup.got().is_some_and(|cgroup| cgroup.frozen == Some(true))
        || case.evidence.threads.got().is_some_and(|threads| in_the_freezer(threads));
    let sentence = if frozen {
        "the program is frozen: its cgroup's freezer is on (docker pause, a checkpoint)".to_owned()
    } else if state == "t" {
        "the program is held by a debugger (ptrace stop)".to_owned()
    } else if state == "T" {
        "the program is stopped by a signal (SIGSTOP or SIGTSTP): it is not stuck".to_owned()
    } else {
        return None;
    };
    let finding = Finding::new(Class::Stopped, "sigstop", Confidence::Certain, sentence);
    Some(finding.next("send SIGCONT, thaw the cgroup, or detach the debugger"))
}

/// All threads are where the freezer keeps them: v2 in a trap of the signal code, v1 in state D,
/// at its own place or in a sleep that a signal could otherwise interrupt (kernel/freezer.c). The
/// freezer of v1 has no file in the group of the other controllers.
fn in_the_freezer(threads: &[Thread]) -> bool {
    let at = |thread: &Thread, places: &[&str]| {
        thread.wchan.as_deref().is_some_and(|wchan| places.contains(&wchan))
    };
    let kept = |thread: &Thread| {
        let sleeps =
            ["__refrigerator", "hrtimer_nanosleep", "futex_do_wait", "futex_wait_queue", "ep_poll"];
        at(thread, &["do_freezer_trap"]) || (thread.state == "D" && at(thread, &sleeps))
    };
    !threads.is_empty() && threads.iter().all(kept)
}

/// Functions that stop the world. Before Go 1.21 a goroutine that does so keeps its state.
const STOPPERS: [&str; 5] = [
    "runtime.GC",
    "runtime.GOMAXPROCS",
    "runtime.ReadMemStats",
    "runtime.Stack",
    "runtime/debug.FreeOSMemory",
];

fn stops_the_world(group: &GoroutineGroup) -> bool {
    let stops = |frame: &Frame| STOPPERS.contains(&frame.function.as_str());
    group.state == "stopping the world"
        || (group.state == "running" && group.frames.iter().any(stops))
}

/// The runtime waits for all goroutines to stop, and one does not.
pub(super) fn stop_the_world(case: &Case<'_>) -> Option<Finding> {
    let groups = goroutines(case).map(|all| all.groups.as_slice()).unwrap_or_default();
    let seen = case.history.stopping.is_some()
        || goroutines(case).is_some_and(|all| {
            all.stopping_the_world == Some(true)
                || all.main.as_ref().is_some_and(|main| main.state == "stopping the world")
        })
        || groups.iter().any(stops_the_world);
    let mut running =
        groups.iter().filter(|group| group.state == "running" && !stops_the_world(group));
    let runs = running.next();
    let one_runs = runs.is_some()
        || goroutines(case).is_none_or(|all| all.wakers.running > 0) && busiest(case).is_some();
    if !(case.kind == Kind::Stw || (seen && one_runs)) {
        return None;
    }
    let place = runs
        .and_then(|group| place::place(&group.frames))
        .or_else(|| goroutines(case).and_then(super::goroutines::running));
    let who = place
        .as_deref()
        .map_or_else(String::new, |place| format!(": {} does not stop", place::short(place)));
    let sentence = format!("a garbage collection waits for all goroutines to stop{who}");
    let finding = Finding::new(Class::Stalled, "gc-stw", Confidence::Likely, sentence);
    let next = "put a function call into that loop, or drop GODEBUG=asyncpreemptoff=1";
    Some(finding.at(place).next(next))
}

/// Garbage collection takes all the CPU there is.
pub(super) fn gc_thrash(case: &Case<'_>) -> Option<Finding> {
    let often = case.history.collections_per_second().is_some_and(|rate| rate >= GC_PER_SECOND);
    // The percentage counts from the start of the program, so it comes late.
    let much = case.history.gc_percent.is_some_and(|percent| percent >= GC_PERCENT)
        || case.history.cramped.count_ones() >= CRAMPED;
    if case.kind == Kind::Idle || !(often && much) {
        return None;
    }
    let sentence = format!(
        "garbage is collected {} times a second ({} % of the CPU so far): the live heap has no \
         room below the memory limit",
        case.history.collections_per_second().unwrap_or_default(),
        case.history.gc_percent.unwrap_or_default()
    );
    let finding = Finding::new(Class::Slow, "gc-thrash", Confidence::Likely, sentence);
    Some(finding.next("raise the memory limit (and GOMEMLIMIT with it), or find what holds memory"))
}

/// The cgroup is at its memory limit.
pub(super) fn memory_pressure(case: &Case<'_>) -> Option<Finding> {
    let cgroup = case.evidence.cgroup.got()?;
    let limit = cgroup.memory_max.into_iter().chain(cgroup.memory_high).min()?;
    let cache = cgroup.memory_inactive_file.unwrap_or(0);
    let used = cgroup.memory_current?.saturating_sub(cache);
    let moving = cgroup.memory_events_delta.high + cgroup.memory_events_delta.max > 0;
    if case.kind == Kind::Idle || used < limit / 100 * MEMORY_PERCENT || !moving {
        return None;
    }
    let mib = |bytes: u64| bytes >> 20;
    let sentence = format!(
        "memory is at its limit: {} of {} MiB are used and the kernel reclaims",
        mib(used),
        mib(limit)
    );
    let finding = Finding::new(Class::Slow, "memory-pressure", Confidence::Likely, sentence);
    Some(finding.next("raise the memory limit, or find what holds memory"))
}

/// The CPU quota holds it back.
pub(super) fn throttled(case: &Case<'_>) -> Option<Finding> {
    let cgroup = case.evidence.cgroup.got();
    let percent = cgroup.and_then(|cgroup| {
        let recent = Some(&cgroup.cpu_delta).filter(|delta| delta.nr_periods > 0);
        let both = recent.unwrap_or(&cgroup.cpu);
        both.nr_throttled.saturating_mul(100).checked_div(both.nr_periods)
    });
    let percent = percent.or(case.history.activity.throttled_percent);
    // A program that only waits may have been throttled at its start.
    if case.kind == Kind::Idle {
        return None;
    }
    if cgroup.is_none() && percent.is_none() {
        return late(case);
    }
    let held = match percent {
        Some(percent) if percent >= THROTTLED_PERCENT => {
            format!("throttled in {percent} % of its periods")
        }
        Some(_) => return None,
        None => format!("it uses {} % of it, and work is waiting", quota_used(case)?),
    };
    let quota = cgroup.and_then(|cgroup| {
        let quota = u32::try_from(cgroup.quota_us?).ok()?;
        let period = u32::try_from(cgroup.period_us?).ok()?;
        Some(f64::from(quota) / f64::from(period.max(1)))
    });
    let quota = quota.map_or_else(String::new, |cpus| format!(" of {cpus:.2} CPU"));
    let confidence = if percent.is_some() { Confidence::Certain } else { Confidence::Likely };
    let sentence = format!("held back by the CPU quota{quota}: {held}");
    let finding = Finding::new(Class::Slow, "throttled", confidence, sentence);
    Some(finding.next("raise the CPU limit, or give the program less to do at once"))
}

/// Only the heartbeat tells: sysmon needs no P and hardly any CPU, so it is late when the whole
/// process does not get any, and on time when only the Ps are too few.
fn late(case: &Case<'_>) -> Option<Finding> {
    let percent = case.history.late_percent.filter(|percent| *percent >= LATE_PERCENT)?;
    case.history.queued?;
    let sentence = format!(
        "the process gets too little CPU: work is queued and {percent} % of its heartbeats are \
         late, as under a CPU quota"
    );
    let finding = Finding::new(Class::Slow, "throttled", Confidence::Unclear, sentence);
    Some(finding.next("look at nr_throttled in cpu.stat; raise the CPU limit"))
}

/// Percent of the quota that the program used between the two looks, where throttling is not
/// counted; `None` unless that is nearly all of it while goroutines queue.
fn quota_used(case: &Case<'_>) -> Option<u64> {
    let cgroup = case.evidence.cgroup.got()?;
    let sample_us = case.evidence.sample_ms.checked_mul(1_000)?;
    let allowed_us = sample_us.checked_mul(cgroup.quota_us?)?.checked_div(cgroup.period_us?)?;
    let used_us = case.evidence.process.got()?.cpu_delta_us;
    let percent = used_us.saturating_mul(100).checked_div(allowed_us)?;
    (percent >= QUOTA_PERCENT && case.history.queued.is_some()).then_some(percent)
}

/// More runnable goroutines than Ps, for long.
pub(super) fn starved(case: &Case<'_>) -> Option<Finding> {
    let Some(snapshot) = case.history.snapshot.as_ref() else { return crowded(case) };
    let queued = snapshot.queued();
    let yielding = ticks_per_second(case).is_some_and(|rate| rate >= LIVELOCK_TICKS);
    if case.history.queued.is_none() || yielding || case.kind == Kind::Idle {
        return None;
    }
    let place = goroutines(case).and_then(super::goroutines::running);
    let processors = match snapshot.gomaxprocs {
        1 => "the one processor".to_owned(),
        count => format!("{count} processors"),
    };
    let sentence = format!(
        "{queued} runnable goroutines wait for {processors}{}: too much work for the CPU there is",
        place::within(place.as_deref())
    );
    let finding = Finding::new(Class::Slow, "starved", Confidence::Likely, sentence);
    Some(finding.at(place).next("give it more CPU (and GOMAXPROCS), or start less work at once"))
}

/// Without any heartbeat: a dump in which far more goroutines want to run than do.
fn crowded(case: &Case<'_>) -> Option<Finding> {
    let wakers = &goroutines(case)?.wakers;
    let (waiting, running) = (wakers.runnable, wakers.running);
    if waiting < CROWD || waiting < running.saturating_mul(4) {
        return None;
    }
    let sentence =
        format!("{waiting} goroutines are runnable and {running} run: too little CPU for the work");
    let finding = Finding::new(Class::Slow, "starved", Confidence::Unclear, sentence);
    Some(finding.next("give it more CPU (and GOMAXPROCS), or start less work at once"))
}

/// Goroutines yield to each other for ever.
pub(super) fn livelock(case: &Case<'_>) -> Option<Finding> {
    let yields = ticks_per_second(case);
    let gosched = |all: &Goroutines| {
        let yielding = |name: &str| name == "runtime.Gosched" || name.ends_with(".Gosched");
        all.groups.iter().any(|group| {
            matches!(group.state.as_str(), "runnable" | "running")
                && group.frames.iter().any(|frame| yielding(&frame.function))
        })
    };
    let by_ticks = yields.is_some_and(|rate| rate >= LIVELOCK_TICKS);
    let by_stack = case.kind == Kind::Spinning && goroutines(case).is_some_and(gosched);
    if !matches!(case.kind, Kind::Spinning | Kind::Starved) || !(by_ticks || by_stack) {
        return None;
    }
    let place = goroutines(case).and_then(super::goroutines::running);
    let rate = yields.map_or_else(String::new, |rate| format!(", {rate} switches a second"));
    let at = place::within(place.as_deref());
    let sentence = format!("goroutines yield to each other and nothing comes of it{rate}{at}");
    let finding = Finding::new(Class::Stalled, "livelock", Confidence::Likely, sentence);
    Some(finding.at(place).next("wait on a channel or a condition instead of polling"))
}

/// It burns CPU and says nothing: a long computation looks just like a busy loop.
pub(super) fn cpu_bound(case: &Case<'_>) -> Option<Finding> {
    if case.kind != Kind::Spinning {
        return None;
    }
    let place = goroutines(case).and_then(super::goroutines::running);
    let at = place::within(place.as_deref());
    let (class, cause, guess) = if goroutines(case).is_some_and(flat) {
        (Class::Stalled, "busy-loop", "a busy loop, or a long computation without any call")
    } else {
        (Class::Ok, "cpu-bound", "a long computation or a busy loop")
    };
    let sentence = format!("it computes{at}, without output{}: {guess}", lasting(case.lasted));
    let finding = Finding::new(class, cause, Confidence::Unclear, sentence);
    Some(finding.at(place).next("if it should be done by now, profile it or read that loop"))
}

/// All that runs are goroutines whose first function calls nothing, while the main one waits:
/// what a loop that waits for a variable looks like, and hardly any computation.
fn flat(all: &Goroutines) -> bool {
    let on_cpu = |state: &str| matches!(state, "running" | "runnable");
    let main_waits = all.main.as_ref().is_some_and(|main| !on_cpu(&main.state));
    let mut running = all.groups.iter().filter(|group| on_cpu(&group.state)).peekable();
    let own = |group: &GoroutineGroup| {
        group.frames.iter().filter(|frame| !frame.function.starts_with("runtime.")).count()
    };
    main_waits && running.peek().is_some() && running.all(|group| own(group) == 1)
}

/// No heartbeat ever: the Go runtime has not begun.
pub(super) fn not_started(case: &Case<'_>) -> Option<Finding> {
    if case.kind != Kind::Silent || case.history.beats > 0 || goroutines(case).is_some() {
        return None;
    }
    let blocked = super::threads::blocked(case).map(super::threads::describe);
    let what = blocked.clone().map_or_else(String::new, |what| format!("; it is in {what}"));
    let sentence = format!("the Go runtime has printed no heartbeat since the start{what}");
    let finding = Finding::new(Class::Stalled, "not-started", Confidence::Unclear, sentence);
    Some(finding.on(blocked).next("is it a Go program, or a wrapper that starts one?"))
}

/// The goroutines, if they could be read.
pub(super) fn goroutines<'a>(case: &Case<'a>) -> Option<&'a Goroutines> {
    case.evidence.goroutines.got().filter(|all| all.total > 0 || all.main.is_some())
}

/// Growth of the schedticks, if this Go version prints them, a second.
fn ticks_per_second(case: &Case<'_>) -> Option<u64> {
    case.history.ticks.map(|(_, grown)| grown)
}

/// The thread that used the most CPU between the two looks, if it used much.
pub(super) fn busiest<'a>(case: &Case<'a>) -> Option<&'a Thread> {
    let sample_us = case.evidence.sample_ms.saturating_mul(1_000);
    let threads = case.evidence.threads.got()?;
    let most = threads.iter().max_by_key(|thread| thread.cpu_delta_us)?;
    let permille = most.cpu_delta_us.saturating_mul(1_000).checked_div(sample_us)?;
    (permille >= BUSY_PERMILLE).then_some(most)
}
