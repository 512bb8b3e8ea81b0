//! `goinit limits`: what this container has, where each number was read, and what goinit would
//! set for which Go runtime.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::out;
use crate::exit::Code;
use crate::go::buildinfo::BuildInfo;
use crate::host::cgroup::{self, Counters, Depth, MemoryUse};
use crate::host::files::Root;
use crate::linux::cgroup::{Throttling, Version};
use crate::policy::limits::{Finding, Limits, Subject};
use crate::policy::settings::{self, Options, Runtime, Settings, bytes_text, cpu_text};
use crate::units::Pid;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: goinit limits [--json] [--root DIR] [--pid PID]

Shows what CPU and memory limits this container really has, the file behind each number, what
goinit would set for which Go runtime, throttling so far, memory in use and OOM kills.

      --json      one JSON object
      --root DIR  read /proc and /sys below DIR (a captured tree)
      --pid PID   the limits of another process instead of our own; with --root the number
                  that the captured process had
      --help      this text

Example, in a running pod:
  kubectl exec POD -c CONTAINER -- /goinit limits

Exit code: 0, also when no limit is visible.
";

/// What was asked for.
struct Request {
    json: bool,
    root: Root,
    pid: Option<Pid>,
}

/// Everything that is shown.
struct Report {
    limits: Limits,
    throttling: Option<Throttling>,
    memory: MemoryUse,
    /// Settings per kind of runtime: a key for programs, a title for people.
    settings: Vec<(&'static str, &'static str, Settings)>,
}

/// The subcommand.
pub(crate) fn main(args: Vec<OsString>) -> Code {
    let request = match out::asked(
        parse(args).map_err(|error| format!("limits: {error}; see goinit limits --help")),
        HELP,
    ) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let report = gather(&request);
    if request.json {
        out::print(&format!("{:#}\n", document(&report)));
    } else {
        out::print(&page(&report));
    }
    Code::SUCCESS
}

fn parse(args: Vec<OsString>) -> Result<Option<Request>, String> {
    use lexopt::{Arg, ValueExt};
    let mut request = Request { json: false, root: Root::live(), pid: None };
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("json") => request.json = true,
            Arg::Long("root") => {
                let directory = PathBuf::from(parser.value().map_err(|error| error.to_string())?);
                if !directory.is_dir() {
                    return Err(format!("--root {}: no such directory", directory.display()));
                }
                request.root = Root::at(&directory);
            }
            Arg::Long("pid") => {
                let text = parser.value().and_then(|value| value.string());
                let text = text.map_err(|error| error.to_string())?;
                let pid = text.parse().ok().filter(|pid| *pid > 0);
                let pid = pid.ok_or_else(|| format!("--pid {text} is not a process number"))?;
                request.pid = Some(Pid(pid));
            }
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => {
                return Err(arg.unexpected().to_string());
            }
        }
    }
    if let Some(pid) = request.pid
        && request.root.is_live()
        && !request.root.is_dir(format!("/proc/{pid}").as_bytes())
    {
        return Err(format!("--pid {pid}: there is no such process"));
    }
    Ok(Some(request))
}

fn gather(request: &Request) -> Report {
    let (limits, places) = cgroup::read(&request.root, request.pid, Depth::Everything);
    let counters = Counters::open(&request.root, &places);
    let environment = environment(request);
    let user = |name: &str| {
        environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let build = |version: &str, defaults: &str| BuildInfo {
        version: version.to_owned(),
        settings: vec![("DefaultGODEBUG".to_owned(), defaults.to_owned())],
        ..BuildInfo::default()
    };
    let old_line = "containermaxprocs=0,updatemaxprocs=0";
    let runtimes = [
        ("go_before_1.25", "Go before 1.25, or not known", build("Go before 1.25", "")),
        ("go_1.25", "Go 1.25", build("go1.25", "")),
        ("go_since_1.26", "Go 1.26 and later", build("go1.26 or later", "")),
        ("go_1.25_old_go_line", "Go 1.25, go.mod says go 1.24 or older", build("go1.25", old_line)),
        (
            "go_since_1.26_old_go_line",
            "Go 1.26 and later, go.mod says go 1.24 or older",
            build("go1.26 or later", old_line),
        ),
    ];
    let options = Options { schedtrace_ms: 0, ..Options::default() };
    let settings = runtimes
        .into_iter()
        .map(|(key, title, info)| {
            (key, title, settings::decide(&limits, Runtime::Go(&info), user, &options))
        })
        .collect();
    Report { throttling: counters.throttling(), memory: counters.memory(), limits, settings }
}

/// Our own environment, or that of the process that was asked for; none of a captured tree.
fn environment(request: &Request) -> Vec<(String, String)> {
    let Some(pid) = request.pid else {
        let live = request.root.is_live();
        let text = |s: OsString| s.to_string_lossy().into_owned();
        return std::env::vars_os()
            .filter(|_| live)
            .map(|(name, value)| (text(name), text(value)))
            .collect();
    };
    let mut buffer = Vec::new();
    let file = format!("/proc/{pid}/environ");
    let Ok(bytes) = request.root.read(file.as_bytes(), 1 << 20, &mut buffer) else {
        return Vec::new();
    };
    let entry = |item: &[u8]| {
        let (name, value) = std::str::from_utf8(item).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    bytes.split(|b| *b == 0).filter_map(entry).collect()
}

fn subject(subject: Subject) -> &'static str {
    match subject {
        Subject::Cpu => "cpu",
        Subject::Memory => "memory",
        Subject::MemoryHigh => "memory_high",
    }
}

fn document(report: &Report) -> Value {
    let limits = &report.limits;
    let cpu = limits.cpu.limit.as_ref();
    let memory = limits.memory.limit.as_ref();
    let high = limits.memory_high.as_ref();
    let sources: Vec<Value> = limits
        .sources
        .iter()
        .map(|source| {
            json!({
                "subject": subject(source.subject),
                "file": source.file,
                "text": source.text,
                "level": source.level,
                "malformed": source.malformed,
            })
        })
        .collect();
    let mut would_set = serde_json::Map::new();
    for (key, _, settings) in &report.settings {
        let env: serde_json::Map<String, Value> = settings
            .env
            .iter()
            .map(|var| (var.name.to_owned(), Value::from(var.value.as_str())))
            .collect();
        would_set.insert(
            (*key).to_owned(),
            json!({
                "env": env,
                "expected_gomaxprocs": settings.expected_procs,
                "follows_cpu_changes": settings.follows_cpu,
                "gomaxprocs_reason": settings.gomaxprocs_reason,
                "gomemlimit_reason": settings.gomemlimit_reason,
            }),
        );
    }
    json!({
        "cpu_quota": cpu.map(|limit| limit.value.cpus()),
        "cpu_quota_us": cpu.map(|limit| limit.value.quota_us),
        "cpu_period_us": cpu.map(|limit| limit.value.period_us),
        "cpu_file": cpu.map(|limit| limit.file.as_str()),
        "memory_limit": memory.map(|limit| limit.value),
        "memory_file": memory.map(|limit| limit.file.as_str()),
        "memory_binds": limits.binding_memory().is_some(),
        "memory_high": high.map(|limit| limit.value),
        "memory_high_file": high.map(|limit| limit.file.as_str()),
        "machine_memory": limits.machine_memory,
        "affinity": limits.affinity,
        "cgroup_version": limits.cpu.version.map(Version::number),
        "memory_cgroup_version": limits.memory.version.map(Version::number),
        "undetermined": limits.undetermined(),
        "cpu_undetermined": limits.cpu.undetermined,
        "memory_undetermined": limits.memory.undetermined,
        "assumed": limits.assumed(),
        "searched": limits.cpu.searched || limits.memory.searched,
        "malformed": limits.malformed().next().is_some(),
        "sources": sources,
        "would_set": would_set,
        "warnings": warnings(report),
        "cut": limits.cut,
        "throttling": report.throttling.map(|t| json!({
            "nr_periods": t.periods,
            "nr_throttled": t.throttled,
            "throttled_usec": t.throttled_us,
        })),
        "memory_usage": report.memory.usage,
        "memory_peak": report.memory.peak,
        "memory_events": report.memory.events.map(|e| json!({
            "high": e.high, "max": e.max, "oom": e.oom, "oom_kill": e.oom_kill,
        })),
    })
}

fn warnings(report: &Report) -> &[String] {
    report.settings.first().map_or(&[], |(_, _, settings)| settings.warnings.as_slice())
}

fn page(report: &Report) -> String {
    let bold = |text: &str| {
        if out::colour() { format!("\x1b[1m{text}\x1b[0m\n") } else { format!("{text}\n") }
    };
    let mut page = bold("CPU");
    cpu_lines(report, &mut page);
    page.push('\n');
    page.push_str(&bold("Memory"));
    memory_lines(report, &mut page);
    page.push('\n');
    page.push_str(&bold("Files that were read (level 0 is the process's own cgroup)"));
    for source in &report.limits.sources {
        let note = if source.malformed { "   <- cannot be understood" } else { "" };
        let _ = writeln!(page, "  level {}  {}  {}{note}", source.level, source.file, source.text);
    }
    if report.limits.sources.is_empty() {
        page.push_str("  none\n");
    }
    page.push('\n');
    page.push_str(&bold("What goinit would set"));
    settings_lines(report, &mut page);
    let warnings: Vec<_> = warnings(report).iter().chain(&report.limits.cut).collect();
    if !warnings.is_empty() {
        page.push('\n');
        page.push_str(&bold("Warnings"));
        for warning in warnings {
            let _ = writeln!(page, "  {warning}");
        }
    }
    page
}

/// Which cgroup version, and whether that is certain.
fn hierarchy<T>(finding: &Finding<T>) -> String {
    let version = match finding.version {
        Some(version) => format!("cgroup v{}", version.number()),
        None => "no cgroup".to_owned(),
    };
    if finding.undetermined {
        format!("{version}; the process's own cgroup is mounted nowhere, so this is unknown")
    } else if finding.assumed {
        format!("{version}; assumed from the usual place")
    } else if finding.searched {
        format!("{version}; found by the process's number, no path leads there")
    } else {
        version
    }
}

fn cpu_lines(report: &Report, page: &mut String) {
    let limits = &report.limits;
    let cpu = &limits.cpu;
    let limit = match &cpu.limit {
        Some(limit) => format!(
            "{} CPUs ({} µs of every {} µs), from {}",
            cpu_text(limit.value.cpus()),
            limit.value.quota_us,
            limit.value.period_us,
            limit.file
        ),
        None if cpu.undetermined => "unknown".to_owned(),
        None => "none visible".to_owned(),
    };
    let _ = writeln!(page, "  limit      {limit}");
    let _ = writeln!(page, "  read from  {}", hierarchy(cpu));
    if let Some(cpus) = limits.affinity {
        let _ = writeln!(page, "  may run on {cpus} CPUs (affinity)");
    }
    if let Some(throttling) = report.throttling {
        let share = throttling.percent().map(|p| format!(" ({p:.1} %)")).unwrap_or_default();
        let _ = writeln!(
            page,
            "  throttled  {} of {} periods{share}, {} ms in all",
            throttling.throttled,
            throttling.periods,
            throttling.throttled_us / 1000
        );
    }
}

fn memory_lines(report: &Report, page: &mut String) {
    let limits = &report.limits;
    let memory = &limits.memory;
    let limit = match &memory.limit {
        Some(limit) if limits.binds(limit.value) => {
            format!("{}, from {}", bytes_text(limit.value), limit.file)
        }
        Some(limit) => format!(
            "{}, from {}; more than the machine has, so it never binds",
            bytes_text(limit.value),
            limit.file
        ),
        None if memory.undetermined => "unknown".to_owned(),
        None => "none visible".to_owned(),
    };
    let _ = writeln!(page, "  limit      {limit}");
    if let Some(high) = &limits.memory_high {
        let _ = writeln!(page, "  high       {}, from {}", bytes_text(high.value), high.file);
    }
    let _ = writeln!(page, "  read from  {}", hierarchy(memory));
    if let Some(bytes) = limits.machine_memory {
        let _ = writeln!(page, "  machine    {}", bytes_text(bytes));
    }
    if let Some(usage) = report.memory.usage {
        let peak = report.memory.peak.map(|peak| format!(", peak {}", bytes_text(peak)));
        let _ = writeln!(page, "  in use     {}{}", bytes_text(usage), peak.unwrap_or_default());
    }
    if let Some(events) = report.memory.events {
        let _ = writeln!(
            page,
            "  events     {} OOM kills, limit hit {} times",
            events.oom_kill, events.max
        );
    }
}

fn settings_lines(report: &Report, page: &mut String) {
    for (_, title, settings) in &report.settings {
        let env: Vec<_> =
            settings.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
        let env = if env.is_empty() { "nothing".to_owned() } else { env.join(" ") };
        let _ = writeln!(page, "  {title}: {env}");
        let _ = writeln!(page, "      GOMAXPROCS: {}", settings.gomaxprocs_reason);
    }
    if let Some((_, _, settings)) = report.settings.first() {
        let _ = writeln!(page, "  GOMEMLIMIT: {}", settings.gomemlimit_reason);
    }
}
