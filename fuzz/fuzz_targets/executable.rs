//! An executable of any content in memory of the same content: ELF headers, sections, function
//! table, inlining trees, build information.
//!
//! seeds: tests/data/memory/*/executable.bin
//! max_len: 65536
#![no_main]

#[path = "common/look.rs"]
mod look;

use goinit::go::elf::Elf;
use goinit::go::image::Image;
use goinit::go::memory::Recorded;
use libfuzzer_sys::fuzz_target;

/// The largest executable that sparse ranges may stand for.
const SIZE: usize = 4 << 20;

fuzz_target!(|data: &[u8]| {
    let mut file = data.to_vec();
    if let Some(sparse) = Recorded::from_bytes(data) {
        file.clear();
        for (at, bytes) in sparse.ranges() {
            let at = usize::try_from(*at).unwrap_or(usize::MAX);
            let Some(end) = at.checked_add(bytes.len()).filter(|end| *end <= SIZE) else { continue };
            if file.len() < end {
                file.resize(end, 0);
            }
            file[at..end].copy_from_slice(bytes);
        }
    }
    let Ok(elf) = Elf::read(&file.as_slice()) else { return };
    let Some(image) = Image::of_file(&elf, &file, 0) else { return };
    let mut memory = Recorded::default();
    for part in &image.parts {
        memory.add(part.start, part.bytes);
    }
    memory.settle();
    look::look(image, &memory);
});
