//! The grammars of single lines: snapshots, inittrace, gctrace, JSON. What a grammar accepts it
//! accepts again with a key to come behind it, and nothing panics.
//!
//! seeds: ../shared/corpus/go/*-all-*.log
//! max_len: 2048
#![no_main]

use goinit::go::{gc, init, json, sched};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let _ = init::parse(line);
        let _ = gc::parse(line);
        if json::is_object(line) {
            assert!(serde_json::from_slice::<serde_json::Value>(line).is_ok() || !line.is_ascii());
        }
        let Some((snapshot, _)) = sched::parse(line) else { continue };
        assert!(snapshot.idleprocs <= snapshot.gomaxprocs);
        if let Some(longer) = line.strip_suffix(b"]") {
            let longer = [longer, b"] newkey=7"].concat();
            assert_eq!(sched::parse(&longer).map(|(again, _)| again), Some(snapshot));
        }
    }
});
