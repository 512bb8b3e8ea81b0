//! Goroutines and package init, read from the program's memory.

use super::proc::absent;
use crate::go::summary::{ChannelText, FrameText, Group, Summary};
use crate::host::files::Root;
use crate::host::goroutines::{Access, Denied, Early, summary};
use crate::policy::evidence::{
    Channel, Frame, Goroutine, GoroutineGroup, Goroutines, InitProgress, LockStep, Probe, Wakers,
    Why,
};
use crate::units::{Mono, Pid};

/// What the reader of goroutines is given.
#[derive(Debug)]
pub struct Look {
    /// The program.
    pub pid: Pid,
    /// What was opened right after its exec, if goinit started it.
    pub early: Early,
    /// When it has to be done.
    pub until: Mono,
}

/// All goroutines, or why they cannot be read.
#[must_use]
pub fn goroutines(look: Look) -> Probe<Goroutines> {
    let access = Access { early: look.early, running: true, ..Access::to(look.pid) };
    match summary(access, look.until) {
        Ok(summary) => Probe::Got(facts(&summary)),
        Err(Denied::Gone(pid)) => Probe::Missing(absent(&Root::live(), pid)),
        Err(Denied::Permission(rule)) => Probe::Missing(Why::Denied(rule)),
        Err(Denied::Refused(refused)) => Probe::Missing(Why::Unsupported(refused.to_string())),
        Err(error @ (Denied::Bare(_) | Denied::NoWay)) => {
            Probe::Missing(Why::Unsupported(error.to_string()))
        }
        Err(error @ Denied::File(..)) => Probe::Missing(Why::Failed(error.to_string())),
    }
}

/// Goroutine 1, whose group stands for it alone.
const MAIN: u64 = 1;

fn facts(summary: &Summary) -> Goroutines {
    let users = summary.groups.iter().filter(|group| !group.system);
    let main = summary.main.and_then(|number| summary.groups.get(number));
    let state_of = |state: &str| {
        let members = summary.groups.iter().filter(|group| !group.system && group.state == state);
        members.map(|group| wide(group.count)).sum::<u64>()
    };
    Goroutines {
        go_version: Some(summary.version.clone()).filter(|version| !version.is_empty()),
        total: wide(summary.users),
        groups: users.clone().map(group).collect(),
        groups_left_out: u64::from(summary.left_out > 0),
        main: main.map(main_goroutine),
        init: summary.init.as_ref().map(|init| InitProgress {
            done: wide(init.done),
            total: wide(init.total),
            running: init.running.clone(),
            function: summary.init_function.clone(),
            pending: init.pending.iter().take(32).cloned().collect(),
        }),
        wakers: Wakers {
            runnable: u64::from(summary.runnable) * state_of("runnable").max(1),
            running: u64::from(summary.running) * state_of("running").max(1),
            syscall: u64::from(summary.in_syscall),
            io_wait: u64::from(summary.io_wait) * state_of("IO wait").max(1),
            timers: u64::from(summary.timer) * state_of("sleep").max(1),
            cgo: summary.in_cgo,
            signals: summary.groups.iter().any(receives_signals),
        },
        moved: None,
        stopping_the_world: None,
        lock_cycle: summary
            .lock_cycles
            .first()
            .map(|ring| steps(ring, summary))
            .unwrap_or_default(),
    }
}

/// The goroutine that delivers signals to signal.Notify.
fn receives_signals(group: &Group) -> bool {
    group.frames.iter().any(|frame| frame.function == "os/signal.loop")
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn frame(text: &FrameText) -> Frame {
    Frame { function: text.function.clone(), file: text.file.clone(), line: text.line.into() }
}

fn main_goroutine(main: &Group) -> Goroutine {
    Goroutine {
        id: MAIN,
        state: main.state.clone(),
        frames: main.frames.iter().map(frame).collect(),
        waits_on: main.waits_for.first().cloned(),
        channels: main.channels.iter().map(channel).collect(),
        wait_ms: minutes(main),
        tid: None,
    }
}

fn group(group: &Group) -> GoroutineGroup {
    GoroutineGroup {
        state: group.state.clone(),
        count: wide(group.count),
        first_id: group.ids.first().copied().unwrap_or(0),
        frames: group.frames.iter().map(frame).collect(),
        created_by: group.created_by.as_ref().map(frame),
        waits_on: group.waits_for.first().cloned(),
        channels: group.channels.iter().map(channel).collect(),
        wait_ms: minutes(group),
        tids: Vec::new(),
    }
}

fn channel(text: &ChannelText) -> Channel {
    let state = text.state.unwrap_or_default();
    Channel {
        address: text.address,
        element: text.element.clone(),
        length: state.length,
        capacity: state.capacity,
        closed: state.closed,
    }
}

fn minutes(group: &Group) -> Option<u64> {
    (group.minutes > 0).then_some(group.minutes * 60_000)
}

fn steps(ring: &[u64], summary: &Summary) -> Vec<LockStep> {
    let next = ring.iter().skip(1).chain(ring.first());
    ring.iter()
        .zip(next)
        .map(|(waiter, holder)| {
            let of = summary.groups.iter().find(|group| group.ids.contains(waiter));
            let own = of.and_then(|group| {
                let standard = |name: &str| name.starts_with("sync.") || name.contains("/sync.");
                group.frames.iter().find(|frame| !standard(&frame.function))
            });
            LockStep {
                goroutine: *waiter,
                object: of.and_then(|group| group.waits_for.first().cloned()).unwrap_or_default(),
                holder: *holder,
                frame: own.map(frame),
            }
        })
        .collect()
}
