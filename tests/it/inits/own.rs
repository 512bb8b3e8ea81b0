//! What only goinit offers: waiting for descendants, escalation, holding TERM back, words about
//! orphans and senders.

use std::time::Duration;

use super::SOON;
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
