//! Every rule, with the smallest evidence that it must recognise.

use super::*;
use crate::go::gc::{self, GcTrace};
use crate::go::snapshot::Snapshot;
use crate::policy::evidence::*;
use crate::units::{Mono, Pid};

fn frame(function: &str, line: u64) -> Frame {
    Frame { function: function.into(), file: "/src/app.go".into(), line }
}

fn goroutine(state: &str, functions: &[&str]) -> Goroutine {
    let frames = functions.iter().map(|name| frame(name, 7)).collect();
    Goroutine { id: 1, state: state.into(), frames, ..Goroutine::default() }
}

fn goroutines(main: Goroutine) -> Evidence {
    let all = Goroutines { total: 2, main: Some(main), ..Goroutines::default() };
    let threads = Probe::Got(vec![thread("futex", Syscall::default())]);
    Evidence { pid: Pid(7), goroutines: Probe::Got(all), threads, ..Evidence::default() }
}

fn thread(name: &str, call: Syscall) -> Thread {
    let call = Syscall { name: name.into(), ..call };
    Thread { tid: 9, same_call: true, syscall: Probe::Got(Some(call)), ..Thread::default() }
}

fn threads(threads: Vec<Thread>) -> Evidence {
    Evidence { pid: Pid(7), threads: Probe::Got(threads), ..Evidence::default() }
}

fn target(kind: TargetKind, path: &str) -> Syscall {
    let target = Target { kind, path: path.into(), socket: None };
    Syscall { target: Some(target), ..Syscall::default() }
}

/// A collection as a program at its memory limit prints it.
fn gc() -> GcTrace {
    let line = b"gc 18 @2.153s 9%: 0.19+46+0.004 ms clock, 0.38+0.011/46/0.027+0.009 ms cpu, \
        54->60->54 MB, 54 MB goal, 0 MB stacks, 0 MB globals, 8 P";
    gc::parse(line).unwrap().0
}

fn history() -> History {
    let mut history = History::new(Mono(0));
    history.beats = 30;
    history.snapshot = Some(Snapshot { gomaxprocs: 2, idleprocs: 2, ..Snapshot::default() });
    history
}

/// class/cause/confidence of a case.
fn check_with(kind: Kind, history: &History, evidence: &Evidence, expected: &str) -> Verdict {
    let lasted = Duration::from_secs(30);
    let verdict = judge(&Case { kind, lasted, history, evidence });
    let found = format!("{}/{}/{}", verdict.class.word(), verdict.cause, verdict.confidence.word());
    assert_eq!(found, expected, "{}", verdict.sentence);
    assert!(!verdict.sentence.is_empty() && !verdict.next.is_empty());
    verdict
}

fn check(evidence: &Evidence, expected: &str) -> Verdict {
    check_with(Kind::Idle, &history(), evidence, expected)
}

#[test]
fn a_channel_nobody_can_send_on_is_a_certain_deadlock() {
    let evidence = goroutines(goroutine("chan receive", &["main.wait", "main.main"]));
    let verdict = check(&evidence, "stalled/channel/certain");
    assert_eq!(verdict.place.as_deref(), Some("main.wait (/src/app.go:7)"));
    assert!(verdict.condemns());
}

#[test]
fn who_may_yet_be_woken_is_not_condemned() {
    let mut evidence = goroutines(goroutine("chan receive", &["main.wait", "main.main"]));
    if let Probe::Got(all) = &mut evidence.goroutines {
        all.wakers.timers = 1;
    }
    let verdict = check(&evidence, "stalled/channel/unclear");
    assert!(!verdict.condemns() && verdict.sentence.contains("may wake it"));
    if let Probe::Got(all) = &mut evidence.goroutines {
        (all.wakers.timers, all.wakers.io_wait) = (0, 1);
    }
    // A consumer of a queue that is idle.
    check(&evidence, "stalled/channel/unclear");
    let mut ticks = goroutines(goroutine("chan receive", &["main.wait", "main.main"]));
    let timed = Syscall { timeout_ms: Some(499), ..Syscall::default() };
    ticks.threads = Probe::Got(vec![thread("epoll_pwait", timed)]);
    check(&ticks, "stalled/channel/likely");
    let hourly = Syscall { timeout_ms: Some(1_800_000), ..Syscall::default() };
    ticks.threads = Probe::Got(vec![thread("epoll_pwait", hourly)]);
    check(&ticks, "stalled/channel/unclear");
}

#[test]
fn package_init_is_named_with_its_progress() {
    let mut evidence = goroutines(goroutine(
        "chan receive",
        &["app/settings.fetch", "app/settings.init.0", "runtime.doInit1"],
    ));
    if let Probe::Got(all) = &mut evidence.goroutines {
        all.init = Some(InitProgress { done: 15, total: 21, ..InitProgress::default() });
    }
    let verdict = check(&evidence, "stalled/init/certain");
    assert!(verdict.sentence.contains("app/settings.init.0"), "{}", verdict.sentence);
    assert!(verdict.sentence.contains("15 of 21 packages"), "{}", verdict.sentence);
}

#[test]
fn locks_and_wait_groups_are_sync_and_a_ring_of_locks_is_named() {
    for state in [
        "sync.WaitGroup.Wait",
        "sync.Mutex.Lock",
        "sync.RWMutex.RLock",
        "semacquire",
        "sync.Cond.Wait",
        "select (no cases)",
        "chan receive (nil chan)",
    ] {
        check(&goroutines(goroutine(state, &["main.main"])), "stalled/sync/certain");
    }
    let mut ring = goroutines(goroutine("sync.WaitGroup.Wait", &["main.main"]));
    if let Probe::Got(all) = &mut ring.goroutines {
        let step = |goroutine, holder| LockStep {
            goroutine,
            holder,
            object: "mutex 0xc000010000".into(),
            frame: Some(frame("main.transfer", 24)),
        };
        all.lock_cycle = vec![step(18, 19), step(19, 18)];
    }
    let verdict = check(&ring, "stalled/lock-cycle/likely");
    assert!(verdict.sentence.contains("goroutine 18 in main.transfer"));
}

/// A program that sleeps with every thread in a futex, whose heartbeat was lost.
fn locked_up() -> (History, Evidence) {
    let mut history = history();
    (history.last_beat, history.now) = (Some(Mono(0)), Mono(30_000_000_000));
    let mut evidence = goroutines(goroutine("sleep", &["time.Sleep", "main.main"]));
    let text = "futex(0x574170, FUTEX_WAIT_PRIVATE, 2, NULL)".into();
    let futex = thread("futex", Syscall { text, ..Syscall::default() });
    evidence.threads = Probe::Got(vec![futex.clone(), futex]);
    evidence.process = Probe::Got(Process { threads: 2, ..Process::default() });
    (history, evidence)
}

#[test]
fn a_runtime_without_its_monitor_has_no_timers() {
    let (mut history, mut evidence) = locked_up();
    let verdict = check_with(Kind::Silent, &history, &evidence, "stalled/locked-up/likely");
    assert!(verdict.condemns() && verdict.sentence.contains("no heartbeat for 30s"));
    history.crash = Some(crate::policy::verdict::Crash { kind: "fatal", message: "fault".into() });
    let verdict = check_with(Kind::Silent, &history, &evidence, "stalled/locked-up/likely");
    assert!(verdict.sentence.contains("fatal error: fault"), "{}", verdict.sentence);
    // Idle for so long, and locked up since; and asked at a deadline.
    check_with(Kind::Idle, &history, &evidence, "stalled/locked-up/likely");
    assert_eq!(of_running(&history, &evidence).cause, "locked-up");
    // The one that may spin for a lock does so.
    evidence.sample_ms = 1_000;
    let Probe::Got(threads) = &mut evidence.threads else { return };
    (threads[1].syscall, threads[1].cpu_delta_us) = (Probe::Got(None), 900_000);
    let verdict = check_with(Kind::Silent, &history, &evidence, "stalled/locked-up/likely");
    assert!(verdict.sentence.contains("1 of 2 threads spin"), "{}", verdict.sentence);
    // A thread that waits in the poller for the timer finds the lock taken.
    let Probe::Got(threads) = &mut evidence.threads else { return };
    let timed = Syscall { timeout_ms: Some(1_800_000), ..Syscall::default() };
    threads[1] = thread("epoll_pwait", timed);
    check_with(Kind::Silent, &history, &evidence, "stalled/locked-up/likely");
}

#[test]
fn a_heartbeat_that_is_lost_elsewhere_is_no_lock_up() {
    let silent = |change: &dyn Fn(&mut Thread, &mut Process)| {
        let (history, mut evidence) = locked_up();
        evidence.sample_ms = 1_000;
        let (Probe::Got(threads), Probe::Got(process)) =
            (&mut evidence.threads, &mut evidence.process)
        else {
            return;
        };
        change(&mut threads[1], process);
        check_with(Kind::Silent, &history, &evidence, "ok/timer-wait/likely");
    };
    // The monitor lives: stderr was closed, or the quota lets it run rarely.
    let nap = Syscall { timeout_ms: Some(10), ..Syscall::default() };
    silent(&|thread, _| *thread = self::thread("nanosleep", nap.clone()));
    silent(&|thread, _| (thread.syscall, thread.cpu_delta_us) = (Probe::Got(None), 900));
    silent(&|thread, _| thread.switches_delta = 1);
    silent(&|thread, _| thread.same_call = false);
    // The long sleep of a monitor that prints no heartbeat has a limit.
    silent(&|thread, _| {
        let text = "futex(0x574170, FUTEX_WAIT_PRIVATE, 0, 0xc000010000)".into();
        *thread = self::thread("futex", Syscall { text, ..Syscall::default() });
    });
    // There are threads that were not looked at.
    silent(&|_, process| process.threads = 3);
    // Its heart beats, or never did: then another explanation is looked for.
    let (mut history, evidence) = locked_up();
    history.last_beat = Some(Mono(29_000_000_000));
    check_with(Kind::Idle, &history, &evidence, "ok/timer-wait/likely");
    history.last_beat = None;
    check_with(Kind::Silent, &history, &evidence, "ok/timer-wait/likely");
}

#[test]
fn sleeping_polling_and_serving_are_described_and_never_accused() {
    check(&goroutines(goroutine("sleep", &["time.Sleep", "main.main"])), "ok/timer-wait/likely");
    let mut polls = history();
    for second in [0, 5, 10, 15] {
        polls.wrote(Mono(second * 1_000_000_000), 20);
    }
    let sleeps = goroutines(goroutine("sleep", &["time.Sleep", "main.main"]));
    check_with(Kind::Idle, &polls, &sleeps, "ok/polling/likely");
    let accept = ["internal/poll.(*FD).Accept", "net.(*TCPListener).Accept", "main.main"];
    let verdict = check(&goroutines(goroutine("IO wait", &accept)), "ok/serving/likely");
    assert!(!verdict.condemns());
    let mut waits = goroutines(goroutine("chan receive", &["main.main"]));
    if let Probe::Got(all) = &mut waits.goroutines {
        let group = |state: &str, function: &str| GoroutineGroup {
            state: state.into(),
            frames: vec![frame(function, 1)],
            ..GoroutineGroup::default()
        };
        all.groups =
            vec![group("IO wait", "net.(*TCPListener).Accept"), group("syscall", "os/signal.loop")];
    }
    check(&waits, "ok/serving/likely");
    // go http.ListenAndServe(…); select {}
    let mut parked = goroutines(goroutine("select (no cases)", &["main.main"]));
    if let Probe::Got(all) = &mut parked.goroutines {
        let frames =
            ["net.(*TCPListener).Accept", "net/http.(*Server).Serve"].map(|name| frame(name, 1));
        let state = "IO wait".into();
        all.groups =
            vec![GoroutineGroup { state, frames: frames.into(), ..GoroutineGroup::default() }];
    }
    check(&parked, "ok/serving/likely");
}

#[test]
fn a_silent_peer_and_a_missing_peer_are_told_apart() {
    let mut reads = goroutine("IO wait", &["net.(*conn).Read", "main.main"]);
    reads.waits_on = Some("fd 4 tcp 127.0.0.1:1 -> 127.0.0.1:2 ESTABLISHED".into());
    let verdict = check(&goroutines(reads), "stalled/network-read/unclear");
    assert_eq!(verdict.on.as_deref(), Some("tcp 127.0.0.1:2 ESTABLISHED"));
    let mut dials = goroutine("IO wait", &["net.(*netFD).connect", "net.Dial", "main.main"]);
    dials.waits_on = Some("fd 4 tcp 127.0.0.1:1 -> 10.0.3.7:5432 SYN_SENT".into());
    check(&goroutines(dials), "stalled/network-connect/likely");
    let mut evidence = goroutines(goroutine(
        "select",
        &["net/http.(*persistConn).roundTrip", "net/http.Get", "main.main"],
    ));
    if let Probe::Got(all) = &mut evidence.goroutines {
        all.groups = vec![GoroutineGroup {
            state: "IO wait".into(),
            frames: vec![frame("net/http.(*persistConn).readLoop", 1)],
            waits_on: Some("fd 3 tcp a -> b ESTABLISHED".into()),
            ..GoroutineGroup::default()
        }];
    }
    let verdict = check(&evidence, "stalled/io-read/likely");
    assert_eq!(verdict.on.as_deref(), Some("tcp b ESTABLISHED"));
}

fn on_channels(state: &str, elements: &[&str]) -> Goroutine {
    let channels = elements.iter().map(|element| Channel {
        address: 0x00c0_0001_0000,
        element: Some((*element).to_owned()),
        ..Channel::default()
    });
    Goroutine { channels: channels.collect(), ..goroutine(state, &["main.wait", "main.main"]) }
}

#[test]
fn a_wait_for_a_signal_or_a_timer_is_on_purpose() {
    let signal = on_channels("chan receive", &["os.Signal"]);
    check(&goroutines(signal), "ok/serving/likely");
    check(&goroutines(on_channels("select", &["int", "os.Signal"])), "ok/serving/likely");
    let timed = Syscall { timeout_ms: Some(500), ..Syscall::default() };
    let mut ticks = goroutines(on_channels("chan receive", &["time.Time"]));
    // Nothing is armed: the timer was stopped, and nobody will ever send.
    check(&ticks, "stalled/channel/certain");
    ticks.threads = Probe::Got(vec![thread("epoll_pwait", timed)]);
    check(&ticks, "ok/timer-wait/likely");
    let verdict =
        check(&goroutines(on_channels("chan send", &["main.job"])), "stalled/channel/certain");
    let on = "channel 0xc000010000 (chan main.job) len 0 cap 0, no receiver";
    assert_eq!(verdict.on.as_deref(), Some(on));
}

#[test]
fn a_lock_is_never_waited_for_on_purpose() {
    let frames = ["net.(*TCPListener).Accept", "net/http.(*Server).Serve"];
    let mut evidence = goroutines(goroutine("sync.Mutex.Lock", &["main.main"]));
    if let Probe::Got(all) = &mut evidence.goroutines {
        let frames = frames.map(|name| frame(name, 1)).to_vec();
        all.groups =
            vec![GoroutineGroup { state: "IO wait".into(), frames, ..GoroutineGroup::default() }];
        all.wakers.io_wait = 1;
    }
    check(&evidence, "stalled/sync/unclear");
}

#[test]
fn behind_an_empty_select_the_goroutine_that_is_stuck_is_found() {
    let parked = goroutine("select (no cases)", &["main.main"]);
    let group = |element: &str| GoroutineGroup {
        state: "chan receive".into(),
        count: 1,
        first_id: 18,
        frames: vec![frame("main.work", 9)],
        channels: on_channels("", &[element]).channels,
        ..GoroutineGroup::default()
    };
    let mut evidence = goroutines(parked);
    let mut with = |groups| {
        if let Probe::Got(all) = &mut evidence.goroutines {
            all.groups = groups;
        }
        evidence.clone()
    };
    let found = check(&with(vec![group("time.Time"), group("int")]), "stalled/channel/certain");
    assert_eq!(found.place.as_deref(), Some("main.work (/src/app.go:9)"));
    check(&with(vec![group("time.Time"), group("os.Signal")]), "stalled/sync/certain");
}

#[test]
fn children_are_told_apart_by_what_they_owe() {
    let child = Child {
        pid: Pid(9),
        parent: Pid(7),
        name: "sleep".into(),
        doing: "waits in clock_nanosleep(2)".into(),
        ..Child::default()
    };
    let mut reads = goroutine("IO wait", &["os.(*File).Read", "main.main"]);
    reads.waits_on = Some("descriptor 3 pipe:[7] to become readable".into());
    let mut evidence = goroutines(reads);
    check(&evidence, "stalled/io-read/unclear");
    evidence.children = Probe::Got(vec![child.clone()]);
    let verdict = check(&evidence, "stalled/waiting-for-child/unclear");
    assert_eq!(verdict.on.as_deref(), Some("process 9 (sleep)"));
    assert!(verdict.sentence.contains(", which waits in clock_nanosleep(2)"));
    (evidence.sample_ms, evidence.children) =
        (100, Probe::Got(vec![Child { cpu_delta_us: 90_000, ..child }]));
    check(&evidence, "ok/cpu-bound/likely");
    let waits = ["os/exec.(*Cmd).awaitGoroutines", "os/exec.(*Cmd).Wait", "main.main"];
    check(&goroutines(goroutine("chan receive", &waits)), "stalled/waiting-for-child/unclear");
}

#[test]
fn blocked_calls_are_named_without_reading_memory() {
    let flock = thread("flock", target(TargetKind::File, "/data/migrate.lock"));
    let mut evidence = threads(vec![flock]);
    evidence.locks = Probe::Got(vec![Lock {
        kind: LockKind::Flock,
        holder: Some(Pid(31)),
        holder_name: Some("flyway".into()),
        path: Some("/data/migrate.lock".into()),
        ..Lock::default()
    }]);
    let verdict = check(&evidence, "stalled/file-lock/likely");
    assert_eq!(verdict.on.as_deref(), Some("lock /data/migrate.lock held by pid 31 (flyway)"));
    check(&threads(vec![thread("openat", target(TargetKind::Fifo, "/f"))]), "stalled/fifo/likely");
    check(&threads(vec![thread("read", target(TargetKind::Fifo, "/f"))]), "stalled/fifo/likely");
    let mut waits = threads(vec![thread("wait4", Syscall::default())]);
    waits.children = Probe::Got(vec![Child {
        pid: Pid(8),
        parent: Pid(7),
        name: "sleep".into(),
        ..Child::default()
    }]);
    check(&waits, "stalled/subprocess/unclear");
    let many = (0..60).map(|_| thread("read", target(TargetKind::Pipe, "pipe:[1]"))).collect();
    check(&threads(many), "stalled/syscall-threads/likely");
}

#[test]
fn sockets_speak_where_goroutines_cannot() {
    let socket = |state: &str| Socket {
        proto: "tcp".into(),
        remote: "10.0.3.7:5432".into(),
        state: state.into(),
        ..Socket::default()
    };
    let with = |state| {
        let mut evidence = threads(vec![thread("futex", Syscall::default())]);
        evidence.sockets = Probe::Got(vec![socket(state)]);
        evidence
    };
    let verdict = check(&with("SYN_SENT"), "stalled/network-connect/likely");
    assert_eq!(verdict.on.as_deref(), Some("tcp 10.0.3.7:5432 SYN_SENT"));
    check(&with("ESTABLISHED"), "stalled/io-read/unclear");
    check(&with("LISTEN"), "ok/serving/likely");
    let timed = Syscall { timeout_ms: Some(500), ..Syscall::default() };
    check(&threads(vec![thread("epoll_pwait", timed)]), "ok/timer-wait/unclear");
    let parked = check(&threads(vec![thread("futex", Syscall::default())]), "stalled/sync/unclear");
    assert!(!parked.condemns());
}

/// A shell, or python after an exec: nothing in it is a goroutine.
#[test]
fn of_a_program_that_is_not_go_no_goroutines_are_told() {
    let with = |thread: Thread| {
        let why = crate::go::program::Refused::NotGo.to_string();
        let goroutines = Probe::Missing(Why::Unsupported(why));
        Evidence { goroutines, sample_ms: 100, ..threads(vec![thread]) }
    };
    let of = |name: &str| with(thread(name, Syscall::default()));
    let busy = Thread { syscall: Probe::Got(None), cpu_delta_us: 90_000, ..Thread::default() };
    for (evidence, expected) in [
        (of("clock_nanosleep"), "ok/timer-wait/unclear"),
        (with(busy), "ok/cpu-bound/unclear"),
        (of("pause"), "stalled/unknown/unclear"),
        (of("futex"), "stalled/unknown/unclear"),
    ] {
        for kind in [Kind::Idle, Kind::Silent] {
            let verdict = check_with(kind, &history(), &evidence, expected);
            let text = format!("{} {}", verdict.sentence, verdict.next);
            assert!(text.contains("not a Go program"), "{text}");
            for word in ["goroutine", "goinit dump", "SIGQUIT", "parked"] {
                assert!(!text.contains(word), "{text}");
            }
        }
    }
    let verdict = check(&of("pause"), "stalled/unknown/unclear");
    assert!(verdict.sentence.ends_with("for 30s; it is in pause(2)"), "{}", verdict.sentence);
}

#[test]
fn stops_and_throttling_come_before_everything_else() {
    let mut evidence = goroutines(goroutine("chan receive", &["main.main"]));
    evidence.process = Probe::Got(Process { state: "T".into(), ..Process::default() });
    check(&evidence, "stopped/sigstop/certain");
    let kept =
        |wchan: &str| Thread { wchan: Some(wchan.into()), state: "D".into(), ..Thread::default() };
    let frozen = vec![kept("__refrigerator"), kept("futex_do_wait")];
    let frozen = check(&threads(frozen), "stopped/sigstop/certain");
    assert!(frozen.sentence.contains("frozen"), "{}", frozen.sentence);
    let cgroup = Cgroup {
        quota_us: Some(10_000),
        period_us: Some(100_000),
        cpu_delta: CpuStat { nr_periods: 10, nr_throttled: 9, ..CpuStat::default() },
        ..Cgroup::default()
    };
    let evidence = Evidence { cgroup: Probe::Got(cgroup), ..Evidence::default() };
    let verdict = check_with(Kind::Spinning, &history(), &evidence, "slow/throttled/certain");
    assert!(verdict.sentence.contains("0.10 CPU: throttled in 90 %"), "{}", verdict.sentence);
}

#[test]
fn burning_cpu_is_told_apart_by_what_the_scheduler_does() {
    let evidence = Evidence::default();
    check_with(Kind::Spinning, &history(), &evidence, "ok/cpu-bound/unclear");
    let mut yields = history();
    yields.ticks = Some((9_000_000, 4_300_000));
    check_with(Kind::Spinning, &yields, &evidence, "stalled/livelock/likely");
    let mut queued = history();
    queued.queued = Some(Mono(0));
    check_with(Kind::Starved, &queued, &evidence, "slow/starved/likely");
    let mut stopping = history();
    stopping.stopping = Some(Mono(0));
    check_with(Kind::Stw, &stopping, &evidence, "stalled/gc-stw/likely");
    let mut collects = history();
    collects.gc_percent = Some(60);
    for tenth in 0..20 {
        let trace = GcTrace { cpu_percent: 60, ..gc() };
        collects.collected(Mono(tenth * 100_000_000), &trace);
    }
    check_with(Kind::Spinning, &collects, &evidence, "slow/gc-thrash/likely");
}

/// What a captured log has instead of /proc.
#[test]
fn heartbeats_and_dumps_alone_tell_starvation_and_a_slow_peer() {
    let nothing = Evidence::default();
    let mut late = history();
    late.queued = Some(Mono(0));
    late.late_percent = Some(15);
    check_with(Kind::Starved, &late, &nothing, "slow/throttled/unclear");
    late.late_percent = Some(3);
    check_with(Kind::Starved, &late, &nothing, "slow/starved/likely");

    let mut crowd = goroutines(goroutine("runnable", &["main.work", "main.main"]));
    if let Probe::Got(all) = &mut crowd.goroutines {
        (all.wakers.runnable, all.wakers.running) = (49, 1);
    }
    check_with(Kind::Spinning, &History::new(Mono(0)), &crowd, "slow/starved/unclear");

    let beats = |ticks: &dyn Fn(u32) -> u32| {
        let mut history = History::new(Mono(0));
        for n in 0..10 {
            let schedticks = vec![ticks(n), 0];
            let idle = Snapshot { gomaxprocs: 2, idleprocs: 2, schedticks, ..Snapshot::default() };
            history.beat(Mono(u64::from(n) * 1_000_000_000), &idle);
        }
        history
    };
    let reads = goroutines(goroutine("IO wait", &["net.(*conn).Read", "main.main"]));
    check_with(Kind::Idle, &beats(&|n| n), &reads, "ok/io-progress/likely");
    check_with(Kind::Idle, &beats(&|_| 7), &reads, "stalled/io-read/unclear");
}

/// A runtime that prints a dump stops the world for that; it is not stuck in it.
#[test]
fn the_freeze_of_a_dump_is_no_stop_that_does_not_end() {
    let freeze = Snapshot {
        gcwaiting: Some(true),
        stopwait: Some(0x7fff_ffff),
        gomaxprocs: 2,
        idleprocs: 2,
        ..Snapshot::default()
    };
    let mut history = History::new(Mono(0));
    history.beat(Mono(1), &freeze);
    assert_eq!(history.stopping, None);
    history.beat(Mono(2), &Snapshot { stopwait: Some(1), ..freeze });
    assert_eq!(history.stopping, Some(Mono(2)));
}

#[test]
fn a_program_that_never_began_is_not_accused_for_sure() {
    let nothing = History::new(Mono(0));
    let evidence = Evidence::default();
    let verdict = check_with(Kind::Silent, &nothing, &evidence, "stalled/not-started/unclear");
    assert!(!verdict.condemns());
}

#[test]
fn the_termination_message_keeps_its_budget_and_begins_with_the_sentence() {
    let end = [("cause", "deadline".into()), ("code", 124u8.into())];
    let text = message("deadline exceeded", &end, &["x".repeat(2_000)], 1_024);
    assert!(text.starts_with("deadline exceeded\n{\"cause\":\"deadline\",\"code\":124}\nxxx"));
    assert!(text.len() <= 1_024);
}
