//! A report as JSON: one object, its keys as in docs/report.md. What is not known is left out.

use crate::policy::report::{Gc, Package, Point, Source, Stack, Story, Told};
use crate::units::{Mono, Wall};
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime};

/// Groups and packages that are listed.
const LISTED: usize = 200;

/// Everything about the newest run of a container.
pub(super) fn object(file: &str, source: &Source, verdicts: &[Option<Told>]) -> Value {
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !empty {
            all.insert(key.to_owned(), value);
        }
    };
    put("file", file.into());
    put("source", source.name.as_str().into());
    let Some(story) = source.runs.last() else { return Value::Object(all) };
    let told = verdicts.last().and_then(Option::as_ref);
    put("verdict", told.map_or(Value::Null, verdict));
    put("sched_records", sched_records(story).into());
    put("sched_damaged", story.damaged.into());
    put("goroutines", story.goroutines.max(story.testimony.total).into());
    put("groups", story.groups.into());
    put("frames", story.frames.into());
    put("states", json!(story.states));
    put("max_threads", story.max_threads.into());
    put("gomaxprocs", story.history.snapshot.as_ref().map(|s| s.gomaxprocs).into());
    put("runtimes", Some(story.clock.runtimes()).filter(|n| *n > 0).into());
    put("lines", story.lines.into());
    put("json_lines", story.json_lines.into());
    put("crash", crash(story));
    put("init_packages", story.packages_total.into());
    put("inits", inits(&story.packages));
    put("gc_cycles", story.gc.cycles.into());
    put("gc", gc(&story.gc));
    put("started", wall(story.clock.origin));
    put("duration_ms", ms(story.now()).into());
    put("timeline", timeline(story));
    put("exit", exit(story));
    put("stacks", story.stacks.iter().take(LISTED).map(stack).collect());
    put("evidence", json!(story.testimony.sentences));
    put("series", series(story.series.points()));
    put("run", own(story));
    if source.runs.len() > 1 || source.runs_left_out > 0 {
        let each = source.runs.iter().zip(verdicts).map(|(story, told)| run(story, told.as_ref()));
        put("runs", each.collect());
        put("runs_left_out", Some(source.runs_left_out).filter(|n| *n > 0).into());
    }
    Value::Object(all)
}

/// Snapshots begun, those included that goinit counted and left out of its log.
pub(super) fn sched_records(story: &Story) -> u64 {
    let logged = story.own.as_ref().map_or(0, |own| own.sched_lines);
    (story.snapshots + story.damaged).max(logged)
}

/// An object of the members that are known.
fn known<const N: usize>(members: [(&str, Value); N]) -> Value {
    let some = members.into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(some.map(|(key, value)| (key.to_owned(), value)).collect())
}

pub(super) fn verdict(told: &Told) -> Value {
    known([
        ("class", told.class.as_str().into()),
        ("cause", told.cause.as_str().into()),
        ("confidence", told.confidence.as_str().into()),
        ("where", told.place.clone().into()),
        ("on", told.on.clone().into()),
        ("since_ms", told.since_ms.into()),
        ("sentence", told.sentence.as_str().into()),
        ("next", told.next.clone().into()),
        ("basis", told.basis.into()),
    ])
}

fn crash(story: &Story) -> Value {
    let Some((crash, at)) = &story.crash else { return Value::Null };
    known([
        ("kind", crash.kind.into()),
        ("message", crash.message.as_str().into()),
        ("text", story.said.text.clone().into()),
        ("signal", story.said.signal.clone().into()),
        ("lead", story.said.lead.clone().into()),
        ("proven", Some(story.said.proven).filter(|proven| *proven).into()),
        ("at_ms", ms(*at).into()),
        ("went_on", Some(story.went_on()).filter(|on| *on).into()),
    ])
}

fn inits(packages: &[Package]) -> Value {
    let mut slowest: Vec<&Package> = packages.iter().collect();
    slowest.sort_by(|a, b| b.duration_ms.total_cmp(&a.duration_ms));
    let each = slowest.into_iter().take(LISTED).map(|package| {
        json!({
            "package": package.name,
            "at_ms": package.at_ms,
            "duration_ms": package.duration_ms,
            "bytes": package.bytes,
            "allocs": package.allocs,
        })
    });
    each.collect()
}

fn gc(gc: &Gc) -> Value {
    if gc.cycles == 0 {
        return Value::Null;
    }
    json!({
        "cycles": gc.cycles,
        "forced": gc.forced,
        "cpu_percent": gc.last.cpu_percent,
        "pause_max_ms": round(gc.pause_max_ms),
        "pause_total_ms": round(gc.pause_total_ms),
        "heap_max_mb": gc.heap_max_mb,
        "heap_live_mb": gc.last.heap_live_mb,
        "goal_mb": gc.last.goal_mb,
    })
}

fn round(milliseconds: f64) -> f64 {
    (milliseconds * 1_000.0).round() / 1_000.0
}

fn timeline(story: &Story) -> Value {
    let each = story.moments.iter().map(|moment| {
        known([
            ("at_ms", ms(moment.at).into()),
            ("time", wall(story.clock.wall_at(moment.at))),
            ("what", moment.what.into()),
            ("text", Some(moment.text.clone()).filter(|text| !text.is_empty()).into()),
        ])
    });
    let end = known([("at_ms", ms(story.now()).into()), ("what", "end".into())]);
    each.chain([end]).collect()
}

fn exit(story: &Story) -> Value {
    let exit = &story.exit;
    known([
        ("code", exit.code.into()),
        ("own_code", exit.own_code.into()),
        ("signal", exit.signal.clone().into()),
        ("cause", exit.cause.clone().into()),
        ("by", exit.by.clone().into()),
        ("sentence", exit.sentence.clone().into()),
    ])
}

fn stack(stack: &Stack) -> Value {
    let frames: Vec<String> = stack.frames.iter().map(joined).collect();
    known([
        ("count", stack.count.into()),
        ("state", stack.state.as_str().into()),
        ("minutes", Some(stack.minutes).filter(|minutes| *minutes > 0).into()),
        ("first_ids", json!(stack.ids)),
        ("frames", json!(frames)),
        ("created_by", stack.created_by.as_ref().map(joined).into()),
        ("ancestors", Some(json!(stack.ancestors)).filter(|_| !stack.ancestors.is_empty()).into()),
        ("locked", Some(stack.locked).filter(|locked| *locked > 0).into()),
        ("labels", stack.labels.clone().into()),
        ("remarks", stack.remarks.clone().into()),
        ("waits_on", stack.waits_on.clone().into()),
    ])
}

fn joined((function, place): &(String, String)) -> String {
    if place.is_empty() { function.clone() } else { format!("{function} {place}") }
}

/// The curves as parallel lists of numbers.
fn series(points: &[Point]) -> Value {
    if points.is_empty() {
        return Value::Null;
    }
    let busy = |point: &Point| (f64::from(point.busy) * 100.0).round();
    json!({
        "at_ms": points.iter().map(|point| ms(point.at)).collect::<Vec<_>>(),
        "busy_percent": points.iter().map(busy).collect::<Vec<_>>(),
        "runqueue": points.iter().map(|point| point.queue).collect::<Vec<_>>(),
        "threads": points.iter().map(|point| point.threads).collect::<Vec<_>>(),
    })
}

fn own(story: &Story) -> Value {
    let Some(own) = &story.own else { return Value::Null };
    let some = |count: u64| Value::from(Some(count).filter(|count| *count > 0));
    known([
        ("id", own.run.as_str().into()),
        ("records", own.records.into()),
        ("last_seq", own.seq.into()),
        ("lost", some(own.lost)),
        ("dropped", some(own.dropped)),
        ("suspects", some(own.suspects)),
        ("headless", Some(own.headless).filter(|headless| *headless).into()),
        ("pod", own.pod.clone().into()),
        ("command", if own.command.is_empty() { Value::Null } else { json!(own.command) }),
    ])
}

/// One of several runs, in short.
fn run(story: &Story, told: Option<&Told>) -> Value {
    known([
        ("id", story.own.as_ref().map(|own| own.run.clone()).into()),
        ("started", wall(story.clock.origin)),
        ("duration_ms", ms(story.now()).into()),
        ("exit_code", story.exit.code.into()),
        ("verdict", told.map_or(Value::Null, verdict)),
    ])
}

fn ms(at: Mono) -> u64 {
    at.0 / 1_000_000
}

fn wall(wall: Option<Wall>) -> Value {
    let time = wall.map(|wall| SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0));
    time.map(|time| humantime::format_rfc3339_millis(time).to_string()).into()
}
