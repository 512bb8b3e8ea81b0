//! One black-box suite for any init: `INIT_UNDER_TEST` is `goinit` (default), `tini`, `dumb-init`
//! or `catatonit`.
//!
//! A case is a function that asserts what an init must do. Where an init is known to fail a case,
//! `KNOWN_FAILURES` says so and the case must fail: a repaired init makes the suite complain, too.
//! Cases run as an ordinary process, as PID 1 of a PID namespace, or on a terminal.

mod ends;
mod own;
mod signals;
mod state;
mod terminal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Run, goinit, helper, is_root, python, skip};

/// How long an init may take for what takes no time.
const SOON: Duration = Duration::from_secs(6);

/// What an init is and how it spells its options; an empty list means it does so anyway, `None`
/// that it cannot.
#[derive(Debug)]
struct Init {
    name: &'static str,
    /// Before the command.
    separator: &'static [&'static str],
    subreaper: Option<&'static [&'static str]>,
    group: Option<&'static [&'static str]>,
    single_child: Option<&'static [&'static str]>,
    parent_death: Option<&'static str>,
    remap: Option<&'static str>,
    rewrite: Option<&'static str>,
}

const INITS: [Init; 4] = [
    Init {
        name: "goinit",
        separator: &["--"],
        subreaper: Some(&["-s"]),
        group: Some(&["-g"]),
        single_child: Some(&["--single-child"]),
        parent_death: Some("-p"),
        remap: Some("-e"),
        rewrite: Some("--rewrite"),
    },
    Init {
        name: "tini",
        separator: &["--"],
        subreaper: Some(&["-s"]),
        group: Some(&["-g"]),
        single_child: Some(&[]),
        parent_death: Some("-p"),
        remap: Some("-e"),
        rewrite: None,
    },
    Init {
        name: "dumb-init",
        separator: &["--"],
        subreaper: None,
        group: Some(&[]),
        single_child: Some(&["--single-child"]),
        parent_death: None,
        remap: None,
        rewrite: Some("--rewrite"),
    },
    Init {
        name: "catatonit",
        separator: &["--"],
        subreaper: Some(&[]),
        group: Some(&["-g"]),
        single_child: Some(&[]),
        parent_death: None,
        remap: None,
        rewrite: None,
    },
];

/// (init, case): what is known to go wrong. Each was seen with Debian 12's packages.
const KNOWN_FAILURES: &[(&str, &str)] = &[
    // -e '' is taken for -e 0.
    ("tini", "wrong remap codes"),
    // Its child is stopped, tini is not: the shell that waits for its job never hears of it.
    ("tini", "stop and continue"),
    ("tini", "Ctrl-Z"),
    ("tini", "Ctrl-Z below a script"),
    ("tini", "Ctrl-Z in a container"),
    // It takes the terminal though somebody else has it.
    ("tini", "background"),
    // Left unblocked, so PID 1 does not even notice them.
    ("tini", "forwarding of fault signals"),
    ("tini", "inherited blocks"),
    ("tini", "TERM though blocked"),
    ("tini", "inherited ignores"),
    ("tini", "stdin closed"),
    ("tini", "all three closed"),
    ("tini", "LISTEN_PID"),
    // It looks around once a second.
    ("tini", "idle wake-ups"),
    ("tini", "descriptors kept"),
    ("tini", "working directory"),
    // It waits for ever: the kernel reaps, and the exit code is lost.
    ("tini", "SIGCHLD ignored"),
    // It warns that it is not PID 1, and dies of SIGPIPE where nobody reads that.
    ("tini", "log without reader"),
    ("tini", "hidden signals"),
    ("tini", "hidden ignores"),
    // The next reader of the terminal is stopped as a background process.
    ("tini", "terminal taken back"),
    // It exits with 2 for whatever exec said.
    ("dumb-init", "not executable"),
    ("dumb-init", "missing command"),
    // The first signals are handled before there is a child, and lost.
    ("dumb-init", "TERM before exec"),
    ("dumb-init", "hidden signals"),
    ("dumb-init", "hidden ignores"),
    ("dumb-init", "inherited ignores"),
    ("dumb-init", "LISTEN_PID"),
    ("dumb-init", "descriptors kept"),
    // Its child leads a session of its own, without a terminal unless dumb-init led one.
    ("dumb-init", "foreground"),
    ("catatonit", "not executable"),
    ("catatonit", "missing command"),
    ("catatonit", "stop and continue"),
    ("catatonit", "Ctrl-Z"),
    ("catatonit", "Ctrl-Z below a script"),
    ("catatonit", "background"),
    ("catatonit", "forwarding of fault signals"),
    // Its child starts with TSTP, TTIN and TTOU blocked.
    ("catatonit", "clean mask"),
    ("catatonit", "inherited blocks"),
    ("catatonit", "TERM though blocked"),
    ("catatonit", "inherited ignores"),
    ("catatonit", "working directory"),
    ("catatonit", "SIGCHLD ignored"),
    ("catatonit", "hidden signals"),
    ("catatonit", "hidden ignores"),
    ("catatonit", "terminal taken back"),
];

/// (init, case): what goes wrong only if the moment is right; either outcome is accepted.
const KNOWN_RACES: &[(&str, &str)] = &[("dumb-init", "TERM during the start")];

fn init() -> &'static Init {
    let name = std::env::var("INIT_UNDER_TEST").unwrap_or_else(|_| "goinit".to_owned());
    let found = INITS.iter().find(|init| init.name == name);
    found.unwrap_or_else(|| {
        panic!("INIT_UNDER_TEST={name}: not one of goinit tini dumb-init catatonit")
    })
}

/// Runs a case against the init under test and compares with what is known of it.
fn case(name: &str, check: impl Fn(&Init)) {
    let init = init();
    let known = KNOWN_FAILURES.contains(&(init.name, name));
    let race = KNOWN_RACES.contains(&(init.name, name));
    if !known && !race {
        return check(init);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| check(init)));
    if race {
        return;
    }
    assert!(outcome.is_err(), "{} is listed as failing {name:?} and passes it", init.name);
    println!("{} fails {name:?}, as is known", init.name);
}

/// A case for something that not every init offers. It is no skip: goinit offers all of it.
fn case_with<T>(name: &str, option: impl Fn(&Init) -> Option<T>, check: impl Fn(&Init, T)) {
    case(name, |init| match option(init) {
        Some(found) => check(init, found),
        None => println!("{} does not offer {name:?}", init.name),
    });
}

impl Init {
    /// The init with options, then `command`.
    fn with(&self, options: &[&str], command: &[&str]) -> Run {
        Run::new(self.path()).args(options).args(self.separator).args(command)
    }

    /// The init without options, then `command`.
    fn run(&self, command: &[&str]) -> Run {
        self.with(&[], command)
    }

    /// The init with options, then a mode of tests/programs/child.py.
    fn child(&self, options: &[&str], mode: &[&str]) -> Run {
        let script = helper("child.py");
        let start = [python(), "-I", "-S", "-u", script.to_str().unwrap()];
        self.with(options, &[&start, mode].concat())
    }

    fn path(&self) -> PathBuf {
        if self.name == "goinit" { goinit() } else { self.name.into() }
    }
}

/// Root is needed for namespaces; otherwise a reported skip.
fn namespaces() -> bool {
    let root = is_root();
    if !root {
        skip("PID namespaces need root");
    }
    root
}
