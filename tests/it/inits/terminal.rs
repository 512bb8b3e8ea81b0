//! Manners on a terminal: foreground, Ctrl-C, Ctrl-Z, window size.

use super::{Init, case, namespaces};
use crate::support::{Done, Run, helper, python};

/// The init on a terminal of its own (tests/programs/terminal.py), a mode of child.py below it.
fn on_a_terminal(init: &Init, plan: &[&str], mode: &[&str]) -> Done {
    let child = helper("child.py");
    let run = Run::new(python()).args(["-I", "-S"]).arg(helper("terminal.py")).args(plan).arg("--");
    let run = run.arg(init.path()).args(init.separator).args([python(), "-I", "-S", "-u"]);
    run.arg(child).args(mode).finish()
}

#[test]
fn the_child_gets_the_terminal() {
    case("foreground", |init| {
        let done = on_a_terminal(init, &[], &["foreground"]).expect_code(0);
        assert!(done.stdout().contains("foreground"), "{}", done.stdout());
        assert!(done.stdout().contains("[end 0]"), "{}", done.stdout());
    });
}

#[test]
fn ctrl_c_arrives_exactly_once() {
    case("Ctrl-C", |init| {
        let plan = ["text:ready", "type:03", "text:noticed 2", "quiet:300", "signal:15"];
        let done = on_a_terminal(init, &plan, &["notice", "2"]).expect_code(0);
        assert_eq!(done.stdout().matches("noticed 2").count(), 1, "{}", done.stdout());
        assert!(done.stdout().contains("[end 143]"), "{}", done.stdout());
    });
}

#[test]
fn a_window_of_another_size_arrives_exactly_once() {
    case("window size", |init| {
        let plan = ["text:ready", "size:20,90", "text:noticed 28", "quiet:300", "signal:15"];
        let done = on_a_terminal(init, &plan, &["notice", "28"]).expect_code(0);
        assert_eq!(done.stdout().matches("noticed 28").count(), 1, "{}", done.stdout());
    });
}

#[test]
fn ctrl_z_gives_the_shell_its_terminal_and_fg_gives_it_back() {
    case("Ctrl-Z", |init| {
        let plan = ["text:ready", "type:1a", "stopped", "continue", "text:noticed 18", "type:03"];
        let done = on_a_terminal(init, &plan, &["notice", "18"]).expect_code(0);
        assert!(done.stdout().contains("[end 130]"), "{}", done.stdout());
    });
}

#[test]
fn the_terminal_is_taken_back_at_the_end() {
    case("terminal taken back", |init| {
        // The shell that follows in the same job may read: it is in the foreground again.
        let plan = ["text:ready", "type:780a", "text:read x"];
        let script = format!(
            "{} {} true; echo ready; read word; echo read $word",
            init.path().display(),
            init.separator.join(" ")
        );
        let run = Run::new(python()).args(["-I", "-S"]).arg(helper("terminal.py")).args(plan);
        let done = run.args(["--", "sh", "-c", &script]).finish().expect_code(0);
        assert!(done.stdout().contains("[end 0]"), "{}", done.stdout());
    });
}

/// The init's command line with a mode of child.py, as a shell script has it.
fn in_a_script(init: &Init, mode: &str) -> String {
    let (path, separator) = (init.path(), init.separator.join(" "));
    let (python, child) = (python(), helper("child.py"));
    format!("{} {separator} {python} -I -S -u {} {mode}", path.display(), child.display())
}

fn script_on_a_terminal(plan: &[&str], script: &str) -> Done {
    let run = Run::new(python()).args(["-I", "-S"]).arg(helper("terminal.py")).args(plan);
    run.args(["--", "sh", "-c", script]).finish()
}

#[test]
fn ctrl_z_below_a_script_stops_the_script_too() {
    case("Ctrl-Z below a script", |init| {
        // The whole job goes on: the script, the init, the child and what the child has started.
        let ready = ["text:child ready", "text:grandchild ready"];
        let plan = [&ready[..], &["type:1a", "stopped", "continue", "text:after 7"]].concat();
        let script = format!("{}; echo after $?", in_a_script(init, "resume"));
        let done = script_on_a_terminal(&plan, &script).expect_code(0);
        assert!(done.stdout().contains("[end 0]"), "{}", done.stdout());
    });
}

#[test]
fn a_job_in_the_background_does_not_take_the_terminal() {
    case("background", |init| {
        // With job control, as an interactive shell has it: a job in the background has a process
        // group of its own, which is not the terminal's.
        let script = format!("set -m; {} & wait $!; echo end $?", in_a_script(init, "foreground"));
        let done = script_on_a_terminal(&[], &script).expect_code(0);
        assert!(done.stdout().contains("background"), "{}", done.stdout());
        assert!(done.stdout().contains("end 0"), "{}", done.stdout());
    });
}

#[test]
fn the_child_keeps_the_terminal_for_all_three_streams() {
    case("terminal streams", |init| {
        let script = format!(
            "{} {} sh -c 'test -t 0 && test -t 1 && test -t 2 && echo three terminals'",
            init.path().display(),
            init.separator.join(" ")
        );
        let done = script_on_a_terminal(&[], &script).expect_code(0);
        assert!(done.stdout().contains("three terminals"), "{}", done.stdout());
    });
}

/// As `docker run -it` does it: PID 1 leads the session of its terminal.
fn as_a_container(init: &Init, plan: &[&str], mode: &str) -> Done {
    let start = "exec unshare --pid --fork --mount-proc --kill-child setsid --ctty";
    script_on_a_terminal(plan, &format!("{start} {}", in_a_script(init, mode)))
}

#[test]
fn as_pid_1_on_a_terminal_ctrl_c_arrives_once_and_the_size_too() {
    if !namespaces() {
        return;
    }
    case("docker run -it", |init| {
        let plan = ["text:ready", "size:30,99", "text:noticed 28", "quiet:200", "type:03"];
        let done = as_a_container(init, &plan, "notice 28");
        assert_eq!(done.stdout().matches("noticed 28").count(), 1, "{}", done.stdout());
        assert!(done.stdout().contains("[end 130]"), "{}", done.stdout());
    });
}

#[test]
fn ctrl_z_freezes_no_container() {
    if !namespaces() {
        return;
    }
    case("Ctrl-Z in a container", |init| {
        // Nobody is there who could continue it, so it must not stop.
        let plan = ["text:ready", "type:1a", "quiet:300", "type:03"];
        let done = as_a_container(init, &plan, "notice 28");
        assert!(done.stdout().contains("[end 130]"), "{}", done.stdout());
    });
}
