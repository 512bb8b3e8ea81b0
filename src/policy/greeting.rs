//! The first record of a run: what was found, what was set and why. Pure, from facts gathered.

use super::limits::Limits;
use super::record::{Origin, Record, Severity, Value};
use super::settings::{Settings, bytes_text, cpu_text};
use super::startable::Program;
use crate::units::Pid;
use std::collections::BTreeMap;

/// Everything known when the program was started.
#[derive(Debug)]
pub struct Start<'a> {
    /// The program.
    pub pid: Pid,
    /// Its command line.
    pub command: &'a [String],
    /// The limits found.
    pub limits: &'a Limits,
    /// What was set.
    pub settings: &'a Settings,
    /// What is known of the executable.
    pub program: &'a Program,
    /// Interval of the heartbeat, ms; 0 for none.
    pub heartbeat_ms: u32,
    /// Whether stderr arrives write by write.
    pub packets: bool,
    /// Whether we are not PID 1 and adopt orphans as a subreaper.
    pub subreaper: bool,
    /// Pod and container, from the downward API or mountinfo: `k8s.*` key to value.
    pub kubernetes: &'a BTreeMap<&'static str, String>,
}

/// Arguments longer than this altogether are cut: they may be a whole script.
const ARGUMENTS: usize = 1_024;

/// The `goinit.start` record.
#[must_use]
pub fn start(start: &Start<'_>) -> Record {
    let go = start.program.runtime();
    let settings = start.settings;
    let mut record = Record::new(Severity::Info, "goinit.start", Origin::Goinit, sentence(start))
        .put("goinit.version", env!("CARGO_PKG_VERSION"))
        .put("process.pid", start.pid.0)
        .put("process.executable.path", start.program.path.clone())
        .put("process.command_args", shown(start.command))
        .put_some("go.version", go.map(|info| info.version.clone()))
        .put_some("go.processor.limit", settings.expected_procs)
        .put("go.processor.reason", settings.gomaxprocs_reason.clone());
    let memory = settings.get("GOMEMLIMIT").and_then(|text| text.parse::<u64>().ok());
    record = record
        .put_some("go.memory.limit", memory)
        .put("go.memory.reason", settings.gomemlimit_reason.clone())
        .put_some("go.debug", settings.get("GODEBUG").map(str::to_owned))
        .put_some("cgroup.version", start.limits.cpu.version.map(|version| version.number()));
    if let Some(cpu) = &start.limits.cpu.limit {
        record = record
            .put("cgroup.cpu.quota_us", cpu.value.quota_us)
            .put("cgroup.cpu.period_us", cpu.value.period_us)
            .put("cgroup.cpu.source", cpu.file.clone());
    }
    if let Some(memory) = &start.limits.memory.limit {
        record = record
            .put("cgroup.memory.max", memory.value)
            .put("cgroup.memory.source", memory.file.clone());
    }
    record = record
        .put_some("cgroup.memory.high", start.limits.memory_high.as_ref().map(|high| high.value))
        .put_some("cgroup.undetermined", start.limits.undetermined().then_some(true))
        .put_some("cgroup.affinity", start.limits.affinity)
        .put_some("goinit.subreaper", start.subreaper.then_some(true))
        .put("goinit.stderr", if start.packets { "packets" } else { "stream" });
    for (key, value) in start.kubernetes {
        record = record.put(key, Value::from(value.clone()));
    }
    record
}

/// One warning about what the user set.
#[must_use]
pub fn warning(sentence: &str) -> Record {
    Record::new(Severity::Warn, "goinit.warning", Origin::Goinit, sentence)
}

fn sentence(start: &Start<'_>) -> String {
    let mut parts = Vec::new();
    let limit = match &start.limits.cpu.limit {
        Some(cpu) => format!("cpu limit {}", cpu_text(cpu.value.cpus())),
        None if start.limits.cpu.undetermined => "cpu limit not visible".to_owned(),
        None => "no cpu limit".to_owned(),
    };
    match (start.settings.get("GOMAXPROCS"), start.settings.expected_procs) {
        (Some(set), _) => parts.push(format!("GOMAXPROCS={set} ({limit})")),
        (None, Some(own)) => parts.push(format!("GOMAXPROCS {own} by itself ({limit})")),
        (None, None) => parts.push(limit),
    }
    if let Some(bytes) = start.settings.get("GOMEMLIMIT").and_then(|text| text.parse().ok()) {
        parts.push(format!("GOMEMLIMIT={}", bytes_text(bytes)));
    }
    if start.program.runtime().is_none() {
        parts.push("no Go build information: the program may have no heartbeat".to_owned());
    } else if start.heartbeat_ms > 0 {
        parts.push(format!("heartbeat every {} ms", start.heartbeat_ms));
    }
    format!("start: {}", parts.join(", "))
}

/// The command line, cut when it is very long.
fn shown(command: &[String]) -> Vec<String> {
    let mut room = ARGUMENTS;
    let mut list = Vec::new();
    for argument in command {
        if room == 0 {
            list.push("…".to_owned());
            break;
        }
        let mut argument = argument.clone();
        super::record::shorten(&mut argument, room.max(4));
        room = room.saturating_sub(argument.len() + 3);
        list.push(argument);
    }
    list
}
