//! What is known about the goroutines of a program: the values that reading produces and that
//! text, JSON and evidence are made of. How they are read is in `walk`.

use super::inittask::Progress;
use super::locks::Holder;
use super::symbol::{Site, Symbols};
use std::collections::BTreeMap;

/// `g.atomicstatus` without the scan bit (runtime/runtime2.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u8);

impl Status {
    /// Ready to run, waiting for a P.
    pub const RUNNABLE: Self = Self(1);
    /// On a CPU, or would be if the kernel let its thread.
    pub const RUNNING: Self = Self(2);
    /// In a system call or in C.
    pub const SYSCALL: Self = Self(3);
    /// Waiting; the reason says for what.
    pub const WAITING: Self = Self(4);
    /// Found to wait for something that nobody can reach (1.26 and later).
    pub const LEAKED: Self = Self(10);

    /// Whether there is no goroutine here: never started, or ended, or a spare one for cgo.
    #[must_use]
    pub fn is_free(self) -> bool {
        matches!(self.0, 0 | 5 | 6 | 7 | 11)
    }

    /// The runtime's word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            0 => "idle",
            1 => "runnable",
            2 => "running",
            3 => "syscall",
            4 => "waiting",
            6 => "dead",
            8 => "copystack",
            9 => "preempted",
            10 => "leaked",
            _ => "???",
        }
    }
}

/// What kind of lock a semaphore belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockKind {
    /// `sync.Mutex`.
    Mutex,
    /// `sync.RWMutex`, waiting to read.
    Read,
    /// `sync.RWMutex`, waiting to write.
    Write,
    /// `sync.WaitGroup`.
    WaitGroup,
    /// A semaphore of the runtime or of something unknown.
    Semaphore,
}

impl LockKind {
    /// The type's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutex => "sync.Mutex",
            Self::Read | Self::Write => "sync.RWMutex",
            Self::WaitGroup => "sync.WaitGroup",
            Self::Semaphore => "semaphore",
        }
    }
}

/// One thing a goroutine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The channel at this address; several for a select.
    Channel(u64),
    /// The lock at this address.
    Lock(LockKind, u64),
    /// The descriptor with this number to become readable, or writable.
    Poll {
        /// The descriptor.
        fd: u32,
        /// Writable rather than readable.
        write: bool,
    },
    /// The instant when it wakes, nanoseconds of CLOCK_MONOTONIC.
    Until(u64),
}

impl Wait {
    /// The address of the channel or lock.
    #[must_use]
    pub fn address(&self) -> Option<u64> {
        match self {
            Self::Channel(at) | Self::Lock(_, at) => Some(*at),
            Self::Poll { .. } | Self::Until(_) => None,
        }
    }
}

/// A channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// Elements in its buffer.
    pub length: u64,
    /// Elements its buffer can hold.
    pub capacity: u64,
    /// Whether it is closed.
    pub closed: bool,
}

/// A lock's own words: the first 24 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// Mutex state: locked 1, woken 2, starving 4, waiters above. Low half of a WaitGroup's.
    pub low: u32,
    /// High half of the first word: the counter of a WaitGroup.
    pub high: u32,
    /// `RWMutex.readerCount`: negative while a writer waits or writes.
    pub readers: i32,
    /// `RWMutex.readerWait`.
    pub reader_wait: i32,
}

impl Lock {
    /// The waiters in the low word of a WaitGroup; the bit above is a flag of synctest's.
    pub const WAITERS: u32 = 0x7fff_ffff;

    /// Whether a Mutex is locked.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.low & 1 == 1
    }

    /// How many wait for a Mutex.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.low >> 3
    }

    /// Readers of an RWMutex, and whether a writer waits or writes: Go subtracts 2^30 for it
    /// (sync/rwmutex.go).
    #[must_use]
    pub fn readers(&self) -> (i32, bool) {
        let writer = self.readers < 0;
        (if writer { self.readers.wrapping_add(1 << 30) } else { self.readers }, writer)
    }
}

/// No stack.
pub const NO_STACK: u32 = u32::MAX;

/// One goroutine.
#[derive(Clone, Debug)]
pub struct Goroutine {
    /// Its number.
    pub id: u64,
    /// Address of its `g`.
    pub address: u64,
    /// Its state.
    pub status: Status,
    /// The garbage collector is scanning its stack.
    pub scan: bool,
    /// Index into [`Dump::reasons`].
    pub reason: u8,
    /// The goroutine that started it; 0 before Go 1.21.
    pub parent: u64,
    /// Since when it waits, nanoseconds of CLOCK_MONOTONIC; 0 = no garbage collection has seen it
    /// wait yet.
    pub since: u64,
    /// Locked to its thread.
    pub locked: bool,
    /// The runtime's own, hidden in the user's view.
    pub system: bool,
    /// Running cleanups or finalizers: the user's code, whatever started it.
    pub cleanups: bool,
    /// It kept moving while it was read: stack and state may not belong together.
    pub unstable: bool,
    /// Its stack's number in [`Symbols::stacks`], or [`NO_STACK`].
    pub stack: u32,
    /// The `go` statement that started it.
    pub created_by: Option<Site>,
    /// Thread it runs on, as the program's own PID namespace counts; 0 = none.
    pub thread: u32,
    /// Changes whenever the goroutine ran: equal in two looks = it did not move.
    pub mark: u64,
    /// Whether it ran since an earlier look; absent without one, and while it is on a CPU.
    pub moved: Option<bool>,
    /// What it waits for.
    pub waits: Box<[Wait]>,
}

/// A look at all goroutines.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// The Go version as the program states it, empty if it does not.
    pub version: String,
    /// The offsets were measured in this program instead of taken from the table.
    pub calibrated: bool,
    /// Plugins are loaded, whose code is not in the tables that were read.
    pub plugins: bool,
    /// Nanoseconds between two looks; 0 = there was one.
    pub sampled: u64,
    /// All goroutines in the order of their creation list; ended ones are left out.
    pub goroutines: Vec<Goroutine>,
    /// Functions, files, stacks.
    pub symbols: Symbols,
    /// Wait reasons by number.
    pub reasons: Vec<String>,
    /// Channels that are waited for, by address.
    pub channels: BTreeMap<u64, Channel>,
    /// Types of their elements, by address, as far as they could be read.
    pub elements: BTreeMap<u64, String>,
    /// Locks that are waited for, by address.
    pub locks: BTreeMap<u64, Lock>,
    /// Who may hold which lock.
    pub holders: Vec<Holder>,
    /// Rings of goroutines each waiting for the next, by number.
    pub cycles: Vec<Vec<u64>>,
    /// How far package initialisation is; absent before Go 1.21.
    pub init: Option<Progress>,
    /// What descriptors are that goroutines wait for, by number.
    pub descriptors: BTreeMap<u32, String>,
    /// What threads do that goroutines are on, by number.
    pub threads: BTreeMap<u32, String>,
    /// Goroutines that could not be read.
    pub unreadable: usize,
    /// Goroutines not read because of the deadline or the limit.
    pub left_out: usize,
}

impl Dump {
    /// The goroutine's wait reason; empty when it has none.
    #[must_use]
    pub fn reason(&self, goroutine: &Goroutine) -> &str {
        self.reasons.get(usize::from(goroutine.reason)).map_or("", String::as_str)
    }

    /// State as the runtime prints it: the wait reason of a waiting goroutine, else the status.
    #[must_use]
    pub fn state(&self, goroutine: &Goroutine) -> &str {
        let waits = matches!(goroutine.status, Status::WAITING | Status::LEAKED);
        match self.reason(goroutine) {
            reason if waits && !reason.is_empty() => reason,
            _ => goroutine.status.name(),
        }
    }

    /// Whole minutes that the goroutine is known to wait.
    #[must_use]
    pub fn minutes(&self, goroutine: &Goroutine, now: u64) -> u64 {
        let waits = matches!(goroutine.status, Status::WAITING | Status::SYSCALL | Status::LEAKED);
        if !waits || goroutine.since == 0 {
            return 0;
        }
        now.saturating_sub(goroutine.since) / 60_000_000_000
    }

    /// Goroutines that wait for the channel or lock at `address`.
    pub fn waiting_for(&self, address: u64) -> impl Iterator<Item = &Goroutine> {
        let at = move |wait: &Wait| wait.address() == Some(address);
        self.goroutines.iter().filter(move |goroutine| goroutine.waits.iter().any(at))
    }

    /// Goroutines that have `address` on their stack and do not wait for it.
    pub fn holding(&self, address: u64) -> impl Iterator<Item = u64> {
        let of = self.holders.iter().filter(move |holder| holder.lock == address);
        of.map(|holder| holder.goroutine)
    }

    /// Nanoseconds that the goroutine is known to wait: since a garbage collection saw it wait,
    /// or since the earlier look if it did not move.
    #[must_use]
    pub fn waited(&self, goroutine: &Goroutine, now: u64) -> Option<u64> {
        let waits = !matches!(goroutine.status, Status::RUNNING | Status::RUNNABLE);
        let known = now.checked_sub(goroutine.since).filter(|_| goroutine.since != 0 && waits);
        known.max(Some(self.sampled).filter(|_| waits && goroutine.moved == Some(false)))
    }
}
