//! Limits in every layout: the trees of `../shared/corpus/cgroup`, trees of our own, and the
//! cgroups of the machine the tests run on.

use std::path::{Path, PathBuf};

use goinit::host::cgroup;
use goinit::host::files::Root;
use serde_json::Value;

/// Compares every expected key of one tree.
fn check(tree: &Path) {
    let name = tree.display();
    let text = std::fs::read_to_string(tree.join("expected.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    let limits = cgroup::read(&Root::at(tree), None).0;
    let flag = |key: &str| expected.get(key).and_then(Value::as_bool).unwrap_or(false);

    let cpus = limits.cpu.limit.as_ref().map(|limit| limit.value.cpus());
    assert_eq!(cpus, expected["cpu_quota"].as_f64(), "{name}: cpu_quota");
    let memory = limits.memory.limit.as_ref().map(|limit| limit.value);
    assert_eq!(memory, expected["memory_limit"].as_u64(), "{name}: memory_limit");
    let high = limits.memory_high.as_ref().map(|limit| limit.value);
    assert_eq!(high, expected.get("memory_high").and_then(Value::as_u64), "{name}: memory_high");
    let version = limits.cpu.version.map(|version| u64::from(version.number()));
    assert_eq!(version, expected["cgroup_version"].as_u64(), "{name}: cgroup_version");
    if let Some(expected) = expected.get("memory_cgroup_version") {
        let version = limits.memory.version.map(|version| u64::from(version.number()));
        assert_eq!(version, expected.as_u64(), "{name}: memory_cgroup_version");
    }
    let affinity = limits.affinity.map(u64::from);
    assert_eq!(affinity, expected.get("affinity").and_then(Value::as_u64), "{name}: affinity");
    assert_eq!(limits.undetermined(), flag("undetermined"), "{name}: undetermined");
    assert_eq!(limits.assumed(), flag("assumed"), "{name}: assumed");
    assert_eq!(limits.malformed().count() > 0, flag("malformed"), "{name}: malformed");
    if memory.is_some() {
        let binding = expected.get("binding").and_then(Value::as_bool).unwrap_or(true);
        assert_eq!(limits.binding_memory().is_some(), binding, "{name}: binding");
    }
}

fn trees(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut trees: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("expected.json").is_file())
        .collect();
    trees.sort();
    trees
}

#[test]
fn every_tree_of_the_shared_corpus_is_read_right() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/cgroup"));
    let trees = trees(directory);
    if trees.is_empty() {
        return crate::support::skip("no ../shared/corpus/cgroup");
    }
    assert!(trees.len() >= 35, "{} trees", trees.len());
    trees.iter().for_each(|tree| check(tree));
}
