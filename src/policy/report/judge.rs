//! The verdict on a captured run, by the rules of the live one: what goinit said stands; else the
//! dump, the snapshots and the words of the crash are put before the same judge.

use super::story::Story;
use crate::exit::Ending;
use crate::go::snapshot::Detail;
use crate::policy::dumped::Seen;
use crate::policy::evidence::{
    Evidence, Frame, Goroutine, GoroutineGroup, Goroutines, Probe, Wakers, Why,
};
use crate::policy::history::Kind;
use crate::policy::verdict::span;
use crate::policy::verdict::{
    Case, Class, Confidence, Crash, End, Sent, Verdict, judge, of_end, of_running, of_stop,
};
use crate::units::{Pid, Signal};
use std::time::Duration;

/// A verdict as a log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// `ok`, `slow`, `stalled`, `crashed`, `killed`, `stopped`.
    pub class: String,
    /// From the closed list of docs/verdicts.md.
    pub cause: String,
    /// `certain`, `likely`, `unclear`.
    pub confidence: String,
    /// Where in the program.
    pub place: Option<String>,
    /// What it waits for.
    pub on: Option<String>,
    /// For how long, ms.
    pub since_ms: Option<u64>,
    /// One sentence for a person.
    pub sentence: String,
    /// One next step.
    pub next: Option<String>,
    /// What it rests on: `record` (goinit's own verdict), `replay` (goinit's evidence, judged
    /// anew), `exit` (how the run ended), `dump`, `snapshots`, `text`.
    pub basis: &'static str,
}

/// How a run ended, told by somebody who knows (`--exit`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// How the program ended.
    pub ending: Ending,
    /// Kubernetes said OOMKilled.
    pub oom: bool,
}

impl Told {
    fn of(verdict: Verdict, basis: &'static str) -> Self {
        let since = u64::try_from(verdict.since.as_millis()).unwrap_or(u64::MAX);
        Self {
            class: verdict.class.word().to_owned(),
            cause: verdict.cause.to_owned(),
            confidence: verdict.confidence.word().to_owned(),
            place: verdict.place,
            on: verdict.on,
            since_ms: Some(since).filter(|ms| *ms > 0),
            sentence: verdict.sentence,
            next: Some(verdict.next.to_owned()).filter(|next| !next.is_empty()),
            basis,
        }
    }

    fn unclear(class: Class, cause: &str, sentence: String, next: &str) -> Self {
        Self {
            class: class.word().to_owned(),
            cause: cause.to_owned(),
            confidence: Confidence::Unclear.word().to_owned(),
            sentence,
            next: Some(next.to_owned()),
            basis: "text",
            ..Self::default()
        }
    }
}

/// Judges a story; `None` = there is nothing of a Go program in it.
#[must_use]
pub fn verdict(story: &Story, given: Option<Given>) -> Option<Told> {
    if story.own.is_some() {
        return Some(own(story, given));
    }
    if story.is_empty() && story.lines == 0 && given.is_none() {
        return None;
    }
    Some(raw(story, given))
}

// ---- goinit's own log ----

fn own(story: &Story, given: Option<Given>) -> Told {
    let ended_by_goinit = story.exit.by.as_deref() == Some("goinit");
    // What was said of the end itself, and a stall that the end did not change.
    let concluded = |told: &&Told| {
        let words = (told.class.clone(), told.cause.clone());
        matches!(told.class.as_str(), "crashed" | "killed") || story.exit.verdict == Some(words)
    };
    if let Some(told) = story.told.as_ref().filter(concluded) {
        return told.clone();
    }
    let crashed = story.exit.cause.as_deref() == Some("crash");
    let ending = if ended_by_goinit { None } else { ending(story).or(given.map(|g| g.ending)) };
    let signalled = matches!(ending, Some(Ending::Signalled { .. }));
    // Who ends a program that hangs does not make it anything else.
    let held_up = story.stall.is_some() && (ending.is_none() || signalled) && !oom(story, given);
    if (ended_by_goinit && !crashed) || ending.is_none() || held_up {
        if let Some(told) = &story.told {
            return told.clone();
        }
        if let Some((kind, lasted)) = &story.stall {
            return replay(story, kind, *lasted);
        }
    }
    let crash = crash_of(story);
    if ending.is_some() || crash.is_some() {
        let oom = oom(story, given);
        let ran = story.now().since(crate::units::Mono(0));
        let dump = story.goroutines();
        let asked = story.exit.verdict.as_ref().is_some_and(|(class, _)| class == "stopped");
        let end = End { ending, crash: crash.as_ref(), dump: dump.as_ref(), oom, ran };
        let sent = Sent { asked, passed: &[] };
        let mut told = at_crash(story, Told::of(of_stop(&end, sent), "exit"));
        // The end itself was not judged, because somebody had asked goinit for it.
        if let Some(sentence) = story.exit.sentence.as_ref().filter(|_| asked) {
            told.sentence = sentence.split("; exit code").next().unwrap_or(sentence).to_owned();
        }
        // What the run itself concluded stands, also where less is left of what it saw.
        if let Some((class, cause)) = &story.exit.verdict {
            (told.class, told.cause) = (class.clone(), cause.clone());
        }
        return told;
    }
    if let Some(sentence) = &story.exit.sentence {
        return unjudged(story, sentence);
    }
    let evidence = story.testimony.evidence(Pid(0));
    let mut told = Told::of(of_running(&story.history, &evidence), "replay");
    told.confidence = Confidence::Unclear.word().to_owned();
    told.sentence = format!("the log ends while the program runs: {}", told.sentence);
    told
}

/// goinit ended the run, or could not begin it, and no verdict is in the log.
fn unjudged(story: &Story, sentence: &str) -> Told {
    let (class, cause, sure, next) = match story.exit.cause.as_deref() {
        Some("not_found" | "not_executable" | "goinit_failed") => (
            Class::Crashed,
            "not-started",
            Confidence::Certain,
            "correct the command or the image; `goinit inspect PROGRAM` says what it needs",
        ),
        _ => (Class::Stalled, "unknown", Confidence::Unclear, "the log around it says more"),
    };
    let mut told = Told::unclear(class, cause, sentence.to_owned(), next);
    (told.confidence, told.basis) = (sure.word().to_owned(), "exit");
    told
}

/// The verdict is not in the log, but what it was made from is.
fn replay(story: &Story, kind: &str, lasted: u64) -> Told {
    let kinds = [Kind::Silent, Kind::Idle, Kind::Spinning, Kind::Starved, Kind::Stw, Kind::Threads];
    let kind = kinds.into_iter().find(|one| one.word() == kind).unwrap_or(Kind::Idle);
    let evidence = story.testimony.evidence(Pid(0));
    let lasted = Duration::from_millis(lasted);
    let case = Case { kind, lasted, history: &story.history, evidence: &evidence };
    Told::of(judge(&case), "replay")
}

fn ending(story: &Story) -> Option<Ending> {
    let exit = &story.exit;
    if let Some(signal) = exit.signal.as_deref().and_then(Signal::parse) {
        return Some(Ending::Signalled { signal, core: false });
    }
    exit.own_code.or(exit.code).map(Ending::Exited)
}

fn oom(story: &Story, given: Option<Given>) -> bool {
    story.exit.cause.as_deref() == Some("oom_killed") || given.is_some_and(|given| given.oom)
}

/// The crash, unless the program went on after it or the end was another.
fn crash_of(story: &Story) -> Option<Crash> {
    let (crash, _) = story.crash.as_ref()?;
    (!story.went_on()).then(|| crash.clone())
}

/// Where a crash happened, from the dump behind it.
fn at_crash(story: &Story, mut told: Told) -> Told {
    let stack = story.crashed_in.and_then(|at| story.stacks.get(at));
    if let Some(stack) = stack.filter(|_| told.class == "crashed" && told.place.is_none()) {
        let frames: Vec<Frame> = stack.frames.iter().map(frame).collect();
        // Who panics says nothing, who called for it does.
        let own: Vec<Frame> =
            frames.iter().filter(|frame| frame.function != "panic").cloned().collect();
        told.place = crate::policy::verdict::place(&own);
    }
    told
}

fn frame((function, place): &(String, String)) -> Frame {
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    Frame { function: function.clone(), file: file.to_owned(), line: line.parse().unwrap_or(0) }
}

// ---- what a runtime printed by itself ----

fn raw(story: &Story, given: Option<Given>) -> Told {
    let ran = story.now().since(crate::units::Mono(0));
    let ending = given.map(|given| given.ending);
    let crash = crash_of(story);
    if crash.is_some() || (ending.is_some() && story.asked.is_none()) {
        // The runtime exits after its crash; that it did is not in the log.
        let told = ending.or(crash.as_ref().map(|_| Ending::Exited(2)));
        let oom = given.is_some_and(|given| given.oom);
        let dump = story.seen.as_ref().filter(|seen| seen.whole).map(|seen| &seen.goroutines);
        let end = End { ending: told, crash: crash.as_ref(), dump, oom, ran };
        let basis = if given.is_some() { "exit" } else { "dump" };
        return at_crash(story, Told::of(of_end(&end), basis));
    }
    let (seen, basis) = match (&story.seen, detailed(story)) {
        (Some(seen), _) => (Some(timed(seen.clone(), story)), "dump"),
        (None, Some(seen)) => (Some(seen), "snapshots"),
        (None, None) => (None, "snapshots"),
    };
    let evidence = evidence(seen.as_ref());
    let mut history = story.history.clone();
    history.late_percent = story.clock.late_percent();
    let history = &history;
    let asked = story.asked.is_some() || basis == "dump";
    let still = match &seen {
        // No heartbeat: the dump alone tells whether anybody is at work.
        Some(seen) if story.snapshots == 0 => Some((at_work(seen), Duration::ZERO)),
        Some(seen) => standing(story, asked, waits(seen)),
        None => standing(story, asked, false),
    };
    if let Some((kind, lasted)) = still {
        let case = Case { kind, lasted, history, evidence: &evidence };
        return named(Told::of(judge(&case), basis), story);
    }
    if asked {
        return named(Told::of(of_running(history, &evidence), basis), story);
    }
    tail(story)
}

/// Whether a dump shows work. The goroutine that prints the stacks by itself runs only for that.
fn at_work(seen: &Seen) -> Kind {
    let wakers = &seen.goroutines.wakers;
    let own = u64::from(!seen.whole);
    if wakers.running.saturating_sub(own) + wakers.runnable > 0 {
        Kind::Spinning
    } else {
        Kind::Idle
    }
}

/// Whether goroutine 1 waits for others, so that what keeps a P busy now and then is not it.
fn waits(seen: &Seen) -> bool {
    let main = seen.goroutines.main.as_ref();
    let moves = ["running", "runnable", "sleep"];
    main.is_some_and(|main| !moves.contains(&main.state.as_str()))
}

/// What has stood still at the end of the log, and for how long. Who asked for a dump had a
/// reason; otherwise more patience is needed.
fn standing(story: &Story, asked: bool, waits: bool) -> Option<(Kind, Duration)> {
    let history = &story.history;
    if story.snapshots == 0 {
        return None;
    }
    let beats = if asked { 3 } else { 4 };
    let least = Duration::from_millis(if asked { 700 } else { 800 });
    let patience = story.clock.interval().saturating_mul(beats).max(least);
    let patience = patience.min(Duration::from_secs(25)).max(story.clock.interval());
    let order = [Kind::Stw, Kind::Threads, Kind::Starved, Kind::Spinning, Kind::Idle];
    let silent = history.now.since(history.output);
    let parked = (asked && waits && silent >= patience).then_some((Kind::Idle, silent));
    let found = order.into_iter().find_map(|kind| {
        let lasted = history.now.since(history.since(kind)?);
        (lasted >= patience).then_some((kind, lasted))
    });
    found.or(parked)
}

/// The evidence that a dump is.
fn evidence(seen: Option<&Seen>) -> Evidence {
    let mut evidence = Evidence::default();
    let Some(seen) = seen else {
        let why = "the log has neither a dump nor scheddetail".to_owned();
        evidence.goroutines = Probe::Missing(Why::Unsupported(why));
        return evidence;
    };
    evidence.goroutines = Probe::Got(seen.goroutines.clone());
    if !seen.threads.is_empty() || seen.timers_known {
        evidence.threads = Probe::Got(seen.threads.clone());
    }
    evidence
}

/// A dump knows no timers; the detailed snapshot beside it counts them.
fn timed(mut seen: Seen, story: &Story) -> Seen {
    let detail = story.detail.as_ref().and_then(|snapshot| snapshot.detail.as_ref());
    if let Some(detail) = detail {
        let timers = &mut seen.goroutines.wakers.timers;
        *timers = (*timers).max(detail.timers);
        seen.timers_known = true;
    }
    seen
}

/// Without a dump: what scheddetail says of goroutine 1 and of the others' reasons.
fn detailed(story: &Story) -> Option<Seen> {
    let detail: &Detail = story.detail.as_ref()?.detail.as_ref()?;
    let states = ["idle", "runnable", "running", "syscall", "waiting"];
    let status = usize::from(detail.main_status?);
    let state = match &detail.main_reason {
        Some(reason) => reason.clone(),
        None => (*states.get(status)?).to_owned(),
    };
    let count =
        |status: usize| u64::from(detail.goroutines_by_status.get(status).copied().unwrap_or(0));
    let reason = |word: &str| {
        let found = detail.reasons.iter().find(|(reason, _)| reason == word);
        found.map_or(0, |(_, count)| u64::from(*count))
    };
    let system = ["(idle)", "finalizer wait", "cleanup wait", "GC scavenge wait", "GC sweep wait"];
    let user = detail.reasons.iter().filter(|(r, _)| !system.iter().any(|word| r.contains(word)));
    let groups = user.map(|(reason, count)| GoroutineGroup {
        state: reason.clone(),
        count: u64::from(*count),
        ..GoroutineGroup::default()
    });
    let goroutines = Goroutines {
        total: u64::from(detail.goroutines),
        groups: groups.collect(),
        main: Some(Goroutine { id: 1, state, ..Goroutine::default() }),
        wakers: Wakers {
            runnable: count(1),
            running: count(2),
            syscall: count(3),
            io_wait: reason("IO wait"),
            timers: detail.timers.max(reason("sleep")),
            ..Wakers::default()
        },
        stopping_the_world: story.detail.as_ref().and_then(|snapshot| snapshot.gcwaiting),
        ..Goroutines::default()
    };
    Some(Seen { goroutines, threads: Vec::new(), timers_known: true, whole: true })
}

/// A dump from the program's own mouth is not a crash, and may not be all of it.
fn named(mut told: Told, story: &Story) -> Told {
    let partial = story.seen.as_ref().is_some_and(|seen| !seen.whole);
    if partial && told.confidence != "unclear" && told.class == "stalled" {
        told.confidence = Confidence::Unclear.word().to_owned();
    }
    told
}

/// The log ends, and nothing in it says how the program did.
fn tail(story: &Story) -> Told {
    let next = "look up its exit code (kubectl get pod, docker inspect) and give it as --exit";
    let last = String::from_utf8_lossy(&story.last_line);
    if complains(&last) {
        let sentence = format!("the log ends with an error of the program: {last}");
        let mut told = Told::unclear(Class::Crashed, "exit-code", sentence, next);
        let _ = crate::policy::record::shorten(&mut told.sentence, 240);
        return told;
    }
    let quiet = story.now().since(story.history.output);
    let sentence = if quiet.is_zero() {
        "the log ends after the program's output; how it ended is not in it".to_owned()
    } else {
        format!("the log ends {} after the last progress; how it ended is not in it", span(quiet))
    };
    Told::unclear(Class::Ok, "finished", sentence, next)
}

/// Whether a line says of itself that it is an error.
fn complains(line: &str) -> bool {
    let head: String = line.chars().take(120).collect::<String>().to_ascii_lowercase();
    let words = ["level=error", "level=fatal", "\"level\":\"error\"", "\"level\":\"fatal\""];
    let klog = head.starts_with(['e', 'f'])
        && head.get(1..5).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    klog || words.iter().any(|word| head.contains(word))
        || ["error:", "fatal:", "fatal "].iter().any(|word| head.starts_with(word))
}
