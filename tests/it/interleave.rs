//! Several writers on one standard error, real Go programs of several versions among them: what
//! each thread wrote (strace is the witness) against what was made of the common pipe.
//!
//! In packet mode everything must come out as it was written. In stream mode some records cannot
//! be put together, and none may be invented.

use crate::support::{TempDir, have, program};
use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use goinit::go::snapshot::Snapshot;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// One mixture of writers.
#[derive(Clone, Copy, Debug)]
struct Mix {
    version: &'static str,
    runtimes: u32,
    writers: u32,
    rate: u32,
    godebug: &'static str,
    ends: &'static str,
    /// Writers that open /dev/stderr anew: for `each` line, or once (`kept`).
    reopen: &'static str,
}

/// Figures of one text line or record, each with how often it was written (+) and found (-).
#[derive(Debug, Default)]
struct Tally(HashMap<String, i64>);

impl Tally {
    fn add(&mut self, what: String, count: i64) {
        *self.0.entry(what).or_default() += count;
    }

    fn extend(&mut self, other: Self) {
        for (what, count) in other.0 {
            self.add(what, count);
        }
    }

    /// Sum of what was written and not found, and of what was found and not written.
    fn differences(&self) -> (i64, i64) {
        let missing = self.0.values().filter(|count| **count > 0).sum();
        let invented: i64 = self.0.values().filter(|count| **count < 0).sum();
        (missing, -invented)
    }

    fn examples(&self) -> String {
        let wrong = self.0.iter().filter(|(_, count)| **count != 0).take(12);
        wrong.map(|(what, count)| format!("{count:+} {what}\n")).collect()
    }
}

/// The first of the descriptors of the writers that open /dev/stderr anew.
const REOPENED: u32 = 100;

/// The threads' writes: for each of them everything it wrote to the common pipe.
fn witnessed(directory: &Path) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let mut bytes = Vec::new();
        for line in fs::read_to_string(entry.unwrap().path()).unwrap().lines() {
            let Some((number, rest)) =
                line.strip_prefix("write(").and_then(|rest| rest.split_once(", \""))
            else {
                continue;
            };
            let number: u32 = number.parse().unwrap();
            if number != 2 && number < REOPENED {
                continue;
            }
            let (hex, rest) = rest.split_once('"').unwrap();
            // At the end of a process the witness does not see what became of a write.
            let failed = rest.contains("= -1 ");
            let written = rest.rsplit("= ").next().unwrap().parse();
            let written = written.unwrap_or(if failed { 0 } else { usize::MAX });
            let digits = hex.split("\\x").skip(1).take(written);
            bytes.extend(digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()));
        }
        all.push(bytes);
    }
    all
}

/// The numbers of a SCHED line in order, words as numbers: the truth without the parser's help.
fn numbers(line: &str) -> String {
    let line = line.replace("=true", "=1").replace("=false", "=0").replace("=nil", "=-1");
    let digits = line.split(|c: char| !c.is_ascii_digit() && c != '-');
    let all: Vec<_> = digits.filter(|word| !word.is_empty()).collect();
    // With scheddetail the line ends in flags of which not all are kept.
    let detailed = line.contains("gcwaiting=");
    let kept = if detailed { 7 + usize::from(line.contains("needspinning=")) } else { all.len() };
    all[..kept].join(" ")
}

/// The same of a snapshot.
fn figures(snapshot: &Snapshot) -> String {
    let fixed =
        [snapshot.gomaxprocs, snapshot.idleprocs, snapshot.threads, snapshot.spinningthreads];
    let mut all: Vec<String> = vec![snapshot.uptime_ms.to_string()];
    all.extend(fixed.iter().map(u32::to_string));
    all.extend(snapshot.needspinning.map(|count| count.to_string()));
    all.extend([snapshot.idlethreads, snapshot.runqueue].map(|count| count.to_string()));
    all.extend(snapshot.local.iter().chain(&snapshot.schedticks).map(u32::to_string));
    all.join(" ")
}

/// What was written: (records, lines of the writers, lines of inittrace, goroutine headers).
fn truth(threads: &[Vec<u8>]) -> [Tally; 4] {
    let [mut records, mut lines, mut inits, mut dumps] = <[Tally; 4]>::default();
    for bytes in threads {
        // A process that was ended in the middle of a line did not write that line.
        let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
        for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
            if line.starts_with("SCHED ") {
                records.add(numbers(line), 1);
            } else if line.starts_with(['<', '{', '[']) || line.contains("<r") {
                lines.add(line.to_owned(), 1);
            } else if line.starts_with("init ") {
                inits.add(line.split(' ').nth(1).unwrap().to_owned(), 1);
            } else if line.starts_with("goroutine ") {
                dumps.add("goroutine".to_owned(), 1);
            }
        }
    }
    [records, lines, inits, dumps]
}

/// What is made of the pieces.
fn found<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> ([Tally; 4], i64) {
    let [mut records, mut lines, mut inits, mut dumps] = <[Tally; 4]>::default();
    let mut damaged = 0;
    let mut assembler = Assembler::new(framing);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut take = |entry: Entry<'_>| match entry {
        Entry::Sched(snapshot) => records.add(figures(&snapshot), -1),
        Entry::Damaged(_) => damaged += 1,
        Entry::Text(line) => lines.add(text(line.bytes), -1),
        Entry::Json(line) => lines.add(text(line.bytes), -1),
        Entry::Init(trace) => inits.add(text(trace.package), -1),
        Entry::DumpEnd(totals) => {
            let all = i64::try_from(totals.goroutines + totals.threads).unwrap();
            dumps.add("goroutine".to_owned(), -all);
        }
        Entry::Gc(..) | Entry::Crash(_) | Entry::Goroutines(_) => {}
    };
    for piece in pieces {
        assembler.feed(piece, &mut take);
    }
    assembler.end(&mut take);
    ([records, lines, inits, dumps], damaged)
}

/// The command that runs the mixture under the witness.
fn command(mix: Mix, program: &Path, witness: &Path) -> Vec<String> {
    let mut words: Vec<String> = [
        "strace",
        "-ff",
        "--seccomp-bpf",
        "-qq",
        "-e",
        "trace=write",
        "-e",
        "signal=none",
        "-xx",
        "-s",
        "70000",
        "-o",
    ]
    .map(str::to_owned)
    .into();
    words.push(witness.join("t").display().to_string());
    words.push("env".to_owned());
    for (name, value) in [
        ("GODEBUG", String::new()),
        ("TANGLE_GODEBUG", mix.godebug.to_owned()),
        ("TANGLE_RUNTIMES", mix.runtimes.to_string()),
        ("TANGLE_WRITERS", mix.writers.to_string()),
        ("TANGLE_RATE", mix.rate.to_string()),
        ("TANGLE_ENDS", mix.ends.to_owned()),
        ("TANGLE_REOPEN", mix.reopen.to_owned()),
    ] {
        words.push(format!("{name}={value}"));
    }
    words.push(program.display().to_string());
    words
}

/// Runs the mixture on a packet pipe; every packet as it came.
fn recorded(mix: Mix, program: &Path, witness: &Path) -> Vec<Vec<u8>> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_DIRECT | OFlag::O_CLOEXEC).unwrap();
    fcntl(reader.as_fd(), FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
    let words = command(mix, program, witness);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut packets = Vec::new();
    let mut reader = fs::File::from(reader);
    let mut buffer = vec![0; 1 << 16];
    while let Ok(length @ 1..) = reader.read(&mut buffer) {
        packets.push(buffer[..length].to_vec());
    }
    assert!(
        crate::support::wait_for(Duration::from_secs(20), || child.try_wait().unwrap()).is_some()
    );
    packets
}

fn subtract(truth: [Tally; 4], found: [Tally; 4]) -> [Tally; 4] {
    let mut both = truth;
    for (all, found) in both.iter_mut().zip(found) {
        all.extend(found);
    }
    both
}

const ALL: &str = "schedtrace=1,inittrace=1";
const SLOW: &str = "schedtrace=20,inittrace=1";

/// What the test runs; `GOINIT_INTERLEAVE=2` runs the third of them only.
fn mixes() -> Vec<Mix> {
    let mix = |version, runtimes, writers, rate, ends| Mix {
        version,
        runtimes,
        writers,
        rate,
        // Under the witness's eyes a record takes longer than a millisecond to print.
        godebug: if runtimes > 1 { SLOW } else { ALL },
        ends,
        reopen: "",
    };
    let anew = |version, reopen, writers, rate| Mix {
        godebug: "schedtrace=5",
        reopen,
        ..mix(version, 1, writers, rate, "busy")
    };
    let all = vec![
        mix("1.19", 1, 2, 0, "exit"),
        mix("1.24", 1, 3, 2000, "panic"),
        mix("1.27", 1, 2, 0, "quit"),
        mix("1.25", 2, 1, 500, "exit,panic"),
        mix("1.21", 2, 1, 0, "deadlock,exit"),
        anew("1.21", "each", 0, 3000),
        anew("1.25", "kept", 0, 3000),
        anew("1.27", "each,kept", 1, 1000),
    ];
    match std::env::var("GOINIT_INTERLEAVE").ok().and_then(|which| which.parse::<usize>().ok()) {
        Some(which) => vec![all[which]],
        None => all,
    }
}

/// What of everything was not found, and what was found that was not there.
fn compare(
    mix: Mix,
    framing: Framing,
    threads: &[Vec<u8>],
    packets: &[Vec<u8>],
) -> [(i64, i64); 4] {
    let stream = packets.concat();
    let (found, damaged) = match framing {
        Framing::Packets => found(framing, packets.iter().map(Vec::as_slice)),
        Framing::Stream => found(framing, stream.chunks(1 << 16)),
    };
    let both = subtract(truth(threads), found);
    let figures = [0, 1, 2, 3].map(|at: usize| both[at].differences());
    println!(
        "{mix:?} {framing:?}: missing and invented records, lines, init lines, goroutines: {figures:?}, damaged {damaged}"
    );
    if framing == Framing::Packets {
        println!("{}", both.iter().map(Tally::examples).collect::<String>());
    } else {
        println!("{}", both[0].examples());
    }
    figures
}

#[test]
fn what_was_written_comes_out_of_the_common_pipe() {
    if !have("strace") {
        return;
    }
    for mix in mixes() {
        let Some(program) = program("tangle", mix.version) else { return };
        // Where a write falls is the scheduler's choice: what is asked for has to come out of one
        // of a few recordings, and nothing of it may be wrong in all of them.
        let faults: Vec<_> = (0..ATTEMPTS).map_while(|_| fault(mix, &program)).collect();
        assert!(faults.len() < ATTEMPTS, "{mix:?}: {faults:?}");
    }
}

/// Recordings of one mixture.
const ATTEMPTS: usize = 4;

/// What is wrong with what came out of one recording.
fn fault(mix: Mix, program: &Path) -> Option<&'static str> {
    let place = TempDir::new();
    let witness = place.path("witness");
    fs::create_dir(&witness).unwrap();
    let packets = recorded(mix, program, &witness);
    let threads = witnessed(&witness);
    let written: i64 = truth(&threads)[0].0.values().sum();
    println!("{written} records in {} packets", packets.len());
    assert!(written > 20, "{mix:?}: too little was written to say anything");
    let [records, lines, inits, dumps] = compare(mix, Framing::Packets, &threads, &packets);
    let of_stream = compare(mix, Framing::Stream, &threads, &packets);
    // Whatever cannot be told is damaged: no figures of two runtimes in one record, ever.
    assert_eq!(records.1, 0, "{mix:?}: records that nobody wrote");
    // Runtimes come and go here, and one that ends in the middle of a record can leave the next
    // three in doubt.
    let doubt = written / 20;
    let faults = [
        (of_stream[0].1 > doubt, "invented records in the stream"),
        (mix.runtimes == 1 && records.0 > doubt, "records"),
        (mix.runtimes == 1 && (lines.0 > 2 || lines.1 > 4), "lines of others"),
        (mix.runtimes == 1 && (inits.0 > 2 || dumps.0 > 2), "init lines, goroutines"),
    ];
    faults.into_iter().find_map(|(wrong, what)| wrong.then_some(what))
}
