//! `goinit report`: a captured log becomes an answer.

mod input;
mod json;
mod page;
mod text;

use super::out;
use crate::exit::{Code, Ending};
use crate::policy::report::{Given, Told, verdict};
use crate::units::Signal;
use input::{Grouping, Readings};
use page::Look;
use std::ffi::OsString;

/// What `goinit report --help` prints.
pub(crate) const HELP: &str = "\
Usage: goinit report [OPTIONS] FILE…|-

Reads the captured log of a Go program and says what happened: the verdict
first, then where, then the goroutines, the scheduler, package init, garbage
collection, and a time line. The program need not have run under goinit.

Try:
  kubectl logs POD -c migrate | goinit report -
  kubectl logs -l app=api --all-containers --prefix --timestamps | goinit report -
  kubectl logs POD -c migrate --previous | goinit report --exit OOMKilled -
  goinit report /var/log/containers/api-7d9f_shop_migrate-*.log
  goinit report --json app.log app.log.1 app.log.2.gz | jq .verdict
  goinit report *.log                  a table over all of them, bad ones first
  GODEBUG=schedtrace=1000 ./prog 2>log ; goinit report log

Reads: raw stderr of any Go program (snapshots of schedtrace and scheddetail,
inittrace, gctrace, panics, fatal errors, SIGQUIT dumps, also pasted and
indented); goinit's own log; both mixed with other lines; kubectl logs with
--timestamps and --prefix; a node's CRI files; Docker's json-file; gzip; UTF-16
of a Windows shell. Rotated files of one log, in any order, are joined.

Options:
      --json       one JSON object for each log (docs/report.md has the fields)
  -d, --details    many logs: all of each after the table
      --exit CODE  how the program ended, where the log cannot know it: an exit
                   code as Kubernetes shows it (137), or OOMKilled
      --join       all files are one log
      --each       each file is a log, whatever its name
      --fail       exit with 1 when a verdict is not ok
  -h, --help       this text

Nothing in a log alone tells how a program ended: a verdict that needs that says
it is a guess. NO_COLOR is respected, COLUMNS too.

Exit codes: 0 all was read; 1 with --fail; 125 a file could not be read to its
end, or a flag is wrong.
";

/// What the command line asks for.
struct Asked {
    json: bool,
    details: bool,
    fail: bool,
    grouping: Grouping,
    given: Option<Given>,
    files: Vec<OsString>,
}

/// Runs the subcommand.
pub(crate) fn main(args: Vec<OsString>) -> Code {
    let asked = match arguments(args) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            out::print(HELP);
            return Code::SUCCESS;
        }
        Err(text) => {
            out::error(&format!("report: {text}"));
            return Code::FAILED;
        }
    };
    let look = Look { width: out::columns(), colour: out::colour() };
    let (mut broken, mut bad) = (false, false);
    let (mut rows, mut pages) = (Vec::new(), Vec::new());
    for log in input::group(asked.files, asked.grouping) {
        let Readings { sources, trouble, readable } = input::read(&log);
        for text in &trouble {
            out::error(&format!("report: {text}"));
            broken = true;
        }
        for source in sources.iter().filter(|_| readable) {
            let verdicts: Vec<Option<Told>> =
                source.runs.iter().map(|story| verdict(story, asked.given)).collect();
            let told = verdicts.last().and_then(Option::as_ref);
            bad |= told.is_some_and(|told| told.class != "ok");
            if asked.json {
                let object = json::object(&log.name, source, &verdicts);
                out::print(&format!("{object}\n"));
                continue;
            }
            rows.push(text::row(&log.name, source, told));
            // Of many logs only the table is kept, unless all of each was asked for.
            if asked.details || rows.len() == 1 {
                pages.push(text::page(look, &log.name, source, &verdicts));
            }
        }
    }
    if rows.len() > 1 {
        out::print(&text::overview(look, rows));
        let rule = format!("\n{}\n", "─".repeat(look.width.min(100)));
        for page in pages.iter().filter(|_| asked.details) {
            out::print(&format!("{rule}{page}"));
        }
    } else if let Some(page) = pages.first() {
        out::print(page);
    }
    match (broken, bad && asked.fail) {
        (true, _) => Code::FAILED,
        (false, true) => Code(1),
        (false, false) => Code::SUCCESS,
    }
}

fn arguments(args: Vec<OsString>) -> Result<Option<Asked>, String> {
    let mut asked = Asked {
        json: false,
        details: false,
        fail: false,
        grouping: Grouping::Auto,
        given: None,
        files: Vec::new(),
    };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        match argument {
            lexopt::Arg::Short('h') | lexopt::Arg::Long("help") => return Ok(None),
            lexopt::Arg::Long("json") => asked.json = true,
            lexopt::Arg::Short('d') | lexopt::Arg::Long("details") => asked.details = true,
            lexopt::Arg::Long("fail") => asked.fail = true,
            lexopt::Arg::Long("join") => asked.grouping = Grouping::Join,
            lexopt::Arg::Long("each") => asked.grouping = Grouping::Each,
            lexopt::Arg::Long("exit") => {
                let value = parser.value().map_err(|error| error.to_string())?;
                asked.given = Some(given(&value.to_string_lossy())?);
            }
            lexopt::Arg::Value(file) => asked.files.push(file),
            lexopt::Arg::Long(name) => {
                return Err(format!("unknown flag --{name}; see goinit report --help"));
            }
            lexopt::Arg::Short(letter) => {
                return Err(format!("unknown flag -{letter}; see goinit report --help"));
            }
        }
    }
    if asked.files.is_empty() {
        return Err("no file given; name one, or - for standard input".to_owned());
    }
    Ok(Some(asked))
}

/// `--exit`: a code as Kubernetes shows it, or the reason beside it.
fn given(text: &str) -> Result<Given, String> {
    let kill = Ending::Signalled { signal: Signal::KILL, core: false };
    if text.eq_ignore_ascii_case("oomkilled") {
        return Ok(Given { ending: kill, oom: true });
    }
    let code = text
        .parse::<u8>()
        .map_err(|_| format!("--exit={text} is neither an exit code (0 to 255) nor OOMKilled"))?;
    let signal = code.checked_sub(128).and_then(|n| Signal::from_number(i32::from(n)));
    let ending = match signal {
        Some(signal) => Ending::Signalled { signal, core: false },
        None => Ending::Exited(code),
    };
    Ok(Given { ending, oom: false })
}
