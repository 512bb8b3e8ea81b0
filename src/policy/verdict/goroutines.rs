//! Rules about goroutines, for programs whose memory could be read.

use super::machine::goroutines;
use super::place::{self, place, place_of};
use super::{Case, Class, Confidence, Finding, children, purpose, threads};
use crate::policy::evidence::{Channel, Frame, Goroutine, GoroutineGroup, Goroutines};
use crate::policy::history::Kind;

/// Wake-ups among the last heartbeats at rest from which data comes in little by little.
const DRIPS: u32 = 3;

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
            Some(frame) => {
                format!("goroutine {} in {}", step.goroutine, place::short(&place_of(frame)))
            }
            None => format!("goroutine {}", step.goroutine),
        })
        .collect();
    let place = all.lock_cycle.first().and_then(|step| step.frame.as_ref()).map(place_of);
    let sentence = format!("locks are taken in opposite order: {}", steps.join(" waits for "));
    let objects: Vec<&str> = all.lock_cycle.iter().map(|step| step.object.as_str()).collect();
    let on = Some(objects.join("; ")).filter(|text| text.len() > 2);
    let finding = Finding::new(Class::Stalled, "lock-cycle", Confidence::Likely, sentence);
    Some(finding.at(place).on(on).next("take these locks in the same order everywhere"))
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
    // cgo's own wrapper of a C function has its name and a place in a file that nobody wrote.
    let wrapper = |frame: &Frame| Some(frame.function.split_once("._Cfunc_")?.1.to_owned());
    let function = main.frames.iter().find_map(wrapper);
    let own: Vec<Frame> =
        main.frames.iter().filter(|frame| wrapper(frame).is_none()).cloned().collect();
    let place = place(&own);
    let at = place
        .as_deref()
        .map_or_else(String::new, |place| format!(", called from {}", place::short(place)));
    let name = function.as_ref().map_or("a C function".to_owned(), |name| format!("C's {name}()"));
    let sentence = format!("the main goroutine is inside {name}{at}");
    let on = function.map(|name| format!("C function {name}"));
    let finding = Finding::new(Class::Stalled, "cgo", Confidence::Likely, sentence);
    Some(finding.at(place).on(on).next("look at that C function with gdb; Go cannot preempt it"))
}

/// What the main goroutine waits for: it stands for the program.
pub(super) fn main_goroutine(case: &Case<'_>) -> Option<Finding> {
    let all = goroutines(case)?;
    let main = all.main.as_ref()?;
    let place = place(&main.frames);
    let init = init_function(main, all);
    match main.state.as_str() {
        "runnable" | "running" | "syscall" => return None,
        "IO wait" => return io_wait(case, main, init.as_deref(), place),
        _ => {}
    }
    if let Some(finding) = http_reply(all, main, init.is_some(), place.clone()) {
        return Some(finding);
    }
    let confidence = match &init {
        _ if alone(case, all) => Confidence::Certain,
        // Package init has no business waiting for anything for so long.
        Some(_) => Confidence::Likely,
        None if may_be_woken(case, all) => Confidence::Unclear,
        None => Confidence::Likely,
    };
    let (cause, what) = operation(&main.state);
    if init.is_none() {
        // Most of them: a lock that some wait for is not what holds up thousands.
        let locks = lockers(all);
        if cause != "channel" && locks >= 2 && locks * 2 + 1 >= all.total {
            return Some(locked(all, place, confidence));
        }
        if let Some(finding) = purpose::of(case, all, main, place.clone()) {
            return Some(finding);
        }
        if let Some(finding) = behind(all, main, confidence) {
            return Some(finding);
        }
    }
    Some(stuck(all, main, init, place, cause, &what, confidence))
}

/// A main goroutine in `select {}` has parked itself and the program lives in others: of these, one
/// that waits on a channel which neither a timer nor a signal feeds is the one that is stuck.
fn behind(all: &Goroutines, main: &Goroutine, confidence: Confidence) -> Option<Finding> {
    if !main.state.starts_with("select (no cases)") {
        return None;
    }
    let fed = |channel: &Channel| {
        matches!(channel.element.as_deref(), Some("time.Time" | "os.Signal") | None)
    };
    let group = all.groups.iter().find(|group| {
        let waits = operation(&group.state).0 == "channel" && group.first_id != main.id;
        waits && !group.channels.is_empty() && !group.channels.iter().any(fed)
    })?;
    let place = place(&group.frames);
    let (cause, what) = operation(&group.state);
    let who = match group.count {
        1 => format!("goroutine {}", group.first_id),
        count => format!("goroutine {} and {} more", group.first_id, count - 1),
    };
    let sentence = format!(
        "{who} {what}{}; the main goroutine has parked itself in an empty select",
        place::at(place.as_deref())
    );
    let on = named(&group.state, &group.channels);
    let finding = Finding::new(Class::Stalled, cause, confidence, sentence);
    Some(finding.at(place).on(on).next("find the goroutine that should have sent or closed"))
}

/// The cause for a state, and what the goroutine does in words.
fn operation(state: &str) -> (&'static str, String) {
    let plain = state.split(" (").next().unwrap_or(state).replacen("chan ", "channel ", 1);
    match state {
        "sleep" => ("sync", "sleeps".to_owned()),
        "semacquire" => ("sync", "waits for a lock or WaitGroup".to_owned()),
        _ if state.contains("nil chan") => ("sync", "waits on a nil channel".to_owned()),
        _ if state.starts_with("select (no cases)") => {
            ("sync", "waits in an empty select".to_owned())
        }
        _ if state.starts_with("chan ") || state.starts_with("select") => {
            ("channel", format!("waits in a {plain}"))
        }
        _ if state.contains("WaitGroup") => ("sync", "waits for a WaitGroup".to_owned()),
        _ if state.contains("Cond") => ("sync", "waits for a condition variable".to_owned()),
        _ if state.contains("RWMutex") => ("sync", "waits for a RWMutex".to_owned()),
        _ if state.contains("Mutex") => ("sync", "waits for a Mutex".to_owned()),
        _ => ("sync", format!("waits ({state})")),
    }
}

/// What a waiting goroutine waits on: `channel 0xc000010000 (chan int) len 0 cap 0, no sender`.
pub(super) fn waits_on(main: &Goroutine) -> Option<String> {
    if main.state.contains("nil chan") {
        return Some("nil channel".to_owned());
    }
    if main.state.starts_with("select (no cases)") {
        return Some("select without cases".to_owned());
    }
    named(&main.state, &main.channels).or_else(|| main.waits_on.clone())
}

fn named(state: &str, channels: &[Channel]) -> Option<String> {
    /// Channels named of one select.
    const NAMED: usize = 4;
    let missing = match state {
        state if state.starts_with("chan receive") => ", no sender",
        state if state.starts_with("chan send") => ", no receiver",
        _ => "",
    };
    let named: Vec<String> = channels.iter().take(NAMED).map(channel).collect();
    (!named.is_empty()).then(|| format!("{}{missing}", named.join("; ")))
}

fn channel(channel: &Channel) -> String {
    let kind = channel.element.as_ref();
    let kind = kind.map_or_else(String::new, |element| format!(" (chan {element})"));
    let closed = if channel.closed { " closed" } else { "" };
    let (length, capacity) = (channel.length, channel.capacity);
    format!("channel {:#x}{kind} len {length} cap {capacity}{closed}", channel.address)
}

/// What a goroutine waits for in the poller, without the reader's own words: `tcp 10.0.3.7:5432
/// ESTABLISHED`, `/run/go.fifo (descriptor 3)`.
fn descriptor(text: &str) -> String {
    let text = text.split(" to become ").next().unwrap_or(text);
    let (number, what) = match text.strip_prefix("descriptor ").or(text.strip_prefix("fd ")) {
        Some(rest) => rest.split_once(' ').unwrap_or((rest, "")),
        None => ("", text),
    };
    if let Some((local, remote)) = what.split_once(" -> ") {
        let proto = local.split(' ').next().unwrap_or_default();
        return format!("{proto} {remote}");
    }
    match (what, number) {
        ("", number) => format!("descriptor {number}"),
        (what, "") => what.to_owned(),
        (what, number) => format!("{what} (descriptor {number})"),
    }
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
    let named: Vec<String> = places.iter().map(|place| place::short(place)).collect();
    let sentence = format!("{count} goroutines wait for a Mutex, at {}", named.join(" and at "));
    let on = all.groups.iter().find(|g| waits_for_mutex(g)).and_then(|g| g.waits_on.clone());
    let place = places.into_iter().next().or(place);
    let finding = Finding::new(Class::Stalled, "mutex", confidence, sentence);
    finding
        .at(place)
        .on(on)
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
    let on = reader.and_then(|group| group.waits_on.as_deref()).map(descriptor);
    let at = place::at(place.as_deref());
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
    let at = place::at(place.as_deref());
    let endless = main.state.contains("nil chan") || main.state.contains("no cases");
    let lone = match confidence {
        Confidence::Certain => "; nobody is left who could wake it",
        Confidence::Unclear if endless => "; nothing can wake it, but others still wait for more",
        Confidence::Unclear => "; others wait for IO, time or a signal and may wake it",
        Confidence::Likely => "",
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
    Finding::new(Class::Stalled, cause, confidence, sentence)
        .at(place)
        .on(waits_on(main))
        .next(next)
}

/// The main goroutine waits for a descriptor.
fn io_wait(
    case: &Case<'_>,
    main: &Goroutine,
    init: Option<&str>,
    place: Option<String>,
) -> Option<Finding> {
    if main.frames.iter().any(|frame| purpose::is_accept(&frame.function)) {
        return Some(purpose::serving(place));
    }
    let text = main.waits_on.as_deref().unwrap_or_default();
    if init.is_none()
        && let Some(finding) = children::output(case, main, place.clone())
    {
        return Some(finding);
    }
    let on = main.waits_on.as_deref().map(descriptor);
    let at = place::at(place.as_deref());
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
    // Where IO counters cannot be read, the scheduler tells that descriptors became ready.
    let reads = case.evidence.process.got().map(super::running::reads);
    if reads.unwrap_or_else(|| case.history.woken() >= DRIPS) {
        let sentence = format!("data comes in slowly{at}: {target}");
        let finding = Finding::new(Class::Ok, "io-progress", Confidence::Likely, sentence);
        return Some(finding.at(place).on(on).next("nothing, unless it should be faster"));
    }
    // Of files only FIFOs, pipes and terminals go through the poller.
    let file = main.frames.iter().any(|frame| frame.function == "os.(*File).Read");
    let cause = match init {
        Some(_) => "init",
        None if threads::is_fifo(text) || (on.is_none() && file) => "fifo",
        None if threads::is_socket(text) => "network-read",
        None => "io-read",
    };
    // A peer may be silent for good reason: nothing is ended for that, but for a FIFO without a
    // writer, or inside package init.
    let sure = matches!(cause, "init" | "fifo");
    let sure = if sure { Confidence::Likely } else { Confidence::Unclear };
    let sentence = format!("{who} waits for data{at}: {target}");
    let finding = Finding::new(Class::Stalled, cause, sure, sentence);
    Some(finding.at(place).on(on).next("why does the other end send nothing? Set a read deadline"))
}

/// Where a goroutine runs that is on a CPU or wants one: the largest such group.
pub(super) fn running(all: &Goroutines) -> Option<String> {
    let on_cpu = |state: &str| matches!(state, "running" | "runnable");
    let shown = |group: &&GoroutineGroup| on_cpu(&group.state) && !group.frames.is_empty();
    let group = all.groups.iter().filter(shown);
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

/// Whether the stall is one in which goroutines wait.
pub(super) fn waits(case: &Case<'_>) -> bool {
    matches!(case.kind, Kind::Idle | Kind::Threads | Kind::Silent)
}
