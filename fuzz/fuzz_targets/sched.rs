//! The grammar of a snapshot's line: what it accepts it accepts again with a key to come behind it.
//!
//! seeds: ../shared/corpus/go/*-all-*.log
//! max_len: 1024
#![no_main]

use goinit::go::sched;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for line in data.split(|byte| *byte == b'\n') {
        let Some((snapshot, _)) = sched::parse(line) else { continue };
        assert!(snapshot.idleprocs <= snapshot.gomaxprocs);
        if let Some(longer) = line.strip_suffix(b"]") {
            let longer = [longer, b"] newkey=7"].concat();
            let mut again = sched::parse(&longer).map(|(again, _)| again).expect("a key more");
            // The bracket was the end of a word, if that of no list.
            if again.more.starts_with(&snapshot.more) {
                again.more.clone_from(&snapshot.more);
            }
            assert_eq!(again, snapshot);
        }
    }
});
