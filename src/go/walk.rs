//! Reading all goroutines of a running program without stopping it.
//!
//! `g` structures are never freed and their list only grows, so addresses stay valid; stacks
//! move. Each goroutine is read as state, stack, state again, and taken when both states agree;
//! `trackingSeq` counts every leave of the running state, so a round trip cannot hide
//! (runtime/proc.go, `casgstatus`). Each goroutine is one instant; the set is not.

use super::bytes::{index, u64_at};
use super::fields::RawG;
use super::gather::{Gathered, Looks};
use super::goroutine::{Dump, Goroutine, NO_STACK, Status};
use super::list::Marks;
use super::memory::ReadMemory;
use super::program::Program;
use super::subject::Subject;
use super::symbol::{Symbolizer, Text};
use super::unwind::{Call, End, Start, Unwinder};
use super::waiting::{self, Clue};
use std::collections::HashMap;

/// Goroutines at most; the rest is counted.
pub const GOROUTINES: usize = 1_000_000;
/// Goroutines read together.
const CHUNK: usize = 512;
/// Stack bytes read together.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Looks at a goroutine that keeps moving.
const TRIES: u8 = 6;

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
    /// Where goroutines stood in an earlier look.
    earlier: Marks,
    /// Place in the runtime's list of the first goroutine of the chunk being read.
    first: usize,
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
            plugins: program.plugins,
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
            earlier: Marks::default(),
            first: 0,
        }
    }

    /// Tells of each goroutine whether it moved since `earlier` was taken, `age` nanoseconds ago.
    pub fn compare(&mut self, earlier: Marks, age: u64) {
        self.earlier = earlier;
        self.dump.sampled = age;
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
            self.first = read;
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
            let mut goroutine = self.take(&after, stack, !steady);
            if let Some(goroutine) = &mut goroutine {
                goroutine.moved = self.earlier.moved(self.first + *slot, goroutine);
            }
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
            moved: None,
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
        if matches!(status, Status::WAITING | Status::LEAKED)
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

    /// The channels and locks that `subject` means.
    #[must_use]
    pub fn addresses(&self, subject: Subject) -> Vec<u64> {
        subject.addresses(&self.dump)
    }

    /// Reads all stacks once more for the addresses of the locks that are waited for, and of
    /// `asked`, whatever is there.
    pub fn find_holders(&mut self, asked: &[u64], expired: &dyn Fn() -> bool) {
        super::locks::find(self.memory, &self.program.layout, &mut self.dump, asked, expired);
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
