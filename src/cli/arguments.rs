//! The command line of the run form: variables first, flags over them, the command after `--`.

use super::flags::{FLAGS, Flag, SHORTEST_STALL, VARIABLES, Wishes, tini_variable};
use std::ffi::{OsStr, OsString};

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// Run a command.
    Run(Box<Run>),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// A run as asked for.
#[derive(Debug)]
pub(crate) struct Run {
    /// What the flags and variables say.
    pub(crate) wishes: Wishes,
    /// The command with its arguments; never empty.
    pub(crate) command: Vec<OsString>,
    /// What is odd about the variables, one sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Variables of goinit that are no flags.
const OTHER_VARIABLES: [&str; 2] = ["GOINIT_DISABLED", "GOINIT_TEST_STRICT"];

/// Reads everything; the error is a sentence for the person who wrote it.
pub(crate) fn read(
    arguments: Vec<OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Asked, String> {
    let mut wishes = Wishes::default();
    let warnings = variables(&mut wishes, environment)?;
    let mut arguments = arguments;
    let command = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => {
            let command = arguments.split_off(at);
            Some(command.into_iter().skip(1).collect::<Vec<_>>())
        }
        None => None,
    };
    if let Some(asked) = flags(&mut wishes, arguments)? {
        return Ok(asked);
    }
    let Some(command) = command else {
        return Err(
            "no command: write `goinit [OPTIONS] -- COMMAND [ARG…]`, or `goinit --help`".to_owned()
        );
    };
    if command.is_empty() {
        return Err("no command after `--`: write `goinit -- /app/server`".to_owned());
    }
    let stall_after = wishes.config.stall_after;
    if !stall_after.is_zero() && stall_after < SHORTEST_STALL {
        return Err("--stall-after is shorter than 1s: the heartbeat it looks at comes once a \
                    second"
            .to_owned());
    }
    Ok(Asked::Run(Box::new(Run { wishes, command, warnings })))
}

/// Applies `GOINIT_*` and tini's variables; gives warnings.
fn variables(
    wishes: &mut Wishes,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    for (name, value) in environment {
        let (Some(name), value) = (name.to_str(), value.to_string_lossy()) else { continue };
        tini_variable(&mut wishes.config, name, &value);
        if !name.starts_with(VARIABLES) || OTHER_VARIABLES.contains(&name) {
            continue;
        }
        match FLAGS.iter().find(|flag| flag.is_set_by(name)) {
            Some(flag) => {
                (flag.set)(wishes, &value).map_err(|wrong| format!("{name}={value} {wrong}"))?
            }
            None => {
                let known = FLAGS.iter().map(Flag::variable);
                let hint = nearest(name, known)
                    .map_or_else(String::new, |known| format!("; did you mean {known}?"));
                warnings.push(format!("{name} is no variable of goinit{hint}"));
            }
        }
    }
    Ok(warnings)
}

/// Applies the flags before `--`.
fn flags(wishes: &mut Wishes, arguments: Vec<OsString>) -> Result<Option<Asked>, String> {
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let (flag, written) = match argument {
            lexopt::Arg::Short('h') => return Ok(Some(Asked::Help)),
            lexopt::Arg::Long("help") => return Ok(Some(Asked::Help)),
            lexopt::Arg::Long("version") => return Ok(Some(Asked::Version)),
            lexopt::Arg::Short(letter) => {
                (FLAGS.iter().find(|flag| flag.short == Some(letter)), format!("-{letter}"))
            }
            lexopt::Arg::Long(name) => {
                (FLAGS.iter().find(|flag| flag.long == name), format!("--{name}"))
            }
            lexopt::Arg::Value(word) => return Err(stray(&word)),
        };
        let Some(flag) = flag else {
            let names = FLAGS.iter().map(|flag| format!("--{}", flag.long));
            let hint = nearest(&written, names)
                .map_or_else(|| ";".to_owned(), |known| format!("; did you mean {known}?"));
            return Err(format!("unknown flag {written}{hint} `goinit --help` lists all flags"));
        };
        let value = match flag.value {
            Some(_) => {
                let value = parser.value().map_err(|_| {
                    format!("{written} needs a value: {written} {}", flag.value.unwrap_or_default())
                })?;
                value.to_string_lossy().into_owned()
            }
            // `--group=0` is a value; the `g` of `-sg` is the next switch.
            None if written.starts_with("--") => match parser.optional_value() {
                Some(value) => value.to_string_lossy().into_owned(),
                None => "1".to_owned(),
            },
            None => "1".to_owned(),
        };
        let shown = if flag.value.is_some() { format!("={value}") } else { String::new() };
        (flag.set)(wishes, &value).map_err(|wrong| format!("{written}{shown} {wrong}"))?;
    }
    Ok(None)
}

/// A word before `--` that is neither flag nor subcommand.
fn stray(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    format!("unknown subcommand {word:?}; to run it as a program: did you mean: goinit -- {word}")
}

/// The most similar of some names, if any is similar.
pub(crate) fn nearest(word: &str, names: impl Iterator<Item = String>) -> Option<String> {
    const SIMILAR: f64 = 0.8;
    names
        .map(|name| (strsim::jaro_winkler(word, &name), name))
        .filter(|(likeness, _)| *likeness > SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Signal;
    use std::time::Duration;

    fn ask(line: &str, environment: &[(&str, &str)]) -> Result<Asked, String> {
        let arguments = line.split_whitespace().map(OsString::from).collect();
        let environment = environment.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        read(arguments, environment.collect::<Vec<_>>().into_iter())
    }

    fn run(line: &str, environment: &[(&str, &str)]) -> Run {
        match ask(line, environment) {
            Ok(Asked::Run(run)) => *run,
            other => panic!("{other:?}"),
        }
    }

    fn error(line: &str, environment: &[(&str, &str)]) -> String {
        ask(line, environment).expect_err("this is wrong")
    }

    #[test]
    fn a_flag_beats_its_variable() {
        let run = run("--stall-after 5s -- prog --flag", &[("GOINIT_STALL_AFTER", "9s")]);
        assert_eq!(run.wishes.config.stall_after, Duration::from_secs(5));
        assert_eq!(run.command, ["prog", "--flag"]);
    }

    #[test]
    fn letters_of_tini_and_words_of_dumb_init_are_understood() {
        let run = run("-sgwv -p TERM -e 143 --rewrite 15:3,USR1:0 --single-child -- a", &[]);
        let config = run.wishes.config;
        assert!(config.subreaper && config.group && config.warn_reaped && config.verbose);
        assert_eq!(config.parent_death, Some(Signal::TERM));
        assert_eq!(config.remap, [(143, 0)]);
        assert_eq!(config.rewritten(Signal::TERM), Some(Signal::QUIT));
        assert_eq!(config.rewritten(Signal(10)), None);
    }

    #[test]
    fn every_flag_has_its_variable_and_tini_s_are_understood() {
        let run = run("-- a", &[("GOINIT_GROUP", "true"), ("TINI_SUBREAPER", "")]);
        assert!(run.wishes.config.group && run.wishes.config.subreaper);
        assert!(run.warnings.is_empty());
    }

    #[test]
    fn wrong_words_are_named_with_a_remedy() {
        let check = |line: &str, wanted: &str| {
            let text = error(line, &[]);
            assert!(text.contains(wanted), "{line}: {text}");
        };
        check("--stal-after 5s -- a", "did you mean --stall-after?");
        check("--stall-after banana -- a", "--stall-after=banana is not a duration");
        check("-e 256 -- a", "-e=256 is not an exit code");
        check("-e= -- a", "is not an exit code");
        check("--rewrite 15:derp -- a", "names no signal");
        check("--on-stall panic -- a", "is not one of report, exit, quit");
        check("server", "did you mean: goinit -- server");
        check("", "no command");
        check("--", "no command after `--`");
        check("--timeout", "--timeout needs a value: --timeout D");
        check("--stall-after 10ms -- a", "shorter than 1s");
        check("--gomaxprocs 0 -- a", "is not auto, quota");
        let text = error("-- a", &[("GOINIT_TIMEOUT", "x")]);
        assert!(text.contains("GOINIT_TIMEOUT=x is not a duration"), "{text}");
    }

    #[test]
    fn each_flag_knows_its_variable_and_no_other() {
        for flag in FLAGS {
            let set: Vec<_> = FLAGS.iter().filter(|one| one.is_set_by(&flag.variable())).collect();
            assert_eq!(set.len(), 1, "{}", flag.variable());
            assert!(!flag.is_set_by(flag.long) && !flag.is_set_by(&flag.variable()[1..]));
        }
    }

    #[test]
    fn an_unknown_variable_is_a_warning() {
        let run = run("-- a", &[("GOINIT_STALL_AFTR", "5s")]);
        assert_eq!(
            run.warnings,
            ["GOINIT_STALL_AFTR is no variable of goinit; did you mean GOINIT_STALL_AFTER?"]
        );
    }
}
