//! The same formats in files as people have them: what collectors, editors and mails put around the
//! lines changes nothing of what is found.

use super::cases::CASES;
use super::outcome::{Outcome, of_json, of_report};
use crate::support::{Run, TempDir};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

const STAMP: &str = "2026-03-02T09:14:07.120345678Z";

/// A capture's lines, each in another wrapping.
fn each(raw: &str, wrap: impl Fn(&str) -> String) -> Vec<u8> {
    raw.lines()
        .fold(String::new(), |mut text, line| {
            let _ = writeln!(text, "{}", wrap(line));
            text
        })
        .into_bytes()
}

/// A line in pieces of 40 characters, and whether each is the last.
fn pieces(line: &str) -> Vec<(&str, bool)> {
    let mut list = Vec::new();
    let mut rest = line;
    while rest.len() > 40 && rest.is_char_boundary(40) {
        list.push((&rest[..40], false));
        rest = &rest[40..];
    }
    list.push((rest, true));
    list
}

fn cri(raw: &str) -> Vec<u8> {
    let mut text = String::new();
    for (piece, last) in raw.lines().flat_map(pieces) {
        let _ = writeln!(text, "{STAMP} stderr {} {piece}", if last { 'F' } else { 'P' });
    }
    text.into_bytes()
}

fn docker(raw: &str) -> Vec<u8> {
    let mut text = String::new();
    for (piece, last) in raw.lines().flat_map(pieces) {
        let log = format!("{piece}{}", if last { "\n" } else { "" });
        let log = serde_json::Value::from(log);
        let _ = writeln!(text, "{{\"log\":{log},\"stream\":\"stderr\",\"time\":\"{STAMP}\"}}");
    }
    text.into_bytes()
}

fn packed(raw: &str) -> Vec<u8> {
    // Two members, as `cat a.gz b.gz` makes.
    let (one, two) = raw.split_at(raw.find('\n').unwrap() + 1);
    let members = [one, two].map(|part| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(part.as_bytes()).unwrap();
        packer.finish().unwrap()
    });
    members.concat()
}

fn wide(raw: &str) -> Vec<u8> {
    let units =
        std::iter::once(0xfeff).chain(raw.replace('\n', "\r\n").encode_utf16().collect::<Vec<_>>());
    units.flat_map(u16::to_le_bytes).collect()
}

/// Every wrapping with its name.
fn wrapped(raw: &str) -> Vec<(&'static str, Vec<u8>)> {
    let pod = "[pod/api-7d9f/migrate]";
    vec![
        ("crlf", raw.replace('\n', "\r\n").into_bytes()),
        ("indented", each(raw, |line| format!("    {line}"))),
        ("tabbed", each(raw, |line| format!("\t{line}"))),
        // Editors take the blanks off an empty line.
        ("quoted", each(raw, |line| format!("> {line}").trim_end().to_owned())),
        ("compose", each(raw, |line| format!("migrate-1  | {line}"))),
        ("timestamps", each(raw, |line| format!("{STAMP} {line}"))),
        ("prefix", each(raw, |line| format!("{pod} {line}"))),
        ("prefix-timestamps", each(raw, |line| format!("{pod} {STAMP} {line}"))),
        ("cri", cri(raw)),
        ("docker", docker(raw)),
        ("gzip", packed(raw)),
        ("utf-16", wide(raw)),
    ]
}

fn facts(outcome: &Outcome) -> (String, u64, [u64; 3], u64) {
    (outcome.text(), outcome.goroutines, outcome.traces, outcome.lines)
}

/// Runs a case and gives the path of what the program wrote.
fn capture(name: &str, version: &str, directory: &Path) -> Option<PathBuf> {
    let case = CASES.iter().find(|case| case.name == name).unwrap();
    Some(super::run(case, version, directory)?.path)
}

#[test]
fn a_capture_in_any_wrapping_is_read_as_the_bare_one() {
    let directory = TempDir::new();
    for (name, version) in [
        ("states", "1.19"),
        ("states", "1.27"),
        ("panic-nested", "1.23"),
        ("panic-nil-pointer", "1.27"),
        ("fatal-deadlock", "1.19"),
        ("fatal-overflow", "1.27"),
    ] {
        let Some(path) = capture(name, version, &directory.0) else { return };
        let raw = fs::read_to_string(&path).unwrap();
        let bare = of_report(&path);
        assert!(bare.goroutines > 0 && bare.lines == 0, "{name}: {bare:?}");
        for (how, bytes) in wrapped(&raw) {
            let path = directory.path(&format!("{name}-{version}-{how}.log"));
            fs::write(&path, bytes).unwrap();
            assert_eq!(facts(&of_report(&path)), facts(&bare), "{name}, Go {version}, {how}");
        }
    }
}

#[test]
fn a_log_that_rotation_has_cut_is_read_as_one() {
    let directory = TempDir::new();
    let Some(path) = capture("states", "1.27", &directory.0) else { return };
    let raw = fs::read_to_string(&path).unwrap();
    let bare = of_report(&path);
    // Between two goroutines, and in the middle of one.
    for cut in [raw.find("\n\n").unwrap() + 2, raw.len() / 2] {
        let cut = cut + raw[cut..].find('\n').unwrap() + 1;
        let files = [directory.path("app.log.1"), directory.path("app.log")];
        fs::write(&files[0], &raw[..cut]).unwrap();
        fs::write(&files[1], &raw[cut..]).unwrap();
        let run = Run::goinit().args(["report", "--json"]).args(&files).finish().expect_code(0);
        let report = serde_json::from_str(&run.stdout()).unwrap();
        assert_eq!(facts(&of_json(&report)), facts(&bare));
    }
}

/// Waits of whole minutes, which take minutes to come about: recorded from real programs.
#[test]
fn waits_of_minutes_are_read_and_split_no_group() {
    let Some(corpus) = crate::support::shared("corpus/go") else { return };
    for version in ["1.21.13", "1.27.3"] {
        let path = corpus.join(format!("chan-recv-minutes__go{version}__sched10000-p2-gcs.log"));
        let done = Run::goinit().args(["report", "--json"]).arg(&path).finish().expect_code(0);
        let report: serde_json::Value = serde_json::from_str(&done.stdout()).unwrap();
        let stacks = report["stacks"].as_array().unwrap();
        let main = stacks.iter().find(|stack| stack["first_ids"][0] == 1).unwrap();
        assert_eq!(
            (main["state"].as_str(), main["minutes"].as_u64()),
            (Some("chan receive"), Some(1))
        );
        // The same goroutines with other waits are the same groups.
        let other = fs::read_to_string(&path).unwrap().replace(", 1 minutes", ", 75 minutes");
        let directory = TempDir::new();
        let copy = directory.path("copy.log");
        fs::write(&copy, &other).unwrap();
        assert_eq!(facts(&of_report(&copy)), facts(&of_report(&path)));
        let twice = format!("{other}{}", fs::read_to_string(&path).unwrap());
        assert!(twice.contains("75 minutes") && twice.contains(" 1 minutes"));
    }
}
