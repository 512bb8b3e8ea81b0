//! `goinit dump PID`: all goroutines of a live Go program, without stopping it.

mod document;

use super::out;
use crate::exit::Code;
use crate::go::goroutine::{Dump, Goroutine};
use crate::go::print::{self, View};
use crate::go::subject::{self, Subject};
use crate::go::summary::{FrameText, Summary};
use crate::host::goroutines::{self, Access};
use crate::sys::{clock, fd};
use crate::units::Pid;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

/// What `goinit dump --help` prints.
pub(crate) const HELP: &str = "\
Usage: goinit dump [OPTIONS] PID

Prints every goroutine of a running Go program: state, what it waits for, stack. Reads its
memory; sends no signal and stops nothing. Works on stripped programs built with Go 1.19 to 1.27.

      --system         also the runtime's own goroutines and frames
      --running        also stacks of goroutines on a CPU; stops their threads for some 100 us
      --group          equal goroutines once, with their number; largest groups first
      --sample TIME    look twice, TIME apart: which goroutines have not moved in between?
      --wait-for WHAT  only what has to do with one channel or lock: who waits for it, who has it
                       on the stack and so probably holds it. WHAT is an address as printed
                       (0xc000012345), or a goroutine's number: what does that one wait for?
  -o, --output FILE    into FILE instead of to standard output
      --json           one JSON document instead of text: docs/dump.schema.json
      --timeout TIME   give up after TIME (default 5s); what was read by then is printed
  -h, --help           this text

Lines that begin with # are goinit's own: channels, locks and who may hold them, descriptors,
system calls, how far package initialisation is.

  $ goinit dump $(pidof server)
  # probable deadlock: goroutine 18 waits for sync.Mutex 0xc000012345, possibly held by …
  goroutine 18 [sync.Mutex.Lock, 2 minutes]:
          # waits for sync.Mutex 0xc000012345, locked, 1 waiting
          # possibly held by goroutine 7
  …

  $ goinit dump --group --sample 1s 1       what hangs, and since when
  $ goinit dump --wait-for 18 1             what goroutine 18 waits for, and because of whom

It needs the program's user, or CAP_SYS_PTRACE. Exit code 0, or 125 with the reason.
";

/// Output is written when this many bytes are together.
const BLOCK: usize = 64 * 1024;
/// Groups shown at most; the rest is counted.
const GROUPS: usize = 1000;
/// The longest time between two looks.
const SAMPLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Options {
    pid: Pid,
    system: bool,
    running: bool,
    group: bool,
    json: bool,
    sample: Option<Duration>,
    subject: Option<Subject>,
    output: Option<PathBuf>,
    timeout: Duration,
}

/// Runs the subcommand.
pub(crate) fn main(arguments: Vec<OsString>) -> Code {
    let options = match out::asked(parse(arguments), HELP) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let Options { pid, running, sample, subject, .. } = options;
    let access = Access { running, sample, subject, ..Access::to(pid) };
    let time = options.timeout + sample.unwrap_or_default();
    let dump = match goroutines::read(access, clock::mono().after(time)) {
        Ok(dump) => dump,
        Err(why) => {
            out::error(&format!("cannot read the goroutines of process {pid}: {why}"));
            return Code::FAILED;
        }
    };
    if let Some(path) = &options.output
        && let Err(error) = File::create(path).and_then(fd::become_standard_output)
    {
        out::error(&format!("--output {}: {error}", path.display()));
        return Code::FAILED;
    }
    print(&options, &dump);
    Code::SUCCESS
}

fn print(options: &Options, dump: &Dump) {
    let view = View { system: options.system, now: clock::mono().0 };
    let asked = options.subject.map(|subject| (subject, subject.addresses(dump)));
    let shown: Vec<&Goroutine> = match &asked {
        // Who takes part is asked for, the runtime's own included.
        Some((_, addresses)) => subject::members(dump, addresses),
        None => dump.goroutines.iter().filter(|it| view.system || !it.system).collect(),
    };
    if options.json {
        json(options, dump, &shown, asked.as_ref().map(|(_, addresses)| addresses), view);
        return;
    }
    let mut text = print::facts(dump);
    if let Some((subject, addresses)) = &asked {
        text += &subject::text(dump, *subject, addresses, view.now);
    }
    if options.group {
        text += &groups(&Summary::of_some(dump, shown, view.now, GROUPS));
        out::print(&text);
        return;
    }
    for goroutine in shown {
        print::goroutine(&mut text, dump, goroutine, view);
        flush(&mut text, BLOCK);
    }
    flush(&mut text, 0);
}

fn flush(text: &mut String, limit: usize) {
    if text.len() >= limit {
        out::print(text);
        text.clear();
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Option<Options>, String> {
    use lexopt::Arg::{Long, Short, Value};
    let usage = "give one process number, for example: goinit dump 1";
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut options = Options {
        pid: Pid(0),
        system: false,
        running: false,
        group: false,
        json: false,
        sample: None,
        subject: None,
        output: None,
        timeout: Duration::from_secs(5),
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("system") => options.system = true,
            Long("running") => options.running = true,
            Long("group") => options.group = true,
            Long("json") => options.json = true,
            Short('o') | Long("output") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                options.output = Some(value.into());
            }
            Long("timeout") => options.timeout = duration(&mut parser, "--timeout")?,
            Long("sample") => {
                options.sample = Some(duration(&mut parser, "--sample")?);
                if options.sample > Some(SAMPLE) {
                    return Err("--sample: at most 60s".to_owned());
                }
            }
            Long("wait-for") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                let text = value.to_string_lossy();
                options.subject = Some(Subject::parse(&text).ok_or_else(|| {
                    format!(
                        "--wait-for {text}: give an address as printed, 0xc000012345, or the \
                         number of a goroutine"
                    )
                })?);
            }
            Value(value) => {
                let text = value.to_string_lossy();
                let pid = text.parse().ok().filter(|pid| *pid > 0 && options.pid.0 == 0);
                options.pid = Pid(pid.ok_or_else(|| format!("'{text}': {usage}"))?);
            }
            Short(_) | Long(_) => {
                return Err(format!("{}; see goinit dump --help", argument.unexpected()));
            }
        }
    }
    if options.pid.0 == 0 { Err(usage.to_owned()) } else { Ok(Some(options)) }
}

/// The value of a flag that takes a time.
fn duration(parser: &mut lexopt::Parser, flag: &str) -> Result<Duration, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    let text = value.to_string_lossy();
    humantime::parse_duration(&text)
        .map_err(|error| format!("{flag} {text}: {error}; write a duration such as 5s"))
}

fn groups(summary: &Summary) -> String {
    let mut text = format!("# {} goroutines, {} of the user\n", summary.total, summary.users);
    for group in &summary.groups {
        let ids: Vec<String> = group.ids.iter().map(u64::to_string).collect();
        let more = if group.count > group.ids.len() { ", …" } else { "" };
        let _ = writeln!(
            text,
            "{} x [{}] goroutine {}{more}",
            group.count,
            group.state,
            ids.join(", ")
        );
        if let Some(still) = group.still {
            let _ = writeln!(text, "\t# {still} of {} have not moved", group.count);
        }
        if let Some(waited) = group.waited {
            let _ = writeln!(text, "\t# waits for {} at least", print::seconds(waited));
        }
        for wait in &group.waits_for {
            let _ = writeln!(text, "\t# waits for {wait}");
        }
        for frame in &group.frames {
            let FrameText { function, file, line } = frame;
            let _ = writeln!(text, "{function}(...)\n\t{file}:{line}");
        }
        if group.frames_left_out > 0 {
            let _ = writeln!(text, "\t# {} outer frames left out", group.frames_left_out);
        }
        if let Some(FrameText { function, file, line }) = &group.created_by {
            let _ = writeln!(text, "created by {function}\n\t{file}:{line}");
        }
        text.push('\n');
    }
    if summary.left_out > 0 {
        let _ = writeln!(text, "# {} goroutines in smaller groups", summary.left_out);
    }
    text
}

/// Writes the document piece by piece: 100,000 goroutines are some 100 MB.
fn json(
    options: &Options,
    dump: &Dump,
    shown: &[&Goroutine],
    asked: Option<&Vec<u64>>,
    view: View,
) {
    let whole = Summary::of(dump, view.now, 0);
    let mut head = document::head(options.pid, dump, &whole);
    if let Some(addresses) = asked {
        head = document::joined(head, document::subjects(dump, addresses));
    }
    let head = head.to_string();
    // The object stays open for its last member.
    let mut text = head.strip_suffix('}').unwrap_or(&head).to_owned();
    if options.group {
        let summary = Summary::of_some(dump, shown.iter().copied(), view.now, GROUPS);
        let groups: Vec<_> = summary.groups.iter().map(document::group).collect();
        let groups = serde_json::Value::from(groups);
        let _ = writeln!(text, ",\"groups_left_out\":{},\"groups\":{groups}}}", summary.left_out);
        out::print(&text);
        return;
    }
    text += ",\"goroutines\":[";
    for (number, goroutine) in shown.iter().enumerate() {
        let comma = if number == 0 { "\n" } else { ",\n" };
        let _ = write!(text, "{comma}{}", document::goroutine(dump, goroutine, view));
        flush(&mut text, BLOCK);
    }
    text += "\n]}\n";
    flush(&mut text, 0);
}
