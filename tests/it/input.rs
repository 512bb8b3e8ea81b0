//! Odd bytes on the program's stderr: nothing is lost, nothing breaks.

use crate::run::{VERSION, ended, run, said, whole};
use crate::support::{Done, Run, TempDir, program};
use serde_json::Value;
use std::fs;

/// Runs something that writes exactly these bytes to its stderr, in one write and in small ones.
fn written(bytes: &[u8]) -> [Done; 2] {
    let place = TempDir::new();
    let file = place.path("bytes");
    fs::write(&file, bytes).unwrap();
    let by = |size: &str| {
        let run = Run::goinit().env("GOINIT_TERMINATION_LOG", "none").arg("--");
        run.args(["sh", "-c", "exec dd if=\"$0\" bs=\"$1\" status=none >&2"]).arg(&file).arg(size)
    };
    [by("1M").finish(), by("7").finish()].map(|done| {
        whole(&done);
        ended(&done, 0, "completed", "child");
        done
    })
}

/// The lines of the program, put together from their pieces.
fn lines(done: &Done) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for record in done.named("child.line") {
        let text = record["message"].as_str().unwrap();
        assert!(record.to_string().len() <= 8_000, "a record of {}", record.to_string().len());
        match lines.last_mut() {
            Some(last) if record["child"]["continues"] == true => last.push_str(text),
            _ => lines.push(text.to_owned()),
        }
    }
    lines
}

/// Every line of `bytes` is a line of the log.
#[track_caller]
fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let expected: Vec<_> = text.trim_end_matches('\n').split('\n').map(str::to_owned).collect();
    for done in written(bytes) {
        let lines = lines(&done);
        let same = lines == expected;
        let sizes: Vec<_> = lines.iter().map(String::len).collect();
        assert!(same, "{} lines of {} ({sizes:?})", lines.len(), expected.len());
    }
}

#[test]
fn garbage_in_place_of_runtime_output_stays_text() {
    check(b"SCHED 12ms: gomaxprocs=abc this is not from the runtime\nSCHED \nSCHED\n");
    check(b"SCHED 99999999999999999999ms: gomaxprocs=2 idleprocs=1 threads=4\nafter\n");
    check(b"init \ninit x @\ngc 1 @\ngoroutine \nplain\n");
    check(b"goroutine 7 [run]\n\nplain\n\n\nblank lines stay\n");
    check(b"SCHED 1ms: gomaxprocs=2 idleprocs=1 thr");
}

#[test]
fn an_imitated_goroutine_keeps_every_byte_even_when_it_is_written_in_pieces() {
    let bytes = b"goroutine 7 [running]:\nmain.fake()\n\t/app/fake.go:1 +0x1\n\nplain\n";
    let [whole, pieces] = written(bytes);
    let expected = ["goroutine 7 [running]:", "main.fake()", "\t/app/fake.go:1 +0x1", "", "plain"];
    assert_eq!(lines(&whole), expected);
    // The runtime does not cut a header there, so pieces look like those of several writers and
    // may come out in another order.
    let sorted = |lines: &[String]| {
        let mut bytes = lines.concat().into_bytes();
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(sorted(&lines(&pieces)), sorted(&expected.map(str::to_owned)));
}

#[test]
fn nul_and_invalid_utf_8_are_marked_and_the_rest_of_the_line_is_kept() {
    check(b"nul \0 inside \0\0\nbell \x07 escape \x1b[31m delete \x7f\n");
    let bytes = b"caf\xe9 \x80\xbf \xc0\xaf \xed\xa0\x80 end\nclean\n";
    check(bytes);
    for done in written(bytes) {
        let records = done.named("child.line");
        let marks: Vec<_> = records
            .iter()
            .map(|record| record["child"]["lossy"] == true || record["lossy"] == true)
            .collect();
        assert_eq!(marks, [true, false], "{}", done.stderr());
    }
}

#[test]
fn a_line_of_a_megabyte_arrives_in_pieces_that_add_up() {
    let mut bytes: Vec<u8> =
        (0u32..1 << 18).flat_map(|n| format!("{n:04x}").into_bytes()).collect();
    bytes.truncate(1 << 20);
    bytes.extend_from_slice(b"\nafter\n");
    check(&bytes);
}

#[test]
fn json_passes_through_byte_for_byte_and_imitations_are_wrapped() {
    let own = "{\"level\": \"info\",  \"n\":1.0e3, \"u\":\"\\u00e9\"}";
    let forged = "{\"event_name\":\"goinit.exit\",\"exit\":{\"code\":0}}";
    for done in written(format!("{own}\n{forged}\n").as_bytes()) {
        assert!(done.stderr().lines().any(|line| line == own), "{}", done.stderr());
        let wrapped = done.named("child.line");
        assert_eq!(wrapped.len(), 1, "{}", done.stderr());
        assert_eq!(wrapped[0]["message"], forged);
        assert_eq!(done.named("goinit.exit").len(), 1, "{}", done.stderr());
    }
}

/// The log of one run of goinit is the stderr of a program under another.
#[test]
fn records_of_goinit_itself_are_not_believed_from_the_program() {
    let inner = Run::goinit().args(["--termination-log=none", "--", "sh", "-c"]);
    let inner = inner.arg("echo word >&2; exit 3").finish().expect_code(3);
    let forged: Vec<_> = inner.stderr().lines().map(str::to_owned).collect();
    assert!(forged.len() > 3, "{forged:?}");
    for done in written(inner.stderr_bytes()) {
        let wrapped = done.named("child.line");
        assert_eq!(lines(&done), forged);
        let marked = wrapped.iter().filter(|record| record["child"]["forged"] == true);
        let marked = marked.chain(wrapped.iter().filter(|record| record["forged"] == true));
        assert_eq!(marked.count(), forged.len(), "{}", done.stderr());
        let exit = &done.named("goinit.exit")[0];
        assert_eq!(exit["counters"]["forged_suspects"], forged.len(), "{exit}");
    }
}

#[test]
fn the_severity_that_a_line_states_is_the_records() {
    const LINES: [(&str, &str); 9] = [
        ("E1124 10:00:00.000000       1 x.go:3] klog", "ERROR"),
        ("F1124 10:00:00.000000       1 x.go:3] klog", "ERROR"),
        ("W1124 10:00:00.000000       1 x.go:3] klog", "WARN"),
        ("I1124 10:00:00.000000       1 x.go:3] klog", "INFO"),
        ("time=2026-11-24T10:00:00Z level=ERROR msg=slog", "ERROR"),
        ("time=\"2026-11-24\" level=warning msg=logrus", "WARN"),
        ("ts=2026-11-24T10:00:00Z level=debug msg=kit", "DEBUG"),
        ("level=fatal msg=logrus", "ERROR"),
        ("Every1124 is no head, and neither is E112 x", "INFO"),
    ];
    let text: String = LINES.iter().map(|(line, _)| format!("{line}\n")).collect();
    for done in written(text.as_bytes()) {
        let found = done.named("child.line");
        let found = found.iter().map(|r| (message(r), r["severity"].as_str().unwrap()));
        assert_eq!(found.collect::<Vec<_>>(), LINES);
    }
}

#[test]
fn a_go_program_that_writes_everything_odd_loses_nothing() {
    let Some(odd) = program("odd-bytes", VERSION) else { return };
    let done = run(&["--schedtrace=200ms", "--sched-log=all"], &odd).finish();
    whole(&done);
    ended(&done, 0, "completed", "child");
    for text in ["plain line", "broken json", "split over three writes", "nul \0 inside, \0\0"] {
        assert!(done.records().iter().any(|record| message(record).contains(text)), "{text}");
    }
    assert!(said(&done, "the last line has no newline at its end"), "{}", done.stderr());
    let digits: usize =
        lines(&done).iter().map(|line| line.matches("0123456789abcdef").count()).sum();
    assert_eq!(digits, 1 << 16, "of the line of 1 MiB");
    assert!(done.named("go.sched").len() > 3, "snapshots were lost among it");
    let torn = lines(&done).iter().any(|line| line.contains("spinningthreads="));
    assert!(!torn, "a snapshot of the runtime ended up in the program's text: {}", done.stderr());
}

fn message(record: &Value) -> &str {
    record["message"].as_str().unwrap_or_default()
}
