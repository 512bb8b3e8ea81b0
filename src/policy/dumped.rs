//! Goroutines as a dump on stderr shows them, in the form in which evidence holds them: where the
//! program's memory cannot be read, SIGQUIT tells the same. A dump knows no timers and no objects
//! that are waited for.

use super::evidence::{
    Frame, Goroutine, GoroutineGroup, Goroutines, Probe, Syscall, Target, TargetKind, Thread,
};
use crate::go::dump::{self, Group, Totals};
use crate::go::snapshot::Snapshot;

/// Groups kept, as evidence from memory has them.
const GROUPS: usize = 50;

/// What a dump shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// The goroutines.
    pub goroutines: Goroutines,
    /// The system calls that they are in, as their stacks name them: a thread each.
    pub threads: Vec<Thread>,
    /// Whether the armed timers are counted among the wakers.
    pub timers_known: bool,
    /// A crash or a signal caused it; stacks that the program printed itself may not be all.
    pub whole: bool,
}

/// Collects the groups of one dump.
#[derive(Debug, Default)]
pub struct Dumped {
    all: Goroutines,
    threads: Vec<Thread>,
}

impl Dumped {
    /// Takes one group.
    pub fn add(&mut self, group: &Group<'_>) {
        let frames: Vec<Frame> = group.frames().map(|one| frame(&one)).collect();
        let created_by = group.created_by().map(|one| frame(&one));
        // What the runtime started for itself; goroutine 1 was started by nobody.
        let system = created_by.as_ref().is_some_and(|by| by.function.starts_with("runtime."));
        if system {
            return;
        }
        let state = text(group.state());
        self.count(&state, &frames, group.count());
        self.all.total = self.all.total.saturating_add(group.count());
        let main = group.first_ids().contains(&1);
        if state == "syscall"
            && let Some(thread) = called(&frames)
        {
            self.threads.insert(if main { 0 } else { self.threads.len() }, thread);
        }
        if main {
            self.all.main = Some(Goroutine {
                id: 1,
                state: state.clone(),
                frames: user(&frames),
                ..Goroutine::default()
            });
        }
        if self.all.groups.len() < GROUPS {
            self.all.groups.push(GoroutineGroup {
                state,
                count: group.count(),
                first_id: group.first_ids().first().copied().unwrap_or(0),
                frames: user(&frames),
                created_by,
                wait_ms: Some(group.wait_minutes_max().saturating_mul(60_000)).filter(|ms| *ms > 0),
                ..GoroutineGroup::default()
            });
        } else {
            self.all.groups_left_out = self.all.groups_left_out.saturating_add(1);
        }
    }

    fn count(&mut self, state: &str, frames: &[Frame], count: u64) {
        let wakers = &mut self.all.wakers;
        let slot = match state {
            "runnable" => &mut wakers.runnable,
            "running" => &mut wakers.running,
            "syscall" => &mut wakers.syscall,
            "IO wait" => &mut wakers.io_wait,
            "sleep" => &mut wakers.timers,
            _ => return,
        };
        if frames.iter().any(|frame| frame.function == "os/signal.signal_recv") {
            wakers.signals = true;
            return;
        }
        *slot = slot.saturating_add(count);
        wakers.cgo |= frames.iter().any(|frame| frame.function == "runtime.cgocall");
    }

    /// Takes the detailed snapshot that stands before a dump: it alone says whether the world is
    /// being stopped.
    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        let stopping = snapshot.gcwaiting.filter(|_| !snapshot.frozen());
        self.all.stopping_the_world = stopping.or(self.all.stopping_the_world);
    }

    /// The goroutines, after the last group; `None` = the program printed the stacks itself, and
    /// maybe not all of them.
    #[must_use]
    pub fn finish(self, totals: &Totals) -> Option<Goroutines> {
        self.seen(totals).filter(|seen| seen.whole).map(|seen| seen.goroutines)
    }

    /// The same with the system calls, and for stacks that the program printed as well.
    #[must_use]
    pub fn seen(self, totals: &Totals) -> Option<Seen> {
        let Self { all: goroutines, threads } = self;
        let seen = Seen { goroutines, threads, timers_known: false, whole: totals.crash };
        (seen.goroutines.total > 0).then_some(seen)
    }
}

/// The thread of a goroutine that is in a system call: its stack names the call by the wrapper
/// (package syscall, golang.org/x/sys/unix), os by the method that blocks.
fn called(frames: &[Frame]) -> Option<Thread> {
    let (at, name) = frames.iter().enumerate().find_map(|(at, frame)| {
        let wrapper = ["syscall.", "golang.org/x/sys/unix."]
            .iter()
            .find_map(|package| frame.function.strip_prefix(package));
        let name = match (wrapper, frame.function.as_str()) {
            // The last step, which all calls take.
            (Some(name), _) if name.to_ascii_lowercase().contains("syscall") => return None,
            (Some(name), _) => name.to_ascii_lowercase(),
            (None, "os.(*Process).blockUntilWaitable" | "os.(*Process).pidfdWait") => {
                "waitid".to_owned()
            }
            (None, _) => return None,
        };
        Some((at, if name == "fcntlflock" { "fcntl".to_owned() } else { name }))
    })?;
    // What blocks a thread in open(2) is a FIFO, and in a read(2) that went past the poller too;
    // through an os.File it is a terminal or a pipe that was inherited.
    let through = frames.iter().skip(at).any(|frame| frame.function.starts_with("os.(*File)."));
    let fifo = name.starts_with("open") || (name.starts_with("read") && !through);
    let target = fifo.then(|| Target { kind: TargetKind::Fifo, ..Target::default() });
    let call = Syscall { name, target, ..Syscall::default() };
    Some(Thread { same_call: true, syscall: Probe::Got(Some(call)), ..Thread::default() })
}

/// The frames a user sees: without the runtime's, unless there are no others. The call into C
/// stays, it is the reason.
fn user(frames: &[Frame]) -> Vec<Frame> {
    // As the runtime's own tracebacks do (runtime/traceback.go, `showframe`): exported functions
    // of the runtime are the program's doing.
    let hidden = |frame: &&Frame| {
        let inner = frame.function.strip_prefix("runtime.");
        inner.is_some_and(|name| !name.starts_with(|c: char| c.is_ascii_uppercase()))
            && frame.function != "runtime.cgocall"
    };
    let shown: Vec<Frame> = frames.iter().filter(|frame| !hidden(frame)).cloned().collect();
    if shown.is_empty() { frames.to_vec() } else { shown }
}

/// `/src/pool.go:88` apart.
fn frame(frame: &dump::Frame<'_>) -> Frame {
    let place = text(frame.place);
    let (file, line) = place.rsplit_once(':').unwrap_or((&place, ""));
    Frame { function: text(frame.function), file: file.to_owned(), line: line.parse().unwrap_or(0) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::entry::Entry;
    use crate::go::line::{Assembler, Framing};
    use crate::policy::evidence::Wakers;

    const DUMP: &str = "SIGQUIT: quit\nPC=0x46b2e1 m=0 sigcode=0\n\n\
        goroutine 0 gp=0x59e0c0 m=0 mp=0x59ef00 [idle]:\nruntime.futex(0x59f048)\n\t/go/src/runtime/sys.s:557 +0x21\n\n\
        goroutine 1 gp=0xc000002380 m=nil [chan receive, 2 minutes]:\nruntime.gopark(0x0)\n\t/go/src/runtime/proc.go:460 +0xce\n\
        main.wait(...)\n\t/opt/app/main.go:31\nmain.main()\n\t/opt/app/main.go:44 +0x5c\n\n\
        goroutine 2 gp=0xc0000028c0 m=nil [force gc (idle)]:\nruntime.gopark(0x0)\n\t/go/src/runtime/proc.go:460 +0xce\n\
        created by runtime.init.7 in goroutine 1\n\t/go/src/runtime/proc.go:361 +0x1a\n\n\
        goroutine 7 gp=0xc0000848c0 m=nil [sleep]:\ntime.Sleep(0x3b9aca00)\n\t/go/src/runtime/time.go:363 +0x165\n\
        created by main.main in goroutine 1\n\t/opt/app/main.go:40 +0x3c\n\n\
        rax    0xca\nrbx    0x0\nexit status 2\n";

    #[test]
    fn a_dump_becomes_the_goroutines_that_memory_would_show() {
        let mut assembler = Assembler::new(Framing::Stream);
        let (mut dumped, mut found) = (Dumped::default(), None);
        let mut take = |entry: Entry<'_>| match entry {
            Entry::Goroutines(group) => dumped.add(&group),
            Entry::DumpEnd(totals) => found = std::mem::take(&mut dumped).finish(&totals),
            Entry::Sched(_)
            | Entry::Damaged(_)
            | Entry::Init(_)
            | Entry::Gc(..)
            | Entry::Crash(_)
            | Entry::Text(_)
            | Entry::Json(_) => {}
        };
        assembler.feed(DUMP.as_bytes(), &mut take);
        assembler.end(&mut take);
        let found = found.unwrap();
        let main = found.main.unwrap();
        assert_eq!((found.total, main.state.as_str()), (2, "chan receive"));
        assert_eq!(main.frames[0].function, "main.wait");
        assert_eq!((main.frames[0].file.as_str(), main.frames[0].line), ("/opt/app/main.go", 31));
        assert_eq!(found.wakers, Wakers { timers: 1, ..Wakers::default() });
    }
}
