//! Anomalies in SQLite's sense: each system call of the loop fails once, and nothing changes: the
//! program runs on, the exit code is the same, nothing hangs.
//!
//! A first run under strace lists the calls of goinit's own thread from the point where the loop
//! begins; then each is made to fail in a run of its own (`strace -e inject=…`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::{Run, TempDir, goinit, have};

/// What goes on in a run: stderr in several writes, a signal, an orphan, an exit code.
const PROGRAM: &str = "trap : USR1; trap '' USR2; echo one >&2; kill -USR2 $PPID; sleep 0.03; \
                       echo two >&2; (sleep 0.01 &); sleep 0.03; printf three >&2; exit 7";

/// Calls that are not the loop's: memory, threads' own affairs, the end itself.
const OTHERS: &[&str] = &[
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "futex",
    "sigaltstack",
    "rt_sigprocmask",
    "exit_group",
];

/// The calls without which there is no loop, and what each may answer.
const VITAL: &[(&str, &[&str])] = &[
    ("ppoll", &["EINTR", "ENOMEM"]),
    ("read", &["EINTR", "EAGAIN", "EIO"]),
    ("wait4", &["EINTR", "ECHILD"]),
    ("waitid", &["EINTR", "ECHILD"]),
    ("write", &["EINTR", "EIO"]),
    ("pwritev2", &["EAGAIN", "EINTR", "EIO", "EPIPE", "EOPNOTSUPP"]),
];

/// Occurrences of a vital call that are tried, and of any other one.
const VITAL_TRIES: usize = 5;
const TRIES: usize = 2;

/// Runs goinit, and nothing of what it starts, under strace.
fn traced(options: &[&str]) -> Run {
    let run = Run::new("strace").args(["-q", "-q"]).args(options).arg("--").arg(goinit());
    run.args(["--termination-log=none", "--warn-reaped", "--", "sh", "-c", PROGRAM])
}

/// For each call of the loop, the occurrences within the process that are the loop's.
fn calls_of_the_loop() -> BTreeMap<String, Vec<usize>> {
    let place = TempDir::new();
    let file = place.path("trace");
    traced(&["-o", file.to_str().unwrap()]).finish().expect_code(7);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut in_the_loop = false;
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let Some((name, rest)) = line.split_once('(') else { continue };
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            continue;
        }
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        if in_the_loop && !OTHERS.contains(&name) {
            found.entry(name.to_owned()).or_default().push(*count);
        }
        // The last thing before the loop: goinit leaves its directory.
        in_the_loop |= name == "chdir" && rest.starts_with("\"/\"");
    }
    found
}

fn survives(call: &str, error: &str, occurrence: usize) -> Result<(), String> {
    survives_all(&[&format!("{call}:error={error}:when={occurrence}")])
}

/// Each is `CALL:error=…`, and `:when=…` if not every time.
fn survives_all(faults: &[&str]) -> Result<(), String> {
    let calls: Vec<_> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
    let mut options =
        vec!["-o".to_owned(), "/dev/null".to_owned(), format!("-etrace={}", calls.join(","))];
    options.extend(faults.iter().map(|fault| format!("-einject={fault}")));
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    match traced(&options).start().wait_or_kill(Duration::from_secs(8)) {
        Err(_) => Err(format!("{faults:?}: hangs")),
        Ok(done) if done.code != 7 => Err(format!("{faults:?}: exit code {}", done.code)),
        Ok(_) => Ok(()),
    }
}

#[test]
fn one_failed_call_of_the_loop_changes_nothing() {
    if !have("strace") {
        return;
    }
    let found = calls_of_the_loop();
    for call in ["ppoll", "read", "wait4"] {
        assert!(found.contains_key(call), "no {call} in the loop: {found:?}");
    }
    let mut wrong = Vec::new();
    let mut runs = 0;
    for (call, occurrences) in &found {
        let vital = VITAL.iter().find(|(name, _)| name == call);
        let (errors, tries) = vital.map_or((&["EIO"][..], TRIES), |(_, e)| (*e, VITAL_TRIES));
        for occurrence in occurrences.iter().take(tries) {
            for error in errors {
                runs += 1;
                wrong.extend(survives(call, error, *occurrence).err());
            }
        }
    }
    println!("{runs} runs, calls of the loop: {:?}", found.keys().collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Descriptors and threads that cannot be had: goinit does without.
#[test]
fn what_cannot_be_made_is_done_without() {
    if !have("strace") {
        return;
    }
    let checks: [&[&str]; 9] = [
        &["ppoll:error=EPERM"],
        &["pipe2:error=EMFILE"],
        &["eventfd2:error=EMFILE"],
        &["memfd_create:error=EMFILE"],
        // Linux before 5.9; and a seccomp filter that knows neither.
        &["close_range:error=ENOSYS"],
        &["close_range:error=EPERM", "pwritev2:error=EPERM"],
        // A log that nobody reads, and no thread that could wait for it.
        &["pwritev2:error=EAGAIN"],
        &["pwritev2:error=EAGAIN", "clone3:error=EAGAIN"],
        &["pwritev2:error=EAGAIN", "clone3:error=EAGAIN", "eventfd2:error=EMFILE"],
    ];
    let wrong: Vec<String> =
        checks.iter().filter_map(|faults| survives_all(faults).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where a flood cannot be read in batches, it is read packet by packet, and each line is there.
#[test]
fn a_flood_is_whole_whatever_fails_in_it() {
    const FLOOD: &str = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo \"line $i\" >&2; done";
    if !have("strace") {
        return;
    }
    for fault in
        ["splice:error=ENOSYS", "splice:error=EAGAIN:when=3+2", "ppoll:error=EINTR:when=3+2"]
    {
        let calls = ["-etrace=splice,ppoll".to_owned(), format!("-einject={fault}")];
        let run = Run::new("strace").args(["-q", "-q", "-o", "/dev/null"]).args(calls).arg("--");
        let run = run.arg(goinit()).args(["--log-full=block", "--termination-log=none", "--"]);
        let done = run.args(["sh", "-c", FLOOD]).finish().expect_code(0);
        let records = done.records();
        let lines = records.iter().filter(|record| record["event_name"] == "child.line");
        let lines: Vec<_> = lines.map(|line| line["message"].as_str().unwrap()).collect();
        let expected: Vec<_> = (1..=5000).map(|number| format!("line {number}")).collect();
        assert!(lines == expected, "{fault}: {} lines", lines.len());
    }
}

/// A signalfd is what goinit cannot do without: it says so and does not start the program.
#[test]
fn no_signalfd_is_125_with_a_sentence() {
    if !have("strace") {
        return;
    }
    let options = ["-o", "/dev/null", "-e", "inject=signalfd4:error=EMFILE:when=1"];
    let done = traced(&options).finish().expect_code(125);
    assert!(done.stderr().contains("no signalfd"), "{}", done.stderr());
    assert!(!done.stderr().contains("one"), "the program ran: {}", done.stderr());
}
