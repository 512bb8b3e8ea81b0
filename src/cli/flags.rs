//! Every flag of the run form, defined once: its name, its `GOINIT_*` variable, its help and what
//! it sets. Help, man page and completions are generated from this table.

use super::values::{boolean, choice, code, duration, number, path, signal, text};
use crate::policy::config::{Config, LogFull, OnStall, Raw, SchedLog, Stderr, Termination};
use crate::policy::settings::{MaxProcs, MemLimit, Options};
use std::time::Duration;

/// Everything the flags of the run form say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// How to run.
    pub(crate) config: Config,
    /// What to set for the Go runtime.
    pub(crate) settings: Options,
}

/// One flag.
pub(crate) struct Flag {
    /// Without the dashes.
    pub(crate) long: &'static str,
    /// The letter that tini or dumb-init use for it.
    pub(crate) short: Option<char>,
    /// What stands for its value in the help; `None` for a switch.
    pub(crate) value: Option<&'static str>,
    /// Heading it stands under.
    pub(crate) section: Section,
    /// One or two sentences.
    pub(crate) help: &'static str,
    /// Sets it; the error completes the sentence "--flag=value …".
    pub(crate) set: fn(&mut Wishes, &str) -> Result<(), String>,
}

impl Flag {
    /// The variable that sets it: `--stall-after` is GOINIT_STALL_AFTER.
    pub(crate) fn variable(&self) -> String {
        format!("{VARIABLES}{}", self.long.replace('-', "_").to_ascii_uppercase())
    }

    /// Whether it is the flag of this variable, without making its name.
    pub(crate) fn is_set_by(&self, variable: &str) -> bool {
        let upper = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
        variable
            .strip_prefix(VARIABLES)
            .is_some_and(|name| name.bytes().eq(self.long.bytes().map(upper)))
    }
}

/// How the names of goinit's own variables begin.
pub(crate) const VARIABLES: &str = "GOINIT_";

/// The headings of the help, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// When the program hangs.
    Hang,
    /// The Go runtime's settings.
    Go,
    /// The log.
    Log,
    /// What an init does.
    Init,
    /// The rest.
    General,
}

impl Section {
    /// All of them, in the help's order, with their titles.
    pub(crate) const ALL: [(Self, &'static str); 5] = [
        (Self::Hang, "When the program hangs"),
        (Self::Go, "Settings of the Go runtime"),
        (Self::Log, "Log"),
        (Self::Init, "Init"),
        (Self::General, "General"),
    ];
}

/// Shorthand for the table.
const fn flag(
    section: Section,
    long: &'static str,
    short: Option<char>,
    value: Option<&'static str>,
    help: &'static str,
    set: fn(&mut Wishes, &str) -> Result<(), String>,
) -> Flag {
    Flag { long, short, value, section, help, set }
}

/// The table.
pub(crate) const FLAGS: &[Flag] = &[
    flag(
        Section::Hang,
        "stall-after",
        None,
        Some("D"),
        "Without progress for D, find out why and say it; 0 switches the watchdog off. [30s]",
        |w, v| set(&mut w.config.stall_after, duration(v)),
    ),
    flag(
        Section::Hang,
        "on-stall",
        None,
        Some("report|exit|quit"),
        "report: say it, let the program run. exit: then end it (TERM, KILL), exit code 123. \
         quit: the same, but SIGQUIT first, so that the Go runtime prints its goroutines. [report]",
        |w, v| {
            let words =
                [("report", OnStall::Report), ("exit", OnStall::Exit), ("quit", OnStall::Quit)];
            set(&mut w.config.on_stall, choice(v, &words))
        },
    ),
    flag(
        Section::Hang,
        "on-stall-exec",
        None,
        Some("CMD"),
        "Run CMD with /bin/sh at a stall; it gets the verdict as JSON on its standard input.",
        |w, v| set(&mut w.config.on_stall_exec, text(v).map(Some)),
    ),
    flag(
        Section::Hang,
        "timeout",
        None,
        Some("D"),
        "Deadline of the whole run: find out what it waits for, end it, exit code 124.",
        |w, v| set(&mut w.config.timeout, duration(v).map(|d| (!d.is_zero()).then_some(d))),
    ),
    flag(
        Section::Hang,
        "exit-on-stall",
        None,
        Some("N"),
        "Exit code after a stall that goinit ended. [123]",
        |w, v| set(&mut w.config.exit_on_stall, code(v)),
    ),
    flag(
        Section::Hang,
        "exit-on-timeout",
        None,
        Some("N"),
        "Exit code at the deadline. [124]",
        |w, v| set(&mut w.config.exit_on_timeout, code(v)),
    ),
    flag(
        Section::Hang,
        "dump-dir",
        None,
        Some("DIR"),
        "Write the full goroutine dump of a stall into DIR.",
        |w, v| set(&mut w.config.dump_dir, path(v).map(Some)),
    ),
    flag(
        Section::Hang,
        "termination-log",
        None,
        Some("PATH|none"),
        "File for the Kubernetes termination message; only written if it exists. \
         [/dev/termination-log, or what Kubernetes mounted instead]",
        |w, v| {
            w.config.termination = match text(v)?.as_str() {
                "none" => Termination::Off,
                file => Termination::File(path(file)?),
            };
            Ok(())
        },
    ),
    flag(
        Section::Hang,
        "termination-bytes",
        None,
        Some("N"),
        "Size of that message, 256 to 4096. [1024]",
        |w, v| set(&mut w.config.termination_bytes, number(v, 256, 4_096)),
    ),
    flag(
        Section::Go,
        "gomaxprocs",
        None,
        Some("auto|quota|go|floor|N|off"),
        "auto: the CPU quota rounded up, where the runtime does not follow it by itself. quota: \
         always. go: the runtime's own rule, at least 2. floor: rounded down. Never overwrites a \
         GOMAXPROCS that is set. [auto]",
        |w, v| {
            let wrong = || "is not auto, quota, go, floor, off or a positive number".to_owned();
            set(&mut w.settings.gomaxprocs, MaxProcs::parse(v).ok_or_else(wrong))
        },
    ),
    flag(
        Section::Go,
        "gomemlimit",
        None,
        Some("auto|RATIO|SIZE|off"),
        "auto: 90 % of the memory limit, or memory.high if that is lower. A ratio such as 0.85, \
         or a size such as 512MiB. Never overwrites a GOMEMLIMIT that is set. [auto]",
        |w, v| {
            let wrong =
                || "is not auto, off, a ratio such as 0.85 or a size such as 512MiB".to_owned();
            set(&mut w.settings.gomemlimit, MemLimit::parse(v).ok_or_else(wrong))
        },
    ),
    flag(
        Section::Go,
        "schedtrace",
        None,
        Some("D"),
        "Interval of the heartbeat that the Go runtime prints (GODEBUG=schedtrace); 0 switches it \
         off, and with it the watchdog. [1s]",
        |w, v| {
            let wrong = || "is longer than an hour".to_owned();
            let millis = duration(v)?.as_millis();
            let millis = u32::try_from(millis).ok().filter(|ms| *ms <= 3_600_000);
            set(&mut w.settings.schedtrace_ms, millis.ok_or_else(wrong))
        },
    ),
    flag(
        Section::Go,
        "inittrace",
        None,
        None,
        "Log the time each package's init took (GODEBUG=inittrace=1).",
        |w, v| set(&mut w.settings.inittrace, boolean(v)),
    ),
    flag(
        Section::Go,
        "gctrace",
        None,
        None,
        "Log every garbage collection (GODEBUG=gctrace=1).",
        |w, v| set(&mut w.settings.gctrace, boolean(v)),
    ),
    flag(
        Section::Go,
        "scheddetail",
        None,
        None,
        "Have every P, M and G in each snapshot (GODEBUG=scheddetail=1): expensive with many \
         goroutines, since the runtime prints them under its scheduler lock.",
        |w, v| set(&mut w.settings.scheddetail, boolean(v)),
    ),
    flag(
        Section::Go,
        "gotraceback",
        None,
        Some("LEVEL"),
        "Set GOTRACEBACK (none, single, all, system, crash) unless it is set.",
        |w, v| {
            let words = ["none", "single", "all", "system", "crash"].map(|word| (word, word));
            set(&mut w.settings.gotraceback, choice(v, &words).map(|word| Some(word.to_owned())))
        },
    ),
    flag(
        Section::Log,
        "stderr",
        None,
        Some("auto|wrap|raw"),
        "auto: lines of the program become JSON records, JSON lines pass through. wrap: JSON is \
         wrapped too. raw: everything but runtime output passes through. Unless this is given, \
         a program on a terminal keeps it, and there is no watchdog. [auto]",
        |w, v| {
            let words = [("auto", Stderr::Auto), ("wrap", Stderr::Wrap), ("raw", Stderr::Raw)];
            set(&mut w.config.stderr, choice(v, &words).map(Some))
        },
    ),
    flag(
        Section::Log,
        "raw",
        None,
        Some("FILE|stderr"),
        "Also append the program's untouched stderr to FILE; or repeat it in the log, each line \
         before what was made of it (for eyes, not for programs that trust the log).",
        |w, v| {
            let copy = if v == "stderr" { Ok(Raw::Log) } else { path(v).map(Raw::File) };
            set(&mut w.config.raw, copy.map(Some))
        },
    ),
    flag(
        Section::Log,
        "sched-log",
        None,
        Some("all|change|off"),
        "Which scheduler snapshots are logged: every one; the first, each change and one every \
         30 s; none. The last 64 are always kept for a stall and a bad end. [change]",
        |w, v| {
            let words =
                [("all", SchedLog::All), ("change", SchedLog::Change), ("off", SchedLog::Off)];
            set(&mut w.config.sched_log, choice(v, &words))
        },
    ),
    flag(
        Section::Log,
        "log-full",
        None,
        Some("drop|block"),
        "When nobody reads the log. drop: give records up, count them, the program runs on. \
         block: lose nothing, but the Go runtime prints under its scheduler lock, so the whole \
         program FREEZES until somebody reads. [drop]",
        |w, v| {
            let words = [("drop", LogFull::Drop), ("block", LogFull::Block)];
            set(&mut w.config.log_full, choice(v, &words))
        },
    ),
    flag(
        Section::Init,
        "subreaper",
        Some('s'),
        None,
        "Adopt orphans although goinit is not PID 1 (done unasked when it is not).",
        |w, v| set(&mut w.config.subreaper, boolean(v)),
    ),
    flag(
        Section::Init,
        "parent-death-signal",
        Some('p'),
        Some("SIG"),
        "When goinit's parent dies, the kernel sends SIG to goinit, which passes it on.",
        |w, v| set(&mut w.config.parent_death, signal(v).map(Some)),
    ),
    flag(
        Section::Init,
        "group",
        Some('g'),
        None,
        "Signals go to the program's whole process group; what is left of it gets TERM when the \
         program ends.",
        |w, v| set(&mut w.config.group, boolean(v)),
    ),
    flag(
        Section::Init,
        "single-child",
        None,
        None,
        "Make no process group and no terminal hand-over: signals reach the direct child only.",
        |w, v| set(&mut w.config.single_child, boolean(v)),
    ),
    flag(
        Section::Init,
        "warn-reaped",
        Some('w'),
        None,
        "Log a record for each adopted orphan that ends.",
        |w, v| set(&mut w.config.warn_reaped, boolean(v)),
    ),
    flag(
        Section::Init,
        "remap",
        Some('e'),
        Some("CODE[=TO],…"),
        "Exit with TO (0 if left out) when the program's code is CODE; may be repeated.",
        |w, v| {
            for pair in v.split(',') {
                let (from, to) = pair.split_once('=').unwrap_or((pair, "0"));
                w.config.remap.push((code(from)?.0, code(to)?.0));
            }
            Ok(())
        },
    ),
    flag(
        Section::Init,
        "rewrite",
        None,
        Some("SRC:DST,…"),
        "Pass signal SRC on as DST (names or numbers); DST 0 drops it; may be repeated.",
        |w, v| {
            for pair in v.split(',') {
                let (from, to) = pair
                    .split_once(':')
                    .ok_or_else(|| "is not SRC:DST, such as TERM:QUIT or 15:3".to_owned())?;
                let to = if to == "0" { None } else { Some(signal(to)?) };
                w.config.rewrite.push((signal(from)?, to));
            }
            Ok(())
        },
    ),
    flag(
        Section::Init,
        "grace",
        None,
        Some("D"),
        "Escalate: a program that has not ended D after TERM gets KILL. [never]",
        |w, v| set(&mut w.config.grace, duration(v).map(Some)),
    ),
    flag(
        Section::Init,
        "pre-stop-delay",
        None,
        Some("D"),
        "Hold TERM back for D, so that load balancers stop sending first. [0s]",
        |w, v| set(&mut w.config.pre_stop_delay, duration(v)),
    ),
    flag(
        Section::Init,
        "drain",
        None,
        Some("D"),
        "How long last words are waited for when something else still holds the program's \
         stderr. [1s]",
        |w, v| set(&mut w.config.drain, duration(v)),
    ),
    flag(
        Section::Init,
        "wait-for-all",
        None,
        None,
        "End only when every descendant has ended, not just the program.",
        |w, v| set(&mut w.config.wait_for_all, boolean(v)),
    ),
    flag(
        Section::General,
        "ready-on",
        None,
        Some("TEXT"),
        "`goinit probe startup` succeeds once a line of the program's stderr contains TEXT.",
        |w, v| set(&mut w.config.ready_on, text(v).map(Some)),
    ),
    flag(
        Section::General,
        "ready-file",
        None,
        Some("PATH"),
        "`goinit probe startup` succeeds once PATH exists.",
        |w, v| set(&mut w.config.ready_file, path(v).map(Some)),
    ),
    flag(
        Section::General,
        "verbose",
        Some('v'),
        None,
        "Say more about what goinit does.",
        |w, v| set(&mut w.config.verbose, boolean(v)),
    ),
];

/// Stores a parsed value.
fn set<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

/// What tini's own variables mean, for images that set them.
pub(crate) fn tini_variable(config: &mut Config, name: &str, value: &str) {
    match name {
        "TINI_SUBREAPER" => config.subreaper = true,
        "TINI_KILL_PROCESS_GROUP" => config.group = true,
        "TINI_VERBOSITY" => config.verbose |= value.parse::<u8>().is_ok_and(|level| level > 1),
        _ => {}
    }
}

/// Shortest `--stall-after` that means anything beside a heartbeat a second.
pub(crate) const SHORTEST_STALL: Duration = Duration::from_secs(1);
