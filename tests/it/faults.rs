//! What can go wrong with the diagnosis: the run goes on, and the reason stands in the log.

use crate::run::{VERSION, ended, run, whole};
use crate::support::{self, Done, Group, Run, Started, is_root, program, skip};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);

/// A program that hangs, under goinit.
fn stuck(options: &[&str]) -> Option<Run> {
    let path = program("chan-recv", VERSION)?;
    Some(run(&[&["--stall-after=2s", "--grace=3s"], options].concat(), &path))
}

/// The evidence process, as soon as it is there.
fn evidence(goinit: &Started) -> u32 {
    let own = goinit.pid();
    let found = support::wait_for(LIMIT, || {
        let is = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(10).any(|window| window == b"__evidence")
        };
        support::children(own).into_iter().find(is)
    });
    found.unwrap_or_else(|| panic!("no evidence process\n{}", goinit.stderr()))
}

/// Which sources did not answer, as the last record of the evidence says.
fn missing(started: &Started) -> String {
    let with = |record: &Value| {
        let list = record["goinit"]["evidence"]["missing"].as_array()?;
        Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "))
    };
    let found = support::wait_for(LIMIT, || started.records().iter().find_map(with));
    found.unwrap_or_else(|| panic!("no reason\n{}", started.stderr()))
}

/// A stuck program whose evidence process was sent a signal before it had told anything of weight,
/// and that process; nothing without the program. One that was quicker is another try.
fn disturbed(signal: i32) -> Option<(Started, u32)> {
    for _ in 0..10 {
        let started = stuck(&[])?.start();
        let disturbed = evidence(&started);
        support::kill(disturbed, signal);
        // Whatever became of it, the verdict does not wait for it longer than its deadline.
        let verdict = started.wait_for_record("goinit.verdict", Duration::from_secs(20));
        if verdict["verdict"]["class"] != "ok" {
            return Some((started, disturbed));
        }
    }
    panic!("the evidence process is always quicker than its signal");
}

/// After all of it the program still runs, and goinit passes on what ends it.
fn goes_on(started: Started) -> Done {
    let verdict = started.wait_for_record("goinit.verdict", LIMIT);
    assert_ne!(verdict["verdict"]["class"], "ok", "{verdict}");
    started.signal(libc::SIGTERM);
    let done = started.wait(Duration::from_secs(10));
    whole(&done);
    ended(&done, 143, "signal", "signal");
    done
}

#[test]
fn an_evidence_process_that_is_killed_is_a_reason() {
    let Some((started, _)) = disturbed(libc::SIGKILL) else { return };
    let why = missing(&started);
    assert!(why.contains("the evidence process failed (killed by SIGKILL)"), "{why}");
    goes_on(started);
}

#[test]
fn an_evidence_process_that_hangs_is_killed_at_its_deadline() {
    let Some((started, hangs)) = disturbed(libc::SIGSTOP) else { return };
    let why = missing(&started);
    assert!(why.contains("no answer before the deadline"), "{why}");
    let gone = || !std::path::Path::new(&format!("/proc/{hangs}")).exists();
    assert!(support::wait_until(Duration::from_secs(5), gone), "it is still there");
    goes_on(started);
}

#[test]
fn an_evidence_process_without_memory_takes_nobody_along() {
    let Some(run) = stuck(&[]) else { return };
    let Some(group) = Group::memory(1 << 20) else { return };
    let started = run.start();
    let starved = evidence(&started);
    support::kill(starved, libc::SIGSTOP);
    let moved = std::fs::write(group.path.join("cgroup.procs"), starved.to_string());
    support::kill(starved, libc::SIGCONT);
    if moved.is_err() {
        return skip("the evidence process was faster than the test");
    }
    // Killed by the kernel, or out of memory by itself: what was known until then counts.
    started.wait_for_record("goinit.verdict", LIMIT);
    goes_on(started);
}

#[test]
fn a_program_that_ends_meanwhile_is_not_waited_for() {
    let Some(run) = stuck(&["--on-stall=exit"]) else { return };
    let started = run.start();
    started.wait_for_record("go.sched", LIMIT);
    let child = started.children()[0];
    support::kill(evidence(&started), libc::SIGSTOP);
    support::kill(child, libc::SIGKILL);
    let done = started.wait(Duration::from_secs(4));
    whole(&done);
    ended(&done, 137, "signal", "signal");
    assert_eq!(done.verdict()["verdict"]["class"], "crashed", "{}", done.stderr());
}

#[test]
fn without_proc_the_runtimes_own_dump_tells() {
    if !is_root() {
        return skip("needs root: namespaces");
    }
    let hidden = |run: Run| run.pid_1().mounts("mount -t tmpfs none /proc");
    let Some(plain) = stuck(&[]) else { return };
    let Some(quits) = stuck(&["--on-stall=quit"]) else { return };
    let (plain, quits) = (hidden(plain).start(), hidden(quits).start());
    let why = missing(&plain);
    assert!(why.contains("goroutines: ") && why.contains("threads: "), "{why}");
    goes_on(plain);
    let done = quits.wait(LIMIT);
    whole(&done);
    ended(&done, 123, "stall", "goinit");
    let verdict = done.verdict();
    assert_eq!(verdict["verdict"]["cause"], "channel", "{}", done.stderr());
    let place = verdict["verdict"]["where"].as_str().unwrap();
    assert!(place.contains("main.waitForResult"), "{verdict}");
}

#[test]
fn a_proc_that_hides_other_users_hides_nothing_that_is_needed() {
    if !is_root() {
        return skip("needs root: namespaces");
    }
    let Some(run) = stuck(&[]) else { return };
    let run = run.pid_1().mounts("mount -o remount,hidepid=2 /proc");
    let started = run.uid(65_532).state("--no-new-privs").start();
    let verdict = started.wait_for_record("goinit.verdict", LIMIT);
    assert_eq!(verdict["verdict"]["cause"], "channel", "{}", started.stderr());
    assert!(verdict["verdict"]["where"].as_str().unwrap().contains("main.waitForResult"));
}
