//! What goinit adds to the runtime's own words: facts in lines that begin with #, and the JSON.

use super::{build, build_of, end, start, start_with};
use crate::support;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What goinit says of a program of tests/programs (its name, then arguments) that is ready, with
/// each list of options.
fn said(what: &str, version: &str, options: &[&[&str]]) -> Option<Vec<String>> {
    let mut words = what.split(' ');
    let mut command = Command::new(build_of(words.next()?, version, "stripped")?);
    command.args(words);
    let (mut child, _errors) = start_with(command);
    let pid = child.id().to_string();
    let dump = |options: &&[&str]| {
        support::output(Command::new(support::goinit()).arg("dump").args(*options).arg(&pid))
    };
    let texts: Vec<_> = options.iter().map(dump).collect();
    end(&mut child, 9);
    Some(texts.into_iter().map(Result::unwrap).collect())
}

/// The block of the first goroutine whose stack has this function.
fn block<'t>(text: &'t str, function: &str) -> &'t str {
    let found = text.split("\n\n").find(|block| block.contains(function));
    found.unwrap_or_else(|| panic!("no {function} in\n{text}"))
}

#[test]
fn each_goroutine_says_what_it_waits_for() {
    for version in ["1.19", "1.22", "1.25", "1.27"] {
        let Some(text) = said("waits", version, &[&[]]) else { continue };
        let text = &text[0];
        let check = |function: &str, words: &[&str]| {
            let block = block(text, function);
            for word in words {
                assert!(block.contains(word), "Go {version}: {word}?\n{block}");
            }
        };
        check("main.deep(", &["# waits for chan int 0x", ", 0 of 0 buffered"]);
        check("main.ab(", &["# waits for sync.Mutex 0x", ", locked, 1 waiting"]);
        check(
            "sync.(*WaitGroup).Wait",
            &["# waits for sync.WaitGroup 0x", ", counter 2, 1 waiting"],
        );
        check(
            "sync.(*RWMutex).RLock",
            &["sync.RWMutex 0x", " to read, ", "possibly held by goroutine"],
        );
        check("time.Sleep", &["# waits for time, 35"]);
        check(
            "net.(*TCPListener).Accept",
            &["# waits for descriptor ", " tcp 127.0.0.1:", " LISTEN to become readable"],
        );
        check("net.(*conn).Read", &[" -> 127.0.0.1:", " ESTABLISHED to become readable"]);
        check("os.(*File).Read", &[" pipe:[", "] to become readable"]);
        let select = text.split("\n\n").find(|block| block.contains("[select]:")).unwrap();
        assert_eq!(select.matches("# waits for chan").count(), 3, "{select}");
        assert!(select.contains(", 1 of 1 buffered"), "{select}");
        assert!(select.contains("chan string 0x"), "{select}");
    }
}

#[test]
fn system_calls_are_told_by_name_and_with_their_file() {
    for version in ["1.19", "1.27"] {
        let Some(text) = said("calls", version, &[&[]]) else { continue };
        let block = block(&text[0], "main.readFIFO(");
        assert!(block.starts_with("goroutine ") && block.contains("[syscall"), "{block}");
        assert!(block.contains("# on thread ") && block.contains(", in read(0<pipe:["), "{block}");
    }
}

#[test]
fn two_looks_tell_who_has_not_moved() {
    let Some(texts) =
        said("crowd busy 50", "1.25", &[&["--sample", "300ms"], &["--json", "--sample", "300ms"]])
    else {
        return;
    };
    let main = block(&texts[0], "main.main(");
    assert!(main.contains("# has not moved for 0.3 s"), "{main}");
    let worker = block(&texts[0], "main.busy.func1(");
    assert!(worker.contains("# moved within 0.3 s"), "{worker}");
    let document: Value = serde_json::from_str(&texts[1]).unwrap();
    assert!(document["sample_ms"].as_u64().unwrap() >= 300);
    let moved = |wanted| {
        let all = document["goroutines"].as_array().unwrap();
        all.iter().filter(|it| it["moved"] == Value::Bool(wanted)).count()
    };
    assert!(moved(true) > 4 && moved(false) > 0);
}

#[test]
fn one_lock_or_channel_shows_who_waits_and_who_holds_it() {
    let Some(program) = build("1.25", "stripped") else { return };
    let (mut child, _) = start(&program);
    let pid = child.id().to_string();
    let dump = |what: &str| {
        let mut command = Command::new(support::goinit());
        support::output(command.args(["dump", "--wait-for", what, pid.as_str()]))
    };
    let all =
        support::output(Command::new(support::goinit()).args(["dump", pid.as_str()])).unwrap();
    let deep = block(&all, "main.deep(");
    let number = deep.strip_prefix("goroutine ").unwrap().split(' ').next().unwrap().to_owned();
    let address = deep.split("chan int ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    let (by_number, by_address) = (dump(&number).unwrap(), dump(&address).unwrap());
    let nobody = dump("0xc0deadbee8").unwrap();
    let absent = dump("goroutine 999999").unwrap();
    let wrong = dump("it").unwrap_err();
    end(&mut child, 9);
    assert_eq!(by_number, by_address);
    assert!(
        by_number.starts_with(&format!(
            "# chan int {address}, 0 of 0 buffered: waited for by goroutines "
        )),
        "{by_number}"
    );
    assert!(by_number.contains("main.deep(") && by_number.contains("[select]"), "{by_number}");
    assert!(!by_number.contains("[IO wait]"), "{by_number}");
    assert_eq!(nobody, "# 0xc0deadbee8: nobody waits for it\n#   on nobody else's stack\n");
    assert_eq!(absent, "# there is no goroutine 999999\n");
    assert!(wrong.contains("--wait-for it: give an address"), "{wrong}");
}

#[test]
fn package_initialisation_is_told_with_function_and_progress() {
    for (version, progress) in [("1.19", false), ("1.21", true), ("1.27", true)] {
        let Some(program) = build_of("init-hang", version, "stripped") else { continue };
        let mut child = Command::new(&program).spawn().unwrap();
        let pid = child.id().to_string();
        let mut text = String::new();
        let hangs = || {
            let dump =
                support::output(Command::new(support::goinit()).args(["dump", pid.as_str()]));
            text = dump.unwrap_or_default();
            text.contains("db.(*pool).get")
        };
        let seen = support::wait_until(std::time::Duration::from_secs(20), hangs);
        end(&mut child, 9);
        assert!(seen, "Go {version}\n{text}");
        let line = text.lines().next().unwrap();
        let expected = if progress { " packages done; running " } else { "# init: running " };
        assert!(
            line.contains(expected) && line.contains("config/db.init.0"),
            "Go {version}: {line}"
        );
        assert!(!progress || line.contains("; pending "), "{line}");
    }
}

#[test]
fn the_json_has_the_documented_shape() {
    let schema = fs::read(Path::new(support::PROJECT).join("docs/dump.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let options: [&[&str]; 4] = [
        &["--json"],
        &["--json", "--system", "--running", "--sample", "50ms"],
        &["--json", "--group"],
        &["--json", "--wait-for", "1"],
    ];
    for (name, version) in
        [("waits", "1.19"), ("waits", "1.27"), ("spins", "1.25"), ("calls", "1.27")]
    {
        let Some(texts) = said(name, version, &options) else { continue };
        for text in texts {
            let document: Value = serde_json::from_str(&text).unwrap();
            let mut wrong = Vec::new();
            conforms(&schema, &schema, &document, "", &mut wrong);
            assert!(wrong.is_empty(), "{name} {version}: {wrong:#?}");
            assert_ne!(document.get("goroutines").is_some(), document.get("groups").is_some());
        }
    }
}

/// Checks a value against the keywords of JSON Schema that docs/dump.schema.json uses.
fn conforms(root: &Value, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let target = root.pointer(name.trim_start_matches('#')).unwrap();
        return conforms(root, target, value, place, wrong);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let fits = |one: &Value| {
            let mut found = Vec::new();
            conforms(root, one, value, place, &mut found);
            found.is_empty()
        };
        if !any.iter().any(fits) {
            wrong.push(format!("{place}: {value} fits nothing"));
        }
        return;
    }
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other}: not a keyword that is checked here"),
    };
    let fits = match &schema["type"] {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().any(|name| is(name.as_str().unwrap())),
        _ => true,
    };
    let constant = schema.get("const").is_none_or(|constant| constant == value);
    let listed = schema["enum"].as_array().is_none_or(|list| list.contains(value));
    if !fits || !constant || !listed {
        wrong.push(format!("{place}: {value}"));
    }
    if let (Some(object), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        for key in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(key.as_str().unwrap()) {
                wrong.push(format!("{place}: no {key}"));
            }
        }
        for (key, member) in object {
            match known.get(key) {
                Some(schema) => conforms(root, schema, member, &format!("{place}.{key}"), wrong),
                None => wrong.push(format!("{place}: {key} is not documented")),
            }
        }
    }
    for item in value.as_array().into_iter().flatten() {
        if let Some(schema) = schema.get("items") {
            conforms(root, schema, item, &format!("{place}[]"), wrong);
        }
    }
}
