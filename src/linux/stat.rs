//! Counters and state of a process or thread: `stat`, `status`, `schedstat`, `io` of
//! /proc/PID and /proc/PID/task/TID (Documentation/filesystems/proc.rst).
//!
//! `schedstat` and `io` go through procfs's parsers. Its `Stat` slices without checks, so that
//! `(` as the first byte panics, and its `Status` fails as a whole when one of thirty lines is
//! absent (gVisor); both are read here, field by field.

use procfs::FromRead;
use procfs::process::{Io as ProcIo, Schedstat as ProcSchedstat};

/// Length of a clock tick in `stat`, milliseconds: USER_HZ is 100 on every architecture with Go.
pub const TICK_MS: u64 = 10;

/// The fields of `stat` that matter here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Process or thread number.
    pub pid: i32,
    /// Name, at most 15 bytes; bytes that are not UTF-8 become U+FFFD.
    pub name: String,
    /// State letter.
    pub state: char,
    /// Parent's number.
    pub parent: i32,
    /// Major page faults so far (the page had to be read from storage).
    pub major_faults: u64,
    /// CPU time in user mode, ticks.
    pub user_ticks: u64,
    /// CPU time in kernel mode, ticks.
    pub system_ticks: u64,
    /// Number of threads.
    pub threads: u64,
    /// When it started, ticks since boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads a `stat` file; the name may hold blanks, parentheses and line ends.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|b| *b == b'(')?;
        let close = text.iter().rposition(|b| *b == b')')?;
        let pid = std::str::from_utf8(text.get(..open)?).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(text.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        // The first field after the name is number 3 in proc(5).
        let fields: Vec<&str> = rest.split_ascii_whitespace().take(22).collect();
        let number = |nr: usize| fields.get(nr - 3).and_then(|f| f.parse::<u64>().ok());
        Some(Self {
            pid,
            name,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            major_faults: number(12)?,
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
        })
    }

    /// CPU time, user and system, milliseconds.
    #[must_use]
    pub fn cpu_ms(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks).saturating_mul(TICK_MS)
    }
}

/// `schedstat`: what the scheduler counted, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedstat {
    /// Time on a CPU, ns.
    pub run_ns: u64,
    /// Time runnable, but waiting for a CPU, ns.
    pub wait_ns: u64,
    /// How often it was given a CPU.
    pub slices: u64,
}

impl Schedstat {
    /// Reads a `schedstat` file.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let stat = ProcSchedstat::from_read(text).ok()?;
        Some(Self { run_ns: stat.sum_exec_runtime, wait_ns: stat.run_delay, slices: stat.pcount })
    }
}

/// `io`: what a process read and wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes that read calls returned.
    pub rchar: u64,
    /// Bytes that write calls took.
    pub wchar: u64,
    /// Read calls.
    pub syscr: u64,
    /// Write calls.
    pub syscw: u64,
    /// Bytes from storage.
    pub read_bytes: u64,
    /// Bytes to storage.
    pub write_bytes: u64,
}

impl Io {
    /// Reads an `io` file.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let io = ProcIo::from_read(text).ok()?;
        Some(Self {
            rchar: io.rchar,
            wchar: io.wchar,
            syscr: io.syscr,
            syscw: io.syscw,
            read_bytes: io.read_bytes,
            write_bytes: io.write_bytes,
        })
    }
}

/// One field of a file of `Key: value` lines (`status`, `fdinfo`), without the blanks around it.
#[must_use]
pub fn field<'a>(text: &'a [u8], key: &str) -> Option<&'a str> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let rest = line.strip_prefix(key.as_bytes())?.strip_prefix(b":")?;
        std::str::from_utf8(rest).ok().map(str::trim)
    })
}

/// A field that is a number, perhaps followed by ` kB`.
#[must_use]
pub fn number(text: &[u8], key: &str) -> Option<u64> {
    field(text, key)?.split_ascii_whitespace().next()?.parse().ok()
}

/// A user or group line of `status`: real, effective, saved, file system number.
#[must_use]
pub fn ids(text: &[u8], key: &str) -> Option<[u32; 4]> {
    let mut numbers = field(text, key)?.split_ascii_whitespace().map(|n| n.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??, numbers.next()??])
}

/// The permitted capabilities of `status`, one bit each.
#[must_use]
pub fn capabilities(text: &[u8]) -> u64 {
    field(text, "CapPrm").and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

/// The number of a process or thread in each PID namespace, from the reader's inwards (`NSpid` of
/// `status`).
#[must_use]
pub fn namespace_ids(text: &[u8]) -> Vec<u32> {
    let list = field(text, "NSpid").unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// The supplementary groups of `status`.
#[must_use]
pub fn groups(text: &[u8]) -> Vec<u32> {
    let list = field(text, "Groups").unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect()
}

/// The soft limit of open descriptors in a `limits` file; absent when unlimited or not there.
#[must_use]
pub fn open_files_limit(text: &[u8]) -> Option<u64> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let rest = std::str::from_utf8(line.strip_prefix(b"Max open files")?).ok()?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_blanks_parentheses_and_line_ends() {
        for name in ["migrate", "tmux: server", "a) S 1 (b", ")", "((", "x\ny", ""] {
            let text = format!(
                "77 ({name}) S 1 77 77 0 -1 4194304 120 0 3 0 12 34 0 0 20 0 6 0 5123 1 2 3\n"
            );
            let stat = Stat::parse(text.as_bytes()).unwrap();
            assert_eq!(stat.name, name);
            assert_eq!((stat.pid, stat.state, stat.parent), (77, 'S', 1));
            assert_eq!((stat.major_faults, stat.threads, stat.start_ticks), (3, 6, 5123));
            assert_eq!(stat.cpu_ms(), 460);
        }
    }

    #[test]
    fn garbage_in_place_of_counters_is_nothing() {
        for text in [&b""[..], b"(", b")(", b"1 (x", b"1 (x)", b"\xff (x) S", b"1 (x) S 1 a b c"] {
            assert_eq!(Stat::parse(text), None);
            assert_eq!(Schedstat::parse(text), None);
            assert_eq!(Io::parse(text), None);
        }
    }

    #[test]
    fn status_fields_are_found_by_their_whole_name() {
        let status = b"Name:\tx:y\nUid:\t0\t65532\t0\t65532\nGroups:\t4 20 \nVmRSS:\t   1024 kB\n\
            voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(field(status, "Name"), Some("x:y"));
        assert_eq!(ids(status, "Uid"), Some([0, 65532, 0, 65532]));
        assert_eq!(groups(status), [4, 20]);
        assert_eq!(number(status, "VmRSS"), Some(1024));
        assert_eq!(number(status, "voluntary_ctxt_switches"), Some(5));
        assert_eq!(number(status, "nonvoluntary_ctxt_switches"), Some(7));
        assert_eq!(field(status, "Nam"), None);
    }

    #[test]
    fn counters_of_a_real_process_are_read() {
        let io = b"rchar: 3\nwchar: 4\nsyscr: 5\nsyscw: 6\nread_bytes: 7\nwrite_bytes: 8\n\
            cancelled_write_bytes: 0\n";
        assert_eq!(
            Io::parse(io),
            Some(Io { rchar: 3, wchar: 4, syscr: 5, syscw: 6, read_bytes: 7, write_bytes: 8 })
        );
        assert_eq!(
            Schedstat::parse(b"1201 77 3\n"),
            Some(Schedstat { run_ns: 1201, wait_ns: 77, slices: 3 })
        );
        let limits = b"Limit    Soft Limit   Hard Limit   Units\n\
            Max open files            1024                 524288               files\n";
        assert_eq!(open_files_limit(limits), Some(1024));
    }
}
