//! Signals: which arrive at the child, how often, and when.

use std::time::Duration;

use super::{SOON, case, case_with, namespaces};
use crate::support::{Run, Started, have, wait_until};

/// What an init must hand on: all that can be caught but SIGCHLD, which is its own, those of job
/// control, which it acts on, and the two that glibc keeps for itself.
fn forwardable() -> impl Iterator<Item = i32> {
    use libc::{SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};
    let no = [SIGKILL, SIGSTOP, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, 32, 33];
    (1..=64).filter(move |number| !no.contains(number))
}

/// Faults when the kernel says so, ordinary signals when somebody sends them.
const FAULTS: [i32; 7] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
];

/// How often the child has said that it got `number`.
fn got(started: &Started, number: i32) -> usize {
    let head = format!("{number} ");
    started.stdout().lines().filter(|line| line.starts_with(&head)).count()
}

fn forwards(run: Run, numbers: &[i32]) {
    let started = run.start();
    started.wait_for_output("ready");
    for number in numbers {
        started.signal(*number);
        assert!(
            wait_until(SOON, || got(&started, *number) == 1),
            "signal {number} was not handed on"
        );
    }
    started.wait(SOON).expect_code(0);
}

#[test]
fn every_signal_is_handed_on() {
    case("forwarding", |init| {
        let numbers: Vec<i32> = forwardable().filter(|number| !FAULTS.contains(number)).collect();
        forwards(init.child(&[], &["count", &numbers.len().to_string()]), &numbers);
    });
}

#[test]
fn every_signal_is_handed_on_by_pid_1() {
    if !namespaces() {
        return;
    }
    case("forwarding as PID 1", |init| {
        let numbers: Vec<i32> = forwardable().filter(|number| !FAULTS.contains(number)).collect();
        forwards(init.child(&[], &["count", &numbers.len().to_string()]).pid_1(), &numbers);
    });
}

#[test]
fn signals_named_after_faults_are_handed_on_when_sent() {
    if !namespaces() {
        return;
    }
    case("forwarding of fault signals", |init| {
        let count = FAULTS.len().to_string();
        forwards(init.child(&[], &["count", &count]).pid_1(), &FAULTS);
    });
}

#[test]
fn a_real_time_signal_arrives_as_often_as_it_was_sent() {
    case("queued real-time signals", |init| {
        let started = init.child(&[], &["count", "300"]).start();
        started.wait_for_output("ready");
        for _ in 0..100 {
            for number in [libc::SIGRTMIN(), libc::SIGRTMIN() + 7, libc::SIGRTMAX()] {
                started.signal(number);
            }
        }
        let done = started.wait(SOON).expect_code(0);
        for number in [libc::SIGRTMIN(), libc::SIGRTMIN() + 7, libc::SIGRTMAX()] {
            let head = format!("{number} ");
            let count = done.stdout().lines().filter(|line| line.starts_with(&head)).count();
            assert_eq!(count, 100, "signal {number}");
        }
    });
}

/// strace holds the child's exec back for 300 ms, so that the signal certainly comes before it.
#[test]
fn a_term_before_the_childs_exec_reaches_it() {
    if !have("strace") {
        return;
    }
    case("TERM before exec", |init| {
        let delayed = Run::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", "trace=execve,execveat"])
            .args(["-e", "inject=execve,execveat:delay_enter=300000", "--"])
            .arg(init.path())
            .args(init.separator)
            .args(["sleep", "20"]);
        let started = delayed.start();
        let mut inner = None;
        assert!(wait_until(SOON, || {
            inner = started.children().first().copied();
            inner.is_some_and(|pid| !crate::support::children(pid).is_empty())
        }));
        assert!(crate::support::kill(inner.unwrap(), libc::SIGTERM));
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn a_term_at_any_moment_of_the_start_reaches_the_child() {
    case("TERM during the start", |init| {
        for step in 0..40u64 {
            let started = init.run(&["sleep", "20"]).start();
            let until = crate::support::now() + Duration::from_micros(step * 100);
            while crate::support::now() < until {
                std::hint::spin_loop();
            }
            started.signal(libc::SIGTERM);
            started.wait(SOON).expect_code(143);
        }
    });
}

#[test]
fn a_kill_of_the_child_is_137() {
    case("KILL of the child", |init| {
        let started = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).start();
        started.wait_for_output("ready");
        let child = *started.children().first().expect("no child");
        assert!(crate::support::kill(child, libc::SIGKILL));
        let done = started.wait(SOON).expect_code(137);
        assert!(!done.signalled);
    });
}

#[test]
fn a_child_that_ignores_term_is_left_alone() {
    case("child ignores TERM", |init| {
        let command = "trap '' TERM; echo ready; sleep 0.5; sleep 0.5; exit 11";
        let started = init.run(&["sh", "-c", command]).start();
        started.wait_for_output("ready");
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(11);
    });
}

#[test]
fn the_whole_group_can_get_the_signal() {
    case_with(
        "process group",
        |init| init.group,
        |init, options| {
            let started = init.child(options, &["group"]).start();
            started.wait_for_output("ready");
            started.signal(libc::SIGTERM);
            let done = started.wait(SOON).expect_code(0);
            assert!(done.stdout().contains("\nchild got it"), "{}", done.stdout());
            assert!(done.stdout().contains("grandchild got it"), "{}", done.stdout());
        },
    );
}

#[test]
fn the_child_alone_can_get_the_signal() {
    case_with(
        "single child",
        |init| init.single_child,
        |init, options| {
            let started = init.child(options, &["group"]).start();
            started.wait_for_output("ready");
            started.signal(libc::SIGTERM);
            let done = started.wait(SOON).expect_code(0);
            assert!(done.stdout().contains("child got it"), "{}", done.stdout());
            assert!(done.stdout().contains("grandchild did not"), "{}", done.stdout());
        },
    );
}

#[test]
fn a_signal_can_be_rewritten_or_dropped() {
    case_with(
        "rewrite",
        |init| init.rewrite,
        |init, option| {
            let options = [option, "15:3", option, "10:0"];
            let started = init.child(&options, &["count", "2"]).start();
            started.wait_for_output("ready");
            started.signal(libc::SIGUSR1);
            started.signal(libc::SIGTERM);
            assert!(wait_until(SOON, || got(&started, libc::SIGQUIT) == 1));
            started.signal(libc::SIGHUP);
            let done = started.wait(SOON).expect_code(0);
            assert!(!done.stdout().contains("10 "), "a dropped signal arrived: {}", done.stdout());
        },
    );
}

#[test]
fn a_stop_suspends_both_and_a_continue_resumes_both() {
    case("stop and continue", |init| {
        // A job of its own, whose parent could continue it: else stopping would be for ever.
        let started = init.child(&[], &["tick"]).state("--own-group").start();
        started.wait_for_output("tick 3");
        let (own, child) = (started.pid(), *started.children().first().expect("no child"));
        let state = |pid, letter: char| {
            move || {
                crate::support::status_line(pid, "State")
                    .is_some_and(|text| text.starts_with(letter))
            }
        };
        for signal in [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
            started.signal(signal);
            assert!(wait_until(SOON, state(child, 'T')), "{signal}: the child is not stopped");
            assert!(wait_until(SOON, state(own, 'T')), "{signal}: the init is not stopped");
            let before = started.stdout().lines().count();
            started.signal(libc::SIGCONT);
            assert!(
                wait_until(SOON, || started.stdout().lines().count() > before + 3),
                "{signal}: no tick any more"
            );
            assert!(wait_until(SOON, || !state(own, 'T')()), "{signal}: the init stays stopped");
        }
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn a_log_that_nobody_reads_any_more_is_no_signal_to_the_child() {
    case("log without reader", |init| {
        let started = init.child(&[], &["count", "1"]).state("--unread=2").start();
        started.wait_for_output("ready");
        started.signal(libc::SIGUSR1);
        assert!(wait_until(SOON, || got(&started, libc::SIGUSR1) == 1), "{}", started.stdout());
        let done = started.wait(SOON).expect_code(0);
        assert_eq!(done.stdout().matches("13 ").count(), 0, "{}", done.stdout());
    });
}

/// glibc keeps 32 and 33 for its threads; somebody else may send them all the same. They end a
/// child that knows nothing of them.
#[test]
fn the_two_signals_that_glibc_hides_are_handed_on() {
    case("hidden signals", |init| {
        for number in [32, 33] {
            let started = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).start();
            started.wait_for_output("ready");
            started.signal(number);
            let done = started.wait(SOON).expect_code(128 + number);
            assert!(!done.signalled, "signal {number}: the init itself was killed");
        }
    });
}
