//! What runs inside the evidence process: `goinit __evidence --pid N`.
//!
//! It prints one JSON object a line, each with the facts that have become known; later lines win
//! (`policy::evidence`). So whoever reads has everything up to the point where this process hung
//! on a kernel lock, crashed, or was killed at its deadline. Cheap and harmless sources come
//! first; those that can hang (the program's memory, stat(2) on its files, command lines) last.

mod cgroup;
mod children;
mod confine;
pub(crate) mod descriptors;
mod goroutines;
mod locks;
pub(crate) mod proc;
mod process;
mod task;
mod threads;

pub use goroutines::{Look, goroutines};

use crate::exit::Code;
use crate::host::files::Root;
use crate::host::goroutines::Early;
use crate::policy::evidence::{Evidence, Probe, Why};
use crate::sys::{clock, limits, poll};
use crate::units::Mono;
use descriptors::Descriptors;
use proc::Program;
use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use task::Task;
use threads::Surroundings;

/// The most sockets that are listed.
const SOCKETS: usize = 256;

/// The evidence process, from its arguments to its exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> Code {
    let started = clock::mono();
    let Some(task) = Task::parse(&args) else { return Code::FAILED };
    // What goes wrong in here is told by what is missing; a message would reach nobody.
    std::panic::set_hook(Box::new(|_| ()));
    let program = Program::new(Root::live(), task.pid);
    // Before descriptors are closed: this one was inherited, too.
    let adopt = |fd: Option<i32>| fd.and_then(limits::inherited).map(File::from);
    let early = Early {
        memory: adopt(task.memory),
        executable: adopt(task.executable),
        vector: adopt(task.vector),
    };
    confine::confine(&program, task.deadline);
    let mut inquiry = Inquiry {
        evidence: Evidence { at: started, pid: task.pid, ..Evidence::default() },
        program,
        started,
        until: started.after(task.deadline),
        descriptors: Descriptors::default(),
    };
    inquiry.run(&task, early);
    Code::SUCCESS
}

/// One collection under way.
struct Inquiry {
    evidence: Evidence,
    program: Program,
    started: Mono,
    until: Mono,
    descriptors: Descriptors,
}

impl Inquiry {
    fn run(&mut self, task: &Task, early: Early) {
        let group = attempt(|| cgroup::Group::find(&self.program));
        confine::fit_into(group.as_ref().ok().and_then(cgroup::Group::headroom));
        let process = attempt(|| process::Look::take(&self.program));
        let threads = attempt(|| threads::Look::take(&self.program));
        let looked = clock::mono();
        self.tell_cgroup(&group);
        self.tell_process(&process, &process);
        self.tell_threads(&threads, &threads, None, false);
        self.tell(&["at", "pid", "cgroup", "process", "threads", "left_out"]);

        self.descriptors = Descriptors::read(&self.program);
        let children = attempt(|| children::Look::take(&self.program));
        self.tell_sockets();
        self.tell_children(&children, &children, false);
        self.tell(&["sockets", "children", "left_out"]);

        poll::readable::<0>([], Some(looked.after(task.sample)), clock::now());
        let process_later = attempt(|| process::Look::take(&self.program));
        let threads_later = attempt(|| threads::Look::take(&self.program));
        let children_later = attempt(|| children::Look::take(&self.program));
        self.evidence.sample_ms = millis(clock::mono(), looked);
        self.tell_cgroup(&group);
        self.tell_threads(&threads, &threads_later, None, false);
        self.tell_process(&process, &process_later);
        if let (Probe::Got(process), Ok(before), Ok(after)) =
            (&mut self.evidence.process, &threads, &threads_later)
        {
            process.cpu_delta_us = after.cpu_delta_us(before);
        }
        self.tell_locks(children_later.as_ref().ok());
        self.tell_children(&children, &children_later, false);
        self.add_children(children_later.as_ref().ok());
        self.tell(&["sample_ms", "cgroup", "process", "threads", "locks", "children", "left_out"]);

        // From here on, reads may hang.
        let again = || File::open(format!("/proc/{}/mem", self.program.pid)).ok();
        let early = early.if_current();
        let memory = early.memory.as_ref().and_then(|file| file.try_clone().ok()).or_else(again);
        self.descriptors.look_at_files = true;
        self.tell_threads(&threads, &threads_later, memory.as_ref(), true);
        self.tell_children(&children, &children_later, true);
        self.tell(&["threads", "children"]);

        let look = Look { pid: self.program.pid, early, until: self.until };
        self.evidence.goroutines = attempt(|| match goroutines(look) {
            Probe::Got(found) => Ok(found),
            Probe::Missing(why) => Err(why),
        })
        .into();
        self.tell(&["goroutines"]);
    }

    /// Prints what is known under these keys.
    fn tell(&mut self, keys: &[&str]) {
        self.evidence.took_ms = millis(clock::mono(), self.started);
        let mut line = self.evidence.line(&[keys, &["took_ms"]].concat());
        let mut out = std::io::stdout().lock();
        // Nobody reads any more: the collector gave up, and will end us.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        line.clear();
    }

    fn tell_cgroup(&mut self, group: &Result<cgroup::Group, Why>) {
        self.evidence.cgroup = match group {
            Ok(group) => Probe::Got(group.describe(&self.program)),
            Err(why) => Probe::Missing(why.clone()),
        };
    }

    fn tell_process(
        &mut self,
        before: &Result<process::Look, Why>,
        now: &Result<process::Look, Why>,
    ) {
        self.evidence.process = match (before, now) {
            (Ok(before), Ok(now)) => {
                Probe::Got(now.describe(before, &self.program, Some(&self.descriptors)))
            }
            (Err(why), _) | (_, Err(why)) => Probe::Missing(why.clone()),
        };
    }

    fn tell_threads(
        &mut self,
        before: &Result<threads::Look, Why>,
        now: &Result<threads::Look, Why>,
        memory: Option<&File>,
        late: bool,
    ) {
        let (before, now) = match (before, now) {
            (Ok(before), Ok(now)) => (before, now),
            (Err(why), _) | (_, Err(why)) => {
                self.evidence.threads = Probe::Missing(why.clone());
                return;
            }
        };
        let (program, descriptors) = (&self.program, &self.descriptors);
        let surroundings = Surroundings { program, descriptors, memory, late };
        let found = attempt(|| Ok(now.describe(before, &surroundings)));
        let listed = found.as_ref().map_or(0, Vec::len);
        self.evidence.left_out.threads =
            now.count.saturating_sub(u64::try_from(listed).unwrap_or(u64::MAX));
        self.evidence.threads = found.into();
    }

    fn tell_sockets(&mut self) {
        if let Some(why) = &self.descriptors.missing {
            self.evidence.sockets = Probe::Missing(why.clone());
            return;
        }
        let mut sockets = self.descriptors.sockets();
        // A connection that nobody answers first, then those with data under way.
        sockets.sort_by_key(|s| (s.state != "SYN_SENT", s.send_queue == 0, s.state == "LISTEN"));
        let over = sockets.len().saturating_sub(SOCKETS);
        self.evidence.left_out.sockets = u64::try_from(over).unwrap_or(u64::MAX);
        sockets.truncate(SOCKETS);
        self.evidence.sockets = Probe::Got(sockets);
    }

    fn tell_locks(&mut self, children: Option<&children::Look>) {
        let mut family = vec![self.program.pid];
        family.extend(children.map(children::Look::all).unwrap_or_default());
        let threads = self.evidence.threads.got().map_or(&[][..], Vec::as_slice);
        let found = attempt(|| locks::read(&self.program, &family, threads, &self.descriptors));
        self.evidence.locks = match found {
            Ok((locks, left_out)) => {
                self.evidence.left_out.locks = left_out;
                Probe::Got(locks)
            }
            Err(why) => Probe::Missing(why),
        };
    }

    fn tell_children(
        &mut self,
        before: &Result<children::Look, Why>,
        now: &Result<children::Look, Why>,
        late: bool,
    ) {
        self.evidence.children = match (before, now) {
            (Ok(before), Ok(now)) => {
                self.evidence.left_out.children = now.left_out;
                attempt(|| Ok(now.describe(before, &self.program, late))).into()
            }
            (Err(why), _) | (_, Err(why)) => Probe::Missing(why.clone()),
        };
    }

    fn add_children(&mut self, children: Option<&children::Look>) {
        if let (Probe::Got(process), Some(children)) = (&mut self.evidence.process, children) {
            process.children = children.direct(&self.program);
        }
    }
}

/// Milliseconds between two instants.
fn millis(later: Mono, earlier: Mono) -> u64 {
    u64::try_from(later.since(earlier).as_millis()).unwrap_or(u64::MAX)
}

/// Runs one source; a panic in it costs that source alone.
fn attempt<T>(source: impl FnOnce() -> Result<T, Why>) -> Result<T, Why> {
    catch_unwind(AssertUnwindSafe(source))
        .unwrap_or_else(|_| Err(Why::Failed("a defect in goinit".to_owned())))
}
