//! `goinit dump PID`: all goroutines of a live Go program, without stopping it.

use super::out;
use crate::exit::Code;
use crate::go::print::{self, View};
use crate::go::summary::{FrameText, Summary};
use crate::host::goroutines::{self, Access};
use crate::sys::clock;
use crate::units::Pid;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fmt::Write;
use std::time::Duration;

/// What `goinit dump --help` prints.
pub(crate) const HELP: &str = "\
goinit dump [OPTIONS] PID

Prints every goroutine of a running Go program: state, what it waits for, stack. Reads its
memory; sends no signal and stops nothing. Works on stripped programs built with Go 1.19 to 1.27.

      --system         also the runtime's own goroutines and frames
      --running        also stacks of goroutines on a CPU; stops their threads for some 100 us
      --group          equal goroutines once, with their number
      --json           one JSON document of groups instead of text
      --timeout TIME   give up after TIME (default 5s)
  -h, --help           this text

Lines that begin with # are goinit's own: channels, locks and who may hold them, descriptors.

  $ goinit dump $(pidof server)
  goroutine 18 [sync.Mutex.Lock, 2 minutes]:
          # waits for sync.Mutex 0xc000012345, locked, 1 waiting
          # possibly held by goroutine 7
  …
";

/// Output is written when this many bytes are together.
const BLOCK: usize = 64 * 1024;

#[derive(Debug)]
struct Options {
    pid: Pid,
    system: bool,
    running: bool,
    group: bool,
    json: bool,
    timeout: Duration,
}

/// Runs the subcommand.
pub(crate) fn main(arguments: Vec<OsString>) -> Code {
    let options = match out::asked(parse(arguments), HELP) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let access = Access { pid: options.pid, memory: None, running: options.running };
    let dump = match goroutines::read(access, clock::mono().after(options.timeout)) {
        Ok(dump) => dump,
        Err(why) => {
            out::error(&format!("cannot read the goroutines of process {}: {why}", options.pid));
            return Code::FAILED;
        }
    };
    let view = View { system: options.system, now: clock::mono().0 };
    if options.json || options.group {
        let summary = Summary::of(&dump, view.now);
        let text = if options.json {
            format!("{}\n", document(&summary))
        } else {
            print::facts(&dump) + &groups(&summary, options.system)
        };
        out::print(&text);
        return Code::SUCCESS;
    }
    let mut text = print::facts(&dump);
    for goroutine in &dump.goroutines {
        print::goroutine(&mut text, &dump, goroutine, view);
        if text.len() >= BLOCK {
            out::print(&text);
            text.clear();
        }
    }
    out::print(&text);
    Code::SUCCESS
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
        timeout: Duration::from_secs(5),
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("system") => options.system = true,
            Long("running") => options.running = true,
            Long("group") => options.group = true,
            Long("json") => options.json = true,
            Long("timeout") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                let text = value.to_string_lossy();
                options.timeout = humantime::parse_duration(&text).map_err(|error| {
                    format!("--timeout {text}: {error}; write a duration such as 5s")
                })?;
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

fn groups(summary: &Summary, system: bool) -> String {
    let mut text = format!("# {} goroutines, {} of the user\n", summary.total, summary.users);
    for group in summary.groups.iter().filter(|group| system || !group.system) {
        let ids: Vec<String> = group.ids.iter().map(u64::to_string).collect();
        let more = if group.count > group.ids.len() { ", …" } else { "" };
        let _ = writeln!(
            text,
            "{} x [{}] goroutine {}{more}",
            group.count,
            group.state,
            ids.join(", ")
        );
        for wait in &group.waits_for {
            let _ = writeln!(text, "\t# waits for {wait}");
        }
        for frame in &group.frames {
            let _ = writeln!(text, "{}(...)\n\t{}", frame.function, frame.place);
        }
        if let Some(frame) = &group.created_by {
            let _ = writeln!(text, "created by {}\n\t{}", frame.function, frame.place);
        }
        text.push('\n');
    }
    text
}

fn document(summary: &Summary) -> Value {
    let frame = |frame: &FrameText| json!({"function": frame.function, "place": frame.place});
    let groups: Vec<Value> = summary
        .groups
        .iter()
        .map(|group| {
            json!({
                "state": group.state, "count": group.count, "ids": group.ids,
                "minutes": group.minutes, "system": group.system,
                "waits_for": group.waits_for,
                "frames": group.frames.iter().map(frame).collect::<Vec<_>>(),
                "created_by": group.created_by.as_ref().map(frame),
            })
        })
        .collect();
    let init = summary.init.as_ref().map(|init| {
        json!({"total": init.total, "done": init.done, "running": init.running,
               "pending": init.pending})
    });
    json!({
        "version": summary.version, "total": summary.total, "users": summary.users,
        "init": init, "lock_cycles": summary.lock_cycles, "groups": groups,
        "left_out": summary.left_out, "doubtful": summary.doubtful,
    })
}
