//! Nothing of a stream is lost.

use goinit::go::entry::Entry;
use goinit::go::line::{Assembler, Framing};

/// Reads a stream of which nothing may be lost: when it was nothing but text, it comes out byte for
/// byte, whatever was believed of it on the way; where a snapshot may have been torn, in whatever
/// order its pieces were given up. Says how many other entries there were.
pub fn kept(bytes: &[u8]) -> usize {
    let mut text = Vec::new();
    let mut others = 0;
    let mut assembler = Assembler::new(Framing::Stream);
    let mut take = |entry: Entry<'_>| match entry {
        Entry::Text(line) => {
            text.extend_from_slice(line.bytes);
            text.extend((!line.continued && !line.partial).then_some(b'\n'));
        }
        Entry::Json(line) => {
            text.extend_from_slice(line.bytes);
            text.push(b'\n');
        }
        _ => others += 1,
    };
    assembler.feed(bytes, &mut take);
    assembler.end(&mut take);
    if others == 0 {
        // A line that waited for the next one is given back as a whole line.
        let same = text == bytes || text.strip_suffix(b"\n") == Some(bytes);
        let torn = bytes.windows(6).any(|word| word == b"SCHED ");
        assert!(same || (torn && sorted(&text) == sorted(bytes)), "{}", String::from_utf8_lossy(&text));
    }
    others
}

fn sorted(bytes: &[u8]) -> Vec<u8> {
    let mut bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
    bytes.sort_unstable();
    bytes
}
