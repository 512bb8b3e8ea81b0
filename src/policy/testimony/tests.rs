//! Sentences as a person reads them.

use super::*;
use crate::policy::evidence::{Probe, Target, TargetKind, Why};
use crate::units::Pid;

fn sentences(evidence: &Evidence) -> Vec<String> {
    records(evidence, "stall-1").iter().map(|record| record.message().to_owned()).collect()
}

fn thread_in(tid: u64, call: Syscall) -> Thread {
    let state = "S".to_owned();
    Thread { tid, state, syscall: Probe::Got(Some(call)), ..Thread::default() }
}

fn call(name: &str, target: Option<Target>) -> Syscall {
    Syscall { name: name.to_owned(), target, ..Syscall::default() }
}

fn peer(state: &str) -> Socket {
    Socket {
        proto: "tcp".to_owned(),
        local: "10.0.1.12:40112".to_owned(),
        remote: "10.0.3.7:5432".to_owned(),
        state: state.to_owned(),
        fd: Some(5),
        retransmits: Some(3),
        ..Socket::default()
    }
}

#[test]
fn a_blocked_thread_is_told_with_call_peer_and_state() {
    let socket = Target {
        kind: TargetKind::Socket,
        path: "socket:[7]".to_owned(),
        socket: Some(peer("SYN_SENT")),
    };
    let file = Target { kind: TargetKind::File, path: "/data/x.lock".to_owned(), socket: None };
    let evidence = Evidence {
        threads: Probe::Got(vec![
            thread_in(9, call("connect", Some(socket))),
            thread_in(10, call("flock", Some(file))),
            thread_in(11, call("futex", None)),
            thread_in(12, Syscall { timeout_ms: Some(10), ..call("nanosleep", None) }),
            thread_in(13, Syscall { wait_pid: Some(Pid(31)), ..call("waitid", None) }),
            thread_in(14, call("epoll_pwait", None)),
        ]),
        ..Evidence::default()
    };
    let all = sentences(&evidence);
    assert_eq!(
        all[..3],
        [
            "thread 9 blocked in connect(2) to 10.0.3.7:5432 (SYN_SENT)",
            "thread 10 blocked in flock(2) on /data/x.lock",
            "thread 13 blocked in waitid(2) for process 31",
        ]
    );
    assert!(all[3].starts_with("3 more threads are parked"), "{}", all[3]);
}

#[test]
fn locks_name_their_holder_and_sockets_their_peer() {
    let lock = Lock {
        kind: LockKind::Flock,
        waiter: Pid(9),
        holder: Some(Pid(31)),
        holder_name: Some("flyway".to_owned()),
        path: Some("/data/x.lock".to_owned()),
        ..Lock::default()
    };
    let own = Lock { holder: Some(Pid(9)), ..lock.clone() };
    let hidden = Lock { holder: None, path: None, inode: 5, ..lock.clone() };
    let evidence = Evidence {
        locks: Probe::Got(vec![lock, own, hidden]),
        sockets: Probe::Got(vec![peer("SYN_SENT"), peer("TIME_WAIT"), peer("ESTABLISHED")]),
        ..Evidence::default()
    };
    assert_eq!(
        sentences(&evidence)[..5],
        [
            "process 9 waits for flock /data/x.lock, held by process 31 (flyway)",
            "process 9 waits for flock /data/x.lock, held by itself through another descriptor",
            "process 9 waits for flock inode 5, its holder is not visible from here",
            "tcp connection to 10.0.3.7:5432 (fd 5) is not answered, 3 retransmissions",
            "tcp connection to 10.0.3.7:5432 (fd 5) is ESTABLISHED: 0 bytes unread, \
             0 unacknowledged",
        ]
    );
}

#[test]
fn a_crowd_is_cut_and_counted() {
    let threads = (0..200).map(|tid| thread_in(tid, call("read", None))).collect();
    let evidence = Evidence { threads: Probe::Got(threads), ..Evidence::default() };
    let all = records(&evidence, "stall-2");
    assert_eq!(all.len(), LIMIT);
    let last = all.last().unwrap();
    let number = |path: &str| last.get(path).cloned();
    assert_eq!(number("counters.records_left_out"), Some(151u64.into()));
    assert_eq!(number("goinit.part.count"), Some(50u64.into()));
    assert_eq!(number("goinit.part.id"), Some("stall-2".into()));
}

#[test]
fn missing_sources_are_told_with_their_reasons() {
    let mut evidence = Evidence::default();
    evidence.close(&Why::Failed("killed by SIGKILL".to_owned()));
    let all = sentences(&evidence);
    assert_eq!(all, ["no cgroup: the evidence process failed (killed by SIGKILL)"]);
}

#[test]
fn a_group_of_goroutines_is_told_by_the_programs_own_place_and_what_it_waits_for() {
    let frame = |function: &str, file: &str, line| Frame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
    };
    let group = GoroutineGroup {
        state: "sync.Mutex.Lock".to_owned(),
        count: 118,
        frames: vec![
            frame("internal/sync.(*Mutex).lockSlow", "/go/src/internal/sync/mutex.go", 149),
            frame("sync.(*Mutex).Lock", "/go/src/sync/mutex.go", 46),
            frame("example.com/shop/pool.(*Pool).get", "/src/pool/pool.go", 88),
        ],
        waits_on: Some("sync.Mutex 0x624b28, locked, 118 waiting".to_owned()),
        ..GoroutineGroup::default()
    };
    assert_eq!(
        goroutines(&group, 131).message(),
        "goroutines: 118 x [sync.Mutex.Lock] pool.(*Pool).get (pool.go:88), waits for sync.Mutex \
         0x624b28, locked, 118 waiting"
    );
}
