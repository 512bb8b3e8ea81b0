//! The executable of a live process: its file, or when that cannot be used a copy of the
//! mappings that it became. Both give the image that the walkers read.

use super::denied::Denied;
use super::memory::Live;
use crate::go::bytes::u64_at;
use crate::go::elf::{EM_AARCH64, Elf};
use crate::go::image::Image;
use crate::go::memory::ReadMemory;
use crate::go::program::Refused;
use crate::linux::maps::{self, Mapping};
use crate::sys::vm::Mapped;
use crate::units::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

/// Tag of the entry point in the auxiliary vector.
const AT_ENTRY: u64 = 9;
/// Bytes copied out of mappings at most; Debian's prometheus needs 60 MB.
const COPY_BYTES: u64 = 256 << 20;
/// A larger writable mapping is the program's data, not its executable's.
const WRITABLE_BYTES: u64 = 32 << 20;
/// Where Go's heap begins (runtime/malloc.go, `arenaBaseOffset`), and a terabyte of it.
const HEAP: std::ops::Range<u64> = 0xc0_0000_0000..0x1c0_0000_0000;
/// Bytes copied at once.
const BLOCK: usize = 1 << 20;
const PAGE: usize = 4096;

/// Looks at a program whose exec is not through yet.
const TRIES: usize = 200;

/// What was opened right after the program's exec, when everything still could be. Access is
/// checked when these files are opened, and not again.
#[derive(Debug, Default)]
pub struct Early {
    /// Its `/proc/PID/mem`.
    pub memory: Option<File>,
    /// Its `/proc/PID/exe`.
    pub executable: Option<File>,
    /// Its `/proc/PID/auxv`.
    pub vector: Option<File>,
}

impl Early {
    /// Opens what there is of a child that has just been started with vfork(2).
    ///
    /// The parent of a vfork goes on when the child lets go of the common memory, which is a
    /// moment before it has its own (fs/exec.c, `exec_mmap`): until then its executable is ours.
    /// Its auxiliary vector is filled later still, so that is opened now and read when needed.
    #[must_use]
    pub fn open(pid: Pid) -> Self {
        let own = fs::metadata("/proc/self/exe").map(|it| (it.dev(), it.ino())).ok();
        let is_own = |file: &File| file.metadata().map(|it| (it.dev(), it.ino())).ok() == own;
        let open = |name: &str| File::open(format!("/proc/{pid}/{name}")).ok();
        for _ in 0..TRIES {
            let Some(executable) = open("exe") else { break };
            if is_own(&executable) {
                std::thread::yield_now();
                continue;
            }
            let (memory, vector) = (open("mem"), open("auxv"));
            return Self { memory, executable: Some(executable), vector };
        }
        Self::default()
    }

    /// The open files among it, each with its name.
    pub fn files(&self) -> impl Iterator<Item = (&'static str, &File)> {
        let all = [("mem", &self.memory), ("exe", &self.executable), ("auxv", &self.vector)];
        all.into_iter().filter_map(|(name, file)| Some((name, file.as_ref()?)))
    }

    /// Where the execution began, as the auxiliary vector says.
    pub(crate) fn entry(&self) -> Option<u64> {
        let mut vector = [0u8; 4096];
        let length = self.vector.as_ref()?.read_at(&mut vector, 0).ok()?;
        entry_in(vector.get(..length)?)
    }

    /// Drops all of it if the process executes something else by now: its memory file reads as
    /// empty then (fs/proc/base.c, `mem_rw`).
    #[must_use]
    pub fn if_current(self) -> Self {
        let mut byte = [0u8; 1];
        let at = self.entry().unwrap_or(0);
        let gone = |memory: &File| matches!(memory.read_at(&mut byte, at), Ok(0));
        if self.memory.as_ref().is_some_and(gone) { Self::default() } else { self }
    }
}

/// Where the execution of a process began.
pub(crate) fn entry(pid: Pid) -> io::Result<Option<u64>> {
    Ok(entry_in(&fs::read(format!("/proc/{pid}/auxv"))?))
}

fn entry_in(vector: &[u8]) -> Option<u64> {
    let found = vector.chunks_exact(16).find(|pair| u64_at(pair, 0) == Some(AT_ENTRY));
    found.and_then(|pair| u64_at(pair, 8))
}

/// An executable as it was loaded.
#[derive(Debug)]
pub(crate) enum Binary {
    /// Its file, mapped, and how far above its linked addresses it was loaded.
    File { mapped: Mapped, elf: Elf, bias: u64 },
    /// Copies of mappings, and whether they are 64-bit ARM's.
    Copies(Vec<(u64, Vec<u8>)>, bool),
}

impl Binary {
    /// Maps the file of an executable that was entered at `entry`.
    pub(crate) fn of_file(file: &File, entry: u64) -> Result<Self, Denied> {
        let mapped = Mapped::of(file).map_err(|error| Denied::File("executable", error))?;
        let elf = Elf::read(&mapped.bytes()).map_err(|_| Denied::Refused(Refused::NotGo))?;
        let bias = if elf.relocatable { entry.wrapping_sub(elf.entry) } else { 0 };
        Ok(Self::File { mapped, elf, bias })
    }

    /// Copies what the process has mapped; its code too if `code`.
    pub(crate) fn of_mappings(pid: Pid, memory: &Live, code: bool) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/maps"))?;
        let mut copies: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut left = COPY_BYTES;
        for mapping in maps::parse(&text).filter(|mapping| belongs(mapping, code)) {
            let length = mapping.addresses.end.saturating_sub(mapping.addresses.start);
            if length > left {
                continue;
            }
            left -= length;
            copy(memory, &mapping, &mut copies)?;
        }
        let mut magic = [0u8; 20];
        let heads = copies.iter().filter_map(|(_, bytes)| bytes.first_chunk::<20>());
        let head = heads.into_iter().find(|head| head.starts_with(b"\x7fELF"));
        magic.copy_from_slice(head.unwrap_or(&[0; 20]));
        let [.., low, high] = magic;
        let machine = u16::from_le_bytes([low, high]);
        let arm = machine == EM_AARCH64 || machine == 0 && cfg!(target_arch = "aarch64");
        Ok(Self::Copies(copies, arm))
    }

    /// The image; nothing for a machine whose frames are not known here.
    pub(crate) fn image(&self) -> Option<Image<'_>> {
        match self {
            Self::File { mapped, elf, bias } => Image::of_file(elf, mapped.bytes(), *bias),
            Self::Copies(copies, arm) => Some(Image::of_mappings(copies, *arm)),
        }
    }

    /// Whether the file is packed: what it holds is unpacked in memory only.
    pub(crate) fn is_packed(&self) -> bool {
        let Self::File { mapped, .. } = self else { return false };
        let bytes = mapped.bytes();
        memchr::memmem::find(bytes.get(..1024).unwrap_or(bytes), b"UPX!").is_some()
    }
}

/// Whether a mapping may be the executable's.
fn belongs(mapping: &Mapping, code: bool) -> bool {
    let length = mapping.addresses.end.saturating_sub(mapping.addresses.start);
    let library = mapping.path.ends_with(".so") || mapping.path.contains(".so.");
    let data = mapping.write && length > WRITABLE_BYTES;
    mapping.read
        && (code || !mapping.execute)
        && !mapping.path.starts_with('[')
        && !library
        && !data
        && !HEAP.contains(&mapping.addresses.start)
}

/// Copies one mapping, behind the one before it if they touch. What cannot be read stays zero.
fn copy(memory: &Live, mapping: &Mapping, copies: &mut Vec<(u64, Vec<u8>)>) -> io::Result<()> {
    let room = || io::Error::new(io::ErrorKind::OutOfMemory, "no room for a copy of it");
    let length = mapping.addresses.end.saturating_sub(mapping.addresses.start);
    let length = usize::try_from(length).map_err(|_| room())?;
    let touches = |(start, bytes): &(u64, Vec<u8>)| {
        start.checked_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            == Some(mapping.addresses.start)
    };
    if !copies.last().is_some_and(touches) {
        copies.push((mapping.addresses.start, Vec::new()));
    }
    let Some((_, bytes)) = copies.last_mut() else { return Ok(()) };
    let from = bytes.len();
    bytes.try_reserve_exact(length).map_err(|_| room())?;
    bytes.resize(from + length, 0);
    let fresh = bytes.get_mut(from..).unwrap_or_default();
    for (number, block) in fresh.chunks_mut(BLOCK).enumerate() {
        let at = mapping.addresses.start + u64::try_from(number * BLOCK).unwrap_or(0);
        if memory.read(at, block) {
            continue;
        }
        for (page, part) in block.chunks_mut(PAGE).enumerate() {
            memory.read(at + u64::try_from(page * PAGE).unwrap_or(0), part);
        }
    }
    Ok(())
}
