//! The verdict on a program that is not stalled: what it does, for whoever asks at its deadline.

use super::{Case, Class, Confidence, Finding, Verdict, goroutines, machine, threads, words};
use crate::policy::evidence::Evidence;
use crate::policy::history::{History, Kind};

/// Judges a program that makes progress: slow, for a reason that can be seen, or well.
#[must_use]
pub fn of_running(history: &History, evidence: &Evidence) -> Verdict {
    let lasted = history.now.since(history.progress);
    let case = Case { kind: Kind::Spinning, lasted, history, evidence };
    let slow = [machine::gc_thrash, machine::memory_pressure, machine::throttled, machine::starved];
    let found = slow.iter().find_map(|rule| rule(&case)).unwrap_or_else(|| well(&case));
    super::with(found, lasted)
}

fn well(case: &Case<'_>) -> Finding {
    let history = case.history;
    let sleeps = machine::goroutines(case)
        .and_then(|all| all.main.as_ref())
        .map_or_else(|| threads::timed(case), |main| main.state == "sleep");
    let busy = history.burning.is_some();
    let (cause, sentence) = if busy {
        ("cpu-bound", "it computes, and says so".to_owned())
    } else if history.io.is_some() || reads(case.evidence) {
        ("io-progress", "it reads or writes, little by little".to_owned())
    } else if sleeps {
        match history.rhythm() {
            Some(rhythm) => ("polling", format!("it polls, about every {}", words::span(rhythm))),
            None => ("timer-wait", "it sleeps on purpose: a timer will wake it".to_owned()),
        }
    } else {
        return goroutines::serving(None);
    };
    Finding::new(Class::Ok, cause, Confidence::Likely, sentence).next("nothing")
}

fn reads(evidence: &Evidence) -> bool {
    let delta = evidence.process.got().and_then(|process| process.io_delta.as_ref());
    delta.is_some_and(|io| io.rchar > 256)
}
