//! `goinit probe`: one question to the goinit of this container, for `exec` probes.

use super::out;
use crate::exit::Code;
use crate::host::goroutines::{self, Access};
use crate::host::status::{self, Found, View};
use crate::policy::status::{Answer, Init, Status};
use crate::sys::clock;
use crate::units::Pid;
use std::ffi::OsString;
use std::time::Duration;

/// What `goinit probe --help` prints.
pub(crate) const HELP: &str = "\
Usage: goinit probe [OPTIONS] [live|startup]

Asks the goinit that runs in this container how its program is. Prints one line.
Needs no port, no file and no network; made for `exec` probes. Any user may ask; another user than
goinit's own is answered by the name of its process (goinit:running, goinit:stalled, …) and learns
no more than that.

  live      (default) exit 0 unless the program is stalled for sure
  startup   exit 0 once the program has started: the line of --ready-on was seen or the file of
            --ready-file exists, if goinit was given one of these; else, package init is done

Exit code: 0 yes; 1 stalled, or not started yet; 2 cannot tell. Kubernetes takes 1 and 2 alike.

      --pid PID        the goinit to ask, if several run here (default: the one of this container)
  -h, --help           this text

  livenessProbe:
    exec: { command: [/goinit, probe, live] }
  startupProbe:
    exec: { command: [/goinit, probe, startup] }
    periodSeconds: 2
    failureThreshold: 60
";

/// How long the program's memory may be read.
const LIMIT: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Live,
    Startup,
}

/// Runs the subcommand.
pub(crate) fn main(arguments: Vec<OsString>) -> Code {
    let (question, pid) = match out::asked(parse(arguments), HELP) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let (answer, line) = match status::find(pid) {
        Ok(found) => ask(question, &found),
        Err(why) => (Answer::Unknown, why.to_string()),
    };
    out::print(&format!("{line}\n"));
    answer.code()
}

fn ask(question: Question, found: &Found) -> (Answer, String) {
    match (&found.view, question) {
        (View::Page(page), Question::Live) => page.live(),
        (View::Page(page), Question::Startup) => {
            let file = page.ready_file.as_ref().is_some_and(|path| path.exists());
            page.startup(file, || init(found.goinit, page))
        }
        (View::Name(sign), Question::Live) => sign.live(),
        (View::Name(sign), Question::Startup) => sign.startup(),
    }
}

/// How far package init has come, from the program's memory.
fn init(goinit: Pid, page: &Status) -> Init {
    // goinit counts in its own PID namespace; only if that is ours too is its number any use.
    let Some(pid) = page.pid.filter(|_| status::counts_as_we_do(goinit)) else {
        return Init::Unseen("the program's number is not known here".to_owned());
    };
    let access = Access::to(pid);
    match goroutines::summary(access, clock::mono().after(LIMIT)) {
        Ok(summary) => match summary.init {
            Some(init) => match init.running {
                Some(package) => {
                    let wide = |n: usize| u64::try_from(n).unwrap_or(0);
                    Init::Running(package, wide(init.done), wide(init.total))
                }
                None => Init::Done,
            },
            None => Init::Unseen("this Go version does not tell".to_owned()),
        },
        Err(why) => Init::Unseen(why.to_string()),
    }
}

fn parse(arguments: Vec<OsString>) -> Result<Option<(Question, Option<Pid>)>, String> {
    use lexopt::Arg::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut question, mut pid) = (Question::Live, None);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("pid") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                let text = value.to_string_lossy();
                let number = text.parse().ok().filter(|number| *number > 0);
                pid = Some(Pid(number.ok_or_else(|| {
                    format!("probe --pid {text}: not a process number; write one such as 1")
                })?));
            }
            Value(word) if word == "live" => question = Question::Live,
            Value(word) if word == "startup" => question = Question::Startup,
            Value(word) => {
                let word = word.to_string_lossy();
                return Err(format!("probe {word}: unknown question; write live or startup"));
            }
            Short(_) | Long(_) => {
                return Err(format!("probe: {}; see goinit probe --help", argument.unexpected()));
            }
        }
    }
    Ok(Some((question, pid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &[&str], expected: Result<Option<(Question, Option<Pid>)>, &str>) {
        let parsed = parse(words.iter().map(OsString::from).collect());
        match expected {
            Ok(expected) => assert_eq!(parsed, Ok(expected), "{words:?}"),
            Err(part) => assert!(parsed.as_ref().is_err_and(|e| e.contains(part)), "{parsed:?}"),
        }
    }

    #[test]
    fn the_question_is_live_unless_said_otherwise() {
        check(&[], Ok(Some((Question::Live, None))));
        check(&["live"], Ok(Some((Question::Live, None))));
        check(&["startup", "--pid", "7"], Ok(Some((Question::Startup, Some(Pid(7))))));
        check(&["startup", "--help"], Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_remedy() {
        check(&["ready"], Err("write live or startup"));
        check(&["--pid", "x"], Err("write one such as 1"));
        check(&["--pid", "-3"], Err("write one such as 1"));
        check(&["--fast"], Err("--help"));
    }
}
