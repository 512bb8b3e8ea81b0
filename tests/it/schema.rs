//! docs/log-schema.json describes every record: whatever a test run of goinit logs is held against
//! it, and a shape that it does not know fails the test.

use crate::support::{PROJECT, Run};
use serde_json::Value;
use std::sync::OnceLock;

fn schema() -> &'static Value {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let text = std::fs::read_to_string(format!("{PROJECT}/docs/log-schema.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    })
}

/// Fails unless the log's own records are as the schema says, with their keys in order.
#[track_caller]
pub(crate) fn check(log: &[u8]) {
    for line in log.split(|byte| *byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Value>(line) else { continue };
        if !record["goinit"].is_object() || record["event_name"].is_null() {
            continue;
        }
        let wrong = faults(&record);
        let text = String::from_utf8_lossy(line);
        assert!(wrong.is_empty(), "{} in {text}", wrong.join("; "));
        assert!(line.len() <= 8_000, "{} bytes: {text}", line.len());
        let head = [
            "{\"timestamp\":",
            ",\"severity\":",
            ",\"message\":",
            ",\"event_name\":",
            ",\"origin\":",
            ",\"goinit\":",
        ];
        let places: Vec<_> = head.iter().map(|key| text.find(key)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "order of keys: {text}");
    }
}

/// What is wrong with a record.
fn faults(record: &Value) -> Vec<String> {
    let name = record["event_name"].as_str().unwrap_or_default();
    let Some(shape) = schema()["$defs"].get(name) else {
        return vec![format!("no event {name:?} in the schema")];
    };
    let mut wrong = Vec::new();
    judge(shape, record, name, &mut wrong);
    wrong
}

/// The part of JSON Schema that the file uses; a keyword that is not known here is a fault.
fn judge(shape: &Value, value: &Value, path: &str, wrong: &mut Vec<String>) {
    for (keyword, wanted) in shape.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "type" => match wanted.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "boolean" => value.is_boolean(),
                "integer" => value.is_i64() || value.is_u64(),
                // Floats always carry a point, so that a path keeps one type for ever.
                "number" => value.is_f64(),
                _ => false,
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "minimum" => value.as_f64() >= wanted.as_f64(),
            "maximum" => value.as_f64() <= wanted.as_f64(),
            "minLength" => value.as_str().map(str::len) >= wanted.as_u64().map(|n| n as usize),
            "maxLength" => value.as_str().map(str::len) <= wanted.as_u64().map(|n| n as usize),
            "minItems" => value.as_array().map(Vec::len) >= wanted.as_u64().map(|n| n as usize),
            "required" => wanted
                .as_array()
                .unwrap()
                .iter()
                .all(|key| value.get(key.as_str().unwrap()).is_some()),
            "items" => {
                for (at, item) in value.as_array().into_iter().flatten().enumerate() {
                    judge(wanted, item, &format!("{path}[{at}]"), wrong);
                }
                true
            }
            "properties" => {
                for (key, inner) in value.as_object().into_iter().flatten() {
                    match wanted.get(key) {
                        Some(shape) => judge(shape, inner, &format!("{path}.{key}"), wrong),
                        None => wrong.push(format!("{path}.{key} is not in the schema")),
                    }
                }
                true
            }
            // Held by "properties" above.
            "additionalProperties" => *wanted == false,
            "format" => value.as_str().is_some_and(|time| time.ends_with('Z')),
            _ => false,
        };
        if !holds {
            wrong.push(format!("{path}: {keyword} is not {wanted}"));
        }
    }
}

#[test]
fn a_shape_that_the_schema_does_not_know_is_a_fault() {
    let log =
        Run::goinit().args(["--termination-log=none", "--", "sh", "-c", "echo x >&2"]).finish();
    let records = log.records();
    assert!(records.len() >= 3 && records.iter().all(|record| faults(record).is_empty()));
    let spoil = |change: &dyn Fn(&mut Value)| {
        let mut record = records[0].clone();
        change(&mut record);
        assert!(!faults(&record).is_empty(), "{record}");
    };
    spoil(&|record| record["more"] = 1.into());
    spoil(&|record| record["severity"] = "FATAL".into());
    spoil(&|record| record["goinit"]["seq"] = 0.into());
    spoil(&|record| record["goinit"]["run"] = "xyz".into());
    spoil(&|record| record["process"]["pid"] = "7".into());
    spoil(&|record| record["event_name"] = "goinit.new".into());
    spoil(&|record| drop(record.as_object_mut().unwrap().remove("process")));
}

#[test]
fn every_event_of_the_documentation_is_in_the_schema() {
    let text = std::fs::read_to_string(format!("{PROJECT}/docs/log-format.md")).unwrap();
    let (_, events) = text.split_once("## Events").unwrap();
    let (events, _) = events.split_once("\n## ").unwrap();
    let rows = events.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        Some((cells.next()?, cells.next()?))
    });
    let severities =
        |cell: &str| ["DEBUG", "INFO", "WARN", "ERROR"].map(|word| cell.contains(word));
    let mut named: Vec<_> = rows
        .flat_map(|(names, cell)| names.split(", ").map(move |name| (name.trim_matches('`'), cell)))
        .filter(|(name, _)| *name != "event_name")
        .collect();
    named.sort_unstable();
    let schema = schema();
    let known = schema["$defs"].as_object().unwrap();
    assert!(named.iter().map(|(name, _)| *name).eq(known.keys().map(String::as_str)), "{named:?}");
    for (name, cell) in named {
        let allowed = known[name]["properties"]["severity"].to_string();
        assert_eq!(severities(cell), severities(&allowed), "{name}: {cell}, {allowed}");
    }
}
