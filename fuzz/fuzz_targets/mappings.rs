//! Memory of any content, taken for the mappings of a program: function tables, module data, build
//! information and lists of goroutines that a hostile program made up.
//!
//! An input is a recorded image (go::memory::Recorded), or else the bytes of one mapping.
//! seeds: tests/data/memory/*/memory.bin
//! seeds: tests/data/memory/*/executable.bin
//! max_len: 65536
#![no_main]

#[path = "common/look.rs"]
mod look;

use goinit::go::image::Image;
use goinit::go::memory::Recorded;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((machine, bytes)) = data.split_last() else { return };
    let memory = Recorded::from_bytes(bytes).unwrap_or_else(|| {
        let mut memory = Recorded::default();
        memory.add(0x40_0000, bytes);
        memory
    });
    let image = Image::of_mappings(memory.ranges(), machine & 1 == 1);
    look::look(image, &memory);
});
