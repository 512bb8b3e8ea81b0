//! What `go build` notes in every executable: Go version, module, dependencies, settings
//! (`go version -m`; format: debug/buildinfo and runtime/debug, ParseBuildInfo).
//!
//! It survives `-ldflags="-s -w"` and strip(1), because the program itself can ask for it.

use super::bytes::{index, wide};
use super::elf::{Elf, ReadAt, read_bytes};

/// What begins the note.
const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
/// Where it may begin (`buildInfoAlign`).
const ALIGN: u64 = 16;
/// How much of the data segment is searched when the section table was removed.
const SCAN_BYTES: u64 = 4 << 20;
/// One step of that search.
const CHUNK: usize = 64 << 10;
/// The longest version; `go1.27rc1 X:…` with experiments is far below.
const VERSION_BYTES: usize = 1 << 10;
/// The longest module text; kubernetes has 30 KB.
const MODULE_BYTES: usize = 1 << 20;

/// The build information of a Go executable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// `go1.27.3`, as the toolchain prints it.
    pub version: String,
    /// Import path of the main package; `command-line-arguments` for single files.
    pub path: Option<String>,
    /// Path of the main module.
    pub module: Option<String>,
    /// Its version; `(devel)` for a build from a working tree.
    pub module_version: Option<String>,
    /// How many modules it depends on.
    pub dependencies: usize,
    /// Settings of the build in their order: `GOOS`, `CGO_ENABLED`, `-ldflags`, `vcs.revision`, …
    pub settings: Vec<(String, String)>,
}

impl BuildInfo {
    /// Reads the note, or nothing if this is not a Go executable.
    #[must_use]
    pub fn read(elf: &Elf, file: &dyn ReadAt) -> Option<Self> {
        let at = match elf.section(".go.buildinfo") {
            Some(section) => find(file, section.offset, section.bytes.min(SCAN_BYTES))?,
            None => {
                let data = elf.loaded().find(|segment| segment.write)?;
                find(file, data.offset, data.file_bytes.min(SCAN_BYTES))?
            }
        };
        let mut header = [0; 32];
        if file.read_at(at, &mut header) < header.len() {
            return None;
        }
        let [.., pointer_bytes, flags] = *header.first_chunk::<16>()?;
        let (version, module) = if flags & 2 != 0 {
            let start = at.checked_add(32)?;
            let (version, next) = prefixed(file, start, VERSION_BYTES)?;
            (version, prefixed(file, next, MODULE_BYTES).map(|(module, _)| module))
        } else {
            // Up to Go 1.17: two pointers to Go strings.
            let strings = Strings { elf, file, pointer_bytes, big: flags & 1 != 0 };
            let pointers = header.get(16..)?;
            let version = strings.at(strings.word(pointers)?, VERSION_BYTES)?;
            let second = strings.word(pointers.get(usize::from(pointer_bytes)..)?);
            (version, second.and_then(|pointer| strings.at(pointer, MODULE_BYTES)))
        };
        if version.is_empty() {
            return None;
        }
        let version = String::from_utf8_lossy(&version).into_owned();
        let mut info = Self { version, ..Self::default() };
        info.parse_module(unframed(module.as_deref().unwrap_or_default()));
        Some(info)
    }

    /// The value of a build setting.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Major and minor version: 1 and 27 for `go1.27.3`, `go1.27rc1` and `devel go1.27-abc`.
    #[must_use]
    pub fn release(&self) -> Option<(u32, u32)> {
        release(&self.version)
    }

    /// Takes the text apart: `path`, `mod`, `dep`, `=>` and `build` lines, tab-separated.
    fn parse_module(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        for line in text.lines() {
            let mut fields = line.split('\t');
            match (fields.next(), fields.next(), fields.next()) {
                (Some("path"), Some(path), _) => self.path = Some(path.to_owned()),
                (Some("mod"), Some(path), version) => {
                    self.module = Some(path.to_owned());
                    self.module_version = version.map(str::to_owned).filter(|v| !v.is_empty());
                }
                (Some("dep"), Some(_), _) => {
                    self.dependencies = self.dependencies.saturating_add(1)
                }
                (Some("build"), Some(_), _) => {
                    let setting = line.strip_prefix("build\t").and_then(setting);
                    self.settings.extend(setting);
                }
                _ => {}
            }
        }
    }
}

/// Major and minor version in what the Go toolchain calls itself.
#[must_use]
pub fn release(version: &str) -> Option<(u32, u32)> {
    let start = version.find("go1.").map(|at| at.saturating_add(2))?;
    let mut parts = version.get(start..)?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((major, minor.get(..digits)?.parse().ok()?))
}

/// The value of one key in a comma-separated GODEBUG; the last one wins.
#[must_use]
pub fn godebug<'a>(list: &'a str, key: &str) -> Option<&'a str> {
    list.rsplit(',')
        .find_map(|item| item.split_once('=').filter(|(name, _)| *name == key)?.1.into())
}

/// `key=value`; either side is quoted as in Go if it has to be.
fn setting(text: &str) -> Option<(String, String)> {
    if text.starts_with('"') {
        let (key, rest) = unquote(text)?;
        return Some((key, value(rest.strip_prefix('=')?)));
    }
    let (key, rest) = text.split_once('=')?;
    Some((key.to_owned(), value(rest)))
}

fn value(text: &str) -> String {
    match unquote(text) {
        Some((value, "")) => value,
        _ => text.strip_prefix('`').and_then(|t| t.strip_suffix('`')).unwrap_or(text).to_owned(),
    }
}

/// A Go string literal and what follows it. Only the escapes that build settings need.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut chars = text.strip_prefix('"')?.char_indices();
    let body = text.get(1..)?;
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, body.get(at.checked_add(1)?..)?)),
            '\\' => out.push(match chars.next()?.1 {
                'n' => '\n',
                't' => '\t',
                other => other,
            }),
            _ => out.push(c),
        }
    }
    None
}

/// The first aligned magic in a part of the file.
fn find(file: &dyn ReadAt, offset: u64, count: u64) -> Option<u64> {
    let mut first = [0; MAGIC.len()];
    if file.read_at(offset, &mut first) == first.len() && first == *MAGIC {
        return Some(offset);
    }
    let mut chunk = vec![0; CHUNK.min(index(count).max(MAGIC.len()))];
    let finder = memchr::memmem::Finder::new(MAGIC);
    let mut done = 0;
    while done < count {
        let at = offset.checked_add(done)?;
        let got = file.read_at(at, &mut chunk);
        let bytes = chunk.get(..got)?;
        for hit in finder.find_iter(bytes) {
            let found = at.checked_add(wide(hit))?;
            // The linker aligns it in memory; segments are page-aligned, so in the file as well.
            if found.is_multiple_of(ALIGN) || found == offset {
                return Some(found);
            }
        }
        if got < chunk.len() {
            return None;
        }
        // Chunks overlap, lest a magic lie across their border.
        done = done.checked_add(wide(got).checked_sub(wide(MAGIC.len()))?.max(1))?;
    }
    None
}

/// Bytes behind their length as an unsigned varint, and where they end.
fn prefixed(file: &dyn ReadAt, at: u64, limit: usize) -> Option<(Vec<u8>, u64)> {
    let mut head = [0; 10];
    let got = file.read_at(at, &mut head);
    let mut length: u64 = 0;
    let mut shift: u32 = 0;
    let mut used: u64 = 0;
    for byte in head.get(..got)? {
        length |= u64::from(byte & 0x7f).checked_shl(shift)?;
        shift = shift.saturating_add(7);
        used = used.saturating_add(1);
        if byte & 0x80 == 0 {
            let start = at.checked_add(used)?;
            let bytes = read_bytes(file, start, length, limit);
            return Some((bytes, start.checked_add(length)?));
        }
    }
    None
}

/// The module text stands between two marks of 16 bytes, by which `go version` once found it.
fn unframed(text: &[u8]) -> &[u8] {
    let newline_at = text.len().checked_sub(17);
    let framed = newline_at.and_then(|at| text.get(at)) == Some(&b'\n');
    if text.len() < 33 || !framed {
        return &[];
    }
    text.get(16..text.len().saturating_sub(16)).unwrap_or_default()
}

/// Go strings of the old format, behind addresses.
struct Strings<'a> {
    elf: &'a Elf,
    file: &'a dyn ReadAt,
    pointer_bytes: u8,
    big: bool,
}

impl Strings<'_> {
    fn word(&self, bytes: &[u8]) -> Option<u64> {
        let raw = bytes.get(..usize::from(self.pointer_bytes))?;
        if raw.is_empty() || raw.len() > 8 {
            return None;
        }
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.big { raw.iter().fold(0, join) } else { raw.iter().rev().fold(0, join) })
    }

    /// The string whose header lies at an address.
    fn at(&self, header: u64, limit: usize) -> Option<Vec<u8>> {
        let size = usize::from(self.pointer_bytes);
        let mut words = [0; 16];
        let words = words.get_mut(..size.checked_mul(2)?)?;
        if self.file.read_at(self.elf.offset_of(header)?, words) < words.len() {
            return None;
        }
        let data = self.word(words)?;
        let length = self.word(words.get(size..)?)?;
        Some(read_bytes(self.file, self.elf.offset_of(data)?, length, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_found_in_every_spelling() {
        for (version, expected) in [
            ("go1.27.3", Some((1, 27))),
            ("go1.25", Some((1, 25))),
            ("go1.26rc1", Some((1, 26))),
            ("devel go1.26-abcdef Tue", Some((1, 26))),
            ("go1.24.11 X:nocoverageredesign", Some((1, 24))),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(release(version), expected, "{version}");
        }
    }

    #[test]
    fn settings_are_unquoted() {
        for (line, key, value) in [
            ("GOOS=linux", "GOOS", "linux"),
            ("-ldflags=\"-s -w\"", "-ldflags", "-s -w"),
            ("-ldflags=\"-X 'a=\\\"b\\\"'\"", "-ldflags", "-X 'a=\"b\"'"),
            ("\"odd key\"=`raw`", "odd key", "raw"),
        ] {
            assert_eq!(setting(line), Some((key.to_owned(), value.to_owned())), "{line}");
        }
        assert_eq!(setting("nothing"), None);
    }

    #[test]
    fn the_last_godebug_setting_of_a_key_wins() {
        assert_eq!(godebug("a=1,b=2,a=3", "a"), Some("3"));
        assert_eq!(godebug("ab=1", "a"), None);
        assert_eq!(godebug("", "a"), None);
    }

    #[test]
    fn module_text_is_taken_apart() {
        let mut info = BuildInfo::default();
        info.parse_module(
            b"path\texample.com/app/cmd\nmod\texample.com/app\t(devel)\t\ndep\ta\tv1\th1:\n\
              =>\tb\tv2\t\ndep\tc\tv1\nbuild\tCGO_ENABLED=0\nbuild\tDefaultGODEBUG=a=1,b=0\nodd\n",
        );
        assert_eq!(info.path.as_deref(), Some("example.com/app/cmd"));
        assert_eq!(info.module_version.as_deref(), Some("(devel)"));
        assert_eq!(info.dependencies, 2);
        assert_eq!(info.setting("DefaultGODEBUG"), Some("a=1,b=0"));
    }
}
