//! Where the fields of runtime structures are, per Go version: a table, data not code.
//!
//! Taken from DWARF of unstripped builds; linux/amd64 and linux/arm64 agree in every field. Fields
//! that never moved are constants. Newer versions are measured instead (`calibrate`).

/// `g.stack.lo`.
pub const STACK_LO: usize = 0;
/// `g.stack.hi`.
pub const STACK_HI: usize = 8;
/// `g.m`.
pub const G_M: usize = 48;
/// `g.sched.sp`.
pub const SCHED_SP: usize = 56;
/// `g.sched.pc`.
pub const SCHED_PC: usize = 64;
/// Bytes of a `sudog` that are read.
pub const SUDOG_BYTES: usize = 104;
/// `hchan.qcount`; `dataqsiz` is 8 behind, `closed` (32 bits) 28.
pub const CHAN_BYTES: usize = 32;
/// `timer.when` (to 1.22).
pub const TIMER_WHEN: u64 = 8;
/// `pollDesc.fd`.
pub const POLL_FD: u64 = 8;

/// Offsets in bytes; 0 in a field that is not the first of its structure means that this version
/// does not have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Minor version of Go these offsets belong to.
    pub minor: u8,
    /// Bytes of a `g` that are read.
    pub size: u16,
    /// `g.syscallsp`; `g.syscallpc` is 8 behind.
    pub syscall_sp: u16,
    /// `g.atomicstatus`, 32 bits.
    pub status: u16,
    /// `g.goid`.
    pub goid: u16,
    /// `g.waitsince`, nanoseconds of CLOCK_MONOTONIC.
    pub wait_since: u16,
    /// `g.waitreason`, 8 bits.
    pub wait_reason: u16,
    /// `g.trackingSeq`, 8 bits: counts leaves of the running state.
    pub tracking: u16,
    /// `g.lockedm`.
    pub locked_m: u16,
    /// `g.parentGoid` (1.21 and later).
    pub parent: u16,
    /// `g.gopc`.
    pub created_pc: u16,
    /// `g.startpc`.
    pub start_pc: u16,
    /// `g.waiting`, the first `sudog`.
    pub waiting: u16,
    /// `g.timer`.
    pub timer: u16,
    /// `g.sleepWhen` (1.23 and later).
    pub sleep_when: u16,
    /// `g.runningCleanups`, 8 bits (1.25 and later).
    pub cleanups: u16,
    /// `m.procid`, the thread.
    pub m_tid: u16,
    /// `m.curg`.
    pub m_curg: u16,
    /// `sudog.elem`, its address word.
    pub sudog_elem: u16,
    /// `sudog.waitlink`.
    pub sudog_link: u16,
    /// `sudog.c`, its address word.
    pub sudog_chan: u16,
    /// `pollDesc.rg`; `pollDesc.wg` is 8 behind.
    pub poll_read: u16,
    /// `moduledata.gofunc`, the base of inlining trees.
    pub inlined: u16,
    /// `moduledata.inittasks` (1.21 and later).
    pub init_tasks: u16,
    /// `moduledata.next`.
    pub next_module: u16,
    /// `funcID` of a wrapper function.
    pub wrapper: u8,
}

impl Layout {
    /// The offsets of Go 1.`minor`, if they are known.
    #[must_use]
    pub fn of(minor: u8) -> Option<Self> {
        LAYOUTS.iter().find(|layout| layout.minor == minor).copied()
    }

    /// The newest version in the table.
    #[must_use]
    pub fn newest() -> Self {
        GO_1_27
    }
}

/// Go 1.19.
const GO_1_19: Layout = Layout {
    minor: 19,
    size: 392,
    syscall_sp: 112,
    status: 144,
    goid: 152,
    wait_since: 168,
    wait_reason: 176,
    tracking: 189,
    locked_m: 232,
    parent: 0,
    created_pc: 296,
    start_pc: 312,
    waiting: 328,
    timer: 368,
    sleep_when: 0,
    cleanups: 0,
    m_tid: 72,
    m_curg: 192,
    sudog_elem: 24,
    sudog_link: 64,
    sudog_chan: 80,
    poll_read: 24,
    inlined: 304,
    init_tasks: 0,
    next_module: 544,
    wrapper: 21,
};

/// Go 1.20.
const GO_1_20: Layout = Layout { minor: 20, inlined: 320, next_module: 560, ..GO_1_19 };

/// Go 1.21.
const GO_1_21: Layout = Layout {
    minor: 21,
    size: 408,
    tracking: 188,
    locked_m: 208,
    parent: 272,
    created_pc: 280,
    start_pc: 296,
    waiting: 312,
    timer: 352,
    poll_read: 32,
    init_tasks: 464,
    next_module: 584,
    ..GO_1_20
};

/// Go 1.22.
const GO_1_22: Layout = Layout { minor: 22, size: 424, tracking: 191, wrapper: 22, ..GO_1_21 };

/// Go 1.23.
const GO_1_23: Layout = Layout {
    minor: 23,
    size: 432,
    status: 152,
    goid: 160,
    wait_since: 176,
    wait_reason: 184,
    tracking: 199,
    locked_m: 216,
    parent: 280,
    created_pc: 288,
    start_pc: 304,
    waiting: 320,
    timer: 360,
    sleep_when: 368,
    next_module: 576,
    ..GO_1_22
};

/// Go 1.24.
const GO_1_24: Layout = Layout { minor: 24, size: 440, ..GO_1_23 };

/// Go 1.25.
const GO_1_25: Layout = Layout {
    minor: 25,
    syscall_sp: 104,
    status: 144,
    goid: 152,
    wait_since: 168,
    wait_reason: 176,
    tracking: 191,
    locked_m: 208,
    parent: 272,
    created_pc: 280,
    start_pc: 296,
    waiting: 312,
    timer: 352,
    sleep_when: 360,
    cleanups: 218,
    m_tid: 64,
    m_curg: 184,
    wrapper: 23,
    ..GO_1_24
};

/// Go 1.26.
const GO_1_26: Layout = Layout {
    minor: 26,
    size: 456,
    parent: 280,
    created_pc: 288,
    start_pc: 304,
    waiting: 320,
    timer: 360,
    sleep_when: 368,
    cleanups: 220,
    sudog_elem: 32,
    sudog_link: 72,
    sudog_chan: 96,
    init_tasks: 472,
    next_module: 584,
    ..GO_1_25
};

/// Go 1.27.
const GO_1_27: Layout =
    Layout { minor: 27, inlined: 344, init_tasks: 448, next_module: 560, ..GO_1_26 };

/// Every version there is a row for.
pub const LAYOUTS: [Layout; 9] =
    [GO_1_19, GO_1_20, GO_1_21, GO_1_22, GO_1_23, GO_1_24, GO_1_25, GO_1_26, GO_1_27];
