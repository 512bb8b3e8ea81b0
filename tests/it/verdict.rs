//! Every capture of a real Go program is replayed through watchdog and verdict, with its arrival
//! times and the samples of /proc that were taken meanwhile, against the truth beside it.

use crate::support::skip;
use goinit::exit::Ending;
use goinit::go::crash::{CrashHead, CrashKind};
use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use goinit::linux::syscalls;
use goinit::policy::dumped::Dumped;
use goinit::policy::evidence::{
    Cgroup, Evidence, Goroutines, Io, Probe, Process, Syscall, Thread, Why,
};
use goinit::policy::history::Kind;
use goinit::policy::progress::Sample;
use goinit::policy::verdict::{CAUSES, Case, Crash, End, judge, of_end, of_running};
use goinit::policy::watchdog::{Move, Seen, Settings, Watchdog};
use goinit::units::{Mono, Pid, Signal};
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Captures that do not hold what a verdict needs, and why.
const UNDECIDABLE: [(&str, &str); 4] = [
    (
        "catch-sigquit-ignore__go1.21.13__sched200-init-p2",
        "no dump and no memory: its threads look like those of a program that sleeps",
    ),
    (
        "catch-sigquit-ignore__go1.22.10__sched200-all-p8",
        "no dump and no memory: its threads look like those of a program that sleeps",
    ),
    (
        "ok-download__go1.24.11__sched200-p2",
        "its two samples are 48 ms apart and fall between two of its reads, 150 ms apart",
    ),
    (
        "fatal-hang__go1.27.3__sched40-detail-p2",
        "the head of the error stands inside a line of the snapshot; only packets could part them",
    ),
];

/// One capture.
struct Log {
    name: String,
    /// Milliseconds since the start and number of bytes.
    times: Vec<(u64, usize)>,
    bytes: Vec<u8>,
    /// Samples of /proc.
    proc: Vec<Value>,
    /// schedtrace interval, ms.
    heartbeat: u64,
    exit: String,
    truth: String,
    /// When the driver sent a signal that ends, ms.
    signalled: Option<u64>,
    /// CPU quota, percent of one CPU.
    quota_percent: Option<u64>,
    /// A memory cgroup was around it, so goinit would have seen the kill counted there.
    memory_group: bool,
}

fn corpus() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/go"));
    path.join("expected.tsv").exists().then_some(path)
}

fn load(corpus: &Path) -> Vec<Log> {
    let table = std::fs::read_to_string(corpus.join("expected.tsv")).unwrap();
    let readme = std::fs::read_to_string(corpus.join("README.md")).unwrap();
    let environments: HashMap<&str, &str> = readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let file = cells.nth(1)?.strip_prefix('`')?.strip_suffix('`')?;
            Some((file, cells.nth(2)?))
        })
        .collect();
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|cells| {
        let name = cells[0].strip_suffix(".log").unwrap().to_owned();
        let environment = environments.get(cells[0]).copied().unwrap_or_default();
        let times = std::fs::read_to_string(corpus.join(format!("times/{name}.tsv"))).unwrap();
        let proc = std::fs::read_to_string(corpus.join(format!("proc/{name}.json")));
        Log {
            times: times
                .lines()
                .map(|line| {
                    let (at, length) = line.split_once('\t').unwrap();
                    (at.parse::<f64>().unwrap() as u64, length.parse().unwrap())
                })
                .collect(),
            bytes: std::fs::read(corpus.join(cells[0])).unwrap(),
            proc: proc.map_or_else(|_| Vec::new(), |text| serde_json::from_str(&text).unwrap()),
            heartbeat: number_after(cells[4], "schedtrace=").unwrap_or(200.0) as u64,
            exit: cells[5].to_owned(),
            truth: format!("{}/{}", cells[12], cells[13]),
            signalled: ["SIGQUIT ", "SIGKILL "]
                .iter()
                .filter_map(|word| number_after(environment, word))
                .map(|seconds| (seconds * 1000.0) as u64)
                .min(),
            quota_percent: number_after(environment, "cpu cgroup ").map(|ms| ms as u64),
            memory_group: environment.contains("memory cgroup"),
            name,
        }
    })
    .collect()
}

fn number_after(text: &str, word: &str) -> Option<f64> {
    let rest = &text[text.find(word)? + word.len()..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn at(milliseconds: u64) -> Mono {
    Mono(milliseconds * 1_000_000)
}

/// The counters of one sample; sysmon is told apart by what the sampler goes by too: no thread of
/// an idle program gets the CPU more often.
fn sample(proc: &Value) -> Sample {
    let threads = proc["threads"].as_object().unwrap();
    let slices = |t: &Value| t["vol"].as_u64().unwrap_or(0);
    let most = threads.values().map(slices).max().unwrap_or(0);
    let others = threads.values().filter(|t| slices(t) < most);
    Sample {
        at: at((proc["t"].as_f64().unwrap() * 1000.0) as u64),
        read_bytes: proc["io"]["rchar"].as_u64(),
        written_bytes: None,
        cpu_us: Some(others.filter_map(|t| t["run_ns"].as_u64()).sum::<u64>() / 1000),
        stopped: proc["state"].as_str() == Some("T"),
        ..Sample::default()
    }
}

/// What the evidence process would have said, from two samples and a dump.
fn evidence(log: &Log, goroutines: Option<Goroutines>) -> Evidence {
    let mut evidence = Evidence { pid: Pid(7), ..Evidence::default() };
    evidence.goroutines = match goroutines {
        Some(all) => Probe::Got(all),
        None => Probe::Missing(Why::Denied("not recorded".to_owned())),
    };
    let [.., first, second] = log.proc.as_slice() else { return evidence };
    let elapsed = second["t"].as_f64().unwrap() - first["t"].as_f64().unwrap();
    evidence.sample_ms = (elapsed * 1000.0) as u64;
    let grown = |path: &str| {
        let value = |v: &Value| v.pointer(path).and_then(Value::as_u64).unwrap_or(0);
        value(second).saturating_sub(value(first))
    };
    let mut threads = Vec::new();
    for (tid, now) in second["threads"].as_object().unwrap() {
        let call = call(now["sys"].as_str().unwrap_or_default());
        let before = &first["threads"][tid];
        threads.push(Thread {
            tid: tid.parse().unwrap(),
            state: now["st"].as_str().unwrap_or_default().to_owned(),
            wchan: now["wchan"].as_str().filter(|name| *name != "0").map(str::to_owned),
            cpu_delta_us: grown(&format!("/threads/{tid}/run_ns")) / 1000,
            same_call: before["sys"] == now["sys"] && call.is_some(),
            syscall: Probe::Got(call),
            ..Thread::default()
        });
    }
    evidence.process = Probe::Got(Process {
        state: second["state"].as_str().unwrap_or_default().to_owned(),
        threads: second["nthreads"].as_u64().unwrap_or(0),
        cpu_delta_us: threads.iter().map(|thread| thread.cpu_delta_us).sum(),
        io_delta: Some(Io { rchar: grown("/io/rchar"), ..Io::default() }),
        ..Process::default()
    });
    evidence.threads = Probe::Got(threads);
    if let Some(percent) = log.quota_percent {
        let quota_us = Some(percent * 1000);
        let cgroup = Cgroup { quota_us, period_us: Some(100_000), ..Cgroup::default() };
        evidence.cgroup = Probe::Got(cgroup);
    }
    evidence
}

/// The `syscall` file of a thread; sixty bytes of it were kept.
fn call(text: &str) -> Option<Syscall> {
    let mut words = text.split(' ');
    let nr = words.next()?.parse().ok()?;
    let arguments: Vec<u64> =
        words.filter_map(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect();
    let name = syscalls::name(Some(syscalls::Arch::X86_64), nr).into_owned();
    // The last argument of epoll_pwait(2) is an int: -1 is for ever.
    let timeout = arguments.get(3).map(|ms| *ms as u32 as i32).filter(|ms| *ms >= 0);
    let timeout = timeout.filter(|_| name.starts_with("epoll")).map(|ms| ms as u64);
    let fd = arguments.first().copied().filter(|fd| *fd < 4096);
    Some(Syscall { nr, name, fd, timeout_ms: timeout, ..Syscall::default() })
}

/// What a replay found.
#[derive(Default)]
struct Told {
    reports: Vec<Kind>,
    verdict: String,
    sentence: String,
}

/// Half of what a capture usually lasts; with ten-second heartbeats, a few of those.
fn patience(log: &Log) -> Duration {
    Duration::from_millis((log.heartbeat * 3).clamp(700, 25_000))
}

fn replay(log: &Log) -> Told {
    let settings = Settings {
        stall_after: patience(log),
        heartbeat: Duration::from_millis(log.heartbeat),
        evidence_limit: Duration::from_millis(50),
        expect_heartbeat: true,
    };
    let end = log.signalled.unwrap_or(u64::MAX);
    let last = log.times.last().map_or(0, |(at, _)| *at);
    let mut play = Play { watchdog: Watchdog::new(settings, at(0)), ..Play::new(log) };
    let mut assembler = Assembler::new(Framing::Stream);
    let mut samples = log.proc.iter().map(sample).peekable();
    let (mut offset, mut before) = (0, 0);
    for (when, length) in &log.times {
        play.pass(*when.min(&end), &mut samples);
        let bytes = &log.bytes[offset..offset + length];
        offset += length;
        play.live = *when < end;
        // As live: what is held back counts as whole after a while.
        if let Some(settled) = assembler.patience().map(|time| at(before).after(time))
            && settled < at(*when)
        {
            assembler.idle(&mut |entry| play.take(settled, entry));
        }
        before = *when;
        assembler.feed(bytes, &mut |entry| play.take(at(*when), entry));
    }
    assembler.end(&mut |entry| play.take(at(last), entry));
    if log.signalled.is_some() {
        play.live = true;
        play.pass(end, &mut samples);
    }
    play.judge(log, if log.signalled.is_some() { end } else { last })
}

struct Play {
    watchdog: Watchdog,
    /// Whether the driver has not sent its signal yet.
    live: bool,
    crash: Option<Crash>,
    dumped: Dumped,
    goroutines: Option<Goroutines>,
    reports: Vec<Kind>,
}

impl Play {
    fn new(log: &Log) -> Self {
        let settings = Settings {
            stall_after: patience(log),
            heartbeat: Duration::from_millis(log.heartbeat),
            evidence_limit: Duration::from_millis(50),
            expect_heartbeat: true,
        };
        Self {
            watchdog: Watchdog::new(settings, at(0)),
            live: true,
            crash: None,
            dumped: Dumped::default(),
            goroutines: None,
            reports: Vec::new(),
        }
    }

    /// Lets time pass: samples and deadlines that lie before `until` come first.
    fn pass(
        &mut self,
        until: u64,
        samples: &mut std::iter::Peekable<impl Iterator<Item = Sample>>,
    ) {
        for _ in 0..10_000 {
            let due = self.watchdog.deadline().filter(|due| *due <= at(until));
            let next = samples.peek().map(|sample| sample.at).filter(|next| *next <= at(until));
            match (due, next) {
                (due, Some(next)) if due.is_none_or(|due| next <= due) => {
                    let sample = samples.next().unwrap();
                    self.step(next, Seen::Sample(&sample));
                }
                (Some(due), _) => self.step(due, Seen::Tick),
                (None, _) => return,
            }
        }
        panic!("time does not pass");
    }

    fn step(&mut self, now: Mono, seen: Seen<'_>) {
        if !self.live {
            return;
        }
        for step in self.watchdog.step(now, seen) {
            if let Move::Report(stall) = step {
                self.reports.push(stall.kind);
            }
        }
    }

    fn take(&mut self, now: Mono, entry: Entry<'_>) {
        match entry {
            Entry::Sched(snapshot) => {
                self.dumped.snapshot(&snapshot);
                self.step(now, Seen::Heartbeat(&snapshot));
            }
            Entry::Init(_) => self.step(now, Seen::InitDone),
            Entry::Gc(gc, _) => self.step(now, Seen::Collected(&gc)),
            Entry::Text(text) => self.step(now, Seen::AppBytes(text.bytes.len() as u64 + 1)),
            Entry::Json(line) => self.step(now, Seen::AppBytes(line.bytes.len() as u64 + 1)),
            Entry::Crash(head) => self.crashed(&head),
            Entry::Goroutines(group) => self.dumped.add(&group),
            Entry::DumpEnd(totals) => {
                let dumped = std::mem::take(&mut self.dumped);
                self.goroutines = dumped.finish(&totals).or(self.goroutines.take());
            }
            Entry::Damaged(_) => {}
        }
    }

    /// A dump that the driver asked for is evidence, not a crash.
    fn crashed(&mut self, head: &CrashHead<'_>) {
        let message = String::from_utf8_lossy(head.first_line()).into_owned();
        let kind = match head.kind {
            CrashKind::Panic => "panic",
            CrashKind::Fatal => "fatal",
            CrashKind::Signal if message.starts_with("SIGQUIT") => return,
            CrashKind::Signal => "signal",
        };
        self.crash.get_or_insert(Crash { kind, message });
    }

    fn judge(self, log: &Log, end: u64) -> Told {
        let driver = log.signalled.is_some();
        if self.crash.is_some() || !driver {
            let ending = if driver { None } else { ending(&log.exit) };
            let oom = log.memory_group;
            let ran = Duration::from_millis(end);
            let dump = self.goroutines.as_ref();
            let crash = self.crash.as_ref();
            let verdict = of_end(&End { ending, crash, dump, oom, ran });
            return Told {
                reports: self.reports,
                verdict: format!("{}/{}", verdict.class.word(), verdict.cause),
                sentence: verdict.sentence,
            };
        }
        let Some(stall) = self.watchdog.stall() else {
            let evidence = evidence(log, self.goroutines);
            let verdict = of_running(self.watchdog.history(), &evidence);
            return Told {
                reports: self.reports,
                verdict: format!("{}/{}", verdict.class.word(), verdict.cause),
                sentence: verdict.sentence,
            };
        };
        let evidence = evidence(log, self.goroutines);
        let history = self.watchdog.history();
        let lasted = stall.lasted;
        let case = Case { kind: stall.kind, lasted, history, evidence: &evidence };
        let verdict = judge(&case);
        Told {
            reports: self.reports,
            verdict: format!("{}/{}", verdict.class.word(), verdict.cause),
            sentence: format!("[{}] {}", stall.kind.word(), verdict.sentence),
        }
    }
}

fn ending(text: &str) -> Option<Ending> {
    if let Some(code) = text.strip_prefix("exit ") {
        return Some(Ending::Exited(code.parse().unwrap()));
    }
    let number = text.strip_prefix("signal ")?.split(' ').next()?;
    Some(Ending::Signalled { signal: Signal(number.parse().unwrap()), core: false })
}

#[test]
fn every_captured_log_replays_to_its_true_verdict() {
    let Some(corpus) = corpus() else {
        return skip("the captures beside the project are not there");
    };
    let mut logs = load(&corpus);
    logs.retain(|log| {
        let reason = UNDECIDABLE.iter().find(|(name, _)| *name == log.name);
        reason.inspect(|(name, why)| println!("not decidable: {name}: {why}")).is_none()
    });
    let (mut class, mut cause, mut decidable) = (0, 0, 0);
    let mut wrong = String::new();
    for log in &logs {
        let told = replay(log);
        let right_class = told.verdict.split('/').next() == log.truth.split('/').next();
        class += usize::from(right_class);
        // A healthy program that never stood still is not judged, so no cause is said.
        let judged = told.verdict != "ok/-";
        decidable += usize::from(judged || !right_class);
        cause += usize::from(judged && told.verdict == log.truth);
        if !right_class || (judged && told.verdict != log.truth) {
            let _ = writeln!(
                wrong,
                "{}: {} instead of {} {:?} {}",
                log.name, told.verdict, log.truth, told.reports, told.sentence
            );
        }
    }
    println!("{} captures: class {class}, cause {cause} of {decidable}\n{wrong}", logs.len());
    assert_eq!(class, logs.len(), "wrong class:\n{wrong}");
    assert!(cause * 100 >= decidable * 97, "cause {cause} of {decidable}:\n{wrong}");
}

/// The runbook has one section for each cause, each with what it means, how to confirm it and how to
/// fix it, and names every rule.
#[test]
fn the_runbook_has_a_section_for_every_cause_and_names_every_rule() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verdicts.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sections: Vec<(&str, &str)> = text
        .split("\n### `")
        .skip(1)
        .map(|section| section.split_once("`\n").unwrap())
        .map(|(cause, body)| (cause, body.split("\n## ").next().unwrap()))
        .collect();
    let mut causes: Vec<&str> = sections.iter().map(|(cause, _)| *cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, CAUSES, "sections of docs/verdicts.md, causes of the code");
    let mut named: Vec<&str> = Vec::new();
    for (cause, body) in &sections {
        for word in ["\n*Confirm:* ", "\n*Fix:* "] {
            assert!(body.contains(word), "{cause} has no {word:?}");
        }
        let means = body.split("\n*Confirm:*").next().unwrap();
        assert!(means.len() > 40, "{cause} says nothing");
        let list = means.rsplit("Rule").next().filter(|_| means.contains("Rule"));
        named.extend(list.into_iter().flat_map(|list| list.split('`').skip(1).step_by(2)));
    }
    named.sort_unstable();
    named.dedup();
    let mut rules: Vec<&str> = goinit::policy::verdict::rules().collect();
    rules.sort_unstable();
    assert_eq!(named, rules, "rules named by docs/verdicts.md, rules of the code");
}
