//! `goinit probe` against a live goinit: it finds the status page and answers by its exit code.

use crate::support::{Group, Run, Started, is_root, program, skip, wait_for};
use std::time::Duration;

/// The version of Go that these programs are built with.
const VERSION: &str = "1.25";
/// How long an answer may take to come.
const LIMIT: Duration = Duration::from_secs(20);

/// Exit code and line of a probe.
fn probe(goinit: &Started, question: &str, uid: Option<u32>) -> (i32, String) {
    let pid = goinit.pid().to_string();
    let run = Run::goinit().args(["probe", "--pid", &pid, question]);
    let done = match uid {
        Some(uid) => run.uid(uid).finish(),
        None => run.finish(),
    };
    (done.code, done.stdout().trim().to_owned())
}

/// Waits until a probe gives this exit code; its line.
fn becomes(goinit: &Started, question: &str, code: i32) -> String {
    wait_for(LIMIT, || {
        let (found, line) = probe(goinit, question, None);
        (found == code).then_some(line)
    })
    .unwrap_or_else(|| panic!("{question}: {:?}", probe(goinit, question, None)))
}

#[test]
fn a_stalled_program_fails_the_live_probe_with_the_sentence_of_its_verdict() {
    let Some(stuck) = program("chan-recv", VERSION) else { return };
    let goinit = Run::goinit().args(["--stall-after=2s", "--"]).arg(&stuck).start();
    assert_eq!(becomes(&goinit, "live", 0), "no stall");
    let line = becomes(&goinit, "live", 1);
    assert!(line.starts_with("stalled/channel: ") && line.contains("main.waitForResult"), "{line}");
}

#[test]
fn a_program_that_only_sleeps_stays_alive_for_the_probe() {
    let Some(sleeps) = program("ok-sleep", VERSION) else { return };
    let goinit = Run::goinit().args(["--stall-after=2s", "--"]).arg(&sleeps).start();
    becomes(&goinit, "live", 0);
    let described = wait_for(LIMIT, || {
        let (code, line) = probe(&goinit, "live", None);
        assert_eq!(code, 0, "{line}");
        line.starts_with("ok/timer-wait: ").then_some(())
    });
    assert!(described.is_some(), "{:?}", probe(&goinit, "live", None));
}

#[test]
fn a_line_or_a_file_that_the_user_named_says_that_it_has_started() {
    let script = "sleep 1; echo now ready to serve >&2; sleep 60";
    let by_line = Run::goinit().args(["--ready-on=ready to serve", "--", "sh", "-c", script]);
    let by_line = by_line.start();
    becomes(&by_line, "startup", 1);
    let line = becomes(&by_line, "startup", 0);
    assert!(line.contains("--ready-on"), "{line}");
    let file = std::env::temp_dir().join(format!("goinit-ready-{}", std::process::id()));
    let option = format!("--ready-file={}", file.display());
    let by_file = Run::goinit().args([option.as_str(), "--", "sleep", "60"]).start();
    becomes(&by_file, "startup", 1);
    std::fs::write(&file, "").unwrap();
    let line = becomes(&by_file, "startup", 0);
    std::fs::remove_file(&file).unwrap();
    assert!(line.contains("--ready-file"), "{line}");
}

/// Exit code and line of a probe by `uid`, without capabilities and no_new_privs as in a pod.
fn probe_as(goinit: &Started, question: &str, uid: u32) -> (i32, String) {
    let pid = goinit.pid().to_string();
    let run = Run::goinit().args(["probe", "--pid", &pid, question]);
    let done = run.uid(uid).state("--no-new-privs").finish();
    (done.code, done.stdout().trim().to_owned())
}

#[test]
fn any_user_is_answered_by_the_name_of_the_process() {
    if !is_root() {
        return skip("needs root: two users");
    }
    let Some(stuck) = program("chan-recv", VERSION) else { return };
    let options = ["--stall-after=2s", "--"];
    // A probe of another user than root's goinit, and one of yet another than an unprivileged one.
    for (mut run, asker) in [(Run::goinit(), 65_532), (Run::goinit().uid(65_533), 65_532)] {
        run = run.state("--no-new-privs");
        let goinit = run.args(options).arg(&stuck).start();
        let seen = |question: &str, code: i32| {
            let found = wait_for(LIMIT, || {
                let (found, line) = probe_as(&goinit, question, asker);
                (found == code).then_some(line)
            });
            found.unwrap_or_else(|| panic!("{question}: {:?}", probe_as(&goinit, question, asker)))
        };
        assert_eq!(seen("live", 0), "no stall");
        assert!(seen("startup", 0).contains("the Go runtime runs"));
        assert!(seen("live", 1).starts_with("stalled"));
        assert_eq!(seen("startup", 1), "not started: stalled; the log says why");
        let name = std::fs::read_to_string(format!("/proc/{}/comm", goinit.pid())).unwrap();
        assert_eq!(name, "goinit:stalled\n");
        // Who may look further learns more: here root, who may inspect both.
        let (code, line) = probe(&goinit, "live", None);
        assert!(code == 1 && line.contains("main.waitForResult"), "{line}");
    }
    let missing = Run::goinit().args(["probe", "--pid", "4000000"]).finish();
    assert_eq!(missing.code, 2);
}

#[test]
fn with_a_shared_pid_namespace_the_goinit_of_this_container_is_found() {
    if !is_root() {
        return skip("needs root: namespaces");
    }
    let Some(stuck) = program("chan-recv", VERSION) else { return };
    // One PID namespace, two "containers" with mount namespaces and control groups of their own;
    // PID 1 is neither of them.
    let Some(groups) =
        [Group::cpu(100_000), Group::cpu(100_000)].into_iter().collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let script = format!(
        "g={goinit:?}; p={stuck:?}
        ask() {{ sh -c 'echo $$ > \"$1/cgroup.procs\"; shift; exec \"$@\"' sh \"$1\" nsenter -m -t $2 \\
            {python:?} -I -S {launch:?} --uid=$3 --no-new-privs -- \"$g\" probe live; }}
        sh -c 'echo $$ > {one:?}/cgroup.procs; exec unshare -m \"$@\"' sh \"$g\" --stall-after=2s -- \"$p\" &
        a=$!
        sh -c 'echo $$ > {two:?}/cgroup.procs; exec unshare -m \"$@\"' sh \"$g\" -- sleep 60 &
        b=$!
        n=0
        until [ $n = 30 ] || {{ ask {one:?} $a 0 >&2; [ $? = 1 ]; }}; do n=$((n+1)); sleep 1; done
        for uid in 0 65532; do
            ask {one:?} $a $uid; echo one $uid $?
            ask {two:?} $b $uid; echo two $uid $?
        done",
        goinit = crate::support::goinit(),
        one = groups[0].path,
        two = groups[1].path,
        python = crate::support::python(),
        launch = crate::support::helper("launch.py"),
    );
    let done = Run::new("sh").args(["-c", &script]).pid_1().finish();
    let out = done.stdout();
    for line in ["one 0 1", "two 0 0", "one 65532 1", "two 65532 0"] {
        assert!(out.contains(line), "{line} is missing:\n{out}\n{}", done.stderr());
    }
}
