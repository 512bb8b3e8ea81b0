//! Recorded programs: executable and memory of one look, kept sparse, so that the walkers are
//! tested without Go, without a process, and for a machine that is not here.

use super::{build, build_for, compare, end, start};
use crate::support;
use goinit::go::elf::Elf;
use goinit::go::image::Image;
use goinit::go::memory::{Piece, ReadMemory, Recorded};
use goinit::go::print::{self, View};
use goinit::go::program::Program;
use goinit::go::walk::Walker;
use goinit::host::memory::Live;
use goinit::units::Pid;
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Memory that is read and remembered.
struct Recorder {
    live: Live,
    seen: RefCell<Recorded>,
}

impl ReadMemory for Recorder {
    fn read_pieces(&self, pieces: &mut [Piece<'_>]) {
        self.live.read_pieces(pieces);
        for piece in pieces.iter().filter(|piece| piece.got) {
            self.seen.borrow_mut().add(piece.at.0, piece.into);
        }
    }
}

/// Everything a look gives, as text; addresses and times are those of the recording.
fn look(exe: &[u8], memory: &dyn ReadMemory) -> Result<String, String> {
    let elf = Elf::read(&exe).map_err(|why| format!("{why:?}"))?;
    let image = Image::of_file(&elf, exe, 0).ok_or("no image")?;
    let program = Program::locate(image, memory).map_err(|why| why.to_string())?;
    let mut walker = Walker::new(&program, memory);
    walker.read(&|| false);
    walker.find_holders(&[], &|| false);
    let dump = walker.finish();
    let mut text = print::facts(&dump);
    for goroutine in &dump.goroutines {
        print::goroutine(&mut text, &dump, goroutine, View { system: true, now: 0 });
    }
    Ok(text)
}

/// What is recorded: a Go version, and the machine it was built for.
const RECORDED: [&str; 6] = ["1.19", "1.21", "1.24", "1.27", "1.21-arm64", "1.27-arm64"];

/// Records the sample program; its executable must not be relocatable. The recording is kept only
/// if it says what the program's own dump says.
fn record(name: &str) -> Option<(Vec<u8>, Recorded)> {
    let (version, machine) = name.split_once('-').unwrap_or((name, ""));
    let program = if machine == "arm64" {
        // User-mode emulation maps the program's memory at the program's own addresses.
        foreign(version)?
    } else {
        build(version, "stripped")?
    };
    let (mut child, errors) = start(&program);
    let live = Live::new(Pid(i32::try_from(child.id()).unwrap()), None);
    let recorder = Recorder { live, seen: RefCell::default() };
    let exe = fs::read(program.with_extension("exe")).or_else(|_| fs::read(&program)).unwrap();
    let seen = look(&exe, &recorder).unwrap();
    end(&mut child, 3);
    compare(&seen, &errors.text(), name);
    let mut memory = recorder.seen.into_inner();
    memory.settle();
    Some((exe, memory))
}

/// Builds the sample program for 64-bit ARM, with a script beside it that runs it.
fn foreign(version: &str) -> Option<PathBuf> {
    if !support::have("qemu-aarch64") {
        return None;
    }
    let script = build_for("waits", version, "stripped", "arm64")?;
    let exe = script.with_extension("exe");
    fs::rename(&script, &exe).unwrap();
    let text = format!("#!/bin/sh\nexec qemu-aarch64 -B 0 {}\n", exe.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Some(script)
}

/// Deterministic pseudo-random numbers (xorshift64).
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 8).unwrap()
}

fn damaged(memory: &Recorded, random: &mut u64, hits: usize) -> Recorded {
    let mut ranges = memory.ranges().to_vec();
    for _ in 0..hits {
        let number = next(random) % ranges.len();
        let bytes = &mut ranges[number].1;
        let at = next(random) % bytes.len();
        bytes[at] = u8::try_from(next(random) & 0xff).unwrap();
    }
    let mut copy = Recorded::default();
    for (at, bytes) in &ranges {
        copy.add(*at, bytes);
    }
    copy.settle();
    copy
}

/// Damages executable and memory in many ways: no panic, and every look ends soon.
fn torture(exe: &[u8], memory: &Recorded, rounds: u32) {
    let mut random = 0x9e37_79b9_7f4a_7c15;
    for round in 0..rounds {
        let mut bad = exe.to_vec();
        let hits = 1 << (next(&mut random) % 14);
        for _ in 0..if round % 2 == 0 { hits } else { 0 } {
            let at = next(&mut random) % bad.len();
            bad[at] = u8::try_from(next(&mut random) & 0xff).unwrap();
        }
        let memory = damaged(memory, &mut random, if round % 3 == 0 { 0 } else { hits });
        let before = support::now();
        let text = look(&bad, &memory).unwrap_or_default();
        assert!(before.elapsed() < Duration::from_secs(10), "round {round}");
        assert!(text.len() < 64 << 20, "round {round}");
    }
}

fn data() -> PathBuf {
    Path::new(support::PROJECT).join("tests/data/memory")
}

/// An executable of which only some ranges are kept; the rest is zero.
fn expand(sparse: &Recorded) -> Vec<u8> {
    let (last, tail) = sparse.ranges().last().unwrap();
    let mut exe = vec![0u8; usize::try_from(*last).unwrap() + tail.len()];
    for (at, bytes) in sparse.ranges() {
        let at = usize::try_from(*at).unwrap();
        exe[at..at + bytes.len()].copy_from_slice(bytes);
    }
    exe
}

/// Zeroes each block of the executable that the look does not need.
fn sparsify(exe: &mut [u8], memory: &Recorded, expected: &str, block: usize) {
    for at in (64..exe.len()).step_by(block) {
        let end = exe.len().min(at + block);
        if exe[at..end].iter().all(|byte| *byte == 0) {
            continue;
        }
        let kept = exe[at..end].to_vec();
        exe[at..end].fill(0);
        if look(exe, memory).as_deref() != Ok(expected) {
            exe[at..end].copy_from_slice(&kept);
        }
    }
}

/// Records everything anew: `GOINIT_RECORD=1 cargo test --test it -- recorded`; needs qemu-user.
fn record_all() {
    for name in RECORDED {
        let Some((mut exe, memory)) = record(name) else { continue };
        let expected = look(&exe, &memory).unwrap();
        for block in [65536, 4096, 256] {
            sparsify(&mut exe, &memory, &expected, block);
        }
        let mut sparse = Recorded::default();
        for (number, bytes) in exe.chunks(256).enumerate() {
            let last = (number + 1) * 256 >= exe.len();
            if last || bytes.iter().any(|byte| *byte != 0) {
                sparse.add(u64::try_from(number * 256).unwrap(), bytes);
            }
        }
        sparse.settle();
        let place = data().join(name);
        fs::create_dir_all(&place).unwrap();
        fs::write(place.join("executable.bin"), sparse.to_bytes()).unwrap();
        fs::write(place.join("memory.bin"), memory.to_bytes()).unwrap();
        fs::write(place.join("dump.txt"), expected).unwrap();
    }
}

/// A recording: the executable, the memory, what a look must say.
fn recording(name: &str) -> (Vec<u8>, Recorded, String) {
    let file = |part: &str| fs::read(data().join(name).join(part)).unwrap();
    let exe = expand(&Recorded::from_bytes(&file("executable.bin")).unwrap());
    let memory = Recorded::from_bytes(&file("memory.bin")).unwrap();
    (exe, memory, String::from_utf8(file("dump.txt")).unwrap())
}

#[test]
fn a_recorded_program_gives_the_recorded_dump() {
    if std::env::var_os("GOINIT_RECORD").is_some() {
        record_all();
    }
    for name in RECORDED {
        let (exe, memory, expected) = recording(name);
        let text = look(&exe, &memory).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(data().join(name).join("dump.txt"), &text).unwrap();
            continue;
        }
        // The whole text in a failure would hide where it differs.
        let differs = text.lines().zip(expected.lines()).position(|(ours, theirs)| ours != theirs);
        let line = differs.unwrap_or_else(|| expected.lines().count());
        let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
        assert!(text == expected, "{name}:{}: {:?}, {:?}", line + 1, at(&text), at(&expected));
    }
}

#[test]
fn damaged_recordings_give_no_panic_and_an_end() {
    for name in ["1.19", "1.27", "1.27-arm64"] {
        let (exe, memory, _) = recording(name);
        torture(&exe, &memory, 50);
    }
}
