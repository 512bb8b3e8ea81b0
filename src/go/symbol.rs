//! Program counters to functions, files and lines, inlined calls included.
//!
//! Every distinct program counter is resolved once (a *site*); every distinct text and stack is
//! kept once. So 100,000 goroutines in the same place cost one stack.

use super::bytes::{index, u8_at, u32_at, wide};
use super::image::Image;
use super::pclntab::{Function, Table};
use super::unwind::{Call, End};
use std::collections::HashMap;
use std::rc::Rc;

/// Calls inlined into one another at most.
const INLINED: usize = 64;
/// Program counters resolved at most; further ones share the site "?".
const SITES: usize = 200_000;
/// Calls kept over all different stacks together (4 bytes each); further stacks keep their first
/// [`SHORT`] calls.
const KEPT_CALLS: usize = 2_000_000;
/// Calls kept of a stack beyond [`KEPT_CALLS`].
const SHORT: usize = 16;

/// The text with this number in [`Texts`].
pub type Text = u32;
/// The site with this number in [`Symbols`].
pub type Site = u32;

/// Texts kept once each.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    list: Vec<Rc<str>>,
    numbers: HashMap<Rc<str>, Text>,
}

impl Texts {
    fn keep(&mut self, text: &str) -> Text {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
        let text: Rc<str> = Rc::from(text);
        self.list.push(Rc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The text with this number.
    #[must_use]
    pub fn get(&self, text: Text) -> &str {
        self.list.get(index(u64::from(text))).map_or("?", |text| text)
    }
}

/// One logical frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Function, type arguments as `[...]`.
    pub function: Text,
    /// Source file as the compiler recorded it.
    pub file: Text,
    /// Line in it.
    pub line: u32,
    /// Bytes behind the function's entry; `None` for an inlined call.
    pub offset: Option<u32>,
    /// A wrapper that the compiler made.
    pub wrapper: bool,
}

/// One stack.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Its calls, innermost first.
    pub sites: Rc<[Site]>,
    /// How it ended.
    pub end: End,
}

/// Everything resolved so far.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Names of functions and files.
    pub texts: Texts,
    frames: Vec<Frame>,
    /// Range of frames of each site.
    sites: Vec<(u32, u32)>,
    known: HashMap<u64, Site>,
    /// Different stacks.
    pub stacks: Vec<Stack>,
    stack_numbers: HashMap<(Rc<[Site]>, End), u32>,
    kept_calls: usize,
    /// Stacks of which only the first calls were kept, to bound memory.
    pub shortened: usize,
}

impl Symbols {
    /// The frames of a site: inlined calls first, the physical function last.
    #[must_use]
    pub fn frames(&self, site: Site) -> &[Frame] {
        let range = self.sites.get(index(u64::from(site)));
        range
            .and_then(|(from, to)| self.frames.get(index((*from).into())..index((*to).into())))
            .unwrap_or(&[])
    }

    /// The frames of a stack, innermost first.
    pub fn stack_frames(&self, stack: u32) -> impl Iterator<Item = &Frame> {
        let sites = self.stack(stack).map_or(&[][..], |stack| &stack.sites);
        sites.iter().flat_map(|site| self.frames(*site))
    }

    /// The stack with this number.
    #[must_use]
    pub fn stack(&self, number: u32) -> Option<&Stack> {
        self.stacks.get(index(u64::from(number)))
    }

    /// A frame's function.
    #[must_use]
    pub fn function(&self, frame: &Frame) -> &str {
        self.texts.get(frame.function)
    }

    fn add_site(&mut self, frames: impl IntoIterator<Item = Frame>) -> Site {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let from = count(self.frames.len());
        self.frames.extend(frames);
        self.sites.push((from, count(self.frames.len())));
        count(self.sites.len() - 1)
    }

    fn add_stack(&mut self, sites: &[Site], end: End) -> u32 {
        let sites = match sites.get(..SHORT) {
            Some(short) if self.kept_calls > KEPT_CALLS => {
                self.shortened += 1;
                short
            }
            _ => sites,
        };
        let key = (Rc::from(sites), end);
        if let Some(number) = self.stack_numbers.get(&key) {
            return *number;
        }
        let number = u32::try_from(self.stacks.len()).unwrap_or(u32::MAX);
        self.kept_calls += sites.len();
        self.stacks.push(Stack { sites: Rc::clone(&key.0), end });
        self.stack_numbers.insert(key, number);
        number
    }
}

/// Resolves program counters of one program.
#[derive(Debug)]
pub struct Symbolizer<'a> {
    image: Image<'a>,
    table: Table<'a>,
    inlined: u64,
    wrapper: u8,
    step: u64,
    /// What was resolved.
    pub symbols: Symbols,
    sites: Vec<Site>,
}

impl<'a> Symbolizer<'a> {
    /// A symbolizer; `inlined` is the base of the inlining trees, `wrapper` the number of wrapper
    /// functions.
    #[must_use]
    pub fn new(image: &Image<'a>, table: Table<'a>, inlined: u64, wrapper: u8) -> Self {
        let step = if image.arm { 4 } else { 1 };
        let (image, symbols) = (image.clone(), Symbols::default());
        Self { image, table, inlined, wrapper, step, symbols, sites: Vec::new() }
    }

    /// The number of the stack that consists of `calls`.
    pub fn stack(&mut self, calls: &[Call], end: End) -> u32 {
        let mut sites = std::mem::take(&mut self.sites);
        sites.clear();
        sites.extend(calls.iter().map(|call| self.site(call.pc, call.exact)));
        let number = self.symbols.add_stack(&sites, end);
        self.sites = sites;
        number
    }

    /// The site of one call, resolved at most once.
    pub fn site(&mut self, pc: u64, exact: bool) -> Site {
        // Addresses of programs are below 2^63 on every machine known here.
        let key = pc | u64::from(exact) << 63;
        if let Some(site) = self.symbols.known.get(&key) {
            return *site;
        }
        if self.symbols.sites.len() >= SITES {
            return Site::MAX;
        }
        let site = match self.table.function_at(pc) {
            Some(function) => self.resolve(&function, pc, exact),
            None => self.unknown(),
        };
        self.symbols.known.insert(key, site);
        site
    }

    /// Where a `go` statement stands: the function and the line of the call behind `pc`.
    pub fn created_by(&mut self, pc: u64) -> Option<Site> {
        let key = pc | 1 << 62;
        if let Some(site) = self.symbols.known.get(&key) {
            return Some(*site);
        }
        let function = self.table.function_at(pc)?;
        let before = if pc > function.entry { pc - self.step } else { pc };
        let frame = self.physical(&function, before, pc);
        let site = self.symbols.add_site([frame]);
        self.symbols.known.insert(key, site);
        Some(site)
    }

    /// The name of the function that starts at, or holds, `pc`.
    pub fn function_name(&mut self, pc: u64) -> Text {
        match self.table.function_at(pc) {
            Some(function) => self.name(function.name),
            None => self.symbols.texts.keep("?"),
        }
    }

    fn unknown(&mut self) -> Site {
        let text = self.symbols.texts.keep("?");
        let frame = Frame { function: text, file: text, line: 0, offset: None, wrapper: false };
        self.symbols.add_site([frame])
    }

    fn resolve(&mut self, function: &Function, pc: u64, exact: bool) -> Site {
        let mut at = if exact || pc <= function.entry { pc } else { pc - 1 };
        let mut frames = Vec::new();
        let tree = self.table.inline_tree(function).filter(|_| self.inlined != 0);
        if let Some(tree) = tree.and_then(|tree| self.inlined.checked_add(u64::from(tree))) {
            while frames.len() < INLINED
                && let Some((call, parent)) = self.inlined_call(function, tree, at)
            {
                frames.push(call);
                at = parent;
            }
        }
        frames.push(self.physical(function, at, pc));
        self.symbols.add_site(frames)
    }

    /// The call inlined at `at`, and where in the function it was inlined to.
    fn inlined_call(&mut self, function: &Function, tree: u64, at: u64) -> Option<(Frame, u64)> {
        let number = self.table.inline_index(function, at)?;
        let (size, id, name, parent) = if self.table.old { (20, 2, 12, 16) } else { (16, 0, 4, 8) };
        let into = u64::try_from(number).ok()?.checked_mul(size)?;
        let entry = self.image.from(tree.checked_add(into)?)?;
        let wrapper = u8_at(entry, id)? == self.wrapper;
        let (name, parent) = (u32_at(entry, name)?, u32_at(entry, parent)?);
        let (file, line) = self.table.line(function, at);
        let frame = Frame {
            function: self.name(name),
            file: self.symbols.texts.keep(&file),
            line,
            offset: None,
            wrapper,
        };
        Some((frame, function.entry.checked_add(u64::from(parent))?))
    }

    fn physical(&mut self, function: &Function, at: u64, pc: u64) -> Frame {
        let (file, line) = self.table.line(function, at);
        Frame {
            function: self.name(function.name),
            file: self.symbols.texts.keep(&file),
            line,
            offset: u32::try_from(pc.saturating_sub(function.entry)).ok(),
            wrapper: function.id == self.wrapper,
        }
    }

    fn name(&mut self, at: u32) -> Text {
        let name = self.table.name(at);
        match short_generics(&name) {
            Some(short) => self.symbols.texts.keep(&short),
            None => self.symbols.texts.keep(&name),
        }
    }

    /// Bytes of distinct stacks and sites kept so far, roughly.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        wide(self.symbols.kept_calls * 4 + self.symbols.frames.len() * 24)
    }
}

/// `f[int]` as the runtime prints it: `f[...]`; nothing when there are no type arguments.
fn short_generics(name: &str) -> Option<String> {
    let open = name.find('[')?;
    let close = name.rfind(']').filter(|close| *close > open)?;
    Some(format!("{}[...]{}", name.get(..open)?, name.get(close + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_are_shortened_as_the_runtime_does() {
        let check = |name, short: &str| assert_eq!(short_generics(name).as_deref(), Some(short));
        check("main.F[go.shape.int]", "main.F[...]");
        check("main.(*Box[go.shape.[]uint8]).Get", "main.(*Box[...]).Get");
        assert_eq!(short_generics("main.main.func1"), None);
        assert_eq!(short_generics("main.]["), None);
    }

    #[test]
    fn equal_stacks_are_kept_once() {
        let mut symbols = Symbols::default();
        assert_eq!(symbols.add_stack(&[1, 2], End::Complete), 0);
        assert_eq!(symbols.add_stack(&[1, 2], End::TooDeep), 1);
        assert_eq!(symbols.add_stack(&[1, 2], End::Complete), 0);
        assert_eq!(symbols.stacks.len(), 2);
    }
}
