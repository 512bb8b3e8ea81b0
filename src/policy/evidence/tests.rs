//! The JSON form: nothing is lost on the way, and documents of any other shape are survived.

use super::*;
use serde_json::json;

fn sample() -> Evidence {
    let socket = Socket {
        proto: "tcp".to_owned(),
        local: "10.0.1.12:40112".to_owned(),
        remote: "10.0.3.7:5432".to_owned(),
        state: "SYN_SENT".to_owned(),
        inode: 77,
        fd: Some(5),
        retransmits: Some(3),
        ..Socket::default()
    };
    let call = Syscall {
        nr: 42,
        name: "connect".to_owned(),
        text: "connect(5<TCP:[…]>, …)".to_owned(),
        fd: Some(5),
        target: Some(Target {
            kind: TargetKind::Socket,
            path: "socket:[77]".to_owned(),
            socket: Some(socket.clone()),
        }),
        ..Syscall::default()
    };
    Evidence {
        at: Mono(12_000_000_000),
        pid: Pid(7),
        sample_ms: 200,
        cgroup: Probe::Got(Cgroup {
            version: 2,
            quota_us: Some(150_000),
            pressure_cpu: Some(Pressure { some_avg10: 4.0, ..Pressure::default() }),
            ..Cgroup::default()
        }),
        process: Probe::Missing(Why::Denied("/proc/7/status: EACCES".to_owned())),
        threads: Probe::Got(vec![
            Thread { tid: 9, syscall: Probe::Got(Some(call)), ..Thread::default() },
            Thread { tid: 10, syscall: Probe::Got(None), ..Thread::default() },
            Thread { tid: 11, syscall: Probe::Missing(Why::Gone), ..Thread::default() },
        ]),
        sockets: Probe::Got(vec![socket]),
        locks: Probe::Got(Vec::new()),
        goroutines: Probe::Got(Goroutines {
            total: 131,
            groups: vec![GoroutineGroup {
                state: "chan receive".to_owned(),
                count: 118,
                frames: vec![Frame {
                    function: "main.worker".to_owned(),
                    file: "/src/run.go".to_owned(),
                    line: 31,
                }],
                ..GoroutineGroup::default()
            }],
            ..Goroutines::default()
        }),
        ..Evidence::default()
    }
}

#[test]
fn evidence_survives_the_way_through_json() {
    let evidence = sample();
    let text = evidence.to_json().to_string();
    assert_eq!(Evidence::from_json(&serde_json::from_str(&text).unwrap()), evidence);
    assert!(!text.contains("not_asked"), "{text}");
}

#[test]
fn every_reason_survives_the_way_through_json() {
    let detail = || "why".to_owned();
    for why in [
        Why::Denied(detail()),
        Why::Gone,
        Why::Unsupported(detail()),
        Why::TimedOut,
        Why::Malformed(detail()),
        Why::Failed(detail()),
        Why::Failed(String::new()),
    ] {
        let evidence = Evidence { locks: Probe::Missing(why.clone()), ..Evidence::default() };
        assert_eq!(Evidence::from_json(&evidence.to_json()).locks, Probe::Missing(why));
    }
}

#[test]
fn unknown_keys_are_ignored_and_missing_ones_read_as_missing() {
    let read = Evidence::from_json(&json!({"pid": 7, "aura": "green", "cgroup": {"got": {}}}));
    assert_eq!(read.pid, Pid(7));
    assert_eq!(read.cgroup, Probe::Got(Cgroup::default()));
    assert_eq!(read.threads, Probe::Missing(Why::NotAsked));
}

#[test]
fn values_of_a_wrong_type_read_as_absent() {
    for document in [json!(null), json!([1]), json!("x"), json!({"pid": "seven", "at": -1})] {
        assert_eq!(Evidence::from_json(&document), Evidence::default(), "{document}");
    }
    let read = Evidence::from_json(&json!({"threads": {"got": 5}, "locks": {"got": [5, {}]}}));
    assert!(matches!(read.threads, Probe::Missing(Why::Malformed(_))));
    assert_eq!(read.locks, Probe::Got(vec![Lock::default()]));
}

#[test]
fn lines_add_up_and_the_last_one_wins() {
    let whole = sample();
    let mut read = Evidence::default();
    read.absorb(b"{\"threads\":{\"missing\":\"timed_out\"}}");
    read.absorb(b"GOINIT? garbage \xff");
    read.absorb(b"[]");
    for keys in
        [&["at", "pid", "sample_ms"][..], &["cgroup", "process"], &["threads"], &["sockets"]]
    {
        let line = whole.line(keys);
        assert!(line.ends_with('\n') && line.trim_end().lines().count() == 1);
        read.absorb(line.trim_end().as_bytes());
    }
    read.close(&Why::TimedOut);
    assert_eq!(read.left_out.lines, 2);
    assert_eq!(read.threads, whole.threads);
    assert_eq!(read.process, whole.process);
    assert_eq!(read.goroutines, Probe::Missing(Why::TimedOut));
}
