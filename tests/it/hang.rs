//! A crash that is printed and then does not end, by a real runtime that has locked itself up, and
//! programs that only say the same words.

use crate::run::{VERSION, ended, run, whole};
use crate::support::{self, Done, Run, Started, TempDir, program};
use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Lets the program crash while its monitor prints a snapshot, and that takes as long as nobody
/// reads: goinit is stopped meanwhile. Locked up in about every second case.
fn provoke(options: &[&str]) -> Option<Started> {
    let path = program("locks-up", VERSION)?;
    let options = [&["--schedtrace=1ms", "--scheddetail"], options].concat();
    let started = run(&options, &path).env("GOINIT_TERMINATION_LOG", "auto").start();
    started.wait_for_output("ready");
    started.signal(libc::SIGSTOP);
    let begin = support::now();
    support::wait_until(LIMIT, || begin.elapsed() > Duration::from_millis(900));
    started.signal(libc::SIGCONT);
    Some(started)
}

/// `Err` when it was locked up before the first word of the crash, as it is when the monitor holds
/// the lock of printing.
fn crash(message: &str) -> Option<Result<Done, Done>> {
    let mut started = provoke(&[message])?;
    let printed = |record: &serde_json::Value| record["event_name"] == "go.panic";
    let crashed = support::wait_until(Duration::from_secs(20), || {
        started.has_ended() || started.records().iter().any(printed)
    });
    Some(if crashed { Ok(started.wait(LIMIT)) } else { started.wait_or_kill(Duration::ZERO) })
}

/// Written by Go 1.25 when it locked itself up (one write each), and with the line of the monitor
/// in other states.
#[test]
fn the_crash_is_read_wherever_the_monitor_was_interrupted() {
    for line in ["  G76: status=4(select (no cases)) m=nil lockedm=", "  G76", "  M3: p=", "  P0"] {
        for number in ["", "3"] {
            let mut found = Vec::new();
            let mut assembler = Assembler::new(Framing::Packets);
            let mut take = |entry: Entry<'_>| found.push(format!("{entry:?}"));
            let writes = [
                "SCHED ",
                "3157",
                "ms: gomaxprocs=",
                "2",
                " idleprocs=",
                "0",
                " threads=",
                "4",
                " spinningthreads=",
                "0",
                " needspinning=",
                "1",
                " idlethreads=",
                "1",
                " runqueue=",
                "0",
                " gcwaiting=",
                "false",
                " nmidlelocked=",
                "0",
                " stopwait=",
                "0",
                " sysmonwait=",
                "false",
                "\n",
                line,
                number,
                "fatal error: ",
                "concurrent map writes",
                "\n",
            ];
            for write in writes.into_iter().filter(|write| !write.is_empty()) {
                assembler.feed(write.as_bytes(), &mut take);
            }
            assembler.idle(&mut take);
            // What was left of the monitor's line may be told as a piece of text, and nothing else.
            let count = |kind: &str| found.iter().filter(|entry| entry.starts_with(kind)).count();
            assert_eq!((count("Crash"), count("Sched")), (1, 1), "{line}{number}: {found:?}");
            let pieces = found.iter().filter(|entry| entry.starts_with("Text"));
            let cut = pieces.filter(|entry| entry.contains("partial: true")).count();
            assert!(cut <= 1 && found.len() == 2 + cut, "{line}{number}: {found:?}");
        }
    }
}

#[test]
fn a_runtime_that_locks_itself_up_while_it_crashes_is_ended() {
    let place = TempDir::new();
    let message = place.path("message");
    fs::write(&message, "").unwrap();
    let option = format!("--termination-log={}", message.display());
    for _ in 0..30 {
        let Some(crashed) = crash(&option) else { return };
        let Ok(done) = crashed else { continue };
        whole(&done);
        let exit = done.named("goinit.exit").pop().unwrap();
        if exit["exit"]["by"] == "child" {
            ended(&done, 2, "fatal_error", "child");
            continue;
        }
        ended(&done, 137, "crash", "goinit");
        assert_eq!(exit["process"]["exit"]["signal"], "SIGKILL", "{exit}");
        let sentence = "fatal error: concurrent map writes; it has not ended since, and was killed";
        assert_eq!(exit["message"], sentence);
        let head = &done.named("go.panic")[0];
        assert_eq!(head["panic"]["text"], "concurrent map writes", "{head}");
        let verdict = done.verdict();
        assert_eq!(verdict["verdict"]["class"], "crashed", "{verdict}");
        assert_eq!(verdict["verdict"]["cause"], "fatal", "{verdict}");
        let text = fs::read_to_string(&message).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(sentence));
        let object: serde_json::Value = serde_json::from_str(lines.next().unwrap()).unwrap();
        assert_eq!((&object["cause"], &object["by"]), (&"crash".into(), &"goinit".into()));
        return;
    }
    panic!("in 30 crashes the runtime never locked itself up");
}

/// Its main goroutine sleeps for an hour, and no timer will ever wake it.
#[test]
fn a_runtime_that_has_locked_itself_up_is_not_called_asleep() {
    for _ in 0..30 {
        let Some(started) = provoke(&["--stall-after=3s", "--on-stall=exit"]) else { return };
        let done = started.wait(LIMIT);
        whole(&done);
        let verdict = done.verdict();
        // It has crashed after all, or a busy machine was caught before it had read everything.
        let other = verdict["verdict"]["cause"] == "log-blocked";
        if other || done.named("goinit.stall").is_empty() {
            continue;
        }
        assert_eq!(verdict["verdict"]["cause"], "locked-up", "{verdict}");
        ended(&done, 123, "stall", "goinit");
        return;
    }
    panic!("in 30 crashes the runtime never locked itself up");
}

/// Nothing ends a program for its words alone, whatever they look like; without a traceback they
/// are no crash.
#[track_caller]
fn lives_on(started: Started, code: i32, panics: usize) {
    let done = started.wait(LIMIT);
    whole(&done);
    assert_eq!(done.code, code, "{}", done.stderr());
    let exit = done.named("goinit.exit").pop().unwrap();
    assert_eq!(exit["exit"]["by"], "child", "{exit}");
    assert_eq!(done.named("go.panic").len(), panics, "{}", done.stderr());
}

#[test]
fn a_program_that_only_says_so_is_not_ended() {
    const WORDS: [&str; 3] = [
        "panic: not really\n",
        "fatal error: all goroutines are asleep - deadlock!\n",
        "panic: told\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:3 +0x1d\nexit status 2\n",
    ];
    let mut all = Vec::new();
    for (words, panics) in WORDS.into_iter().zip([0, 0, 1]) {
        if let Some(path) = program("locks-up", VERSION) {
            for options in [&[][..], &["--schedtrace=0"]] {
                let run = run(options, &path).env("PROGRAM_SAYS", words);
                all.push((run.env("PROGRAM_MS", "16000").start(), panics));
            }
        }
        let script = "printf '%s' \"$0\" >&2; sleep 16; exit 6";
        let run = Run::goinit().args(["--termination-log=none", "--", "sh", "-c", script, words]);
        all.push((run.start(), panics));
    }
    all.into_iter().for_each(|(started, panics)| lives_on(started, 6, panics));
}

#[test]
fn a_crash_that_is_stopped_in_its_tracks_is_waited_for() {
    let Some(path) = program("locks-up", VERSION) else { return };
    let words = "fatal error: said before it was stopped\n";
    let run = run(&[], &path).env("PROGRAM_SAYS", words).env("PROGRAM_MS", "2000");
    let started = run.start();
    started.wait_for_text("fatal error: said");
    let child = started.children()[0];
    support::kill(child, libc::SIGSTOP);
    let begin = support::now();
    support::wait_until(LIMIT, || begin.elapsed() > Duration::from_secs(14));
    support::kill(child, libc::SIGCONT);
    lives_on(started, 6, 0);
}
