//! How things end: exit codes, deaths, what is left behind, last words.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::{SOON, case, case_with, namespaces};
use crate::support::{TempDir, children, status_line, wait_until};

#[test]
fn every_exit_code_is_the_childs() {
    case("exit codes", |init| {
        for code in 0..=255 {
            init.run(&["sh", "-c", &format!("exit {code}")]).finish().expect_code(code);
        }
    });
}

#[test]
fn every_exit_code_is_the_childs_as_pid_1() {
    if !namespaces() {
        return;
    }
    case("exit codes as PID 1", |init| {
        for code in [0, 1, 2, 7, 42, 123, 124, 125, 126, 127, 128, 137, 143, 254, 255] {
            let command = format!("exit {code}");
            init.run(&["sh", "-c", &command]).pid_1().finish().expect_code(code);
        }
    });
}

#[test]
fn a_death_by_signal_is_128_and_the_signals_number() {
    case("deaths by signal", |init| {
        for number in (1..=64).filter(|number| ends_a_process(*number)) {
            let done = init.child(&[], &["die", &number.to_string()]).finish();
            assert_eq!(done.code, 128 + number, "signal {number}: {}", done.stderr());
            assert!(!done.signalled, "signal {number}: the init itself was killed");
        }
    });
}

/// Not those that are ignored or stop by default, nor the two that glibc keeps for itself.
fn ends_a_process(number: i32) -> bool {
    use libc::{SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH};
    let no = [SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH, 32, 33];
    !no.contains(&number)
}

#[test]
fn a_missing_command_is_127() {
    case("missing command", |init| {
        init.run(&["/no/such/command"]).finish().expect_code(127);
    });
}

#[test]
fn a_command_that_is_not_executable_is_126() {
    case("not executable", |init| {
        let place = TempDir::new();
        let file = place.path("data");
        std::fs::write(&file, "text\n").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        init.run(&[file.to_str().unwrap()]).finish().expect_code(126);
    });
}

#[test]
fn arguments_and_environment_arrive_unchanged() {
    case("arguments and environment", |init| {
        let odd = std::ffi::OsStr::from_bytes(b"\xff\xfe x");
        let command =
            ["sh", "-c", r#"printf '<%s>' "$@" "$NAME""#, "sh", "", "a b", "--", "-s", "'\""];
        let done = init.run(&command).arg(odd).env("NAME", "v=1").finish().expect_code(0);
        let text = done.stdout();
        assert_eq!(text, "<><a b><--><-s><'\"><\u{fffd}\u{fffd} x><v=1>");
    });
}

#[test]
fn standard_input_reaches_the_child() {
    case("standard input", |init| {
        let done = init.run(&["cat"]).stdin(b"one\0two").finish().expect_code(0);
        assert_eq!(done.stdout(), "one\0two");
    });
}

#[test]
fn a_grandchild_that_holds_the_output_does_not_delay_the_end() {
    case("grandchild holds the output", |init| {
        let done = init.run(&["sh", "-c", "sleep 20 & printf 'the end' >&2; exit 5"]).start();
        let done = done.wait(SOON).expect_code(5);
        assert!(done.stderr().contains("the end"), "{}", done.stderr());
        assert!(done.took < Duration::from_secs(4), "{:?}", done.took);
    });
}

#[test]
fn a_daemon_that_stays_behind_does_not_delay_the_end() {
    if !namespaces() {
        return;
    }
    case("daemon stays behind", |init| {
        let command = "setsid sleep 20 >/dev/null 2>&1 </dev/null & exit 6";
        init.run(&["sh", "-c", command]).pid_1().start().wait(SOON).expect_code(6);
    });
}

#[test]
fn last_words_without_a_newline_are_not_lost() {
    case("last words", |init| {
        for _ in 0..20 {
            let done =
                init.run(&["sh", "-c", "printf 'the end' >&2; exit 3"]).finish().expect_code(3);
            assert!(done.stderr().contains("the end"), "{}", done.stderr());
        }
    });
}

#[test]
fn orphans_are_reaped_and_the_child_lives_on() {
    if !namespaces() {
        return;
    }
    case("orphans", |init| {
        let started = init.child(&[], &["orphans", "500"]).pid_1().start();
        started.wait_for_output("ready");
        let alone = || started.children().len() == 1;
        assert!(wait_until(SOON, alone), "left: {:?}", zombies(started.pid()));
        started.signal(libc::SIGTERM);
        started.wait(SOON).expect_code(0);
    });
}

fn zombies(pid: u32) -> Vec<String> {
    children(pid).into_iter().filter_map(|child| status_line(child, "State")).collect()
}

#[test]
fn an_orphans_exit_code_is_not_the_childs() {
    if !namespaces() {
        return;
    }
    case("orphan's exit code", |init| {
        let command = "(sh -c 'sleep 0.05; exit 9' &) ; sleep 0.3; exit 4";
        init.run(&["sh", "-c", command]).pid_1().finish().expect_code(4);
    });
}

#[test]
fn as_a_subreaper_it_adopts_without_being_pid_1() {
    case_with(
        "subreaper",
        |init| init.subreaper,
        |init, options| {
            let started = init.child(options, &["adopted"]).start();
            let expected = format!("adopted by {}", started.pid());
            started.wait_for_output(&expected);
            started.wait(SOON).expect_code(0);
        },
    );
}

#[test]
fn its_parents_death_can_be_a_signal() {
    case_with(
        "parent death signal",
        |init| init.parent_death,
        |init, option| {
            let inner = init.with(&[option, "SIGTERM"], &["sh", "-c", "echo ready; exec sleep 60"]);
            let parent = inner.under_a_shell().start();
            parent.wait_for_output("ready");
            let pids = parent.children();
            let inner = *pids.first().expect("the shell has no child");
            parent.signal(libc::SIGKILL);
            let gone = wait_until(SOON, || {
                status_line(inner, "State").is_none_or(|state| state.starts_with('Z'))
            });
            crate::support::kill(inner, libc::SIGKILL);
            assert!(gone, "the init outlived its parent");
        },
    );
}

#[test]
fn an_exit_code_can_be_mapped_to_0() {
    case_with(
        "remap",
        |init| init.remap,
        |init, option| {
            init.with(&[option, "143"], &["sh", "-c", "kill -TERM $$"]).finish().expect_code(0);
            init.with(&[option, "143"], &["sh", "-c", "exit 144"]).finish().expect_code(144);
            init.with(&[option, "3", option, "9"], &["sh", "-c", "exit 9"]).finish().expect_code(0);
        },
    );
}

#[test]
fn a_code_that_cannot_be_is_refused() {
    case_with(
        "wrong remap codes",
        |init| init.remap,
        |init, option| {
            for wrong in ["256", "-1", "x", ""] {
                let done = init.with(&[option, wrong], &["echo", "ran"]).finish();
                assert_ne!(done.code, 0, "{option} {wrong:?} was accepted");
                assert_eq!(done.stdout(), "", "{option} {wrong:?}: the command ran");
                assert!(!done.stderr().is_empty(), "{option} {wrong:?}: no word about it");
            }
        },
    );
}

#[test]
fn a_rewrite_that_cannot_be_is_refused() {
    case_with(
        "wrong rewrites",
        |init| init.rewrite,
        |init, option| {
            for wrong in ["15:derp", "15", "derp:15", "15:200", ":"] {
                let done = init.with(&[option, wrong], &["echo", "ran"]).finish();
                assert_ne!(done.code, 0, "{option} {wrong:?} was accepted");
                assert_eq!(done.stdout(), "", "{option} {wrong:?}: the command ran");
            }
        },
    );
}
