//! System calls as `strace -yy` shows them: the name of a number, and the arguments of those in
//! which threads block.
//!
//! What has to be looked up (a descriptor's path, a structure in the program's memory) is asked
//! through [`Lookup`]; without an answer the argument is shown as a number.

mod names;
mod signatures;

use crate::linux::net;
use crate::units::Addr;
use signatures::Arg;
use std::borrow::Cow;
use std::fmt::Write as _;

/// An architecture whose numbers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// The architecture this program is built for, if known.
    #[must_use]
    pub const fn here() -> Option<Self> {
        if cfg!(target_arch = "x86_64") {
            Some(Self::X86_64)
        } else if cfg!(target_arch = "aarch64") {
            Some(Self::Aarch64)
        } else {
            None
        }
    }
}

/// The name of a call, `syscall_N` if unknown.
#[must_use]
pub fn name(arch: Option<Arch>, nr: u64) -> Cow<'static, str> {
    let (list, from) = match arch {
        _ if nr >= names::COMMON_FROM => (names::COMMON, names::COMMON_FROM),
        Some(Arch::X86_64) => (names::X86_64, 0),
        Some(Arch::Aarch64) => (names::AARCH64, 0),
        None => ("", 0),
    };
    let at = usize::try_from(nr.saturating_sub(from)).unwrap_or(usize::MAX);
    match list.split_ascii_whitespace().nth(at).filter(|name| *name != "-") {
        Some(name) => Cow::Borrowed(name),
        None => Cow::Owned(format!("syscall_{nr}")),
    }
}

/// What decoding may ask about the program.
pub trait Lookup {
    /// What a descriptor is: `/data/x.lock`, `TCP:[10.0.0.1:1->10.0.0.2:2]`, `pipe:[77]`.
    fn descriptor(&mut self, fd: u32) -> Option<String>;
    /// Up to `len` bytes of its memory; fewer at the end of a mapping.
    fn memory(&mut self, at: Addr, len: usize) -> Option<Vec<u8>>;
}

/// A decoded call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub nr: u64,
    /// Its name.
    pub name: String,
    /// All of it: `flock(3</data/x.lock>, LOCK_EX)`.
    pub text: String,
    /// The first descriptor argument.
    pub fd: Option<u32>,
    /// The first path argument.
    pub path: Option<String>,
    /// The socket address argument: `10.0.3.7:5432`.
    pub address: Option<String>,
    /// The address of a futex.
    pub futex: Option<u64>,
    /// The process waited for; absent = any child.
    pub wait_pid: Option<i32>,
    /// Longest wait in milliseconds; absent = for ever, or unknown.
    pub timeout_ms: Option<u64>,
    /// How many descriptors it waits for.
    pub watched: Option<u64>,
}

/// The longest text of a call, bytes.
const TEXT_LIMIT: usize = 400;
/// The longest path read, bytes.
const PATH_LIMIT: usize = 256;

/// Decodes a call; any six numbers are survived.
#[must_use]
pub fn decode(arch: Option<Arch>, nr: u64, args: [u64; 6], lookup: &mut dyn Lookup) -> Call {
    let name = name(arch, nr);
    let mut call = Call { nr, name: name.to_string(), ..Call::default() };
    let signature = signatures::of(&name);
    let mut text = format!("{name}(");
    for (at, kind) in signature.iter().enumerate() {
        if at > 0 {
            text.push_str(", ");
        }
        let value = args.get(at).copied().unwrap_or_default();
        let next = args.get(at + 1).copied().unwrap_or_default();
        text.push_str(&argument(*kind, value, next, &mut call, lookup));
    }
    if signature.is_empty() && !signatures::takes_nothing(&name) {
        // Unknown arguments are not invented.
        text.push('…');
    }
    text.push(')');
    if text.len() > TEXT_LIMIT {
        let end = (0..=TEXT_LIMIT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    call.text = text;
    call
}

/// The low 32 bits, as an `unsigned int` argument sees them.
fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or(u32::MAX)
}

/// The low 32 bits, as an `int` argument sees them.
const fn int(value: u64) -> i32 {
    let [a, b, c, d, ..] = value.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn argument(kind: Arg, value: u64, next: u64, call: &mut Call, lookup: &mut dyn Lookup) -> String {
    match kind {
        Arg::Fd => descriptor(int(value), call, lookup),
        Arg::Int => int(value).to_string(),
        Arg::Size => value.to_string(),
        Arg::Ms => milliseconds(int(value), call),
        Arg::Ptr if value == 0 => "NULL".to_owned(),
        Arg::Ptr => format!("{value:#x}"),
        Arg::Path => path(value, call, lookup),
        Arg::SockAddr => address(value, next, call, lookup),
        Arg::Relative => relative(value, 1_000_000, call, lookup),
        Arg::RelativeMicros => relative(value, 1_000, call, lookup),
        Arg::Futex => {
            call.futex = Some(value);
            format!("{value:#x}")
        }
        Arg::FutexOp => futex_op(low(value)),
        Arg::WatchedFds => {
            call.watched = Some(u64::from(low(next)));
            poll_set(value, low(next), lookup)
        }
        Arg::Count => {
            call.watched = Some(u64::from(low(value)));
            low(value).to_string()
        }
        Arg::WaitPid => {
            let pid = int(value);
            call.wait_pid = (pid > 0).then_some(pid);
            pid.to_string()
        }
        Arg::IdType => {
            let kind = low(value);
            call.wait_pid = (kind == 1 && int(next) > 0).then_some(int(next));
            signatures::word(&["P_ALL", "P_PID", "P_PGID", "P_PIDFD"], kind)
        }
        Arg::Flock => flock(low(value)),
        Arg::Fcntl => signatures::fcntl(low(value)),
        Arg::OpenFlags => signatures::open_flags(low(value)),
        Arg::Clock => signatures::word(
            &["CLOCK_REALTIME", "CLOCK_MONOTONIC", "CLOCK_PROCESS_CPUTIME_ID"],
            low(value),
        ),
    }
}

fn descriptor(fd: i32, call: &mut Call, lookup: &mut dyn Lookup) -> String {
    const AT_FDCWD: i32 = -100;
    let Ok(number) = u32::try_from(fd) else {
        return if fd == AT_FDCWD { "AT_FDCWD".to_owned() } else { fd.to_string() };
    };
    call.fd.get_or_insert(number);
    match lookup.descriptor(number) {
        Some(what) => format!("{fd}<{what}>"),
        None => fd.to_string(),
    }
}

fn milliseconds(timeout: i32, call: &mut Call) -> String {
    call.timeout_ms = u64::try_from(timeout).ok();
    timeout.to_string()
}

fn path(at: u64, call: &mut Call, lookup: &mut dyn Lookup) -> String {
    let Some(bytes) = lookup.memory(Addr(at), PATH_LIMIT) else { return format!("{at:#x}") };
    let (bytes, more) = match bytes.iter().position(|b| *b == 0) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), ""),
        None => (bytes.as_slice(), "…"),
    };
    let path = String::from_utf8_lossy(bytes).into_owned();
    let text = format!("{path:?}{more}");
    call.path.get_or_insert(path);
    text
}

fn address(at: u64, len: u64, call: &mut Call, lookup: &mut dyn Lookup) -> String {
    /// sizeof(struct sockaddr_un), the longest address.
    const LONGEST: u64 = 110;
    let len = usize::try_from(len.min(LONGEST)).unwrap_or(0);
    let bytes = if at == 0 { None } else { lookup.memory(Addr(at), len) };
    match bytes.as_deref().and_then(net::sockaddr) {
        Some(address) => {
            let text = format!("{{{address}}}");
            call.address = Some(address);
            text
        }
        None if at == 0 => "NULL".to_owned(),
        None => format!("{at:#x}"),
    }
}

/// A `timespec` (`unit` = nanoseconds in a millisecond) or `timeval` (microseconds).
fn relative(at: u64, unit: u64, call: &mut Call, lookup: &mut dyn Lookup) -> String {
    if at == 0 {
        return "NULL".to_owned();
    }
    let words = lookup.memory(Addr(at), 16).and_then(|bytes| {
        let (seconds, rest) = bytes.split_first_chunk::<8>()?;
        let parts = rest.first_chunk::<8>()?;
        Some((u64::from_ne_bytes(*seconds), u64::from_ne_bytes(*parts)))
    });
    let Some((seconds, parts)) = words else { return format!("{at:#x}") };
    let ms = seconds.saturating_mul(1000).saturating_add(parts / unit);
    call.timeout_ms = Some(ms);
    format!("{{{}.{:03}s}}", ms / 1000, ms % 1000)
}

/// `{fd, fd, …}` of a poll set: struct pollfd is an int and two shorts.
fn poll_set(at: u64, count: u32, lookup: &mut dyn Lookup) -> String {
    const SHOWN: usize = 4;
    let len = usize::try_from(count).unwrap_or(0).min(SHOWN) * 8;
    let Some(bytes) = lookup.memory(Addr(at), len).filter(|bytes| !bytes.is_empty()) else {
        return if at == 0 { "NULL".to_owned() } else { format!("{at:#x}") };
    };
    let mut text = String::from("[");
    for entry in bytes.chunks_exact(8) {
        let fd = entry.first_chunk::<4>().map_or(-1, |fd| i32::from_ne_bytes(*fd));
        let what = u32::try_from(fd).ok().and_then(|fd| lookup.descriptor(fd)).unwrap_or_default();
        let comma = if text.len() > 1 { ", " } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{fd}<{what}>");
    }
    if usize::try_from(count).unwrap_or(0) > SHOWN {
        text.push_str(", …");
    }
    text.push(']');
    text
}

fn futex_op(op: u32) -> String {
    const PRIVATE: u32 = 128;
    const REALTIME: u32 = 256;
    let names = [
        "FUTEX_WAIT",
        "FUTEX_WAKE",
        "FUTEX_FD",
        "FUTEX_REQUEUE",
        "FUTEX_CMP_REQUEUE",
        "FUTEX_WAKE_OP",
        "FUTEX_LOCK_PI",
        "FUTEX_UNLOCK_PI",
        "FUTEX_TRYLOCK_PI",
        "FUTEX_WAIT_BITSET",
        "FUTEX_WAKE_BITSET",
        "FUTEX_WAIT_REQUEUE_PI",
        "FUTEX_CMP_REQUEUE_PI",
        "FUTEX_LOCK_PI2",
    ];
    let mut text = signatures::word(&names, op & !(PRIVATE | REALTIME));
    if op & PRIVATE != 0 {
        text.push_str("_PRIVATE");
    }
    if op & REALTIME != 0 {
        text.push_str("|FUTEX_CLOCK_REALTIME");
    }
    text
}

fn flock(op: u32) -> String {
    const NONBLOCKING: u32 = 4;
    let text = match op & !NONBLOCKING {
        1 => "LOCK_SH",
        2 => "LOCK_EX",
        8 => "LOCK_UN",
        _ => return format!("{op:#x}"),
    };
    let suffix = if op & NONBLOCKING == 0 { "" } else { "|LOCK_NB" };
    format!("{text}{suffix}")
}

#[cfg(test)]
mod tests;
