//! The layouts of limits on real kernels: cgroup v2, v1 and hybrid hosts of ../shared/v2vm with
//! eight CPUs, and Go programs of several versions in them, which say themselves what they got.
//! One boot serves every layout of a kind (tests/programs/layouts.sh arranges them).

use crate::support::{PROJECT, build, goinit, helper, v2};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// CPUs of the machine.
const CPUS: u64 = 8;

/// A layout and what is to be found in it.
struct Layout {
    name: &'static str,
    /// The quota in CPUs; 0 for none.
    cpus: f64,
    /// GOMEMLIMIT that follows; 0 for none.
    memory: u64,
    /// Whether Go 1.25 and Go 1.27 find the quota without help.
    found: [bool; 2],
}

const fn layout(name: &'static str, cpus: f64, memory: u64, go25: bool, go27: bool) -> Layout {
    Layout { name, cpus, memory, found: [go25, go27] }
}

const MIB: u64 = 1 << 20;

/// Nine tenths of so many MiB, as goinit computes it.
const fn share(mib: u64) -> u64 {
    mib * MIB * 9 / 10
}

const V2: [Layout; 19] = [
    layout("own", 1.5, share(256), true, true),
    layout("odd-period", 2.5, 269_999_308, true, true),
    layout("unlimited", 0.0, 0, true, true),
    layout("small", 0.25, share(64), true, true),
    layout("high", 3.0, 128 * MIB, true, true),
    layout("high-only", 0.0, 96 * MIB, true, true),
    layout("above-ram", 9.0, 0, true, true),
    layout("pod-hidden", 0.0, 0, true, true),
    layout("host-own", 2.5, share(200), true, true),
    layout("host-parent", 1.5, share(256), false, false),
    layout("host-minimum", 1.5, share(256), false, false),
    layout("mount-root", 2.5, share(128), false, false),
    layout("host-mount", 2.5, share(256), false, false),
    layout("no-mount", 0.0, 0, true, true),
    layout("blank", 0.75, share(64), true, true),
    layout("several", 1.25, share(80), false, false),
    layout("cpuset", 0.0, 0, true, true),
    layout("root", 0.0, 0, true, true),
    layout("above-namespace", 1.25, share(100), false, true),
];

const V1: [Layout; 10] = [
    layout("bind", 2.5, share(200), false, true),
    layout("private", 0.5, share(100), true, true),
    layout("bind-hidden", 1.5, share(48), false, true),
    layout("covered", 1.5, share(48), false, false),
    layout("host-own", 2.5, share(200), true, true),
    layout("host-parent", 1.5, share(256), false, false),
    layout("mount-root", 2.5, share(128), false, false),
    layout("host-mount", 2.5, share(256), false, false),
    layout("no-mount", 0.0, 0, true, true),
    layout("unlimited-v1", 0.0, 0, true, true),
];

/// Two of them again where the hierarchies are others.
const OTHER: [Layout; 3] = [
    layout("host-own", 2.5, share(200), true, true),
    layout("bind", 2.5, share(200), false, true),
    layout("private", 0.5, share(100), true, true),
];

/// The program that tells, with a go line of its own choice.
fn teller(version: &str, line: &str) -> Option<PathBuf> {
    let name = format!("limits-go{line}");
    let source = Path::new(PROJECT).join("target/go-programs").join(&name);
    fs::create_dir_all(&source).unwrap();
    fs::copy(helper("limits").join("main.go"), source.join("main.go")).unwrap();
    let text = format!("module limits\n\ngo {line}\n");
    if fs::read_to_string(source.join("go.mod")).ok().as_ref() != Some(&text) {
        fs::write(source.join("go.mod"), text).unwrap();
    }
    build(&source, &format!("{name}-{version}"), version)
}

/// Every program, by the name that the script prints.
fn tellers() -> Option<Vec<(&'static str, PathBuf)>> {
    Some(vec![
        ("go1.24", teller("1.24", "1.21")?),
        ("go1.25-new", teller("1.25", "1.25")?),
        ("go1.27-new", teller("1.27", "1.25")?),
        ("go1.27-old", teller("1.27", "1.24")?),
    ])
}

/// Options that every machine here has, and the files it needs.
fn machine(kind: &[&str], programs: &[(&str, PathBuf)]) -> Vec<OsString> {
    let mut args: Vec<OsString> = kind.iter().map(Into::into).collect();
    let fixed = "--smp 8 --ram 1G --timeout 230 --cgroupns host --cgroup-mount host --host-pidns \
                 --cgroup-path init.scope";
    args.extend(fixed.split_whitespace().map(Into::into));
    let mut copy = |from: &Path, to: &str| {
        args.push("--copy".into());
        args.push(format!("{}:/app/{to}", from.display()).into());
    };
    copy(&goinit(), "goinit");
    copy(&helper("layouts.sh"), "layouts.sh");
    programs.iter().for_each(|(name, path)| copy(path, name));
    args
}

/// What a program said: Ps and memory limit.
fn state(line: &str) -> (u64, u64) {
    let value = |key: &str| {
        let word = line.split(' ').find_map(|word| word.strip_prefix(key));
        word.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{line}"))
    };
    (value("procs="), value("memory="))
}

/// The output of one layout: the limits, and the programs' words.
type Section<'a> = (Value, BTreeMap<&'a str, (u64, u64)>);

fn sections(text: &str) -> BTreeMap<&str, Section<'_>> {
    let parts = text.split("== ").skip(1);
    parts
        .map(|part| {
            let (name, rest) = part.split_once('\n').unwrap();
            let mut limits = Value::Null;
            let mut said = BTreeMap::new();
            for line in rest.lines() {
                if let Some(json) = line.strip_prefix("limits ") {
                    limits = serde_json::from_str(json).unwrap();
                } else if let Some((who, words)) = line.split_once(": ") {
                    said.insert(who, state(words));
                }
            }
            (name, (limits, said))
        })
        .collect()
}

fn check(layout: &Layout, section: &Section<'_>) {
    let (limits, said) = section;
    let name = layout.name;
    let unlimited = layout.cpus == 0.0;
    assert_eq!(limits["cpu_quota"].as_f64().unwrap_or(0.0), layout.cpus, "{name}: {limits:#}");
    assert_eq!(limits["undetermined"], name == "no-mount", "{name}");
    assert_eq!(limits["searched"], name == "host-mount", "{name}");
    let cpus = if name == "cpuset" { 3 } else { CPUS };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few CPUs")]
    let ceil = if unlimited { cpus } else { (layout.cpus.ceil() as u64).clamp(1, cpus) };
    let own = ceil.max(2);
    let memory = if layout.memory == 0 { i64::MAX.unsigned_abs() } else { layout.memory };
    let expect = |who: &str, procs: u64| {
        assert_eq!(said.get(who), Some(&(procs, memory)), "{name}: {who}");
    };
    let [go25, go27] = layout.found;
    expect("go1.24 goinit", ceil);
    expect("go1.25-new goinit", if go25 { own } else { ceil });
    expect("go1.27-new goinit", if go27 { own } else { ceil });
    expect("go1.27-old goinit", if go27 { own } else { ceil });
    // Where the runtime finds it itself, nothing is set; where it does not, it would be wrong.
    for (who, key, found) in
        [("go1.25-new bare", "go_1.25", go25), ("go1.27-new bare", "go_since_1.26", go27)]
    {
        let (procs, _) = said.get(who).copied().unwrap();
        assert_eq!(procs == own, found, "{name}: {who} has {procs}");
        let set = limits["would_set"][key]["env"].get("GOMAXPROCS").is_some();
        assert_eq!(set, !found, "{name}: {key}");
    }
}

/// All layouts of one kind of machine.
fn check_all(kind: &[&str], script: &str, layouts: &[Layout]) {
    let Some(programs) = tellers() else { return };
    let mut args = machine(kind, &programs);
    args.extend(["--", "sh", "/app/layouts.sh", script].map(Into::into));
    args.extend(layouts.iter().map(|layout| layout.name.into()));
    let Some(done) = v2(args) else { return };
    let text = done.stdout();
    let sections = sections(&text);
    for layout in layouts {
        let section = sections.get(layout.name);
        check(layout, section.unwrap_or_else(|| panic!("{}\n{}", text, done.stderr())));
    }
}

#[test]
fn layouts_of_cgroup_v2() {
    check_all(&[], "v2", &V2);
}

#[test]
fn layouts_of_cgroup_v1() {
    check_all(&["--v1"], "v1", &V1);
}

#[test]
fn layouts_of_cgroup_v1_with_cpu_and_cpuacct_apart() {
    check_all(&["--v1", "--v1-split"], "v1", &OTHER);
}

#[test]
fn layouts_of_hybrid_hosts() {
    check_all(&["--hybrid"], "v1", &OTHER);
    let controllers = ["--hybrid", "--v1-controllers", "memory,blkio,devices"];
    check_all(&controllers, "v1", &OTHER[..1]);
}

/// Seconds from the command's start to the resize.
const RESIZE_AT: f64 = 4.0;

#[test]
fn a_resize_is_followed_frozen_or_ignored_and_told_within_two_seconds() {
    let Some(programs) = tellers() else { return };
    let script = "cd /tmp; for one in go1.24 go1.25-new go1.27-new go1.27-old; do \
         /app/goinit -- /app/$one 9s >$one.out 2>$one.log & done; \
         /app/goinit -- sleep 9 >sleep.out 2>sleep.log & \
         GOMAXPROCS=2 /app/goinit -- /app/go1.27-new 9s >user.out 2>user.log & wait; \
         for one in *.log; do echo \"== ${one%.log}\"; cat ${one%.log}.out $one; done";
    let mut args: Vec<OsString> =
        ["--smp", "8", "--ram", "1G", "--timeout", "120", "--cpu-max", "300000 100000"]
            .map(Into::into)
            .to_vec();
    for (name, path) in
        programs.iter().map(|(name, path)| (*name, path.clone())).chain([("goinit", goinit())])
    {
        args.extend(["--copy".into(), format!("{}:/app/{name}", path.display()).into()]);
    }
    for change in ["cpu.max=500000 100000", "memory.max=134217728"] {
        args.extend(["--at".into(), format!("{RESIZE_AT}:set:0:{change}").into()]);
    }
    args.extend(["--memory-max", "256M", "--", "sh", "-c", script].map(Into::into));
    let Some(done) = v2(args) else { return };
    let text = done.stdout();
    let parts: BTreeMap<&str, &str> =
        text.split("== ").skip(1).filter_map(|part| part.split_once('\n')).collect();
    for (name, ends, words) in [
        ("go1.24", 3, "GOMAXPROCS is set and stays 3 until a restart, which would make it 5"),
        ("go1.25-new", 5, "the program follows, GOMAXPROCS becomes 5"),
        ("go1.27-new", 5, "the program follows, GOMAXPROCS becomes 5"),
        ("go1.27-old", 5, "the program follows, GOMAXPROCS becomes 5"),
        ("user", 2, "GOMAXPROCS is set and stays 2"),
        ("sleep", 0, "GOMAXPROCS is set and stays 3"),
    ] {
        let part = parts.get(name).unwrap_or_else(|| panic!("{name}: {text}\n{}", done.stderr()));
        let states: Vec<_> =
            part.lines().filter(|line| line.starts_with("procs=")).map(state).collect();
        let procs = states.last().map_or(0, |(procs, _)| *procs);
        assert_eq!(procs, ends, "{name}: {states:?}");
        // GOMEMLIMIT is read once.
        assert!(states.iter().all(|(_, memory)| *memory == share(256)), "{name}: {states:?}");
        let records: Vec<Value> =
            part.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let named = |event: &str| -> Vec<&Value> {
            records.iter().filter(|record| record["event_name"] == event).collect()
        };
        let told = named("goinit.limits");
        let all: String = told
            .iter()
            .map(|record| record["message"].as_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n");
        for words in
            [words, "CPU limit 3 -> 5", "memory limit 256 MiB -> 128 MiB", "above the new limit"]
        {
            assert!(all.contains(words), "{name}: no {words:?} in {all}");
        }
        let start = seconds(named("goinit.start")[0]);
        for record in told {
            let after = seconds(record) - start;
            assert!(after < RESIZE_AT + 2.0, "{name}: told {after} s after the start\n{all}");
        }
    }
}

/// The time of a record, in seconds.
fn seconds(record: &Value) -> f64 {
    let text = record["timestamp"].as_str().unwrap();
    let time = humantime::parse_rfc3339(text).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}
