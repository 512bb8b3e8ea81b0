//! The run form on real Go programs: how they end, what limits they get, and a log that nobody
//! reads.

use crate::support::{self, Done, Group, Run, TempDir, program, skip};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The toolchains that programs are built with.
pub(crate) const VERSIONS: [&str; 5] = ["1.19", "1.21", "1.24", "1.25", "1.27"];
/// The one for what does not depend on it.
pub(crate) const VERSION: &str = "1.25";

/// goinit with options, then a command.
pub(crate) fn run(options: &[&str], command: &Path) -> Run {
    let run = Run::goinit().env("GOINIT_TERMINATION_LOG", "none");
    run.args(options).arg("--").arg(command)
}

/// goinit and a program where every user can reach them.
struct Stage {
    place: TempDir,
}

impl Stage {
    fn new(command: &Path) -> Self {
        let place = TempDir::new();
        for (from, name) in [(&support::goinit(), "goinit"), (&command.to_path_buf(), "command")] {
            fs::copy(from, place.path(name)).unwrap();
        }
        Self { place }
    }

    fn run(&self) -> Run {
        let run = Run::new(self.place.path("goinit")).env("GOINIT_TERMINATION_LOG", "none");
        run.arg("--").arg(self.place.path("command"))
    }
}

/// What holds for every log: it begins with the start, ends with the exit, and has no gap.
#[track_caller]
pub(crate) fn whole(done: &Done) {
    let records = done.records();
    assert_eq!(records[0]["event_name"], "goinit.start", "{}", done.stderr());
    assert_eq!(records.last().unwrap()["event_name"], "goinit.exit", "{}", done.stderr());
    let ours: Vec<_> = records.iter().filter(|record| record.get("goinit").is_some()).collect();
    for (number, record) in (1u64..).zip(&ours) {
        assert_eq!(record["goinit"]["seq"], number, "{record}");
        assert_eq!(record["goinit"]["run"], ours[0]["goinit"]["run"], "{record}");
    }
    let last = done.stderr_bytes().rsplit(|byte| *byte == b'\n').nth(1).unwrap_or_default();
    assert!(last.len() <= 1_024, "the last record has {} bytes", last.len());
}

/// The last record says this.
#[track_caller]
pub(crate) fn ended(done: &Done, code: i32, cause: &str, by: &str) {
    let exit = done.named("goinit.exit").pop().unwrap_or_default();
    assert_eq!(exit["exit"]["code"], code, "{exit}");
    assert_eq!(exit["exit"]["cause"], cause, "{exit}");
    assert_eq!(exit["exit"]["by"], by, "{exit}");
    assert_eq!(done.code, code, "{exit}");
}

/// Whether a line of the program with this text is in the log.
pub(crate) fn said(done: &Done, text: &str) -> bool {
    done.named("child.line").iter().any(|line| line["message"] == text)
}

#[test]
fn a_healthy_program_keeps_its_code_its_output_and_its_last_words() {
    for version in VERSIONS {
        let Some(healthy) = program("healthy", version) else { continue };
        for (code, cause) in [(0, "completed"), (7, "failed")] {
            let run = run(&[], &healthy).env("PROGRAM_CODE", code.to_string());
            let done = run.env("PROGRAM_OUT", "1").env("PROGRAM_TAIL", "1").finish();
            whole(&done);
            ended(&done, code, cause, "child");
            assert_eq!(done.stdout(), "this goes to standard output\n", "Go {version}");
            assert!(said(&done, "last words"), "Go {version}: {}", done.stderr());
            let start = &done.records()[0];
            let name = start["go"]["version"].as_str().unwrap_or_default();
            assert!(name.starts_with(&format!("go{version}")), "{start}");
        }
    }
}

#[test]
fn sigterm_reaches_a_graceful_program_and_its_code_comes_back() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    for code in [0, 5] {
        let run = run(&[], &healthy).env("PROGRAM_MS", "60000");
        let started = run.env("PROGRAM_TERM_CODE", code.to_string()).start();
        started.wait_for_text("started with");
        started.signal(libc::SIGTERM);
        let done = started.wait(Duration::from_secs(10));
        whole(&done);
        ended(&done, code, if code == 0 { "completed" } else { "failed" }, "child");
        assert!(said(&done, "stopping gracefully on terminated"), "{}", done.stderr());
        assert_eq!(done.named("goinit.signal")[0]["signal"]["name"], "SIGTERM");
    }
}

#[test]
fn a_signal_through_goinit_is_no_crash_and_any_other_is() {
    let Some(sleeper) = program("ok-sleep", VERSION) else { return };
    let message = TempDir::new();
    let file = message.0.join("message");
    for (direct, class, verdicts) in [(true, "crashed", 1), (false, "stopped", 0)] {
        fs::write(&file, "").unwrap();
        let option = format!("--termination-log={}", file.display());
        let started = run(&[&option], &sleeper).start();
        started.wait_for_record("go.sched", Duration::from_secs(20));
        if direct {
            assert!(support::kill(started.children()[0], libc::SIGTERM));
        } else {
            started.signal(libc::SIGTERM);
        }
        let done = started.wait(Duration::from_secs(10));
        whole(&done);
        ended(&done, 143, "signal", "signal");
        let exit = done.named("goinit.exit").pop().unwrap();
        assert_eq!(exit["verdict"]["class"], class, "{exit}");
        let told = done.named("goinit.verdict");
        assert_eq!(told.len(), verdicts, "{}", done.stderr());
        assert!(told.iter().all(|told| told["severity"] == "ERROR"), "{told:?}");
        let unknown = exit["message"].as_str().unwrap().contains("does not know who sent it");
        assert_eq!(unknown, direct, "{exit}");
        let report = Run::goinit().args(["report", "--json", "-"]).stdin(done.stderr_bytes());
        let report: Value = serde_json::from_str(&report.finish().stdout()).unwrap();
        let said = (&report["verdict"]["class"], &report["verdict"]["cause"]);
        assert_eq!((said.0.as_str(), said.1.as_str()), (Some(class), Some("signal")), "{report}");
        let left = fs::read_to_string(&file).unwrap();
        assert!(left.starts_with(exit["message"].as_str().unwrap()), "{left}");
        assert!(left.contains(r#""verdict":"signal""#), "{left}");
    }
    let Some(crash) = program("crash", VERSION) else { return };
    let done = run(&[], &crash).env("SCN_MODE", "sigsegv").finish();
    let exit = done.named("goinit.exit").pop().unwrap();
    assert_eq!(exit["verdict"]["class"], "crashed", "{exit}");
}

#[test]
fn an_oom_kill_is_told_from_any_other_sigkill() {
    let Some(eater) = program("oom-kill", VERSION) else { return };
    let Some(group) = Group::memory(64 << 20) else { return };
    let done = run(&[], &eater).in_group(&group).start().wait(Duration::from_secs(60));
    whole(&done);
    ended(&done, 137, "oom_killed", "kernel");
    let start = &done.records()[0];
    assert!(start["go"]["memory"]["limit"].as_u64().is_some_and(|limit| limit < 64 << 20));

    let started = run(&[], &eater).env("SCN_STEP", "1").start();
    started.wait_for_text("loaded 2 MiB");
    assert!(support::kill(started.children()[0], libc::SIGKILL));
    ended(&started.wait(Duration::from_secs(10)), 137, "signal", "signal");
}

/// The program itself counts its processors: Go 1.24 does not know CPU quotas.
#[track_caller]
fn one_processor(done: &Done) {
    assert!(said(done, "started with 1 processors"), "{}\n{}", done.code, done.stderr());
    assert_eq!(done.code, 0, "{}", done.stderr());
}

#[test]
fn half_a_cpu_in_a_control_group_of_this_machine_gives_one_processor() {
    let Some(healthy) = program("healthy", "1.24") else { return };
    let Some(group) = Group::cpu(50_000) else { return };
    let done = run(&[], &healthy).in_group(&group).finish();
    one_processor(&done);
    whole(&done);
    // What the user says is kept.
    let done = run(&[], &healthy).in_group(&group).env("GOMAXPROCS", "3").finish();
    assert!(said(&done, "started with 3 processors"), "{}", done.stderr());
}

#[test]
fn half_a_cpu_under_cgroup_v2_gives_one_processor() {
    let Some(healthy) = program("healthy", "1.24") else { return };
    let (healthy, goinit) = (healthy.display().to_string(), support::goinit());
    let options = ["--cpus", "0.5", "--timeout", "180", "--copy", &healthy, "--"];
    let command = [goinit.to_str().unwrap(), "--", "./healthy"];
    let Some(done) = support::v2(options.into_iter().chain(command)) else { return };
    one_processor(&done);
    assert_eq!(done.records()[0]["cgroup"]["version"], 2, "{}", done.stderr());
}

/// The snapshots of a log: uptime in ms, and what counts as the picture.
fn pictures(done: &Done) -> Vec<(u64, [u64; 2], bool)> {
    let snapshots = done.named("go.sched");
    let one = |record: &Value| {
        let sched = &record["sched"];
        let count = |name: &str| sched[name].as_u64().unwrap();
        let queued = count("runqueue") + sched["runq_local_sum"].as_u64().unwrap_or(0) > 0;
        let idle = u64::from(count("idleprocs") == count("gomaxprocs"));
        (count("uptime_ms"), [idle, count("threads")], queued)
    };
    snapshots.iter().map(one).collect()
}

#[test]
fn snapshots_are_thinned_as_asked_and_all_are_counted() {
    let Some(path) = program("idle-server", VERSION) else { return };
    let limit = Duration::from_secs(60);
    for (option, seconds) in [("all", 2), ("off", 2), ("change", 31)] {
        let option = format!("--sched-log={option}");
        let started = run(&["--schedtrace=100ms", "--stall-after=0", &option], &path).start();
        let begin = support::now();
        support::wait_until(limit, || begin.elapsed() >= Duration::from_secs(seconds));
        started.signal(libc::SIGTERM);
        let done = started.wait(limit);
        whole(&done);
        let counted = done.named("goinit.exit")[0]["counters"]["sched_lines"].as_u64().unwrap();
        let found = pictures(&done);
        let written = u64::try_from(found.len()).unwrap();
        assert!(counted >= seconds * 3, "{counted} heartbeats in {seconds} s");
        match &*option {
            "--sched-log=all" => assert_eq!(written, counted),
            "--sched-log=off" => assert_eq!(written, 0),
            _ => {
                assert!(written >= 2 && written < counted / 4, "{written} of {counted}");
                for pair in found.windows(2) {
                    let [(before, old, queue), (after, new, queued)] = pair else { continue };
                    let changed = old != new || queue != queued;
                    assert!(changed || after - before >= 29_000, "{found:?}");
                }
            }
        }
    }
}

/// Starts a flood whose log nobody reads, and reads on once the program is through with it.
fn flood(options: &[&str], lines: u64) -> Option<Done> {
    let flood = program("flood", VERSION)?;
    let run = run(options, &flood).env("FLOOD_LINES", lines.to_string()).stderr_unread();
    let started = run.start();
    let through = || started.stdout().contains("still running");
    let limit = Duration::from_secs(30);
    assert!(support::wait_until(limit, through), "the program froze: {}", started.stdout());
    assert!(started.stderr().is_empty(), "somebody read the log");
    started.read_on();
    started.wait_for_record("goinit.dropped", Duration::from_secs(10));
    started.signal(libc::SIGTERM);
    Some(started.wait(Duration::from_secs(10)))
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_every_lost_line_is_counted() {
    const LINES: u64 = 50_000;
    // Without snapshots, lines are all that can be lost.
    let Some(done) = flood(&["--sched-log=off"], LINES) else { return };
    ended(&done, 0, "completed", "child");
    let text = done.named("child.line");
    let text = text.iter().filter(|line| line["message"].as_str().unwrap().starts_with("flood"));
    let json = done.records().iter().filter(|record| record.get("flood").is_some()).count();
    let read = u64::try_from(text.count() + json).unwrap();
    let exit = done.named("goinit.exit").pop().unwrap();
    let dropped = exit["counters"]["dropped_lines"].as_u64().unwrap();
    assert!(read > 1_000 && dropped > 10_000, "{read} read, {dropped} dropped");
    assert_eq!(read + dropped, LINES, "{read} read, {dropped} dropped");
}

#[test]
fn a_sandbox_that_kills_for_an_unusual_call_does_not_kill_in_a_flood() {
    let Some(flood) = program("flood", VERSION) else { return };
    // Without a filter, too: the child that tries is nobody's orphan.
    for state in [None, Some(format!("--deadly={}", libc::SYS_splice))] {
        let mut run = run(&["--log-full=block"], &flood).env("FLOOD_LINES", "20000");
        if let Some(state) = state {
            run = run.state(state);
        }
        let started = run.start();
        let through = || started.stdout().contains("still running");
        assert!(support::wait_until(Duration::from_secs(30), through), "{}", started.stderr());
        started.signal(libc::SIGTERM);
        let done = started.wait(Duration::from_secs(10));
        whole(&done);
        ended(&done, 0, "completed", "child");
        let exit = done.named("goinit.exit").pop().unwrap();
        assert_eq!(exit["counters"]["orphans"], 0, "{exit}");
    }
}

#[test]
fn lost_snapshots_are_counted_apart_from_lost_lines() {
    const LINES: u64 = 20_000;
    let options = ["--stderr=wrap", "--sched-log=all", "--schedtrace=20ms"];
    let Some(done) = flood(&options, LINES) else { return };
    let exit = done.named("goinit.exit").pop().unwrap();
    let count = |name: &str| exit["counters"][name].as_u64().unwrap();
    let read = u64::try_from(done.records().len()).unwrap();
    let lost = count("dropped_lines") + count("dropped_snapshots");
    assert!(count("dropped_lines") > 1_000, "{exit}");
    assert_eq!(read + lost, exit["goinit"]["seq"].as_u64().unwrap(), "{read} read; {exit}");
}

/// The command ended with 7, and the log says so.
#[track_caller]
fn seven(done: &Done) {
    whole(done);
    ended(done, 7, "failed", "child");
    assert!(said(done, "done"), "{}", done.stderr());
}

#[test]
fn it_runs_as_another_user_with_no_right_to_anything() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    if !support::is_root() {
        return skip("changing the user needs root");
    }
    let stage = Stage::new(&healthy);
    let run = stage.run().env("PROGRAM_CODE", "7").uid(65_532).state("--no-new-privs");
    seven(&run.finish());
}

#[test]
fn it_runs_with_a_read_only_root() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    if !support::is_root() {
        return skip("a mount namespace needs root");
    }
    let stage = Stage::new(&healthy);
    let probe = PathBuf::from("/goinit-read-only-probe");
    let script = "mount -o remount,ro,bind / && ! touch /goinit-read-only-probe 2>/dev/null || \
                  exit 99";
    seven(&stage.run().env("PROGRAM_CODE", "7").mounts(script).finish());
    assert!(!probe.exists());
}

#[test]
fn it_runs_without_proc_as_pid_1_and_as_any_other_process() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    if !support::is_root() {
        return skip("a mount namespace needs root");
    }
    let script = "umount -l /proc && ! test -e /proc/self || exit 99";
    let run = || run(&[], &healthy).env("PROGRAM_CODE", "7").mounts(script);
    seven(&run().finish());
    // In its own PID namespace /proc is mounted twice: ours below its own.
    let twice = "umount -l /proc; umount -l /proc; ! test -e /proc/self || exit 99";
    seven(&run().mounts(twice).pid_1().finish());
}

#[test]
fn closed_standard_descriptors_change_nothing_about_the_run() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    for close in ["--close=0", "--close=1", "--close=0,1", "--close=2", "--close=0,1,2"] {
        let done = run(&[], &healthy).env("PROGRAM_CODE", "7").state(close).finish();
        assert_eq!(done.code, 7, "{close}: {}", done.stderr());
        if close.ends_with('2') {
            assert!(done.stderr().is_empty(), "{close}: {}", done.stderr());
        } else {
            seven(&done);
        }
    }
}

#[test]
fn an_empty_environment_and_a_relative_path_are_enough() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    let stage = Stage::new(&healthy);
    let run = Run::new(stage.place.path("goinit")).args(["--", "./command"]).clear_env();
    let run = run.env("GOINIT_TERMINATION_LOG", "none").env("PROGRAM_CODE", "7");
    let mut directory = std::ffi::OsString::from("--chdir=");
    directory.push(&stage.place.0);
    seven(&run.state(directory).finish());
}

/// The program keeps its terminal, and whoever sits there does not want a log on it.
#[test]
fn on_a_terminal_an_end_of_the_programs_own_is_not_told() {
    let shown = |options: &[&str], script: &str| {
        let run =
            Run::new(support::python()).args(["-I", "-S"]).arg(support::helper("terminal.py"));
        let run =
            run.arg("--").arg(support::goinit()).args(options).args(["--", "sh", "-c", script]);
        run.env("GOINIT_TERMINATION_LOG", "none").finish().stdout()
    };
    assert_eq!(shown(&[], "echo hello; exit 3"), "hello\r\n[end 3]\n");
    assert_eq!(shown(&[], "kill -INT $$"), "[end 130]\n");
    let deadline = shown(&["--timeout=200ms"], "sleep 60");
    assert!(deadline.contains("goinit.exit") && deadline.contains("[end 124]"), "{deadline}");
}
