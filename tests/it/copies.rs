//! What becomes of the program's stderr beside records: raw copies, raw and wrapped logs, a full
//! disk, a log that nobody can read.

use crate::support::{Run, TempDir, is_root, skip};
use std::fs;

const LINES: &str = "echo plain >&2; echo '{\"level\":\"info\"}' >&2; printf 'no end' >&2";

fn goinit(options: &[&str], script: &str) -> Run {
    let run = Run::goinit().arg("--termination-log=none").args(options);
    run.args(["--", "sh", "-c", script])
}

#[test]
fn every_line_is_repeated_as_it_was() {
    let done = goinit(&["--raw=stderr"], LINES).finish().expect_code(0);
    let log = done.stderr();
    let count = |line: &str| log.lines().filter(|one| *one == line).count();
    assert_eq!((count("plain"), count("no end")), (1, 1), "{log}");
    // Once as a copy and once passed through.
    assert_eq!(count("{\"level\":\"info\"}"), 2, "{log}");
    assert_eq!(done.named("child.line").len(), 2, "{log}");
}

#[test]
fn raw_and_wrapped_logs_differ_in_what_they_leave_alone() {
    let raw = goinit(&["--stderr=raw"], LINES).finish().expect_code(0);
    assert!(raw.stderr().contains("\nplain\n{\"level\":\"info\"}\nno end\n"), "{}", raw.stderr());
    assert!(raw.named("child.line").is_empty());
    let wrapped = goinit(&["--stderr=wrap"], LINES).finish().expect_code(0);
    let texts: Vec<_> = wrapped.named("child.line").iter().map(|r| r["message"].clone()).collect();
    assert_eq!(texts, ["plain", "{\"level\":\"info\"}", "no end"]);
}

#[test]
fn a_disk_that_is_full_loses_the_copy_and_nothing_else() {
    if !is_root() {
        return skip("only root can mount a small disk");
    }
    let place = TempDir::new();
    let disk = place.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.display();
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"line $i of a program that writes much\" >&2; \
                  i=$((i+1)); done; exit 9";
    let raw = format!("--raw={disk}/raw");
    let run = goinit(&[&raw], script).mounts(&format!("mount -t tmpfs -o size=16k goinit {disk}"));
    let done = run.finish().expect_code(9);
    let lines = done.named("child.line");
    assert_eq!(lines.len(), 3_000);
    assert_eq!(done.named("goinit.exit")[0]["counters"]["dropped_lines"], 0, "of the log itself");
}

#[test]
fn a_log_without_a_reader_ends_nothing() {
    for redirection in ["2>&-", "2>/dev/full"] {
        let script = format!("\"$@\" {redirection}; exit $?");
        let run = Run::new("sh").args(["-c", &script, "sh"]).arg(crate::support::goinit());
        let run =
            run.args(["--termination-log=none", "--", "sh", "-c", "echo x >&2; echo out; exit 7"]);
        let done = run.finish().expect_code(7);
        assert_eq!(done.stdout(), "out\n", "{redirection}");
    }
    // The reader goes away while the program runs.
    let shell = Run::new("sh").args(["-c", "exec 3>&1; exec \"$@\"", "sh", "sh"]);
    let inner = "{ \"$0\" --termination-log=none -- sh -c 'sleep 0.3; echo late >&2; exit 7'; \
                 echo code $? >&3; } 2>&1 | :; wait";
    let done = shell.args(["-c", inner]).arg(crate::support::goinit()).finish();
    assert!(done.stdout().contains("code 7"), "{} {}", done.stdout(), done.stderr());
}
