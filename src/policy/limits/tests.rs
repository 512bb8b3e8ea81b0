use super::*;
use crate::linux::mountinfo::Mounts;

/// Candidates of the cpu controller, as `point:rest`.
fn candidates(cgroup: &str, mountinfo: &str) -> Vec<String> {
    let home =
        home(Controller::Cpu, Some(cgroup.as_bytes()), Some(&Mounts::read(mountinfo.as_bytes())));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    home.candidates.iter().map(|c| format!("{}:{}", text(&c.point), text(&c.rest))).collect()
}

/// Mounts that need a search, as `point:levels:rest`.
fn distant(cgroup: &str, mountinfo: &str) -> Vec<String> {
    let home =
        home(Controller::Cpu, Some(cgroup.as_bytes()), Some(&Mounts::read(mountinfo.as_bytes())));
    assert!(home.candidates.is_empty(), "{home:?}");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    home.distant
        .iter()
        .map(|d| format!("{}:{}:{}", text(&d.point), d.down, text(&d.rest)))
        .collect()
}

#[test]
fn the_shortest_root_comes_first_and_strangers_are_left_out() {
    let mounts = "1 0 0:9 /pod/c /c rw - cgroup2 c rw\n\
        2 0 0:9 /podium /p rw - cgroup2 c rw\n\
        3 0 0:9 /pod /pod rw - cgroup2 c rw\n\
        4 0 0:9 /pod/c/deeper /d rw - cgroup2 c rw\n";
    assert_eq!(candidates("0::/pod/c\n", mounts), ["/pod:/c", "/c:"]);
}

#[test]
fn a_path_above_the_namespace_is_found_below_a_mount_that_goes_as_far_up() {
    let mount = |root: &str| format!("1 0 0:9 {root} /c rw - cgroup2 c rw\n");
    assert_eq!(candidates("0::/../x\n", &mount("/..")), ["/c:/x"]);
    assert_eq!(candidates("0::/../x\n", &mount("/../x")), ["/c:"]);
    assert!(candidates("0::/../x\n", &mount("/")).is_empty());
    assert!(candidates("0::/../x\n", &mount("/../../x")).is_empty());
    assert!(candidates("0::/..x\n", &mount("/..")).is_empty());
}

#[test]
fn a_mount_from_above_the_namespace_is_searched_as_deep_as_its_root_is_high() {
    let mount = |root: &str| format!("1 0 0:9 {root} /c rw - cgroup2 c rw\n");
    assert_eq!(distant("0::/\n", &mount("/..")), ["/c:1:"]);
    assert_eq!(distant("0::/\n", &mount("/../../..")), ["/c:3:"]);
    assert_eq!(distant("0::/a/b\n", &mount("/../..")), ["/c:2:/a/b"]);
    assert_eq!(distant("0::/../x\n", &mount("/../..")), ["/c:1:/x"]);
    let none: [&str; 0] = [];
    assert_eq!(distant("0::/../../x\n", &mount("/../../other")), none);
    assert_eq!(distant("0::/a\n", &mount("/../other")), none);
}

#[test]
fn a_hostile_number_of_mounts_is_cut() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for id in 2..40_000 {
        let _ = writeln!(text, "{id} {} 0:9 / /c rw - cgroup2 c rw", id - 1);
    }
    let found = candidates("0::/a\n", &text);
    assert!(found.len() <= CANDIDATES_MAX, "{}", found.len());
}

#[test]
fn levels_go_up_to_the_mount_point() {
    let of = |point: &str, rest: &str| {
        let candidate = Candidate {
            point: point.as_bytes().to_vec(),
            rest: rest.as_bytes().to_vec(),
            mounted: false,
        };
        let levels = candidate.levels().into_iter().map(|l| String::from_utf8(l).unwrap());
        levels.collect::<Vec<_>>()
    };
    assert_eq!(of("/c", "/a/b"), ["/c/a/b", "/c/a", "/c"]);
    assert_eq!(of("/c", ""), ["/c"]);
    assert_eq!(of("/c", &"/x".repeat(2000)).len(), 2001);
}

#[test]
fn without_proc_the_usual_places_are_assumed() {
    let places = |cgroup: Option<&str>| {
        let home = home(Controller::Cpu, cgroup.map(str::as_bytes), None);
        assert!(home.assumed);
        let path = |c: &Candidate| String::from_utf8(c.directory()).unwrap();
        home.candidates.iter().map(path).collect::<Vec<_>>()
    };
    assert_eq!(places(Some("0::/a\n")), ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]);
    assert_eq!(places(Some("0::/../a\n")), ["/sys/fs/cgroup"]);
    assert_eq!(places(Some("1:cpu:/\n"))[0], "/sys/fs/cgroup/cpu");
    assert_eq!(places(None), places(Some("no line of the right shape\n")));
    assert_eq!(places(None).last().unwrap(), "/sys/fs/cgroup");
}
