//! The fields of one `g`, the runtime's record of a goroutine (runtime/runtime2.go), and what can
//! be told from them alone.

use super::bytes::{index, u8_at, u32_at, u64_at};
use super::goroutine::Status;
use super::layout::{G_M, Layout, SCHED_PC, SCHED_SP, STACK_HI, STACK_LO};
use super::program::Program;
use super::unwind::Start;

/// Stack bytes copied per goroutine; deeper words are read one by one.
const STACK_BYTES: u64 = 64 * 1024;

/// The fields of one `g`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawG {
    /// Address of the `g`.
    pub address: u64,
    /// Stack bounds.
    pub low: u64,
    /// Address behind the stack.
    pub high: u64,
    /// Its `m`, 0 = none.
    pub m: u64,
    /// Stack pointer of its saved state.
    pub(super) sp: u64,
    /// Program counter of its saved state.
    pub(super) pc: u64,
    /// Stack pointer at its system call, 0 = in none.
    pub(super) syscall_sp: u64,
    syscall_pc: u64,
    /// `atomicstatus` with the scan bit.
    pub(super) status: u32,
    /// Its number.
    pub id: u64,
    /// Since when it waits.
    pub(super) since: u64,
    /// Why it waits.
    pub(super) reason: u8,
    tracking: u8,
    /// Locked to its thread.
    pub(super) locked: bool,
    /// Who started it.
    pub(super) parent: u64,
    /// Where it was started.
    pub(super) created_pc: u64,
    /// Where it began.
    pub(super) start_pc: u64,
    /// Its first `sudog`.
    pub waiting: u64,
    /// Its timer.
    pub timer: u64,
    /// When it wakes (1.23 and later).
    pub sleep_when: u64,
    /// Runs cleanups.
    pub(super) cleanups: bool,
}

impl RawG {
    /// Reads the fields out of the `g`'s bytes.
    #[must_use]
    pub fn parse(address: u64, bytes: &[u8], layout: &Layout) -> Self {
        let word = |at: usize| u64_at(bytes, at).unwrap_or(0);
        let optional = |at: u16| if at == 0 { 0 } else { word(at.into()) };
        let byte = |at: u16| if at == 0 { 0 } else { u8_at(bytes, at.into()).unwrap_or(0) };
        Self {
            address,
            low: word(STACK_LO),
            high: word(STACK_HI),
            m: word(G_M),
            sp: word(SCHED_SP),
            pc: word(SCHED_PC),
            syscall_sp: word(layout.syscall_sp.into()),
            syscall_pc: word(usize::from(layout.syscall_sp) + 8),
            status: u32_at(bytes, layout.status.into()).unwrap_or(0),
            id: word(layout.goid.into()),
            since: word(layout.wait_since.into()),
            reason: byte(layout.wait_reason),
            tracking: byte(layout.tracking),
            locked: optional(layout.locked_m) != 0,
            parent: optional(layout.parent),
            created_pc: word(layout.created_pc.into()),
            start_pc: word(layout.start_pc.into()),
            waiting: optional(layout.waiting),
            timer: optional(layout.timer),
            sleep_when: optional(layout.sleep_when),
            cleanups: byte(layout.cleanups) != 0,
        }
    }

    /// State without the scan bit.
    #[must_use]
    pub fn status(&self) -> Status {
        Status(u8::try_from(self.status & 0xfff).unwrap_or(u8::MAX))
    }

    /// Whether these fields can be those of a `g`.
    #[must_use]
    pub fn is_sane(&self, program: &Program<'_>) -> bool {
        let status = self.status();
        if status.0 > 11 || self.id >= 1 << 48 {
            return false;
        }
        if status.is_free() {
            return true;
        }
        let stack = 0 < self.low && self.low < self.high;
        let parked = matches!(status, Status::WAITING | Status::RUNNABLE);
        let inside = !parked || (self.low..=self.high).contains(&self.sp);
        // What a plugin started begins in code that is not in this table.
        let foreign = program.plugins && !program.module.holds(self.start_pc);
        let known = || program.table.function_at(self.start_pc).is_some();
        stack && inside && (self.start_pc == 0 || foreign || known())
    }

    /// Whether the goroutine did not run between two looks.
    pub(super) fn same(&self, other: &Self) -> bool {
        let key = |g: &Self| {
            (g.status(), g.id, g.sp, g.pc, g.high, g.syscall_sp, g.syscall_pc, g.tracking)
        };
        key(self) == key(other)
    }

    /// Where its stack starts when it is not on a CPU.
    pub(super) fn start(&self) -> Start {
        let syscall = self.syscall_sp != 0;
        let (pc, sp) =
            if syscall { (self.syscall_pc, self.syscall_sp) } else { (self.pc, self.sp) };
        Start { pc, sp, low: self.low, high: self.high, syscall, ..Start::default() }
    }

    /// The part of its stack that is copied; nothing while it is on a CPU.
    pub(super) fn live_stack(&self) -> (u64, usize) {
        let start = self.start();
        if self.status() == Status::RUNNING || !(self.low..self.high).contains(&start.sp) {
            return (0, 0);
        }
        (start.sp, index((self.high - start.sp).min(STACK_BYTES)))
    }

    /// Changes whenever the goroutine ran.
    pub(super) fn mark(&self) -> u64 {
        let mix = |sum: u64, value: u64| {
            (sum.rotate_left(21) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let words = [self.id, self.sp, self.pc, self.syscall_sp, self.status.into()];
        words.into_iter().fold(self.tracking.into(), mix)
    }
}
