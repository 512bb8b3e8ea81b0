//! What was seen when a program stopped moving: plain facts, each present or missing with a
//! reason, and their form as JSON, in which they travel from the evidence process to the judge
//! and into a log that is replayed later.
//!
//! Nothing here looks anything up and nothing here judges. The JSON form of a struct is an object
//! whose keys are the field names; what is absent is left out, what is unknown is ignored, and
//! what has the wrong type reads as absent, so that documents of other versions stay readable.

use crate::units::{Mono, Pid};
use serde_json::{Map, Value};
use std::fmt;

/// A value, or the reason why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Probe<T> {
    /// The source was read.
    Got(T),
    /// It could not be read.
    Missing(Why),
}

/// Why a fact is missing. The texts are fragments for people: a path and an error, mostly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody asked for it, or the document is of a version that does not know it.
    NotAsked,
    /// The kernel refused: permissions, Yama, seccomp, a hidden /proc.
    Denied(String),
    /// The process or thread ended meanwhile.
    Gone,
    /// This kernel, architecture or Go version does not offer it.
    Unsupported(String),
    /// It did not answer before the deadline.
    TimedOut,
    /// It answered something that nobody understands.
    Malformed(String),
    /// The evidence process could not be started, crashed or was killed.
    Failed(String),
}

impl<T> Probe<T> {
    /// The value, if there is one.
    pub const fn got(&self) -> Option<&T> {
        match self {
            Self::Got(value) => Some(value),
            Self::Missing(_) => None,
        }
    }

    /// The reason why there is no value, if there is none.
    pub const fn missing(&self) -> Option<&Why> {
        match self {
            Self::Got(_) => None,
            Self::Missing(why) => Some(why),
        }
    }
}

impl<T> Default for Probe<T> {
    fn default() -> Self {
        Self::Missing(Why::NotAsked)
    }
}

impl<T> From<Result<T, Why>> for Probe<T> {
    fn from(result: Result<T, Why>) -> Self {
        match result {
            Ok(value) => Self::Got(value),
            Err(why) => Self::Missing(why),
        }
    }
}

impl fmt::Display for Why {
    /// A fragment that fits after "no threads: ".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NotAsked => "not asked for",
            Self::Denied(_) => "access denied",
            Self::Gone => "the process is gone",
            Self::Unsupported(_) => "not supported here",
            Self::TimedOut => "no answer before the deadline",
            Self::Malformed(_) => "not understood",
            Self::Failed(_) => "the evidence process failed",
        };
        f.write_str(text)?;
        let (_, detail) = self.parts();
        if detail.is_empty() { Ok(()) } else { write!(f, " ({detail})") }
    }
}

/// Declares a struct of facts together with its JSON form (field name = key).
macro_rules! facts {
    ($(#[$about:meta])* $name:ident { $( $(#[$doc:meta])* $field:ident: $kind:ty, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name { $( $(#[$doc])* pub $field: $kind, )+ }

        impl Wire for $name {
            fn to_wire(&self) -> Option<Value> {
                let mut object = Map::new();
                $( if let Some(value) = self.$field.to_wire() {
                    object.insert(stringify!($field).to_owned(), value);
                } )+
                Some(Value::Object(object))
            }

            fn from_wire(value: &Value) -> Option<Self> {
                let object = value.as_object()?;
                let mut facts = Self::default();
                facts.take(object);
                Some(facts)
            }
        }

        impl $name {
            /// Takes over every key that is there and understood.
            fn take(&mut self, object: &Map<String, Value>) {
                $( if let Some(value) = object.get(stringify!($field)).and_then(Wire::from_wire) {
                    self.$field = value;
                } )+
            }
        }
    };
}

/// Declares a closed list of words together with its JSON form (a string).
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $word:literal, )+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$doc])* $variant, )+
            /// Something else.
            #[default]
            Other,
        }

        impl $name {
            /// The word for it in JSON and in sentences.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ Self::Other => "other" }
            }
        }

        impl Wire for $name {
            fn to_wire(&self) -> Option<Value> {
                Some(Value::from(self.word()))
            }

            fn from_wire(value: &Value) -> Option<Self> {
                Some(match value.as_str()? { $( $word => Self::$variant, )+ _ => Self::Other })
            }
        }
    };
}

/// What the Go runtime's own memory says.
mod goroutines;

pub use goroutines::{
    Channel, Frame, Goroutine, GoroutineGroup, Goroutines, InitProgress, LockStep, Wakers,
};

facts! {
    /// Everything that was seen, from one start of the evidence process.
    Evidence {
        /// When collecting began, CLOCK_MONOTONIC.
        at: Mono,
        /// The program that was looked at.
        pid: Pid,
        /// Milliseconds between the two looks that all `…_delta` fields compare; 0 = one look.
        sample_ms: u64,
        /// Milliseconds from `at` until the last source had answered.
        took_ms: u64,
        /// The control group: limits, throttling, memory, pressure.
        cgroup: Probe<Cgroup>,
        /// The program as a whole.
        process: Probe<Process>,
        /// Its threads, at most 512 of them, in the order of their numbers.
        threads: Probe<Vec<Thread>>,
        /// Its sockets, at most 256 of them; those that a thread is blocked on come first.
        sockets: Probe<Vec<Socket>>,
        /// File locks that it waits for; those that it holds while somebody waits.
        locks: Probe<Vec<Lock>>,
        /// Its child processes and their descendants, at most 64.
        children: Probe<Vec<Child>>,
        /// Goroutines and package init, read from its memory.
        goroutines: Probe<Goroutines>,
        /// What the limits above cut off.
        left_out: LeftOut,
    }
}

facts! {
    /// How many there are beyond those that are listed.
    LeftOut {
        /// Threads.
        threads: u64,
        /// Sockets.
        sockets: u64,
        /// Locks.
        locks: u64,
        /// Children.
        children: u64,
        /// Lines of the evidence process that nobody understood.
        lines: u64,
    }
}

facts! {
    /// The program's control group: the tightest limit on the way up, usage of its own group.
    Cgroup {
        /// 1 or 2.
        version: u64,
        /// CPU time allowed in each period, µs; absent = no quota.
        quota_us: Option<u64>,
        /// The period, µs.
        period_us: Option<u64>,
        /// CPU counters since the group exists (`cpu.stat`).
        cpu: CpuStat,
        /// How much they grew between the two looks.
        cpu_delta: CpuStat,
        /// Bytes in use, page cache included.
        memory_current: Option<u64>,
        /// Of these, page cache that is easily given up (`inactive_file`).
        memory_inactive_file: Option<u64>,
        /// Hard limit in bytes; absent = none.
        memory_max: Option<u64>,
        /// Throttling limit in bytes (v2 `memory.high`); absent = none.
        memory_high: Option<u64>,
        /// The most ever used, bytes.
        memory_peak: Option<u64>,
        /// Event counters since the group exists.
        memory_events: MemoryEvents,
        /// How much they grew between the two looks.
        memory_events_delta: MemoryEvents,
        /// Whether the group is frozen (freezer, `docker pause`).
        frozen: Option<bool>,
        /// Processes and threads in the group.
        pids_current: Option<u64>,
        /// The most allowed; absent = no limit.
        pids_max: Option<u64>,
        /// CPU pressure.
        pressure_cpu: Option<Pressure>,
        /// Memory pressure.
        pressure_memory: Option<Pressure>,
        /// IO pressure.
        pressure_io: Option<Pressure>,
    }
}

facts! {
    /// Counters of `cpu.stat`, in the kernel's words.
    CpuStat {
        /// Enforcement periods in which the group wanted to run.
        nr_periods: u64,
        /// Those in which it was throttled.
        nr_throttled: u64,
        /// For how long, µs, summed over CPUs.
        throttled_usec: u64,
        /// CPU time used, µs.
        usage_usec: u64,
    }
}

facts! {
    /// Counters of v2 `memory.events`; v1 gives `max` (failcnt) and `oom_kill`.
    MemoryEvents {
        /// Times `memory.high` was exceeded.
        high: u64,
        /// Times the hard limit was about to be exceeded.
        max: u64,
        /// Times an allocation was about to fail.
        oom: u64,
        /// Processes killed.
        oom_kill: u64,
    }
}

facts! {
    /// Pressure stall information of one resource.
    Pressure {
        /// Percent of the last 10 s in which some task waited.
        some_avg10: f64,
        /// Percent of the last 10 s in which all waited; absent where the kernel has none.
        full_avg10: Option<f64>,
        /// Time in which some waited, µs, since the group exists.
        some_total_us: u64,
        /// How much that grew between the two looks.
        some_delta_us: u64,
    }
}

facts! {
    /// The program as a whole.
    Process {
        /// Its name, as the kernel keeps it (15 bytes).
        name: String,
        /// State letter of the main thread: R S D T t Z X I.
        state: String,
        /// How many threads it has.
        threads: u64,
        /// Effective user number.
        uid: u64,
        /// Who traces it, if anybody.
        tracer: Option<Pid>,
        /// CPU time used since it started, user and system, milliseconds.
        cpu_ms: u64,
        /// CPU time used between the two looks by all threads, microseconds.
        cpu_delta_us: u64,
        /// Resident memory in bytes.
        rss_bytes: u64,
        /// Swapped-out memory in bytes.
        swap_bytes: u64,
        /// IO counters since it started; absent where denied.
        io: Option<Io>,
        /// How much they grew between the two looks.
        io_delta: Option<Io>,
        /// How many descriptors it has open; absent where denied.
        descriptors: Option<u64>,
        /// How many it may have (soft limit).
        descriptors_max: Option<u64>,
        /// Its children.
        children: Vec<Pid>,
    }
}

facts! {
    /// Counters of /proc/PID/io.
    Io {
        /// Bytes that read calls returned.
        rchar: u64,
        /// Bytes that write calls took.
        wchar: u64,
        /// Read calls.
        syscr: u64,
        /// Write calls.
        syscw: u64,
        /// Bytes fetched from storage.
        read_bytes: u64,
        /// Bytes sent to storage.
        write_bytes: u64,
    }
}

facts! {
    /// One thread.
    Thread {
        /// Its number.
        tid: u64,
        /// Its name.
        name: String,
        /// State letter: R S D T t Z X I.
        state: String,
        /// The kernel function in which it sleeps; absent = none or hidden.
        wchan: Option<String>,
        /// CPU time between the two looks, µs (schedstat).
        cpu_delta_us: u64,
        /// Time in which it was runnable but did not run, between the two looks, µs.
        wait_delta_us: u64,
        /// Voluntary context switches between the two looks.
        switches_delta: u64,
        /// Involuntary ones.
        preempted_delta: u64,
        /// CPU time since it started, µs.
        cpu_us: u64,
        /// The system call it is in; `Got(None)` = in none (running, stopped, or at a page fault).
        syscall: Probe<Option<Syscall>>,
        /// Whether the same call with the same arguments was seen at both looks.
        same_call: bool,
        /// Functions of the kernel stack, innermost first; empty where not allowed.
        kernel_stack: Vec<String>,
    }
}

facts! {
    /// A system call in which a thread is blocked.
    Syscall {
        /// Its number on this architecture.
        nr: u64,
        /// Its name: `connect`; `syscall_461` if unknown.
        name: String,
        /// All of it, as `strace -yy` shows it.
        text: String,
        /// The descriptor that it works on.
        fd: Option<u64>,
        /// What that descriptor (or the path argument) is.
        target: Option<Target>,
        /// The address of a futex.
        futex: Option<u64>,
        /// The process that is waited for (wait4, waitid); absent = any child.
        wait_pid: Option<Pid>,
        /// How long the call will wait at most, milliseconds; absent = for ever or unknown.
        timeout_ms: Option<u64>,
        /// How many descriptors it waits for (poll, select).
        watched: Option<u64>,
    }
}

facts! {
    /// What a descriptor or path argument is.
    Target {
        /// What kind of thing.
        kind: TargetKind,
        /// Its path, or what the link of the descriptor says (`pipe:[123]`, `anon_inode:[eventfd]`).
        path: String,
        /// The socket behind it.
        socket: Option<Socket>,
    }
}

words! {
    /// Kinds of things that descriptors are.
    TargetKind {
        /// A regular file.
        File = "file",
        /// A directory.
        Directory = "directory",
        /// A FIFO with a name.
        Fifo = "fifo",
        /// A pipe without a name.
        Pipe = "pipe",
        /// A socket.
        Socket = "socket",
        /// A terminal.
        Terminal = "terminal",
        /// Another device.
        Device = "device",
        /// An epoll set.
        Epoll = "epoll",
        /// An event counter.
        EventFd = "eventfd",
        /// A timer.
        TimerFd = "timerfd",
        /// A signal descriptor.
        SignalFd = "signalfd",
        /// File notifications.
        Inotify = "inotify",
        /// A process.
        PidFd = "pidfd",
        /// A memory file.
        MemFd = "memfd",
    }
}

facts! {
    /// One socket of the program.
    Socket {
        /// `tcp`, `tcp6`, `udp`, `udp6`, `unix`, `unix-dgram`, `raw` …
        proto: String,
        /// Own end: `10.0.1.12:40112`, `[::1]:80`, a path, `@name`; empty = not bound.
        local: String,
        /// The other end; empty = none.
        remote: String,
        /// `ESTABLISHED`, `SYN_SENT`, `LISTEN` …; for unix sockets `CONNECTED` and the like.
        state: String,
        /// Bytes sent but not acknowledged; for LISTEN the longest accept queue allowed.
        send_queue: u64,
        /// Bytes received but not read; for LISTEN the connections not yet accepted.
        recv_queue: u64,
        /// Its inode, the number in `socket:[…]`.
        inode: u64,
        /// The lowest descriptor of the program for it.
        fd: Option<u64>,
        /// Retransmissions of the oldest unanswered segment (SYN included).
        retransmits: Option<u64>,
        /// Milliseconds since data was last received, where the kernel tells.
        last_recv_ms: Option<u64>,
        /// Milliseconds since data was last sent, where the kernel tells.
        last_sent_ms: Option<u64>,
    }
}

words! {
    /// Kinds of file locks.
    LockKind {
        /// flock(2), of an open file.
        Flock = "flock",
        /// fcntl(2) F_SETLK, of a process.
        Posix = "posix",
        /// fcntl(2) F_OFD_SETLK, of an open file.
        Ofd = "ofd",
        /// A lease.
        Lease = "lease",
    }
}

facts! {
    /// One lock that somebody waits for.
    Lock {
        /// Which call makes such locks.
        kind: LockKind,
        /// Whether the waiter wants it for writing.
        exclusive: bool,
        /// Who waits.
        waiter: Pid,
        /// Who holds it; absent = not visible from here (another PID namespace, or ended).
        holder: Option<Pid>,
        /// The holder's name.
        holder_name: Option<String>,
        /// The file, from a descriptor of the waiter; absent = not found.
        path: Option<String>,
        /// The file's inode.
        inode: u64,
    }
}

facts! {
    /// One descendant of the program.
    Child {
        /// Its number.
        pid: Pid,
        /// Its parent.
        parent: Pid,
        /// Its name.
        name: String,
        /// Its command line, cut at 256 bytes; absent where denied.
        command: Option<String>,
        /// State letter.
        state: String,
        /// CPU time between the two looks, µs.
        cpu_delta_us: u64,
        /// The kernel function in which it sleeps.
        wchan: Option<String>,
        /// The system call of its main thread.
        syscall: Option<Syscall>,
        /// What it does, as a fragment: `waits in nanosleep(2)`, `runs`, `is a zombie`.
        doing: String,
    }
}

impl Evidence {
    /// The document as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.to_wire().unwrap_or_default()
    }

    /// The evidence in a JSON document; what it does not hold is `Missing(NotAsked)`.
    #[must_use]
    pub fn from_json(document: &Value) -> Self {
        Self::from_wire(document).unwrap_or_default()
    }

    /// One top-level fact as the line (with its newline) that the evidence process prints:
    /// `{"threads":{"got":[…]}}`. Facts are printed as they are ready; see [`Self::absorb`].
    #[must_use]
    pub fn line(&self, keys: &[&str]) -> String {
        let mut object = Map::new();
        if let Value::Object(all) = self.to_json() {
            object.extend(all.into_iter().filter(|(key, _)| keys.contains(&key.as_str())));
        }
        format!("{}\n", Value::Object(object))
    }

    /// Takes over what one line of the evidence process says; later lines win. A line that is no
    /// JSON object is counted in `left_out.lines`.
    pub fn absorb(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Value::Object(object)) => self.take(&object),
            _ => self.left_out.lines = self.left_out.lines.saturating_add(1),
        }
    }

    /// Gives `why` as the reason for everything that has not answered.
    pub fn close(&mut self, why: &Why) {
        fn late<T>(probe: &mut Probe<T>, why: &Why) {
            if matches!(probe, Probe::Missing(Why::NotAsked)) {
                *probe = Probe::Missing(why.clone());
            }
        }
        late(&mut self.cgroup, why);
        late(&mut self.process, why);
        late(&mut self.threads, why);
        late(&mut self.sockets, why);
        late(&mut self.locks, why);
        late(&mut self.children, why);
        late(&mut self.goroutines, why);
    }
}

/// A value's JSON form.
trait Wire: Sized {
    /// `None` = leave the key out.
    fn to_wire(&self) -> Option<Value>;
    /// `None` = not understood; the field keeps its default.
    fn from_wire(value: &Value) -> Option<Self>;
}

impl Wire for u64 {
    fn to_wire(&self) -> Option<Value> {
        Some(Value::from(*self))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl Wire for f64 {
    fn to_wire(&self) -> Option<Value> {
        Some(Value::from(*self))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl Wire for bool {
    fn to_wire(&self) -> Option<Value> {
        Some(Value::from(*self))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl Wire for String {
    fn to_wire(&self) -> Option<Value> {
        (!self.is_empty()).then(|| Value::from(self.as_str()))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_str().map(Self::from)
    }
}

impl Wire for Pid {
    fn to_wire(&self) -> Option<Value> {
        Some(Value::from(self.0))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_i64().and_then(|n| i32::try_from(n).ok()).map(Self)
    }
}

impl Wire for Mono {
    fn to_wire(&self) -> Option<Value> {
        Some(Value::from(self.0))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        value.as_u64().map(Self)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn to_wire(&self) -> Option<Value> {
        self.as_ref().and_then(Wire::to_wire)
    }

    fn from_wire(value: &Value) -> Option<Self> {
        T::from_wire(value).map(Some)
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn to_wire(&self) -> Option<Value> {
        (!self.is_empty()).then(|| self.iter().filter_map(Wire::to_wire).collect())
    }

    fn from_wire(value: &Value) -> Option<Self> {
        Some(value.as_array()?.iter().filter_map(T::from_wire).collect())
    }
}

impl<T: Wire + Default> Wire for Probe<T> {
    /// `{"got":…}` (null = an empty value) or `{"missing":"denied","detail":"…"}`.
    fn to_wire(&self) -> Option<Value> {
        let mut object = Map::new();
        match self {
            Self::Got(value) => {
                object.insert("got".to_owned(), value.to_wire().unwrap_or_default());
            }
            Self::Missing(Why::NotAsked) => return None,
            Self::Missing(why) => {
                let (word, detail) = why.parts();
                object.insert("missing".to_owned(), Value::from(word));
                if !detail.is_empty() {
                    object.insert("detail".to_owned(), Value::from(detail));
                }
            }
        }
        Some(Value::Object(object))
    }

    fn from_wire(value: &Value) -> Option<Self> {
        match value.get("got") {
            Some(Value::Null) => Some(Self::Got(T::default())),
            Some(got) => Some(T::from_wire(got).map_or_else(
                || Self::Missing(Why::Malformed("a fact of the wrong type".to_owned())),
                Self::Got,
            )),
            None => {
                let detail = value.get("detail").and_then(Value::as_str).unwrap_or_default();
                Why::from_parts(value.get("missing")?.as_str()?, detail).map(Self::Missing)
            }
        }
    }
}

impl Why {
    /// The word in JSON and the detail.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::NotAsked => ("not_asked", ""),
            Self::Denied(detail) => ("denied", detail),
            Self::Gone => ("gone", ""),
            Self::Unsupported(detail) => ("unsupported", detail),
            Self::TimedOut => ("timed_out", ""),
            Self::Malformed(detail) => ("malformed", detail),
            Self::Failed(detail) => ("failed", detail),
        }
    }

    fn from_parts(word: &str, detail: &str) -> Option<Self> {
        let detail = detail.to_owned();
        Some(match word {
            "not_asked" => Self::NotAsked,
            "denied" => Self::Denied(detail),
            "gone" => Self::Gone,
            "unsupported" => Self::Unsupported(detail),
            "timed_out" => Self::TimedOut,
            "malformed" => Self::Malformed(detail),
            "failed" => Self::Failed(detail),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests;
