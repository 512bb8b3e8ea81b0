//! `goinit report` on logs of live runs: what the run itself concluded comes out again, whatever
//! has been done to the log meanwhile. And on files as people have them.

use crate::run::run;
use crate::support::{self, Done, Group, Run, TempDir, program};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

const VERSIONS: [&str; 2] = ["1.21", "1.27"];

/// `goinit report --json` on standard input.
#[track_caller]
fn report(log: &[u8]) -> Value {
    let mut all = reports(log);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn reports(log: &[u8]) -> Vec<Value> {
    let done = Run::goinit().args(["report", "--json", "-"]).stdin(log).finish().expect_code(0);
    done.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Class, cause and place as the run itself recorded them: the verdict on its end if it ended by
/// itself, else the last one that was given.
fn live(done: &Done) -> (String, Value) {
    let exit = done.named("goinit.exit").pop().unwrap_or_default();
    let last = done.verdict();
    let own = if exit["exit"]["by"] == "goinit" { &last } else { &exit };
    let word = |key: &str| own["verdict"][key].as_str().unwrap_or_default().to_owned();
    let same = last["verdict"]["cause"] == own["verdict"]["cause"];
    let place = if same { last["verdict"]["where"].clone() } else { Value::Null };
    (format!("{}/{}", word("class"), word("cause")), place)
}

fn told(report: &Value) -> (String, Value) {
    let verdict = &report["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
    (format!("{}/{}", word("class"), word("cause")), verdict["where"].clone())
}

/// Runs that end in every way, and what each is.
fn runs() -> &'static [(String, &'static str, Done)] {
    static RUNS: OnceLock<Vec<(String, &'static str, Done)>> = OnceLock::new();
    RUNS.get_or_init(run_all)
}

fn run_all() -> Vec<(String, &'static str, Done)> {
    let hang = &["--stall-after=1s", "--on-stall=exit", "--timeout=5s", "--grace=1s"][..];
    let cases: [(&str, &str, &[&str], &'static str); 8] = [
        ("chan-recv", "", hang, "stalled/channel"),
        ("init-chan-recv", "", hang, "stalled/init"),
        ("flock-wait", "", hang, "stalled/file-lock"),
        ("init-tcp-connect", "", hang, "stalled/init-connect"),
        ("ok-short", "", &["--stall-after=5s"], "ok/finished"),
        ("crash", "nil", &[], "crashed/panic"),
        ("crash", "exit", &[], "crashed/exit-code"),
        ("oom-kill", "", &[], "killed/oom"),
    ];
    let mut started = Vec::new();
    for version in VERSIONS {
        for (name, mode, options, truth) in cases {
            let Some(path) = program(name, version) else { continue };
            let mut run = run(options, &path).env("SCN_MODE", mode);
            let group = (name == "oom-kill").then(|| Group::memory(64 << 20));
            match &group {
                Some(None) => continue,
                Some(Some(group)) => run = run.in_group(group),
                None => {}
            }
            started.push((format!("{name} {mode} {version}"), truth, run.start(), group));
        }
    }
    let ended = started.into_iter().map(|(name, truth, started, group)| {
        let done = started.wait(Duration::from_secs(60));
        drop(group);
        (name, truth, done)
    });
    ended.collect()
}

fn stamped(log: &[u8], head: &str) -> Vec<u8> {
    let lines = log.split_inclusive(|byte| *byte == b'\n').enumerate();
    lines
        .flat_map(|(n, line)| {
            let stamp = format!("2026-03-02T09:{:02}:{:02}.120345678Z", n / 60 % 60, n % 60);
            [head.replace("TIME", &stamp).as_bytes(), line].concat()
        })
        .collect()
}

fn docker(log: &[u8]) -> Vec<u8> {
    let lines = log.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| {
            let text = Value::from(String::from_utf8_lossy(line));
            let line = format!(
                "{{\"log\":{text},\"stream\":\"stderr\",\"time\":\"2026-03-02T09:14:07.1Z\"}}\n"
            );
            line.into_bytes()
        })
        .collect()
}

fn gzipped(log: &[u8]) -> Vec<u8> {
    // Two members, as `cat a.gz b.gz` makes them.
    let (first, second) = log.split_at(log.len() / 2);
    [first, second]
        .into_iter()
        .flat_map(|part| {
            let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
            gz.write_all(part).unwrap();
            gz.finish().unwrap()
        })
        .collect()
}

fn lines(log: &[u8]) -> Vec<&[u8]> {
    log.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Without its first half, but for the last verdict and what follows it.
fn cut(log: &[u8]) -> Vec<u8> {
    let all = lines(log);
    let holds = |line: &&[u8]| memchr(line, b"\"event_name\":\"goinit.verdict\"");
    let last = all.iter().rposition(holds).unwrap_or(all.len() - 1);
    all[last.min(all.len() / 2)..].concat()
}

fn memchr(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|window| window == word)
}

/// With lines of others between, one of which imitates a verdict.
fn mixed(log: &[u8]) -> Vec<u8> {
    let forged = br#"{"timestamp":"2026-03-02T09:14:07.120345678Z","severity":"INFO","message":"all is well","event_name":"goinit.verdict","origin":"goinit","goinit":{"run":"00000000","seq":9},"verdict":{"class":"ok","cause":"serving"}}
"#;
    lines(log)
        .into_iter()
        .flat_map(|line| [b"some other line\n", line, &forged[..]].concat())
        .collect()
}

#[test]
fn a_log_gives_the_verdict_that_the_live_run_gave() {
    let mut wrong = Vec::new();
    for (name, truth, done) in runs() {
        let log = done.stderr_bytes();
        let (verdict, place) = live(done);
        if verdict != *truth {
            wrong.push(format!("{name}: the live run says {verdict}, not {truth}"));
        }
        let forms = [
            ("as it is", log.to_vec()),
            ("kubectl", stamped(log, "[pod/api/migrate] TIME ")),
            ("cri", stamped(log, "TIME stderr F ")),
            ("docker", docker(log)),
            ("gz", gzipped(log)),
            ("windows", String::from_utf8_lossy(log).replace('\n', "\r\n").into_bytes()),
            ("cut", cut(log)),
            ("mixed", mixed(log)),
        ];
        for (form, bytes) in forms {
            let found = report(&bytes);
            if told(&found) != (verdict.clone(), place.clone()) {
                wrong.push(format!("{name}, {form}: {} live {verdict} {place}", found["verdict"]));
            }
            let suspects = found["run"]["suspects"].as_u64().unwrap_or(0);
            if (suspects > 0) != (form == "mixed") {
                wrong.push(format!("{name}, {form}: {suspects} suspects"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The record of the verdict and all that follows is lost; what it was made from is there.
#[test]
fn evidence_in_a_log_is_judged_as_the_live_evidence_was() {
    let mut wrong = Vec::new();
    for (name, truth, done) in runs() {
        let (verdict, _) = live(done);
        if !verdict.starts_with("stalled/") || verdict != *truth {
            continue;
        }
        let records = lines(done.stderr_bytes());
        let judged = |line: &&[u8]| memchr(line, b"\"event_name\":\"goinit.verdict\"");
        let at = records.iter().position(judged).unwrap();
        let found = report(&records[..at].concat());
        if told(&found).0 != verdict || found["verdict"]["basis"] != "replay" {
            wrong.push(format!("{name}: {} live {verdict}", found["verdict"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Files, rotation, compression, errors.
#[test]
fn files_are_read_as_people_have_them() {
    let place = TempDir::new();
    let beat = |ms: u64| {
        format!(
            "SCHED {ms}ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n"
        )
    };
    let part = |range: std::ops::Range<u64>| range.map(|n| beat(n * 1_000)).collect::<String>();
    let put = |name: &str, bytes: &[u8]| std::fs::write(place.path(name), bytes).unwrap();
    put("app.log", part(40..60).as_bytes());
    put("app.log.1", part(20..40).as_bytes());
    put("app.log.2.gz", &gzipped(part(0..20).as_bytes()));
    put("other.log", b"hello\n");
    put("packed.zst", &[0x28, 0xb5, 0x2f, 0xfd, 0]);
    put("short.gz", &gzipped(part(0..2_000).as_bytes())[..2_000]);
    let report = |options: &[&str], names: &[&str]| {
        let files = names.iter().map(|name| place.path(name));
        Run::goinit().arg("report").args(options).args(files).finish()
    };
    let objects = |done: &Done| -> Vec<Value> {
        done.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let done = report(&["--json"], &["app.log", "other.log", "app.log.2.gz", "app.log.1"]);
    let all = objects(&done.expect_code(0));
    assert_eq!(all.len(), 2, "{all:?}");
    assert_eq!((&all[0]["sched_records"], &all[0]["duration_ms"]), (&60.into(), &59_000.into()));
    assert_eq!(all[0]["runtimes"], 1, "the parts are in order");
    assert_eq!(all[0]["verdict"]["class"], "stalled");
    let each = report(&["--json", "--each"], &["app.log", "app.log.1"]);
    assert_eq!(objects(&each).len(), 2);
    let join = report(&["--json", "--join"], &["app.log", "other.log"]);
    assert_eq!(objects(&join).len(), 1);

    let check = |names: &[&str], code: i32, words: &[&str]| {
        let done = report(&[], names).expect_code(code);
        let text = done.stderr();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?}: {text}");
    };
    check(&["nowhere.log"], 125, &["nowhere.log", "no such file"]);
    check(&["packed.zst"], 125, &["compressed with zstd", "zstd -dc"]);
    check(&["short.gz"], 125, &["ends too early", "what came before was read"]);
    check(&["."], 125, &["directory"]);
    let table = report(&[], &["app.log", "other.log"]).expect_code(0).stdout();
    assert!(table.starts_with("CLASS") && table.contains("stalled"), "{table}");
    let usage = |args: &[&str]| Run::goinit().arg("report").args(args).finish().expect_code(125);
    assert!(usage(&[]).stderr().contains("no file given"));
    assert!(usage(&["--jsn", "-"]).stderr().contains("unknown flag --jsn"));
    assert!(usage(&["--exit=banana", "-"]).stderr().contains("OOMKilled"));
    assert_eq!(report(&["--fail"], &["app.log"]).code, 1);
    let program = support::goinit();
    let done = Run::goinit().arg("report").arg(&program).finish().expect_code(125);
    assert!(done.stderr().contains("goinit inspect"), "{}", done.stderr());
}

#[test]
fn the_text_begins_with_the_verdict_and_carries_no_control_characters() {
    let log = b"SCHED 0ms: gomaxprocs=1 idleprocs=1 threads=3 spinningthreads=0 idlethreads=1 \
        runqueue=0 [0]\nevil \x1b[31m line\npanic: boom \x1b]0;title\x07\n\ngoroutine 1 [running]:\n\
        main.main()\n\t/src/main.go:3 +0x1\nexit status 2\n";
    let done = Run::goinit().args(["report", "-"]).stdin(log).finish().expect_code(0);
    let text = done.stdout();
    assert!(text.starts_with("CRASHED   "), "{text}");
    assert!(text.contains("main.main") && text.contains("/src/main.go:3"), "{text}");
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let narrow = Run::goinit().args(["report", "-"]).env("COLUMNS", "60").stdin(log).finish();
    let wide = |line: &str| line.chars().count() > 60;
    assert!(!narrow.stdout().lines().any(wide), "{}", narrow.stdout());
    assert!(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/report.md")).exists());
}
