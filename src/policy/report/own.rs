//! goinit's own records (docs/log-format.md) as the input of a report.

use super::evidence::stack;
use super::judge::Told;
use super::story::{Exit, Own, Said, Story};
use crate::go::gc::GcTrace;
use crate::go::init::InitTrace;
use crate::go::snapshot::Snapshot;
use crate::units::Wall;
use serde_json::Value;

/// One record.
#[derive(Debug)]
pub struct Record {
    /// The run, eight hex digits.
    pub run: String,
    /// Its number in the run.
    pub seq: u64,
    /// When it happened.
    pub wall: Option<Wall>,
    /// `goinit.verdict` and the like.
    pub name: String,
    value: Value,
}

/// Values of a record by their path; what is missing or of another type is absent.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a>(pub &'a Value);

impl<'a> Field<'a> {
    fn at(self, path: &str) -> Option<&'a Value> {
        self.0.pointer(path)
    }

    /// A text; empty if there is none.
    pub(super) fn text(self, path: &str) -> String {
        self.some(path).unwrap_or_default()
    }

    /// A text.
    pub(super) fn some(self, path: &str) -> Option<String> {
        self.at(path)?.as_str().map(str::to_owned)
    }

    /// Texts.
    pub(super) fn texts(self, path: &str) -> Vec<String> {
        let list = self.at(path).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// A whole number.
    pub(super) fn number(self, path: &str) -> Option<u64> {
        self.at(path)?.as_u64()
    }

    fn small(self, path: &str) -> u32 {
        self.number(path).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
    }

    fn fraction(self, path: &str) -> f64 {
        self.at(path).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// A truth value.
    pub(super) fn flag(self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A process number; 0 if there is none.
    pub(super) fn pid(self, path: &str) -> crate::units::Pid {
        let number = self.at(path).and_then(Value::as_i64);
        crate::units::Pid(number.and_then(|n| i32::try_from(n).ok()).unwrap_or(0))
    }

    fn numbers(self, path: &str) -> Vec<u32> {
        let list = self.at(path).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_u64).map(|n| u32::try_from(n).unwrap_or(u32::MAX)).collect()
    }
}

/// Reads a line that may be a record; `None` = it is the program's.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Record> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if !line.starts_with(b"{\"timestamp\":\"")
        || memchr::memmem::find(line, b"\"goinit\":{").is_none()
    {
        return None;
    }
    let value: Value = serde_json::from_slice(line).ok()?;
    let field = Field(&value);
    let (run, seq) = (field.some("/goinit/run")?, field.number("/goinit/seq")?);
    let name = field.some("/event_name")?;
    field.some("/origin")?;
    let shaped = run.len() == 8 && run.bytes().all(|b| b.is_ascii_hexdigit());
    let wall = field.some("/timestamp").and_then(|t| super::capture::stamp_only(t.as_bytes()));
    shaped.then_some(Record { run, seq, wall, name, value })
}

/// Takes a record into the story of its run.
pub(super) fn take(story: &mut Story, record: &Record) {
    if let Some(wall) = record.wall {
        story.clock.wall(wall);
    }
    let field = Field(&record.value);
    let part = field.text("/goinit/part/id");
    match record.name.as_str() {
        "goinit.start" => start(story, field),
        "go.sched" => story.snapshot(true, &snapshot(field)),
        "go.init" => {
            let package = field.text("/init/package");
            story.package(&InitTrace {
                package: package.as_bytes(),
                at_ms: field.fraction("/init/at_ms"),
                duration_ms: field.fraction("/init/duration_ms"),
                bytes: field.number("/init/bytes").unwrap_or(0),
                allocs: field.number("/init/allocs").unwrap_or(0),
                more: b"",
            });
        }
        "go.gc" => story.collected(&gc(field)),
        "child.line" => {
            let whole = !field.flag("/child/continues");
            story.line(field.text("/message").as_bytes(), whole);
        }
        "go.panic" => {
            let (kind, text) = (field.text("/panic/kind"), field.text("/panic/text"));
            let proven = field.flag("/panic/proven");
            let (signal, lead) = (field.some("/panic/signal"), field.some("/panic/lead"));
            story.crash_words(&kind, &text, Said { signal, lead, proven, text: None });
        }
        "go.goroutines" if field.text("/origin") == "runtime" => goroutines(story, field),
        "goinit.stall" => {
            let kind = field.text("/stall/kind");
            let lasted = field.number("/stall/for_ms").unwrap_or(0);
            story.stall = Some((kind, lasted));
            story.moment("stall", field.text("/message"));
        }
        "goinit.recover" => {
            (story.stall, story.told) = (None, None);
            story.moment("recover", field.text("/message"));
        }
        "goinit.verdict" => {
            let told = told(field);
            story.moment("verdict", format!("verdict: {}, {}", told.class, told.cause));
            story.told = Some(told);
        }
        "goinit.signal" => story.moment("signal", field.text("/message")),
        "goinit.limits" => story.moment("limits", field.text("/message")),
        "goinit.blind" => story.moment("blind", field.text("/message")),
        "goinit.defect" => story.moment("defect", field.text("/message")),
        "goinit.alert" => story.moment("alert", field.text("/message")),
        "goinit.dropped" => {
            let lost = field.number("/counters/dropped_lines").unwrap_or(0);
            if let Some(own) = &mut story.own {
                own.dropped = own.dropped.saturating_add(lost);
            }
        }
        "goinit.exit" => exit(story, field),
        name if !part.is_empty() => story.testimony.take(&part, name, &record.value),
        _ => {}
    }
}

fn start(story: &mut Story, field: Field<'_>) {
    let debug = field.text("/go/debug");
    let interval = debug.split(',').rev().find_map(|one| one.strip_prefix("schedtrace="));
    if let Some(milliseconds) = interval.and_then(|text| text.parse().ok()) {
        story.clock.heartbeat(milliseconds);
    }
    let text = field.text("/message");
    let names = ["/k8s/namespace/name", "/k8s/pod/name", "/k8s/container/name"];
    let names: Vec<String> = names.iter().filter_map(|path| field.some(path)).collect();
    if let Some(own) = &mut story.own {
        own.command = field.texts("/process/command_args");
        own.pod = (!names.is_empty()).then(|| names.join("/"));
        own.start = Some(text.clone());
    }
    story.moment("start", text.trim_start_matches("start: ").to_owned());
}

fn snapshot(field: Field<'_>) -> Snapshot {
    Snapshot {
        uptime_ms: field.number("/sched/uptime_ms").unwrap_or(0),
        gomaxprocs: field.small("/sched/gomaxprocs"),
        idleprocs: field.small("/sched/idleprocs"),
        threads: field.small("/sched/threads"),
        spinningthreads: field.small("/sched/spinningthreads"),
        needspinning: field.number("/sched/needspinning").and_then(|n| u32::try_from(n).ok()),
        idlethreads: field.small("/sched/idlethreads"),
        runqueue: field.small("/sched/runqueue"),
        local: field.numbers("/sched/runq_local"),
        schedticks: field.numbers("/sched/schedticks"),
        gcwaiting: field.at("/sched/gcwaiting").and_then(Value::as_bool),
        stopwait: field.at("/sched/stopwait").and_then(Value::as_i64),
        more: field.text("/sched/more"),
        detail: None,
    }
}

fn gc(field: Field<'_>) -> GcTrace {
    GcTrace {
        cycle: field.number("/gc/cycle").unwrap_or(0),
        at_ms: field.fraction("/gc/at_ms"),
        cpu_percent: field.number("/gc/cpu_percent").unwrap_or(0),
        pause_ms: field.fraction("/gc/pause_ms"),
        mark_ms: field.fraction("/gc/mark_ms"),
        heap_before_mb: field.number("/gc/heap_before_mb").unwrap_or(0),
        heap_after_mb: field.number("/gc/heap_after_mb").unwrap_or(0),
        heap_live_mb: field.number("/gc/heap_live_mb").unwrap_or(0),
        goal_mb: field.number("/gc/goal_mb").unwrap_or(0),
        stacks_mb: field.number("/gc/stacks_mb").unwrap_or(0),
        globals_mb: field.number("/gc/globals_mb").unwrap_or(0),
        procs: field.number("/gc/procs").unwrap_or(0),
        forced: field.flag("/gc/forced"),
    }
}

/// A group of a dump on the program's stderr, or the dump's figures.
fn goroutines(story: &mut Story, field: Field<'_>) {
    if let Some(total) = field.number("/goroutines/total") {
        story.goroutines = story.goroutines.saturating_add(total);
        let groups = field.number("/goroutines/groups").unwrap_or(0);
        story.groups = story.groups.saturating_add(groups);
        story.stacks_left_out = field.number("/goroutines/groups_left_out").unwrap_or(0);
        story.dump_ended(true);
        return;
    }
    let frames = u64::try_from(field.texts("/goroutines/frames").len()).unwrap_or(0);
    let count = field.number("/goroutines/count").unwrap_or(0);
    story.frames = story.frames.saturating_add(frames.saturating_mul(count));
    story.stack(stack(field));
}

fn told(field: Field<'_>) -> Told {
    Told {
        class: field.text("/verdict/class"),
        cause: field.text("/verdict/cause"),
        confidence: field.text("/verdict/confidence"),
        place: field.some("/verdict/where"),
        on: field.some("/verdict/on"),
        since_ms: field.number("/verdict/since_ms"),
        sentence: field.text("/message"),
        next: field.some("/verdict/next"),
        basis: "record",
    }
}

fn exit(story: &mut Story, field: Field<'_>) {
    let code = |path: &str| field.number(path).and_then(|n| u8::try_from(n).ok());
    story.exit = Exit {
        code: code("/exit/code"),
        own_code: code("/process/exit/code"),
        signal: field.some("/process/exit/signal"),
        cause: field.some("/exit/cause"),
        by: field.some("/exit/by"),
        sentence: field.some("/message"),
        verdict: field.some("/verdict/class").zip(field.some("/verdict/cause")),
    };
    if let Some(own) = &mut story.own {
        own.sched_lines = field.number("/counters/sched_lines").unwrap_or(0);
        own.dropped = own.dropped.max(field.number("/counters/dropped_lines").unwrap_or(0));
    }
    let text = story.exit.words().unwrap_or_else(|| field.text("/message"));
    story.moment("exit", text);
}

/// What the next record of a run means to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It follows.
    Next,
    /// So many are missing before it.
    After(u64),
    /// It was there already: forged, or pasted twice.
    Repeated,
}

/// Where a number stands.
#[must_use]
pub fn order(own: &Own, seq: u64) -> Order {
    match seq.checked_sub(own.seq) {
        Some(1) => Order::Next,
        Some(more) if more > 1 => Order::After(more.saturating_sub(1)),
        Some(_) | None => Order::Repeated,
    }
}
