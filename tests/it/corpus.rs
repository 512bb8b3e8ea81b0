//! The captures of real Go programs: what is found in them, against the truth beside them.

use crate::support::skip;
use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use goinit::policy::report::{Reader, verdict};
use std::fmt::Write;
use std::path::PathBuf;

/// One line of expected.tsv.
struct Expected {
    file: String,
    sched_records: u64,
    goroutines: u64,
    threads: Option<u32>,
    zero: u64,
    /// `stalled/channel`
    verdict: String,
}

#[derive(Debug, Default, PartialEq)]
struct Found {
    read: u64,
    damaged: u64,
    goroutines: u64,
    zero: u64,
    max_threads: u32,
}

fn corpus() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpus/go"));
    path.join("expected.tsv").exists().then_some(path)
}

fn expected(corpus: &std::path::Path) -> Vec<Expected> {
    let table = std::fs::read_to_string(corpus.join("expected.tsv")).unwrap();
    let rows = table.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    rows.map(|cells| Expected {
        file: cells[0].into(),
        sched_records: cells[6].parse().unwrap(),
        goroutines: cells[9].parse().unwrap(),
        zero: cells[10].parse().unwrap(),
        threads: cells[11].parse().ok(),
        verdict: format!("{}/{}", cells[12], cells[13]),
    })
    .collect()
}

fn count(bytes: &[u8], chunk: usize) -> Found {
    let mut found = Found::default();
    let mut assembler = Assembler::new(Framing::Stream);
    let mut take = |entry: Entry<'_>| match entry {
        Entry::Sched(snapshot) => {
            found.read += 1;
            found.max_threads = found.max_threads.max(snapshot.threads);
        }
        Entry::Damaged(_) => found.damaged += 1,
        Entry::DumpEnd(totals) => {
            found.goroutines += totals.goroutines;
            found.zero += totals.threads;
        }
        _ => {}
    };
    for chunk in bytes.chunks(chunk) {
        assembler.feed(chunk, &mut take);
    }
    assembler.end(&mut take);
    found
}

#[test]
fn any_chunking_gives_the_same_entries() {
    let Some(corpus) = corpus() else { return skip("no corpus of captures") };
    for expected in expected(&corpus) {
        let bytes = std::fs::read(corpus.join(&expected.file)).unwrap();
        let whole = entries(&bytes, bytes.len().max(1));
        for chunk in [1, 7, 100, 4096] {
            assert!(entries(&bytes, chunk) == whole, "{} in chunks of {chunk}", expected.file);
        }
    }
}

#[test]
fn a_line_that_no_version_prints_is_judged_the_same_in_pieces() {
    let seed = format!("{}/fuzz/seeds/lines/strange-line", crate::support::PROJECT);
    let bytes = std::fs::read(seed).unwrap();
    let whole = entries(&bytes, bytes.len());
    for chunk in 1..64 {
        assert!(entries(&bytes, chunk) == whole, "in chunks of {chunk}");
    }
}

/// Every entry as text, in order.
fn entries(bytes: &[u8], chunk: usize) -> Vec<String> {
    let mut list = Vec::new();
    let mut assembler = Assembler::new(Framing::Stream);
    let mut take = |entry: Entry<'_>| {
        list.push(match entry {
            Entry::Goroutines(group) => format!("{} {:?}", group.count(), group.first_ids()),
            other => format!("{other:?}"),
        });
    };
    for chunk in bytes.chunks(chunk) {
        assembler.feed(chunk, &mut take);
    }
    assembler.end(&mut take);
    list
}

#[test]
fn every_capture_gives_the_records_and_goroutines_that_were_written() {
    let Some(corpus) = corpus() else { return skip("no corpus of captures") };
    let (mut all, mut read, mut damaged, mut wrong) = (0, 0, 0, Vec::new());
    for expected in expected(&corpus) {
        let bytes = std::fs::read(corpus.join(&expected.file)).unwrap();
        let found = count(&bytes, 65_536);
        all += expected.sched_records;
        read += found.read;
        damaged += found.damaged;
        let threads = expected.threads.unwrap_or(found.max_threads);
        if found.goroutines != expected.goroutines
            || found.zero != expected.zero
            || found.max_threads != threads
            || found.read + found.damaged > expected.sched_records
            || (expected.threads.is_some() && found.read + 1 < expected.sched_records)
        {
            wrong.push(format!(
                "{}: {found:?}, written {} goroutines {} zero {} threads {threads}",
                expected.file, expected.sched_records, expected.goroutines, expected.zero
            ));
        }
    }
    println!("{all} records written, {read} read, {damaged} damaged");
    println!("{}", wrong.join("\n"));
    // Where five runtimes print at once some pieces cannot be told apart.
    assert!(read >= 2650 && read + damaged >= 2660 && wrong.is_empty());
}

/// The log alone, as a person has it who was sent one: no /proc, no arrival times, no exit status.
/// What only those tell (an exit code, a signal, the OOM killer, SIGSTOP, a quiet download before
/// Go 1.25) is what is missed here.
#[test]
fn a_report_on_every_capture_finds_what_the_log_alone_tells() {
    let Some(corpus) = corpus() else { return skip("no corpus of captures") };
    let (mut all, mut class, mut cause) = (0, 0, 0);
    let mut wrong = String::new();
    for expected in expected(&corpus) {
        let bytes = std::fs::read(corpus.join(&expected.file)).unwrap();
        let mut reader = Reader::new();
        bytes.chunks(65_536).for_each(|chunk| reader.feed(chunk));
        let sources = reader.end();
        assert_eq!((sources.len(), sources[0].runs.len()), (1, 1), "{}", expected.file);
        let story = &sources[0].runs[0];
        let told = verdict(story, None).unwrap_or_default();
        let found = format!("{}/{}", told.class, told.cause);
        all += 1;
        class += usize::from(told.class == expected.verdict.split('/').next().unwrap());
        cause += usize::from(found == expected.verdict);
        if found != expected.verdict {
            let _ = writeln!(wrong, "{}: {found}, not {}", expected.file, expected.verdict);
        }
        assert_eq!(story.goroutines, expected.goroutines, "{}", expected.file);
        assert!(expected.threads.is_none_or(|threads| story.max_threads == threads));
        assert!(story.snapshots + story.damaged <= expected.sched_records, "{}", expected.file);
    }
    println!("{all} captures: class {class}, cause {cause}\n{wrong}");
    assert!(class * 100 >= all * 92 && cause * 100 >= all * 90, "{class}, {cause} of {all}");
}
