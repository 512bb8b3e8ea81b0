//! A stream in which two threads of one runtime print at the same time: sysmon its detailed
//! snapshot, another one a traceback. Each print statement is whole, so a line of the one stands in
//! the other's only where a statement ends (runtime/proc.go, `schedtrace`). The lines of the
//! snapshot have one grammar, which tells them from all else; where it leaves a choice, all
//! choices are kept until the lines that follow leave one.

use super::classify::fixed;
use super::crash::begins;
use super::scan::{after, decimal, first};
use super::traceback::{complete, header, names};
use memchr::memmem;

/// Choices that are kept.
const CHOICES: usize = 24;
/// A choice that is worse than the best one by more than this is dropped.
const WORSE: u32 = 3;
/// What a line costs that is nothing a runtime prints.
const UNKNOWN: u32 = 4;
/// Lines that are held back while there is a choice.
const HELD: usize = 64;
/// Ways to cut one line that are looked at.
const CUTS: usize = 512;
/// A longer line is nobody's but the program's.
const LINE: usize = 4096;

/// A line of the snapshot is a head, then values and keys in turn, then its end. In these patterns
/// `#` is a number, `%` a word that may be empty.
type Grammar = &'static [&'static [u8]];

const PROC: Grammar =
    &[b": status=# schedtick=# syscalltick=# m=", b" runqsize=# gfreecnt=# timerslen=#\n"];
const THREAD: Grammar = &[
    b": p=",
    b" curg=",
    b" mallocing=# throwing=# preemptoff=% locks=# dying=# spinning=% blocked=% lockedg=",
    b"\n",
];
const STATUS: Grammar = &[b": status=#(", b" lockedm=", b"\n"];

/// A line of the snapshot in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    grammar: Grammar,
    /// The next piece of the grammar.
    next: usize,
    /// A value comes before it.
    value: bool,
}

/// One way to tell the threads apart.
#[derive(Clone, Debug, Default)]
struct Choice {
    /// What the other thread has begun.
    text: Vec<u8>,
    /// What the snapshot has begun.
    listed: Vec<u8>,
    place: Option<Place>,
    /// The last piece was the snapshot's.
    lists: bool,
    /// The last line of the other thread was a name, behind which its place comes.
    named: bool,
    /// Whole lines that were not handed out.
    lines: Vec<Found>,
    cost: u32,
}

/// A line that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    /// It might be another.
    pub(super) doubtful: bool,
}

/// One way to cut a line: what the other thread and the snapshot have of it.
#[derive(Clone, Debug)]
struct Cut {
    text: Vec<u8>,
    listed: Vec<u8>,
    place: Option<Place>,
    /// The last piece is the snapshot's.
    lists: bool,
    /// How often the one gives way to the other.
    tears: u32,
}

/// The two threads.
#[derive(Debug)]
pub(super) struct Weave {
    choices: Vec<Choice>,
}

impl Default for Weave {
    fn default() -> Self {
        Self { choices: vec![Choice::default()] }
    }
}

impl Weave {
    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.choices.as_slice(), [only] if only.idle() && only.lines.is_empty())
    }

    /// Whether a line of the snapshot is in progress.
    pub(super) fn lists(&self) -> bool {
        self.choices.iter().any(|choice| choice.place.is_some())
    }

    /// Whether the line is whole as it came: nothing is in progress, and nothing begins in it.
    pub(super) fn plain(&self, line: &[u8]) -> bool {
        self.is_empty() && (line.len() > LINE || whole(line) || heads(line).next().is_none())
    }

    /// Takes a line (without its newline).
    pub(super) fn line(&mut self, line: &[u8]) {
        let mut bytes = line.to_vec();
        bytes.push(b'\n');
        let mut next: Vec<Choice> = Vec::new();
        for choice in &self.choices {
            for cut in cuts(&bytes, choice.place, choice.lists) {
                add(&mut next, choice.with(cut));
            }
        }
        let best = next.iter().map(|choice| choice.cost).min().unwrap_or(0);
        next.retain(|choice| choice.cost <= best.saturating_add(WORSE));
        next.sort_by_key(|choice| choice.cost);
        next.truncate(CHOICES);
        next.iter_mut().for_each(|choice| choice.cost = choice.cost.saturating_sub(best));
        self.choices = next;
        if self.choices.iter().any(|choice| choice.lines.len() > HELD) {
            self.choices.truncate(1);
        }
    }

    /// The lines that are certain by now.
    pub(super) fn ready(&mut self) -> Vec<Found> {
        match self.choices.as_mut_slice() {
            [only] => std::mem::take(&mut only.lines),
            _ => Vec::new(),
        }
    }

    /// All that is held: the lines of the best choice, and the beginnings of others.
    pub(super) fn end(&mut self) -> Vec<Found> {
        let mut choices = std::mem::take(self).choices.into_iter();
        let Some(best) = choices.next() else { return Vec::new() };
        let mut lines = best.lines;
        for bytes in [best.listed, best.text] {
            if !bytes.is_empty() {
                lines.push(Found { bytes, doubtful: true });
            }
        }
        lines
    }
}

/// Adds a choice; of two that go on in the same way one stays.
fn add(choices: &mut Vec<Choice>, new: Choice) {
    let same = choices.iter_mut().find(|known| {
        known.place == new.place && known.text == new.text && known.listed == new.listed
    });
    match same {
        None => choices.push(new),
        Some(known) if known.cost > new.cost => *known = new,
        Some(known) if known.cost == new.cost => known.doubt(&new),
        Some(_) => {}
    }
}

impl Choice {
    fn idle(&self) -> bool {
        self.text.is_empty() && self.place.is_none()
    }

    /// The choice after a line that is cut in this way.
    fn with(&self, cut: Cut) -> Self {
        let mut next = self.clone();
        next.cost = next.cost.saturating_add(cut.tears);
        next.listed.extend_from_slice(&cut.listed);
        next.text.extend_from_slice(&cut.text);
        (next.place, next.lists) = (cut.place, cut.lists);
        if let Some(line) = taken(&mut next.listed) {
            next.lines.push(line);
        }
        if let Some(mut line) = taken(&mut next.text) {
            line.doubtful = !of_traceback(&line.bytes);
            if line.doubtful {
                next.cost = next.cost.saturating_add(UNKNOWN);
            } else if next.named != line.bytes.starts_with(b"\t") {
                next.cost = next.cost.saturating_add(UNKNOWN / 2);
            }
            // A value that ends in front of a name, or begins behind it.
            let name = first(&line.bytes, memchr::memchr(b'(', &line.bytes).unwrap_or(0));
            if name.starts_with(b"nil") || name.ends_with(b"nil") {
                next.cost = next.cost.saturating_add(UNKNOWN / 2);
                line.doubtful = true;
            }
            next.named = complete(&line.bytes) && names(&line.bytes);
            next.lines.push(line);
        } else if next.text.len() > LINE {
            // Interrupted again and again, it is no line of a traceback any more.
            let bytes = std::mem::take(&mut next.text);
            next.lines.push(Found { bytes, doubtful: true });
        }
        next
    }

    /// Lines that another choice has not are doubtful.
    fn doubt(&mut self, other: &Self) {
        for line in &mut self.lines {
            line.doubtful |= !other.lines.iter().any(|theirs| theirs.bytes == line.bytes);
        }
    }
}

/// Takes the bytes when they end a line.
fn taken(bytes: &mut Vec<u8>) -> Option<Found> {
    bytes.pop_if(|last| *last == b'\n')?;
    Some(Found { bytes: std::mem::take(bytes), doubtful: false })
}

/// Whether the line is one that a runtime prints in a traceback, from end to end.
fn of_traceback(line: &[u8]) -> bool {
    header(line).is_some() || complete(line) || fixed(line) || begins(line).is_some()
}

/// Whether it is a line of the snapshot from end to end.
fn whole(line: &[u8]) -> bool {
    let Some((mut at, Place { grammar, .. })) = opens(line) else { return false };
    for pattern in after_head(grammar) {
        let rest = after(line, at);
        let value = if rest.starts_with(b"nil") { Some(3) } else { fits(b"#", rest) };
        let Some(value) = value else { return false };
        at = at.saturating_add(value);
        let pattern = pattern.strip_suffix(b"\n").unwrap_or(pattern);
        let Some(key) = fits(pattern, after(line, at)) else { return false };
        at = at.saturating_add(key);
    }
    at == line.len()
}

fn after_head(grammar: Grammar) -> &'static [&'static [u8]] {
    grammar.get(1..).unwrap_or_default()
}

/// All ways to cut the line; the newline at its end belongs to one of the two.
fn cuts(bytes: &[u8], place: Option<Place>, lists: bool) -> Vec<Cut> {
    let start = Cut { text: Vec::new(), listed: Vec::new(), place, lists, tears: 0 };
    let mut all = Vec::new();
    let mut open = vec![(start, 0)];
    while let Some((cut, at)) = open.pop() {
        let rest = after(bytes, at);
        if rest.is_empty() {
            all.push(cut);
            continue;
        }
        for (skipped, length, place) in continuations(rest, cut.place) {
            if open.len().saturating_add(all.len()) > CUTS {
                break;
            }
            let mut next = cut.clone();
            next.tears = next.tears.saturating_add(match (cut.lists, skipped > 0) {
                (true, false) => 0,
                (true, true) => 2,
                (false, _) => 1,
            });
            next.lists = true;
            // A figure beside others may be one of them.
            let figure = after(rest, skipped).first().is_some_and(u8::is_ascii_digit);
            let beside = first(rest, skipped).last().is_some_and(u8::is_ascii_alphanumeric)
                || after(rest, skipped.saturating_add(length))
                    .first()
                    .is_some_and(u8::is_ascii_alphanumeric);
            next.tears = next.tears.saturating_add(u32::from(figure && beside));
            next.text.extend_from_slice(first(rest, skipped));
            next.listed.extend_from_slice(first(after(rest, skipped), length));
            next.place = place;
            open.push((next, at.saturating_add(skipped).saturating_add(length)));
        }
        let mut last = cut;
        last.tears = last.tears.saturating_add(u32::from(last.lists));
        last.lists = false;
        last.text.extend_from_slice(rest);
        all.push(last);
    }
    all
}

/// Where in `rest` the snapshot can go on: so many bytes of others, then so many of its own, and
/// its place behind them.
fn continuations(rest: &[u8], place: Option<Place>) -> Vec<(usize, usize, Option<Place>)> {
    let Some(place) = place else {
        let opened = heads(rest).filter_map(|at| {
            let (length, place) = opens(after(rest, at))?;
            Some((at, length, Some(place)))
        });
        return opened.collect();
    };
    let Some(pattern) = place.grammar.get(place.next) else { return Vec::new() };
    if place.value {
        let place = Some(Place { value: false, ..place });
        return values(rest).into_iter().map(|(at, length)| (at, length, place)).collect();
    }
    let literal = pattern.iter().position(|b| matches!(b, b'#' | b'%')).unwrap_or(pattern.len());
    let next = place.next.saturating_add(1);
    let over = next >= place.grammar.len();
    let place = (!over).then_some(Place { next, value: true, ..place });
    memmem::find_iter(rest, first(pattern, literal))
        .filter_map(|at| Some((at, fits(pattern, after(rest, at))?, place)))
        .collect()
}

/// Where a line of the snapshot may begin. More blanks may stand before its two.
fn heads(rest: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memmem::find_iter(rest, b": ").filter_map(|colon| {
        let head = first(rest, colon);
        let digits = head.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let letter = head.len().checked_sub(digits)?.checked_sub(1)?;
        let at = letter.checked_sub(2)?;
        let begins = matches!(head.get(letter), Some(b'P' | b'M' | b'G')) && digits > 0;
        (begins && after(head, at).starts_with(b"  ")).then_some(at)
    })
}

/// The head of a line of the snapshot: up to where its first value stands.
fn opens(rest: &[u8]) -> Option<(usize, Place)> {
    let grammar = match rest.get(2)? {
        b'P' => PROC,
        b'M' => THREAD,
        b'G' => STATUS,
        _ => return None,
    };
    let (_, digits) = decimal(after(rest, 3))?;
    let head = digits.saturating_add(3);
    let mut length = head.saturating_add(fits(grammar.first()?, after(rest, head))?);
    if grammar == STATUS {
        // The reason may contain parentheses.
        let reason = first(after(rest, length), 80);
        length = length.saturating_add(memmem::find(reason, b") m=")?).saturating_add(4);
    }
    Some((length, Place { grammar, next: 1, value: true }))
}

/// Every value that stands somewhere: a number may be the end of one of somebody else's, or the
/// beginning.
fn values(rest: &[u8]) -> Vec<(usize, usize)> {
    let mut found: Vec<_> = memmem::find_iter(rest, b"nil").map(|at| (at, 3)).collect();
    for at in 0..rest.len().min(512) {
        let here = after(rest, at);
        let minus = usize::from(here.first() == Some(&b'-'));
        let digits = after(here, minus).iter().take(8).take_while(|b| b.is_ascii_digit()).count();
        found.extend((1..=digits).map(|digits| (at, digits.saturating_add(minus))));
    }
    found
}

/// The length of what fits the pattern at the start of `bytes`.
fn fits(pattern: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut at = 0usize;
    for expected in pattern {
        let rest = after(bytes, at);
        at = at.saturating_add(match expected {
            b'#' => {
                let minus = usize::from(rest.first() == Some(&b'-'));
                decimal(after(rest, minus))?.1.saturating_add(minus)
            }
            b'%' => rest.iter().take_while(|b| !b.is_ascii_whitespace()).count(),
            byte => usize::from(rest.first() == Some(byte)).checked_sub(1)?.saturating_add(1),
        });
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_torn_for_ever_is_handed_out_in_pieces() {
        let listed =
            b"  P0: status=1 schedtick=2 syscalltick=3 m=4 runqsize=5 gfreecnt=6 timerslen=7";
        let line = [&[b'x'; 1_000][..], listed].concat();
        let mut weave = Weave::default();
        let mut bytes = 0;
        for _ in 0..200 {
            weave.line(&line);
            bytes += weave.ready().iter().map(|found| found.bytes.len()).sum::<usize>();
            let held = |choice: &Choice| choice.text.len() + choice.listed.len();
            assert!(weave.choices.iter().all(|choice| held(choice) <= 2 * LINE));
        }
        bytes += weave.end().iter().map(|found| found.bytes.len()).sum::<usize>();
        assert_eq!(bytes, 200 * line.len());
    }
}
