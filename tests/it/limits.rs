//! Limits in every layout: the trees of `../shared/corpus/cgroup`, trees of our own
//! (tests/data/cgroup), and the cgroups of the machine the tests run on.

use crate::support::{Done, Group, PROJECT, Run, TempDir, now, shared, wait_until};
use serde_json::{Map, Value};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `goinit limits --json` below a directory.
fn limits(tree: &Path, more: &[&str]) -> Value {
    let done = Run::goinit().args(["limits", "--json", "--root"]).arg(tree).args(more).finish();
    document(&done)
}

#[track_caller]
fn document(done: &Done) -> Value {
    assert_eq!(done.code, 0, "{}", done.stderr());
    assert_eq!(done.stderr(), "");
    serde_json::from_str(&done.stdout()).unwrap()
}

/// Every key that is expected has its value; keys that are not mentioned have their quiet one.
fn compare(name: &str, expected: &Map<String, Value>, found: &Value) {
    let quiet = [
        ("memory_high", Value::Null),
        ("affinity", Value::Null),
        ("undetermined", false.into()),
        ("assumed", false.into()),
        ("malformed", false.into()),
    ];
    for (key, value) in quiet {
        let expected = expected.get(key).unwrap_or(&value);
        assert_eq!(&found[key], expected, "{name}: {key}\n{found:#}");
    }
    for key in ["cpu_quota", "memory_limit", "cgroup_version", "memory_cgroup_version"] {
        if let Some(expected) = expected.get(key) {
            let same = match (expected.as_f64(), found[key].as_f64()) {
                (Some(a), Some(b)) => (a - b).abs() < 1e-9,
                (a, b) => a == b,
            };
            assert!(same, "{name}: {key} {expected} {}\n{found:#}", found[key]);
        }
    }
    if found["memory_limit"].is_u64() {
        let binding = expected.get("binding").unwrap_or(&Value::Bool(true));
        assert_eq!(&found["memory_binds"], binding, "{name}: binding");
    }
}

/// Every file that decides is named, with what it says.
fn sources_are_told(name: &str, found: &Value) {
    for (value, file) in [
        ("cpu_quota", "cpu_file"),
        ("memory_limit", "memory_file"),
        ("memory_high", "memory_high_file"),
    ] {
        assert_eq!(found[value].is_null(), found[file].is_null(), "{name}: {file}");
        let named =
            found["sources"].as_array().unwrap().iter().any(|one| one["file"] == found[file]);
        assert!(named || found[file].is_null(), "{name}: {file} is no source");
    }
    let would = found["would_set"].as_object().unwrap();
    assert!(would.len() >= 4, "{name}");
    // An old go line changes what the runtime does with the limit, not whether it finds it.
    for release in ["go_1.25", "go_since_1.26"] {
        let sets = |key: &str| would[key]["env"].get("GOMAXPROCS").is_some();
        assert_eq!(sets(&format!("{release}_old_go_line")), sets(release), "{name}: {release}");
    }
    for (runtime, settings) in would {
        for reason in ["gomaxprocs_reason", "gomemlimit_reason"] {
            assert!(settings[reason].as_str().is_some_and(|s| s.len() > 10), "{name}: {runtime}");
        }
    }
}

fn check(name: &str, tree: &Path) {
    let text = fs::read_to_string(tree.join("expected.json")).unwrap();
    let expected: Map<String, Value> = serde_json::from_str(&text).unwrap();
    let found = limits(tree, &[]);
    compare(name, &expected, &found);
    sources_are_told(name, &found);
    let (Some(pid), Some(scan)) = (expected.get("pid"), expected.get("by_scan")) else { return };
    let found = limits(tree, &["--pid", &pid.to_string()]);
    assert_eq!(found["searched"], true, "{name}: {found:#}");
    assert_eq!(found["undetermined"], false, "{name}");
    for (key, value) in scan.as_object().unwrap() {
        assert_eq!(&found[key], value, "{name}: by number, {key}");
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

#[test]
fn every_tree_of_the_shared_corpus_is_read_right() {
    let Some(corpus) = shared("corpus/cgroup") else { return };
    let trees: Vec<_> =
        entries(&corpus).into_iter().filter(|path| path.join("expected.json").is_file()).collect();
    assert!(trees.len() >= 35, "{} trees", trees.len());
    trees.iter().for_each(|tree| check(&tree.display().to_string(), tree));
}

/// Unpacks a tree written as one file: `= PATH` begins a file, `> PATH TARGET` is a link.
fn unpack(text: &str, place: &Path) {
    let mut files: Vec<(&str, String)> = Vec::new();
    let make = |path: &str| {
        let path = place.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for line in text.split_inclusive('\n').skip(1) {
        if let Some(path) = line.strip_prefix("= ") {
            files.push((path.trim_end_matches('\n'), String::new()));
        } else if let Some(link) = line.strip_prefix("> ") {
            let (path, target) = link.trim_end().split_once(' ').unwrap();
            symlink(target, make(path)).unwrap();
        } else {
            files.last_mut().unwrap().1.push_str(line);
        }
    }
    for (path, text) in files {
        fs::write(make(path), text).unwrap();
    }
}

#[test]
fn every_tree_of_our_own_is_read_right() {
    let trees = entries(&Path::new(PROJECT).join("tests/data/cgroup"));
    assert!(trees.len() >= 36, "{} trees", trees.len());
    for tree in trees {
        let place = TempDir::new();
        unpack(&fs::read_to_string(&tree).unwrap(), &place.0);
        check(&tree.file_stem().unwrap().to_string_lossy(), &place.0);
    }
}

/// A tree with one cgroup v2 at the usual place.
fn plain(place: &TempDir) {
    unpack(
        "#\n= proc/self/cgroup\n0::/\n= proc/self/mountinfo\n\
         31 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
        &place.0,
    );
    fs::create_dir_all(place.path("sys/fs/cgroup")).unwrap();
}

#[test]
fn a_hostile_tree_neither_holds_goinit_up_nor_leads_it_out() {
    let place = TempDir::new();
    plain(&place);
    let fifo = place.path("sys/fs/cgroup/cpu.max");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(place.path("sys/fs/cgroup/memory.max")).unwrap();
    // Outside of the tree there is such a file, with a number.
    let outside = TempDir::new();
    fs::write(outside.path("high"), "4096\n").unwrap();
    symlink(outside.path("high"), place.path("sys/fs/cgroup/memory.high")).unwrap();
    let found = limits(&place.0, &[]);
    assert!(found["cpu_quota"].is_null() && found["memory_limit"].is_null(), "{found:#}");
    assert!(found["memory_high"].is_null(), "{found:#}");
    fs::remove_file(&fifo).unwrap();
    fs::write(&fifo, vec![b'9'; 3 << 20]).unwrap();
    let found = limits(&place.0, &[]);
    assert!(found["cpu_quota"].is_null() && found["malformed"] == true, "{found:#}");
}

#[test]
fn a_huge_mountinfo_is_read_in_bounded_time_and_a_cut_one_is_told() {
    let place = TempDir::new();
    plain(&place);
    fs::write(place.path("sys/fs/cgroup/cpu.max"), "150000 100000\n").unwrap();
    let kubelet = "40 30 0:50 / /var/lib/kubelet/pods/x/volumes/kubernetes.io~secret/t rw,relatime \
                   shared:9 - tmpfs tmpfs rw,size=65536k\n";
    let own = "31 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    fs::write(place.path("proc/self/mountinfo"), kubelet.repeat(100_000) + own).unwrap();
    let start = now();
    let found = limits(&place.0, &[]);
    assert_eq!(found["cpu_quota"], 1.5);
    // Sixteen MiB at the most, and the half line at the cut is no line.
    fs::write(place.path("proc/self/mountinfo"), own.to_owned() + &kubelet.repeat(160_000))
        .unwrap();
    let found = limits(&place.0, &[]);
    assert_eq!(found["cpu_quota"], 1.5);
    assert!(found["cut"][0].as_str().unwrap().contains("mountinfo"), "{found:#}");
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}

#[test]
fn wrong_usage_is_told_and_exits_125() {
    for (args, words) in [
        (&["--root", "/nonexistent"][..], "no such directory"),
        (&["--pid", "x"], "not a process number"),
        (&["--pid", "0"], "not a process number"),
        (&["--pid", "4194999"], "no such process"),
        (&["--frob"], "--frob"),
        (&["extra"], "extra"),
    ] {
        let done = Run::goinit().arg("limits").args(args).finish();
        assert_eq!(done.code, 125, "{args:?}");
        assert!(done.stderr().contains(words), "{args:?}: {}", done.stderr());
    }
}

#[test]
fn a_changed_limit_of_this_machine_is_told_below_a_program_without_heartbeat() {
    let Some(group) = Group::cpu(300_000) else { return };
    let mut running = Run::goinit().args(["--", "sleep", "30"]).in_group(&group).start();
    running.wait_for_text("goinit.start");
    let (file, text) = if group.path.join("cpu.max").exists() {
        ("cpu.max", "150000 100000")
    } else {
        ("cpu.cfs_quota_us", "150000")
    };
    let changed = now();
    fs::write(group.path.join(file), text).unwrap();
    running.wait_for_text("goinit.limits");
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    let records = running.records();
    let record = records.iter().find(|one| one["event_name"] == "goinit.limits").unwrap();
    assert_eq!(record["cgroup"]["cpu"]["quota_us"], 150_000, "{record:#}");
    assert_eq!(record["cgroup"]["cpu"]["before_quota_us"], 300_000, "{record:#}");
    assert!(record["message"].as_str().unwrap().contains("CPU limit 3 -> 1.5"), "{record:#}");
    // What is written but means the same is no change, and a signal of somebody is still passed on.
    fs::write(group.path.join(file), text).unwrap();
    running.signal(64);
    assert!(wait_until(Duration::from_secs(10), || running.has_ended()));
    let done = running.wait(Duration::from_secs(10));
    assert_eq!(done.named("goinit.limits").len(), 1, "{}", done.stderr());
    assert_eq!(done.code, 128 + 64, "{}", done.stderr());
}
