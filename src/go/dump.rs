//! Goroutines of a dump, grouped while they are read: equal state, functions and places make one
//! group; arguments and waits do not split it. Memory is bounded by the number of different
//! functions and stacks, not by the number of goroutines.

use super::traceback::{Header, Line, line as stack_line};
use std::collections::HashMap;

/// Different names (functions, places, states) that are kept; what comes later is called `…`.
const NAMES: usize = 65_536;
/// Bytes of all names together.
const NAME_BYTES: usize = 8 * 1024 * 1024;
/// Groups that are kept; goroutines of later ones are counted only.
const GROUPS: usize = 8_192;
/// Frames of one stack that are kept; 1.19 prints 100, later versions 100 around an elision.
const FRAMES: usize = 128;
/// Numbers of the first goroutines of a group.
const FIRST_IDS: usize = 8;
/// Longest name.
const NAME: usize = 1_024;
/// Lines of the ancestors' stacks that a group keeps, and bytes of each.
const ANCESTRY: usize = 64;

/// A name's number; 0 stands for "too many names".
type Name = u32;

/// Names by their bytes and by their number.
#[derive(Debug)]
struct Names {
    numbers: HashMap<Box<[u8]>, Name>,
    names: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Names {
    fn new() -> Self {
        Self { numbers: HashMap::new(), names: vec!["…".as_bytes().into()], bytes: 0 }
    }

    fn number(&mut self, name: &[u8]) -> Name {
        let name = name.get(..NAME).unwrap_or(name);
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        if self.names.len() >= NAMES || self.bytes.saturating_add(name.len()) > NAME_BYTES {
            return 0;
        }
        let number = Name::try_from(self.names.len()).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(name.len());
        self.names.push(name.into());
        self.numbers.insert(name.into(), number);
        number
    }

    fn get(&self, number: Name) -> &[u8] {
        usize::try_from(number).ok().and_then(|at| self.names.get(at)).map_or(b"", |name| name)
    }

    /// Whether this is the name: one comparison instead of a hash, for the common case that a
    /// stack repeats the one before it.
    fn is(&self, number: Option<Name>, name: &[u8]) -> bool {
        number.is_some_and(|number| number != 0 && self.get(number) == name)
    }
}

/// What a group has besides its stack.
#[derive(Debug)]
struct Members {
    count: u64,
    wait_minutes_max: u64,
    locked: u64,
    first_ids: Vec<u64>,
    notes: Notes,
    stack: Box<[Name]>,
}

/// What a goroutine has besides its stack that does not tell groups apart; a group keeps the
/// first of each kind.
#[derive(Debug, Default)]
struct Notes {
    labels: Option<Box<[u8]>>,
    remarks: Option<Box<[u8]>>,
    ancestors: Vec<Box<[u8]>>,
}

/// A dump in progress.
#[derive(Debug)]
pub(crate) struct Dump {
    names: Names,
    /// A stack is: state, creator's function, creator's place, then function and place of every
    /// frame from the innermost.
    groups: HashMap<Box<[Name]>, usize>,
    members: Vec<Members>,
    /// The goroutine in progress.
    stack: Vec<Name>,
    current: Option<Current>,
    /// Another thread printed at the same time.
    woven: bool,
    /// The group of the goroutine before.
    last: usize,
    totals: Totals,
}

/// The header of the goroutine in progress.
#[derive(Debug)]
struct Current {
    id: u64,
    minutes: u64,
    locked: bool,
    notes: Notes,
    /// What a place line belongs to.
    slot: Slot,
    /// A line is missing or was torn: its stack is not known.
    torn: bool,
}

/// Where the next place goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    None,
    Frame,
    Creator,
    /// Inside an ancestor's stack, which belongs to another goroutine.
    Ancestor,
}

/// One group of goroutines with equal stacks.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    names: &'a Names,
    members: &'a Members,
}

/// One frame: a function and where in the source it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// `main.(*pool).get`; `...` where the runtime left frames out.
    pub function: &'a [u8],
    /// `/src/pool.go:88`; empty when none is printed.
    pub place: &'a [u8],
}

/// The figures of a dump.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Goroutines, without those numbered 0 (the threads' own stacks).
    pub goroutines: u64,
    /// Headers of goroutine 0: one for each thread at most.
    pub threads: u64,
    /// Groups of equal stacks.
    pub groups: u64,
    /// Frames of all goroutines together.
    pub frames: u64,
    /// Goroutines that are in no group, because there were too many different stacks, or because
    /// lines of theirs are missing: others have written into them.
    pub ungrouped: u64,
    /// Bytes of all its lines: goroutines, the threads' own stacks, registers, separators.
    pub bytes: u64,
    /// A crash or a signal caused it; false for stacks that the program printed itself.
    pub crash: bool,
}

/// At most `most` of a list, the innermost and the outermost, with `gap` where others stood.
#[must_use]
pub fn abridged<T>(mut list: Vec<T>, most: usize, gap: T) -> Vec<T> {
    if list.len() > most {
        let outer = list.split_off(list.len().saturating_sub(most / 4));
        list.truncate(most.saturating_sub(most / 4).saturating_sub(1));
        list.push(gap);
        list.extend(outer);
    }
    list
}

impl<'a> Group<'a> {
    /// Goroutines in the group.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.members.count
    }

    /// Wait reason or status: `chan receive (nil chan)`.
    #[must_use]
    pub fn state(&self) -> &'a [u8] {
        self.names.get(self.members.stack.first().copied().unwrap_or(0))
    }

    /// The longest wait, in whole minutes.
    #[must_use]
    pub fn wait_minutes_max(&self) -> u64 {
        self.members.wait_minutes_max
    }

    /// Goroutines that are bound to their thread.
    #[must_use]
    pub fn locked(&self) -> u64 {
        self.members.locked
    }

    /// Numbers of the first goroutines, in the order of the dump; eight at most.
    #[must_use]
    pub fn first_ids(&self) -> &'a [u64] {
        &self.members.first_ids
    }

    /// Labels of the first goroutine that has some, as the runtime prints them.
    #[must_use]
    pub fn labels(&self) -> Option<&'a [u8]> {
        self.members.notes.labels.as_deref()
    }

    /// Remarks of the header that have no field of their own, of the first goroutine that has
    /// some: `synctest bubble 4`, and whatever later versions print.
    #[must_use]
    pub fn remarks(&self) -> Option<&'a [u8]> {
        self.members.notes.remarks.as_deref()
    }

    /// Who created the creators (GODEBUG=tracebackancestors=N), of the first goroutine that tells:
    /// `[originating from goroutine 1]`, then the functions from the innermost, then its ancestor.
    pub fn ancestors(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.members.notes.ancestors.iter().map(AsRef::as_ref)
    }

    /// The frames from the innermost.
    pub fn frames(&self) -> impl Iterator<Item = Frame<'a>> + use<'a> {
        let (names, members) = (self.names, self.members);
        members.stack.get(3..).unwrap_or_default().chunks(2).map(move |pair| Frame {
            function: names.get(pair.first().copied().unwrap_or(0)),
            place: names.get(pair.get(1).copied().unwrap_or(0)),
        })
    }

    /// The function that started these goroutines, and where.
    #[must_use]
    pub fn created_by(&self) -> Option<Frame<'a>> {
        let function = self.members.stack.get(1).copied()?;
        let place = self.members.stack.get(2).copied().unwrap_or(0);
        let frame = Frame { function: self.names.get(function), place: self.names.get(place) };
        (!frame.function.is_empty()).then_some(frame)
    }
}

impl Dump {
    pub(crate) fn new(crash: bool) -> Self {
        let mut names = Names::new();
        // Number 1 is the empty name: "none printed".
        names.names.push(Box::default());
        names.numbers.insert(Box::default(), 1);
        Self {
            names,
            groups: HashMap::new(),
            members: Vec::new(),
            stack: Vec::new(),
            current: None,
            woven: false,
            last: 0,
            totals: Totals { crash, ..Totals::default() },
        }
    }

    /// Whether a goroutine was read, or is being read.
    pub(crate) fn has_goroutines(&self) -> bool {
        self.current.is_some() || self.totals.goroutines > 0 || self.totals.threads > 0
    }

    /// Whether a goroutine is in progress.
    pub(crate) fn inside(&self) -> bool {
        self.current.is_some()
    }

    /// Whether a crash or a signal caused it.
    pub(crate) fn crash(&self) -> bool {
        self.totals.crash
    }

    /// Begins a goroutine; ends the one before.
    pub(crate) fn begin(&mut self, header: &Header<'_>) {
        self.finish();
        let expected = self.expected(0);
        let state = self.number(expected, header.state);
        self.stack.clear();
        self.stack.extend([state, 1, 1]);
        self.current = Some(Current {
            id: header.id,
            minutes: header.minutes,
            locked: header.locked,
            notes: Notes {
                labels: header.labels.map(Into::into),
                remarks: header.remarks(),
                ancestors: Vec::new(),
            },
            slot: Slot::None,
            torn: false,
        });
    }

    /// The name that stands at this place in the stack of the group before.
    fn expected(&self, at: usize) -> Option<Name> {
        self.members.get(self.last)?.stack.get(at).copied()
    }

    fn number(&mut self, expected: Option<Name>, name: &[u8]) -> Name {
        match expected {
            Some(number) if self.names.is(expected, name) => number,
            Some(_) | None => self.names.number(name),
        }
    }

    fn push(&mut self, name: &[u8]) {
        if self.stack.len() < FRAMES.saturating_mul(2).saturating_add(3) {
            let number = self.number(self.expected(self.stack.len()), name);
            self.stack.push(number);
        }
    }

    /// Takes a line of the goroutine in progress; false when it is none.
    pub(crate) fn line(&mut self, line: &[u8]) -> bool {
        let Some(slot) = self.current.as_ref().map(|current| current.slot) else { return false };
        let kind = stack_line(line);
        // A place comes behind every name and nowhere else.
        let place = matches!(kind, Line::Place(_));
        let due = matches!(slot, Slot::Frame | Slot::Creator);
        let inner = slot == Slot::Ancestor || kind == Line::Other;
        if due != place
            && !inner
            && let Some(current) = &mut self.current
        {
            current.torn = true;
        }
        let next = match (kind, slot) {
            (Line::Other, _) => return false,
            (Line::Ancestor, _) | (_, Slot::Ancestor) => {
                self.ancestor(line);
                Slot::Ancestor
            }
            (Line::Remark, slot) => slot,
            (Line::Function(name), _) => {
                self.pad();
                self.push(name);
                self.totals.frames = self.totals.frames.saturating_add(1);
                // Of C without a symbolizer nothing but the address is known.
                if name.starts_with(b"non-Go ") { Slot::None } else { Slot::Frame }
            }
            (Line::Elided, _) => {
                self.pad();
                self.push(b"...");
                self.push(b"");
                Slot::None
            }
            (Line::CreatedBy(name), _) => {
                self.pad();
                self.creator(1, name);
                Slot::Creator
            }
            (Line::Place(place), Slot::Frame) => {
                self.push(place);
                Slot::None
            }
            (Line::Place(place), Slot::Creator) => {
                self.creator(2, place);
                Slot::None
            }
            (Line::Place(_), Slot::None) => Slot::None,
        };
        if let Some(current) = &mut self.current {
            current.slot = next;
        }
        true
    }

    /// Keeps what a line of an ancestor's stack says.
    fn ancestor(&mut self, line: &[u8]) {
        let Some(list) = self.current.as_mut().map(|current| &mut current.notes.ancestors) else {
            return;
        };
        let words = match stack_line(line) {
            Line::Ancestor => line.strip_suffix(b":").unwrap_or(line),
            // How the runtime starts a goroutine says nothing.
            Line::Function(name) if name.starts_with(b"runtime.") => return,
            Line::Function(name) => name,
            Line::Elided => b"...",
            // The creator is the next ancestor, and places of functions that are long gone say
            // no more than their names.
            Line::CreatedBy(_) | Line::Place(_) | Line::Remark | Line::Other => return,
        };
        if list.len() < ANCESTRY {
            list.push(words.get(..NAME).unwrap_or(words).into());
        }
    }

    /// Takes the name of a C function and the line behind it, which has its place.
    pub(crate) fn c_frame(&mut self, name: &[u8], place: &[u8]) {
        let Some(current) = &mut self.current else { return };
        current.slot = Slot::Frame;
        self.pad();
        self.push(name);
        self.totals.frames = self.totals.frames.saturating_add(1);
        let _ = self.line(place);
        if let Some(current) = &mut self.current {
            current.slot = Slot::None;
        }
    }

    /// Another thread prints at the same time: a goroutine may come without its end.
    pub(crate) fn weave(&mut self) {
        self.woven = true;
    }

    /// The stack of the goroutine in progress is not known for sure.
    pub(crate) fn doubt(&mut self) {
        if let Some(current) = &mut self.current {
            current.torn = true;
        }
    }

    /// Counts bytes of lines that belong to the dump.
    pub(crate) fn count(&mut self, bytes: usize) {
        self.totals.bytes = self.totals.bytes.saturating_add(u64::try_from(bytes).unwrap_or(0));
    }

    fn creator(&mut self, at: usize, name: &[u8]) {
        let number = self.number(self.expected(at), name);
        if let Some(slot) = self.stack.get_mut(at) {
            *slot = number;
        }
    }

    /// Completes a frame whose place was not printed.
    fn pad(&mut self) {
        if self.stack.len().is_multiple_of(2) {
            self.stack.push(1);
        }
    }

    /// Whether the goroutine in progress can be the runtime's work: goroutine 1 ends in
    /// `main.main`, in an initialiser or in the runtime, all others were created by somebody.
    pub(crate) fn credible(&self) -> bool {
        let Some(current) = &self.current else { return true };
        if self.stack.get(1).is_some_and(|creator| *creator != 1) {
            return true;
        }
        let functions = self.stack.get(3..).unwrap_or_default().chunks(2);
        let bottom = functions.last().and_then(|pair| pair.first()).copied().unwrap_or(1);
        let name = self.names.get(bottom);
        name.starts_with(b"runtime.")
            || (current.id == 1
                && (name == b"main.main" || memchr::memmem::find(name, b".init").is_some()))
    }

    /// Forgets the goroutine in progress, and so many bytes of lines.
    pub(crate) fn discard(&mut self, bytes: usize) {
        self.current = None;
        self.totals.bytes = self.totals.bytes.saturating_sub(u64::try_from(bytes).unwrap_or(0));
    }

    /// Ends the goroutine in progress: it joins its group.
    pub(crate) fn finish(&mut self) {
        let Some(current) = self.current.take() else { return };
        if current.id == 0 {
            self.totals.threads = self.totals.threads.saturating_add(1);
            return;
        }
        self.totals.goroutines = self.totals.goroutines.saturating_add(1);
        let open = matches!(current.slot, Slot::Frame | Slot::Creator);
        let cut = self.woven && current.id != 1 && self.stack.get(1).is_none_or(|name| *name == 1);
        if current.torn || open || cut {
            self.totals.ungrouped = self.totals.ungrouped.saturating_add(1);
            return;
        }
        self.pad();
        let same = self.members.get(self.last).is_some_and(|last| *last.stack == *self.stack);
        let at = if same {
            self.last
        } else if let Some(at) = self.groups.get(self.stack.as_slice()) {
            *at
        } else if self.members.len() < GROUPS {
            let stack: Box<[Name]> = self.stack.as_slice().into();
            self.groups.insert(stack.clone(), self.members.len());
            self.members.push(Members {
                count: 0,
                wait_minutes_max: 0,
                locked: 0,
                first_ids: Vec::new(),
                notes: Notes::default(),
                stack,
            });
            self.members.len().saturating_sub(1)
        } else {
            self.totals.ungrouped = self.totals.ungrouped.saturating_add(1);
            return;
        };
        self.last = at;
        if let Some(group) = self.members.get_mut(at) {
            group.join(current);
        }
    }

    /// Hands out every group, largest first, and the figures.
    pub(crate) fn end(mut self, mut each: impl FnMut(Group<'_>)) -> Totals {
        self.finish();
        self.members.sort_by_key(|members| std::cmp::Reverse(members.count));
        for members in &self.members {
            each(Group { names: &self.names, members });
        }
        self.totals.groups = u64::try_from(self.members.len()).unwrap_or(u64::MAX);
        self.totals
    }
}

impl Members {
    fn join(&mut self, current: Current) {
        self.count = self.count.saturating_add(1);
        self.wait_minutes_max = self.wait_minutes_max.max(current.minutes);
        self.locked = self.locked.saturating_add(u64::from(current.locked));
        if self.first_ids.len() < FIRST_IDS {
            self.first_ids.push(current.id);
        }
        let Notes { labels, remarks, ancestors } = current.notes;
        self.notes.labels = self.notes.labels.take().or(labels);
        self.notes.remarks = self.notes.remarks.take().or(remarks);
        if self.notes.ancestors.is_empty() {
            self.notes.ancestors = ancestors;
        }
    }
}
