//! Descendants of the program, and what they do.

use super::descriptors::Descriptors;
use super::proc::{Program, SMALL};
use super::threads::Surroundings;
use crate::linux::stat::{Schedstat, Stat};
use crate::linux::task::{self, Blocked};
use crate::policy::evidence::{Child, Syscall, Why};
use crate::units::Pid;

/// The most descendants that are listed.
const LIMIT: usize = 64;
/// The most processes looked at in search of them.
const SEARCHED: usize = 8192;

/// The descendants at one moment.
#[derive(Debug, Default)]
pub(super) struct Look {
    found: Vec<(Stat, u64)>,
    /// How many were not listed.
    pub(super) left_out: u64,
}

impl Look {
    /// Finds the descendants: all processes are read once (`task/TID/children` is not in every
    /// kernel), then the tree is walked.
    pub(super) fn take(program: &Program) -> Result<Self, Why> {
        let (pids, _) = program.numbers("/proc", SEARCHED)?;
        if pids.is_empty() {
            return Err(Why::Unsupported("/proc is not mounted".to_owned()));
        }
        let mut all: Vec<Stat> = pids
            .into_iter()
            .filter_map(|pid| {
                let text = program.read_at(&format!("/proc/{pid}/stat"), SMALL).ok()?;
                Stat::parse(&text)
            })
            .collect();
        let mut look = Self::default();
        let mut parents = vec![program.pid.0];
        // Each round takes at least one process out of `all`, or it is the last.
        while let Some(parent) = parents.pop() {
            let (children, others) = all.into_iter().partition(|stat| stat.parent == parent);
            all = others;
            let children: Vec<Stat> = children;
            for stat in children {
                parents.push(stat.pid);
                if look.found.len() < LIMIT {
                    let path = format!("/proc/{}/schedstat", stat.pid);
                    let text = program.read_at(&path, SMALL).unwrap_or_default();
                    let sched = Schedstat::parse(&text).unwrap_or_default();
                    look.found.push((stat, sched.run_ns));
                } else {
                    look.left_out = look.left_out.saturating_add(1);
                }
            }
        }
        look.found.sort_by_key(|(stat, _)| stat.pid);
        Ok(look)
    }

    /// All that are listed.
    pub(super) fn all(&self) -> Vec<Pid> {
        self.found.iter().map(|(stat, _)| Pid(stat.pid)).collect()
    }

    /// Direct children.
    pub(super) fn direct(&self, program: &Program) -> Vec<Pid> {
        let mine = self.found.iter().filter(|(stat, _)| stat.parent == program.pid.0);
        mine.map(|(stat, _)| Pid(stat.pid)).collect()
    }

    /// The descendants in words. Command lines are read only when `late`: the file can hang on
    /// a process that is stuck in the kernel.
    pub(super) fn describe(&self, before: &Self, program: &Program, late: bool) -> Vec<Child> {
        let one = |(stat, run_ns): &(Stat, u64)| {
            let earlier = before.found.iter().find(|(old, _)| old.pid == stat.pid);
            let used = run_ns.saturating_sub(earlier.map_or(*run_ns, |(_, run_ns)| *run_ns));
            describe(stat, used / 1000, program, late)
        };
        self.found.iter().map(one).collect()
    }
}

fn describe(stat: &Stat, cpu_delta_us: u64, program: &Program, late: bool) -> Child {
    let child = Program::new(program.root().clone(), Pid(stat.pid));
    let wchan = child.read("wchan", SMALL).ok();
    let wchan = wchan.as_deref().and_then(task::wchan).map(str::to_owned);
    let blocked = child.read("syscall", SMALL).ok().and_then(|text| Blocked::parse(&text));
    let syscall = match blocked {
        Some(Blocked::In { nr, args }) => {
            let descriptors = Descriptors::read(&child);
            let surroundings =
                Surroundings { program: &child, descriptors: &descriptors, memory: None, late };
            Some(surroundings.decode(nr, args))
        }
        Some(Blocked::Running | Blocked::Outside) | None => None,
    };
    Child {
        pid: Pid(stat.pid),
        parent: Pid(stat.parent),
        name: stat.name.clone(),
        command: if late { command(&child) } else { None },
        state: stat.state.to_string(),
        cpu_delta_us,
        doing: doing(stat.state, syscall.as_ref(), wchan.as_deref()),
        wchan,
        syscall,
    }
}

/// The command line, blanks between its arguments.
fn command(child: &Program) -> Option<String> {
    const SHOWN: usize = 256;
    let bytes = child.read("cmdline", SHOWN).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " ");
    (!text.is_empty()).then_some(text)
}

/// A fragment that fits after "child 31 (flyway) …".
fn doing(state: char, syscall: Option<&Syscall>, wchan: Option<&str>) -> String {
    match (state, syscall, wchan) {
        ('Z', _, _) => "has ended and was not waited for".to_owned(),
        ('T' | 't', _, _) => "is stopped".to_owned(),
        (_, Some(call), _) => {
            let on = call.target.as_ref().map(|target| match &target.socket {
                Some(socket) if !socket.remote.is_empty() => {
                    format!(" on {} {} ({})", socket.proto, socket.remote, socket.state)
                }
                Some(_) | None => format!(" on {}", target.path),
            });
            format!("waits in {}(2){}", call.name, on.unwrap_or_default())
        }
        ('R', None, _) => "runs".to_owned(),
        (_, None, Some(wchan)) => format!("waits in the kernel ({wchan})"),
        (_, None, None) => "sleeps".to_owned(),
    }
}
