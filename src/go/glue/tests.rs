use crate::go::entry::Entry;
use crate::go::line::{Assembler, Framing};
use crate::go::snapshot::Snapshot;
use std::collections::BTreeMap;

fn figures(snapshot: &Snapshot) -> String {
    format!(
        "SCHED {}ms: gomaxprocs={} idleprocs={} threads={} spinningthreads={} idlethreads={} \
         runqueue={} {:?} {:?}",
        snapshot.uptime_ms,
        snapshot.gomaxprocs,
        snapshot.idleprocs,
        snapshot.threads,
        snapshot.spinningthreads,
        snapshot.idlethreads,
        snapshot.runqueue,
        snapshot.local,
        snapshot.schedticks,
    )
}

fn entries<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut found = Vec::new();
    let mut take = |entry: Entry<'_>| {
        found.push(match entry {
            Entry::Sched(snapshot) => figures(&snapshot),
            Entry::Damaged(_) => "damaged".to_owned(),
            Entry::Text(text) => String::from_utf8_lossy(text.bytes).into_owned(),
            Entry::Json(line) => String::from_utf8_lossy(line.bytes).into_owned(),
            Entry::Init(_)
            | Entry::Gc(..)
            | Entry::Crash(_)
            | Entry::Goroutines(_)
            | Entry::DumpEnd(_) => "a trace".to_owned(),
        });
    };
    let mut assembler = Assembler::new(Framing::Packets);
    for read in reads {
        assembler.feed(read, &mut take);
    }
    assembler.end(&mut take);
    found
}

/// Reads are separated by bars; what comes out by its beginning, up to the given words.
fn check(reads: &str, expected: &[&str]) {
    let found = entries(reads.split('|').map(str::as_bytes));
    let alike = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(alike, "{reads:?}\n{found:#?}");
}

const RECORD: &str = "SCHED 12ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 \
    idlethreads=2 runqueue=3 [0, 1] []";
const TAIL: &str = " spinningthreads=|0| idlethreads=|2| runqueue=|3| |[|0| |1|]\n";

#[test]
fn pieces_behind_a_line_go_on_with_the_record() {
    for cut in [
        "SCHED |12|ms: gomaxprocs=|one\n2| idleprocs=|1| threads=|5",
        "one\nSCHED |12|ms: gomaxprocs=|2| idleprocs=|1| threads=|5",
        "one\nSCHED 12|ms: gomaxprocs=|2| idleprocs=|1| threads=|5",
        "SCHED |one\n12|ms: gomaxprocs=|2| idleprocs=|1| threads=|5",
        "SCHED |12|ms: gomaxprocs=|2|one\n idleprocs=1 threads=5",
    ] {
        check(&format!("{cut}|{TAIL}"), &["one", RECORD]);
    }
    check(
        &format!("one\nSCHED 12ms: gomaxprocs=two\n2three\n idleprocs=1 threads=|5|{TAIL}"),
        &["one", "two", "three", RECORD],
    );
}

#[test]
fn a_line_that_begins_with_figures_is_a_line() {
    let head = "one\nSCHED 12ms: gomaxprocs=2 idleprocs=";
    for line in ["2026/11/24 01:02:03 two", "01:02:03 two"] {
        check(&format!("{head}{line}\n|1| threads=|5|{TAIL}"), &["one", line, RECORD]);
        check(&format!("{head}1{line}\n threads=|5|{TAIL}"), &["one", line, RECORD]);
        check(&format!("{head}|{line}\n1| threads=|5|{TAIL}"), &["one", line, RECORD]);
    }
}

#[test]
fn a_figure_that_may_be_another_makes_no_snapshot() {
    // 12, 1 and 122 threads.
    let head = "one\nSCHED 12ms: gomaxprocs=2 idleprocs=1 threads=";
    check(&format!("{head}12two\n|{TAIL}"), &["one", "two", "damaged"]);
    check(&format!("{head}122026/11/24 two\n|{TAIL}"), &["one", "2026/11/24 two", "damaged"]);
    // The figure was the beginning of the line, as the next one tells.
    let found = entries(format!("{head}4two\n|5|{TAIL}").split('|').map(str::as_bytes));
    assert!(!found.iter().any(|entry| entry.contains("threads=4 ")), "{found:?}");
}

#[test]
fn what_comes_next_tells_what_stood_between_two_lines() {
    let head = "one\nSCHED 12ms: gomaxprocs=2 idleprocs=1 threads=5 spinningthreads=0 \
        idlethreads=2 runqueue=";
    check(&format!("{head}|two\n3three\n| |[|0| |1|]\n"), &["one", "two", "three", RECORD]);
    check(&format!("{head}|two\n3three\n|3| |[|0| |1|]\n"), &["one", "two", "3three", RECORD]);
    check(
        &format!("{head}|3|two\n [x] three\n| |[|0| |1|]\n"),
        &["one", "two", " [x] three", RECORD],
    );
}

#[test]
fn a_write_of_several_lines_stays_as_it_is() {
    let write = "goroutine 7 [running]:\n  1: two\n17\n SCHED is a word\n[\n  3\n]\n";
    let lines: Vec<_> = write.lines().collect();
    for head in ["SCHED |12|ms: gomaxprocs=|2| idleprocs=|", "SCHED |"] {
        let rest = format!("12|ms: gomaxprocs=|2| idleprocs=|1| threads=|5|{TAIL}");
        let rest = rest.strip_prefix(head.strip_prefix("SCHED |").unwrap()).unwrap();
        let mut expected = lines.clone();
        expected.push(RECORD);
        check(&format!("{head}{write}|{rest}"), &expected);
    }
}

#[test]
fn pieces_behind_more_than_a_packet_are_pieces() {
    let line = "x".repeat(99);
    let many = format!("{line}\n").repeat(50);
    let mut expected = vec![line.as_str(); 50];
    expected.push(RECORD);
    check(&format!("SCHED |12|{many}ms: gomaxprocs=2| idleprocs=|1| threads=|5|{TAIL}"), &expected);
}

/// A pipe as fs/pipe.c has it, for writes that are small.
#[derive(Default)]
struct Pipe {
    /// What a buffer holds, and whether others may be merged into it.
    buffers: Vec<(Vec<u8>, bool)>,
}

impl Pipe {
    fn write(&mut self, bytes: &[u8], packet: bool) {
        match self.buffers.last_mut() {
            Some((last, true)) if last.len() + bytes.len() <= 4096 => last.extend(bytes),
            _ => self.buffers.push((bytes.to_vec(), !packet)),
        }
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let packet = self.buffers.iter().position(|(_, merges)| !merges);
        let end = packet.map_or(self.buffers.len(), |at| at + 1);
        let read: Vec<u8> = self.buffers.drain(..end).flat_map(|(bytes, _)| bytes).collect();
        (!read.is_empty()).then_some(read)
    }
}

/// Numbers that are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn pieces(uptime: u64, dice: &mut Dice) -> Vec<String> {
    let mut all = vec!["SCHED ".to_owned(), uptime.to_string()];
    let mut key = |key: &str, value: u64| all.extend([key.to_owned(), value.to_string()]);
    key("ms: gomaxprocs=", 2);
    key(" idleprocs=", dice.below(3));
    key(" threads=", 5 + dice.below(12));
    key(" spinningthreads=", dice.below(2));
    key(" needspinning=", dice.below(2));
    key(" idlethreads=", dice.below(5));
    key(" runqueue=", dice.below(30));
    let (one, two) = (dice.below(3).to_string(), dice.below(3).to_string());
    let ticks = [uptime * 77, uptime * 83].map(|ticks| ticks.to_string());
    let lists =
        [" ", "[ ", &one, " ", &two, " ]", " schedticks=[ ", &ticks[0], " ", &ticks[1], " ", "]\n"];
    all.extend(lists.map(str::to_owned));
    all
}

fn line(number: u64, dice: &mut Dice) -> String {
    match dice.below(6) {
        0 => format!("2026/11/24 01:02:03 line {number}\n"),
        1 => format!("[line] {number}, threads=4 idlethreads=2\n"),
        2 => format!("line {number} of two\n    and {number} of two\n"),
        _ => format!("line {number} of an entrypoint\n"),
    }
}

#[test]
fn snapshots_and_lines_come_out_of_any_reads_and_none_is_invented() {
    let (mut records, mut lost, mut lines, mut torn) = (0, 0, 0, 0);
    for seed in 0..10 {
        let mut dice = Dice(seed);
        let mut pipe = Pipe::default();
        let (mut reads, mut truth) = (Vec::new(), BTreeMap::<String, i64>::new());
        for number in 0..100 {
            let record = pieces(number * 5, &mut dice);
            let (snapshot, _) = super::parse(record.concat().trim_end().as_bytes()).unwrap();
            *truth.entry(figures(&snapshot)).or_default() += 1;
            for (at, piece) in record.iter().enumerate() {
                if dice.below(8) == 0 {
                    let line = line(number * 100 + u64::try_from(at).unwrap(), &mut dice);
                    pipe.write(line.as_bytes(), false);
                    line.lines().for_each(|line| *truth.entry(line.to_owned()).or_default() += 1);
                }
                pipe.write(piece.as_bytes(), true);
                while dice.below(5) > 0 {
                    reads.extend(pipe.read());
                }
            }
        }
        reads.extend(std::iter::from_fn(|| pipe.read()));
        let all: i64 = truth.values().sum();
        for found in entries(reads.iter().map(Vec::as_slice)) {
            *truth.entry(found).or_default() -= 1;
        }
        let record = |what: &&str| what.starts_with("SCHED ") && what.contains(" runqueue=");
        let invented: Vec<_> = truth.iter().filter(|(_, count)| **count < 0).collect();
        assert!(!invented.iter().any(|(what, _)| record(&what.as_str())), "{seed}: {invented:#?}");
        let missing = |records: bool| -> i64 {
            let some = truth.iter().filter(|(what, _)| record(&what.as_str()) == records);
            some.map(|(_, count)| (*count).max(0)).sum()
        };
        (records, lost) = (records + 100, lost + missing(true));
        (lines, torn) = (lines + all - 100, torn + missing(false));
    }
    assert!(lost * 25 < records, "{lost} of {records} snapshots");
    assert!(torn * 100 < lines, "{torn} of {lines} lines");
}
