//! The executable as it lies in memory: run-time addresses in, bytes of the file out.
//!
//! Made from the mapped file and its ELF headers, or from readable mappings when the file cannot
//! be used. Also finds what identifies a Go program without running it: its version.

use super::bytes::{array_at, cstr_at, index, u8_at, wide};
use super::elf::{EM_AARCH64, EM_X86_64, Elf};
use super::memory::ReadMemory;
use std::ops::Range;

/// One loaded stretch of the executable.
#[derive(Clone, Debug)]
pub struct Part<'a> {
    /// Its run-time address.
    pub start: u64,
    /// The bytes that the file gives it.
    pub bytes: &'a [u8],
    /// Whether the program may write there, so that live memory decides.
    pub write: bool,
}

/// The executable in run-time addresses.
#[derive(Clone, Debug, Default)]
pub struct Image<'a> {
    /// Loaded stretches, in the order of the file.
    pub parts: Vec<Part<'a>>,
    /// 64-bit ARM instead of x86-64.
    pub arm: bool,
    /// Where the section table says the function table is.
    pub pclntab: Option<u64>,
    /// Where the section table says the module data is (Go 1.26 and later).
    pub module: Option<u64>,
    /// Where the section table says the build information is.
    pub build_info: Option<u64>,
}

impl<'a> Image<'a> {
    /// The image of `file`, loaded `bias` above its linked addresses; nothing for a machine whose
    /// frames are not known here.
    #[must_use]
    pub fn of_file(elf: &Elf, file: &'a [u8], bias: u64) -> Option<Self> {
        if !elf.wide || elf.big || ![EM_X86_64, EM_AARCH64].contains(&elf.machine) {
            return None;
        }
        let parts = elf
            .loaded()
            .filter_map(|segment| {
                let from = index(segment.offset);
                let rest = file.get(from..)?;
                let bytes = rest.get(..index(segment.file_bytes)).unwrap_or(rest);
                let start = segment.address.wrapping_add(bias);
                // A part that wraps around the address space is a lie.
                start.checked_add(wide(bytes.len()))?;
                Some(Part { start, bytes, write: segment.write })
            })
            .collect();
        let section = |name: &str| {
            let found = elf.section(name).filter(|section| section.address != 0)?;
            Some(found.address.wrapping_add(bias))
        };
        Some(Self {
            parts,
            arm: elf.machine == EM_AARCH64,
            pclntab: section(".gopclntab").or_else(|| section(".data.rel.ro.gopclntab")),
            module: section(".go.module"),
            build_info: section(".go.buildinfo"),
        })
    }

    /// The image made of copies of a process's mappings, for when the file cannot be used: each an
    /// address and its bytes. There are no sections, and any part may hold what is looked for.
    #[must_use]
    pub fn of_mappings(copies: &'a [(u64, Vec<u8>)], arm: bool) -> Self {
        let part = |(start, bytes): &'a (u64, Vec<u8>)| Part { start: *start, bytes, write: true };
        Self { parts: copies.iter().map(part).collect(), arm, ..Self::default() }
    }

    /// The bytes of the file from run-time address `at` to the end of their part.
    #[must_use]
    pub fn from(&self, at: u64) -> Option<&'a [u8]> {
        self.parts.iter().find_map(|part| {
            let into = at.checked_sub(part.start).filter(|into| *into < wide(part.bytes.len()))?;
            part.bytes.get(index(into)..)
        })
    }

    /// Whether `at` lies in a loaded stretch of the file.
    #[must_use]
    pub fn contains(&self, at: u64) -> bool {
        self.from(at).is_some()
    }

    /// Addresses of writable stretches, as far as the file fills them.
    pub fn writable(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.parts
            .iter()
            .filter(|part| part.write)
            .map(|part| part.start..part.start.saturating_add(wide(part.bytes.len())))
    }

    /// The Go version in the build information, for example `go1.24.4 X:boringcrypto`.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let known = self.build_info.and_then(|at| self.from(at)).and_then(build_version);
        known.or_else(|| {
            // Without section headers: the mark is 16-aligned in a writable stretch, but older
            // linkers kept it in a read-only one.
            self.parts.iter().find_map(|part| {
                memchr::memmem::find_iter(part.bytes, BUILD_INFO)
                    .take(64)
                    .find_map(|at| build_version(part.bytes.get(at..)?))
            })
        })
    }
}

/// The mark in front of Go's build information (debug/buildinfo).
const BUILD_INFO: &[u8] = b"\xff Go buildinf:";
/// The longest version taken; real ones with experiments stay below 100.
const VERSION_BYTES: usize = 256;

/// The inline version string of Go 1.18 and later: flag 2 at 15, varint length and text at 32.
fn build_version(bytes: &[u8]) -> Option<Version> {
    if !bytes.starts_with(BUILD_INFO) || u8_at(bytes, 15)? & 2 == 0 {
        return None;
    }
    let [low, high] = array_at::<2>(bytes, 32)?;
    let (length, from): (usize, usize) = if low < 0x80 {
        (usize::from(low), 33)
    } else {
        (usize::from(low & 0x7f) | usize::from(high) << 7, 34)
    };
    let text = bytes.get(from..from.checked_add(length.min(VERSION_BYTES))?)?;
    Version::parse(text)
}

/// A Go version: the text and its minor number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the program states it, cut at 256 bytes.
    pub text: String,
    /// 24 for `go1.24.4`.
    pub minor: u8,
}

impl Version {
    /// The version in `go1.24.4 X:boringcrypto` or `devel go1.27-abcdef`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let at = memchr::memmem::find(text, b"go1.")?;
        let digits = text.get(at.checked_add(4)?..)?;
        let minor = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .take(3)
            .fold(None, |sum: Option<u16>, digit| {
                Some(sum.unwrap_or(0) * 10 + u16::from(digit - b'0'))
            })?;
        let text = String::from_utf8_lossy(text).into_owned();
        Some(Self { text, minor: u8::try_from(minor).ok()? })
    }

    /// `runtime.buildVersion` out of live data, for programs without build information: the first
    /// string header in `data` whose bytes start like a version.
    #[must_use]
    pub fn in_data(image: &Image<'_>, memory: &dyn ReadMemory, data: Range<u64>) -> Option<Self> {
        let mut found = None;
        super::sweep::words(memory, data, &mut |_, words| {
            let [text, length] = words;
            if (5..=128).contains(&length)
                && let Some(bytes) = image.from(text)
                && (bytes.starts_with(b"go1.") || bytes.starts_with(b"devel go1."))
            {
                found = bytes.get(..index(length)).and_then(Self::parse);
            }
            found.is_some()
        });
        found
    }
}

/// A printable text of 1 to `limit` bytes at `at`.
#[must_use]
pub fn text_at<'a>(image: &Image<'a>, at: u64, length: u64, limit: usize) -> Option<&'a str> {
    let bytes = image.from(at)?.get(..index(length))?;
    let fits = (1..=limit).contains(&bytes.len());
    let printable = bytes.iter().all(|byte| (0x20..0x7f).contains(byte));
    if fits && printable { std::str::from_utf8(bytes).ok() } else { None }
}

/// The NUL-terminated text at `at` of a table, at most `limit` bytes, as UTF-8.
#[must_use]
pub fn name_at(table: &[u8], at: usize, limit: usize) -> Option<std::borrow::Cow<'_, str>> {
    cstr_at(table, at, limit).map(String::from_utf8_lossy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_give_their_minor_number() {
        let check = |text: &str, minor| {
            assert_eq!(Version::parse(text.as_bytes()).map(|version| version.minor), minor);
        };
        check("go1.24.4 X:boringcrypto", Some(24));
        check("devel go1.27-abcdef Mon", Some(27));
        check("go1.19", Some(19));
        check("go1.", None);
        check("go2.1", None);
        check("go1.999", None);
    }

    #[test]
    fn build_information_is_found_by_its_mark() {
        let mut bytes = vec![0u8; 96];
        bytes[16..30].copy_from_slice(BUILD_INFO);
        bytes[31] = 2;
        bytes[48] = 7;
        bytes[49..56].copy_from_slice(b"go1.27x");
        let part = Part { start: 0x1000, bytes: &bytes, write: true };
        let image = Image { parts: vec![part], ..Image::default() };
        assert_eq!(image.version().unwrap().minor, 27);
    }
}
