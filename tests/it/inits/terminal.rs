//! Manners on a terminal: foreground, Ctrl-C, Ctrl-Z, window size.

use super::{Init, case};
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
