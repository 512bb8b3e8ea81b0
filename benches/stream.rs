//! What understanding a program's stderr costs, without pipes: `cargo bench --bench stream`.
//!
//! Every row is the median of several rounds, all rows taking turns, in MiB of input a second of
//! CPU time, so that whoever else runs disturbs little. The anchor is a search for line ends in the
//! same bytes (memchr), which any reader of lines has to do. `GOINIT_BENCH_DUMP=FILE` takes a
//! captured dump instead of the one that is made here, in the words of Go 1.25, of 100,000
//! goroutines in four groups. `cargo bench --bench stream -- JSON` measures only the rows with that
//! word.
//! The way through real pipes is measured by `benches/inits.py`.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use goinit::policy::config::{SchedLog, Stderr};
use goinit::policy::journal::Journal;
use goinit::policy::outbox::Outbox;
use goinit::sys::cputime::of_process;
use goinit::units::{Mono, Now, Pid, Wall};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

/// Bytes of a read from the pipe, as the loop makes it.
const READ: usize = 64 << 10;
const ROUNDS: usize = 9;

/// A job, its input, and what it does with it; gives how many entries came out.
type Row<'a> = (&'a str, &'a [u8], fn(&[u8]) -> u64);

fn main() {
    let before = peak_kib();
    let dump = std::env::var_os("GOINIT_BENCH_DUMP")
        .map_or_else(|| dump().into_bytes(), |path| std::fs::read(path).expect("a dump"));
    println!("dump of {} goroutines", count(&dump, b"\ngoroutine "));
    let after_input = peak_kib();
    let found = entries(&dump);
    let grown = peak_kib().saturating_sub(after_input);
    println!("{found} entries; reading it took {grown} KiB of memory beyond the input");
    let (text, json, sched) = (text(), json(), sched());
    let rows: [Row<'_>; 6] = [
        ("line ends of the dump (anchor)", &dump, line_ends),
        ("dump, parsed and grouped", &dump, entries),
        ("text, 120 bytes a line", &text, records),
        ("text, line ends (anchor)", &text, line_ends),
        ("JSON, passed through", &json, records),
        ("snapshots, parsed", &sched, entries),
    ];
    let word = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let rows: Vec<_> = rows.into_iter().filter(|(name, ..)| name.contains(&word)).collect();
    let mut times = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, input, work), times) in rows.iter().zip(&mut times) {
            let start = cpu();
            black_box(work(black_box(input)));
            times.push((cpu() - start).as_secs_f64());
        }
    }
    println!("MiB a second of CPU time, median [smallest..largest]");
    for ((name, input, work), times) in rows.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let rate = |index: usize| {
            let seconds = times.get(index).copied().unwrap_or(f64::NAN);
            f64::from(u32::try_from(input.len() >> 10).unwrap_or(0)) / 1024.0 / seconds
        };
        let (low, middle, high) = (rate(ROUNDS - 1), rate(ROUNDS / 2), rate(0));
        let each = middle * 1_048_576.0 / f64::from(u32::try_from(input.len()).unwrap_or(1));
        let of = f64::from(u32::try_from(work(input)).unwrap_or(0)) * each / 1e6;
        println!(
            "{name:<32} {middle:>7.0} [{low:.0}..{high:.0}]  {of:.2} million results a second"
        );
    }
    println!("peak memory {} KiB, {before} at the start", peak_kib());
}

/// CPU time of this process so far; it has one thread.
fn cpu() -> Duration {
    let pid = i32::try_from(std::process::id()).expect("a pid");
    Duration::from_nanos(of_process(Pid(pid)).expect("a clock"))
}

fn line_ends(input: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', input).map(|_| 1).sum()
}

/// Lines to entries, goroutines grouped while they are read.
fn entries(input: &[u8]) -> u64 {
    let mut assembler = Assembler::new(Framing::Stream);
    let mut found = 0;
    let mut out = |entry: Entry<'_>| {
        black_box(&entry);
        found += 1;
    };
    for read in input.chunks(READ) {
        assembler.feed(read, &mut out);
    }
    assembler.end(&mut out);
    found
}

/// Lines to rendered records of the log.
fn records(input: &[u8]) -> u64 {
    let mut assembler = Assembler::new(Framing::Stream);
    let mut journal = Journal::new(Stderr::Auto, SchedLog::Change);
    let mut outbox = Outbox::new(7);
    let mut found = 0;
    for (turn, read) in (0u64..).zip(input.chunks(READ)) {
        let now = Now { mono: Mono(turn), wall: Wall(1_790_000_000_000_000_000 + turn) };
        assembler.feed(read, &mut |entry| {
            journal.write(now, &entry, &mut outbox);
            found += 1;
        });
        black_box(outbox.records().map(|(_, record)| record.len()).sum::<usize>());
        outbox.clear();
    }
    found
}

fn count(bytes: &[u8], needle: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, needle).count()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// A SIGQUIT dump as Go 1.25 prints it.
fn dump() -> String {
    let mut text = String::from("SIGQUIT: quit\nPC=0x47d3a1 m=0 sigcode=0\n\n");
    for id in 1..=100_000u64 {
        let (state, function, line) = match id % 4 {
            0 => ("chan receive, 2 minutes", "main.(*pool).get", 88),
            1 => ("select", "main.worker", 31),
            2 => ("sync.Mutex.Lock", "main.(*cache).fill", 140),
            _ => ("IO wait", "net/http.(*conn).serve", 2009),
        };
        let at = 0x00c0_0000_0000_u64 + id * 0x1a0;
        let _ = write!(
            text,
            "goroutine {id} gp=0x{at:x} m=nil [{state}]:\n\
             runtime.gopark(0x{at:x}, 0x{id:x}, 0x0?, 0x17?, 0x1?)\n\
             \t/usr/local/go/src/runtime/proc.go:460 +0xce fp=0x{at:x} sp=0x{at:x} pc=0x443a0e\n\
             {function}(0x{at:x}, {{0x4d2b10, 0x{id:x}}})\n\
             \t/src/shop/pool.go:{line} +0x1b8 fp=0x{at:x} sp=0x{at:x} pc=0x49c3b8\n\
             main.serve.func1()\n\
             \t/src/shop/main.go:54 +0x65 fp=0x{at:x} sp=0x{at:x} pc=0x49d0a5\n\
             runtime.goexit({{}})\n\
             \t/usr/local/go/src/runtime/asm_amd64.s:1693 +0x1 fp=0x{at:x} sp=0x{at:x} pc=0x47b901\n\
             created by main.serve in goroutine 1\n\
             \t/src/shop/main.go:50 +0x3a\n\n"
        );
    }
    text.push_str("rax    0xca\nrbx    0x0\n");
    text
}

fn lines(count: u64, line: impl Fn(u64) -> String) -> Vec<u8> {
    (0..count).flat_map(|number| line(number).into_bytes()).collect()
}

fn text() -> Vec<u8> {
    lines(200_000, |n| {
        format!(
            "2026/11/24 01:02:03 server.go:118: request {n:09} served in 13 ms from cache {:.<39}\n",
            ""
        )
    })
}

fn json() -> Vec<u8> {
    lines(200_000, |n| {
        format!(
            "{{\"level\":\"info\",\"ts\":1790211723.118,\"msg\":\"request served from cache\",\"n\":{n},\"pad\":\"{:.<19}\"}}\n",
            ""
        )
    })
}

fn sched() -> Vec<u8> {
    lines(200_000, |n| {
        format!(
            "SCHED {n}ms: gomaxprocs=4 idleprocs=2 threads=7 spinningthreads=1 needspinning=0 \
             idlethreads=2 runqueue=3 [ 1 0 0 2 ] schedticks=[ {n} 204 188 9 ]\n"
        )
    })
}
