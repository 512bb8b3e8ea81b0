//! Waiting on purpose: for time, for a signal, for requests. It is described and never accused.

use super::place;
use super::threads;
use super::{Case, Class, Confidence, Finding};
use crate::policy::evidence::{Channel, Frame, Goroutine, GoroutineGroup, Goroutines};

/// What the main goroutine waits for on purpose, if it does; it is not in package init.
pub(super) fn of(
    case: &Case<'_>,
    all: &Goroutines,
    main: &Goroutine,
    place: Option<String>,
) -> Option<Finding> {
    let waits_for = |name: &str| {
        let is = |channel: &Channel| channel.element.as_deref() == Some(name);
        main.channels.iter().any(is)
    };
    if main.state == "sleep" {
        return Some(sleeping(case, place));
    }
    if waits_for("os.Signal") {
        let at = place::at(place.as_deref());
        let sentence =
            format!("it runs until a signal ends it: the main goroutine waits for one{at}");
        let finding = Finding::new(Class::Ok, "serving", Confidence::Likely, sentence);
        let on = super::goroutines::waits_on(main);
        return Some(finding.at(place).on(on).next("nothing, unless it should be working"));
    }
    // A timer that was stopped never sends: something must be armed.
    if waits_for("time.Time") && (all.wakers.timers > 0 || threads::may_be_timed(case)) {
        return Some(sleeping(case, place));
    }
    parked(all, main, place)
}

/// A program that sleeps.
fn sleeping(case: &Case<'_>, place: Option<String>) -> Finding {
    let within = place::within(place.as_deref());
    let (cause, sentence) = match case.history.rhythm() {
        Some(rhythm) => {
            ("polling", format!("it polls{within}, about every {}", super::words::span(rhythm)))
        }
        None => ("timer-wait", format!("it sleeps on purpose{within}: a timer will wake it")),
    };
    let finding = Finding::new(Class::Ok, cause, Confidence::Likely, sentence);
    finding.at(place).next("nothing, unless it should not be sleeping")
}

/// The usual server: its main goroutine only waits while others accept connections. Nobody parks
/// in a Mutex on purpose.
fn parked(all: &Goroutines, main: &Goroutine, place: Option<String>) -> Option<Finding> {
    let group = |frame: &Frame| frame.function == "sync.(*WaitGroup).Wait";
    let state = main.state.as_str();
    let parks = state.starts_with("chan ")
        || state.starts_with("select")
        || state.contains("WaitGroup")
        || state.contains("Cond")
        || (state == "semacquire" && main.frames.iter().any(group));
    if !parks || !accepts(all, is_accept) {
        return None;
    }
    if all.wakers.signals || receives_signals(all) || accepts(all, is_server) {
        return Some(serving(place));
    }
    let at = place::at(place.as_deref());
    let sentence = format!(
        "it seems to serve: a goroutine waits for connections, the main one waits for that{at}"
    );
    let finding = Finding::new(Class::Ok, "serving", Confidence::Unclear, sentence);
    Some(finding.at(place).next("nothing, unless it should not wait there"))
}

/// An idle server.
pub(super) fn serving(place: Option<String>) -> Finding {
    let sentence = "it serves: it waits for requests, and none come".to_owned();
    let finding = Finding::new(Class::Ok, "serving", Confidence::Likely, sentence);
    finding.at(place).next("nothing, unless there should be requests")
}

/// A goroutine waits for connections in a function like that.
fn accepts(all: &Goroutines, function: fn(&str) -> bool) -> bool {
    all.groups.iter().any(|group: &GoroutineGroup| {
        group.state == "IO wait" && group.frames.iter().any(|frame| function(&frame.function))
    })
}

/// A goroutine delivers signals to the program, so it asked for some.
fn receives_signals(all: &Goroutines) -> bool {
    let delivers = |frame: &Frame| {
        frame.function == "os/signal.loop" || frame.function == "os/signal.signal_recv"
    };
    all.groups.iter().any(|group| group.frames.iter().any(delivers))
}

/// Waits for the next connection.
pub(super) fn is_accept(function: &str) -> bool {
    function.ends_with(").Accept") || function.ends_with(").accept") || is_server(function)
}

/// The accept loop of a server that is meant to serve for ever.
fn is_server(function: &str) -> bool {
    function.ends_with(").Serve") || function.ends_with(").ListenAndServe")
}
