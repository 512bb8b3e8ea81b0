//! Runs through the pure session, simulated: a day of heartbeats in which memory does not grow, and
//! orders of events that a real run has only now and then.

use goinit::exit::Ending;
use goinit::go::line::Framing;
use goinit::policy::config::{Config, OnStall};
use goinit::policy::diagnosis::{Diagnosis, Setup};
use goinit::policy::event::{Action, Event, Reaped};
use goinit::policy::outbox::Outbox;
use goinit::policy::progress::Sample;
use goinit::policy::resize::Resize;
use goinit::policy::session::{Birth, Session};
use goinit::units::{Mono, Now, Pid, Wall};
use serde_json::Value;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

/// The system's allocator, which counts what each thread takes and gives back.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<i64> = const { Cell::new(0) };
}

fn count(allocations: u64, bytes: i64) {
    // A thread that is ending counts no more.
    let _ = ALLOCATIONS.try_with(|cell| cell.set(cell.get() + allocations));
    let _ = LIVE_BYTES.try_with(|cell| cell.set(cell.get() + bytes));
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[expect(unsafe_code, reason = "only an allocator sees every allocation")]
// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, signed(layout.size()));
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -signed(layout.size()));
        // SAFETY: `pointer` came from `alloc` with this layout, which came from the system.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

fn at(second: u64, nanoseconds: u64) -> Now {
    let mono = second * SECOND + nanoseconds;
    Now { mono: Mono(mono), wall: Wall(1_700_000_000 * SECOND + mono) }
}

/// What one run takes.
struct Play {
    session: Session,
    wanted: Vec<Action>,
    /// The log, if it is wanted.
    log: Option<Vec<u8>>,
}

impl Play {
    fn new(config: Config) -> Self {
        let setup = Setup { framing: Framing::Packets, go: true, heartbeat_ms: 1_000 };
        let diagnosis = Diagnosis::new(&config, setup, Resize::default(), Mono(0));
        let birth = Birth {
            child: Pid(7),
            own_group: true,
            piped: true,
            job_control: false,
            interactive: false,
            at: Mono(0),
        };
        let session = Session::new(config, birth, Outbox::new(1), diagnosis);
        Self { session, wanted: Vec::new(), log: None }
    }

    fn feed(&mut self, now: Now, event: &Event<'_>) {
        for action in self.session.step(now, event) {
            if !matches!(action, Action::Sample | Action::Publish(_)) {
                self.wanted.push(action);
            }
        }
        if let Some(log) = &mut self.log {
            log.extend(self.session.outbox().records().flat_map(|(_, bytes)| bytes));
        }
        self.session.outbox().clear();
    }

    /// One heartbeat in the writes that the runtime makes of it, a line of the program's own, the
    /// counters, and the clock.
    fn second(&mut self, second: u64) {
        let uptime = (second * 1_000).to_string();
        let busy = u8::from(second.is_multiple_of(7));
        let idle = if busy == 1 { "1" } else { "2" };
        for part in [
            "SCHED ",
            &uptime,
            "ms: gomaxprocs=",
            "2",
            " idleprocs=",
            idle,
            " threads=",
            "6",
            " spinningthreads=",
            "0",
            " needspinning=",
            "0",
            " idlethreads=",
            "4",
            " runqueue=",
            "0",
            " ",
            "[ ",
            "0",
            " ",
            "0",
            " ]",
            " schedticks=[ ",
            &uptime,
            " ",
            "17",
            " ",
            "]\n",
        ] {
            self.feed(at(second, 1_000), &Event::Stderr(part.as_bytes()));
        }
        let line = format!("{{\"level\":\"info\",\"request\":{second}}}\n");
        let text = format!("request {second} took {} ms\n", second % 100);
        let line = if second.is_multiple_of(2) { line } else { text };
        self.feed(at(second, 2_000), &Event::Stderr(line.as_bytes()));
        self.feed(at(second, 3_000), &Event::Quiet);
        let sample = Sample {
            at: at(second, 4_000).mono,
            read_bytes: Some(second * 300),
            written_bytes: Some(second * 150),
            read_calls: Some(second * 3),
            write_calls: Some(second * 28),
            cpu_us: Some(second * 9_000),
            ..Sample::default()
        };
        self.feed(at(second, 5_000), &Event::Sample(sample));
        self.feed(at(second, SECOND / 2), &Event::Tick);
    }
}

#[test]
fn a_day_of_heartbeats_and_lines_takes_no_more_memory_than_an_hour() {
    let mut play = Play::new(Config::default());
    let hour = DAY / 24;
    for second in 1..=hour {
        play.second(second);
    }
    let (bytes, allocations) = (LIVE_BYTES.get(), ALLOCATIONS.get());
    for second in hour + 1..=DAY {
        play.second(second);
    }
    let grown = LIVE_BYTES.get() - bytes;
    let each = (ALLOCATIONS.get() - allocations) / (DAY - hour);
    println!("23 hours: {grown} bytes more, {each} allocations a second");
    assert!(play.wanted.is_empty(), "{:?}", play.wanted);
    assert!(grown.abs() < 4_096, "{grown} bytes more after 24 hours than after one");
    assert!(each <= 60, "{each} allocations a heartbeat with a line");
}

/// A run whose program stalls, as it is judged without any evidence.
fn stalled(on_stall: OnStall) -> (Play, Now) {
    let config = Config { on_stall, stall_after: Duration::from_secs(2), ..Config::default() };
    let mut play = Play::new(config);
    play.log = Some(Vec::new());
    for second in 1..=4 {
        let line = format!(
            "SCHED {}ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 needspinning=0 \
             idlethreads=2 runqueue=0 [0 0]\n",
            second * 1_000
        );
        play.feed(at(second, 0), &Event::Stderr(line.as_bytes()));
        play.feed(at(second, 1_000), &Event::Quiet);
        play.feed(at(second, 2_000), &Event::Sample(sample(second, 1)));
        play.feed(at(second, SECOND / 2), &Event::Tick);
    }
    play.feed(at(5, 0), &Event::Evidence(Box::default()));
    (play, at(5, 1_000))
}

/// Counters that stand at `steps`.
fn sample(second: u64, steps: u64) -> Sample {
    Sample {
        at: at(second, 2_000).mono,
        read_bytes: Some(steps * 300),
        written_bytes: Some(steps * 150),
        read_calls: Some(steps * 3),
        write_calls: Some(steps * 28),
        cpu_us: Some(steps * 900_000),
        ..Sample::default()
    }
}

#[test]
fn what_a_dying_program_does_is_no_progress_and_nothing_follows_the_last_record() {
    let steps: [&[&str]; 3] =
        [&["counts", "ends"], &["ends", "counts"], &["ends", "closes", "counts"]];
    for order in steps {
        let (mut play, mut now) = stalled(OnStall::Quit);
        for (step, second) in order.iter().chain(&["closes", "counts"]).zip(5..) {
            match *step {
                "counts" => play.feed(now, &Event::Sample(sample(second, second * 10))),
                "ends" => play.feed(
                    now,
                    &Event::Reaped(Reaped {
                        pid: Pid(7),
                        ending: Ending::Exited(2),
                        identity: None,
                        oom_kills: None,
                    }),
                ),
                _ => play.feed(now, &Event::StderrClosed),
            }
            now.mono = now.mono.after(Duration::from_millis(1));
            play.feed(now, &Event::Tick);
        }
        let log = String::from_utf8(play.log.unwrap()).unwrap();
        let records: Vec<Value> =
            log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let is = |name: &str| records.iter().filter(|one| one["event_name"] == name).count();
        assert_eq!((is("goinit.stall"), is("goinit.recover")), (1, 0), "{order:?}\n{log}");
        let exit = records.last().unwrap();
        assert_eq!(exit["event_name"], "goinit.exit", "{order:?}\n{log}");
        assert_eq!(exit["exit"]["cause"], "stall", "{log}");
        assert_eq!(exit["verdict"]["class"], "stalled", "{log}");
        assert!(matches!(play.wanted.last(), Some(Action::Finish(_))), "{:?}", play.wanted);
    }
}
