//! The floor plan as a test: who may name whom is read off the paths in the source, and a breach
//! fails here. So do files that have grown too large, and flags that nobody documented.
//!
//! Tests and comments are not looked at: a test may reach anywhere.

use std::fs;
use std::path::Path;

use crate::support::PROJECT;

/// Each room of the house, and the rooms it may name beside itself: imports go downwards only,
/// and `go` and `linux` do not know each other.
const FLOORS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("lib", &[]),
    ("cli", &["host", "policy", "go", "linux", "sys", "units", "exit"]),
    ("host", &["policy", "go", "linux", "sys", "units", "exit"]),
    ("policy", &["go", "linux", "units", "exit"]),
    ("go", &["units"]),
    ("linux", &["units"]),
    ("sys", &["units", "exit"]),
    ("exit", &["units"]),
    ("units", &[]),
];

/// Each crate with a place of its own: files or rooms that may name it.
const CRATES: &[(&str, &[&str])] = &[
    ("libc", &["sys/"]),
    ("nix", &["sys/"]),
    ("signal_hook", &["sys/signals.rs"]),
    ("procfs", &["linux/", "host/"]),
    ("serde_json", &["policy/record.rs", "policy/evidence.rs", "policy/report/", "cli/"]),
    ("lexopt", &["cli/"]),
];

/// Rooms that decide or parse, and so touch nothing outside.
const PURE: &[&str] = &["policy", "go", "linux"];
/// What touches the outside.
const OUTSIDE: &[&str] = &[
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "Instant",
    "SystemTime::now",
];

/// Lines of code of a file at most, tests, comments and blank lines not counted.
const LINES_MAX: usize = 500;
/// Files that are larger, and how large they may be. Nothing is to be added to this list.
const LARGE: &[(&str, usize)] = &[];

/// One file of the source, without comments and tests.
struct Source {
    /// Below src.
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let mut code = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line == "#[cfg(test)]" {
                if lines.peek().is_some_and(|next| next.ends_with('{')) {
                    // Up to the closing brace of that block, which stands at the margin.
                    lines.by_ref().find(|line| *line == "}");
                } else {
                    lines.next();
                }
                continue;
            }
            let bare = line.split(" // ").next().unwrap().trim();
            if !bare.is_empty() && !bare.starts_with("//") {
                code.push_str(bare);
                code.push('\n');
            }
        }
        Self { path: path.to_owned(), code }
    }

    /// `policy` for policy/record.rs, `units` for units.rs.
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// How many modules deep the file is: 2 for policy/record.rs, 1 for policy/mod.rs.
    fn depth(&self) -> usize {
        self.path.split('/').filter(|part| *part != "mod.rs").count()
    }

    /// Whether a path in the code starts with this name.
    fn names(&self, name: &str) -> bool {
        self.paths(name).next().is_some()
    }

    /// The rest of the code behind each mention of this name as a path's start.
    fn paths<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.code.match_indices(name).filter_map(move |(at, _)| {
            let before = &self.code[..at];
            let after = &self.code[at + name.len()..];
            let starts = !before.ends_with(|c: char| c.is_alphanumeric() || "_:\"".contains(c));
            let used = after.starts_with("::")
                || (before.ends_with("use ") && after.starts_with([';', ' ']));
            (starts && used).then_some(after)
        })
    }

    /// What this file may not do and does, a sentence each.
    fn breaches(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut breach = |what: String| found.push(format!("src/{}: {what}", self.path));
        let room = self.room();
        let Some((_, below)) = FLOORS.iter().find(|(name, _)| *name == room) else {
            return vec![format!("src/{}: a room that the floor plan does not know", self.path)];
        };
        for rest in self.paths("crate").chain(self.paths("goinit")) {
            let rest = rest.trim_start_matches("::");
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            let named = &rest[..end];
            if named.is_empty() {
                breach("one room in one `use`: no `crate::{…}`".to_owned());
            } else if named != room && !below.contains(&named) {
                breach(format!("{room} may not name {named}"));
            }
        }
        for rest in self.paths("super") {
            let above = rest.split("::").skip(1).take_while(|part| *part == "super");
            let climbed = 1 + above.count();
            if climbed >= self.depth() {
                breach("`super` leads out of the room: write `crate::`".to_owned());
            }
        }
        for (name, places) in CRATES {
            if self.names(name) && !places.iter().any(|place| self.path.starts_with(place)) {
                breach(format!("{name} is named only in {}", places.join(", ")));
            }
        }
        for word in OUTSIDE {
            if PURE.contains(&room) && self.code.contains(word) {
                breach(format!("{room} touches nothing outside, and names {word}"));
            }
        }
        if self.code.contains("unsafe {") && room != "sys" {
            breach("unsafe code is in sys only".to_owned());
        }
        let lines = self.code.lines().count();
        let most = LARGE.iter().find(|(path, _)| *path == self.path).map_or(LINES_MAX, |(_, n)| *n);
        if lines > most {
            breach(format!("{lines} lines of code, {most} at most"));
        }
        found
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(PROJECT).join("src");
    let mut found = Vec::new();
    let mut directories = vec![root.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let below = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                directories.push(path);
            } else if below.ends_with(".rs") && !below.ends_with("tests.rs") {
                found.push(Source::new(&below, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn the_floor_plan_holds() {
    let sources = sources();
    assert!(sources.len() > 60, "only {} files found", sources.len());
    let breaches: Vec<String> = sources.iter().flat_map(Source::breaches).collect();
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

#[test]
fn the_list_of_large_files_is_not_longer_than_it_must_be() {
    for (path, most) in LARGE {
        let source = sources().into_iter().find(|source| source.path == *path);
        let lines = source.expect("no such file").code.lines().count();
        assert!(lines > LINES_MAX, "{path} has {lines} lines: take it off the list (≤ {most})");
    }
}

#[test]
fn pure_rooms_forbid_unsafe_code() {
    for room in PURE {
        let text = fs::read_to_string(format!("{PROJECT}/src/{room}/mod.rs")).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "src/{room}/mod.rs");
    }
}

#[test]
fn every_kind_of_breach_is_seen() {
    let check = |path: &str, text: &str, wanted: &str| {
        let breaches = Source::new(path, text).breaches().join("\n");
        assert!(breaches.contains(wanted), "{path}: {text}: {breaches:?}");
    };
    check("policy/a.rs", "use crate::host::files;", "policy may not name host");
    check("go/a.rs", "fn a(b: crate::linux::B) {}", "go may not name linux");
    check("linux/a.rs", "use crate::go::line;", "linux may not name go");
    check("sys/a.rs", "use crate::policy::config;", "sys may not name policy");
    check("units.rs", "use crate::exit::Code;", "units may not name exit");
    check("main.rs", "use goinit::host;", "main may not name host");
    check("cellar/a.rs", "", "does not know");
    check("cli/a.rs", "use crate::{host, exit};", "one room in one");
    check("go/a.rs", "use super::super::host;", "leads out of the room");
    check("host/a.rs", "use nix::poll;", "nix is named only in sys/");
    check("host/a.rs", "let x = libc::getpid();", "libc is named only");
    check("host/a.rs", "use serde_json::Value;", "serde_json is named only");
    check("policy/a.rs", "use lexopt;", "lexopt is named only");
    check("sys/a.rs", "signal_hook::low_level::raise(1)", "signal_hook is named only");
    check("policy/a.rs", "use procfs::Current;", "procfs is named only");
    check("policy/a.rs", "std::fs::read(x)", "touches nothing outside");
    check("host/a.rs", "unsafe { f() }", "unsafe code is in sys only");
    check("host/a.rs", &"let a = 1;\n".repeat(501), "501 lines of code");
}

#[test]
fn what_is_allowed_is_no_breach() {
    let check = |path: &str, text: &str| {
        assert_eq!(Source::new(path, text).breaches(), Vec::<String>::new(), "{path}: {text}");
    };
    check("host/a.rs", "use crate::policy::event;\nuse super::sink;\nuse std::os::unix::fs::X;");
    check("policy/a.rs", "// crate::host decides nothing\nfn a() {} // libc::getpid");
    check("policy/a.rs", "#[cfg(test)]\nmod tests {\n    use crate::host::files;\n}");
    check("host/evidence/a.rs", "use super::super::files::Root;\nfn libc_of() {}");
}

/// Names of flags as src/cli/flags.rs defines them.
fn flags() -> Vec<String> {
    let text = fs::read_to_string(format!("{PROJECT}/src/cli/flags.rs")).unwrap();
    let calls = text.split("\n    flag(\n").skip(1);
    let names = calls.filter_map(|call| call.split('"').nth(1));
    names.map(str::to_owned).collect()
}

#[test]
fn every_flag_is_documented() {
    let read = |name: &str| fs::read_to_string(Path::new(PROJECT).join(name)).unwrap();
    let mut manual = read("docs/goinit.1");
    // roff: fonts, and a hyphen that is a minus.
    for (escape, text) in [("\\fB", " "), ("\\fI", " "), ("\\fR", " "), ("\\-", "-")] {
        manual = manual.replace(escape, text);
    }
    let text = format!("{}\n{manual}", read("README.md"));
    let flags = flags();
    assert!(flags.len() > 30, "only {} flags found: {flags:?}", flags.len());
    let missing: Vec<_> = flags
        .iter()
        .filter(|flag| {
            let dashed = format!("--{flag}");
            !text
                .split(&dashed)
                .skip(1)
                .any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-'))
        })
        .collect();
    assert!(missing.is_empty(), "in neither README.md nor docs/goinit.1: {missing:?}");
}
