//! What decides limits: `/proc/PID/cgroup`, mountinfo, limit files, the loader's cache. Any bytes
//! give an answer without a panic, and no limit that a file does not say.
//!
//! seeds: ../shared/corpus/cgroup/*/proc/self/*
//! max_len: 8192
#![no_main]

use goinit::linux::{cgroup, ldcache, mountinfo};
use goinit::policy::limits::{self, Controller, GoReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // A seed is one of the files; with a line of hyphens between them it is two.
    let cut = data.windows(4).position(|window| window == b"---\n");
    let (cgroup, mounts) = match cut {
        Some(at) => (&data[..at], &data[at + 4..]),
        None => (data, data),
    };
    let all = mountinfo::Mounts::read(mounts);
    for (own, mounts) in
        [(Some(cgroup), Some(&all)), (None, Some(&all)), (Some(cgroup), None), (None, None)]
    {
        for home in limits::homes(own, mounts) {
            for candidate in &home.candidates {
                let levels = candidate.levels();
                assert_eq!(levels.last(), Some(&candidate.point), "the mount point is the last");
                assert!(levels.iter().all(|level| level.starts_with(&candidate.point)));
                let parent = |step: &[u8]| step == b"..";
                assert!(!candidate.rest.split(|b| *b == b'/').any(parent), "no way out");
            }
            assert!(home.distant.iter().all(|distant| distant.down > 0));
        }
        for reader in [GoReader::Go25, GoReader::Go26] {
            let _ = reader.directory(own, mounts);
        }
    }
    for mount in mountinfo::mounts(mounts).take(64) {
        let _ = all.covers(&mount);
    }
    let _ = mountinfo::mount_of(mounts, b"/sys/fs/cgroup/cpu");
    for controller in [Controller::Cpu, Controller::Memory] {
        let _ = cgroup::membership(data, controller.name());
    }
    numbers(data, cgroup, mounts);
    for path in ldcache::paths(data, "libc.so.6").take(64) {
        assert!(!path.contains('\0'));
    }
});

fn numbers(data: &[u8], one: &[u8], other: &[u8]) {
    for quota in [cgroup::cpu_max(data), cgroup::cpu_cfs(one, Some(other)), cgroup::cpu_cfs(one, None)]
        .into_iter()
        .filter_map(cgroup::Value::limit)
    {
        assert!(quota.quota_us > 0 && quota.period_us > 0);
        assert!(quota.floor() <= quota.ceil() && quota.ceil() >= 1 && quota.cpus() > 0.0);
        let _ = quota.millicores();
    }
    for bytes in [cgroup::memory_limit(data), cgroup::hierarchical_memory_limit(data)]
        .into_iter()
        .filter_map(cgroup::Value::limit)
    {
        assert!(bytes > 0 && bytes < cgroup::UNLIMITED_BYTES);
    }
    let _ = (cgroup::throttling(data), cgroup::memory_events(data), cgroup::allowed_cpus(data));
    let _ = (cgroup::cpu_list(data), cgroup::machine_memory(data), cgroup::plain(data));
}
