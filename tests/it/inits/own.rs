//! What only goinit offers: waiting for descendants, escalation, holding TERM back, words about
//! orphans and senders.

use std::time::Duration;

use super::{SOON, namespaces};
use crate::support::{Run, TempDir, now, wait_until};

fn goinit(options: &[&str], script: &str) -> Run {
    Run::goinit().arg("--termination-log=none").args(options).args(["--", "sh", "-c", script])
}

#[test]
fn all_descendants_are_waited_for_if_asked() {
    let script = "(sleep 0.5; echo last) & exit 5";
    let done = goinit(&["--wait-for-all"], script).start().wait(SOON).expect_code(5);
    assert!(done.stdout().contains("last"), "{}", done.stdout());
}

#[test]
fn term_is_followed_by_kill_only_if_asked() {
    let script = "trap '' TERM; echo ready; sleep 10 & while :; do wait; done";
    let started = goinit(&["--grace=300ms"], script).start();
    started.wait_for_output("ready");
    started.signal(libc::SIGTERM);
    started.wait(SOON).expect_code(137);
}

#[test]
fn term_can_be_held_back() {
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let started = goinit(&["--pre-stop-delay=700ms"], script).start();
    started.wait_for_output("ready");
    let sent = now();
    started.signal(libc::SIGTERM);
    assert!(wait_until(SOON, || started.stdout().contains("got it")));
    assert!(sent.elapsed() >= Duration::from_millis(700), "after {:?}", sent.elapsed());
    started.wait(SOON).expect_code(9);
}

#[test]
fn what_is_left_of_the_group_gets_term_when_the_child_ended() {
    let script = "(trap 'echo got it; exit' TERM; echo ready; while :; do sleep 0.02; done) & \
                  sleep 0.4; exit 6";
    let done = goinit(&["-g", "--wait-for-all"], script).start().wait(SOON).expect_code(6);
    assert!(done.stdout().contains("got it"), "{}", done.stdout());
}

#[test]
fn an_orphans_end_is_told_if_asked() {
    let script = "(sh -c 'sleep 0.1; exit 9' &); sleep 0.4";
    let done = goinit(&["-w"], script).finish().expect_code(0);
    let told = done.named("goinit.orphan");
    assert!(told.iter().any(|record| record["orphan"]["exit"]["code"] == 9), "{told:?}");
    assert!(told.iter().all(|record| record["orphan"]["name"].is_string()), "{told:?}");
    assert!(goinit(&[], script).finish().named("goinit.orphan").is_empty());
}

#[test]
fn the_sender_of_a_signal_is_told() {
    let started = goinit(&[], "echo ready; exec sleep 20").start();
    started.wait_for_output("ready");
    started.signal(libc::SIGTERM);
    let done = started.wait(SOON).expect_code(143);
    let told = done.named("goinit.signal");
    assert_eq!(told[0]["signal"]["from_pid"], std::process::id(), "{told:?}");
}

/// A FIFO that nobody reads: opening it to write waits for ever, as a file system that hangs does.
fn hanging(place: &TempDir) -> String {
    let path = place.path("hangs");
    Run::new("mkfifo").arg(&path).finish().expect_code(0);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_termination_message_that_cannot_be_written_does_not_hold_up_the_end() {
    let place = TempDir::new();
    let option = format!("--termination-log={}", hanging(&place));
    let run = Run::goinit().args([option.as_str(), "--", "sh", "-c", "exit 5"]);
    let done = run.start().wait(SOON).expect_code(5);
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
    // Neither when the command is not even there.
    let run = Run::goinit().args([option.as_str(), "--", "/no/such/command"]);
    run.start().wait(SOON).expect_code(127);
}

#[test]
fn a_raw_copy_that_cannot_be_opened_does_not_hold_up_anything() {
    let place = TempDir::new();
    let script = "echo one >&2; echo ready; read word; echo two >&2; exit 6";
    let raw = format!("--raw={}", hanging(&place));
    let run = goinit(&[&raw], script).stdin(b"go\n");
    let done = run.start().wait(SOON).expect_code(6);
    assert!(done.stderr().contains("two"), "{}", done.stderr());
    let done = goinit(&["--raw=/no/such/directory/raw"], "exit 6").finish().expect_code(6);
    assert!(done.took < Duration::from_secs(3), "{:?}", done.took);
}

#[test]
fn exit_codes_are_mapped_to_others() {
    let code = |options: &[&str], code: i32| goinit(options, &format!("exit {code}")).finish().code;
    assert_eq!(code(&["--remap=3=0,4=9"], 3), 0);
    assert_eq!(code(&["--remap=3=0,4=9"], 4), 9);
    assert_eq!(code(&["--remap=3=0,4=9"], 5), 5);
    assert_eq!(code(&["-e", "3", "-e", "4"], 4), 0);
    assert_eq!(code(&["--remap", "0=7"], 0), 7);
    // An end that was asked for can be a good one.
    let started = goinit(&["-e", "143"], "echo ready; exec sleep 20").start();
    started.wait_for_output("ready");
    started.signal(libc::SIGTERM);
    started.wait(SOON).expect_code(0);
}

#[test]
fn signals_are_rewritten_by_name_and_several_at_once() {
    let script = "trap 'echo hup; exit 8' HUP; trap 'echo usr1' USR1; echo ready; \
                  while :; do sleep 0.02; done";
    let options = ["--rewrite=USR2:USR1,SIGTERM:HUP", "--rewrite", "INT:0"];
    let started = goinit(&options, script).start();
    started.wait_for_output("ready");
    started.signal(libc::SIGINT);
    started.signal(libc::SIGUSR2);
    started.wait_for_output("usr1");
    started.signal(libc::SIGTERM);
    let done = started.wait(SOON).expect_code(8);
    let told: Vec<_> = done.named("goinit.signal");
    assert_eq!(told[1]["signal"]["sent"], "SIGUSR1", "{told:?}");
}

#[test]
fn wrong_values_are_125_with_a_sentence() {
    for options in [&["-e", "256"][..], &["-e", ""], &["--rewrite", "15:derp"], &["-p", "derp"]] {
        let done = goinit(options, "echo ran").finish().expect_code(125);
        assert_eq!(done.stdout(), "", "{options:?}: the command ran");
        assert!(done.stderr().contains(options[0]), "{options:?}: {}", done.stderr());
        assert!(done.stderr().len() > 30, "{options:?}: {}", done.stderr());
    }
}

#[test]
fn tinis_variables_are_understood() {
    let script = "(trap 'echo got it; exit' TERM; echo ready; while :; do sleep 0.02; done) & \
                  sleep 0.4; exit 6";
    let run = goinit(&["--wait-for-all"], script).env("TINI_KILL_PROCESS_GROUP", "1");
    let done = run.env("TINI_SUBREAPER", "").env("TINI_VERBOSITY", "3").start().wait(SOON);
    let done = done.expect_code(6);
    assert!(done.stdout().contains("got it"), "{}", done.stdout());
    assert!(done.named("goinit.warning").is_empty(), "{}", done.stderr());
}

/// Not PID 1: goinit adopts orphans unasked, and says so once.
#[test]
fn as_an_ordinary_process_it_adopts_unasked_and_says_so() {
    let script = "(sh -c 'sleep 0.1; exit 9' &); sleep 0.4";
    let done = goinit(&["-w"], script).finish().expect_code(0);
    assert_eq!(done.named("goinit.orphan").len(), 1, "{}", done.stderr());
    assert_eq!(done.stderr().matches("\"subreaper\"").count(), 1, "{}", done.stderr());
    if namespaces() {
        let done = goinit(&[], "exit 0").pid_1().finish().expect_code(0);
        assert_eq!(done.stderr().matches("\"subreaper\"").count(), 0, "{}", done.stderr());
    }
}

#[test]
fn an_orphan_is_told_with_pid_name_parent_and_status() {
    let script = "(sh -c 'echo $$; sleep 0.1; kill -KILL $$' &); sleep 0.4";
    let started = goinit(&["-w"], script).start();
    let pid = started.pid();
    let done = started.wait(SOON).expect_code(0);
    let told = done.named("goinit.orphan");
    assert_eq!(told.len(), 1, "{}", done.stderr());
    let orphan = &told[0]["orphan"];
    assert_eq!(orphan["pid"].to_string(), done.stdout().trim(), "{orphan}");
    assert_eq!(orphan["name"], "sh", "{orphan}");
    assert_eq!(orphan["parent_pid"], pid, "{orphan}");
    assert_eq!(orphan["exit"]["signal"], "SIGKILL", "{orphan}");
}

#[test]
fn last_words_are_waited_for_until_the_drain_deadline() {
    // Something that outlives the program holds its stderr, and still speaks within the time.
    let script = "(sleep 0.3; echo late >&2; sleep 20) & exit 5";
    let done = goinit(&["--drain=1200ms"], script).start().wait(SOON).expect_code(5);
    let late = "\"message\":\"late\"";
    assert!(done.stderr().contains(late), "{}", done.stderr());
    let took = done.took.as_millis();
    assert!((1200..3000).contains(&took), "{took} ms");
    let done = goinit(&["--drain=0"], script).start().wait(SOON).expect_code(5);
    assert!(done.took.as_millis() < 1000 && !done.stderr().contains(late), "{:?}", done.took);
}

#[test]
fn grace_begins_when_term_was_passed_on() {
    let script = "trap '' TERM; echo ready; while :; do sleep 0.02; done";
    let started = goinit(&["--pre-stop-delay=500ms", "--grace=500ms"], script).start();
    started.wait_for_output("ready");
    let sent = now();
    started.signal(libc::SIGTERM);
    let done = started.wait(SOON).expect_code(137);
    let took = sent.elapsed().as_millis();
    assert!((1000..3000).contains(&took), "{took} ms");
    // Held back, passed on as planned, and what goinit does of its own accord.
    let told = done.named("goinit.signal");
    let told: Vec<_> = told.iter().map(|one| one["severity"].as_str().unwrap()).collect();
    assert_eq!(told, ["INFO", "INFO", "WARN"], "{}", done.stderr());
}

/// An image that holds nothing but the program, with nothing mounted into it: no /dev, no /proc.
#[test]
fn an_empty_root_is_enough() {
    if !namespaces() {
        return;
    }
    let place = TempDir::new();
    std::fs::copy(crate::support::goinit(), place.path("goinit")).unwrap();
    let root = format!("--chroot={}", place.0.display());
    // goinit is the only program there, so it is its own child.
    let inside = |words: &[&str]| {
        let run = Run::new("/goinit").args(["--termination-log=none", "--"]).args(words);
        run.state(&root)
    };
    for as_first in [false, true] {
        let turn = |run: Run| if as_first { run.pid_1() } else { run };
        let done = turn(inside(&["/goinit", "--version"])).finish().expect_code(0);
        assert!(done.stdout().starts_with("goinit "), "{}", done.stdout());
        let done = turn(inside(&["/goinit", "--nonsense"])).finish().expect_code(125);
        assert!(done.stderr().contains("--nonsense"), "{}", done.stderr());
        turn(inside(&["/server"])).finish().expect_code(127);
        turn(inside(&["/goinit", "--version"]).state("--close=0,1,2")).finish().expect_code(0);
    }
}
