//! A recorded program of which some bytes are damaged: in its executable (function table, names,
//! code), in its memory (goroutines, stacks, locks, module data). No panic, and an end.
//!
//! An input is the number of a recording and then damage: where (4 bytes), what (1 byte).
//! max_len: 1024
#![no_main]

#[path = "common/look.rs"]
mod look;

use goinit::go::elf::Elf;
use goinit::go::image::Image;
use goinit::go::memory::Recorded;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

macro_rules! recording {
    ($name:literal) => {
        (
            include_bytes!(concat!("../../tests/data/memory/", $name, "/executable.bin")).as_slice(),
            include_bytes!(concat!("../../tests/data/memory/", $name, "/memory.bin")).as_slice(),
        )
    };
}

struct Recording {
    /// Ranges of the executable that are kept; damage elsewhere would be in vain.
    kept: Vec<(usize, usize)>,
    executable: Vec<u8>,
    memory: Recorded,
}

static RECORDINGS: LazyLock<Vec<Recording>> = LazyLock::new(|| {
    let all = [recording!("1.19"), recording!("1.24"), recording!("1.27"), recording!("1.27-arm64")];
    all.into_iter()
        .map(|(executable, memory)| {
            let sparse = Recorded::from_bytes(executable).expect("a recording");
            let kept: Vec<(usize, usize)> =
                sparse.ranges().iter().map(|(at, bytes)| (*at as usize, bytes.len())).collect();
            let end = kept.last().map_or(0, |(at, length)| at + length);
            let mut whole = vec![0u8; end];
            for (at, bytes) in sparse.ranges() {
                whole[*at as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            let memory = Recorded::from_bytes(memory).expect("a recording");
            Recording { kept, executable: whole, memory }
        })
        .collect()
});

/// The place that is the `number`th byte of all ranges.
fn place(ranges: impl Iterator<Item = (usize, usize)> + Clone, number: usize) -> usize {
    let total: usize = ranges.clone().map(|(_, length)| length).sum();
    let mut left = number % total.max(1);
    for (at, length) in ranges {
        if left < length {
            return at + left;
        }
        left -= length;
    }
    0
}

fuzz_target!(|data: &[u8]| {
    let Some((which, damage)) = data.split_first() else { return };
    let recording = &RECORDINGS[usize::from(*which) % RECORDINGS.len()];
    let mut executable = recording.executable.clone();
    let mut ranges = recording.memory.ranges().to_vec();
    for piece in damage.chunks_exact(5) {
        let number = u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]);
        let at = (number >> 1) as usize;
        if number & 1 == 0 {
            executable[place(recording.kept.iter().copied(), at)] = piece[4];
        } else {
            let lengths = ranges.iter().enumerate().map(|(slot, (_, bytes))| (slot << 32, bytes.len()));
            let found = place(lengths, at);
            ranges[found >> 32].1[found & 0xffff_ffff] = piece[4];
        }
    }
    let mut memory = Recorded::default();
    for (at, bytes) in &ranges {
        memory.add(*at, bytes);
    }
    memory.settle();
    let Ok(elf) = Elf::read(&executable.as_slice()) else { return };
    let Some(image) = Image::of_file(&elf, &executable, 0) else { return };
    let found = look::look(image, &memory);
    assert!(found || !damage.is_empty(), "the recording itself is a program");
});
