//! What the program's descriptors are: links, sockets by inode, kinds of files; and its memory,
//! for arguments of system calls.

use super::proc::{LARGE, Program, SMALL};
use crate::linux::fdinfo::{self, Link};
use crate::linux::net::{self, Entry};
use crate::linux::stat;
use crate::linux::syscalls::Lookup;
use crate::policy::evidence::{Socket, Target, TargetKind, Why};
use crate::units::Addr;
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

/// The most descriptors whose links are read.
const LIMIT: usize = 8192;

/// The program's descriptors.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    links: HashMap<u32, String>,
    sockets: HashMap<u64, Entry>,
    /// The lowest descriptor for each socket inode.
    by_inode: HashMap<u64, u32>,
    /// How many are open; absent where denied.
    pub(crate) count: Option<u64>,
    /// Why there are no links, if there are none.
    pub(crate) missing: Option<Why>,
    /// Whether files may be looked at: stat(2) on a file of a dead server hangs.
    pub(crate) look_at_files: bool,
}

impl Descriptors {
    /// Reads links and socket tables.
    pub(crate) fn read(program: &Program) -> Self {
        let mut found = Self::default();
        let fds = match program.numbers(&format!("/proc/{}/fd", program.pid), LIMIT) {
            Ok((fds, count)) => {
                found.count = Some(count);
                fds
            }
            Err(why) => {
                found.missing = Some(why);
                Vec::new()
            }
        };
        found.look_at(&fds, program);
        found
    }

    /// Reads links and socket tables for some descriptors.
    pub(crate) fn of(program: &Program, fds: &[u32]) -> Self {
        let mut found = Self::default();
        found.look_at(fds.get(..LIMIT).unwrap_or(fds), program);
        found
    }

    fn look_at(&mut self, fds: &[u32], program: &Program) {
        for &fd in fds {
            let Ok(link) = program.link(&format!("fd/{fd}")) else { continue };
            if let Link::Socket(inode) = Link::parse(&link) {
                self.by_inode.entry(inode).or_insert(fd);
            }
            self.links.insert(fd, link);
        }
        if !self.by_inode.is_empty() {
            self.read_sockets(program);
        }
    }

    /// Takes the program's own sockets out of the tables of its network namespace.
    fn read_sockets(&mut self, program: &Program) {
        for proto in ["tcp", "tcp6", "udp", "udp6"] {
            let Ok(text) = program.read(&format!("net/{proto}"), LARGE) else { continue };
            for entry in net::inet(proto, &text) {
                self.keep(entry);
            }
        }
        let Ok(text) = program.read("net/unix", LARGE) else { return };
        for entry in net::unix(&text) {
            self.keep(entry);
        }
    }

    fn keep(&mut self, entry: Entry) {
        if self.by_inode.contains_key(&entry.inode) {
            self.sockets.insert(entry.inode, entry);
        }
    }

    /// All sockets, in the order of their descriptors.
    pub(crate) fn sockets(&self) -> Vec<Socket> {
        let mut all: Vec<Socket> = self.sockets.values().map(|entry| self.socket(entry)).collect();
        all.sort_unstable_by_key(|socket| socket.fd);
        all
    }

    fn socket(&self, entry: &Entry) -> Socket {
        Socket {
            proto: entry.proto.to_owned(),
            local: entry.local.clone(),
            remote: entry.remote.clone(),
            state: entry.state.to_owned(),
            send_queue: entry.send_queue,
            recv_queue: entry.recv_queue,
            inode: entry.inode,
            fd: self.by_inode.get(&entry.inode).copied().map(u64::from),
            retransmits: entry.proto.starts_with("tcp").then_some(entry.retransmits),
            last_recv_ms: None,
            last_sent_ms: None,
        }
    }

    /// What the link of a descriptor says.
    pub(crate) fn link(&self, fd: u32) -> Option<&str> {
        self.links.get(&fd).map(String::as_str)
    }

    /// What a descriptor is.
    pub(crate) fn target(&self, fd: u32, program: &Program) -> Option<Target> {
        let path = self.link(fd)?.to_owned();
        let (kind, socket) = match Link::parse(&path) {
            Link::Socket(inode) => {
                (TargetKind::Socket, self.sockets.get(&inode).map(|entry| self.socket(entry)))
            }
            Link::Pipe(_) => (TargetKind::Pipe, None),
            Link::Memory(_) => (TargetKind::MemFd, None),
            Link::Anonymous(word) => (anonymous(word), None),
            Link::Path(path) => {
                let at = format!("/proc/{}/fd/{fd}", program.pid);
                (self.file_kind(path, &at, program), None)
            }
        };
        Some(Target { kind, path, socket })
    }

    /// What a path argument is; relative paths are not followed.
    pub(crate) fn path_target(&self, path: &str, program: &Program) -> Target {
        let at = format!("/proc/{}/root{path}", program.pid);
        let kind = if path.starts_with('/') {
            self.file_kind(path, &at, program)
        } else {
            TargetKind::Other
        };
        Target { kind, path: path.to_owned(), socket: None }
    }

    fn file_kind(&self, path: &str, at: &str, program: &Program) -> TargetKind {
        if path.starts_with("/dev/pts/") || path.starts_with("/dev/tty") || path == "/dev/console" {
            return TargetKind::Terminal;
        }
        if !self.look_at_files {
            return TargetKind::Other;
        }
        let Ok(facts) = std::fs::metadata(program.root().locate(Path::new(at))) else {
            return TargetKind::Other;
        };
        let kind = facts.file_type();
        if kind.is_file() {
            TargetKind::File
        } else if kind.is_dir() {
            TargetKind::Directory
        } else if kind.is_fifo() {
            TargetKind::Fifo
        } else if kind.is_char_device() || kind.is_block_device() {
            TargetKind::Device
        } else if kind.is_socket() {
            TargetKind::Socket
        } else {
            TargetKind::Other
        }
    }

    /// The path of an open file with this inode (`ino` of fdinfo, Linux 5.14 and later).
    pub(crate) fn path_of_inode(&self, inode: u64, program: &Program) -> Option<String> {
        /// Files looked at; each costs one open.
        const LIMIT: usize = 1024;
        let mut paths: Vec<(u32, &String)> = self
            .links
            .iter()
            .filter(|(_, link)| matches!(Link::parse(link), Link::Path(_)))
            .map(|(fd, link)| (*fd, link))
            .collect();
        paths.sort_unstable();
        let (_, path) = paths.into_iter().take(LIMIT).find(|(fd, _)| {
            program
                .read(&format!("fdinfo/{fd}"), SMALL)
                .is_ok_and(|text| stat::number(&text, "ino") == Some(inode))
        })?;
        Some(path.clone())
    }

    /// How many descriptors an epoll set watches.
    pub(crate) fn epoll_size(&self, fd: u32, program: &Program) -> Option<u64> {
        if !matches!(Link::parse(self.link(fd)?), Link::Anonymous("eventpoll")) {
            return None;
        }
        let text = program.read(&format!("fdinfo/{fd}"), SMALL).ok()?;
        u64::try_from(fdinfo::epoll_targets(&text).len()).ok()
    }

    /// A descriptor in the words of `strace -yy`.
    fn words(&self, fd: u32) -> Option<String> {
        let link = self.link(fd)?;
        let Link::Socket(inode) = Link::parse(link) else { return Some(link.to_owned()) };
        let Some(entry) = self.sockets.get(&inode) else { return Some(link.to_owned()) };
        let proto = entry.proto.to_uppercase();
        Some(match (entry.local.as_str(), entry.remote.as_str()) {
            ("", "") => format!("{proto}:[{inode}]"),
            (local, "") => format!("{proto}:[{local}]"),
            (local, remote) => format!("{proto}:[{local}->{remote}]"),
        })
    }
}

/// The word in `anon_inode:[…]`.
fn anonymous(word: &str) -> TargetKind {
    match word {
        "eventpoll" => TargetKind::Epoll,
        "eventfd" => TargetKind::EventFd,
        "timerfd" => TargetKind::TimerFd,
        "signalfd" => TargetKind::SignalFd,
        "inotify" => TargetKind::Inotify,
        "pidfd" => TargetKind::PidFd,
        _ => TargetKind::Other,
    }
}

/// Descriptors, and memory where it may be read.
#[derive(Debug)]
pub(crate) struct Eyes<'a> {
    /// The descriptors.
    pub(crate) descriptors: &'a Descriptors,
    /// /proc/PID/mem.
    pub(crate) memory: Option<&'a File>,
}

impl Lookup for Eyes<'_> {
    fn descriptor(&mut self, fd: u32) -> Option<String> {
        self.descriptors.words(fd)
    }

    /// pread(2) on the memory file: one structure at a time, so process_vm_readv would win
    /// nothing, and seccomp profiles that forbid it let this pass.
    fn memory(&mut self, at: Addr, len: usize) -> Option<Vec<u8>> {
        /// A read that crosses into an unmapped page gives what is before it.
        const PAGE: u64 = 4096;
        let memory = self.memory?;
        let mut bytes = vec![0; len];
        let to_page_end = usize::try_from(PAGE - at.0 % PAGE).unwrap_or(0);
        let first = len.min(to_page_end);
        let count = memory.read_at(bytes.get_mut(..first)?, at.0).ok().filter(|n| *n > 0)?;
        let rest = if count == first && first < len {
            let next = at.0.checked_add(u64::try_from(first).ok()?)?;
            memory.read_at(bytes.get_mut(first..)?, next).unwrap_or(0)
        } else {
            0
        };
        bytes.truncate(count + rest);
        Some(bytes)
    }
}
