//! What the child starts with, and what an init has inherited and must cope with.

use super::{Init, SOON, case, namespaces};
use crate::support::{Run, TempDir, status_line, wait_until};
use std::time::Duration;

/// The child may be faster than its init: how long that may take to let go of what it passed on.
const SETTLED: Duration = Duration::from_secs(2);

/// A mask of /proc/PID/status as the child sees its own.
fn childs_mask(run: Run, name: &str) -> u64 {
    let done = run.finish().expect_code(0);
    let text = done.stdout();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("no such line").trim(), 16).unwrap()
}

fn status(init: &Init) -> Run {
    init.run(&["cat", "/proc/self/status"])
}

fn survives(name: &str, options: &'static [&'static str]) {
    case(name, |init| {
        let mut run = init.run(&["sh", "-c", "exit 7"]);
        for option in options {
            run = run.state(option);
        }
        run.start().wait(SOON).expect_code(7);
    });
}

#[test]
fn a_clean_start_stays_clean() {
    case("clean mask", |init| {
        for name in ["SigBlk", "SigIgn"] {
            assert_eq!(childs_mask(status(init).state("--chdir=/"), name), 0, "{name}");
        }
    });
}

#[test]
fn inherited_blocks_do_not_reach_the_child() {
    case("inherited blocks", |init| {
        let run = status(init).state("--block-all");
        assert_eq!(childs_mask(run, "SigBlk"), 0);
    });
}

#[test]
fn inherited_ignores_do_not_reach_the_child() {
    case("inherited ignores", |init| {
        let run = status(init).state("--ignore=1,2,13,15,34,64");
        assert_eq!(childs_mask(run, "SigIgn"), 0);
    });
}

#[test]
fn the_two_signals_that_glibc_hides_are_not_ignored_by_the_child() {
    case("hidden ignores", |init| {
        let run = status(init).state("--ignore=32,33");
        assert_eq!(childs_mask(run, "SigIgn"), 0);
    });
}

#[test]
fn sigchld_ignored_by_the_parent() {
    survives("SIGCHLD ignored", &["--ignore=17"]);
}

#[test]
fn everything_blocked_by_the_parent() {
    survives("everything blocked", &["--block-all"]);
}

#[test]
fn a_term_arrives_though_everything_was_blocked() {
    case("TERM though blocked", |init| {
        let run = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).state("--block-all");
        let started = run.start();
        started.wait_for_output("ready");
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn standard_input_closed() {
    survives("stdin closed", &["--close=0"]);
}

#[test]
fn standard_output_closed() {
    survives("stdout closed", &["--close=1"]);
}

#[test]
fn standard_error_closed() {
    survives("stderr closed", &["--close=2"]);
}

#[test]
fn all_three_closed() {
    survives("all three closed", &["--close=0,1,2"]);
}

#[test]
fn ten_descriptors_are_enough() {
    survives("RLIMIT_NOFILE 10", &["--nofile=10"]);
}

#[test]
fn no_new_privileges() {
    survives("no_new_privs", &["--no-new-privs"]);
}

#[test]
fn not_root() {
    if !namespaces() {
        return;
    }
    survives("non-root", &["--uid=65534"]);
}

#[test]
fn without_proc() {
    if !namespaces() {
        return;
    }
    case("no /proc", |init| {
        let run = init.run(&["sh", "-c", "exit 7"]).mounts("umount -l /proc");
        run.start().wait(SOON).expect_code(7);
        let run = init.run(&["sh", "-c", "exit 7"]).pid_1().mounts("umount -l /proc");
        run.start().wait(SOON).expect_code(7);
    });
}

#[test]
fn with_a_read_only_root() {
    if !namespaces() {
        return;
    }
    case("read-only root", |init| {
        let script = "mount -o remount,bind,ro / && cd /";
        let run = init.run(&["sh", "-c", "touch /x 2>/dev/null || exit 7"]).mounts(script);
        run.start().wait(SOON).expect_code(7);
    });
}

#[test]
fn the_childs_status_line_is_its_own_group() {
    case("own process group", |init| {
        let started = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).start();
        started.wait_for_output("ready");
        let child = *started.children().first().expect("no child");
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let group: u32 = fields.split(' ').nth(2).unwrap().parse().unwrap();
        assert_eq!(group, child);
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

/// Descriptors of a process from 3 on.
fn descriptors(pid: u32) -> Vec<u32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = numbers.filter(|number| *number > 2).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn passed_descriptors_reach_the_child_and_nothing_else_does() {
    case("descriptors of the child", |init| {
        let place = TempDir::new();
        let open = format!("--open=7:{}", place.path("socket").display());
        let run = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).state(&open);
        let started = run.start();
        started.wait_for_output("ready");
        let child = *started.children().first().expect("no child");
        // While it starts, the child itself opens a library now and then.
        let alone = wait_until(SETTLED, || descriptors(child) == [7]);
        assert!(alone, "{:?}", descriptors(child));
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn passed_descriptors_are_not_kept() {
    case("descriptors kept", |init| {
        let place = TempDir::new();
        let file = place.path("kept");
        let run = init.run(&["sh", "-c", "echo ready; exec sleep 20"]);
        let started = run.state(format!("--open=7:{}", file.display())).start();
        started.wait_for_output("ready");
        let released = || {
            let links = std::fs::read_dir(format!("/proc/{}/fd", started.pid())).unwrap().flatten();
            let mut held = links.filter_map(|link| std::fs::read_link(link.path()).ok());
            !held.any(|link| link == file)
        };
        assert!(wait_until(SETTLED, released), "the init keeps what it passed on");
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn listen_pid_names_the_child() {
    case("LISTEN_PID", |init| {
        let run = init.run(&["sh", "-c", "echo $LISTEN_PID $LISTEN_FDS $$"]).env("LISTEN_FDS", "1");
        let done = run.state("--env-pid=LISTEN_PID").finish().expect_code(0);
        let text = done.stdout();
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words.len(), 3, "{text}");
        assert_eq!(words[0], words[2], "{text}");
    });
}

#[test]
fn a_listen_pid_that_names_somebody_else_stays() {
    case("foreign LISTEN_PID", |init| {
        let run = init.run(&["sh", "-c", "echo $LISTEN_PID"]).env("LISTEN_PID", "4194000");
        assert_eq!(run.finish().expect_code(0).stdout(), "4194000\n");
    });
}

#[test]
fn the_child_keeps_the_directory_and_the_init_lets_go_of_it() {
    case("working directory", |init| {
        let place = TempDir::new();
        let run = init.run(&["sh", "-c", "pwd; echo ready; exec sleep 20"]);
        let started = run.state(format!("--chdir={}", place.0.display())).start();
        started.wait_for_output("ready");
        assert_eq!(started.stdout().lines().next(), place.0.to_str());
        let own = format!("/proc/{}/cwd", started.pid());
        let left = || std::fs::read_link(&own).unwrap().to_str() == Some("/");
        assert!(wait_until(SETTLED, left), "the init stays in the directory");
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
    });
}

#[test]
fn nothing_wakes_it_while_nothing_happens() {
    case("idle wake-ups", |init| {
        let started = init.run(&["sh", "-c", "echo ready; exec sleep 20"]).start();
        started.wait_for_output("ready");
        let switches = || -> u64 {
            let threads = std::fs::read_dir(format!("/proc/{}/task", started.pid())).unwrap();
            threads
                .flatten()
                .filter_map(|thread| {
                    let text = std::fs::read_to_string(thread.path().join("status")).ok()?;
                    let line = text
                        .lines()
                        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
                    line.trim().parse::<u64>().ok()
                })
                .sum()
        };
        // Settled once it has been the same for a while; then two and a half seconds of nothing.
        let mut last = switches();
        let mut quiet_since = crate::support::now();
        crate::support::wait_until(SOON, || {
            let next = switches();
            if next != last {
                (last, quiet_since) = (next, crate::support::now());
            }
            quiet_since.elapsed().as_millis() > 2500
        });
        let quiet = quiet_since.elapsed().as_millis();
        assert!(status_line(started.pid(), "State").is_some());
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(143);
        assert!(quiet > 2500, "it woke up at least every {quiet} ms");
    });
}
