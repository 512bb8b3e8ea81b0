//! The log and the raw copy when their readers do not read, go away, or have no room: the program
//! notices nothing, and what is lost is counted and told.

use crate::support::{self, Done, Run, TempDir, helper, is_root, python, skip};
use serde_json::Value;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

fn goinit(options: &[&str], script: &str) -> Run {
    let run = Run::goinit().arg("--termination-log=none").args(options);
    run.args(["--", "sh", "-c", script])
}

/// goinit with a log in a file of a small disk, on which a `ballast` leaves little room.
fn on_a_small_disk(place: &TempDir, kib: u32, options: &[&str], script: &str) -> Run {
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.display();
    let mount = format!("mount -t tmpfs -o size={kib}k goinit {disk} && cd {disk}");
    let command = "\"$@\" 2>log; code=$?; cat log >&2; exit $code";
    let run = Run::new("sh").args(["-c", command, "sh"]).arg(support::goinit());
    let run = run.arg("--termination-log=none").args(options).args(["--", "sh", "-c", script]);
    run.mounts(&mount)
}

#[track_caller]
fn number(record: &Value, path: &str) -> u64 {
    record.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn messages(done: &Done) -> Vec<String> {
    let text = |record: &Value| record["message"].as_str().unwrap_or_default().to_owned();
    done.named("child.line").iter().map(text).collect()
}

/// CPU time of a process in clock ticks, of which a second has a hundred.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_log_that_cannot_be_written_costs_nothing() {
    for redirection in ["2>/dev/full", "2>&-", "2>&3 3>&-"] {
        // Descriptor 3 is a pipe whose reader has gone.
        let command = "exec 3>\"$GONE\"; \"$@\" REDIRECTION & echo $!; wait $!; exit $?";
        let place = TempDir::new();
        let gone = place.path("gone");
        Run::new("mkfifo").arg(&gone).finish().expect_code(0);
        let reader = Run::new("sh").args(["-c", "exec 3<\"$0\"; sleep 0.1"]).arg(&gone).start();
        let script = "echo one >&2; sleep 0.4; echo two >&2; \
                      while ! test -e \"$0\"; do sleep 0.05; done; echo through; exit 7";
        let run = Run::new("sh").args(["-c", &command.replace("REDIRECTION", redirection), "sh"]);
        let run = run.arg(support::goinit()).args(["--termination-log=none", "--", "sh", "-c"]);
        let flag = place.path("flag");
        let started = run.arg(script).arg(&flag).env("GONE", &gone).start();
        started.wait_for_output("\n");
        let pid: u32 = started.stdout().trim().parse().unwrap();
        reader.wait(LIMIT).expect_code(0);
        let child = support::wait_for(LIMIT, || support::children(pid).first().copied());
        assert!(child.is_some(), "{redirection}: no child");
        // Two seconds of the machine's time, in which the log fails twice.
        let begin = support::now();
        support::wait_until(Duration::from_secs(2), || begin.elapsed() > Duration::from_secs(2));
        let spent = ticks(pid);
        assert!(spent < 50, "{redirection}: {spent} ticks of CPU time");
        fs::write(&flag, "").unwrap();
        let done = started.wait(LIMIT).expect_code(7);
        assert!(done.stdout().contains("through"), "{redirection}: {}", done.stdout());
    }
}

#[test]
fn a_log_on_a_full_disk_goes_on_when_there_is_room_again() {
    if !is_root() {
        return skip("only root can mount a small disk");
    }
    let place = TempDir::new();
    let script = "head -c 30000 /dev/zero >ballast; i=0; \
                  while [ $i -lt 400 ]; do echo \"line $i\" >&2; i=$((i+1)); done; \
                  sleep 0.3; rm ballast; echo after >&2; sleep 0.3; echo last >&2; exit 9";
    let done = on_a_small_disk(&place, 64, &[], script).finish().expect_code(9);
    let told = done.named("goinit.dropped");
    assert_eq!(told.len(), 1, "{}", done.stderr());
    let lost = number(&told[0], "/dropped/unwritten");
    assert!(told[0]["message"].as_str().unwrap().contains("the disk is full"), "{}", told[0]);
    assert_eq!(lost, number(&told[0], "/dropped/lines"));
    let lines = messages(&done);
    let written = lines.iter().filter(|line| line.starts_with("line ")).count();
    assert!(written > 20, "{written}");
    // Of the records that were lost only lines are the program's: the log has no other here.
    assert_eq!(u64::try_from(written).unwrap() + lost, 400, "{}", done.stderr());
    assert!(lines.ends_with(&["after".into(), "last".into()]), "{lines:?}");
    let exit = &done.named("goinit.exit")[0];
    assert_eq!(number(exit, "/counters/dropped_lines"), lost);
    // A record that was cut off has a line of its own.
    for line in done.stderr().lines() {
        assert!(line.starts_with('{') && line.matches("{\"timestamp\"").count() <= 1, "{line}");
    }
}

#[test]
fn a_log_that_may_not_grow_ends_nothing() {
    let place = TempDir::new();
    let log = place.path("log");
    // The limit counts blocks of 512 bytes and holds for the program as well, which writes no file.
    let command = "ulimit -f 20; exec \"$@\" 2>\"$LOG\"";
    let script = "i=0; while [ $i -lt 200 ]; do echo line $i >&2; i=$((i+1)); done; exit 5";
    let run = Run::new("sh").args(["-c", command, "sh"]).arg(support::goinit());
    let run = run.args(["--termination-log=none", "--", "sh", "-c", script]).env("LOG", &log);
    run.finish().expect_code(5);
    assert_eq!(fs::metadata(&log).unwrap().len(), 20 * 512);
}

#[test]
fn what_is_missing_in_a_raw_copy_is_told_to_the_byte() {
    if !is_root() {
        return skip("only root can mount a small disk");
    }
    let place = TempDir::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.display();
    let script = format!(
        "i=0; while [ $i -lt 3000 ]; do echo \"line $i of a program\" >&2; i=$((i+1)); done; \
         cp {disk}/raw {}; exit 9",
        place.path("copy").display()
    );
    let raw = format!("--raw={disk}/raw");
    let mount = format!("mount -t tmpfs -o size=16k goinit {disk}");
    let done = goinit(&[&raw], &script).mounts(&mount).finish().expect_code(9);
    let said: usize = messages(&done).iter().map(|line| line.len() + 1).sum();
    let copied = fs::read(place.path("copy")).unwrap();
    assert!(copied.starts_with(b"line 0 of a program\nline 1 ") && copied.len() == 16 << 10);
    let exit = &done.named("goinit.exit")[0];
    let lost = number(exit, "/counters/raw_lost_bytes");
    assert_eq!(u64::try_from(said - copied.len()).unwrap(), lost, "{exit}");
    assert_eq!(number(exit, "/counters/dropped_lines"), 0, "of the log itself");
    let told = done.named("goinit.dropped");
    assert_eq!(told.len(), 1, "{}", done.stderr());
    assert!(number(&told[0], "/dropped/raw_bytes") > 0, "{}", told[0]);
    assert!(told[0]["message"].as_str().unwrap().contains("the disk is full"), "{}", told[0]);
}

#[test]
fn a_raw_copy_that_fits_is_whole_before_the_end_is_told() {
    let place = TempDir::new();
    let raw = place.path("raw");
    let option = format!("--raw={}", raw.display());
    let script = "i=0; while [ $i -lt 2000 ]; do echo \"line $i\" >&2; i=$((i+1)); done";
    let done = goinit(&[&option], script).finish().expect_code(0);
    let expected: String = (0..2_000).map(|i| format!("line {i}\n")).collect();
    assert_eq!(fs::read_to_string(&raw).unwrap(), expected);
    let exit = &done.named("goinit.exit")[0];
    assert!(exit["counters"].get("raw_lost_bytes").is_none(), "{exit}");
}

/// Lines from `lines.py`, which says on its stdout when it is through.
fn lines(options: &[&str], plan: &[&str]) -> Run {
    let run = Run::goinit().arg("--termination-log=none").args(options).arg("--");
    run.args([python(), "-I", "-S"]).arg(helper("lines.py")).args(plan)
}

#[test]
fn debugging_is_given_up_before_lines_are_and_each_is_counted() {
    // 2.5 MB of records into a queue of one.
    let plan = ["level=debug:1500", "plain:1500", "level=debug:1500", "later:4000", "wait"];
    let started = lines(&[], &plan).stderr_unread().start();
    started.wait_for_output("through");
    assert!(started.stderr().is_empty(), "somebody read the log");
    started.read_on();
    let dropped = started.wait_for_record("goinit.dropped", LIMIT);
    started.signal(libc::SIGTERM);
    let done = started.wait(LIMIT);
    let told = done.named("goinit.dropped");
    let total = |path: &str| told.iter().map(|record| number(record, path)).sum::<u64>();
    let found = messages(&done);
    let count = |head: &str| {
        u64::try_from(found.iter().filter(|line| line.starts_with(head)).count()).unwrap()
    };
    let debug = total("/dropped/debug");
    assert_eq!(count("level=debug") + debug, 3_000, "{dropped}");
    assert_eq!(
        count("plain") + count("later") + total("/dropped/lines") - debug,
        5_500,
        "{dropped}"
    );
    assert_eq!(total("/dropped/own"), 0);
    let exit = &done.named("goinit.exit")[0];
    assert_eq!(number(exit, "/counters/dropped_lines"), total("/dropped/lines"));
    // What had left the queue before it was full could not be given up any more: what the pipe
    // and one write hold.
    assert!(count("level=debug") < 800, "{}", count("level=debug"));
    assert!(debug > 2_000 && total("/dropped/lines") > debug, "{dropped}");
    // What is there is in order: the newest lines are given up.
    let first = found.iter().filter(|line| line.starts_with("plain ")).enumerate();
    assert!({ first }.all(|(at, line)| line.starts_with(&format!("plain {at} "))));
}

#[test]
fn after_a_loss_the_log_is_complete_again() {
    let plan = ["plain:20000", "read", "plain:2000"];
    let place = TempDir::new();
    let gate = place.path("gate");
    let started = lines(&[], &plan).env("GATE", &gate).stderr_unread().start();
    started.wait_for_output("waits");
    started.read_on();
    started.wait_for_record("goinit.dropped", LIMIT);
    fs::write(&gate, "").unwrap();
    let done = started.wait(LIMIT).expect_code(0);
    let told = done.named("goinit.dropped");
    let lost: u64 = told.iter().map(|record| number(record, "/dropped/lines")).sum();
    let found = messages(&done);
    assert_eq!(u64::try_from(found.len()).unwrap() + lost, 22_000);
    let last: Vec<_> = (0..2_000).map(|i| format!("plain {i} ")).collect();
    let tail = &found[found.len() - 2_000..];
    assert!(tail.iter().zip(&last).all(|(line, head)| line.starts_with(head.as_str())));
    // A gap in the numbers is as long as what was told.
    let numbers: Vec<u64> = done.records().iter().map(|r| number(r, "/goinit/seq")).collect();
    let gaps: u64 = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    assert_eq!(gaps, lost);
}

#[test]
fn with_block_the_program_waits_and_nothing_is_lost() {
    for options in [&["--log-full=block"][..], &["--log-full=block", "--raw=stderr"]] {
        let plan = ["plain:9000", "short:5000"];
        let started = lines(options, &plan).stderr_unread().start();
        let child = support::wait_for(LIMIT, || started.children().first().copied()).unwrap();
        // It stands in write(2) and stays there.
        let waits = || {
            let wchan = fs::read_to_string(format!("/proc/{child}/wchan")).unwrap_or_default();
            wchan.contains("pipe_write")
        };
        assert!(support::wait_until(LIMIT, waits), "it does not wait");
        // What is held up hears signals all the same.
        started.signal(libc::SIGUSR1);
        started.wait_for_output("USR1");
        started.read_on();
        let done = started.wait(LIMIT).expect_code(0);
        let found = messages(&done);
        assert_eq!(found.len(), 14_000, "{options:?}");
        let heads = (0..9_000).map(|i| format!("plain {i} ")).chain((0..5_000).map(|_| "".into()));
        assert!(found.iter().zip(heads).all(|(line, head)| line.starts_with(&head)));
        assert!(done.named("goinit.dropped").is_empty());
        let exit = &done.named("goinit.exit")[0];
        assert_eq!(number(exit, "/counters/dropped_lines"), 0, "{exit}");
    }
}

#[test]
fn a_program_that_is_held_up_can_be_ended_and_its_code_is_told() {
    let started = lines(&["--log-full=block"], &["plain:30000"]).stderr_unread().start();
    let child = support::wait_for(LIMIT, || started.children().first().copied()).unwrap();
    let waits = || {
        let wchan = fs::read_to_string(format!("/proc/{child}/wchan")).unwrap_or_default();
        wchan.contains("pipe_write")
    };
    assert!(support::wait_until(LIMIT, waits), "it does not wait");
    started.signal(libc::SIGTERM);
    // Nobody reads: goinit waits a moment for it, and then no more.
    let done = started.wait(LIMIT);
    assert_eq!(done.code, 143, "{}", done.stdout());
}

#[test]
fn a_stall_brings_the_last_64_snapshots_along_and_they_are_written_once() {
    let Some(path) = support::program("chan-recv", crate::run::VERSION) else { return };
    let options = ["--schedtrace=50ms", "--sched-log=off", "--stall-after=6s"];
    let started = crate::run::run(&options, &path).start();
    started.wait_for_record("goinit.stall", LIMIT);
    started.wait_for_record("goinit.verdict", LIMIT);
    started.signal(libc::SIGTERM);
    let done = started.wait(LIMIT);
    let all = done.records();
    let names: Vec<_> = all.iter().map(|record| record["event_name"].as_str().unwrap()).collect();
    let stall = names.iter().position(|name| *name == "goinit.stall").unwrap();
    let ring = names[..stall].iter().filter(|name| **name == "go.sched").count();
    assert_eq!(ring, 64);
    let since: Vec<u64> = all
        .iter()
        .filter(|record| record["event_name"] == "go.sched")
        .map(|record| number(record, "/sched/uptime_ms"))
        .collect();
    assert!(since.windows(2).all(|pair| pair[0] < pair[1]), "{since:?}");
    // Without a gap: none between them was written elsewhere.
    let steps = since.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(steps.max().unwrap() < 1_000, "{since:?}");
}
