//! A large dump into which sysmon prints its own snapshots, read as a stream: real programs of
//! several versions, the truth is the dump of the same program without traces.

use crate::support::{PROJECT, program, wait_for};
use goinit::go::dump::Frame;
use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Goroutines of the program; enough that sysmon comes in between many times.
const CROWD: &str = "1000";
/// Dumps of which one at least has to end: with traces a runtime can lock itself up.
const ATTEMPTS: usize = 4;

/// What was found in a dump.
#[derive(Debug, Default)]
struct Found {
    groups: HashMap<String, u64>,
    goroutines: u64,
    ungrouped: u64,
    /// Snapshots after the crash has begun.
    inside: u64,
}

/// The standard error of a crowd that is asked for a dump, taken from a pipe; nothing if it hangs.
fn dump(program: &Path, debug: &str) -> Option<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(["parked", CROWD]).env("GODEBUG", debug);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    assert!(crate::support::kill(child.id(), 3));
    let ended = wait_for(Duration::from_secs(60), || child.try_wait().unwrap()).is_some();
    if !ended {
        child.kill().unwrap();
        assert!(wait_for(Duration::from_secs(20), || child.try_wait().unwrap()).is_some());
    }
    let bytes = reader.join().unwrap();
    ended.then_some(bytes)
}

fn read(bytes: &[u8]) -> Found {
    let mut found = Found::default();
    let mut crashed = false;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let frame = |frame: Frame<'_>| format!("{} {}", text(frame.function), text(frame.place));
    let mut take = |entry: Entry<'_>| match entry {
        Entry::Sched(_) => found.inside += u64::from(crashed),
        Entry::Crash(_) => crashed = true,
        Entry::Goroutines(group) => {
            let frames: Vec<String> = group.frames().map(frame).collect();
            let creator = group.created_by().map(frame).unwrap_or_default();
            let key = format!("[{}] {} by {creator}", text(group.state()), frames.join(" < "));
            // Where the main goroutine and those of the runtime are is a matter of luck.
            if frames.iter().any(|frame| frame.starts_with("main.parked")) {
                *found.groups.entry(key).or_default() += group.count();
            } else if group.count() > 1 || !key.contains("runtime.") {
                found.groups.insert(key, group.count());
            }
        }
        Entry::DumpEnd(totals) => {
            found.goroutines += totals.goroutines;
            found.ungrouped += totals.ungrouped;
        }
        _ => {}
    };
    let mut assembler = Assembler::new(Framing::Stream);
    bytes.chunks(65_536).for_each(|chunk| assembler.feed(chunk, &mut take));
    assembler.end(&mut take);
    found
}

fn check(version: &str, debug: &str) {
    let Some(program) = program("crowd", version) else { return };
    let truth = read(&dump(&program, "").unwrap());
    assert_eq!(truth.ungrouped, 0, "{version}: {truth:?}");
    let torn = (0..ATTEMPTS).find_map(|_| {
        let bytes = dump(&program, debug)?;
        let found = read(&bytes);
        (found.inside > 3).then_some((bytes, found))
    });
    let (bytes, found) = torn.unwrap_or_else(|| panic!("{version} {debug}: sysmon kept still"));
    let wrong: u64 = found
        .groups
        .iter()
        .map(|(key, count)| count.saturating_sub(truth.groups.get(key).copied().unwrap_or(0)))
        .sum();
    let right: u64 = found.groups.values().sum::<u64>() - wrong;
    let all: u64 = truth.groups.values().sum();
    println!(
        "Go {version} {debug}: {} snapshots inside, {right} of {all} goroutines in their group, \
         {wrong} in another, {} of {} counted, {} in none; {} groups, {} without traces",
        found.inside,
        found.goroutines,
        truth.goroutines,
        found.ungrouped,
        found.groups.len(),
        truth.groups.len(),
    );
    // Torn lines that are taken for whole ones make hundreds of groups out of a few.
    let made_up = found.groups.len() > truth.groups.len() + 8;
    if made_up || wrong > all / 100 || right * 100 < all * 90 {
        // For a look at what was torn how.
        let kept = format!("{PROJECT}/target/tmp/torn-{version}");
        fs::write(&kept, &bytes).unwrap();
        panic!("{kept}: {:?}", found.groups);
    }
    assert!(found.goroutines.abs_diff(truth.goroutines) <= all / 100);
}

#[test]
fn a_dump_that_snapshots_stand_in_gives_the_groups_of_one_without() {
    for version in ["1.19", "1.21", "1.25", "1.27"] {
        check(version, "schedtrace=10");
        check(version, "schedtrace=10,scheddetail=1");
    }
}
