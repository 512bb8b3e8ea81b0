//! Facts about goroutines and package init, as the reader of the program's memory finds them.

use super::{Map, Value, Wire};

facts! {
    /// Goroutines, read from memory.
    Goroutines {
        /// Go version of the program: `go1.25.5`.
        go_version: Option<String>,
        /// How many goroutines there are, those of the runtime left out.
        total: u64,
        /// Goroutines with the same stack and state, largest groups first, at most 50.
        groups: Vec<GoroutineGroup>,
        /// Groups that are not listed.
        groups_left_out: u64,
        /// Goroutine 1, if it lives: it runs package init, then main.
        main: Option<Goroutine>,
        /// Package init; absent = not known.
        init: Option<InitProgress>,
        /// Who could still wake anybody.
        wakers: Wakers,
        /// Goroutines that moved between the two looks; absent = one look only.
        moved: Option<u64>,
        /// Whether a stop-the-world is under way.
        stopping_the_world: Option<bool>,
        /// A circle of lock waiters and probable holders; empty = none found.
        lock_cycle: Vec<LockStep>,
    }
}

facts! {
    /// Goroutines that share state and stack.
    GoroutineGroup {
        /// In the runtime's words: `chan receive`, `running`, `syscall` …
        state: String,
        /// How many.
        count: u64,
        /// The lowest goroutine number among them.
        first_id: u64,
        /// The stack, innermost first, as a user sees it (no runtime internals).
        frames: Vec<Frame>,
        /// Which function started them.
        created_by: Option<Frame>,
        /// What they wait for: `channel 0xc000010000 (len 0, cap 0)`, `fd 4 tcp …`.
        waits_on: Option<String>,
        /// The channels among that.
        channels: Vec<Channel>,
        /// The longest known wait, milliseconds.
        wait_ms: Option<u64>,
        /// Threads on which running ones and those in system calls are.
        tids: Vec<u64>,
    }
}

facts! {
    /// One goroutine.
    Goroutine {
        /// Its number.
        id: u64,
        /// In the runtime's words.
        state: String,
        /// The stack, innermost first.
        frames: Vec<Frame>,
        /// What it waits for.
        waits_on: Option<String>,
        /// The channels it waits on: more than one in a select.
        channels: Vec<Channel>,
        /// How long, milliseconds, where known.
        wait_ms: Option<u64>,
        /// The thread it is on, when running or in a system call.
        tid: Option<u64>,
    }
}

facts! {
    /// A channel that is waited on.
    Channel {
        /// Its address.
        address: u64,
        /// The type of its elements: `os.Signal`, `time.Time`; absent = not known.
        element: Option<String>,
        /// Elements in its buffer.
        length: u64,
        /// Elements its buffer can hold.
        capacity: u64,
        /// Whether it is closed.
        closed: bool,
    }
}

facts! {
    /// One frame of a stack.
    Frame {
        /// `main.(*pool).get`.
        function: String,
        /// The source file; empty = unknown.
        file: String,
        /// The line; 0 = unknown.
        line: u64,
    }
}

facts! {
    /// How far package initialisation has come (moduledata.inittasks, Go 1.21 and later; from
    /// goroutine 1's stack alone `total` is 0).
    InitProgress {
        /// Packages done.
        done: u64,
        /// Packages in all.
        total: u64,
        /// The package that is being initialised.
        running: Option<String>,
        /// The function of it that runs: `app/db.init.0`.
        function: Option<String>,
        /// Packages not begun, in order, at most 32.
        pending: Vec<String>,
    }
}

facts! {
    /// Counts of everything that could make a waiting goroutine runnable. All zero, and no cgo:
    /// nobody is left.
    Wakers {
        /// Runnable goroutines.
        runnable: u64,
        /// Running ones.
        running: u64,
        /// In system calls.
        syscall: u64,
        /// Waiting for the network poller.
        io_wait: u64,
        /// Sleeping, or armed timers.
        timers: u64,
        /// The program is linked with cgo, so threads may exist that Go knows nothing of.
        cgo: bool,
        /// Signals may arrive: a goroutine waits in signal.Notify's receiver.
        signals: bool,
    }
}

facts! {
    /// One step of a lock cycle: a goroutine, the lock it wants, who probably holds that.
    LockStep {
        /// The waiting goroutine.
        goroutine: u64,
        /// The object: `mutex 0xc000010000`.
        object: String,
        /// The goroutine that probably holds it.
        holder: u64,
        /// Where the waiter waits.
        frame: Option<Frame>,
    }
}
