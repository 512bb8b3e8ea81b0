//! A long life in short: orphans, signals, megabytes of stderr and heartbeats, in rounds of the same
//! size. What goinit holds after the first quarter is what it needs; what it holds more at the end
//! has leaked. `benches/soak` runs the long one (GOINIT_SOAK=full).

use std::time::Duration;

use crate::run::{VERSION, run};
use crate::support::{
    Run, Started, children, goinit, helper, now, program, python, status_line, wait_until,
};

/// How much there is of everything.
struct Life {
    rounds: u32,
    /// In each round.
    orphans: u32,
    signals: u32,
    bytes: u32,
    /// In all. An hour has 3,600.
    heartbeats: u64,
    /// The whole thing at most; it takes a quarter of that on two busy cores.
    limit: Duration,
}

/// 10,000 orphans, 2,000 signals, 50 MB.
const SHORT: Life = Life {
    rounds: 4,
    orphans: 2_500,
    signals: 500,
    bytes: 12_500_000,
    heartbeats: 200,
    limit: Duration::from_secs(20),
};
/// 100,000 orphans, 10,000 signals, 1 GB.
const FULL: Life = Life {
    rounds: 20,
    orphans: 5_000,
    signals: 500,
    bytes: 50_000_000,
    heartbeats: 3_600,
    limit: Duration::from_secs(900),
};

impl Life {
    fn wanted() -> &'static Self {
        let full = std::env::var_os("GOINIT_SOAK").is_some_and(|value| value == "full");
        if full { &FULL } else { &SHORT }
    }
}
/// Memory that may come and go from round to round: pages of the allocator, not a leak. A leak of
/// 100 bytes for each orphan or signal of the later rounds would be at least 600 kB.
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
fn round(started: &Started, life: &Life, number: u32) -> Held {
    assert!(
        wait_until(life.limit, || started.stdout().contains(&format!("signals {number}\n"))),
        "the orphans of round {number} have no end"
    );
    let before = Held::by(started.pid()).descriptors;
    for _ in 0..life.signals {
        started.signal(libc::SIGRTMIN());
    }
    let said = format!("round {number}\n");
    assert!(
        wait_until(life.limit, || started.stdout().contains(&said)),
        "round {number} has no end"
    );
    let alone = || children(started.pid()).len() == 1;
    assert!(wait_until(life.limit, alone), "zombies are left: {:?}", children(started.pid()).len());
    // The pipe that a flood is moved into goes away behind it.
    let over = || Held::by(started.pid()).descriptors <= before;
    assert!(wait_until(life.limit, over), "descriptors are left in round {number}");
    Held::by(started.pid())
}

#[test]
fn nothing_leaks_however_much_happens() {
    let life = Life::wanted();
    // The log goes to /dev/null: 50 MB of stderr are of no interest here.
    let script = helper("child.py");
    let numbers =
        [life.rounds, life.orphans, life.signals, life.bytes].map(|number| number.to_string());
    let run = Run::new("sh").args(["-c", "exec \"$@\" 2>/dev/null", "sh"]).arg(goinit());
    let run = run.args(["--termination-log=none", "--", python(), "-I", "-S", "-u"]).arg(script);
    let begin = now();
    let started = run.arg("soak").args(numbers).start();
    let mut all = Vec::new();
    for number in 1..=life.rounds {
        all.push(round(&started, life, number));
        if number == life.rounds {
            // What still waits for the log is no leak: it goes away.
            let most = all[all.len() / 4].memory_kb + SLACK_KB;
            wait_until(life.limit, || Held::by(started.pid()).memory_kb <= most);
            all.push(Held::by(started.pid()));
        }
        started.signal(libc::SIGUSR1);
    }
    started.wait(life.limit).expect_code(0);
    let took = begin.elapsed();
    println!("{took:?}: {all:?}");
    let (first, last) = (all[(all.len() - 1) / 4], all[all.len() - 1]);
    assert_eq!(first.descriptors, last.descriptors, "descriptors leak: {all:?}");
    assert_eq!(first.threads, last.threads, "threads leak: {all:?}");
    assert!(last.memory_kb <= first.memory_kb + SLACK_KB, "memory leaks: {all:?}");
    assert!(took < life.limit, "it took {took:?}");
}

/// Heartbeats of a real runtime, as fast as it prints them (every 10 ms while idle), each with a
/// look at the program's counters and a record in the log.
#[test]
fn nothing_leaks_however_long_the_heart_beats() {
    let Some(path) = program("idle-server", VERSION) else { return };
    let life = Life::wanted();
    let started = run(&["--schedtrace=1ms", "--sched-log=all"], &path).start();
    let beats = |wanted: u64| {
        let wanted = usize::try_from(wanted).unwrap();
        let enough = || started.stderr().matches("\"go.sched\"").count() >= wanted;
        assert!(wait_until(life.limit, enough), "fewer than {wanted} heartbeats");
        Held::by(started.pid())
    };
    let (first, last) = (beats(life.heartbeats / 10), beats(life.heartbeats));
    println!("{} heartbeats: {first:?}, {last:?}", life.heartbeats);
    assert_eq!(children(started.pid()).len(), 1, "zombies are left");
    assert_eq!(first.descriptors, last.descriptors, "descriptors leak");
    assert_eq!(first.threads, last.threads, "threads leak");
    assert!(last.memory_kb <= first.memory_kb + SLACK_KB, "memory leaks: {first:?}, {last:?}");
    started.signal(libc::SIGTERM);
    let done = started.wait(life.limit).expect_code(143);
    assert!(done.named("goinit.stall").is_empty(), "a healthy program was accused");
}
