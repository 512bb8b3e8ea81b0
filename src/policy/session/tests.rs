use super::*;
use crate::go::line::Framing;
use crate::policy::diagnosis::Setup;
use crate::policy::resize::Resize;
use crate::units::Wall;

fn session() -> Session {
    let config = Config::default();
    let setup = Setup { framing: Framing::Stream, go: false, heartbeat_ms: 0 };
    let diagnosis = Diagnosis::new(&config, setup, Resize::default(), Mono(0));
    let birth = Birth {
        child: Pid(7),
        own_group: true,
        piped: true,
        job_control: false,
        interactive: false,
        at: Mono(0),
    };
    Session::new(config, birth, Outbox::new(1), diagnosis)
}

/// The log of these reads, the end of the program, and then time until the end of the run.
fn log(session: Session, reads: &[&str]) -> String {
    log_until(session, reads, Ending::Exited(0))
}

fn log_until(mut session: Session, reads: &[&str], ending: Ending) -> String {
    let mut now = Now { mono: Mono(1), wall: Wall(0) };
    for bytes in reads {
        let _ = session.step(now, &Event::Stderr(bytes.as_bytes()));
    }
    let end = Reaped { pid: Pid(7), ending, identity: None, oom_kills: None };
    let _ = session.step(now, &Event::Reaped(end));
    while let Some(due) = session.deadline() {
        now.mono = due.max(now.mono);
        let actions = session.step(now, &Event::Tick);
        if actions.iter().any(|action| matches!(action, Action::Finish(_))) {
            break;
        }
    }
    let bytes: Vec<u8> = session.outbox.records().flat_map(|(_, bytes)| bytes).copied().collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_last_line_without_an_end_is_written_though_somebody_holds_the_pipe() {
    let log = log(session(), &["first\nla", "st"]);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[1].contains("\"message\":\"last\""), "{log}");
    assert!(lines[2].contains("goinit.exit"), "{log}");
}

#[test]
fn without_a_diagnosis_lines_pass_through_whole_and_the_end_is_told() {
    let mut session = session();
    session.diagnosis = None;
    let log = log(session, &["fir", "st\nla", "st"]);
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines[..2], ["first", "last"], "{log}");
    assert!(lines[2].contains("goinit.exit") && lines.len() == 3, "{log}");
}

#[test]
fn words_that_nothing_proves_are_a_crash_only_if_the_program_ends_so() {
    for words in ["panic: oops\n", "fatal error: oops\n"] {
        let other = log_until(session(), &[words], Ending::Exited(1));
        let text = format!("\"severity\":\"INFO\",\"message\":\"{}\"", words.trim());
        assert!(other.contains(&text) && !other.contains("go.panic"), "{other}");
        // GOTRACEBACK=none
        let crash = log_until(session(), &[words], Ending::Exited(2));
        assert!(crash.contains("go.panic") && crash.contains("\"proven\":false"), "{crash}");
        assert!(!crash.contains("child.line"), "{crash}");
    }
    let traced = "panic: oops\n\ngoroutine 1 [running]:\nmain.main()\n\t/a.go:3 +0x1d\n";
    let other = log_until(session(), &[traced], Ending::Exited(1));
    assert!(other.contains("go.panic") && other.contains("\"proven\":true"), "{other}");
}

#[test]
fn words_that_stand_alone_for_a_while_are_a_line_until_a_traceback_follows() {
    let mut session = session();
    let mut now = Now { mono: Mono(1), wall: Wall(0) };
    let _ = session.step(now, &Event::Stderr(b"panic: oops\n"));
    let _ = session.step(now, &Event::Quiet);
    now.mono = session.deadline().unwrap();
    let _ = session.step(now, &Event::Tick);
    let records = |session: &mut Session| {
        let bytes: Vec<u8> =
            session.outbox.records().flat_map(|(_, bytes)| bytes).copied().collect();
        String::from_utf8(bytes).unwrap()
    };
    let told = records(&mut session);
    assert!(told.contains("\"message\":\"panic: oops\"") && told.contains("child.line"), "{told}");
    assert!(!told.contains("go.panic"), "{told}");
    // A runtime that was throttled in between.
    let trace = "\ngoroutine 1 [running]:\nmain.main()\n\t/a.go:3 +0x1d\n";
    let all = log_until(session, &[trace], Ending::Exited(2));
    let panics: Vec<_> = all.lines().filter(|line| line.contains("go.panic")).collect();
    assert!(panics.len() == 1 && panics[0].contains("\"proven\":true"), "{all}");
}

/// The log of a program that ended so, after a signal to goinit or not.
fn log_of_end(sent: Option<Signal>, ending: Ending, words: &str) -> String {
    let mut session = session();
    let now = Now { mono: Mono(1), wall: Wall(0) };
    if let Some(signal) = sent {
        let _ = session.step(now, &Event::Signal(Received { signal, from: Some(Pid(1)) }));
    }
    log_until(session, &[words], ending)
}

#[test]
fn an_end_that_was_asked_for_is_told_from_a_crash() {
    let signalled = |signal| Ending::Signalled { signal, core: false };
    let (term, kill) = (signalled(Signal::TERM), signalled(Signal::KILL));
    let (abort, int) = (signalled(Signal::ABRT), signalled(Signal::INT));
    let two = Ending::Exited(2);
    let panic = "panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/a.go:1 +0x1\n\n";
    let request = Some(Signal::TERM);
    let cases = [
        (request, term, "", "stopped/signal", 0),
        (request, kill, "", "stopped/signal", 0),
        (request, Ending::Exited(1), "", "stopped/exit-code", 0),
        (request, abort, "", "crashed/signal", 1),
        (request, two, panic, "crashed/panic", 1),
        (request, Ending::Exited(0), "", "ok/finished", 0),
        (Some(Signal::INT), int, "", "stopped/signal", 1),
        (Some(Signal::INT), term, "", "crashed/signal", 1),
        (None, term, "", "crashed/signal", 1),
        (None, kill, "", "crashed/signal", 1),
        (None, abort, "", "crashed/signal", 1),
        (None, Ending::Exited(1), "", "crashed/exit-code", 1),
    ];
    for (sent, ending, words, expected, verdicts) in cases {
        let log = log_of_end(sent, ending, words);
        let (class, cause) = expected.split_once('/').unwrap();
        let exit = log.lines().last().unwrap();
        let words = format!("\"verdict\":{{\"class\":\"{class}\",\"cause\":\"{cause}\"}}");
        assert!(exit.contains("goinit.exit") && exit.contains(&words), "{ending:?}: {log}");
        let told: Vec<_> = log.lines().filter(|line| line.contains("\"goinit.verdict\"")).collect();
        assert_eq!(told.len(), verdicts, "{ending:?}: {log}");
        let crashed = class == "crashed";
        assert!(told.iter().all(|told| told.contains("\"ERROR\"") == crashed), "{log}");
        let says = |words| exit.contains(words);
        assert_eq!(says("after it was asked to end"), class == "stopped" && verdicts == 0, "{log}");
        assert_eq!(says("which goinit passed on"), class == "stopped" && verdicts == 1, "{log}");
        let unknown = crashed && [term, kill].contains(&ending);
        assert_eq!(says("goinit does not know who sent it; exit code"), unknown, "{log}");
    }
}

#[test]
fn only_who_outlives_the_end_of_stderr_has_closed_it() {
    let closed = |ticks_ms: u64| {
        let setup = Setup { framing: Framing::Stream, go: true, heartbeat_ms: 1_000 };
        let config = Config::default();
        let diagnosis = Diagnosis::new(&config, setup, Resize::default(), Mono(0));
        let mut session = Session { diagnosis: Some(Box::new(diagnosis)), ..session() };
        let at = |ms: u64| Now { mono: Mono(ms * 1_000_000), wall: Wall(0) };
        let _ = session.step(at(100), &Event::StderrClosed);
        let _ = session.step(at(ticks_ms), &Event::Tick);
        let ending = Ending::Exited(1);
        let end = Reaped { pid: Pid(7), ending, identity: None, oom_kills: None };
        let _ = session.step(at(ticks_ms + 1), &Event::Reaped(end));
        let log: Vec<u8> = session.outbox.records().flat_map(|(_, bytes)| bytes).copied().collect();
        let log = String::from_utf8(log).unwrap();
        assert!(log.contains("goinit.exit"), "{log}");
        log.matches("goinit.blind").count()
    };
    assert_eq!((closed(101), closed(400)), (0, 1));
}
