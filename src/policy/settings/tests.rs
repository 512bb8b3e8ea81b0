use super::*;
use crate::linux::cgroup::{Quota, Value, Version};
use crate::policy::limits::{Finding, GoView};

/// Limits with a quota in thousandths of a CPU in the own cgroup, and a memory limit in MiB.
fn limits(millicores: u64, mib: u64, cpus: u32) -> Limits {
    let mut limits = Limits { affinity: Some(cpus), ..Limits::default() };
    limits.cpu = Finding { version: Some(Version::V2), ..Finding::default() };
    limits.machine_memory = Some(8 << 30);
    let quota = Quota { quota_us: millicores * 100, period_us: 100_000 };
    if millicores > 0 {
        limits.add_cpu(0, "/cpu.max", b"", Value::Limit(quota));
        limits.go = GoView { go25: Some(quota), go26: Some(quota) };
    }
    if mib > 0 {
        limits.add_memory(0, "/memory.max", b"", Value::Limit(mib << 20));
    }
    limits
}

fn go(version: &str, defaults: &str) -> BuildInfo {
    let mut info = BuildInfo { version: version.to_owned(), ..BuildInfo::default() };
    if !defaults.is_empty() {
        info.settings.push(("DefaultGODEBUG".to_owned(), defaults.to_owned()));
    }
    info
}

const OLD_LINE: &str = "containermaxprocs=0,updatemaxprocs=0";

/// What is set, as `NAME=value` joined by blanks, without a heartbeat.
fn check(limits: &Limits, info: Option<&BuildInfo>, user: &[(&str, &str)], expected: &str) {
    let options = Options { schedtrace_ms: 0, ..Options::default() };
    let settings = run(limits, info, user, &options);
    assert_eq!(shown(&settings), expected, "{}", settings.gomaxprocs_reason);
    assert!(!settings.gomaxprocs_reason.is_empty() && !settings.gomemlimit_reason.is_empty());
}

fn run(
    limits: &Limits,
    info: Option<&BuildInfo>,
    user: &[(&str, &str)],
    options: &Options,
) -> Settings {
    let user = |name: &str| {
        user.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    };
    decide(limits, Runtime::of(info), user, options)
}

fn shown(settings: &Settings) -> String {
    let all: Vec<_> =
        settings.env.iter().map(|var| format!("{}={}", var.name, var.value)).collect();
    all.join(" ")
}

#[test]
fn an_old_runtime_gets_the_quota_rounded_up() {
    let old = go("go1.24.11", "");
    for (millicores, procs) in [(10, 1), (500, 1), (1000, 1), (1010, 2), (1500, 2), (2500, 3)] {
        check(&limits(millicores, 0, 8), Some(&old), &[], &format!("GOMAXPROCS={procs}"));
    }
    check(&limits(7000, 0, 4), Some(&old), &[], "GOMAXPROCS=4");
}

#[test]
fn an_unknown_program_is_treated_as_not_aware() {
    check(&limits(1500, 0, 8), None, &[], "GOMAXPROCS=2");
}

#[test]
fn an_aware_runtime_is_left_to_follow_its_limit() {
    for version in ["go1.25.5", "go1.27.3"] {
        check(&limits(1500, 0, 8), Some(&go(version, "")), &[], "");
    }
}

#[test]
fn an_old_go_line_is_switched_on_rather_than_frozen() {
    let info = go("go1.27.3", OLD_LINE);
    check(&limits(3000, 0, 8), Some(&info), &[], "GODEBUG=containermaxprocs=1,updatemaxprocs=1");
    let settings = run(&limits(3000, 0, 8), Some(&info), &[], &Options::default());
    assert!(settings.follows_cpu);
    assert_eq!(settings.expected_procs, Some(3));
}

#[test]
fn a_limit_the_runtime_would_miss_is_set() {
    let mut ancestor = limits(0, 0, 8);
    let quota = Quota { quota_us: 150_000, period_us: 100_000 };
    ancestor.add_cpu(1, "/sys/fs/cgroup/cpu.max", b"", Value::Limit(quota));
    check(&ancestor, Some(&go("go1.27.3", "")), &[], "GOMAXPROCS=2");
    check(&ancestor, Some(&go("go1.27.3", OLD_LINE)), &[], "GOMAXPROCS=2");
    let mut bind = limits(1500, 0, 8);
    bind.go.go25 = None;
    check(&bind, Some(&go("go1.25.5", "")), &[], "GOMAXPROCS=2");
    check(&bind, Some(&go("go1.26.0", "")), &[], "");
}

#[test]
fn nothing_is_set_without_a_limit_or_when_it_is_unknown() {
    check(&limits(0, 0, 8), Some(&go("go1.24.1", "")), &[], "");
    let mut unknown = limits(0, 0, 8);
    unknown.cpu.undetermined = true;
    unknown.memory.undetermined = true;
    check(&unknown, None, &[], "");
}

#[test]
fn what_the_user_set_wins() {
    let old = go("go1.24.11", "");
    let user = [("GOMAXPROCS", "7"), ("GOMEMLIMIT", "1GiB")];
    check(&limits(1500, 256, 8), Some(&old), &user, "");
    check(&limits(1500, 256, 8), Some(&old), &[("GOMEMLIMIT", "off")], "GOMAXPROCS=2");
    let aware = go("go1.27.3", "");
    check(&limits(1500, 0, 8), Some(&aware), &[("GODEBUG", "containermaxprocs=0")], "");
    let settings =
        |debug| run(&limits(1500, 0, 8), Some(&aware), &[("GODEBUG", debug)], &Options::default());
    assert!(settings("updatemaxprocs=1").follows_cpu);
    assert!(!settings("updatemaxprocs=0").follows_cpu);
    assert!(!settings("containermaxprocs=0").follows_cpu);
}

#[test]
fn values_that_go_ignores_or_dies_of_are_named() {
    let cases = [
        ("GOMAXPROCS", "0", "GOMAXPROCS=\"0\""),
        ("GOMAXPROCS", "abc", "Go ignores it"),
        ("GOMAXPROCS", " 4", "Go ignores it"),
        ("GOMEMLIMIT", "64MB", "write 64MiB"),
        ("GOMEMLIMIT", "64Mi", "write 64MiB"),
        ("GOMEMLIMIT", "1.5GiB", "write 1536MiB"),
        ("GOMEMLIMIT", "OFF", "exit code 2"),
        ("GOMEMLIMIT", "1PiB", "exit code 2"),
        ("GOMEMLIMIT", "0", "0 bytes"),
        ("GODEBUG", "a=1, b=2", "blank"),
    ];
    for (name, value, expected) in cases {
        let settings = run(&limits(1500, 256, 8), None, &[(name, value)], &Options::default());
        assert_eq!(settings.warnings.len(), 1, "{name}={value}");
        assert!(settings.warnings[0].contains(expected), "{}", settings.warnings[0]);
    }
    for (name, value) in [("GOMAXPROCS", ""), ("GOMEMLIMIT", ""), ("GOMEMLIMIT", "64MiB")] {
        let settings = run(&limits(1500, 256, 8), None, &[(name, value)], &Options::default());
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    }
}

#[test]
fn memory_is_nine_tenths_of_the_limit_and_no_more_than_high() {
    check(&limits(0, 256, 8), None, &[], "GOMEMLIMIT=241591910");
    let mut high = limits(0, 256, 8);
    high.add_memory_high(0, "/memory.high", b"", Value::Limit(200 << 20));
    check(&high, None, &[], "GOMEMLIMIT=209715200");
    let mut above = limits(0, 256, 8);
    above.machine_memory = Some(128 << 20);
    check(&above, None, &[], "");
}

#[test]
fn godebug_is_merged_without_blanks_and_the_user_s_key_wins() {
    let options = Options { inittrace: true, gctrace: true, ..Options::default() };
    let user = [("GODEBUG", "gctrace=2,http2client=0")];
    let settings = run(&limits(0, 0, 8), None, &user, &options);
    assert_eq!(shown(&settings), "GODEBUG=gctrace=2,http2client=0,schedtrace=1000,inittrace=1");
    let settings = run(&limits(0, 0, 8), None, &[("GODEBUG", "schedtrace=0")], &Options::default());
    assert_eq!(shown(&settings), "", "the user switched the heartbeat off");
    let settings = run(&limits(0, 0, 8), None, &[("GODEBUG", "a=1, b=2")], &Options::default());
    assert_eq!(settings.get("GODEBUG"), Some("a=1,schedtrace=1000"));
}

#[test]
fn other_rules_are_taken_at_their_word() {
    let aware = go("go1.27.3", "");
    for (rule, expected) in [
        ("quota", "GOMAXPROCS=1"),
        ("go", "GOMAXPROCS=2"),
        ("floor", "GOMAXPROCS=1"),
        ("5", "GOMAXPROCS=5"),
        ("off", ""),
    ] {
        let gomaxprocs = MaxProcs::parse(rule).unwrap();
        let options = Options { gomaxprocs, schedtrace_ms: 0, ..Options::default() };
        let settings = run(&limits(500, 0, 8), Some(&aware), &[], &options);
        assert_eq!(shown(&settings), expected, "{rule}");
    }
    for text in ["0", "-1", "x", "4294967295", ""] {
        assert_eq!(MaxProcs::parse(text), None, "{text}");
    }
}

#[test]
fn memory_options_are_ratios_sizes_or_words() {
    for (text, expected) in [
        ("auto", Some(MemLimit::Auto)),
        ("off", Some(MemLimit::Off)),
        ("0.5", Some(MemLimit::Ratio(0.5))),
        ("1", Some(MemLimit::Ratio(1.0))),
        ("85%", Some(MemLimit::Ratio(0.85))),
        ("512MiB", Some(MemLimit::Bytes(512 << 20))),
        ("512MB", None),
        ("1.5", None),
        ("0", None),
        ("-1", None),
    ] {
        assert_eq!(MemLimit::parse(text), expected, "{text}");
    }
}
