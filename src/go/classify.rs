//! From whole lines to entries. The state is what spans several lines: a detailed snapshot, the
//! head of a crash that is not proven yet, a dump. Each of them is bounded and given up in order.

use super::crash::{Pending, Says, begins, leads};
use super::detail::{self, Gathering};
use super::dump::Dump;
use super::entry::{Entry, Text};
use super::scan::{after, first, split, trim_start};
use super::snapshot::Snapshot;
use super::traceback::header;
use super::{gc, init, json};

/// Other people's lines inside a detailed snapshot or a crash dump before it is closed.
const FOREIGN_LINES: u32 = 64;
/// Bytes of lines that are kept because a `fatal error:` may follow.
const LEAD_BYTES: usize = 8 * 1024;
/// For so many detailed snapshots a second runtime is reckoned with after it was seen.
const SEVERAL: u32 = 1_000;
/// Runtimes of which the length of the last list of goroutines is remembered.
const RUNTIMES: usize = 7;
/// Bytes of an unproven goroutine that are kept to be given back as text.
const HELD_BYTES: usize = 64 * 1024;

/// Turns lines into entries.
#[derive(Debug, Default)]
pub(crate) struct Classifier {
    snapshot: Option<Gathering>,
    /// The detailed snapshot before, until it is sure that all its lines came before this one.
    before: Option<Gathering>,
    /// Detailed snapshots whose Ps and Ms were not all listed when another began.
    unlisted: u32,
    /// For so many detailed snapshots more a second runtime is reckoned with.
    several: u32,
    /// Several runtimes: how many Ps one has, and the most goroutines that one with so many listed.
    longest: Vec<(u32, u32)>,
    /// Lines that the runtime prints before a `fatal error:`, each with its newline.
    lead: Vec<u8>,
    head: Option<Pending>,
    /// The snapshot began before the head.
    headed: bool,
    /// There was a detailed snapshot.
    detailed: bool,
    dump: Option<Dump>,
    /// Lines of a goroutine that no crash announced, each with its newline.
    held: Vec<u8>,
    /// A line that is the name of a C function if a place follows.
    symbol: Option<Vec<u8>>,
    /// Sysmon was in the middle of the snapshot when a crash began: its lines stand among those
    /// of the crash.
    woven: bool,
    /// Lines of others since the snapshot or the dump began.
    foreign: u32,
    /// Blanks that an indented paste has before each line of a dump.
    indent: usize,
}

impl Classifier {
    /// Whether nothing spans lines: the next line can be judged alone.
    pub(crate) fn idle(&self) -> bool {
        self.snapshot.is_none()
            && self.lead.is_empty()
            && self.head.is_none()
            && self.dump.is_none()
    }

    /// Whether the head of a crash waits for what follows it.
    pub(crate) fn expects(&self) -> bool {
        self.head.is_some()
    }

    /// The first piece of a line that is too long to be held; it was handed out as text.
    pub(crate) fn long(&mut self, piece: &[u8]) {
        if self.idle()
            && let Some((kind, _)) = begins(piece)
        {
            self.head = Some(Pending::told(kind, piece));
        }
    }

    /// Whether what is held is the runtime's for sure: a snapshot, or a dump that has goroutines.
    pub(crate) fn sure(&self) -> bool {
        self.snapshot.is_some() || self.dump.as_ref().is_some_and(Dump::has_goroutines)
    }

    /// Whether a detailed snapshot is in progress, or may be while a crash is printed.
    pub(crate) fn lists(&self) -> bool {
        self.snapshot.is_some() || (self.detailed && self.dump.as_ref().is_some_and(Dump::crash))
    }

    /// A line of the snapshot is in progress while others are printed.
    pub(crate) fn weaves(&mut self) {
        self.woven |= self.headed;
        if let Some(dump) = &mut self.dump {
            dump.weave();
        }
    }

    /// One whole line that was put together of pieces, and might be another.
    pub(crate) fn doubtful(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        self.line(line, out);
        if let Some(dump) = &mut self.dump {
            dump.doubt();
        }
    }

    /// Whether the runtime's lines are being gathered; the unproven head of a crash is not enough.
    pub(crate) fn gathers(&self) -> bool {
        self.snapshot.is_some() || self.dump.is_some()
    }

    /// Takes a line that is known to be of the text of the panic whose head is held, if it is.
    pub(crate) fn words(&mut self, line: &[u8]) -> bool {
        self.head.as_mut().is_some_and(|head| head.words(line))
    }

    /// Whether the words of a crash may follow: it has begun, and no goroutine was printed.
    pub(crate) fn expects_words(&self) -> bool {
        self.dump.is_none()
    }

    /// A second runtime prints: the lines behind a detailed snapshot may be the other one's.
    pub(crate) fn several(&mut self) {
        self.several = SEVERAL;
    }

    /// A line behind a detailed snapshot cannot be told from another runtime's.
    pub(crate) fn doubt_detail(&mut self) {
        self.several();
        self.mix_detail();
    }

    /// A line behind a detailed snapshot may have been missed.
    pub(crate) fn mix_detail(&mut self) {
        self.snapshot.iter_mut().chain(&mut self.before).for_each(Gathering::mix);
    }

    /// A record was lost of which the detail may follow: whose that is will not be known.
    pub(crate) fn lost(&mut self) {
        self.doubt_detail();
        self.unlisted = self.unlisted.saturating_add(1);
    }

    /// A snapshot's first line was read; its detail may follow.
    pub(crate) fn sched(&mut self, snapshot: Snapshot, out: &mut impl FnMut(Entry<'_>)) {
        if snapshot.gcwaiting.is_none() {
            if self.several == 0 {
                self.flush_snapshot(out);
            }
            return out(Entry::Sched(snapshot));
        }
        self.finish_before(out);
        self.foreign = 0;
        (self.headed, self.detailed) = (false, true);
        self.woven = self.dump.as_ref().is_some_and(Dump::crash);
        self.several = self.several.saturating_sub(1);
        if let Some(mut last) = self.snapshot.take() {
            if !last.listed() {
                self.unlisted = self.unlisted.saturating_add(1);
                last.mix();
            }
            self.before = Some(last);
        }
        self.snapshot = Some(Gathering::new(snapshot, self.unlisted > 0));
    }

    /// Hands out the detailed snapshot before this one. Another runtime may have been quicker than
    /// the rest of its goroutines: their list only ever grows (runtime/proc.go, `allgs`).
    fn finish_before(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let Some(mut before) = self.before.take() else { return };
        if self.several > 0
            && let Some((procs, goroutines)) = before.size()
        {
            match self.longest.iter_mut().find(|(of, _)| *of == procs) {
                Some((_, most)) if goroutines < *most => before.torn(),
                Some((_, most)) => *most = goroutines,
                None => {
                    self.longest.truncate(RUNTIMES);
                    self.longest.insert(0, (procs, goroutines));
                }
            }
        }
        out(Entry::Sched(before.finish()));
    }

    /// Offers a line to the detailed snapshot; true when it was taken.
    fn detail(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) -> bool {
        let Some(snapshot) = &mut self.snapshot else { return false };
        let listed = snapshot.listed();
        let says = snapshot.line(line);
        if says == detail::Says::Another {
            self.doubt_detail();
        } else if !listed && snapshot.listed() {
            // Nothing of the one before came in between: it was complete.
            self.unlisted = if snapshot.sound() { 0 } else { self.unlisted.saturating_sub(1) };
            self.finish_before(out);
        }
        if says == detail::Says::Belongs {
            self.weaves();
        }
        says != detail::Says::Torn
    }

    /// One whole line, without its newline.
    pub(crate) fn line(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        if !self.idle() && self.continues(line, out) {
            return;
        }
        self.begins(line, out);
    }

    /// One whole line that is known to be nobody's but the program's: what is in progress is left
    /// as it is.
    pub(crate) fn alone(&self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        match json::object(line) {
            Some(object) => out(Entry::Json(object)),
            None => text(line, out),
        }
    }

    /// Gives out what is held, as far as it is whole: nothing more came for a while.
    pub(crate) fn pause(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.flush_snapshot(out);
        self.flush_lead(out);
        self.settle_head(out);
        self.flush_symbol(out);
        if self.dump.as_ref().is_some_and(|dump| !dump.inside()) {
            self.end_dump(out);
        }
    }

    /// Gives out everything: the stream has ended.
    pub(crate) fn end(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.flush_snapshot(out);
        self.flush_lead(out);
        self.settle_head(out);
        self.end_dump(out);
    }

    fn flush_snapshot(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.unlisted = 0;
        for snapshot in [self.before.take(), self.snapshot.take()].into_iter().flatten() {
            out(Entry::Sched(snapshot.finish()));
        }
    }

    /// Nothing fatal followed the lines that were kept for it.
    fn flush_lead(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        let lead = std::mem::take(&mut self.lead);
        give_back(&lead, out);
    }

    /// The line that was kept is no function of C. Stacks that no crash announced end there.
    fn flush_symbol(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if let Some(line) = self.symbol.take() {
            if self.dump.as_ref().is_some_and(|dump| !dump.crash()) {
                self.end_goroutine(out);
            }
            text(&line, out);
        }
    }

    /// Nothing follows the head: it stands alone, or it was the program's.
    fn settle_head(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        match &self.head {
            Some(head) if head.stands() => self.prove_head(false, out),
            Some(_) => self.deny_head(out),
            None => {}
        }
    }

    fn prove_head(&mut self, proven: bool, out: &mut impl FnMut(Entry<'_>)) {
        if let Some(head) = self.head.take() {
            if !self.woven {
                // The crash has printed it itself.
                self.flush_snapshot(out);
            }
            out(Entry::Crash(head.head(proven)));
            self.dump = Some(Dump::new(true));
            self.foreign = 0;
        }
    }

    fn end_dump(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        self.flush_symbol(out);
        self.end_goroutine(out);
        let Some(dump) = self.dump.take() else { return };
        let totals = dump.end(|group| out(Entry::Goroutines(group)));
        self.indent = 0;
        if totals.bytes > 0 {
            out(Entry::DumpEnd(totals));
        }
    }

    /// Ends the goroutine in progress. One that no crash announced has to look like the
    /// runtime's work; else its lines are text, and this says so.
    fn end_goroutine(&mut self, out: &mut impl FnMut(Entry<'_>)) -> bool {
        let Some(dump) = &mut self.dump else { return false };
        let denied = dump.inside() && !self.held.is_empty() && !dump.credible();
        if denied {
            dump.discard(self.held.len());
            give_back(&self.held, out);
        }
        dump.finish();
        self.held.clear();
        denied
    }

    /// Offers the line to what is in progress; true when that took it.
    fn continues(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) -> bool {
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        if self.snapshot.is_some() {
            if self.detail(bare, out) {
                return true;
            }
            let crash = self.head.is_some() || self.dump.as_ref().is_some_and(Dump::crash);
            let ends = runtime_line(bare) && begins(bare).is_none();
            self.foreign = self.foreign.saturating_add(u32::from(!crash));
            if !crash && (self.foreign > FOREIGN_LINES || ends) {
                if self.several > 0 {
                    // It may be the other runtime that crashes.
                    self.doubt_detail();
                }
                self.flush_snapshot(out);
            }
        }
        if !self.lead.is_empty() {
            if leads(bare, true) && self.lead.len().saturating_add(bare.len()) < LEAD_BYTES {
                self.lead(bare);
                return true;
            }
            if !bare.starts_with(b"fatal error: ") {
                self.flush_lead(out);
            }
        }
        if let Some(head) = &mut self.head {
            match head.next(bare) {
                Says::Belongs => return true,
                Says::Proves => self.prove_head(true, out),
                Says::Denies => self.deny_head(out),
            }
        }
        self.dump.is_some() && self.dump_line(line, bare, out)
    }

    fn lead(&mut self, line: &[u8]) {
        self.lead.extend_from_slice(line);
        self.lead.push(b'\n');
    }

    fn deny_head(&mut self, out: &mut impl FnMut(Entry<'_>)) {
        if let Some(head) = self.head.take() {
            for line in head.lines() {
                text(line, out);
            }
        }
    }

    fn dump_line(&mut self, line: &[u8], bare: &[u8], out: &mut impl FnMut(Entry<'_>)) -> bool {
        let bare = after(bare, self.indent.min(bare.len().saturating_sub(trim_start(bare).len())));
        let c_frame = self.symbol.take_if(|_| c_place(bare));
        self.flush_symbol(out);
        let Some(dump) = &mut self.dump else { return false };
        if dump.inside() {
            if bare.is_empty() {
                // The blank line behind what was only text is text as well.
                let denied = self.end_goroutine(out);
                self.counted(line, !denied);
                return !denied;
            }
            if let Some(symbol) = c_frame {
                dump.c_frame(symbol.strip_suffix(b"\r").unwrap_or(&symbol), bare);
                self.hold(&symbol);
                self.hold(line);
                return true;
            }
            if bare.first() == Some(&b'g') && header(bare).is_some() {
                self.end_goroutine(out);
                return self.goroutine(line, bare);
            }
            if dump.line(bare) {
                self.hold(line);
                return true;
            }
            if symbol(bare) {
                self.symbol = Some(line.to_vec());
                return true;
            }
            if !dump.crash() {
                self.end_goroutine(out);
            }
        }
        if self.goroutine(line, bare) {
            return true;
        }
        if self.dump.as_ref().is_some_and(Dump::crash) {
            if scaffold(bare) {
                self.counted(line, true);
                return true;
            }
            self.foreign = self.foreign.saturating_add(1);
            if self.foreign <= FOREIGN_LINES && begins(bare).is_none() {
                return false;
            }
        }
        self.end_dump(out);
        false
    }

    /// Counts a line of the dump.
    fn counted(&mut self, line: &[u8], belongs: bool) {
        if let Some(dump) = self.dump.as_mut().filter(|_| belongs) {
            dump.count(line.len().saturating_add(1));
        }
    }

    /// Keeps a line of an unproven goroutine; one that is too long for that is believed.
    fn hold(&mut self, line: &[u8]) {
        self.counted(line, true);
        if self.held.is_empty() {
            return;
        }
        if self.held.len().saturating_add(line.len()) < HELD_BYTES {
            self.held.extend_from_slice(line);
            self.held.push(b'\n');
        } else {
            self.held.clear();
        }
    }

    /// Begins a goroutine if the line is a header.
    fn goroutine(&mut self, line: &[u8], bare: &[u8]) -> bool {
        let Some(found) = header(bare) else { return false };
        let dump = self.dump.get_or_insert_with(|| Dump::new(false));
        dump.begin(&found);
        dump.count(line.len().saturating_add(1));
        self.held.clear();
        if !dump.crash() {
            self.held.extend_from_slice(first(line, HELD_BYTES));
            self.held.push(b'\n');
        }
        true
    }

    /// Judges a line on its own.
    fn begins(&mut self, line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
        let bare = line.strip_suffix(b"\r").unwrap_or(line);
        match bare.first() {
            Some(b'i') => {
                if let Some(trace) = init::parse(bare) {
                    return out(Entry::Init(trace));
                }
            }
            Some(b'g') => {
                if let Some((trace, more)) = gc::parse(bare) {
                    return out(Entry::Gc(trace, more));
                }
                if self.goroutine(line, bare) {
                    return;
                }
            }
            Some(b'p' | b'f' | b'S') => {
                if let Some((kind, _)) = begins(bare) {
                    let lead = std::mem::take(&mut self.lead);
                    self.head = Some(Pending::new(kind, lead, bare));
                    self.headed = self.snapshot.is_some();
                    return;
                }
            }
            Some(b'r' | b'u') if leads(bare, false) => return self.lead(bare),
            Some(b' ' | b'\t') => {
                let words = trim_start(bare);
                if words.starts_with(b"goroutine ") {
                    self.indent = bare.len().saturating_sub(words.len());
                    if self.goroutine(line, words) {
                        return;
                    }
                    self.indent = 0;
                }
            }
            Some(b'{') => {
                if let Some(object) = json::object(line) {
                    return out(Entry::Json(object));
                }
            }
            Some(_) | None => {}
        }
        text(line, out);
    }
}

fn text(line: &[u8], out: &mut impl FnMut(Entry<'_>)) {
    out(Entry::Text(Text::line(line)));
}

/// Hands out lines that were kept, each with its newline, as text.
fn give_back(lines: &[u8], out: &mut impl FnMut(Entry<'_>)) {
    for line in lines.split_inclusive(|b| *b == b'\n') {
        text(line.strip_suffix(b"\n").unwrap_or(line), out);
    }
}

/// Whether a line can be the name of a C function, as a symbolizer that the program has set tells
/// it (runtime/traceback.go, `printOneCgoTraceback`).
fn symbol(line: &[u8]) -> bool {
    line == b"non-Go function"
        || (line.len() <= 512
            && line.first().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'~'))
            && line.iter().all(|b| b.is_ascii_graphic()))
}

/// The place of a C function: a tab, then perhaps file and line, and always `pc=0x…` at the end.
fn c_place(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"\t") else { return false };
    // From the end: nearly every line with a tab is the place of a Go function.
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let head = first(rest, rest.len().saturating_sub(digits)).strip_suffix(b"pc=0x");
    head.is_some_and(|head| head.is_empty() || head.ends_with(b" "))
        && split(rest, b" +0x").is_none()
}

/// Lines by which the runtime goes on after a detailed snapshot.
fn runtime_line(line: &[u8]) -> bool {
    line.starts_with(b"goroutine ") || line.starts_with(b"runtime stack:") || begins(line).is_some()
}

/// What a crash dump has besides goroutines; lines of a snapshot too, of which the first was lost.
fn scaffold(line: &[u8]) -> bool {
    fixed(line)
        || detail::is_one(line)
        || !matches!(super::traceback::line(line), super::traceback::Line::Other)
}

/// The lines of a crash that are no goroutine's: blank ones, registers, separators.
pub(crate) fn fixed(line: &[u8]) -> bool {
    line.is_empty()
        || line.starts_with(b"-----")
        || line.starts_with(b"PC=")
        || line.starts_with(b"runtime stack:")
        || line.starts_with(b"[signal ")
        || line.starts_with(b"signal arrived during ")
        || line.starts_with(b"instruction bytes: ")
        || register(line)
}

/// `rax    0xca`: a register of any architecture.
fn register(line: &[u8]) -> bool {
    let name = line.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let rest = after(line, name);
    (2..=8).contains(&name) && rest.starts_with(b" ") && trim_start(rest).starts_with(b"0x")
}
