//! Every format in which the Go runtime prints, from real programs of Go 1.19 to 1.27.
//!
//! [`cases::CASES`] is the list: what makes a runtime print the format, and which versions are made
//! to. Each case runs under goinit, which keeps the untouched bytes (`--raw`); then three readers
//! have to agree about them: the live run (packets), `goinit report` (a file) and the library's
//! assembler, whose entries are held against a ledger of the bytes. What they find is compared with
//! tests/data/formats/NAME; `UPDATE_EXPECT=1` writes these files anew, for a person to read.

mod cases;
mod files;
mod ledger;
mod outcome;

use crate::support::{Done, PROJECT, Run, TempDir, build_with, go, helper, output, skip};
use cases::{CASES, Case, Flavor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A finished case: what the log of the live run says, and the program's own bytes.
struct Ran {
    done: Done,
    raw: Vec<u8>,
    path: PathBuf,
}

/// Builds the program of a flavor; nothing = reported as skipped.
fn program(flavor: Flavor, version: &str) -> Option<PathBuf> {
    let (source, name, verb, environment): (&str, &str, &[&str], &[(&str, &str)]) = match flavor {
        Flavor::Plain => ("formats", "formats", &["build"], &[]),
        Flavor::Test => ("formats", "formats.test", &["test", "-c", "-vet=off"], &[]),
        Flavor::Synctest => {
            let environment = &[("GOEXPERIMENT", "synctest")];
            ("formats", "formats.synctest", &["test", "-c", "-vet=off"], environment)
        }
        Flavor::Leaks => {
            let environment = &[("GOEXPERIMENT", "goroutineleakprofile")];
            ("formats", "formats.leaks", &["build"], environment)
        }
        Flavor::Checkptr => {
            ("formats", "formats.checkptr", &["build", "-gcflags=all=-d=checkptr"], &[])
        }
        Flavor::Cgo => ("formats-cgo", "formats-cgo", &["build"], &[("CGO_ENABLED", "1")]),
        Flavor::Tomorrow => return tomorrow(version),
        Flavor::Race => {
            ("formats-cgo", "formats-cgo.race", &["build", "-race"], &[("CGO_ENABLED", "1")])
        }
    };
    build_with(&helper(source), name, version, verb, environment)
}

/// The same program with a runtime that has one key more in its `SCHED` lines, with a word as value.
fn tomorrow(version: &str) -> Option<PathBuf> {
    const LAST: &str = r#"" runqueue=", sched.runq.size)"#;
    let root = output(Command::new(go(version)?.go).args(["env", "GOROOT"])).unwrap();
    let ours = Path::new(root.trim()).join("src/runtime/proc.go");
    let source = fs::read_to_string(&ours).unwrap();
    assert!(source.contains(LAST), "{} prints other lines", ours.display());
    let place = TempDir::new();
    let theirs = place.path("proc.go");
    let longer = LAST.replace(')', r#", " newkey=", "abc")"#);
    fs::write(&theirs, source.replace(LAST, &longer)).unwrap();
    let overlay = place.path("overlay.json");
    let table = serde_json::json!({ "Replace": { ours.to_str().unwrap(): theirs } });
    fs::write(&overlay, table.to_string()).unwrap();
    let flag = format!("-overlay={}", overlay.display());
    build_with(&helper("formats"), "formats.tomorrow", version, &["build", &flag], &[])
}

fn run(case: &Case, version: &str, directory: &Path) -> Option<Ran> {
    let program = program(case.flavor, version)?;
    let path = directory.join(format!("{}-{version}", case.name));
    let mut run = Run::goinit()
        .args(["--termination-log=none", "--sched-log=all"])
        .arg(format!("--raw={}", path.display()));
    if !case.traces {
        run = run.arg("--schedtrace=0");
    }
    for (name, value) in case.environment {
        run = run.env(name, value);
    }
    let run = run.arg("--").arg(program).args(case.arguments);
    let done = run.finish();
    if !path.exists() {
        fs::write(&path, "").unwrap();
    }
    let raw = fs::read(&path).unwrap();
    Some(Ran { done, raw, path })
}

/// Runs a case with one version, and gives what all readers agree upon; where they do not, that.
fn outcome(
    case: &Case,
    version: &str,
    directory: &Path,
    wrong: &mut Vec<String>,
) -> Option<String> {
    let ran = run(case, version, directory)?;
    let title = format!("{} with Go {version}", case.name);
    let found = ledger::read(&ran.raw, &title);
    let mut live = outcome::of_records(&ran.done.records());
    let report = outcome::of_report(&ran.path);
    let mut same = |what: &str, one: String, other: String| {
        if one != other {
            wrong.push(format!("{title}: {what}: {one}\n, not {other}"));
        }
    };
    same("exit code", ran.done.code.to_string(), case.code.to_string());
    same("goroutines reported", report.goroutines.to_string(), found.goroutines.to_string());
    same("traces reported", format!("{:?}", report.traces), format!("{:?}", found.traces));
    same("lines reported", report.lines.to_string(), found.lines.to_string());
    if case.live {
        let both = format!("{}in a file:\n{}", live.text(), report.text());
        return Some(outcome::normal(&both, case.loose));
    }
    same("goroutines live", live.goroutines.to_string(), found.goroutines.to_string());
    same("traces live", format!("{:?}", live.traces), format!("{:?}", found.traces));
    same("lines live", live.text.join("\n"), found.text.join("\n"));
    let text = std::mem::take(&mut live.text);
    same("crash and groups, live and reported", live.text(), report.text());
    live.text = text;
    if !ran.raw.ends_with(b"\n") && case.traces {
        // The program ended in the middle of a trace.
        let _ = live.text.pop();
    }
    Some(outcome::normal(&live.text(), case.loose))
}

/// Runs a share of the cases and compares what was found with what is expected.
fn check(mine: impl Fn(&Case) -> bool) {
    let directory = TempDir::new();
    let mut wrong = Vec::new();
    for case in CASES.iter().filter(|case| mine(case)) {
        // Versions that print alike stand together.
        let mut outcomes: Vec<(String, Vec<&str>)> = Vec::new();
        for version in case.versions {
            let found = outcome(case, version, &directory.0, &mut wrong);
            let Some(outcome) = found else { return };
            match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, versions)) => versions.push(version),
                None => outcomes.push((outcome, vec![version])),
            }
        }
        let sections = outcomes.iter();
        let found: String =
            sections.map(|(text, versions)| format!("# {}\n{text}", versions.join(" "))).collect();
        let path = format!("{PROJECT}/tests/data/formats/{}", case.name);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            fs::write(&path, &found).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != found {
            wrong.push(format!("not as in {path}:\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// Two halves, for two processors: a case is mostly a wait for processes.

#[test]
fn panics_of_every_version_are_read() {
    check(|case| case.name.starts_with("panic") || case.name.starts_with("test"));
}

#[test]
fn fatal_errors_and_signals_of_every_version_are_read() {
    check(|case| case.name.starts_with("fatal") || case.name.starts_with("signal"));
}

#[test]
fn dumps_and_traces_of_every_version_are_read() {
    let others = ["panic", "test", "fatal", "signal"];
    check(|case| !others.iter().any(|kind| case.name.starts_with(kind)));
}

/// docs/runtime-formats.md has a row for each case, with the versions it is tried with.
#[test]
fn the_documentation_lists_every_format_with_its_versions() {
    let text = fs::read_to_string(format!("{PROJECT}/docs/runtime-formats.md")).unwrap();
    let mut rows = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let (Some(names), Some(versions)) = (cells.last(), cells.get(1)) else { continue };
        for name in names.split(", ").filter_map(|name| name.strip_prefix('`')) {
            rows.insert(name.trim_end_matches('`').to_owned(), (*versions).to_owned());
        }
    }
    for case in CASES {
        let row = rows.remove(case.name);
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", case.name));
        assert_eq!(row, case.versions.join(" "), "versions of {}", case.name);
    }
    assert!(rows.is_empty(), "there is no case for {rows:?}");
}

/// What `go run` says behind a program that ended badly is a line of the program's stream.
#[test]
fn the_exit_status_that_go_run_prints_is_a_line() {
    let Some(toolchain) = go("1.27") else { return skip("no Go 1.27") };
    let copy = TempDir::new();
    fs::write(copy.path("main.go"), "package main\n\nfunc main() { panic(\"boom\") }\n").unwrap();
    let run = Run::goinit().args(["--termination-log=none", "--schedtrace=0", "--"]);
    let run = crate::support::go_environment()
        .iter()
        .fold(run, |run, (name, value)| run.env(name, value));
    let done = run.arg(toolchain.go).args(["run", "-trimpath"]).arg(copy.path("main.go")).finish();
    let found = outcome::of_records(&done.records());
    let expected = "crash panic proven\n  | boom\n1 x [running] main.main\n= exit status 2\n";
    assert_eq!((done.code, found.text().as_str()), (1, expected), "{}", done.stderr());
}
