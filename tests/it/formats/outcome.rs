//! What goinit makes of a capture, in a few lines that a person can check: from the records of the
//! live run, and from the report on the file.

use crate::support::Run;
use serde_json::Value;
use std::path::Path;

/// What was made of one capture.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    crashes: Vec<String>,
    groups: Vec<String>,
    pub(super) goroutines: u64,
    pub(super) traces: [u64; 3],
    /// Lines of the program, where they are known.
    pub(super) text: Vec<String>,
    /// How many.
    pub(super) lines: u64,
}

impl Outcome {
    /// Everything but the numbers, which depend on the machine.
    pub(super) fn text(&self) -> String {
        let mut groups = self.groups.clone();
        groups.sort();
        let lines = self.text.iter().map(|line| format!("= {line}\n"));
        let traces = ["snapshots", "packages", "collections"].into_iter().zip(self.traces);
        let traces = traces.filter(|(_, count)| *count > 0).map(|(name, _)| format!("{name}\n"));
        traces.chain(self.crashes.iter().cloned()).chain(groups).chain(lines).collect()
    }
}

fn words(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(words).collect()
}

fn crash(kind: &str, proven: &str, parts: [(&str, &Value); 3]) -> String {
    let mut text = format!("crash {kind}{proven}\n");
    for (mark, value) in parts {
        for line in words(value).lines() {
            let head: String = line.chars().take(300).collect();
            text.push_str(&format!("  {mark} {head}\n"));
        }
    }
    text
}

/// The functions that the runtime's own tracebacks would show, without places.
fn functions(frames: &[String]) -> Vec<String> {
    let name = |frame: &String| {
        let end = frame.find(" /").or_else(|| frame.rfind(' ')).unwrap_or(frame.len());
        let place = frame[end..].rsplit(':').next().unwrap_or_default();
        let has_place = place.bytes().all(|byte| byte.is_ascii_digit());
        if has_place { frame[..end].to_owned() } else { frame.clone() }
    };
    let hidden = |name: &String| {
        let inner = name.strip_prefix("runtime.");
        inner.is_some_and(|name| !name.starts_with(|c: char| c.is_ascii_uppercase()))
            && name != "runtime.cgocall"
    };
    let mut shown: Vec<String> = frames.iter().map(name).filter(|name| !hidden(name)).collect();
    // A deep recursion in short.
    shown.dedup();
    shown
}

/// A group as a record and a report tell it, under the same names.
fn told(one: &Value) -> Option<String> {
    let named = |name: &str| one[name].clone();
    group(
        &one["count"],
        &one["state"],
        &one["frames"],
        [
            ("by", named("created_by")),
            ("locked", named("locked")),
            ("labels", named("labels")),
            ("remarks", named("remarks")),
            ("ancestors", named("ancestors")),
        ],
    )
}

/// One group in a line; nothing for the runtime's own goroutines, for the one that has sent itself
/// a signal, which may be anywhere by then, and for test runners.
fn group(count: &Value, state: &Value, frames: &Value, more: [(&str, Value); 5]) -> Option<String> {
    let functions = functions(&list(frames));
    let own = functions.iter().any(|name| name.starts_with("main.") || name.contains("formats."));
    let away = ["main.quit", "inTheBubble", "syscall.Kill", "testing.runTests"];
    if !own || functions.iter().any(|name| away.iter().any(|one| name.contains(one))) {
        return None;
    }
    let mut text = format!("{count} x [{}] {}", words(state), functions.join(" < "));
    for (mark, value) in more {
        let value = match &value {
            Value::Array(_) => list(&value).join(", "),
            Value::Number(number) => number.to_string(),
            Value::String(text) => functions_of(mark, text),
            _ => String::new(),
        };
        if !value.is_empty() && value != "0" {
            text.push_str(&format!("; {mark} {value}"));
        }
    }
    text.push('\n');
    Some(text)
}

fn functions_of(mark: &str, text: &str) -> String {
    if mark == "by" { functions(&[text.to_owned()]).join("") } else { text.to_owned() }
}

/// What the live run has logged.
pub(super) fn of_records(records: &[Value]) -> Outcome {
    let mut outcome = Outcome::default();
    for record in records {
        match record["event_name"].as_str().unwrap_or_default() {
            "go.sched" => outcome.traces[0] += 1,
            "go.init" => outcome.traces[1] += 1,
            "go.gc" => outcome.traces[2] += 1,
            "go.panic" => {
                let panic = &record["panic"];
                let kind = words(&panic["kind"]);
                // One that was asked for is no crash, and of several the first is told.
                if !words(&panic["text"]).starts_with("SIGQUIT") && outcome.crashes.is_empty() {
                    let proven = if panic["proven"] == true { " proven" } else { "" };
                    let parts =
                        [("<", &panic["lead"]), ("|", &panic["text"]), ("!", &panic["signal"])];
                    outcome.crashes.push(crash(&kind, proven, parts));
                }
            }
            "go.goroutines" => {
                let one = &record["goroutines"];
                if let Some(total) = one["total"].as_u64() {
                    outcome.goroutines += total;
                    continue;
                }
                outcome.groups.extend(told(one));
            }
            "child.line" => {
                let part = &record["child"];
                match outcome.text.last_mut() {
                    Some(last) if part["continues"] == true => {
                        last.push_str(&words(&record["message"]))
                    }
                    _ => outcome.text.push(words(&record["message"])),
                }
            }
            _ => {}
        }
    }
    outcome.lines = outcome.text.len() as u64;
    outcome
}

/// What `goinit report` says of a file.
pub(super) fn of_report(path: &Path) -> Outcome {
    let done = Run::goinit().args(["report", "--json"]).arg(path).finish().expect_code(0);
    let report: Value = serde_json::from_str(&done.stdout()).unwrap();
    of_json(&report)
}

pub(super) fn of_json(report: &Value) -> Outcome {
    let number = |key: &str| report[key].as_u64().unwrap_or(0);
    // Words that look like a record and cannot be one are a line elsewhere.
    let damaged = number("sched_damaged");
    let mut outcome = Outcome {
        goroutines: number("goroutines"),
        traces: [number("sched_records") - damaged, number("init_packages"), number("gc_cycles")],
        lines: number("lines") + damaged,
        ..Outcome::default()
    };
    let found = &report["crash"];
    if !found.is_null() {
        let text = if found["text"].is_null() { &found["message"] } else { &found["text"] };
        let proven = if found["proven"] == true { " proven" } else { "" };
        let parts = [("<", &found["lead"]), ("|", text), ("!", &found["signal"])];
        outcome.crashes.push(crash(&words(&found["kind"]), proven, parts));
    }
    for one in report["stacks"].as_array().into_iter().flatten() {
        outcome.groups.extend(told(one));
    }
    outcome
}

/// Without what differs from run to run and between versions for other reasons than the format:
/// addresses, times, the numbers of function literals.
/// `loose`: also where goroutines are, and whether two threads find the same fault.
pub(super) fn normal(text: &str, loose: bool) -> String {
    let mut normal = String::new();
    let lucky = |line: &&str| line.contains(" x [") || line.starts_with("  | fatal error:");
    // Which access the race detector saw first, and when it says so.
    let race = text.contains("WARNING: DATA RACE");
    let lucky = |line: &&str| {
        lucky(line) || (race && line.starts_with("= ") && !line.contains("WARNING: DATA RACE"))
    };
    for line in text.lines().filter(|line| !loose || !lucky(line)) {
        let mut line = after_each(line, "0x", |c| c.is_ascii_hexdigit());
        for mark in ["127.0.0.1:", "_cgoexp_", "(have ", "took ", ".func", ".gowrap", ".deferwrap"]
        {
            line = after_each(&line, mark, |c| c.is_ascii_hexdigit() || c == '.');
        }
        for mark in [
            "main.init.",
            "originating from goroutine ",
            "synctest bubble ",
            "synctest group ",
            "-byte block (",
        ] {
            line = after_each(&line, mark, |c| c.is_ascii_digit());
        }
        // What the compiler calls a literal is another matter.
        for name in [".gowrap_", ".deferwrap_", "_gowrap1", ".func_"] {
            line = line.replace(name, ".func");
        }
        normal.push_str(line.trim_end());
        normal.push('\n');
    }
    normal
}

/// With a `_` for the characters behind each mark.
fn after_each(line: &str, mark: &str, is: impl Fn(char) -> bool) -> String {
    let mut pieces = line.split(mark);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(&is);
        text.push_str(mark);
        if rest.len() < piece.len() {
            text.push('_');
        }
        text.push_str(rest);
    }
    text
}
