//! A captured log: any bytes, cut in any way, become stories and verdicts without a panic, and the
//! same ones as the uncut log gives.
//!
//! seeds: ../shared/corpus/go/ok-*.log
//! max_len: 2048
#![no_main]

use goinit::policy::report::{Reader, verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The last byte says how to cut, so that a seed is a plain log.
    let Some((cut, bytes)) = data.split_last() else { return };
    let whole = told(std::iter::once(bytes));
    let chunk = usize::from(cut % 32) + 1;
    assert_eq!(whole, told(bytes.chunks(chunk)), "chunks of {chunk}");
});

fn told<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let mut reader = Reader::new();
    for piece in pieces {
        reader.feed(piece);
    }
    let sources = reader.end();
    let runs = sources.iter().flat_map(|source| source.runs.iter().map(|run| (&source.name, run)));
    runs.map(|(name, run)| {
        let counts = (run.snapshots, run.damaged, run.goroutines, run.lines, run.packages_total);
        format!("{name} {counts:?} {:?} {:?}", run.own, verdict(run, None))
    })
    .collect()
}
