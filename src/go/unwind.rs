//! From a program counter and a stack pointer to the calls above them, by the compiler's own
//! tables (pcsp), as the runtime's traceback does it (runtime/traceback.go).
//!
//! Every step must move the frame upwards inside the goroutine's stack, and their number is
//! capped: a broken stack ends with a reason, never in a loop.

use super::pclntab::{SP_WRITE, TOP_FRAME, Table};
use std::collections::HashMap;

/// Calls of one stack at most. Go's default stack limit of 1 GB holds more in a runaway
/// recursion, whose middle nobody reads.
pub const CALLS: usize = 10_000;
/// Program counters whose step is remembered at most.
const REMEMBERED: usize = 100_000;

/// Where unwinding starts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Start {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// The goroutine's stack, lowest address.
    pub low: u64,
    /// The goroutine's stack, the address behind it.
    pub high: u64,
    /// The goroutine is in a system call: its first frame may write the stack pointer.
    pub syscall: bool,
    /// `pc` is the instruction itself, not the one behind a call.
    pub exact: bool,
    /// The link register of a running AArch64 thread.
    pub link: u64,
}

/// One physical frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Program counter: of the instruction behind the call unless `exact`.
    pub pc: u64,
    /// `pc` is where execution stands.
    pub exact: bool,
    /// Stack pointer in this frame.
    pub sp: u64,
    /// Stack pointer of the caller: the frame is `sp..fp`.
    pub fp: u64,
}

/// How an unwinding ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum End {
    /// At a function that nothing calls.
    Complete,
    /// No stack was read: the goroutine is on a CPU.
    OnCpu,
    /// An address that is in no function.
    UnknownCode,
    /// A function that moves the stack pointer by itself.
    OwnStackPointer,
    /// A function without a frame table, or an instruction that it does not cover.
    NoTable,
    /// A frame outside the goroutine's stack, or one that does not lie above its callee.
    OutOfStack,
    /// Stack memory that could not be read.
    Unreadable,
    /// More than [`CALLS`] frames.
    TooDeep,
}

impl End {
    /// Why the stack is incomplete, as a fragment of a sentence; nothing for a complete one.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        Some(match self {
            Self::Complete => return None,
            Self::OnCpu => "on a CPU, its registers were not read",
            Self::UnknownCode => "a return address outside Go code",
            Self::OwnStackPointer => "a function that moves the stack pointer itself",
            Self::NoTable => "a function without frame table",
            Self::OutOfStack => "a frame outside the stack",
            Self::Unreadable => "unreadable stack memory",
            Self::TooDeep => "more frames than the limit",
        })
    }
}

/// What the tables say about one program counter.
#[derive(Clone, Copy, Debug)]
struct Step {
    delta: Option<i32>,
    entry: u64,
    flag: u8,
    kind: Kind,
}

/// Functions that the unwinder treats specially, told by name: their numbers differ per version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// Pushed a call that nobody made: the next program counter is exact.
    Injected,
    /// Moves the stack pointer, but its frame can be walked.
    CgoCallback,
    /// The goroutine's own stack stands here while the thread is on another.
    StackSwitch,
}

/// The unwinder of one program, with its memory of steps.
#[derive(Debug)]
pub struct Unwinder<'a> {
    table: Table<'a>,
    arm: bool,
    steps: HashMap<u64, Option<Step>>,
}

impl<'a> Unwinder<'a> {
    /// An unwinder over `table`; `arm` for AArch64.
    #[must_use]
    pub fn new(table: Table<'a>, arm: bool) -> Self {
        Self { table, arm, steps: HashMap::new() }
    }

    /// Appends the calls from `start` up to `calls`. `word` reads the stack.
    pub fn unwind(
        &mut self,
        start: Start,
        word: &dyn Fn(u64) -> Option<u64>,
        calls: &mut Vec<Call>,
    ) -> End {
        let Start { mut pc, mut sp, low, high, mut exact, .. } = start;
        let mut link = start.exact.then_some(start.link);
        if pc == 0 {
            // A call of a nil function: its caller is on top of the stack.
            let Some(caller) = word(sp) else { return End::Unreadable };
            pc = caller;
            sp = sp.saturating_add(8);
        }
        for depth in 0..CALLS {
            let Some(step) = self.step(pc) else { return End::UnknownCode };
            exact |= pc == step.entry;
            let ends = step.flag & TOP_FRAME != 0;
            let fp = step.delta.and_then(|delta| self.caller_sp(sp, delta));
            calls.push(Call { pc, exact, sp, fp: fp.unwrap_or(sp) });
            if ends {
                return End::Complete;
            }
            let first_of_syscall = depth == 0 && start.syscall;
            if step.flag & SP_WRITE != 0 && step.kind != Kind::CgoCallback && !first_of_syscall {
                return End::OwnStackPointer;
            }
            let Some(fp) = fp else { return End::NoTable };
            let rises = fp > sp || self.arm && fp == sp && depth == 0;
            if !rises || fp > high || fp < low {
                return End::OutOfStack;
            }
            let leaf = self.arm && step.delta == Some(0);
            let next = match link.take().filter(|_| leaf) {
                Some(link) => Some(link),
                None => word(if self.arm { sp } else { fp - 8 }),
            };
            let Some(mut next) = next else { return End::Unreadable };
            sp = fp;
            exact = step.kind == Kind::Injected;
            if exact && self.arm {
                // The injected call saved the link register below the interrupted frame.
                let Some(saved) = word(sp) else { return End::Unreadable };
                sp = sp.saturating_add(16);
                link = Some(saved);
            }
            std::mem::swap(&mut pc, &mut next);
        }
        End::TooDeep
    }

    fn caller_sp(&self, sp: u64, delta: i32) -> Option<u64> {
        let frame = u64::try_from(delta).ok()?;
        sp.checked_add(frame)?.checked_add(if self.arm { 0 } else { 8 })
    }

    /// Whether the goroutine's stack stands still at `pc` while its thread is on another stack.
    pub fn switched_stack(&mut self, pc: u64) -> bool {
        self.step(pc).is_some_and(|step| step.kind == Kind::StackSwitch)
    }

    fn step(&mut self, pc: u64) -> Option<Step> {
        if let Some(step) = self.steps.get(&pc) {
            return *step;
        }
        let step = self.look_up(pc);
        if self.steps.len() < REMEMBERED {
            self.steps.insert(pc, step);
        }
        step
    }

    fn look_up(&self, pc: u64) -> Option<Step> {
        let function = self.table.function_at(pc)?;
        let kind = match &*self.table.name(function.name) {
            "runtime.sigpanic" | "runtime.asyncPreempt" | "runtime.debugCallV2" => Kind::Injected,
            "runtime.cgocallback" => Kind::CgoCallback,
            "runtime.systemstack_switch" => Kind::StackSwitch,
            _ => Kind::Plain,
        };
        let delta = self.table.stack_delta(&function, pc);
        Some(Step { delta, entry: function.entry, flag: function.flag, kind })
    }
}
