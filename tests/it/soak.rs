//! A long life in short: orphans, signals and megabytes of stderr in rounds of the same size. What
//! goinit holds after the first round is what it needs; what it holds more after the last one has
//! leaked.

use std::time::Duration;

use crate::support::{
    Run, Started, children, goinit, helper, now, python, status_line, wait_until,
};

/// Rounds, and what each of them consists of: 10,000 orphans, 2,000 signals, 50 MB in all.
const ROUNDS: u32 = 4;
const ORPHANS: u32 = 2_500;
const SIGNALS: u32 = 500;
const BYTES: u32 = 12_500_000;

/// The whole thing at most; it takes a quarter of that on two busy cores.
const LIMIT: Duration = Duration::from_secs(20);
/// Memory that may come and go from round to round: pages of the allocator, not a leak. A leak of
/// 100 bytes for each orphan or signal of the three later rounds would be 900 kB.
const SLACK_KB: u64 = 512;

/// What goinit holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    threads: usize,
    memory_kb: u64,
}

impl Held {
    fn by(pid: u32) -> Self {
        let count = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        let anonymous = status_line(pid, "RssAnon").expect("no RssAnon");
        let memory_kb = anonymous.split(' ').next().unwrap().parse().unwrap();
        Self { descriptors: count("fd"), threads: count("task"), memory_kb }
    }
}

/// One round, up to the point at which the child waits; nobody but the child is left then.
fn round(started: &Started, number: u32) -> Held {
    started.wait_for_output(&format!("signals {number}\n"));
    for _ in 0..SIGNALS {
        started.signal(libc::SIGRTMIN());
    }
    let said = format!("round {number}\n");
    assert!(wait_until(LIMIT, || started.stdout().contains(&said)), "round {number} has no end");
    let alone = || children(started.pid()).len() == 1;
    assert!(wait_until(LIMIT, alone), "zombies are left: {:?}", children(started.pid()).len());
    Held::by(started.pid())
}

#[test]
fn nothing_leaks_however_much_happens() {
    // The log goes to /dev/null: 50 MB of stderr are of no interest here.
    let script = helper("child.py");
    let numbers = [ROUNDS, ORPHANS, SIGNALS, BYTES].map(|number| number.to_string());
    let run = Run::new("sh").args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(goinit());
    let run = run.args(["--termination-log=none", "--", python(), "-I", "-S", "-u"]).arg(script);
    let begin = now();
    let started = run.arg("soak").args(numbers).start();
    let mut all = Vec::new();
    for number in 1..=ROUNDS {
        all.push(round(&started, number));
        started.signal(libc::SIGUSR1);
    }
    started.wait(LIMIT).expect_code(0);
    let took = begin.elapsed();
    println!("{took:?}: {all:?}");
    let (first, last) = (all[0], all[all.len() - 1]);
    assert_eq!(first.descriptors, last.descriptors, "descriptors leak: {all:?}");
    assert_eq!(first.threads, last.threads, "threads leak: {all:?}");
    assert!(last.memory_kb <= first.memory_kb + SLACK_KB, "memory leaks: {all:?}");
    assert!(took < LIMIT, "it took {took:?}");
}
