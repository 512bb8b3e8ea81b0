//! Rules about threads, system calls, sockets and locks: what can be said without reading the
//! program's memory, and what a goroutine in a system call waits for.

use super::goroutines::{init_function, waits};
use super::machine::{busiest, goroutines};
use super::place::{self, place};
use super::purpose::serving as served;
use super::words::lasting;
use super::{Case, Class, Confidence, Finding};
use crate::go::program::Refused;
use crate::policy::evidence::{Evidence, Lock, LockKind, Socket, Syscall, TargetKind, Thread, Why};
use crate::policy::history::Kind;
use crate::units::Pid;

/// Threads in the same kind of call from which they are an explosion.
const MANY: usize = 50;

/// System calls in which a Go program parks what has nothing to do.
const PARKING: [&str; 7] = [
    "futex",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "nanosleep",
    "clock_nanosleep",
    "rt_sigtimedwait",
];

/// sysmon sleeps at most 10 ms at a time (runtime/proc.go, `sysmon`).
pub(crate) const SYSMON_MS: u64 = 10;

/// The runtime's monitor thread: the one that sleeps for moments, again and again.
#[must_use]
pub fn sysmon(evidence: &Evidence) -> Option<Pid> {
    let naps = |thread: &&Thread| {
        call(thread).is_some_and(|call| {
            matches!(call.name.as_str(), "nanosleep" | "clock_nanosleep")
                && call.timeout_ms.is_none_or(|ms| ms <= SYSMON_MS)
        })
    };
    let threads = evidence.threads.got()?.iter().filter(naps);
    let found = threads.max_by_key(|thread| thread.switches_delta)?;
    i32::try_from(found.tid).ok().map(Pid)
}

/// The call a thread is in.
pub(super) fn call(thread: &Thread) -> Option<&Syscall> {
    thread.syscall.got()?.as_ref()
}

/// Threads that were in one and the same call at both looks, and in none that only parks.
pub(super) fn stuck<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Thread, &'a Syscall)> {
    let threads = case.evidence.threads.got().map(Vec::as_slice).unwrap_or_default();
    threads.iter().filter(|thread| thread.same_call).filter_map(|thread| {
        let call = call(thread)?;
        (!PARKING.contains(&call.name.as_str())).then_some((thread, call))
    })
}

/// The first thread that is blocked in a call of its own.
pub(super) fn blocked<'a>(case: &Case<'a>) -> Option<&'a Thread> {
    stuck(case).next().map(|(thread, _)| thread)
}

/// A thread's call in words.
pub(super) fn describe(thread: &Thread) -> String {
    match call(thread) {
        Some(call) => format!("{}(2){}", call.name, target(call)),
        None => thread.wchan.clone().unwrap_or_else(|| thread.state.clone()),
    }
}

/// What a call's descriptor stands for, as ` on …`.
fn target(call: &Syscall) -> String {
    let Some(target) = &call.target else { return String::new() };
    match &target.socket {
        Some(socket) => format!(" on {}", endpoint(socket)),
        None if target.path.is_empty() => String::new(),
        None => format!(" on {}", target.path),
    }
}

/// A socket in words: `tcp 10.0.3.7:5432 SYN_SENT`.
fn endpoint(socket: &Socket) -> String {
    let peer = if socket.remote.is_empty() { &socket.local } else { &socket.remote };
    format!("{} {peer} {}", socket.proto, socket.state)
}

/// Whether the main goroutine can be the one that is in a system call.
fn main_calls(case: &Case<'_>) -> bool {
    goroutines(case).is_none_or(|all| all.main.as_ref().is_none_or(|main| main.state == "syscall"))
}

/// Where the main goroutine made its call.
pub(super) fn main_place(case: &Case<'_>) -> Option<String> {
    place(&goroutines(case)?.main.as_ref()?.frames)
}

/// Whether the main goroutine is still in package init.
pub(super) fn in_init(case: &Case<'_>) -> bool {
    let Some(all) = goroutines(case) else { return false };
    let by_stack = all.main.as_ref().and_then(|main| init_function(main, all)).is_some();
    by_stack || all.init.as_ref().is_some_and(|init| init.done < init.total)
}

/// The program cannot write its own stderr.
pub(super) fn log_blocked(case: &Case<'_>) -> Option<Finding> {
    let (thread, _) = stuck(case).find(|(_, call)| {
        let pipe = call.target.as_ref().is_some_and(|target| target.kind == TargetKind::Pipe);
        call.name == "write" && call.fd == Some(2) && pipe
    })?;
    let sentence = format!(
        "thread {} cannot write to stderr: nobody reads the log (--log-full=block holds it up)",
        thread.tid
    );
    let finding = Finding::new(Class::Stalled, "log-blocked", Confidence::Likely, sentence);
    Some(finding.next("find out why the container's log is not read; use --log-full=drop"))
}

/// Very many threads, each in a blocking call.
pub(super) fn explosion(case: &Case<'_>) -> Option<Finding> {
    let seen = stuck(case).count();
    // A dump knows all of them, the list of threads is cut.
    let calls = goroutines(case).map_or(0, |all| all.wakers.syscall);
    let count = seen.max(usize::try_from(calls).unwrap_or(0));
    if count < MANY {
        return None;
    }
    let what = stuck(case).next().map(|(thread, _)| describe(thread)).unwrap_or_default();
    let sentence = format!("{count} threads are blocked in system calls, such as {what}");
    let finding = Finding::new(Class::Stalled, "syscall-threads", Confidence::Likely, sentence);
    let next = "limit how many such calls are made at once, or give them a deadline";
    Some(finding.at(main_place(case)).on(Some(what)).next(next))
}

/// One call that blocks on a lock, a FIFO, a peer or a file.
pub(super) fn blocked_call(case: &Case<'_>) -> Option<Finding> {
    if !waits(case) || !main_calls(case) {
        return None;
    }
    stuck(case).find_map(|(thread, call)| of_call(case, thread, call))
}

fn of_call(case: &Case<'_>, thread: &Thread, call: &Syscall) -> Option<Finding> {
    let kind = call.target.as_ref().map(|target| target.kind);
    let path = call.target.as_ref().map(|target| target.path.clone()).filter(|p| !p.is_empty());
    let place = main_place(case);
    let at = place::at(place.as_deref());
    let init = if in_init(case) { "package init is stuck: " } else { "" };
    let found = |cause, on: Option<String>, sentence: String, next| {
        let cause = if init.is_empty() { cause } else { "init" };
        let sentence = format!("{init}{sentence}{at}");
        let finding = Finding::new(Class::Stalled, cause, Confidence::Likely, sentence);
        Some(finding.at(place.clone()).on(on).next(next))
    };
    let asleep = |names: &[&str]| thread.wchan.as_deref().is_some_and(|at| names.contains(&at));
    // Without the descriptor's name the kernel function it sleeps in has to tell.
    let fifo = kind == Some(TargetKind::Fifo)
        || asleep(&["wait_for_partner"])
        || (kind.is_none() && asleep(&["anon_pipe_read", "pipe_read"]));
    match call.name.as_str() {
        "flock" | "fcntl" => {
            let lock = lock_of(case, path.as_deref());
            let holder = lock.map_or_else(String::new, |lock| holder(lock, case.evidence.pid));
            let on = path.map(|path| format!("lock {path}{holder}"));
            let what = on.as_ref().map_or("a file lock".to_owned(), |on| format!("the {on}"));
            let next = "find out why the holder does not release it";
            found("file-lock", on, format!("it waits for {what}"), next)
        }
        "open" | "openat" | "openat2" if fifo => {
            let (name, on) = fifo_name(path);
            let sentence =
                format!("it waits to open {name}, of which nobody has the other end open");
            found("fifo", on, sentence, "start the other end first")
        }
        "read" | "readv" if fifo => {
            let (name, on) = fifo_name(path);
            let sentence = format!("it reads {name}, and nobody writes");
            found("fifo", on, sentence, "why does the writer not write?")
        }
        "connect" => {
            let on = describe(thread);
            let sentence = format!("it waits in {on}");
            found("network-connect", Some(on), sentence, "is the peer up and allowed through?")
        }
        "read" | "readv" | "pread64" | "recvfrom" | "recvmsg" if has_no_child(case) => {
            let on = describe(thread);
            let sentence = format!("it waits for data in {on}");
            let socket = kind == Some(TargetKind::Socket);
            found(
                if socket { "network-read" } else { "io-read" },
                Some(on),
                sentence,
                "why does the other end send nothing?",
            )
        }
        _ => None,
    }
}

/// A FIFO in a sentence, and as what is waited for.
fn fifo_name(path: Option<String>) -> (String, Option<String>) {
    match path {
        Some(path) => (format!("the FIFO {path}"), Some(format!("fifo {path}"))),
        None => ("a FIFO or pipe".to_owned(), None),
    }
}

fn lock_of<'a>(case: &Case<'a>, path: Option<&str>) -> Option<&'a Lock> {
    let locks = case.evidence.locks.got()?;
    locks.iter().find(|lock| path.is_some() && lock.path.as_deref() == path).or(locks.first())
}

/// ` held by pid 31 (flyway)`.
fn holder(lock: &Lock, program: Pid) -> String {
    let Some(pid) = lock.holder else { return String::new() };
    if pid == program {
        return format!(" held by the program itself (pid {pid})");
    }
    let name = lock.holder_name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let kind = if lock.kind == LockKind::Flock { "" } else { " (POSIX lock)" };
    format!(" held by pid {pid}{name}{kind}")
}

/// A connection attempt that nobody answers.
pub(super) fn connecting(case: &Case<'_>) -> Option<Finding> {
    let sockets = case.evidence.sockets.got()?;
    let socket = sockets.iter().find(|socket| socket.state == "SYN_SENT")?;
    let main_waits = goroutines(case).is_none_or(|all| {
        all.main.as_ref().is_some_and(|main| {
            ["IO wait", "select", "chan receive"].iter().any(|state| main.state.starts_with(state))
        })
    });
    if !waits(case) || !main_waits {
        return None;
    }
    let place = main_place(case);
    let at = place::at(place.as_deref());
    let on = endpoint(socket);
    let (cause, who) = if in_init(case) {
        let all = goroutines(case).and_then(|all| all.init.as_ref());
        let package = all.and_then(|init| init.running.clone()).unwrap_or_default();
        ("init-connect", format!("package init of {package}"))
    } else {
        ("network-connect", "it".to_owned())
    };
    let sentence = format!(
        "{who} waits for a connection to {} that nobody answers (SYN_SENT){at}",
        socket.remote
    );
    let finding = Finding::new(Class::Stalled, cause, Confidence::Likely, sentence);
    let next = "is the peer up, and is it allowed through (service, NetworkPolicy, firewall)?";
    Some(finding.at(place).on(Some(on)).next(next))
}

fn has_no_child(case: &Case<'_>) -> bool {
    case.evidence.children.got().is_none_or(Vec::is_empty)
}

/// Whether the text about a descriptor names a socket.
pub(super) fn is_socket(text: &str) -> bool {
    ["tcp", "udp", "unix", "socket:"].iter().any(|word| text.contains(word))
}

/// Whether it names a FIFO: of all files with a path, the poller waits for no others.
pub(super) fn is_fifo(text: &str) -> bool {
    text.contains('/') && !is_socket(text) && !text.contains("pipe:")
}

/// Without goroutines: established connections, and nothing else to wait for.
pub(super) fn reading(case: &Case<'_>) -> Option<Finding> {
    if goroutines(case).is_some() || !waits(case) || listens(case) || timed(case) {
        return None;
    }
    let sockets = case.evidence.sockets.got()?;
    let socket = sockets.iter().find(|socket| socket.state == "ESTABLISHED")?;
    let on = endpoint(socket);
    let sentence = format!("it seems to wait for data from {}: nothing moves", socket.remote);
    let finding = Finding::new(Class::Stalled, "io-read", Confidence::Unclear, sentence);
    Some(finding.on(Some(on)).next("why does the other end send nothing? Set a read deadline"))
}

/// Without goroutines: it listens, so it may well be an idle server.
pub(super) fn serving(case: &Case<'_>) -> Option<Finding> {
    (goroutines(case).is_none() && waits(case) && listens(case)).then(|| served(None))
}

/// Without goroutines: a timer is armed that will wake it.
pub(super) fn timer(case: &Case<'_>) -> Option<Finding> {
    if goroutines(case).is_some() || !waits(case) || !timed(case) {
        return None;
    }
    let sentence = "it waits for a timer, as far as its threads tell".to_owned();
    let finding = Finding::new(Class::Ok, "timer-wait", Confidence::Unclear, sentence);
    Some(finding.next("nothing, unless it should be working"))
}

fn listens(case: &Case<'_>) -> bool {
    case.evidence.sockets.got().is_some_and(|all| all.iter().any(|one| one.state == "LISTEN"))
}

/// A timer is armed that cannot have fired more than once while the program stood still. A ticker
/// that fired again and again without anything coming of it is no hope.
pub(super) fn slow_timer(case: &Case<'_>) -> bool {
    let half = u64::try_from(case.lasted.as_millis()).unwrap_or(u64::MAX) / 2;
    let threads = case.evidence.threads.got().map(Vec::as_slice).unwrap_or_default();
    threads.iter().filter_map(call).any(|call| {
        let waits = !matches!(call.name.as_str(), "nanosleep" | "clock_nanosleep");
        waits && call.timeout_ms.is_some_and(|ms| ms > half)
    })
}

/// The same, where threads that cannot be seen count as waiting so.
pub(super) fn may_be_timed(case: &Case<'_>) -> bool {
    case.evidence.threads.got().is_none() || timed(case)
}

/// A thread waits in the poller or for a wake-up with a time limit: the runtime's next timer.
pub(super) fn timed(case: &Case<'_>) -> bool {
    let threads = case.evidence.threads.got().map(Vec::as_slice).unwrap_or_default();
    threads.iter().filter_map(call).any(|call| {
        call.timeout_ms.is_some() && !matches!(call.name.as_str(), "nanosleep" | "clock_nanosleep")
    })
}

/// What is no Go program (a wrapper, or what the program has executed) has no goroutines: its
/// threads are all that tells, and the last heartbeat was that of another program.
pub(super) fn not_go(case: &Case<'_>) -> Option<Finding> {
    let why = Refused::NotGo.to_string();
    if case.evidence.goroutines.missing() != Some(&Why::Unsupported(why)) || !waits(case) {
        return None;
    }
    let time = lasting(case.lasted);
    let threads = case.evidence.threads.got().map(Vec::as_slice).unwrap_or_default();
    let sleeps = |call: &Syscall| matches!(call.name.as_str(), "nanosleep" | "clock_nanosleep");
    let (class, cause, what, next) = if busiest(case).is_some() {
        let next = "if it should be done by now, profile it";
        (Class::Ok, "cpu-bound", format!("computes without output{time}"), next)
    } else if threads.iter().filter_map(call).any(sleeps) {
        (Class::Ok, "timer-wait", "sleeps".to_owned(), "nothing, unless it should be working")
    } else {
        let thread = blocked(case).or(threads.first());
        let at =
            thread.map_or_else(String::new, |thread| format!("; it is in {}", describe(thread)));
        let next = "look at its last lines; a debugger for its language tells more";
        (Class::Stalled, "unknown", format!("has not visibly moved{time}{at}"), next)
    };
    let sentence = format!("it is not a Go program, and {what}");
    Some(Finding::new(class, cause, Confidence::Unclear, sentence).next(next))
}

/// Without goroutines: all threads are parked and no reason can be seen.
pub(super) fn unreadable(case: &Case<'_>) -> Option<Finding> {
    let why = case.evidence.goroutines.missing()?;
    if case.kind != Kind::Idle {
        return None;
    }
    let sentence = format!(
        "all threads are parked{}: goroutines wait for each other (their memory cannot be \
         read: {why})",
        lasting(case.lasted)
    );
    let finding = Finding::new(Class::Stalled, "sync", Confidence::Unclear, sentence);
    Some(finding.next("send SIGQUIT, or use --on-stall=quit, to see the goroutines"))
}
