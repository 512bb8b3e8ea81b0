//! `goinit report`: what a captured log says. First cut: raw stderr of a Go program, counted.

use super::out;
use crate::exit::Code;
use crate::go::crash::CrashKind;
use crate::go::entry::Entry;
use crate::go::line::{Assembler, Framing};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Read;

/// What `goinit report --help` prints.
pub(crate) const HELP: &str = "\
usage: goinit report [--json] FILE...|-

Reads the captured stderr of a Go program and prints what is in it: snapshots,
crash, goroutines.

  kubectl logs pod -c migrate | goinit report -
";

/// What was found in one file.
#[derive(Debug, Default)]
struct Findings {
    read: u64,
    damaged: u64,
    goroutines: u64,
    groups: u64,
    frames: u64,
    max_threads: u32,
    init_packages: u64,
    gc_cycles: u64,
    states: BTreeMap<String, u64>,
    crash: Option<(CrashKind, String)>,
}

/// Runs the subcommand.
pub(crate) fn main(args: Vec<OsString>) -> Code {
    let mut json = false;
    let mut files = Vec::new();
    for arg in args {
        match arg.to_str() {
            Some("--help" | "-h") => {
                out::print(HELP);
                return Code::SUCCESS;
            }
            Some("--json") => json = true,
            Some(flag) if flag.len() > 1 && flag.starts_with('-') => {
                out::error(&format!("report: unknown flag {flag}; see goinit report --help"));
                return Code::FAILED;
            }
            Some(_) | None => files.push(arg),
        }
    }
    if files.is_empty() {
        out::error("report: no file given; name one, or - for standard input");
        return Code::FAILED;
    }
    let mut code = Code::SUCCESS;
    for file in files {
        match read(&file) {
            Ok(found) => out::print(&found.render(&file, json)),
            Err(error) => {
                out::error(&format!("report: cannot read {}: {error}", file.display()));
                code = Code::FAILED;
            }
        }
    }
    code
}

fn read(file: &OsStr) -> std::io::Result<Findings> {
    let mut input: Box<dyn Read> =
        if file == "-" { Box::new(std::io::stdin()) } else { Box::new(std::fs::File::open(file)?) };
    let mut found = Findings::default();
    let mut assembler = Assembler::new(Framing::Stream);
    let mut chunk = vec![0; 64 << 10];
    loop {
        let count = input.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        let bytes = chunk.get(..count).unwrap_or_default();
        assembler.feed(bytes, &mut |entry| found.take(&entry));
    }
    assembler.end(&mut |entry| found.take(&entry));
    Ok(found)
}

impl Findings {
    fn take(&mut self, entry: &Entry<'_>) {
        match entry {
            Entry::Sched(snapshot) => {
                self.read += 1;
                self.max_threads = self.max_threads.max(snapshot.threads);
            }
            Entry::Damaged(_) => self.damaged += 1,
            Entry::Init(_) => self.init_packages += 1,
            Entry::Gc(_) => self.gc_cycles += 1,
            Entry::Crash(head) => {
                let text = String::from_utf8_lossy(head.first_line()).into_owned();
                self.crash.get_or_insert((head.kind, text));
            }
            Entry::Goroutines(group) => {
                let state = String::from_utf8_lossy(group.state()).into_owned();
                *self.states.entry(state).or_default() += group.count();
            }
            Entry::DumpEnd(totals) => {
                self.goroutines += totals.goroutines;
                self.groups += totals.groups;
                self.frames += totals.frames;
            }
            Entry::Text(_) | Entry::Json(_) => {}
        }
    }

    fn render(&self, file: &OsStr, json: bool) -> String {
        let mut object = serde_json::json!({
            "file": file.to_string_lossy(),
            "sched_records": self.read + self.damaged,
            "sched_damaged": self.damaged,
            "goroutines": self.goroutines,
            "groups": self.groups,
            "frames": self.frames,
            "max_threads": self.max_threads,
            "init_packages": self.init_packages,
            "gc_cycles": self.gc_cycles,
            "states": self.states,
        });
        if let (Some((kind, text)), Some(map)) = (&self.crash, object.as_object_mut()) {
            map.insert("crash".into(), serde_json::json!({"kind": kind.word(), "message": text}));
        }
        if json {
            return format!("{object}\n");
        }
        let members = object.as_object().into_iter().flatten();
        members.map(|(key, value)| format!("{key}: {value}\n")).collect()
    }
}
