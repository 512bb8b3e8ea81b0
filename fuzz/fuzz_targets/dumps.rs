//! The parser of goroutine dumps: behind the head of a crash any lines are read, with pauses
//! between them, in both framings; the figures add up.
//!
//! seeds: ../shared/corpus/go/crash-*.log
//! seeds: ../shared/corpus/go/chan-*.log
#![no_main]

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for framing in [Framing::Stream, Framing::Packets] {
        let mut assembler = Assembler::new(framing);
        let mut grouped = 0;
        let mut take = |entry: Entry<'_>| match entry {
            Entry::Goroutines(group) => {
                assert!(group.count() > 0 && group.first_ids().len() <= 8);
                grouped += group.count();
                assert!(group.frames().count() <= 128);
            }
            Entry::DumpEnd(totals) => {
                assert_eq!(grouped + totals.ungrouped, totals.goroutines);
                grouped = 0;
            }
            _ => {}
        };
        assembler.feed(b"panic: fuzz\n", &mut take);
        assembler.feed(b"\n", &mut take);
        assembler.feed(b"goroutine 1 [running]:\n", &mut take);
        for (number, line) in data.split_inclusive(|byte| *byte == b'\n').enumerate() {
            assembler.feed(line, &mut take);
            if number % 7 == 6 {
                assembler.idle(&mut take);
            }
        }
        assembler.end(&mut take);
    }
});
