//! The ledger: every byte that a program wrote is in some entry. Lines that did not come out as
//! text must be of the runtime's making by rules that owe nothing to the parsers, and their bytes
//! and numbers must be what the entries say.

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};

/// What a capture holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) goroutines: u64,
    /// Snapshots, packages and collections.
    pub(super) traces: [u64; 3],
    /// Lines of the program, in order.
    pub(super) text: Vec<String>,
    pub(super) lines: u64,
}

/// Sums over the entries.
#[derive(Debug, Default)]
struct Sums {
    found: Found,
    threads: u64,
    frames: u64,
    dump_bytes: u64,
    crashes: u64,
    crash_bytes: u64,
    texts: Vec<Vec<u8>>,
}

fn sums(raw: &[u8]) -> Sums {
    let mut sums = Sums::default();
    let mut take = |entry: Entry<'_>| match entry {
        Entry::Sched(_) => sums.found.traces[0] += 1,
        Entry::Init(_) => sums.found.traces[1] += 1,
        Entry::Gc(..) => sums.found.traces[2] += 1,
        Entry::Crash(head) => {
            let part = |bytes: Option<&[u8]>| bytes.map_or(0, |bytes| bytes.len() as u64 + 1);
            sums.crashes += 1;
            sums.crash_bytes += part(Some(head.message)) + part(head.signal) + part(head.lead);
        }
        Entry::DumpEnd(totals) => {
            assert_eq!(totals.ungrouped, 0);
            sums.found.goroutines += totals.goroutines;
            sums.threads += totals.threads;
            sums.frames += totals.frames;
            sums.dump_bytes += totals.bytes;
        }
        Entry::Goroutines(_) => {}
        Entry::Text(text) => sums.texts.push(text.bytes.to_vec()),
        Entry::Json(line) => sums.texts.push(line.bytes.to_vec()),
        // Words that look like a record and cannot be one.
        Entry::Damaged(bytes) => sums.texts.push(bytes.to_vec()),
    };
    let mut assembler = Assembler::new(Framing::Stream);
    assembler.feed(raw, &mut take);
    assembler.end(&mut take);
    sums
}

/// What an honest reader counts in the lines that are not text.
#[derive(Debug, Default, PartialEq)]
struct Counted {
    goroutines: u64,
    threads: u64,
    frames: u64,
    trace_bytes: u64,
}

/// Takes a capture apart and balances the books.
pub(super) fn read(raw: &[u8], title: &str) -> Found {
    let mut sums = sums(raw);
    let mut texts = sums.texts.iter().peekable();
    let mut rest = Vec::new();
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if texts.peek().is_some_and(|text| text.as_slice() == bare) {
            texts.next();
        } else {
            rest.push(bare);
        }
    }
    let whole = String::from_utf8_lossy(raw);
    assert!(texts.next().is_none(), "{title}: text that nobody wrote\n{whole}");
    let counted = count(&rest);
    let found = Counted {
        goroutines: sums.found.goroutines,
        threads: sums.threads,
        frames: sums.frames,
        ..counted
    };
    assert_eq!(found, counted, "{title}: entries, the lines themselves\n{whole}");
    let consumed: u64 = rest.iter().map(|line| line.len() as u64 + 1).sum();
    let entered = sums.dump_bytes + sums.crash_bytes + counted.trace_bytes;
    // The words before a crash's text, the brackets of its signal, an empty line.
    let slack = sums.crashes * 32;
    assert!(
        (entered..=entered + slack).contains(&consumed),
        "{title}: {consumed} bytes are no text, {entered} in entries: {sums:?}\n{whole}"
    );
    sums.found.lines = sums.texts.len() as u64;
    let texts = sums.texts.iter().map(|text| String::from_utf8_lossy(text).into_owned());
    sums.found.text = texts.collect();
    sums.found
}

fn count(lines: &[&[u8]]) -> Counted {
    let mut counted = Counted::default();
    let (mut inside, mut ancestor) = (false, false);
    for (at, line) in lines.iter().enumerate() {
        let text = String::from_utf8_lossy(line);
        let next = lines.get(at + 1).map(|line| String::from_utf8_lossy(line)).unwrap_or_default();
        let detail = ["  P", "  M", "  G"].iter().any(|head| {
            text.strip_prefix(head)
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        if detail || ["SCHED ", "init ", "gc "].iter().any(|head| text.starts_with(head)) {
            counted.trace_bytes += line.len() as u64 + 1;
        } else if text.starts_with("goroutine ") && text.ends_with("]:") | text.ends_with("}:") {
            (inside, ancestor) = (true, false);
            let thread = text.starts_with("goroutine 0 ");
            counted.threads += u64::from(thread);
            counted.goroutines += u64::from(!thread);
        } else if text.is_empty() {
            inside = false;
        } else if text.starts_with("[originating from goroutine ") {
            ancestor = true;
        } else if inside && !ancestor && !text.starts_with(['\t', '[']) {
            let named = text.ends_with(')') || text.starts_with("non-Go function");
            let c = next.starts_with('\t') && next.contains("pc=0x") && !text.contains(' ');
            let creator = text.starts_with("created by ") || text.ends_with("elided...");
            counted.frames += u64::from((named || c) && !creator);
        }
    }
    counted
}
