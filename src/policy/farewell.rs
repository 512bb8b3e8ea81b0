//! The last words of a run: the exit code, the `goinit.exit` record, the termination message.

use super::backlog::Class;
use super::diagnosis::Diagnosis;
use super::event::Action;
use super::record::{Origin, Record, Severity};
use super::session::Session;
use super::shutdown::Reason;
use super::verdict::{self, Class as Judged, Sent, Verdict};
use crate::exit::{Code, Ending};
use crate::units::Now;

/// Bytes of `error.message`.
const BRIEF: usize = 100;

/// Who decided that the run ends as it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Child,
    Goinit,
    Kernel,
    Signal,
}

impl By {
    fn word(self) -> &'static str {
        match self {
            Self::Child => "child",
            Self::Goinit => "goinit",
            Self::Kernel => "kernel",
            Self::Signal => "signal",
        }
    }
}

/// The end in the words of the last record.
struct End {
    code: Code,
    cause: &'static str,
    by: By,
    sentence: String,
    /// What is said of it beside: a stall that ended it, or how it ended by itself.
    verdict: Option<Verdict>,
}

impl End {
    /// Whether it was a crash of which the runtime has told.
    fn crashed(&self) -> bool {
        matches!(self.cause, "panic" | "fatal_error" | "crash")
    }
}

/// Posts the last verdict and the last record, leaves the message, and finishes.
pub(super) fn say(session: &mut Session, now: Now, actions: &mut Vec<Action>) {
    let end = end(session, now);
    let code = session.config.remapped(end.code);
    let mut sentence = end.sentence.clone();
    if code != end.code {
        sentence.push_str(&format!(" (remapped to {})", code.0));
    }
    if let Some(mut diagnosis) = session.diagnosis.take() {
        // What led to a bad end; one that was asked for is none.
        if code != Code::SUCCESS && !was_asked_for(session, &end) {
            diagnosis.pour_ring(session);
        }
        diagnosis.settle(end.crashed(), session);
        session.diagnosis = Some(diagnosis);
    }
    if !seen_by_itself(session, &end) {
        if let Some(verdict) =
            end.verdict.as_ref().filter(|verdict| is_news(session, &end, verdict))
        {
            session.outbox.post(now.wall, Class::Vital, &verdict.record());
        }
        let record = last(session, now, &end, code, &sentence);
        session.outbox.post(now.wall, Class::Vital, &record);
    }
    if code != Code::SUCCESS {
        actions.push(Action::LeaveMessage(message(session, &end, code, &sentence)));
    }
    actions.push(Action::Finish(code));
}

/// Whoever sits at the terminal that the program kept has seen it end; only what the kernel or
/// goinit did has to be told there.
fn seen_by_itself(session: &Session, end: &End) -> bool {
    let own = matches!(end.by, By::Child | By::Signal);
    session.birth.interactive && own && !session.config.verbose
}

/// An end of its own that is bad gets a verdict; one that was asked for is no crash, and what
/// goinit ended, or stalled until somebody ended it, has been judged.
fn is_news(session: &Session, end: &End, verdict: &Verdict) -> bool {
    let own = matches!(session.shutdown.reason(), None | Some(Reason::CrashHang));
    let told = matches!(verdict.class, Judged::Ok | Judged::Stalled | Judged::Slow);
    own && !told && !was_asked_for(session, end)
}

/// Whether somebody asked goinit for this end. A crash on the way there is one all the same.
fn was_asked_for(session: &Session, end: &End) -> bool {
    let class = end.verdict.as_ref().map(|verdict| verdict.class);
    session.shutdown.asked().is_some() && !matches!(class, Some(Judged::Crashed | Judged::Killed))
}

/// The last record.
fn last(session: &Session, now: Now, end: &End, code: Code, sentence: &str) -> Record {
    let severity = if code == Code::SUCCESS { Severity::Info } else { Severity::Error };
    let mut record = Record::new(severity, "goinit.exit", Origin::Goinit, sentence.to_owned())
        .put("process.pid", session.birth.child.0);
    if let Some(reaped) = &session.end {
        record = record.put("process.exit.code", Code::from(reaped.ending).0);
        if let Ending::Signalled { signal, .. } = reaped.ending {
            record = record.put("process.exit.signal", signal.to_string());
        }
    }
    record = record
        .put("exit.code", code.0)
        .put("exit.cause", end.cause)
        .put("exit.by", end.by.word())
        .put("exit.after_ms", now.mono.since(session.birth.at));
    if let Some(verdict) = &end.verdict {
        record =
            record.put("verdict.class", verdict.class.word()).put("verdict.cause", verdict.cause);
    }
    if code != Code::SUCCESS {
        // The whole sentence is the message; this record is to stay below 1,024 bytes, because
        // the kubelet shows the last 2,048 of a log as a termination message.
        let mut brief = end.sentence.clone();
        super::record::shorten(&mut brief, BRIEF);
        record = record.put("error.type", end.cause).put("error.message", brief);
    }
    if session.shutdown.pipe_left_open() {
        record = record.put("exit.stderr_held", true);
    }
    record = record
        .put("counters.signals", session.counts.signals)
        .put("counters.orphans", session.counts.orphans);
    let figures = session.diagnosis.as_deref().map(Diagnosis::counters).unwrap_or_default();
    for (path, value) in session.losses.counters().into_iter().chain(figures) {
        record = record.put(path, value);
    }
    record
}

/// The termination message.
fn message(session: &Session, end: &End, code: Code, sentence: &str) -> String {
    let mut members = vec![
        ("cause", end.cause.into()),
        ("code", code.0.into()),
        ("by", end.by.word().into()),
        ("run", session.outbox.frame.run().to_owned().into()),
    ];
    let diagnosis = session.diagnosis.as_deref();
    let verdict = end.verdict.as_ref();
    members.extend(
        diagnosis.and_then(Diagnosis::stalled).map(|stall| ("stall", stall.kind.word().into())),
    );
    members.extend(verdict.map(|found| ("verdict", found.cause.into())));
    let place = verdict.and_then(|found| found.place.clone());
    members.extend(place.map(|place| ("where", place.into())));
    let on = verdict.and_then(|found| found.on.clone());
    members.extend(on.map(|on| ("blocked_on", on.into())));
    let lines = diagnosis.map(Diagnosis::testimony).unwrap_or_default();
    verdict::message(sentence, &members, &lines, session.config.termination_bytes)
}

/// Puts the end into words.
fn end(session: &Session, now: Now) -> End {
    let ending = session.end.as_ref().map(|reaped| reaped.ending);
    let own = ending.map_or(Code::FAILED, Code::from);
    let diagnosis = session.diagnosis.as_deref();
    let judged = diagnosis.and_then(Diagnosis::verdict).cloned();
    let because = judged.as_ref().map_or_else(String::new, |found| format!(": {}", found.sentence));
    let mut seen = verdict::End {
        ending,
        crash: diagnosis.and_then(Diagnosis::crash),
        dump: diagnosis.and_then(Diagnosis::dump),
        oom: session.end.as_ref().is_some_and(|end| end.oom_kills.is_some_and(|kills| kills > 0)),
        ran: now.mono.since(session.birth.at),
    };
    match session.shutdown.reason() {
        Some(Reason::Deadline) => {
            let after = session.config.timeout.unwrap_or_default();
            let after = humantime::format_duration(after);
            return End {
                code: session.config.exit_on_timeout,
                cause: "deadline",
                by: By::Goinit,
                sentence: format!("deadline of {after} exceeded{because}"),
                verdict: judged,
            };
        }
        Some(Reason::Stall) => {
            let since = judged.as_ref().map(|found| found.since);
            let after =
                since.map_or_else(String::new, |since| format!(" for {}", verdict::span(since)));
            return End {
                code: session.config.exit_on_stall,
                cause: "stall",
                by: By::Goinit,
                sentence: format!("stalled{after} and ended{because}"),
                verdict: judged,
            };
        }
        Some(Reason::CrashHang) => {
            seen.ending = None;
            let found = verdict::of_end(&seen);
            let sentence = format!("{}, and was killed", found.sentence);
            let verdict = Some(found);
            return End { code: own, cause: "crash", by: By::Goinit, sentence, verdict };
        }
        None => {}
    }
    let sent =
        Sent { asked: session.shutdown.asked().is_some(), passed: session.shutdown.passed() };
    let found = verdict::of_stop(&seen, sent);
    let (cause, by) = match found.cause {
        "finished" => ("completed", By::Child),
        "exit-code" => ("failed", By::Child),
        "panic" => ("panic", By::Child),
        "deadlock" | "fatal" | "config" => ("fatal_error", By::Child),
        "oom" => ("oom_killed", By::Kernel),
        "signal" => ("signal", By::Signal),
        _ => ("unknown", By::Goinit),
    };
    let asked = if sent.asked && found.class == Judged::Stopped {
        " after it was asked to end"
    } else {
        ""
    };
    // The sentence of a plain exit names its code already.
    let code = match found.cause {
        "finished" | "exit-code" => String::new(),
        _ => format!("; exit code {}", own.0),
    };
    let since = diagnosis.and_then(Diagnosis::stalled).map(|stall| now.mono.since(stall.since));
    // Who has goinit end a program that hangs does not make it anything else.
    let hung = judged.filter(|_| found.class == Judged::Stopped).filter(Verdict::condemns);
    if let (Some(since), Some(hung)) = (since, hung) {
        let until = if sent.asked { "it was asked to end" } else { "a signal ended it" };
        let signal = ending.map_or_else(String::new, |ending| match ending {
            Ending::Signalled { signal, .. } => format!("{signal}, "),
            Ending::Exited(_) => String::new(),
        });
        let (after, code) = (verdict::span(since), own.0);
        let sentence =
            format!("stalled for {after} until {until} ({signal}exit code {code}){because}");
        return End { code: own, cause, by, sentence, verdict: Some(Verdict { since, ..hung }) };
    }
    let sentence = format!("{}{asked}{code}", found.sentence);
    End { code: own, cause, by, sentence, verdict: Some(found) }
}
