//! `goinit probe` against a live goinit: it finds the status page and answers by its exit code.

use crate::support::{Run, Started, program, wait_for};
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

#[test]
fn who_may_not_look_into_goinit_is_told_the_rule() {
    let goinit = Run::goinit().args(["--", "sleep", "60"]).start();
    becomes(&goinit, "live", 0);
    let (code, line) = probe(&goinit, "live", Some(65_532));
    assert_eq!(code, 2, "{line}");
    assert!(line.contains("PTRACE_MODE_READ"), "{line}");
    let missing = Run::goinit().args(["probe", "--pid", "4000000"]).finish();
    assert_eq!(missing.code, 2);
}
