//! Reading all goroutines of a running program without stopping it.
//!
//! `g` structures are never freed and their list only grows, so addresses stay valid; stacks
//! move. Each goroutine is read as state, stack, state again, and taken when both states agree;
//! `trackingSeq` counts every leave of the running state, so a round trip cannot hide
//! (runtime/proc.go, `casgstatus`). Each goroutine is one instant; the set is not.

use super::bytes::{index, u8_at, u32_at, u64_at, wide};
use super::goroutine::{Dump, Goroutine, NO_STACK, Status};
use super::layout::{G_M, Layout, SCHED_PC, SCHED_SP, STACK_HI, STACK_LO};
use super::memory::{Piece, ReadMemory};
use super::program::Program;
use super::symbol::{Symbolizer, Text};
use super::unwind::{Call, End, Start, Unwinder};
use super::waiting::{self, Clue};
use std::collections::HashMap;

/// Goroutines at most; the rest is counted.
const GOROUTINES: usize = 1_000_000;
/// Goroutines read together.
const CHUNK: usize = 512;
/// Stack bytes read together.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Stack bytes copied per goroutine; deeper words are read one by one.
const STACK_BYTES: u64 = 64 * 1024;
/// Looks at a goroutine that keeps moving.
const TRIES: u8 = 6;

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
    sp: u64,
    pc: u64,
    syscall_sp: u64,
    syscall_pc: u64,
    status: u32,
    /// Its number.
    pub id: u64,
    since: u64,
    reason: u8,
    tracking: u8,
    locked: bool,
    parent: u64,
    created_pc: u64,
    start_pc: u64,
    /// Its first `sudog`.
    pub waiting: u64,
    /// Its timer.
    pub timer: u64,
    /// When it wakes (1.23 and later).
    pub sleep_when: u64,
    cleanups: bool,
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
        let start = self.start_pc == 0 || program.table.function_at(self.start_pc).is_some();
        stack && inside && start
    }

    /// Whether the goroutine did not run between two looks.
    fn same(&self, other: &Self) -> bool {
        let key = |g: &Self| {
            (g.status(), g.id, g.sp, g.pc, g.high, g.syscall_sp, g.syscall_pc, g.tracking)
        };
        key(self) == key(other)
    }

    /// Where its stack starts when it is not on a CPU.
    fn start(&self) -> Start {
        let syscall = self.syscall_sp != 0;
        let (pc, sp) =
            if syscall { (self.syscall_pc, self.syscall_sp) } else { (self.pc, self.sp) };
        Start { pc, sp, low: self.low, high: self.high, syscall, ..Start::default() }
    }

    /// The part of its stack that is copied; nothing while it is on a CPU.
    fn live_stack(&self) -> (u64, usize) {
        let start = self.start();
        if self.status() == Status::RUNNING || !(self.low..self.high).contains(&start.sp) {
            return (0, 0);
        }
        (start.sp, index((self.high - start.sp).min(STACK_BYTES)))
    }

    fn mark(&self) -> u64 {
        let mix = |sum: u64, value: u64| {
            (sum.rotate_left(21) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let words = [self.id, self.sp, self.pc, self.syscall_sp, self.status.into()];
        words.into_iter().fold(self.tracking.into(), mix)
    }
}

/// Registers of a stopped thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Link register; 0 on x86-64.
    pub link: u64,
}

/// Reads goroutines of one program into a [`Dump`].
pub struct Walker<'p, 'a> {
    program: &'p Program<'a>,
    memory: &'p dyn ReadMemory,
    unwinder: Unwinder<'a>,
    symbolizer: Symbolizer<'a>,
    dump: Dump,
    calls: Vec<Call>,
    clues: Vec<Clue>,
    /// Start functions of goroutines that are the runtime's own, by program counter.
    system: HashMap<u64, Origin>,
}

/// What the function a goroutine started in says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    User,
    System,
    Finalizers,
    Cleanups,
}

impl<'p, 'a> Walker<'p, 'a> {
    /// A walker that has read nothing yet.
    #[must_use]
    pub fn new(program: &'p Program<'a>, memory: &'p dyn ReadMemory) -> Self {
        let (table, layout) = (program.table, &program.layout);
        let base = program.module.inlined;
        let dump = Dump {
            version: program.version.as_ref().map(|it| it.text.clone()).unwrap_or_default(),
            calibrated: program.calibrated,
            reasons: program.reasons.clone(),
            ..Dump::default()
        };
        Self {
            program,
            memory,
            unwinder: Unwinder::new(table, program.image.arm),
            symbolizer: Symbolizer::new(&program.image, table, base, layout.wrapper),
            dump,
            calls: Vec::new(),
            clues: Vec::new(),
            system: HashMap::new(),
        }
    }

    /// Reads every goroutine, until `expired` says that there is no time left.
    pub fn read(&mut self, expired: &dyn Fn() -> bool) {
        let addresses = self.program.goroutines(self.memory, GOROUTINES);
        self.dump.left_out = addresses.left_out;
        self.dump.goroutines.reserve_exact(addresses.list.len().min(GOROUTINES));
        let mut read = 0;
        for chunk in addresses.list.chunks(CHUNK) {
            if expired() {
                break;
            }
            self.chunk(chunk);
            read += chunk.len();
        }
        self.dump.left_out += addresses.list.len().saturating_sub(read);
        self.dump.init = self.program.init_progress(self.memory);
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> Dump {
        Dump { symbols: self.symbolizer.symbols, ..self.dump }
    }

    fn chunk(&mut self, addresses: &[u64]) {
        let mut done: Vec<Option<(RawG, Goroutine)>> = Vec::new();
        done.resize_with(addresses.len(), || None);
        let mut pending: Vec<usize> = (0..addresses.len()).collect();
        let mut tries = vec![0u8; addresses.len()];
        while !pending.is_empty() {
            pending = self.attempt(addresses, &pending, &mut tries, &mut done);
        }
        let (raws, mut goroutines): (Vec<RawG>, Vec<Goroutine>) =
            done.into_iter().flatten().unzip();
        let clues = std::mem::take(&mut self.clues);
        waiting::resolve(
            self.memory,
            &self.program.layout,
            &raws,
            &clues,
            &mut goroutines,
            &mut self.dump,
        );
        self.clues = clues;
        self.clues.clear();
        self.threads(&raws, &mut goroutines);
        self.dump.goroutines.append(&mut goroutines);
    }

    /// One look at the pending goroutines; gives back those that must be looked at again.
    fn attempt(
        &mut self,
        addresses: &[u64],
        pending: &[usize],
        tries: &mut [u8],
        done: &mut [Option<(RawG, Goroutine)>],
    ) -> Vec<usize> {
        let size = usize::from(self.program.layout.size);
        let places: Vec<u64> =
            pending.iter().filter_map(|slot| addresses.get(*slot).copied()).collect();
        let before = Gathered::read(self.memory, &places, size);
        let mut again = Vec::new();
        let mut wanted = Vec::new();
        let mut bytes = 0usize;
        for (number, (slot, address)) in pending.iter().zip(&places).enumerate() {
            let Some(found) = before.get(number) else {
                self.dump.unreadable += 1;
                continue;
            };
            let raw = RawG::parse(*address, found, &self.program.layout);
            if raw.status().is_free() {
                continue;
            }
            if !raw.is_sane(self.program) && tries.get(*slot).is_some_and(|tries| *tries >= TRIES) {
                self.dump.unreadable += 1;
                continue;
            }
            let (_, length) = raw.live_stack();
            if bytes + length > CHUNK_BYTES && !wanted.is_empty() {
                again.push(*slot);
                continue;
            }
            bytes += length;
            wanted.push((*slot, raw));
        }
        let looks = Looks::read(self.memory, &wanted, size, bytes);
        for ((slot, raw), look) in wanted.iter().zip(looks.list) {
            let Some(count) = tries.get_mut(*slot) else { continue };
            *count += 1;
            let stack = looks.stacks.get(look.stack.clone()).unwrap_or(&[]);
            let after = looks.after.get(look.after.clone()).unwrap_or(&[]);
            let after = RawG::parse(raw.address, after, &self.program.layout);
            let steady = look.got && raw.same(&after) && raw.is_sane(self.program);
            if !steady && *count < TRIES {
                again.push(*slot);
                continue;
            }
            let goroutine = self.take(&after, stack, !steady);
            if let Some(place) = done.get_mut(*slot) {
                *place = goroutine.map(|goroutine| (after, goroutine));
            }
        }
        again
    }

    /// Makes the goroutine out of its fields and the copy of its stack.
    fn take(&mut self, raw: &RawG, stack: &[u8], unstable: bool) -> Option<Goroutine> {
        let status = raw.status();
        if status.is_free() || status.0 > 11 {
            return None;
        }
        let origin = self.origin(raw.start_pc);
        let mut goroutine = Goroutine {
            id: raw.id,
            address: raw.address,
            status,
            scan: raw.status & 0x1000 != 0,
            reason: raw.reason,
            parent: raw.parent,
            since: raw.since,
            locked: raw.locked,
            system: false,
            cleanups: raw.cleanups,
            unstable,
            stack: NO_STACK,
            created_by: None,
            thread: 0,
            mark: raw.mark(),
            waits: Box::new([]),
        };
        goroutine.system = match origin {
            Origin::User => false,
            Origin::System => true,
            Origin::Finalizers => self.dump.reason(&goroutine) == "finalizer wait",
            Origin::Cleanups => !raw.cleanups,
        };
        if raw.created_pc != 0 && raw.id != 1 {
            goroutine.created_by = self.symbolizer.created_by(raw.created_pc);
        }
        if status == Status::RUNNING {
            return Some(goroutine);
        }
        let start = raw.start();
        let memory = self.memory;
        let word = |at: u64| {
            let copied = at.checked_sub(start.sp).and_then(|into| u64_at(stack, index(into)));
            copied.or_else(|| memory.word(at).filter(|_| (start.low..start.high).contains(&at)))
        };
        let mut calls = std::mem::take(&mut self.calls);
        calls.clear();
        let end = self.unwinder.unwind(start, &word, &mut calls);
        goroutine.stack = self.symbolizer.stack(&calls, end);
        let reason = self.dump.reasons.get(usize::from(raw.reason)).map_or("", String::as_str);
        if status == Status::WAITING
            && let Some(clue) =
                waiting::clue(raw, reason, &calls, &word, &goroutine, &self.symbolizer.symbols)
        {
            self.clues.push(clue);
        }
        self.calls = calls;
        Some(goroutine)
    }

    /// The stack of a goroutine whose thread is stopped with these registers; nothing when the
    /// thread stands on another stack or runs another goroutine by now.
    pub fn running(&mut self, address: u64, registers: Registers) -> Option<u32> {
        let mut bytes = vec![0u8; usize::from(self.program.layout.size)];
        if !self.memory.read(address, &mut bytes) {
            return None;
        }
        let raw = RawG::parse(address, &bytes, &self.program.layout);
        let current = raw.m.checked_add(self.program.layout.m_curg.into())?;
        if raw.m == 0 || self.memory.word(current)? != address {
            return None;
        }
        let Registers { pc, sp, link } = registers;
        let on_stack = (raw.low..raw.high).contains(&sp);
        let start = if on_stack && self.program.table.function_at(pc).is_some() {
            Start { pc, sp, low: raw.low, high: raw.high, syscall: false, exact: true, link }
        } else if raw.syscall_sp != 0 || self.unwinder.switched_stack(raw.pc) {
            raw.start()
        } else {
            return None;
        };
        let memory = self.memory;
        let word = |at: u64| memory.word(at).filter(|_| (raw.low..raw.high).contains(&at));
        let mut calls = Vec::new();
        let end = self.unwinder.unwind(start, &word, &mut calls);
        let good = calls.len() > 1 || end == End::Complete;
        good.then(|| self.symbolizer.stack(&calls, end))
    }

    /// Gives a goroutine the stack that [`Walker::running`] found.
    pub fn set_stack(&mut self, number: usize, stack: u32) {
        if let Some(goroutine) = self.dump.goroutines.get_mut(number) {
            goroutine.stack = stack;
        }
    }

    /// What was read so far; names and stacks are not in it yet.
    #[must_use]
    pub fn goroutines(&self) -> &[Goroutine] {
        &self.dump.goroutines
    }

    /// Reads all stacks once more for the addresses of the locks that are waited for.
    pub fn find_holders(&mut self, expired: &dyn Fn() -> bool) {
        super::locks::find(self.memory, &self.program.layout, &mut self.dump, expired);
    }

    fn threads(&self, raws: &[RawG], goroutines: &mut [Goroutine]) {
        let on_thread =
            |raw: &RawG| raw.m != 0 && matches!(raw.status(), Status::RUNNING | Status::SYSCALL);
        let (slots, places): (Vec<usize>, Vec<u64>) = raws
            .iter()
            .enumerate()
            .filter(|(_, raw)| on_thread(raw))
            .filter_map(|(slot, raw)| {
                Some((slot, raw.m.checked_add(self.program.layout.m_tid.into())?))
            })
            .unzip();
        let found = Gathered::read(self.memory, &places, 8);
        for (number, slot) in slots.into_iter().enumerate() {
            let thread = found.get(number).and_then(|word| u64_at(word, 0));
            if let (Some(thread), Some(goroutine)) = (thread, goroutines.get_mut(slot)) {
                goroutine.thread = u32::try_from(thread).unwrap_or(0);
            }
        }
    }

    /// As the runtime's `isSystemGoroutine`, told by the start function's name.
    fn origin(&mut self, start_pc: u64) -> Origin {
        if let Some(known) = self.system.get(&start_pc) {
            return *known;
        }
        let name: Text = self.symbolizer.function_name(start_pc);
        let origin = match self.symbolizer.symbols.texts.get(name) {
            "runtime.main" | "runtime.handleAsyncEvent" | "runtime.corostart" => Origin::User,
            "runtime.runfinq" | "runtime.runFinalizers" => Origin::Finalizers,
            "runtime.runCleanups" => Origin::Cleanups,
            name if name.starts_with("runtime.") => Origin::System,
            _ => Origin::User,
        };
        // Start functions are few; a hostile program cannot make this map large.
        if self.system.len() < 10_000 {
            self.system.insert(start_pc, origin);
        }
        origin
    }
}

impl std::fmt::Debug for Walker<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker").field("goroutines", &self.dump.goroutines.len()).finish()
    }
}

/// Many ranges of one size, read together.
#[derive(Debug)]
pub struct Gathered {
    bytes: Vec<u8>,
    got: Vec<bool>,
    size: usize,
}

impl Gathered {
    /// Reads `size` bytes at each of `places`.
    #[must_use]
    pub fn read(memory: &dyn ReadMemory, places: &[u64], size: usize) -> Self {
        let mut bytes = vec![0u8; places.len().saturating_mul(size)];
        let mut pieces: Vec<Piece<'_>> = places
            .iter()
            .zip(bytes.chunks_exact_mut(size.max(1)))
            .map(|(place, into)| Piece::new(*place, into))
            .collect();
        memory.read_pieces(&mut pieces);
        let got = pieces.iter().map(|piece| piece.got).collect();
        Self { bytes, got, size }
    }

    /// The bytes of the `number`th place, if they could be read.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<&[u8]> {
        let at = number.checked_mul(self.size)?;
        self.got.get(number).filter(|got| **got)?;
        self.bytes.get(at..at.checked_add(self.size)?)
    }
}

/// Stack and second state of one goroutine, as ranges of [`Looks`].
struct Look {
    stack: std::ops::Range<usize>,
    after: std::ops::Range<usize>,
    got: bool,
}

/// Stacks, each followed at once by a second look at its goroutine's state.
struct Looks {
    stacks: Vec<u8>,
    after: Vec<u8>,
    list: Vec<Look>,
}

impl Looks {
    fn read(memory: &dyn ReadMemory, wanted: &[(usize, RawG)], size: usize, bytes: usize) -> Self {
        let mut stacks = vec![0u8; bytes];
        let mut after = vec![0u8; wanted.len() * size];
        let mut pieces = Vec::with_capacity(wanted.len() * 2);
        let mut list = Vec::with_capacity(wanted.len());
        let (mut stacks_left, mut after_left) = (stacks.as_mut_slice(), after.as_mut_slice());
        let (mut stack_at, mut after_at) = (0, 0);
        for (_, raw) in wanted {
            let (start, length) = raw.live_stack();
            let Some((stack, rest)) = stacks_left.split_at_mut_checked(length) else { break };
            stacks_left = rest;
            let Some((second, rest)) = after_left.split_at_mut_checked(size) else { break };
            after_left = rest;
            pieces.push(Piece::new(start, stack));
            pieces.push(Piece::new(raw.address, second));
            list.push(Look {
                stack: stack_at..stack_at + length,
                after: after_at..after_at + size,
                got: false,
            });
            stack_at += length;
            after_at += size;
        }
        memory.read_pieces(&mut pieces);
        for (look, pair) in list.iter_mut().zip(pieces.chunks_exact(2)) {
            look.got = pair.iter().all(|piece| piece.got || piece.into.is_empty());
        }
        Self { stacks, after, list }
    }
}

/// Addresses of goroutines.
#[derive(Debug, Default)]
pub struct Addresses {
    /// Addresses of `g` structures.
    pub list: Vec<u64>,
    /// How many more there are.
    pub left_out: usize,
}

impl Program<'_> {
    /// The list of all goroutines, read until its header stands still.
    #[must_use]
    pub fn goroutines(&self, memory: &dyn ReadMemory, limit: usize) -> Addresses {
        let mut found = Addresses::default();
        for _ in 0..TRIES {
            let header = self.goroutine_list(memory);
            let Some((start, count)) = header else { return found };
            let taken = index(count).min(limit);
            let mut bytes = vec![0u8; taken.saturating_mul(8)];
            // The array may be replaced by a larger one meanwhile; the old one stays readable
            // until it is collected.
            let got = memory.read(start, &mut bytes);
            if got {
                found.list = bytes.chunks_exact(8).filter_map(|word| u64_at(word, 0)).collect();
                found.left_out = index(count) - taken;
                if self.goroutine_list(memory) == header {
                    return found;
                }
            }
        }
        found
    }

    /// Address and length of the list of all goroutines.
    #[must_use]
    pub fn goroutine_list(&self, memory: &dyn ReadMemory) -> Option<(u64, u64)> {
        let mut header = [0u8; 16];
        if !memory.read(self.all_goroutines, &mut header) {
            return None;
        }
        let (start, count) = (u64_at(&header, 0)?, u64_at(&header, 8)?);
        (start != 0 && count < wide(usize::MAX >> 8)).then_some((start, count))
    }
}

/// How many of the first goroutines have sane fields, and how many were tried.
#[must_use]
pub fn sanity(program: &Program<'_>, memory: &dyn ReadMemory) -> (usize, usize) {
    let addresses = program.goroutines(memory, 64);
    let found = Gathered::read(memory, &addresses.list, program.layout.size.into());
    let sane = |number: &usize| {
        let address = addresses.list.get(*number).copied().unwrap_or(0);
        found
            .get(*number)
            .is_some_and(|bytes| RawG::parse(address, bytes, &program.layout).is_sane(program))
    };
    ((0..addresses.list.len()).filter(sane).count(), addresses.list.len())
}
