//! What goinit sets for the Go runtime, and why: GOMAXPROCS, GOMEMLIMIT, GODEBUG.
//!
//! Two rules stand above all others: what the user set is never overwritten, and every decision
//! has a reason that goes into the start record. The rules as a user sees them are in
//! docs/limits.md.

use super::limits::Limits;
use crate::go::buildinfo::{self, BuildInfo};

mod debug;
use debug::Debug;

/// `--gomaxprocs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MaxProcs {
    /// What serves this runtime best.
    #[default]
    Auto,
    /// The quota, rounded up.
    Quota,
    /// Go 1.25's own rule: the quota rounded up, but at least 2.
    Go,
    /// automaxprocs's rule: the quota rounded down, but at least 1.
    Floor,
    /// This number.
    Fixed(u32),
    /// Nothing.
    Off,
}

impl MaxProcs {
    /// Reads `auto`, `quota`, `go`, `floor`, `off` or a positive number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "auto" => Self::Auto,
            "quota" => Self::Quota,
            "go" => Self::Go,
            "floor" => Self::Floor,
            "off" => Self::Off,
            number => {
                let number: u32 = number.parse().ok()?;
                // The runtime reads an int32.
                Self::Fixed(number).valid(number)?
            }
        })
    }

    fn valid(self, number: u32) -> Option<Self> {
        (number > 0 && i32::try_from(number).is_ok()).then_some(self)
    }
}

/// `--gomemlimit`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum MemLimit {
    /// 0.9 of the hard limit, and no more than memory.high.
    #[default]
    Auto,
    /// This share of the hard limit, above 0 and at most 1.
    Ratio(f64),
    /// This many bytes.
    Bytes(u64),
    /// Nothing.
    Off,
}

impl MemLimit {
    /// Reads `auto`, `off`, a ratio such as `0.85` or `85%`, or a size such as `512MiB`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let ratio = |ratio: f64| (ratio > 0.0 && ratio <= 1.0).then_some(Self::Ratio(ratio));
        match text {
            "auto" => return Some(Self::Auto),
            "off" => return Some(Self::Off),
            _ => {}
        }
        if let Some(percent) = text.strip_suffix('%') {
            return ratio(percent.parse::<f64>().ok()? / 100.0);
        }
        if text.contains('.') {
            return ratio(text.parse().ok()?);
        }
        match go_bytes(text) {
            Some(Bytes::Count(1)) => ratio(1.0),
            Some(Bytes::Count(bytes)) if bytes > 0 => Some(Self::Bytes(bytes)),
            Some(Bytes::Count(_) | Bytes::Off) | None => None,
        }
    }
}

/// What the user asked goinit to set.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// GOMAXPROCS.
    pub gomaxprocs: MaxProcs,
    /// GOMEMLIMIT.
    pub gomemlimit: MemLimit,
    /// Interval of the heartbeat, ms; 0 for none.
    pub schedtrace_ms: u32,
    /// Trace package initialisation.
    pub inittrace: bool,
    /// Trace every goroutine at each heartbeat: expensive.
    pub scheddetail: bool,
    /// Trace garbage collections.
    pub gctrace: bool,
    /// Further GODEBUG keys, in order.
    pub godebug: Vec<(String, String)>,
    /// GOTRACEBACK, if goinit is asked to set it.
    pub gotraceback: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            gomaxprocs: MaxProcs::Auto,
            gomemlimit: MemLimit::Auto,
            schedtrace_ms: 1000,
            inittrace: false,
            scheddetail: false,
            gctrace: false,
            godebug: Vec::new(),
            gotraceback: None,
        }
    }
}

/// What is known about the Go runtime of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime<'a> {
    /// A Go executable.
    Go(&'a BuildInfo),
    /// A script, a wrapper, or not Go: it may start any Go program, so it is treated as not
    /// container-aware.
    Unknown,
}

impl<'a> Runtime<'a> {
    /// The build information of an executable, or that there is none.
    #[must_use]
    pub fn of(info: Option<&'a BuildInfo>) -> Self {
        info.map_or(Self::Unknown, Self::Go)
    }

    /// What the runtime does about a CPU quota by itself.
    #[must_use]
    pub fn awareness(self) -> Awareness {
        let Self::Go(info) = self else { return Awareness::None };
        if info.release().is_none_or(|release| release < (1, 25)) {
            return Awareness::None;
        }
        let defaults = info.setting("DefaultGODEBUG").unwrap_or_default();
        let off = |key| buildinfo::godebug(defaults, key) == Some("0");
        if off("containermaxprocs") || off("updatemaxprocs") {
            Awareness::SwitchedOff
        } else {
            Awareness::Full
        }
    }
}

/// What a runtime does about a CPU quota by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awareness {
    /// Nothing: older than Go 1.25, or unknown.
    None,
    /// It could, but an old go line in go.mod switches it off (`DefaultGODEBUG`).
    SwitchedOff,
    /// It reads the quota of its own cgroup and follows changes.
    Full,
}

/// One variable that is set for the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Var {
    /// Its name.
    pub name: &'static str,
    /// Its value; never with a blank in GODEBUG, where one would make Go ignore it silently.
    pub value: String,
}

/// What is set and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Variables to set, replacing what is there.
    pub env: Vec<Var>,
    /// Why GOMAXPROCS is set, or not.
    pub gomaxprocs_reason: String,
    /// Why GOMEMLIMIT is set, or not.
    pub gomemlimit_reason: String,
    /// What is wrong with values of the user, one sentence each.
    pub warnings: Vec<String>,
    /// GOMAXPROCS the program will run with at first, as far as that can be told.
    pub expected_procs: Option<u64>,
    /// Whether the program itself follows a changed CPU limit.
    pub follows_cpu: bool,
}

impl Settings {
    /// The value that is set for a variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|var| var.name == name).map(|var| var.value.as_str())
    }

    fn set(&mut self, name: &'static str, value: String) {
        self.env.push(Var { name, value });
    }
}

/// Decides. `user` looks a variable up in the environment that the program is going to get.
#[must_use]
pub fn decide(
    limits: &Limits,
    runtime: Runtime<'_>,
    user: impl Fn(&str) -> Option<String>,
    options: &Options,
) -> Settings {
    let mut settings = Settings::default();
    let mut debug = Debug::of(user("GODEBUG"), &mut settings.warnings);
    let procs = user("GOMAXPROCS");
    decide_procs(&mut settings, &mut debug, limits, runtime, procs.as_deref(), options);
    decide_memory(&mut settings, limits, user("GOMEMLIMIT").as_deref(), options);
    if options.schedtrace_ms > 0 {
        debug.add("schedtrace", &options.schedtrace_ms.to_string());
    }
    for (wanted, key) in [
        (options.inittrace, "inittrace"),
        (options.scheddetail, "scheddetail"),
        (options.gctrace, "gctrace"),
    ] {
        if wanted {
            debug.add(key, "1");
        }
    }
    for (key, value) in &options.godebug {
        debug.add(key, value);
    }
    if let Some(value) = debug.finish() {
        settings.set("GODEBUG", value);
    }
    if let Some(traceback) = &options.gotraceback
        && user("GOTRACEBACK").is_none_or(|value| value.is_empty())
    {
        settings.set("GOTRACEBACK", traceback.clone());
    }
    settings
}

fn decide_procs(
    settings: &mut Settings,
    debug: &mut Debug,
    limits: &Limits,
    runtime: Runtime<'_>,
    user: Option<&str>,
    options: &Options,
) {
    let awareness = runtime.awareness();
    let cpus = limits.affinity.map(u64::from);
    let own = Plan::Leave(cpus);
    if let Some(number) = user.and_then(go_procs) {
        settings.gomaxprocs_reason = format!("the environment says GOMAXPROCS={number}");
        settings.expected_procs = Some(number);
        return;
    }
    if let Some(value) = user.filter(|value| !value.is_empty()) {
        settings.warnings.push(format!(
            "GOMAXPROCS={value:?} in the environment is not a positive integer: Go ignores it"
        ));
    }
    let aware = awareness == Awareness::Full && debug.user_says("containermaxprocs") != Some(false);
    let follows = aware && debug.user_says("updatemaxprocs") != Some(false);
    let (plan, reason) = match options.gomaxprocs {
        MaxProcs::Off => (own, "switched off by --gomaxprocs=off".to_owned()),
        MaxProcs::Fixed(number) => (Plan::Set(u64::from(number)), format!("--gomaxprocs={number}")),
        rule @ (MaxProcs::Auto | MaxProcs::Quota | MaxProcs::Go | MaxProcs::Floor) => {
            by_quota(limits, runtime, debug, rule)
        }
    };
    settings.gomaxprocs_reason = reason;
    match plan {
        Plan::Leave(expected) => {
            settings.expected_procs = expected;
            settings.follows_cpu = follows;
        }
        Plan::Set(number) => {
            settings.expected_procs = Some(number);
            settings.set("GOMAXPROCS", number.to_string());
        }
        Plan::SwitchOn(expected) => {
            settings.expected_procs = Some(expected);
            settings.follows_cpu = debug.user_says("updatemaxprocs") != Some(false);
            debug.add("containermaxprocs", "1");
            debug.add("updatemaxprocs", "1");
        }
    }
}

/// What is done about GOMAXPROCS.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Nothing; the runtime is expected to take this many.
    Leave(Option<u64>),
    /// The variable is set.
    Set(u64),
    /// The runtime's own rule is switched on; it is expected to take this many.
    SwitchOn(u64),
}

/// The rules that look at the quota.
fn by_quota(
    limits: &Limits,
    runtime: Runtime<'_>,
    debug: &Debug,
    rule: MaxProcs,
) -> (Plan, String) {
    let cpus = limits.affinity.map_or(u64::MAX, u64::from);
    let leave = Plan::Leave(limits.affinity.map(u64::from));
    if limits.cpu.undetermined {
        let reason = "the program's cgroup cannot be found, so its CPU limit is unknown";
        return (leave, reason.to_owned());
    }
    let Some(limit) = &limits.cpu.limit else {
        return (leave, "no CPU limit is visible".to_owned());
    };
    let quota = limit.value;
    let from = format!("CPU limit {} from {}", cpu_text(quota.cpus()), limit.file);
    let ceil = quota.ceil().min(cpus);
    let go = quota.ceil().max(2).min(cpus);
    match rule {
        MaxProcs::Go => return (Plan::Set(go), format!("{from}, rounded up, at least 2")),
        MaxProcs::Floor => {
            return (Plan::Set(quota.floor().min(cpus)), format!("{from}, rounded down"));
        }
        MaxProcs::Quota => return (Plan::Set(ceil), format!("{from}, rounded up")),
        MaxProcs::Auto | MaxProcs::Fixed(_) | MaxProcs::Off => {}
    }
    let release = match runtime {
        Runtime::Go(info) => info.version.as_str(),
        Runtime::Unknown => "a program of unknown runtime",
    };
    match runtime.awareness() {
        Awareness::None => {
            (Plan::Set(ceil), format!("{from}, rounded up: {release} does not look at it itself"))
        }
        Awareness::Full | Awareness::SwitchedOff
            if debug.user_says("containermaxprocs") == Some(false) =>
        {
            let reason = format!(
                "GODEBUG in the environment switches off {release}'s own use of the {from}"
            );
            (leave, reason)
        }
        Awareness::Full | Awareness::SwitchedOff if !sees_limit(limits, runtime) => (
            Plan::Set(ceil),
            format!(
                "{from}, rounded up: {release} would not find it itself; being set, it does not \
                 follow later changes"
            ),
        ),
        Awareness::Full => {
            let follows = match debug.user_says("updatemaxprocs") {
                Some(false) => "; GODEBUG in the environment keeps it from following changes",
                Some(true) | None => ", and follows it",
            };
            (Plan::Leave(Some(go)), format!("{release} applies the {from} itself{follows}"))
        }
        Awareness::SwitchedOff => (
            Plan::SwitchOn(go),
            format!(
                "{release} could apply the {from} itself, but the go line in go.mod is older than \
                 1.25: switched on by GODEBUG, so that it also follows later changes"
            ),
        ),
    }
}

/// Whether the runtime's own reader finds the limit that binds.
fn sees_limit(limits: &Limits, runtime: Runtime<'_>) -> bool {
    let Runtime::Go(info) = runtime else { return false };
    let seen = info.release().and_then(|release| limits.go.of(release));
    seen.is_some() && seen == limits.cpu.limit.as_ref().map(|limit| limit.value)
}

fn decide_memory(settings: &mut Settings, limits: &Limits, user: Option<&str>, options: &Options) {
    if let Some(value) = user.filter(|value| !value.is_empty()) {
        settings.gomemlimit_reason = format!("the environment says GOMEMLIMIT={value}");
        match go_bytes(value) {
            Some(Bytes::Count(0)) => settings.warnings.push(
                "GOMEMLIMIT=0 in the environment is a limit of 0 bytes: the garbage collector \
                 will never rest"
                    .to_owned(),
            ),
            Some(Bytes::Count(_) | Bytes::Off) => {}
            None => settings.warnings.push(format!(
                "GOMEMLIMIT={value:?} in the environment is malformed: a Go program ends with \
                 exit code 2 at once; write {}",
                suggestion(value)
            )),
        }
        return;
    }
    let ratio = match options.gomemlimit {
        MemLimit::Off => {
            settings.gomemlimit_reason = "switched off by --gomemlimit=off".to_owned();
            return;
        }
        MemLimit::Bytes(bytes) => {
            settings.gomemlimit_reason = format!("--gomemlimit={bytes}");
            settings.set("GOMEMLIMIT", bytes.to_string());
            return;
        }
        MemLimit::Ratio(ratio) => ratio,
        MemLimit::Auto => 0.9,
    };
    let (bytes, reason) = memory_by_limit(limits, ratio);
    settings.gomemlimit_reason = reason;
    if let Some(bytes) = bytes {
        settings.set("GOMEMLIMIT", bytes.to_string());
    }
}

/// min(ratio × hard limit, memory.high), if that is less than the machine has.
fn memory_by_limit(limits: &Limits, ratio: f64) -> (Option<u64>, String) {
    let hard = limits.memory.limit.as_ref().map(|limit| (share(limit.value, ratio), limit));
    let high = limits.memory_high.as_ref().map(|limit| (limit.value, limit));
    let part = format!("{} % of the memory limit {{}} from {{}}", share(100, ratio));
    let describe = |limit: &super::limits::Bound<u64>| {
        part.replacen("{}", &bytes_text(limit.value), 1).replacen("{}", &limit.file, 1)
    };
    let (bytes, reason, limit) = match (hard, high) {
        (Some((hard, limit)), Some((high, _))) if hard <= high => (hard, describe(limit), limit),
        (Some((hard, limit)), None) => (hard, describe(limit), limit),
        (_, Some((high, limit))) => {
            (high, format!("memory.high {} from {}", bytes_text(high), limit.file), limit)
        }
        (None, None) if limits.memory.undetermined => {
            let reason = "the program's cgroup cannot be found, so its memory limit is unknown";
            return (None, reason.to_owned());
        }
        (None, None) => return (None, "no memory limit is visible".to_owned()),
    };
    if !limits.binds(limit.value) {
        let reason = format!(
            "the limit {} from {} is above the machine's memory and never binds",
            bytes_text(limit.value),
            limit.file
        );
        return (None, reason);
    }
    (Some(bytes), reason)
}

/// A share of a number, rounded down; exact below 2^53.
fn share(number: u64, ratio: f64) -> u64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the product of a u64 and a ratio from 0 to 1 fits; rounding errors are harmless"
    )]
    let product = (number as f64 * ratio + 1e-6) as u64;
    product
}

/// GOMAXPROCS as every Go release reads it: a positive decimal int32. (`+4` works from 1.27 on
/// and is left alone there; older ones ignore it.)
pub(super) fn go_procs(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number: i32 = text.parse().ok().filter(|number| digits && *number > 0)?;
    u64::try_from(number).ok()
}

/// What GOMEMLIMIT means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes {
    Count(u64),
    Off,
}

/// Reads a size as Go does (runtime/string.go, parseByteCount): a decimal integer, alone or with
/// B, KiB, MiB, GiB or TiB; or `off`. Anything else ends a Go program at start.
fn go_bytes(text: &str) -> Option<Bytes> {
    if text == "off" {
        return Some(Bytes::Off);
    }
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("B", 1)];
    let unit = units.iter().find_map(|(unit, size)| Some((text.strip_suffix(unit)?, *size)));
    let (digits, size): (&str, u64) = unit.unwrap_or((text, 1));
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bytes = digits.parse::<u64>().ok()?.checked_mul(size)?;
    i64::try_from(bytes).ok().map(|_| Bytes::Count(bytes))
}

/// GOMEMLIMIT as a number of bytes; nothing for `off` and what Go does not understand.
pub(super) fn memory_limit(text: &str) -> Option<u64> {
    match go_bytes(text)? {
        Bytes::Count(bytes) => Some(bytes),
        Bytes::Off => None,
    }
}

/// GOMAXPROCS by the runtime's own rule (runtime/cgroup_linux.go): the limit rounded up, at least
/// 2, at most the CPUs it may run on.
pub(super) fn go_rule(limits: &Limits) -> Option<u64> {
    let cpus = limits.affinity.map(u64::from);
    let quota = limits.cpu.limit.as_ref().map(|limit| limit.value.ceil().max(2));
    quota.into_iter().chain(cpus).min()
}

/// What a malformed GOMEMLIMIT was probably meant to be.
fn suggestion(text: &str) -> String {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let (binary, mib) = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "ki" | "kib" => ("KiB", None),
        "m" | "mb" | "mi" | "mib" => ("MiB", Some(1.0)),
        "g" | "gb" | "gi" | "gib" => ("GiB", Some(1024.0)),
        "t" | "tb" | "ti" | "tib" => ("TiB", Some(1_048_576.0)),
        _ => ("", None),
    };
    match (number.parse::<u64>(), number.parse::<f64>(), mib) {
        (Ok(whole), _, _) if !binary.is_empty() => format!("{whole}{binary}"),
        (Err(_), Ok(fraction), Some(factor)) => format!("{:.0}MiB", fraction * factor),
        _ => "a number of bytes, or one with KiB, MiB or GiB, such as 460MiB".to_owned(),
    }
}

/// CPUs as people write them: `1.5`, `2`, `0.01`.
#[must_use]
pub fn cpu_text(cpus: f64) -> String {
    let text = format!("{cpus:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Bytes as people read them: `256 MiB`, `1.5 GiB`, or plain when they are no round number.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    let units: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    for (size, unit) in units {
        if bytes >= size {
            #[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
            let value = bytes as f64 / size as f64;
            let text = format!("{value:.1}");
            return format!("{} {unit}", text.strip_suffix(".0").unwrap_or(&text));
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests;
