//! What `inspect` reads of a file: ELF headers, dynamic table, symbols, and what `go build` noted.
//!
//! seeds: tests/data/memory/*/executable.bin
//! max_len: 65536
#![no_main]

use goinit::go::buildinfo::{self, BuildInfo};
use goinit::go::elf::Elf;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = buildinfo::release(&String::from_utf8_lossy(&data[..data.len().min(64)]));
    let _ = buildinfo::godebug(&String::from_utf8_lossy(data), "containermaxprocs");
    let Ok(elf) = Elf::read(&data) else { return };
    let dynamic = elf.dynamic(&data);
    assert!(dynamic.needed.len() <= 1024, "a table has a limit");
    let _ = (elf.interpreter(&data), elf.mapped_end(), elf.machine_name(), elf.has_symbols());
    let _ = elf.symbol(&data, "runtime.text");
    if let Some(info) = BuildInfo::read(&elf, &data) {
        assert!(!info.version.is_empty(), "a version, or no Go program");
        let _ = (info.release(), info.setting("GOOS"));
    }
});
