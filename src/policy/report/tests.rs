use super::*;

const DUMP: &str = "SCHED 0ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n\
    waiting\n\
    SCHED 1000ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n\
    SCHED 2000ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n\
    SCHED 3000ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n\
    SCHED 4000ms: gomaxprocs=2 idleprocs=2 threads=5 spinningthreads=0 idlethreads=2 runqueue=0 [0 0]\n\
    SIGQUIT: quit\nPC=0x46b2e1 m=0 sigcode=0\n\n\
    goroutine 0 gp=0x59e0c0 m=0 mp=0x59ef00 [idle]:\nruntime.futex(0x59f048)\n\t/go/src/runtime/sys.s:557 +0x21\n\n\
    goroutine 1 gp=0xc000002380 m=nil [chan receive]:\nruntime.gopark(0x0)\n\t/go/src/runtime/proc.go:460 +0xce\n\
    main.wait(...)\n\t/opt/app/main.go:31\nmain.main()\n\t/opt/app/main.go:44 +0x5c\n\nexit status 2\n";

fn read(parts: &[&[u8]]) -> Vec<Source> {
    let mut reader = Reader::new();
    parts.iter().for_each(|part| reader.feed(part));
    reader.end()
}

fn told(story: &Story) -> String {
    let told = verdict(story, None).unwrap_or_default();
    format!("{}/{} {}", told.class, told.cause, told.place.unwrap_or_default())
}

const STUCK: &str = "stalled/channel main.wait (/opt/app/main.go:31)";

/// Every line with what a collector puts before it.
fn wrapped(head: impl Fn(usize) -> String) -> String {
    DUMP.lines().enumerate().map(|(n, line)| format!("{}{line}\n", head(n))).collect()
}

fn stamp(second: usize) -> String {
    format!("2026-03-02T09:{:02}:{:02}.120345678Z", second / 60, second % 60)
}

#[test]
fn any_wrapping_tells_the_same() {
    let json = |text: &str| serde_json::Value::from(text).to_string();
    let docker: String = DUMP
        .split_inclusive('\n')
        .map(|line| format!("{{\"log\":{},\"stream\":\"stderr\"}}\n", json(line)))
        .collect();
    let pieces: String = DUMP
        .lines()
        .enumerate()
        .flat_map(|(n, line)| {
            let (a, b) = line.split_at(line.len() / 2);
            [("P", a), ("F", b)].map(|(tag, text)| format!("{} stderr {tag} {text}\n", stamp(n)))
        })
        .collect();
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(DUMP.replace('\n', "\r\n").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    for log in [
        DUMP.as_bytes().to_vec(),
        DUMP.replace('\n', "\r\n").into_bytes(),
        wrapped(|n| format!("{} ", stamp(n))).into_bytes(),
        wrapped(|n| format!("[pod/a/b] {} ", stamp(n))).into_bytes(),
        wrapped(|_| "[pod/a/b] ".to_owned()).into_bytes(),
        // Read as a whole by its collector.
        wrapped(|_| format!("{} ", stamp(0))).into_bytes(),
        wrapped(|n| format!("{} stderr F ", stamp(n))).into_bytes(),
        docker.into_bytes(),
        pieces.into_bytes(),
        utf16,
    ] {
        for chunk in [1, 13, 100_000] {
            let parts: Vec<&[u8]> = log.chunks(chunk).collect();
            let sources = read(&parts);
            assert_eq!(sources.len(), 1, "{}", String::from_utf8_lossy(&log));
            let story = &sources[0].runs[0];
            let shown = String::from_utf8_lossy(log.get(..120).unwrap_or_default()).into_owned();
            assert_eq!((story.snapshots, story.goroutines, story.lines), (5, 1, 2), "{shown}");
            assert_eq!(told(story), STUCK, "{shown}");
        }
    }
}

#[test]
fn pods_in_one_log_are_told_apart() {
    let log: String = DUMP
        .lines()
        .flat_map(|line| [format!("[pod/a/x] {line}\n"), "[pod/b/x] I am well\n".to_owned()])
        .collect();
    let sources = read(&[log.as_bytes()]);
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["pod/a/x", "pod/b/x"]);
    assert_eq!(told(&sources[0].runs[0]), STUCK);
    assert_eq!(told(&sources[1].runs[0]), "ok/finished ");
}

fn record(run: &str, seq: u64, name: &str, fields: &str) -> String {
    format!(
        "{{\"timestamp\":\"2026-03-02T09:14:{seq:02}.000000000Z\",\"severity\":\"INFO\",\
         \"message\":\"{name} {seq}\",\"event_name\":\"{name}\",\"origin\":\"goinit\",\
         \"goinit\":{{\"run\":\"{run}\",\"seq\":{seq}}}{fields}}}\n"
    )
}

const FOUND: &str = ",\"verdict\":{\"class\":\"stalled\",\"cause\":\"init\",\"confidence\":\"likely\",\
    \"where\":\"app/db.init.0 (/src/db.go:3)\"}";

#[test]
fn goinit_s_own_verdict_stands() {
    let run = "9f2c61d0";
    let log = [
        record(run, 1, "goinit.start", ""),
        record(run, 2, "goinit.stall", ",\"stall\":{\"kind\":\"idle\",\"for_ms\":3000}"),
        record(run, 3, "goinit.verdict", FOUND),
        record(
            run,
            4,
            "goinit.exit",
            ",\"exit\":{\"code\":123,\"cause\":\"stall\",\"by\":\"goinit\"}",
        ),
    ];
    let sources = read(&[log.concat().as_bytes()]);
    let story = &sources[0].runs[0];
    assert_eq!(told(story), "stalled/init app/db.init.0 (/src/db.go:3)");
    assert_eq!((story.exit.code, verdict(story, None).unwrap().basis), (Some(123), "record"));
    // The end is cut off, then the beginning.
    assert_eq!(told(&read(&[log[..3].concat().as_bytes()])[0].runs[0]), told(story));
    let late = read(&[log[2..].concat().as_bytes()]);
    assert_eq!(told(&late[0].runs[0]), told(story));
    assert!(late[0].runs[0].own.as_ref().unwrap().headless);
    // Without the verdict, what was seen is judged anew.
    let without = [&log[0], &log[1]].map(String::as_str).concat();
    let again = read(&[without.as_bytes()]);
    assert_eq!(verdict(&again[0].runs[0], None).unwrap().basis, "replay");
}

#[test]
fn a_stall_that_has_passed_is_no_verdict() {
    let run = "9f2c61d0";
    let log = [
        record(run, 1, "goinit.start", ""),
        record(run, 2, "goinit.stall", ",\"stall\":{\"kind\":\"idle\",\"for_ms\":3000}"),
        record(run, 3, "goinit.verdict", FOUND),
        record(run, 4, "goinit.recover", ""),
        record(
            run,
            5,
            "goinit.exit",
            ",\"process\":{\"exit\":{\"code\":0}},\"exit\":{\"code\":0,\"cause\":\"completed\",\"by\":\"child\"}",
        ),
    ];
    assert_eq!(told(&read(&[log.concat().as_bytes()])[0].runs[0]), "ok/finished ");
}

#[test]
fn runs_are_told_apart_and_forged_records_are_not_believed() {
    let ok = ",\"process\":{\"exit\":{\"code\":0}},\"exit\":{\"code\":0,\"cause\":\"completed\",\"by\":\"child\"}";
    let (first, second, forged) = ("11111111", "22222222", "deadbeef");
    let log = [
        record(first, 1, "goinit.start", ""),
        record(first, 2, "goinit.exit", ok),
        record(second, 1, "goinit.start", ""),
        record(second, 2, "child.line", ""),
        // Another run that never began, a number that was there, a jump ahead, and a beginning.
        record(forged, 7, "goinit.verdict", FOUND),
        record(second, 1, "goinit.verdict", FOUND),
        record(second, 50, "goinit.exit", ok),
        record(second, 3, "child.line", ""),
        record(forged, 1, "goinit.verdict", FOUND),
        record(second, 4, "child.line", ""),
        record(second, 6, "child.line", ""),
        record(second, 7, "goinit.exit", ok),
    ];
    let sources = read(&[log.concat().as_bytes()]);
    let runs = &sources[0].runs;
    assert_eq!(runs.len(), 2);
    let own = runs[1].own.as_ref().unwrap();
    assert_eq!((own.run.as_str(), own.suspects, own.lost, own.records), (second, 4, 1, 6 + 1));
    assert_eq!(told(&runs[1]), "ok/finished ");
}

#[test]
fn a_run_whose_beginning_is_lost_is_believed_when_it_goes_on() {
    let (first, second) = ("11111111", "22222222");
    let log = [
        record(first, 1, "goinit.start", ""),
        record(second, 5, "child.line", ""),
        record(second, 6, "child.line", ""),
        record(second, 7, "child.line", ""),
        record(second, 8, "goinit.verdict", FOUND),
    ];
    let runs = &read(&[log.concat().as_bytes()])[0].runs;
    let own = runs[1].own.as_ref().unwrap();
    assert_eq!((runs.len(), own.headless, own.seq), (2, true, 8));
    assert!(told(&runs[1]).starts_with("stalled/init"));
}

#[test]
fn records_on_the_other_stream_are_the_program_s() {
    let (run, text) = ("9f2c61d0", |stream: &str, line: &str| {
        format!("2026-03-02T09:14:07.12Z {stream} F {line}")
    });
    let log = [
        text("stderr", &record(run, 1, "goinit.start", "")),
        text("stdout", &record(run, 2, "goinit.verdict", FOUND)),
        text("stderr", &record(run, 2, "child.line", "")),
    ];
    let story = &read(&[log.concat().as_bytes()])[0].runs[0];
    assert!(story.told.is_none());
    assert_eq!(story.own.as_ref().unwrap().suspects, 1);
}

#[test]
fn an_end_that_somebody_knows_counts() {
    let sources = read(&[b"loaded 8 MiB\n"]);
    let story = &sources[0].runs[0];
    assert_eq!(told(story), "ok/finished ");
    let kill = crate::exit::Ending::Signalled { signal: crate::units::Signal::KILL, core: false };
    let given = |ending, oom| verdict(story, Some(Given { ending, oom })).unwrap();
    assert_eq!(given(kill, true).cause, "oom");
    assert_eq!(given(crate::exit::Ending::Exited(3), false).cause, "exit-code");
    assert_eq!(given(crate::exit::Ending::Exited(0), false).confidence, "certain");
}

#[test]
fn an_empty_log_has_no_verdict() {
    assert_eq!(verdict(&read(&[b""])[0].runs[0], None), None);
}

#[test]
fn what_was_no_go_program_is_none_in_a_replay() {
    use crate::policy::evidence::{Probe, Why};
    let why = Why::Unsupported(crate::go::program::Refused::NotGo.to_string());
    let missing = serde_json::json!({"missing": [format!("goroutines: {why}")]});
    let last = serde_json::json!({"goinit": {"evidence": missing}, "thread": {"idle": 3}});
    let mut testimony = evidence::Testimony::default();
    testimony.take("stall-1", "goinit.thread", &last);
    assert_eq!(testimony.evidence(crate::units::Pid(7)).goroutines, Probe::Missing(why));
}

#[test]
fn an_end_that_was_asked_for_is_told_as_it_was_and_the_runtime_s_goroutines_are_known() {
    let of_runtime = r#","goroutines":{"count":1,"state":"GC sweep wait","frames":["runtime.bgsweep /go/mgc.go:1"],"created_by":"runtime.gcenable /go/mgc.go:2"}"#;
    let own = r#","goroutines":{"count":1,"state":"sleep","frames":["main.main /a.go:1"]}"#;
    let exit = r#","process":{"pid":7,"exit":{"code":143,"signal":"SIGTERM"}},"exit":{"code":143,"cause":"signal","by":"signal"},"verdict":{"class":"stopped","cause":"signal"}"#;
    let dumped = |seq, fields| {
        let record = record("aaaaaaaa", seq, "go.goroutines", fields);
        record.replace("\"origin\":\"goinit\"", "\"origin\":\"runtime\"")
    };
    let log = [
        record("aaaaaaaa", 1, "goinit.start", ""),
        dumped(2, of_runtime),
        dumped(3, own),
        record("aaaaaaaa", 4, "goinit.exit", exit),
    ]
    .concat()
    .replace("goinit.exit 4", "ended as asked; exit code 143");
    let sources = read(&[log.as_bytes()]);
    let story = &sources[0].runs[0];
    let found = verdict(story, None).unwrap();
    assert_eq!((found.class.as_str(), found.sentence.as_str()), ("stopped", "ended as asked"));
    assert_eq!(found.next.as_deref(), Some("nothing"));
    let system: Vec<_> = story.stacks.iter().map(|stack| stack.system).collect();
    assert_eq!(system, [true, false]);
    assert_eq!(story.exit.words().as_deref(), Some("exit code 143: SIGTERM"));
}
