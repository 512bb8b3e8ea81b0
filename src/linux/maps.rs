//! Mappings of a process: /proc/PID/maps (proc_pid_maps(5)).
//!
//! procfs's parser is not used: one path that is not UTF-8 costs it the whole file.

use std::ops::Range;

/// Mappings read at most (vm.max_map_count is 65,530 by default).
const MAPPINGS: usize = 100_000;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub addresses: Range<u64>,
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
    /// It can be executed.
    pub execute: bool,
    /// A path, a name in brackets, or nothing for anonymous memory.
    pub path: String,
}

/// Reads a `maps` file; lines that are not understood are skipped.
pub fn parse(text: &[u8]) -> impl Iterator<Item = Mapping> + '_ {
    text.split(|byte| *byte == b'\n').filter_map(mapping).take(MAPPINGS)
}

fn mapping(line: &[u8]) -> Option<Mapping> {
    // `start-end rwxp offset device inode [path]`
    let line = String::from_utf8_lossy(line);
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let rights = words.next()?;
    let path = words.nth(3).unwrap_or_default().trim().to_owned();
    Some(Mapping {
        addresses: hex(start)?..hex(end)?,
        read: rights.contains('r'),
        write: rights.contains('w'),
        execute: rights.contains('x'),
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_have_addresses_rights_and_a_path() {
        let text = b"00400000-004a2000 r-xp 00000000 fe:00 1187 /app/my server\n\
            c000000000-c000400000 rw-p 00000000 00:00 0 \n\
            7ffd-7ffe r--p 0 00:00 0                    [vdso]\n\
            bad line\n\xff\xfe-1\n\n";
        let all: Vec<Mapping> = parse(text).collect();
        let [code, heap, vdso] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(code.addresses, 0x40_0000..0x4a_2000);
        assert_eq!((code.read, code.write, code.execute), (true, false, true));
        assert_eq!(code.path, "/app/my server");
        assert_eq!((heap.path.as_str(), heap.write), ("", true));
        assert_eq!(vdso.path, "[vdso]");
    }
}
