//! Rules about goroutines, for programs whose memory could be read.

use super::machine::goroutines;
use super::threads;
use super::{Case, Class, Confidence, Finding};
use crate::policy::evidence::{Frame, Goroutine, GoroutineGroup, Goroutines};
use crate::policy::history::Kind;

/// A ring of goroutines that wait for each other's locks.
pub(super) fn lock_cycle(case: &Case<'_>) -> Option<Finding> {
    let all = goroutines(case)?;
    if all.lock_cycle.len() < 2 {
        return None;
    }
    let steps: Vec<String> = all
        .lock_cycle
        .iter()
        .map(|step| match &step.frame {
            Some(frame) => format!("goroutine {} in {}", step.goroutine, place_of(frame)),
            None => format!("goroutine {}", step.goroutine),
        })
        .collect();
    let place = all.lock_cycle.first().and_then(|step| step.frame.as_ref()).map(place_of);
    let sentence = format!("locks are taken in opposite order: {}", steps.join(" waits for "));
    let finding = Finding::new(Class::Stalled, "lock-cycle", Confidence::Likely, sentence);
    Some(finding.at(place).next("take these locks in the same order everywhere"))
}

/// The main goroutine is inside C.
pub(super) fn cgo(case: &Case<'_>) -> Option<Finding> {
    let all = goroutines(case)?;
    let main = all.main.as_ref()?;
    let inside = main
        .frames
        .iter()
        .any(|frame| frame.function == "runtime.cgocall" || frame.function.contains("._Cfunc_"));
    if !inside {
        return None;
    }
    let place = place(&main.frames);
    let at = place.clone().map_or_else(String::new, |place| format!(", called from {place}"));
    let sentence = format!("the main goroutine is inside a C function{at}");
    let finding = Finding::new(Class::Stalled, "cgo", Confidence::Likely, sentence);
    Some(finding.at(place).next("look at that C function with gdb; Go cannot preempt it"))
}

/// What the main goroutine waits for: it stands for the program.
pub(super) fn main_goroutine(case: &Case<'_>) -> Option<Finding> {
    let all = goroutines(case)?;
    let main = all.main.as_ref()?;
    let place = place(&main.frames);
    let init = init_function(main, all);
    let lone = alone(case, all);
    let confidence = match init {
        _ if lone => Confidence::Certain,
        // Package init has no business waiting for anything for so long.
        Some(_) => Confidence::Likely,
        None if may_be_woken(case, all) => Confidence::Unclear,
        None => Confidence::Likely,
    };
    let (cause, what) = match main.state.as_str() {
        "sleep" if init.is_none() => return Some(sleeping(case, place)),
        "sleep" => ("init", "sleeps".to_owned()),
        "IO wait" => return io_wait(case, main, init.as_deref(), place),
        "runnable" | "running" | "syscall" => return None,
        // The usual server: its main goroutine only waits while others serve.
        _ if init.is_none() && has_server(all) => return Some(serving(place)),
        state if state.starts_with("chan ") && state.contains("nil chan") => {
            ("sync", "waits on a nil channel".to_owned())
        }
        state if state.starts_with("select (no cases)") => {
            ("sync", "waits in an empty select".to_owned())
        }
        state if state.starts_with("chan ") || state.starts_with("select") => {
            if let Some(finding) = http_reply(all, main, init.is_some(), place.clone()) {
                return Some(finding);
            }
            if init.is_none() && waits_for_signal(main, all) && serves(all) {
                return Some(serving(place));
            }
            ("channel", format!("waits in a {}", operation(state)))
        }
        state if state.contains("WaitGroup") => ("sync", "waits for a WaitGroup".to_owned()),
        state if state.contains("Cond") => ("sync", "waits for a condition variable".to_owned()),
        state if state.contains("RWMutex") => ("sync", "waits for a RWMutex".to_owned()),
        state if state.contains("Mutex") => ("sync", "waits for a Mutex".to_owned()),
        "semacquire" => ("sync", "waits for a lock or WaitGroup".to_owned()),
        state => ("sync", format!("waits ({state})")),
    };
    // Most of them: a lock that some wait for is not what holds up thousands.
    let locks = lockers(all);
    if init.is_none() && cause != "channel" && locks >= 2 && locks * 2 + 1 >= all.total {
        return Some(locked(all, place, confidence));
    }
    Some(stuck(all, main, init, place, cause, &what, confidence))
}

/// Goroutines that wait for a Mutex; up to Go 1.20 their state only says `semacquire`.
fn lockers(all: &Goroutines) -> u64 {
    all.groups.iter().filter(|group| waits_for_mutex(group)).map(|group| group.count).sum()
}

fn waits_for_mutex(group: &GoroutineGroup) -> bool {
    let locks = |frame: &Frame| frame.function.starts_with("sync.(*Mutex).");
    let through = |frame: &Frame| frame.function.starts_with("sync.(*Once).");
    let waits = group.state == "sync.Mutex.Lock" || group.state == "semacquire";
    waits && group.frames.iter().any(locks) && !group.frames.iter().any(through)
}

/// Several goroutines wait for Mutexes, the main one for them.
fn locked(all: &Goroutines, place: Option<String>, confidence: Confidence) -> Finding {
    let mut places: Vec<String> = all
        .groups
        .iter()
        .filter(|g| waits_for_mutex(g))
        .filter_map(|g| self::place(&g.frames))
        .collect();
    places.dedup();
    places.truncate(2);
    let count = lockers(all);
    let sentence = format!("{count} goroutines wait for a Mutex, at {}", places.join(" and at "));
    let place = places.into_iter().next().or(place);
    let finding = Finding::new(Class::Stalled, "mutex", confidence, sentence);
    finding
        .at(place)
        .next("who holds it? Look for a second lock taken meanwhile, or a return without Unlock")
}

/// net/http waits in a select for its connection's own goroutine, which waits for the peer.
fn http_reply(
    all: &Goroutines,
    main: &Goroutine,
    in_init: bool,
    place: Option<String>,
) -> Option<Finding> {
    let asks = |frame: &Frame| frame.function == "net/http.(*persistConn).roundTrip";
    if !main.frames.iter().any(asks) {
        return None;
    }
    let reads = |frame: &Frame| frame.function == "net/http.(*persistConn).readLoop";
    let reader = all.groups.iter().find(|group| group.frames.iter().any(reads));
    let on = reader.and_then(|group| group.waits_on.clone());
    let at = place.clone().map_or_else(String::new, |place| format!(" at {place}"));
    let peer = on.clone().map_or_else(String::new, |on| format!(": {on}"));
    let cause = if in_init { "init" } else { "io-read" };
    let sentence = format!("an HTTP request has no reply{at}{peer}");
    let finding = Finding::new(Class::Stalled, cause, Confidence::Likely, sentence);
    Some(finding.at(place).on(on).next("why is the server silent? Set http.Client.Timeout"))
}

/// The sentence about a main goroutine that waits for another goroutine.
fn stuck(
    all: &Goroutines,
    main: &Goroutine,
    init: Option<String>,
    place: Option<String>,
    cause: &'static str,
    what: &str,
    confidence: Confidence,
) -> Finding {
    let on = main.waits_on.clone();
    let at = place.clone().map_or_else(String::new, |place| format!(" at {place}"));
    let lone = match confidence {
        Confidence::Certain => "; nobody is left who could wake it",
        Confidence::Likely => "",
        Confidence::Unclear => "; others wait for IO or time and may wake it",
    };
    let (cause, sentence) = match init {
        Some(function) => {
            let progress =
                all.init.as_ref().filter(|init| init.total > 0).map_or_else(String::new, |init| {
                    format!("; {} of {} packages done", init.done, init.total)
                });
            ("init", format!("package init is stuck: {function} {what}{at}{progress}{lone}"))
        }
        None => (cause, format!("the main goroutine {what}{at}{lone}")),
    };
    let next = match cause {
        "init" => "move this work out of init, or give it a deadline",
        "channel" => "find the goroutine that should have sent or closed; did it end early?",
        _ => "find who should release or finish it; `goinit dump` shows all goroutines",
    };
    Finding::new(Class::Stalled, cause, confidence, sentence).at(place).on(on).next(next)
}

/// A program that sleeps on purpose.
fn sleeping(case: &Case<'_>, place: Option<String>) -> Finding {
    let at = place.clone().map_or_else(String::new, |place| format!(" in {place}"));
    let (cause, sentence) = match case.history.rhythm() {
        Some(rhythm) => {
            ("polling", format!("it polls{at}, about every {}", super::words::span(rhythm)))
        }
        None => ("timer-wait", format!("it sleeps on purpose{at}: a timer will wake it")),
    };
    let finding = Finding::new(Class::Ok, cause, Confidence::Likely, sentence);
    finding.at(place).next("nothing, unless it should not be sleeping")
}

/// The main goroutine waits for a descriptor.
fn io_wait(
    case: &Case<'_>,
    main: &Goroutine,
    init: Option<&str>,
    place: Option<String>,
) -> Option<Finding> {
    let accepts = main.frames.iter().any(|frame| is_accept(&frame.function));
    if accepts {
        return Some(serving(place));
    }
    let on = main.waits_on.clone();
    let text = on.as_deref().unwrap_or_default();
    let at = place.clone().map_or_else(String::new, |place| format!(" at {place}"));
    let target = on.clone().unwrap_or_else(|| "a descriptor".to_owned());
    let who = init.map_or("the main goroutine".to_owned(), |name| format!("package init: {name}"));
    let connecting = text.contains("SYN_SENT")
        || main.frames.iter().any(|frame| frame.function.ends_with("(*netFD).connect"));
    if connecting {
        let cause = if init.is_some() { "init-connect" } else { "network-connect" };
        let sentence = format!("{who} waits for a connection{at}: {target}");
        let finding = Finding::new(Class::Stalled, cause, Confidence::Likely, sentence);
        let next = "is the peer up, and is it allowed through (service, NetworkPolicy, firewall)?";
        return Some(finding.at(place).on(on).next(next));
    }
    if case
        .evidence
        .process
        .got()
        .is_some_and(|p| p.io_delta.as_ref().is_some_and(|io| io.rchar > 256))
    {
        let sentence = format!("data comes in slowly{at}: {target}");
        let finding = Finding::new(Class::Ok, "io-progress", Confidence::Likely, sentence);
        return Some(finding.at(place).on(on).next("nothing, unless it should be faster"));
    }
    // Of files only FIFOs, pipes and terminals go through the poller.
    let file = main.frames.iter().any(|frame| frame.function == "os.(*File).Read");
    let fifo = threads::fifo_of(case, text) || (on.is_none() && file);
    let cause = match (init, fifo) {
        (Some(_), _) => "init",
        (None, true) => "fifo",
        (None, false) => "io-read",
    };
    // A peer may be silent for good reason: nothing is ended for that, but for a FIFO without a
    // writer, or inside package init.
    let sure = if cause == "io-read" { Confidence::Unclear } else { Confidence::Likely };
    let sentence = format!("{who} waits for data{at}: {target}");
    let finding = Finding::new(Class::Stalled, cause, sure, sentence);
    Some(finding.at(place).on(on).next("why does the other end send nothing? Set a read deadline"))
}

/// An idle server.
pub(super) fn serving(place: Option<String>) -> Finding {
    let sentence = "it serves: it waits for requests, and none come".to_owned();
    let finding = Finding::new(Class::Ok, "serving", Confidence::Likely, sentence);
    finding.at(place).next("nothing, unless there should be requests")
}

/// Where a goroutine runs that is on a CPU or wants one: the largest such group.
pub(super) fn running(all: &Goroutines) -> Option<String> {
    let on_cpu = |state: &str| matches!(state, "running" | "runnable");
    let group = all.groups.iter().filter(|group| on_cpu(&group.state));
    group.max_by_key(|group| (group.state == "running", group.count)).and_then(|g| place(&g.frames))
}

/// Whether somebody may yet wake the main goroutine on purpose: a goroutine that works, sleeps,
/// or waits for IO or a signal, or a timer that has not fired all this time. An idle consumer of
/// a queue looks just like that, so nothing is ended for it.
fn may_be_woken(case: &Case<'_>, all: &Goroutines) -> bool {
    let wakers = &all.wakers;
    let work = wakers.runnable + wakers.running + wakers.syscall;
    work + wakers.io_wait + wakers.timers > 0 || wakers.signals || threads::slow_timer(case)
}

/// A goroutine runs the accept loop of a server that is meant to serve for ever.
fn has_server(all: &Goroutines) -> bool {
    let loops = |frame: &Frame| {
        frame.function.ends_with(").Serve") || frame.function.ends_with(").ListenAndServe")
    };
    all.groups.iter().any(|group| group.state == "IO wait" && group.frames.iter().any(loops))
}

/// Nobody is left who could wake anybody: no runnable or running goroutine, timer, IO wait,
/// system call, signal or C.
/// A ticker is a timer without a sleeping goroutine: the poller's time limit shows it.
fn alone(case: &Case<'_>, all: &Goroutines) -> bool {
    let wakers = &all.wakers;
    if case.evidence.threads.got().is_none() || threads::timed(case) {
        return false;
    }
    wakers.runnable + wakers.running + wakers.syscall + wakers.io_wait + wakers.timers == 0
        && !wakers.cgo
        && !wakers.signals
}

/// The init function that goroutine 1 is in, if it is in one.
pub(super) fn init_function(main: &Goroutine, all: &Goroutines) -> Option<String> {
    let begun = |frame: &Frame| frame.function == "main.main";
    if main.frames.iter().any(begun) {
        return None;
    }
    let named = all.init.as_ref().and_then(|init| init.function.clone());
    let by_stack = || {
        let is_init = |name: &str| {
            let short = name.rsplit('/').next().unwrap_or(name);
            let behind = short.split_once('.').map(|(_, behind)| behind).unwrap_or_default();
            behind == "init" || behind.starts_with("init.")
        };
        let frame = main.frames.iter().rev().find(|frame| is_init(&frame.function))?;
        Some(frame.function.clone())
    };
    let running = || {
        let init = all.init.as_ref().filter(|init| init.done < init.total)?;
        init.running.clone()
    };
    by_stack().or(named).or_else(running)
}

/// A main goroutine that waits for SIGTERM while others serve.
fn waits_for_signal(main: &Goroutine, all: &Goroutines) -> bool {
    all.wakers.signals
        || all.groups.iter().any(|group| group.frames.iter().any(is_signal_loop))
        || main.frames.iter().any(|frame| frame.function.starts_with("net/http.(*Server)"))
}

fn is_signal_loop(frame: &Frame) -> bool {
    frame.function == "os/signal.loop" || frame.function == "os/signal.signal_recv"
}

/// Somebody waits for requests.
fn serves(all: &Goroutines) -> bool {
    all.groups.iter().any(|group: &GoroutineGroup| {
        group.state == "IO wait" && group.frames.iter().any(|frame| is_accept(&frame.function))
    })
}

fn is_accept(function: &str) -> bool {
    function.ends_with(").Accept") || function.ends_with(").accept") || function.ends_with("Serve")
}

/// `chan receive` and the like as a noun phrase.
fn operation(state: &str) -> String {
    let plain = state.split(" (").next().unwrap_or(state);
    plain.replacen("chan ", "channel ", 1)
}

/// Directories of the standard library: frames in them say how, not where.
const STANDARD: [&str; 40] = [
    "archive",
    "bufio",
    "bytes",
    "cmp",
    "compress",
    "container",
    "context",
    "crypto",
    "database",
    "embed",
    "encoding",
    "errors",
    "expvar",
    "flag",
    "fmt",
    "hash",
    "html",
    "image",
    "index",
    "internal",
    "io",
    "iter",
    "log",
    "maps",
    "math",
    "mime",
    "net",
    "os",
    "path",
    "plugin",
    "reflect",
    "regexp",
    "runtime",
    "slices",
    "sort",
    "strconv",
    "sync",
    "syscall",
    "time",
    "vendor",
];

/// The first frame of the program's own: `main.fetch (/src/fetch.go:12)`.
pub(super) fn place(frames: &[Frame]) -> Option<String> {
    let own = frames.iter().find(|frame| {
        let root = frame.function.split(['/', '.']).next().unwrap_or_default();
        !STANDARD.contains(&root)
    });
    own.or(frames.first()).map(place_of)
}

/// One frame as a place.
pub(super) fn place_of(frame: &Frame) -> String {
    if frame.file.is_empty() {
        return frame.function.clone();
    }
    format!("{} ({}:{})", frame.function, frame.file, frame.line)
}

/// Whether the stall is one in which goroutines wait.
pub(super) fn waits(case: &Case<'_>) -> bool {
    matches!(case.kind, Kind::Idle | Kind::Threads | Kind::Silent)
}
