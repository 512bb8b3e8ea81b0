//! The collector and its process against real stuck programs, and against bad answers.

#![expect(
    clippy::unwrap_used,
    reason = "a test may fail; helpers outside of #[test] functions count as other code"
)]

use crate::support;
use goinit::exit::Ending;
use goinit::host::collector::{Collector, Executable, Plan};
use goinit::host::goroutines::Early;
use goinit::policy::evidence::{Evidence, Probe, Why};
use goinit::sys::clock;
use goinit::units::{Pid, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::ffi::CString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

/// A program that ends with its test.
struct Stuck(Child);

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(self.pid().0), None);
    }
}

impl Stuck {
    fn python(code: &str, args: &[&str]) -> Self {
        let mut command = Command::new(support::python());
        Self(command.args(["-c", code]).args(args).spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid(i32::try_from(self.0.id()).unwrap())
    }

    /// Waits until the main thread sleeps in a kernel function with this in its name.
    fn until_in(self, wchan: &str) -> Self {
        let path = format!("/proc/{}/wchan", self.0.id());
        let there = || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(wchan));
        assert!(support::wait_until(Duration::from_secs(10), there), "never in {wchan}");
        self
    }
}

/// Runs the collector as the supervisor does: poll, read, reap, deadline.
fn collect(executable: &Executable, pid: Pid, deadline: Duration) -> Evidence {
    let sample = Duration::from_millis(50);
    run(executable, &Plan { pid, early: &Early::default(), sample, deadline })
}

fn run(executable: &Executable, plan: &Plan<'_>) -> Evidence {
    let (pid, deadline) = (plan.pid, plan.deadline);
    let started = clock::mono();
    let mut collector = match Collector::start(executable, plan, started) {
        Ok(collector) => collector,
        Err(why) => return goinit::host::collector::failed(pid, &why, started),
    };
    let own = nix::unistd::Pid::from_raw(collector.pid().0);
    let mut reaped = false;
    let limit = deadline + Duration::from_secs(2);
    let done = support::wait_until(limit, || {
        collector.read();
        match waitpid(own, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => {
                reaped = true;
                collector.ended(Ending::Exited(u8::try_from(code).unwrap()));
            }
            Ok(WaitStatus::Signaled(_, signal, core)) => {
                reaped = true;
                let signal = Signal::from_number(signal as i32).unwrap();
                collector.ended(Ending::Signalled { signal, core });
            }
            _ => {}
        }
        if clock::mono() >= collector.deadline() {
            collector.expire();
        }
        collector.done()
    });
    assert!(done, "the collector blocks");
    let evidence = collector.finish();
    if !reaped {
        waitpid(own, None).unwrap();
    }
    evidence
}

fn goinit() -> Executable {
    Executable::at(CString::new(support::goinit().into_os_string().into_vec()).unwrap())
}

/// An evidence process that is this shell script.
fn script(directory: &support::TempDir, text: &str) -> Executable {
    let path = directory.path("evidence");
    std::fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Executable::at(CString::new(path.into_os_string().into_vec()).unwrap())
}

const SECONDS: Duration = Duration::from_secs(5);

#[test]
fn a_wait_for_flock_names_the_file_and_the_holder() {
    let directory = support::TempDir::new();
    let path = directory.path("migrate.lock");
    std::fs::write(&path, "").unwrap();
    let text = path.to_str().unwrap();
    let take = "import fcntl,sys,time\nf=open(sys.argv[1],'r+')\nfcntl.flock(f,2)\ntime.sleep(60)";
    let ours = |pid: Pid| {
        let locks = std::fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| line.contains(&format!(" {pid} ")))
    };
    let holder = Stuck::python(take, &[text]);
    assert!(support::wait_until(SECONDS, || ours(holder.pid())));
    let mut users = vec![None];
    if support::is_root() {
        users.push(Some(65_532));
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::set_permissions(&directory.0, std::fs::Permissions::from_mode(0o755)).unwrap();
    for user in users {
        let mut command = Command::new(support::python());
        command.args(["-c", take, text]);
        if let Some(uid) = user {
            command.uid(uid).gid(uid);
        }
        let waiter = Stuck(command.spawn().unwrap()).until_in("locks_lock");
        let evidence = collect(&goinit(), waiter.pid(), SECONDS);
        let locks = evidence.locks.got().expect("locks");
        assert_eq!(locks[0].waiter, waiter.pid(), "{user:?}");
        assert_eq!(locks[0].holder, Some(holder.pid()), "{user:?}");
        assert_eq!(locks[0].path.as_deref(), Some(text), "{user:?}");
        let thread = &evidence.threads.got().unwrap()[0];
        let call = thread.syscall.got().unwrap().as_ref().unwrap();
        // Whoever runs the tests may have left it a descriptor 3.
        let named = call.text.contains(&format!("<{text}>, LOCK_EX"));
        assert!(call.text.starts_with("flock(") && named, "{user:?}: {}", call.text);
        assert!(thread.same_call);
    }
}

#[test]
fn a_connection_without_answer_shows_peer_and_state() {
    let code = "import socket\nl=socket.socket();l.bind(('127.0.0.1',0));l.listen(0)\nk=[]\n\
        for i in range(3):\n s=socket.socket();s.setblocking(False);s.connect_ex(l.getsockname());\
        k.append(s)\ns=socket.socket();s.connect(l.getsockname())";
    let stuck = Stuck::python(code, &[]).until_in("wait_woken");
    let evidence = collect(&goinit(), stuck.pid(), SECONDS);
    let threads = evidence.threads.got().expect("threads");
    let call = threads[0].syscall.got().unwrap().as_ref().unwrap();
    let socket = call.target.as_ref().unwrap().socket.as_ref().expect("a socket");
    assert_eq!((call.name.as_str(), socket.state.as_str()), ("connect", "SYN_SENT"));
    assert!(call.text.contains(&format!("{{{}}}", socket.remote)), "{}", call.text);
    assert_eq!(evidence.sockets.got().unwrap()[0].state, "SYN_SENT");
}

#[test]
fn the_fifo_the_child_and_the_stop_are_seen() {
    let directory = support::TempDir::new();
    let fifo = directory.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let text = fifo.to_str().unwrap();
    let stuck = Stuck::python("import sys;open(sys.argv[1])", &[text]).until_in("partner");
    let evidence = collect(&goinit(), stuck.pid(), SECONDS);
    let call = evidence.threads.got().unwrap()[0].syscall.got().unwrap().clone().unwrap();
    let target = call.target.unwrap();
    assert_eq!((target.kind.word(), target.path.as_str()), ("fifo", text));

    // The descriptor that is handed over is the memory that is read: here, nothing but zeroes.
    let zeroes = std::fs::File::open("/dev/zero").unwrap();
    let early = Early { memory: Some(zeroes), ..Early::default() };
    let sample = Duration::from_millis(50);
    let plan = Plan { pid: stuck.pid(), early: &early, sample, deadline: SECONDS };
    let call = run(&goinit(), &plan).threads.got().unwrap()[0].syscall.got().unwrap().clone();
    assert!(call.unwrap().text.starts_with("openat(AT_FDCWD, \"\", "));

    let code = "import subprocess as s;s.run(['sleep','60'])";
    let parent = Stuck::python(code, &[]).until_in("do_wait");
    // The child has to be asleep as well: before its exec it is python, and still starting.
    let number = u32::try_from(parent.pid().0).unwrap();
    assert!(support::wait_until(SECONDS, || {
        let asleep = |pid: &u32| {
            let wchan = std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "sleep" && wchan.contains("nanosleep")
        };
        support::children(number).iter().any(asleep)
    }));
    let evidence = collect(&goinit(), parent.pid(), SECONDS);
    let child = evidence.children.got().unwrap()[0].clone();
    support::kill(u32::try_from(child.pid.0).unwrap(), 9);
    assert_eq!((child.name.as_str(), child.parent), ("sleep", parent.pid()));
    assert!(child.doing.contains("nanosleep(2)"), "{}", child.doing);

    let stopped = Stuck::python("import os;os.kill(os.getpid(),19)", &[]).until_in("stop");
    let evidence = collect(&goinit(), stopped.pid(), SECONDS);
    assert_eq!(evidence.process.got().unwrap().state, "T");
}

#[test]
fn a_program_that_is_gone_is_told_as_gone() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = Pid(i32::try_from(child.id()).unwrap());
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid.0), None);
    let _ = child.try_wait();
    let evidence = collect(&goinit(), pid, SECONDS);
    assert_eq!(evidence.threads, Probe::Missing(Why::Gone));
    assert_eq!(evidence.process, Probe::Missing(Why::Gone));
}

#[test]
fn bad_answers_become_reasons_and_never_block() {
    let directory = support::TempDir::new();
    let short = Duration::from_millis(500);
    let some = r#"echo '{"locks":{"got":[]}}'"#;
    for (text, expected) in [
        (format!("{some}; kill -9 $$"), Why::Failed("killed by SIGKILL".to_owned())),
        (format!("{some}; exec sleep 60"), Why::TimedOut),
        (format!("{some}; exit 3"), Why::Failed("exit status 3".to_owned())),
        (
            format!("{some}; exec cat /dev/zero"),
            Why::Malformed("an answer of more than 4 MiB".to_owned()),
        ),
    ] {
        let evidence = collect(&script(&directory, &text), Pid(1), short);
        assert_eq!(evidence.threads, Probe::Missing(expected), "{text}");
        assert_eq!(evidence.locks, Probe::Got(Vec::new()), "what arrived before counts: {text}");
    }
    let noise = script(&directory, &format!("echo garbage; echo; {some}; echo '[1]'"));
    assert_eq!(collect(&noise, Pid(1), short).left_out.lines, 3);
    let nowhere = Executable::at(c"/nonexistent".to_owned());
    let evidence = collect(&nowhere, Pid(1), short);
    assert!(matches!(evidence.threads, Probe::Missing(Why::Failed(_))));
}
