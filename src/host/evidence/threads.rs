//! Threads: two looks, and what changed between them.

use super::descriptors::{Descriptors, Eyes};
use super::proc::{Program, SMALL};
use crate::linux::stat::{self, Schedstat, Stat};
use crate::linux::syscalls::{self, Arch};
use crate::linux::task::{self, Blocked};
use crate::policy::evidence::{Probe, Syscall, Thread, Why};
use std::collections::HashMap;
use std::fs::File;

/// The most threads that are listed.
pub(super) const LIMIT: usize = 512;

/// All threads at one moment.
#[derive(Debug, Default)]
pub(super) struct Look {
    threads: Vec<Raw>,
    /// How many there are in all.
    pub(super) count: u64,
}

/// One thread at one moment.
#[derive(Debug)]
struct Raw {
    tid: u32,
    name: String,
    state: char,
    sched: Schedstat,
    voluntary: u64,
    involuntary: u64,
    blocked: Result<Blocked, Why>,
    wchan: Option<String>,
}

impl Look {
    /// Reads all threads; those that end meanwhile are left out.
    pub(super) fn take(program: &Program) -> Result<Self, Why> {
        let (tids, count) = program.numbers(&format!("/proc/{}/task", program.pid), LIMIT)?;
        let threads: Vec<Raw> = tids.into_iter().filter_map(|tid| raw(program, tid)).collect();
        if threads.is_empty() {
            return Err(program.read("stat", SMALL).err().unwrap_or(Why::Gone));
        }
        Ok(Self { threads, count })
    }

    /// CPU time that all threads used since an earlier look, µs.
    pub(super) fn cpu_delta_us(&self, before: &Self) -> u64 {
        let earlier: HashMap<u32, u64> =
            before.threads.iter().map(|raw| (raw.tid, raw.sched.run_ns)).collect();
        let used = |raw: &Raw| {
            raw.sched.run_ns.saturating_sub(earlier.get(&raw.tid).copied().unwrap_or(0))
        };
        self.threads.iter().map(used).fold(0, u64::saturating_add) / 1000
    }

    /// The threads, with what changed since an earlier look and what they are blocked in.
    pub(super) fn describe(&self, before: &Self, surroundings: &Surroundings<'_>) -> Vec<Thread> {
        let earlier: HashMap<u32, &Raw> = before.threads.iter().map(|raw| (raw.tid, raw)).collect();
        let one = |raw: &Raw| {
            let mut thread = raw.describe(earlier.get(&raw.tid).copied(), surroundings);
            if surroundings.late {
                // Reading a kernel stack needs CAP_SYS_ADMIN; elsewhere it stays empty.
                let path = format!("task/{}/stack", raw.tid);
                let text = surroundings.program.read(&path, SMALL).unwrap_or_default();
                thread.kernel_stack = task::kernel_stack(&text);
            }
            thread
        };
        self.threads.iter().map(one).collect()
    }
}

fn raw(program: &Program, tid: u32) -> Option<Raw> {
    let file = |name: &str| program.read(&format!("task/{tid}/{name}"), SMALL);
    let stat = Stat::parse(&file("stat").ok()?)?;
    let status = file("status").unwrap_or_default();
    let blocked = file("syscall").and_then(|text| {
        Blocked::parse(&text)
            .ok_or_else(|| Why::Malformed(String::from_utf8_lossy(&text).trim().to_owned()))
    });
    Some(Raw {
        tid,
        name: stat.name,
        state: stat.state,
        sched: file("schedstat").ok().and_then(|t| Schedstat::parse(&t)).unwrap_or_default(),
        voluntary: stat::number(&status, "voluntary_ctxt_switches").unwrap_or(0),
        involuntary: stat::number(&status, "nonvoluntary_ctxt_switches").unwrap_or(0),
        blocked,
        wchan: file("wchan").ok().and_then(|text| task::wchan(&text).map(str::to_owned)),
    })
}

/// What decoding needs beside the threads.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The program.
    pub(super) program: &'a Program,
    /// Its descriptors.
    pub(super) descriptors: &'a Descriptors,
    /// Its memory, if it may be read now.
    pub(super) memory: Option<&'a File>,
    /// Whether things that may hang are allowed.
    pub(super) late: bool,
}

impl Raw {
    fn describe(&self, before: Option<&Self>, surroundings: &Surroundings<'_>) -> Thread {
        let earlier = before.unwrap_or(self);
        let micros = |later: u64, earlier: u64| later.saturating_sub(earlier) / 1000;
        Thread {
            tid: u64::from(self.tid),
            name: self.name.clone(),
            state: self.state.to_string(),
            wchan: self.wchan.clone(),
            cpu_delta_us: micros(self.sched.run_ns, earlier.sched.run_ns),
            wait_delta_us: micros(self.sched.wait_ns, earlier.sched.wait_ns),
            switches_delta: self.voluntary.saturating_sub(earlier.voluntary),
            preempted_delta: self.involuntary.saturating_sub(earlier.involuntary),
            cpu_us: self.sched.run_ns / 1000,
            syscall: match &self.blocked {
                Ok(Blocked::In { nr, args }) => Probe::Got(Some(surroundings.decode(*nr, *args))),
                Ok(Blocked::Running | Blocked::Outside) => Probe::Got(None),
                Err(why) => Probe::Missing(why.clone()),
            },
            same_call: before.is_some_and(|before| {
                matches!(self.blocked, Ok(Blocked::In { .. })) && before.blocked == self.blocked
            }),
            kernel_stack: Vec::new(),
        }
    }
}

impl Surroundings<'_> {
    /// A system call in words.
    pub(super) fn decode(&self, nr: u64, args: [u64; 6]) -> Syscall {
        let mut eyes = Eyes { descriptors: self.descriptors, memory: self.memory };
        let call = syscalls::decode(Arch::here(), nr, args, &mut eyes);
        let by_fd = call.fd.and_then(|fd| self.descriptors.target(fd, self.program));
        let by_path = call.path.as_deref().map(|p| self.descriptors.path_target(p, self.program));
        let mut target = by_path.or(by_fd);
        if let Some(socket) = target.as_mut().and_then(|target| target.socket.as_mut())
            && socket.remote.is_empty()
        {
            socket.remote = call.address.clone().unwrap_or_default();
        }
        let epoll = call.fd.filter(|_| self.late && call.name.starts_with("epoll_"));
        Syscall {
            nr: call.nr,
            name: call.name,
            text: call.text,
            fd: call.fd.map(u64::from),
            target,
            futex: call.futex,
            wait_pid: call.wait_pid.map(crate::units::Pid),
            timeout_ms: call.timeout_ms,
            watched: call.watched.or_else(|| self.descriptors.epoll_size(epoll?, self.program)),
        }
    }
}
