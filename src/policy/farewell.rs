//! The last words of a run: the exit code, the `goinit.exit` record, the termination message.

use super::backlog::Class;
use super::diagnosis::Diagnosis;
use super::event::Action;
use super::record::{Origin, Record, Severity};
use super::session::Session;
use super::shutdown::Reason;
use crate::exit::{Code, Ending};
use crate::units::{Now, Signal};

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
}

/// Posts the last record, leaves the message, and finishes.
pub(super) fn say(session: &mut Session, now: Now, actions: &mut Vec<Action>) {
    let end = end(session);
    let code = session.config.remapped(end.code);
    let mut sentence = end.sentence.clone();
    if code != end.code {
        sentence.push_str(&format!(" (remapped to {})", code.0));
    }
    let severity = if code == Code::SUCCESS { Severity::Info } else { Severity::Error };
    if code != Code::SUCCESS
        && let Some(mut diagnosis) = session.diagnosis.take()
    {
        diagnosis.pour_ring(session);
        session.diagnosis = Some(diagnosis);
    }
    let mut record = Record::new(severity, "goinit.exit", Origin::Goinit, sentence.clone())
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
        .put("counters.orphans", session.counts.orphans)
        .put("counters.dropped_lines", session.sink.dropped.lost() + session.sink.unwritten)
        .put("counters.dropped_snapshots", session.sink.dropped.snapshots);
    let figures = session.diagnosis.as_deref().map(Diagnosis::counters).unwrap_or_default();
    for (path, value) in figures {
        record = record.put(path, value);
    }
    session.outbox.post(now.wall, Class::Vital, &record);
    if code != Code::SUCCESS {
        actions.push(Action::LeaveMessage(message(session, &end, code, &sentence)));
    }
    actions.push(Action::Finish(code));
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
    let verdict = diagnosis.and_then(Diagnosis::verdict);
    members.extend(diagnosis.and_then(Diagnosis::stalled).map(|kind| ("stall", kind.into())));
    members.extend(verdict.map(|found| ("verdict", found.cause.into())));
    let place = verdict.and_then(|found| found.place.clone());
    members.extend(place.map(|place| ("where", place.into())));
    let on = verdict.and_then(|found| found.on.clone());
    members.extend(on.map(|on| ("blocked_on", on.into())));
    let lines = diagnosis.map(Diagnosis::testimony).unwrap_or_default();
    super::verdict::message(sentence, &members, lines, session.config.termination_bytes)
}

/// What the verdict adds to a sentence: `: it waits for …`.
fn because(session: &Session) -> String {
    let verdict = session.diagnosis.as_deref().and_then(Diagnosis::verdict);
    verdict.map_or_else(String::new, |found| format!(": {}", found.sentence))
}

/// Puts the end into words.
fn end(session: &Session) -> End {
    let ending = session.end.as_ref().map(|reaped| reaped.ending);
    let own = ending.map_or(Code::FAILED, Code::from);
    match session.shutdown.reason() {
        Some(Reason::Deadline) => {
            let after = session.config.timeout.unwrap_or_default();
            let after = humantime::format_duration(after);
            return End {
                code: session.config.exit_on_timeout,
                cause: "deadline",
                by: By::Goinit,
                sentence: format!("deadline of {after} exceeded{}", because(session)),
            };
        }
        Some(Reason::Stall) => {
            return End {
                code: session.config.exit_on_stall,
                cause: "stall",
                by: By::Goinit,
                sentence: format!("stalled and ended{}", because(session)),
            };
        }
        Some(Reason::CrashHang) => {
            return End {
                code: own,
                cause: "crash",
                by: By::Goinit,
                sentence: "the program crashed but did not end, and was killed".to_owned(),
            };
        }
        None => {}
    }
    let (cause, by, sentence) = match ending {
        Some(Ending::Exited(0)) => {
            ("completed", By::Child, "the program ended with exit code 0".to_owned())
        }
        Some(Ending::Exited(code)) => match session.diagnosis.as_deref().and_then(Diagnosis::crash)
        {
            Some(crash) => {
                let word = if crash.kind == "panic" { "panic" } else { "fatal error" };
                let text = format!("{word}: {}; exit code {code}", crash.message);
                (if crash.kind == "panic" { "panic" } else { "fatal_error" }, By::Child, text)
            }
            None => ("failed", By::Child, format!("the program ended with exit code {code}")),
        },
        Some(Ending::Signalled { signal: Signal::KILL, .. }) if oom_killed(session) => (
            "oom_killed",
            By::Kernel,
            "the program was killed by the kernel: out of memory; exit code 137".to_owned(),
        ),
        Some(Ending::Signalled { signal, core }) => {
            let core = if core { ", core dumped" } else { "" };
            let asked = session.shutdown.asked().map_or("", |_| " after it was asked to end");
            let code = own.0;
            let text = format!("the program was ended by {signal}{core}{asked}; exit code {code}");
            ("signal", By::Signal, text)
        }
        None => ("unknown", By::Goinit, "the program's end was not seen".to_owned()),
    };
    End { code: own, cause, by, sentence }
}

fn oom_killed(session: &Session) -> bool {
    session.end.as_ref().is_some_and(|end| end.oom_kills.is_some_and(|kills| kills > 0))
}
