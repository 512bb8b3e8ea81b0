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
fn log(mut session: Session, reads: &[&str]) -> String {
    let mut now = Now { mono: Mono(1), wall: Wall(0) };
    for bytes in reads {
        let _ = session.step(now, &Event::Stderr(bytes.as_bytes()));
    }
    let ending = Ending::Exited(0);
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
