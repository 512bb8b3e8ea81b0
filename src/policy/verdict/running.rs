//! The verdict on a program that is not stalled: what it does, for whoever asks at its deadline.

use super::{Case, Class, Confidence, Finding, Verdict, goroutines, lockup, machine};
use crate::policy::evidence::{Evidence, Process};
use crate::policy::history::{History, Kind};
use std::time::Duration;

/// IO that is longer ago says nothing about what the program does now.
const RECENT: Duration = Duration::from_secs(3);

/// Judges a program that makes progress: slow, for a reason that can be seen, or well. What it
/// waits for at this moment is only what it waits for at this moment, so nothing of it is sure.
#[must_use]
pub fn of_running(history: &History, evidence: &Evidence) -> Verdict {
    let lasted = history.now.since(history.progress);
    let case = Case { kind: Kind::Spinning, lasted, history, evidence };
    let slow = [
        lockup::locked_up,
        machine::gc_thrash,
        machine::memory_pressure,
        machine::throttled,
        machine::starved,
    ];
    let found = slow.iter().find_map(|rule| rule(&case)).or_else(|| working(&case));
    if let Some(found) = found {
        return super::with(found, lasted);
    }
    let mut found = super::judge(&Case { kind: Kind::Idle, ..case });
    if found.class == Class::Stalled {
        found.confidence = Confidence::Unclear;
    }
    found
}

/// It computes, or reads and writes.
fn working(case: &Case<'_>) -> Option<Finding> {
    let history = case.history;
    if history.burning.is_some() {
        let place = machine::goroutines(case).and_then(goroutines::running);
        let sentence =
            format!("it computes{}, and says so", super::place::within(place.as_deref()));
        return Some(ok("cpu-bound", sentence).at(place));
    }
    // A goroutine that sleeps says so itself, whatever it has read before.
    let main = machine::goroutines(case).and_then(|all| all.main.as_ref());
    if main.is_some_and(|main| main.state == "sleep") {
        return None;
    }
    // What is inside a system call has read nothing since; at a short deadline the start is recent.
    let inside = main.is_some_and(|main| main.state == "syscall");
    let recently = !inside && history.io.is_some_and(|at| history.now.since(at) <= RECENT);
    let process = case.evidence.process.got();
    (recently || process.is_some_and(reads))
        .then(|| ok("io-progress", "it reads or writes, little by little".to_owned()))
}

fn ok(cause: &'static str, sentence: String) -> Finding {
    Finding::new(Class::Ok, cause, Confidence::Likely, sentence).next("nothing")
}

/// It read between the two looks, more than the runtime does to wake itself up.
pub(super) fn reads(process: &Process) -> bool {
    process.io_delta.as_ref().is_some_and(|io| io.rchar > 256.max(io.syscr.saturating_mul(8)))
}
