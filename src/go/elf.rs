//! The ELF container of an executable: header, segments, sections, symbols, what it needs to start.
//!
//! Parses any reader ([`ReadAt`]), both classes and both byte orders, because a wrong
//! architecture must be named rather than refused. Every table has a cap, every string a limit,
//! and a broken table is an empty one: only a broken file header is an error. Layouts: elf(5).

use super::bytes::{index, wide};

/// Bytes of a file, at an offset. Reading past the end is a short count, not an error.
pub trait ReadAt {
    /// Fills `buf` from `offset` on and tells how many bytes there were.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize;
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        let rest = self.get(index(offset)..).unwrap_or(&[]);
        let count = rest.len().min(buf.len());
        match (rest.get(..count), buf.get_mut(..count)) {
            (Some(from), Some(to)) => {
                to.copy_from_slice(from);
                count
            }
            _ => 0,
        }
    }
}

/// Program headers read at most; linkers write about ten.
const SEGMENTS: u64 = 256;
/// Sections read at most; linkers write about forty.
const SECTIONS: u64 = 4096;
/// Symbols looked at in a search; Debian's prometheus has 120,000.
const SYMBOLS: u64 = 4_000_000;
/// Entries of the dynamic table read at most.
const DYNAMIC: u64 = 1024;
/// The longest name or path taken from a file.
const NAME_BYTES: usize = 4096;

/// Loadable segment, `p_type`.
pub const PT_LOAD: u32 = 1;
/// The dynamic table, `p_type`.
const PT_DYNAMIC: u32 = 2;
/// Path of the dynamic loader, `p_type`.
const PT_INTERP: u32 = 3;
/// Tags of the dynamic table.
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;
const DT_FLAGS_1: u64 = 0x6fff_fffb;
const DF_1_PIE: u64 = 0x0800_0000;
/// Symbol table, `sh_type`.
const SHT_SYMTAB: u32 = 2;
/// Position-independent or shared, `e_type`.
const ET_DYN: u16 = 3;
/// x86-64, `e_machine`.
pub const EM_X86_64: u16 = 62;
/// AArch64, `e_machine`.
pub const EM_AARCH64: u16 = 183;

/// Why a file is not usable as ELF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotElf {
    /// Empty, or shorter than the header.
    Short,
    /// The first four bytes are not `\x7fELF`.
    Magic,
    /// A class or byte order that does not exist.
    Header,
}

/// One program header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// `p_type`; see [`PT_LOAD`].
    pub kind: u32,
    /// Whether it is mapped executable.
    pub execute: bool,
    /// Whether it is mapped writable.
    pub write: bool,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Where it is linked to.
    pub address: u64,
    /// Its bytes in the file.
    pub file_bytes: u64,
    /// Its bytes in memory.
    pub memory_bytes: u64,
}

/// One section header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its name; empty when the name table is broken.
    pub name: String,
    /// `sh_type`.
    pub kind: u32,
    /// Where it is linked to; 0 when it is not loaded.
    pub address: u64,
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Its bytes.
    pub bytes: u64,
    /// `sh_link`: for a symbol table the section of its names.
    pub link: u32,
}

/// An executable's headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elf {
    /// 64-bit class.
    pub wide: bool,
    /// Big-endian byte order.
    pub big: bool,
    /// `e_machine`; see [`Elf::machine_name`].
    pub machine: u16,
    /// `e_type`: 1 object file, 2 executable, 3 shared or position-independent, 4 core dump.
    pub kind: u16,
    /// `EI_OSABI`: 0 and 3 for Linux.
    pub abi: u8,
    /// `e_type` is ET_DYN: loaded at an address of the kernel's choice.
    pub relocatable: bool,
    /// `e_entry`.
    pub entry: u64,
    /// Program headers.
    pub segments: Vec<Segment>,
    /// Section headers; empty when the table was removed.
    pub sections: Vec<Section>,
}

/// What an executable or library asks of the dynamic loader (ld.so(8)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// Libraries, in order (DT_NEEDED).
    pub needed: Vec<String>,
    /// Its own name; only libraries have one.
    pub soname: Option<String>,
    /// Directories of the old kind, separated by colons (DT_RPATH).
    pub rpath: Option<String>,
    /// Directories of the new kind, which replace the old one (DT_RUNPATH).
    pub runpath: Option<String>,
    /// It says of itself that it is an executable (DF_1_PIE).
    pub pie: bool,
}

impl Elf {
    /// Reads the headers of `file`.
    pub fn read(file: &dyn ReadAt) -> Result<Self, NotElf> {
        let mut header = [0u8; 64];
        let got = file.read_at(0, &mut header);
        let header = header.get(..got).unwrap_or(&[]);
        if got < 4 {
            return Err(NotElf::Short);
        }
        if !header.starts_with(b"\x7fELF") {
            return Err(NotElf::Magic);
        }
        let (wide, big) = match (header.get(4), header.get(5)) {
            (Some(1), Some(1)) => (false, false),
            (Some(1), Some(2)) => (false, true),
            (Some(2), Some(1)) => (true, false),
            (Some(2), Some(2)) => (true, true),
            (Some(_), Some(_)) => return Err(NotElf::Header),
            _ => return Err(NotElf::Short),
        };
        let fields = Fields { wide, big };
        let mut elf = Self {
            wide,
            big,
            machine: fields.half(header, 18).ok_or(NotElf::Short)?,
            kind: fields.half(header, 16).unwrap_or(0),
            abi: header.get(7).copied().unwrap_or(0),
            relocatable: fields.half(header, 16) == Some(ET_DYN),
            entry: fields.word(header, 24, 24).ok_or(NotElf::Short)?,
            ..Self::default()
        };
        elf.read_tables(file, header, fields);
        Ok(elf)
    }

    fn read_tables(&mut self, file: &dyn ReadAt, header: &[u8], fields: Fields) {
        let of = |offset: Option<u64>| offset.unwrap_or(0);
        let half = |at| u64::from(fields.half(header, at).unwrap_or(0));
        let (phoff, shoff) = (of(fields.word(header, 28, 32)), of(fields.word(header, 32, 40)));
        let (phsize, phcount, shsize, shcount, names) = if self.wide {
            (half(54), half(56), half(58), half(60), half(62))
        } else {
            (half(42), half(44), half(46), half(48), half(50))
        };
        if phoff != 0 {
            let rows = table(file, phoff, phsize, phcount.min(SEGMENTS));
            self.segments = rows.iter().filter_map(|row| fields.segment(row)).collect();
        }
        if shoff != 0 {
            let rows = table(file, shoff, shsize, shcount.min(SECTIONS));
            let raw: Vec<(u32, Section)> =
                rows.iter().filter_map(|row| fields.section(row)).collect();
            let strings = raw.get(index(names)).map(|(_, section)| section.clone());
            self.sections = raw
                .into_iter()
                .map(|(name, section)| Section {
                    name: strings
                        .as_ref()
                        .and_then(|strings| string_in(file, strings, u64::from(name)))
                        .unwrap_or_default(),
                    ..section
                })
                .collect();
        }
    }

    /// The section called `name`.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The segments that are mapped when the program runs.
    pub fn loaded(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// Whether the file has a symbol table that debuggers use (`-s` and strip(1) remove it).
    #[must_use]
    pub fn has_symbols(&self) -> bool {
        self.sections.iter().any(|section| section.kind == SHT_SYMTAB)
    }

    /// The dynamic loader this program asks for; nothing when it is linked statically.
    #[must_use]
    pub fn interpreter(&self, file: &dyn ReadAt) -> Option<String> {
        let segment = self.segments.iter().find(|segment| segment.kind == PT_INTERP)?;
        let bytes = read_bytes(file, segment.offset, segment.file_bytes, NAME_BYTES);
        let path = bytes.split(|byte| *byte == 0).next()?;
        (!path.is_empty()).then(|| String::from_utf8_lossy(path).into_owned())
    }

    /// What the dynamic table asks of the loader.
    #[must_use]
    pub fn dynamic(&self, file: &dyn ReadAt) -> Dynamic {
        let mut dynamic = Dynamic::default();
        let Some(segment) = self.segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
            return dynamic;
        };
        let fields = Fields { wide: self.wide, big: self.big };
        let size = if self.wide { 16 } else { 8 };
        let rows = table(file, segment.offset, size, (segment.file_bytes / size).min(DYNAMIC));
        let entries: Vec<(u64, u64)> = rows
            .iter()
            .filter_map(|row| Some((fields.word(row, 0, 0)?, fields.word(row, 4, 8)?)))
            .take_while(|(tag, _)| *tag != 0)
            .collect();
        let strings = entries.iter().find(|(tag, _)| *tag == DT_STRTAB);
        let strings = strings.and_then(|(_, address)| self.offset_of(*address));
        for (tag, value) in entries {
            let text = || string_at(file, strings?.checked_add(value)?, NAME_BYTES);
            match tag {
                DT_NEEDED => dynamic.needed.extend(text()),
                DT_SONAME => dynamic.soname = text(),
                DT_RPATH => dynamic.rpath = text(),
                DT_RUNPATH => dynamic.runpath = text(),
                DT_FLAGS_1 => dynamic.pie = value & DF_1_PIE != 0,
                _ => {}
            }
        }
        dynamic
    }

    /// Where the last byte ends that is mapped from the file; a shorter file was cut.
    #[must_use]
    pub fn mapped_end(&self) -> u64 {
        self.loaded().map(|s| s.offset.saturating_add(s.file_bytes)).max().unwrap_or(0)
    }

    /// The value of the symbol called `name` in the symbol table.
    #[must_use]
    pub fn symbol(&self, file: &dyn ReadAt, name: &str) -> Option<u64> {
        let table = self.sections.iter().find(|section| section.kind == SHT_SYMTAB)?;
        let strings = self.sections.get(index(u64::from(table.link)))?;
        let fields = Fields { wide: self.wide, big: self.big };
        let size = if self.wide { 24 } else { 16 };
        let mut wanted = vec![0u8; name.len().checked_add(1)?];
        let mut left = (table.bytes / size).min(SYMBOLS);
        let mut offset = table.offset;
        let mut chunk = vec![0u8; 24 * 1024];
        while left > 0 {
            let got = file.read_at(offset, &mut chunk);
            let rows = wide(got) / size;
            if rows == 0 {
                return None;
            }
            for row in chunk.get(..got)?.chunks_exact(index(size)).take(index(left)) {
                let at = strings.offset.checked_add(u64::from(fields.int(row, 0)?))?;
                if file.read_at(at, &mut wanted) == wanted.len()
                    && wanted.strip_suffix(&[0]) == Some(name.as_bytes())
                {
                    return fields.word(row, 4, 8);
                }
            }
            left = left.saturating_sub(rows);
            offset = offset.checked_add(rows * size)?;
        }
        None
    }

    /// Where in the file the byte linked to `address` is.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let segment = self.loaded().find(|segment| {
            address.checked_sub(segment.address).is_some_and(|into| into < segment.file_bytes)
        })?;
        segment.offset.checked_add(address - segment.address)
    }

    /// What Go, Docker and Kubernetes call this machine; nothing for one they do not know.
    #[must_use]
    pub fn machine_name(&self) -> Option<&'static str> {
        Some(match (self.machine, self.big) {
            (3, _) => "386",
            (8, true) => "mips",
            (8, false) => "mipsle",
            (20, _) => "ppc",
            (21, true) => "ppc64",
            (21, false) => "ppc64le",
            (22, _) => "s390x",
            (40, _) => "arm",
            (62, _) => "amd64",
            (183, _) => "arm64",
            (243, _) => "riscv64",
            (258, _) => "loong64",
            _ => return None,
        })
    }
}

/// Class and byte order: how to read a field.
#[derive(Clone, Copy)]
struct Fields {
    wide: bool,
    big: bool,
}

impl Fields {
    fn half(self, bytes: &[u8], at: usize) -> Option<u16> {
        let raw = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if self.big { u16::from_be_bytes(raw) } else { u16::from_le_bytes(raw) })
    }

    fn int(self, bytes: &[u8], at: usize) -> Option<u32> {
        let raw = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if self.big { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) })
    }

    /// A field as wide as an address, at its place in the 32-bit and in the 64-bit layout.
    fn word(self, bytes: &[u8], narrow: usize, wide: usize) -> Option<u64> {
        if !self.wide {
            return self.int(bytes, narrow).map(u64::from);
        }
        let raw = *bytes.get(wide..)?.first_chunk::<8>()?;
        Some(if self.big { u64::from_be_bytes(raw) } else { u64::from_le_bytes(raw) })
    }

    fn segment(self, row: &[u8]) -> Option<Segment> {
        let flags = self.int(row, if self.wide { 4 } else { 24 })?;
        Some(Segment {
            kind: self.int(row, 0)?,
            execute: flags & 1 != 0,
            write: flags & 2 != 0,
            offset: self.word(row, 4, 8)?,
            address: self.word(row, 8, 16)?,
            file_bytes: self.word(row, 16, 32)?,
            memory_bytes: self.word(row, 20, 40)?,
        })
    }

    /// The section and the place of its name in the table of names.
    fn section(self, row: &[u8]) -> Option<(u32, Section)> {
        let section = Section {
            name: String::new(),
            kind: self.int(row, 4)?,
            address: self.word(row, 12, 16)?,
            offset: self.word(row, 16, 24)?,
            bytes: self.word(row, 20, 32)?,
            link: self.int(row, if self.wide { 40 } else { 24 })?,
        };
        Some((self.int(row, 0)?, section))
    }
}

/// `count` rows of `size` bytes from `offset` on; fewer when the file ends.
fn table(file: &dyn ReadAt, offset: u64, size: u64, count: u64) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    // A row is at most 64 bytes in either class; a larger figure is a lie.
    let mut row = [0u8; 64];
    let Some(row) = row.get_mut(..index(size)).filter(|row| !row.is_empty()) else {
        return rows;
    };
    for number in 0..count {
        let Some(at) = offset.checked_add(number * size) else { break };
        if file.read_at(at, row) < row.len() {
            break;
        }
        rows.push(row.to_vec());
    }
    rows
}

/// At most `limit` of the `count` bytes at `offset`.
#[must_use]
pub fn read_bytes(file: &dyn ReadAt, offset: u64, count: u64, limit: usize) -> Vec<u8> {
    let mut bytes = vec![0u8; index(count).min(limit)];
    let got = file.read_at(offset, &mut bytes);
    bytes.truncate(got);
    bytes
}

fn string_in(file: &dyn ReadAt, section: &Section, at: u64) -> Option<String> {
    let inside = section.bytes.checked_sub(at)?;
    string_at(file, section.offset.checked_add(at)?, index(inside).min(256))
}

fn string_at(file: &dyn ReadAt, offset: u64, limit: usize) -> Option<String> {
    let bytes = read_bytes(file, offset, wide(limit), limit);
    let end = bytes.iter().position(|b| *b == 0)?;
    Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit x86 file: header, three segments, dynamic table, strings.
    fn sample() -> Vec<u8> {
        let mut file = vec![0u8; 0x400];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &3u16.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(24, &0x1234u64.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &3u16.to_le_bytes());
        let rows: [(u32, u64, u64, u64); 3] =
            [(1, 0, 0x1000, 0x400), (2, 0x200, 0x1200, 64), (3, 0x300, 0x1300, 16)];
        for (number, (kind, offset, address, size)) in rows.into_iter().enumerate() {
            let at = 64 + number * 56;
            put(at, &kind.to_le_bytes());
            put(at + 4, &5u32.to_le_bytes());
            put(at + 8, &offset.to_le_bytes());
            put(at + 16, &address.to_le_bytes());
            put(at + 32, &size.to_le_bytes());
            put(at + 40, &size.to_le_bytes());
        }
        for (number, (tag, value)) in
            [(5u64, 0x1380u64), (1, 1), (1, 11), (0, 0)].into_iter().enumerate()
        {
            put(0x200 + number * 16, &tag.to_le_bytes());
            put(0x208 + number * 16, &value.to_le_bytes());
        }
        put(0x300, b"/lib64/ld.so\0");
        put(0x380, b"\0libc.so.6\0libm.so.6\0");
        file
    }

    #[test]
    fn a_dynamic_executable_names_its_loader_and_libraries() {
        let file = sample();
        let elf = Elf::read(&file.as_slice()).unwrap();
        assert_eq!(elf.machine_name(), Some("amd64"));
        assert!(elf.relocatable && elf.wide && !elf.big);
        assert_eq!(elf.entry, 0x1234);
        assert_eq!(elf.interpreter(&file.as_slice()).as_deref(), Some("/lib64/ld.so"));
        let dynamic = elf.dynamic(&file.as_slice());
        assert_eq!(dynamic.needed, ["libc.so.6", "libm.so.6"]);
        assert_eq!((dynamic.soname, dynamic.pie), (None, false));
        assert_eq!(elf.mapped_end(), 0x400);
        assert!(!elf.has_symbols());
        assert_eq!(elf.offset_of(0x1010), Some(0x10));
        assert_eq!(elf.offset_of(0x1400), None);
    }

    #[test]
    fn what_is_not_elf_says_why() {
        let check = |bytes: &[u8], why| assert_eq!(Elf::read(&bytes), Err(why));
        check(b"", NotElf::Short);
        check(b"#!/bin/sh\n", NotElf::Magic);
        check(b"\x7fELF\x02\x01", NotElf::Short);
        check(b"\x7fELF\x09\x01\x01", NotElf::Header);
    }

    #[test]
    fn own_test_binary_is_read_with_its_symbols() {
        let file = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::read(&file.as_slice()).unwrap();
        assert!(elf.section(".text").is_some());
        assert!(elf.symbol(&file.as_slice(), "main").is_some());
        assert_eq!(elf.symbol(&file.as_slice(), "no such symbol"), None);
    }

    #[test]
    fn damaged_headers_never_panic() {
        let good = sample();
        for at in 0..0x140 {
            for value in [0u8, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(elf) = Elf::read(&bad.as_slice()) {
                    let _ = (elf.interpreter(&bad.as_slice()), elf.dynamic(&bad.as_slice()));
                    let _ = elf.symbol(&bad.as_slice(), "main");
                }
            }
        }
        for end in 0..good.len() {
            let _ = Elf::read(&&good[..end]).map(|elf| elf.dynamic(&good.as_slice()));
        }
    }
}
