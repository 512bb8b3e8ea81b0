//! The watchdog on real programs: every kind of stall, reports that become rarer, and time that is
//! not the program's silence.

use crate::run::{VERSION, run};
use crate::support::{self, Group, Run, Started, is_root, program, skip};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// How long a report may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

fn watched(name: &str, options: &[&str]) -> Option<Run> {
    let path: PathBuf = program(name, VERSION)?;
    Some(run(&[&["--stall-after=2s"], options].concat(), &path))
}

/// The first `goinit.stall` says this kind.
fn check(kind: &str, started: &Started) {
    let record = started.wait_for_record("goinit.stall", LIMIT);
    assert_eq!(record["stall"]["kind"], kind, "{record}\n{}", started.stderr());
    let lasted = record["stall"]["for_ms"].as_u64().unwrap();
    assert!((2_000..20_000).contains(&lasted), "{record}");
    assert_eq!(
        (&record["stall"]["report"], &record["stall"]["threshold_ms"]),
        (&1.into(), &2_000.into())
    );
}

#[test]
fn each_kind_of_stall_is_told_by_what_stopped() {
    let Some(idle) = watched("chan-recv", &[]) else { return };
    let Some(silent) = watched("sigstop", &[]) else { return };
    let Some(threads) = watched("hangs", &[]) else { return };
    let (idle, silent) = (idle.start(), silent.start());
    let threads = threads.env("HANG_MODE", "threads").start();
    check("idle", &idle);
    check("threads", &threads);
    let record = silent.wait_for_record("goinit.stall", LIMIT);
    assert_eq!(record["stall"]["kind"], "silent", "{record}");
}

#[test]
fn what_burns_cpu_is_told_by_queues_and_by_a_world_that_does_not_stop() {
    let Some(spinning) = watched("nopreempt-gc", &[]) else { return };
    let Some(stw) = watched("nopreempt-gc", &["--scheddetail"]) else { return };
    let Some(starved) = watched("starved", &[]) else { return };
    // What computes is described, and is no stall: only the verdict tells.
    let spinning = spinning.start();
    let described = spinning.wait_for_record("goinit.verdict", LIMIT);
    assert!(described["message"].as_str().unwrap().contains("main.spin"), "{described}");
    drop(spinning);
    check("stw", &stw.env("GODEBUG", "asyncpreemptoff=1").start());
    let Some(group) = Group::cpu(10_000) else { return };
    let starved = starved.env("GOMAXPROCS", "1").in_group(&group).start();
    let record = starved.wait_for_record("goinit.stall", LIMIT);
    // With so little quota even the heartbeat can be late.
    let kind = record["stall"]["kind"].as_str().unwrap_or_default();
    assert!(kind == "starved" || kind == "silent", "{record}");
}

#[test]
fn a_stall_that_lasts_is_reported_again_after_twice_and_four_times_the_patience() {
    let Some(path) = program("chan-recv", VERSION) else { return };
    let started = run(&["--stall-after=1s"], &path).start();
    let reports = || -> Vec<(u64, u64, u64)> {
        let number = |value: &Value| value.as_u64().unwrap();
        started
            .records()
            .iter()
            .filter(|r| r["event_name"] == "goinit.stall")
            .map(|r| &r["stall"])
            .map(|s| (number(&s["report"]), number(&s["threshold_ms"]), number(&s["for_ms"])))
            .collect()
    };
    assert!(support::wait_until(LIMIT, || reports().len() >= 3), "{}", started.stderr());
    for (number, threshold, lasted) in reports() {
        // The patience is never below two and a half heartbeats for silence, and 1 s for the rest.
        assert_eq!(threshold, 1_000 << (number - 1), "report {number}");
        assert!(lasted >= threshold && lasted < threshold + 8_000, "report {number}: {lasted} ms");
    }
    let verdicts = started.records().iter().filter(|r| r["event_name"] == "goinit.verdict").count();
    assert!(verdicts >= 3, "{}", started.stderr());
}

#[test]
fn time_in_which_nobody_could_run_is_no_silence() {
    let Some(path) = program("ok-cpu", VERSION) else { return };
    // It says something every second; its silence would be an accusation.
    let options = ["--stall-after=2s", "--on-stall=exit"];
    let stopped = run(&options, &path).env("SCN_WORKERS", "1").start();
    stopped.wait_for_record("go.sched", LIMIT);
    // goinit itself stops: nobody reads, nobody looks. The program goes on, up to a full pipe.
    stopped.signal(libc::SIGSTOP);
    support::wait_until(Duration::from_secs(5), || false);
    stopped.signal(libc::SIGCONT);
    let frozen = freezer().map(|group| {
        let started = run(&options, &path).env("SCN_WORKERS", "1").in_group(&group).start();
        started.wait_for_record("go.sched", LIMIT);
        freeze(&group, true);
        support::wait_until(Duration::from_secs(5), || false);
        freeze(&group, false);
        (started, group)
    });
    support::wait_until(Duration::from_secs(5), || false);
    for started in [Some(stopped), frozen.map(|(started, _)| started)].into_iter().flatten() {
        started.signal(libc::SIGTERM);
        let done = started.wait(Duration::from_secs(20));
        assert!(done.named("goinit.stall").is_empty(), "{}", done.stderr());
        assert!(done.named("goinit.verdict").is_empty(), "{}", done.stderr());
    }
}

#[test]
fn a_program_that_is_frozen_alone_is_called_stopped() {
    let Some(group) = freezer() else { return };
    let Some(path) = program("ok-cpu", VERSION) else { return };
    let options = ["--stall-after=2s", "--on-stall=exit"];
    let started = run(&options, &path).env("SCN_WORKERS", "1").start();
    started.wait_for_record("go.sched", LIMIT);
    let child = started.children()[0];
    std::fs::write(group.path.join("cgroup.procs"), child.to_string()).unwrap();
    freeze(&group, true);
    let record = started.wait_for_record("goinit.verdict", LIMIT);
    freeze(&group, false);
    assert_eq!(record["verdict"]["class"], "stopped", "{record}");
    assert!(record["message"].as_str().unwrap().contains("frozen"), "{record}");
    started.wait_for_record("goinit.recover", LIMIT);
}

fn freezer() -> Option<Group> {
    if !is_root() {
        skip("freezing needs root");
        return None;
    }
    Group::freezer()
}

/// Freezes or thaws; v1 and v2 have a file each.
fn freeze(group: &Group, on: bool) {
    let (v1, v2) = (group.path.join("freezer.state"), group.path.join("cgroup.freeze"));
    if v1.exists() {
        std::fs::write(v1, if on { "FROZEN" } else { "THAWED" }).unwrap();
    } else {
        std::fs::write(v2, if on { "1" } else { "0" }).unwrap();
    }
}

/// A slice of the live matrix: programs with many modes, the oldest and the newest Go, as root and as
/// an unprivileged user. `scripts/matrix` runs all of it.
#[test]
fn a_slice_of_the_live_matrix_is_right() {
    if !is_root() {
        return skip("needs root: namespaces and two users");
    }
    let script = std::path::Path::new(support::PROJECT).join("scripts/matrix");
    if support::shared("scenarios").is_none() {
        return;
    }
    let cases = ["hangs-", "sync-stuck-", "fifo-wait-", "crash-", "deadlock-", "healthy"];
    let run = Run::new(script).args(["--versions=1.19,1.27", "--jobs=16", "--bin"]);
    let done = run.arg(support::goinit()).args(cases).start().wait(Duration::from_secs(600));
    println!("{}", done.stdout());
    assert_eq!(done.code, 0, "{}\n{}", done.stdout(), done.stderr());
}
