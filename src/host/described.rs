//! What descriptors and threads are that goroutines wait for or stand on: paths, socket ends,
//! system calls by name.

use super::evidence::descriptors::{Descriptors, Eyes};
use super::evidence::proc::{Program, SMALL};
use crate::go::goroutine::{Dump, Goroutine, Wait};
use crate::linux::stat;
use crate::linux::syscalls::{self, Arch};
use crate::linux::task::Blocked;
use crate::policy::evidence::Target;
use std::collections::BTreeMap;
use std::fs::File;

/// Descriptors, and threads, described at most.
const DESCRIBED: usize = 256;
/// Threads whose numbers are translated at most.
const THREADS: usize = 20_000;

/// The threads of a process: their numbers in its own PID namespace, and here.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// Empty where both count alike.
    here: BTreeMap<u32, u32>,
    all: Vec<u32>,
}

impl Threads {
    /// Reads the list of threads, and their other numbers if there are any.
    pub(crate) fn read(program: &Program) -> Self {
        let mut found = Self::default();
        let path = format!("/proc/{}/task", program.pid);
        let Ok((threads, _)) = program.numbers(&path, THREADS) else { return found };
        let ids = |name: &str| stat::namespace_ids(&program.read(name, SMALL).unwrap_or_default());
        if ids("status").len() > 1 {
            for thread in &threads {
                if let Some(inner) = ids(&format!("task/{thread}/status")).last() {
                    found.here.insert(*inner, *thread);
                }
            }
        }
        found.all = threads;
        found
    }

    /// The number here of the thread that the process itself calls `inner`; nothing if there is
    /// no such thread.
    pub(crate) fn here(&self, inner: u32) -> Option<u32> {
        if self.here.is_empty() {
            return self.all.binary_search(&inner).is_ok().then_some(inner);
        }
        self.here.get(&inner).copied()
    }
}

/// Describes what goroutines of `dump` wait for and stand on.
pub(crate) fn describe(
    program: &Program,
    threads: &Threads,
    memory: Option<&File>,
    dump: &mut Dump,
) {
    for goroutine in &mut dump.goroutines {
        // A number that is no thread's comes from a layout that is not right, or is old.
        if goroutine.thread != 0 && threads.here(goroutine.thread).is_none() {
            goroutine.thread = 0;
        }
    }
    let polled = polled(&dump.goroutines);
    let calls = calls(program, threads, &dump.goroutines);
    let mut fds = polled.clone();
    fds.extend(calls.iter().filter_map(|(_, blocked)| match blocked {
        Blocked::In { args: [first, ..], .. } => u32::try_from(*first).ok(),
        Blocked::Running | Blocked::Outside => None,
    }));
    fds.sort_unstable();
    fds.dedup();
    if fds.is_empty() && calls.is_empty() {
        return;
    }
    let descriptors = Descriptors::of(program, &fds);
    for fd in polled {
        if let Some(target) = descriptors.target(fd, program) {
            dump.descriptors.insert(fd, words(&target));
        }
    }
    let mut eyes = Eyes { descriptors: &descriptors, memory };
    for (thread, blocked) in calls {
        let what = match blocked {
            Blocked::Running => ", on a CPU".to_owned(),
            Blocked::Outside => ", blocked outside a system call".to_owned(),
            Blocked::In { nr, args } => {
                format!(", in {}", syscalls::decode(Arch::here(), nr, args, &mut eyes).text)
            }
        };
        dump.threads.insert(thread, what);
    }
}

/// Descriptors that are waited for.
fn polled(goroutines: &[Goroutine]) -> Vec<u32> {
    let waits = goroutines.iter().flat_map(|goroutine| &goroutine.waits);
    let mut fds: Vec<u32> = waits
        .filter_map(|wait| if let Wait::Poll { fd, .. } = wait { Some(*fd) } else { None })
        .collect();
    fds.sort_unstable();
    fds.dedup();
    fds.truncate(DESCRIBED);
    fds
}

/// What threads do that goroutines are on.
fn calls(program: &Program, threads: &Threads, goroutines: &[Goroutine]) -> Vec<(u32, Blocked)> {
    let on_thread = goroutines.iter().filter(|goroutine| goroutine.thread != 0);
    on_thread
        .take(DESCRIBED)
        .filter_map(|goroutine| {
            let here = threads.here(goroutine.thread)?;
            let text = program.read(&format!("task/{here}/syscall"), SMALL).ok()?;
            Some((goroutine.thread, Blocked::parse(&text)?))
        })
        .collect()
}

/// A descriptor for people: `tcp 10.0.0.1:40112 -> 10.0.3.7:5432 SYN_SENT`, `/data/queue`.
fn words(target: &Target) -> String {
    let Some(socket) = &target.socket else { return target.path.clone() };
    let (proto, local, state) = (&socket.proto, &socket.local, &socket.state);
    match (local.is_empty(), socket.remote.is_empty()) {
        (true, true) => format!("{proto} {state}"),
        (_, true) => format!("{proto} {local} {state}"),
        _ => format!("{proto} {local} -> {} {state}", socket.remote),
    }
}
