//! The grammar of one `SCHED` line (runtime/proc.go, `schedtrace`), read piece by piece.
//!
//! The runtime prints the line as 20 to 276 separate write(2) calls, so another writer can stand
//! between any two pieces. A `Lane` is one record in progress: it says how much of some bytes
//! could be its next pieces and takes them. Keys that are not known are read and skipped: later
//! versions of Go add some.

use super::scan::{after, decimal, first, narrow};
use super::snapshot::{Snapshot, unknown};
use std::hash::Hash;

/// How every record begins; a write of its own.
pub(crate) const HEAD: &[u8] = b"SCHED ";

/// Longest record kept while it waits for the rest; 4096 Ps need 90 KB.
const LANE_BYTES: usize = 256 * 1024;

/// Pieces that are not what the grammar takes in one step.
const FIXED: [&[u8]; 6] = [b" ", b"-", b"[ ", b" ]", b"]\n", b" schedticks=[ "];

/// A scalar of the line, in the order of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Field {
    Gomaxprocs,
    Idleprocs,
    Threads,
    Spinning,
    Needspinning,
    Idlethreads,
    Runqueue,
    Gcwaiting,
    Nmidlelocked,
    Stopwait,
    Sysmonwait,
    Unknown,
}

/// A list of the line, one figure for each P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum List {
    Local,
    Ticks,
    Unknown,
}

/// What stands before the next figure of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Gap {
    /// The bracket, behind which a blank may come (1.25 and later).
    Bracket,
    /// A blank.
    Blank,
    /// The figure before: a blank has to come first.
    Figure,
}

/// What the record needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Need {
    /// The number of milliseconds.
    Uptime,
    /// `ms:`
    Unit,
    /// ` key=`, a list, or the end of the line.
    Key,
    /// The value of a key.
    Value(Field),
    /// A figure of a list or its end.
    Item { list: List, gap: Gap },
    /// Nothing: the newline was seen.
    Nothing,
}

/// The place in the grammar: small and copyable, so that a walk can be tried and thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    need: Need,
    /// Keys seen so far.
    keys: u32,
    /// A list was opened and closed, or the line has the figures that only scheddetail prints.
    may_end: bool,
    /// The blank before `[` was seen (up to 1.24 a write of its own).
    blank: bool,
    /// The minus of a figure was seen, a write of its own.
    minus: bool,
    /// The last key that is known.
    last: Field,
    /// Keys that are not known, were left out or came too late: no version so far prints these.
    strange: u32,
}

/// Takes what a walk reads; the empty one only measures.
trait Sink {
    fn scalar(&mut self, _field: Field, _value: i64) {}
    fn item(&mut self, _list: List, _value: u64) {}
    fn uptime(&mut self, _value: u64) {}
}

impl Sink for () {}

impl Sink for Snapshot {
    fn scalar(&mut self, field: Field, value: i64) {
        let count = u32::try_from(value).unwrap_or(0);
        match field {
            Field::Gomaxprocs => self.gomaxprocs = count,
            Field::Idleprocs => self.idleprocs = count,
            Field::Threads => self.threads = count,
            Field::Spinning => self.spinningthreads = count,
            Field::Needspinning => self.needspinning = Some(count),
            Field::Idlethreads => self.idlethreads = count,
            Field::Runqueue => self.runqueue = count,
            Field::Gcwaiting => self.gcwaiting = Some(value != 0),
            Field::Stopwait => self.stopwait = Some(value),
            Field::Nmidlelocked | Field::Sysmonwait | Field::Unknown => {}
        }
    }

    fn item(&mut self, list: List, value: u64) {
        match list {
            List::Local => self.local.push(narrow(value)),
            List::Ticks => self.schedticks.push(narrow(value)),
            List::Unknown => {}
        }
    }

    fn uptime(&mut self, value: u64) {
        self.uptime_ms = value;
    }
}

/// The field of a key.
fn field(key: &[u8]) -> Field {
    match key {
        b"gomaxprocs" => Field::Gomaxprocs,
        b"idleprocs" => Field::Idleprocs,
        b"threads" => Field::Threads,
        b"spinningthreads" => Field::Spinning,
        b"needspinning" => Field::Needspinning,
        b"idlethreads" => Field::Idlethreads,
        b"runqueue" => Field::Runqueue,
        b"gcwaiting" => Field::Gcwaiting,
        b"nmidlelocked" => Field::Nmidlelocked,
        b"stopwait" => Field::Stopwait,
        b"sysmonwait" => Field::Sysmonwait,
        _ => Field::Unknown,
    }
}

/// A value at the start of `bytes`: a number, or one of the words that 1.21 and later print for
/// flags and pointers (`false` is 0, `true` 1, `nil` -1 as 1.19 prints it).
fn value(bytes: &[u8]) -> Option<(i64, usize)> {
    for (word, value) in [(&b"true"[..], 1), (b"false", 0), (b"nil", -1)] {
        if bytes.starts_with(word) {
            return Some((value, word.len()));
        }
    }
    let negative = bytes.first() == Some(&b'-');
    let (number, taken) = decimal(after(bytes, usize::from(negative)))?;
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    Some(if negative {
        (number.saturating_neg(), taken.saturating_add(1))
    } else {
        (number, taken)
    })
}

/// The length of a value of which nothing is known but that no blank stands in it: a version to
/// come may print a word, a fraction or a share.
fn word(bytes: &[u8]) -> Option<usize> {
    let taken = bytes.iter().take(64).take_while(|b| b.is_ascii_graphic()).count();
    let ends = matches!(bytes.get(taken), None | Some(b' ' | b'\n'));
    (taken > 0 && ends).then_some(taken)
}

impl Place {
    const START: Self = Self {
        need: Need::Uptime,
        keys: 0,
        may_end: false,
        blank: false,
        minus: false,
        last: Field::Gomaxprocs,
        strange: 0,
    };

    /// Walks over `bytes` as far as they can be the next pieces and gives their number. Every
    /// step ends where the runtime can be interrupted.
    fn walk(&mut self, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let mut taken = 0usize;
        while let Some(step) = self.step(after(bytes, taken), sink) {
            taken = taken.saturating_add(step);
        }
        taken
    }

    /// One step of it, of at least one byte.
    fn step(&mut self, rest: &[u8], sink: &mut impl Sink) -> Option<usize> {
        let step = match self.need {
            Need::Uptime => self.uptime(rest, sink),
            Need::Unit => self.unit(rest),
            Need::Key => self.key(rest),
            Need::Value(field) => self.value(field, rest, sink),
            Need::Item { list, gap } => self.list_item(list, gap, rest, sink),
            Need::Nothing => None,
        };
        step.filter(|step| *step > 0)
    }

    fn uptime(&mut self, rest: &[u8], sink: &mut impl Sink) -> Option<usize> {
        let (value, taken) = decimal(rest)?;
        if !matches!(rest.get(taken), None | Some(b'm')) {
            return None;
        }
        sink.uptime(value);
        self.need = Need::Unit;
        Some(taken)
    }

    /// `ms:` is printed together with the first key.
    fn unit(&mut self, rest: &[u8]) -> Option<usize> {
        rest.strip_prefix(b"ms: gomaxprocs=")?;
        self.need = Need::Value(Field::Gomaxprocs);
        self.keys = 1;
        Some(15)
    }

    fn key(&mut self, rest: &[u8]) -> Option<usize> {
        match (rest.first()?, rest.get(1)) {
            (b'\n', _) if self.may_end => {
                self.need = Need::Nothing;
                Some(1)
            }
            (b'[', _) if self.blank => Some(self.open(1)),
            (b' ', Some(b'[')) => Some(self.open(2)),
            (b' ', None) if !self.blank && !self.may_end && self.last == Field::Runqueue => {
                self.blank = true;
                Some(1)
            }
            (b' ', Some(_)) if !self.blank => self.word(rest),
            _ => None,
        }
    }

    /// ` key=`, or ` key=[` which opens a list.
    fn word(&mut self, rest: &[u8]) -> Option<usize> {
        let name = after(rest, 1);
        let length = name.iter().take(32).take_while(|b| b.is_ascii_lowercase()).count();
        if length == 0 || name.get(length) != Some(&b'=') {
            return None;
        }
        let key = first(name, length);
        self.keys = self.keys.saturating_add(1);
        self.may_end |= key == b"gcwaiting";
        let taken = length.saturating_add(2);
        if rest.get(taken) == Some(&b'[') {
            let list = if key == b"schedticks" { List::Ticks } else { List::Unknown };
            self.need = Need::Item { list, gap: Gap::Bracket };
            return Some(taken.saturating_add(1));
        }
        let field = field(key);
        self.order(field);
        self.need = Need::Value(field);
        Some(taken)
    }

    /// Notes a key that is not the next one. Versions to come may print others, or leave
    /// some out, so this denies nothing; it tells records of two runtimes apart.
    fn order(&mut self, field: Field) {
        let next = match self.last {
            Field::Gomaxprocs => [Field::Idleprocs; 2],
            Field::Idleprocs => [Field::Threads; 2],
            Field::Threads => [Field::Spinning; 2],
            Field::Spinning => [Field::Needspinning, Field::Idlethreads],
            Field::Needspinning => [Field::Idlethreads; 2],
            Field::Idlethreads => [Field::Runqueue; 2],
            Field::Runqueue => [Field::Gcwaiting; 2],
            Field::Gcwaiting => [Field::Nmidlelocked; 2],
            Field::Nmidlelocked => [Field::Stopwait; 2],
            Field::Stopwait | Field::Sysmonwait | Field::Unknown => [Field::Sysmonwait; 2],
        };
        self.strange = self.strange.saturating_add(u32::from(!next.contains(&field)));
        if field != Field::Unknown {
            self.last = field;
        }
    }

    fn open(&mut self, taken: usize) -> usize {
        self.strange = self.strange.saturating_add(u32::from(self.last != Field::Runqueue));
        self.need = Need::Item { list: List::Local, gap: Gap::Bracket };
        self.blank = false;
        taken
    }

    fn value(&mut self, field: Field, rest: &[u8], sink: &mut impl Sink) -> Option<usize> {
        if rest == b"-" && !self.minus {
            self.minus = true;
            return Some(1);
        }
        if field == Field::Unknown && !self.minus {
            let taken = word(rest)?;
            self.need = Need::Key;
            return Some(taken);
        }
        let (value, taken) = value(rest)?;
        if rest.get(taken) == Some(&b'.') {
            return None;
        }
        let minus = std::mem::take(&mut self.minus);
        let word = rest.first().is_some_and(u8::is_ascii_alphabetic);
        let negative = minus || rest.starts_with(b"-");
        let known = match field {
            Field::Unknown => true,
            Field::Gcwaiting | Field::Sysmonwait => !negative && !rest.starts_with(b"nil"),
            Field::Nmidlelocked | Field::Stopwait => !word,
            Field::Gomaxprocs
            | Field::Idleprocs
            | Field::Threads
            | Field::Spinning
            | Field::Needspinning
            | Field::Idlethreads
            | Field::Runqueue => !word && !negative,
        };
        self.strange = self.strange.saturating_add(u32::from(!known));
        sink.scalar(field, if minus { value.saturating_neg() } else { value });
        self.need = Need::Key;
        Some(taken)
    }

    fn list_item(
        &mut self,
        list: List,
        gap: Gap,
        rest: &[u8],
        sink: &mut impl Sink,
    ) -> Option<usize> {
        match rest.first()? {
            b' ' if gap == Gap::Blank
                || !matches!(rest.get(1), None | Some(b']' | b'0'..=b'9')) =>
            {
                None
            }
            b' ' => {
                self.need = Need::Item { list, gap: Gap::Blank };
                Some(1)
            }
            b']' => {
                self.need = Need::Key;
                self.may_end = true;
                Some(1)
            }
            b'0'..=b'9' if gap != Gap::Figure => {
                let (value, taken) = decimal(rest)?;
                if rest.get(taken) == Some(&b'.') {
                    return None;
                }
                sink.item(list, value);
                self.need = Need::Item { list, gap: Gap::Figure };
                Some(taken)
            }
            _ => None,
        }
    }
}

/// One record in progress.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    place: Place,
    snapshot: Snapshot,
    /// What was taken, for the case that the record never ends.
    raw: Vec<u8>,
}

impl Lane {
    /// A record of which only `SCHED ` is known.
    pub(crate) fn new() -> Self {
        Self { place: Place::START, snapshot: Snapshot::default(), raw: HEAD.to_vec() }
    }

    /// How many of these bytes could be the next pieces.
    pub(crate) fn measure(&self, bytes: &[u8]) -> usize {
        let mut place = self.place;
        place.walk(bytes, &mut ())
    }

    /// How many of these bytes can be the next piece. There are several answers where a figure of
    /// another's, or a blank, may stand right behind its own.
    pub(crate) fn pieces<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let digits = bytes.iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
        let mut place = self.place;
        // What the grammar takes at once, if it is not a figure: a key, a word, a bracket.
        let step = if digits == 0 { place.step(bytes, &mut ()).unwrap_or(0) } else { 0 };
        let fixed = FIXED.iter().filter(|piece| bytes.starts_with(piece)).map(|piece| piece.len());
        let fixed = fixed.filter(move |length| *length != step);
        (1..=digits)
            .chain(Some(step))
            .chain(fixed)
            .filter(|n| *n > 0 && self.fits(first(bytes, *n)))
    }

    /// Whether all of these bytes are the next pieces as a known version prints them.
    pub(crate) fn expects(&self, bytes: &[u8]) -> bool {
        let mut place = self.place;
        self.counts(bytes)
            && place.walk(bytes, &mut ()) == bytes.len()
            && place.strange == self.place.strange
    }

    /// Whether a figure of a list comes while some are missing, and its end when none is.
    fn counts(&self, bytes: &[u8]) -> bool {
        let got = match self.place.need {
            Need::Item { list: List::Local, .. } => self.snapshot.local.len(),
            Need::Item { list: List::Ticks, .. } => self.snapshot.schedticks.len(),
            Need::Item { list: List::Unknown, .. }
            | Need::Uptime
            | Need::Unit
            | Need::Key
            | Need::Value(_)
            | Need::Nothing => return true,
        };
        let whole = u32::try_from(got).is_ok_and(|got| got >= self.snapshot.gomaxprocs);
        match bytes.iter().find(|byte| **byte != b' ') {
            Some(b']') => whole,
            Some(_) => !whole,
            None => true,
        }
    }

    /// Whether the figures so far, and the snapshot before it, allow these digits to come next.
    pub(crate) fn can_be(&self, digits: &[u8], last: Option<&Snapshot>) -> bool {
        let Some((figure, _)) = decimal(digits) else { return false };
        let most = |most: u32| figure <= u64::from(most);
        match self.place.need {
            Need::Uptime => last.is_none_or(|last| figure >= last.uptime_ms),
            Need::Value(Field::Idleprocs) => most(self.snapshot.gomaxprocs),
            Need::Value(Field::Spinning | Field::Idlethreads) => most(self.snapshot.threads),
            Need::Value(Field::Needspinning) => most(1),
            Need::Item { list: List::Ticks, .. } => {
                let at = self.snapshot.schedticks.len();
                let before = last.and_then(|last| last.schedticks.get(at));
                before.is_none_or(|before| figure >= u64::from(*before))
            }
            Need::Value(_) | Need::Item { .. } | Need::Unit | Need::Key | Need::Nothing => true,
        }
    }

    /// Whether it has no list of ticks although the snapshot before it had one.
    pub(crate) fn lacks(&self, last: Option<&Snapshot>) -> bool {
        !self.detailed()
            && self.snapshot.schedticks.is_empty()
            && last.is_some_and(|last| !last.schedticks.is_empty())
    }

    /// Where it goes on, whatever was read so far.
    pub(crate) fn place(&self) -> impl Hash {
        (self.place, self.detailed())
    }

    /// Takes what `measure` measured.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = self.place.walk(bytes, &mut self.snapshot);
        if self.raw.len().saturating_add(taken) <= LANE_BYTES {
            self.raw.extend_from_slice(first(bytes, taken));
        }
        taken
    }

    /// Whether all of these bytes are the next pieces, each as the runtime writes it: a newline of
    /// its own ends detailed records only (the others end in `]` and newline at once), and a
    /// bracket is not printed together with the blank before it, nor the last one without more.
    pub(crate) fn fits(&self, bytes: &[u8]) -> bool {
        (bytes != b"\n" || self.snapshot.gcwaiting.is_some())
            && bytes != b" ["
            && bytes != b"]"
            && self.measure(bytes) == bytes.len()
    }

    /// Whether the runtime is inside a print statement here: all up to the run queue is one, what
    /// scheddetail adds another. The lists are printed figure by figure.
    pub(crate) fn locked(&self) -> bool {
        match self.place.need {
            Need::Uptime | Need::Unit | Need::Value(_) => true,
            Need::Key => self.place.last != Field::Runqueue,
            Need::Item { .. } | Need::Nothing => false,
        }
    }

    /// Whether the keys that only scheddetail prints were seen.
    pub(crate) fn detailed(&self) -> bool {
        self.snapshot.gcwaiting.is_some()
    }

    /// How much of it is not as any known version prints it.
    pub(crate) fn strange(&self) -> u32 {
        self.place.strange
    }

    /// Keys read so far: how sure it is that this is a record at all.
    pub(crate) fn keys(&self) -> u32 {
        self.place.keys
    }

    /// Whether the newline was seen.
    pub(crate) fn complete(&self) -> bool {
        self.place.need == Need::Nothing
    }

    /// The record's bytes as far as they came, without the newline.
    pub(crate) fn raw(&self) -> &[u8] {
        self.raw.strip_suffix(b"\n").unwrap_or(&self.raw)
    }

    /// The figures read so far; a figure that is still to come is 0.
    pub(crate) fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether its figures are hardly those of one record.
    pub(crate) fn unlikely(&self) -> bool {
        unlikely(&self.snapshot)
    }

    /// Whether the figures read so far can be those of one record.
    pub(crate) fn plausible(&self) -> bool {
        let snapshot = &self.snapshot;
        if self.complete() {
            return consistent(snapshot);
        }
        let procs = usize::try_from(snapshot.gomaxprocs).unwrap_or(usize::MAX);
        self.place.keys < 2
            || (snapshot.local.len() <= procs
                && snapshot.schedticks.len() <= procs
                && possible(snapshot))
    }

    /// The snapshot, if the record is whole and its parts agree.
    pub(crate) fn finish(&mut self) -> Option<Snapshot> {
        if !self.complete() || !consistent(&self.snapshot) {
            return None;
        }
        let mut snapshot = std::mem::take(&mut self.snapshot);
        if self.place.strange > 0 {
            snapshot.more = unknown(self.raw());
        }
        Some(snapshot)
    }
}

/// Whether the lists have one figure for each P, as the runtime prints them.
fn consistent(snapshot: &Snapshot) -> bool {
    let procs = usize::try_from(snapshot.gomaxprocs).unwrap_or(usize::MAX);
    let fits = |list: &[u32]| list.is_empty() || list.len() == procs;
    fits(&snapshot.local)
        && fits(&snapshot.schedticks)
        && (snapshot.gcwaiting.is_some() || !snapshot.local.is_empty())
        && possible(snapshot)
}

/// What the runtime counts under one lock: no more idle ones than there are. A figure that is
/// still to come is 0.
fn possible(snapshot: &Snapshot) -> bool {
    snapshot.idleprocs <= snapshot.gomaxprocs
        && snapshot.idlethreads <= snapshot.threads
        && snapshot.needspinning.is_none_or(|flag| flag <= 1)
}

/// Whether it has figures that a runtime prints by the rarest chance only, because others change
/// while it prints: the ring of a P holds 256 goroutines (runtime/runtime2.go, `p.runq`) and is
/// empty while the P is idle, and Ms that spin are not idle.
fn unlikely(snapshot: &Snapshot) -> bool {
    let full = snapshot.local.iter().filter(|queue| **queue > 0).count();
    let busy = snapshot.gomaxprocs.saturating_sub(snapshot.idleprocs);
    snapshot.local.iter().any(|queue| *queue > 256)
        || full > usize::try_from(busy).unwrap_or(usize::MAX)
        || snapshot.spinningthreads.saturating_add(snapshot.idlethreads) > snapshot.threads
}

/// Reads a whole `SCHED` line (without its newline) that nobody interrupted; tells besides whether
/// it is one that no known version prints.
///
/// ```text
/// SCHED 208ms: gomaxprocs=2 idleprocs=2 threads=4 … runqueue=0 [ 0 0 ] schedticks=[ 2 3 ]
/// ```
#[must_use]
pub fn parse(line: &[u8]) -> Option<(Snapshot, bool)> {
    let body = line.strip_prefix(HEAD)?;
    let mut snapshot = Snapshot::default();
    let mut place = Place::START;
    let taken = place.walk(body, &mut snapshot);
    let whole = taken == body.len() && place.need == Need::Key && place.may_end;
    let strange = place.strange > 0;
    if strange {
        snapshot.more = unknown(line);
    }
    (whole && consistent(&snapshot)).then_some((snapshot, strange))
}

/// Whether `SCHED ` and what follows it can be a record that starts here: the number, the unit
/// and the first key, which the runtime prints in one go.
pub(crate) fn starts(bytes: &[u8]) -> bool {
    bytes.strip_prefix(HEAD).is_some_and(|body| {
        let mut place = Place::START;
        place.walk(body, &mut ());
        place.keys >= 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_of_the_line_is_read() {
        let line = b"SCHED 208ms: gomaxprocs=2 idleprocs=1 threads=4 spinningthreads=0 \
            idlethreads=2 runqueue=5 [3 4]";
        let old = parse(line).unwrap().0;
        assert_eq!((old.uptime_ms, old.gomaxprocs, old.idleprocs, old.threads), (208, 2, 1, 4));
        assert_eq!((old.needspinning, old.runqueue, &old.local[..]), (None, 5, &[3, 4][..]));

        let line = b"SCHED 9ms: gomaxprocs=2 idleprocs=2 threads=4 spinningthreads=0 \
            needspinning=1 idlethreads=2 runqueue=0 [ 0 7 ] schedticks=[ 2 4294967295 ]";
        let new = parse(line).unwrap().0;
        assert_eq!(new.schedticks, [2, u32::MAX]);
        assert_eq!((new.needspinning, &new.local[..]), (Some(1), &[0, 7][..]));
    }

    #[test]
    fn flags_are_read_as_numbers_and_as_words() {
        for tail in [
            "gcwaiting=1 nmidlelocked=0 stopwait=1 sysmonwait=0",
            "gcwaiting=true \
            nmidlelocked=-1 stopwait=1 sysmonwait=false",
        ] {
            let line = format!(
                "SCHED 4ms: gomaxprocs=1 idleprocs=0 threads=2 spinningthreads=0 idlethreads=0 \
                 runqueue=0 {tail}"
            );
            let snapshot = parse(line.as_bytes()).unwrap().0;
            assert_eq!((snapshot.gcwaiting, snapshot.stopwait), (Some(true), Some(1)));
        }
    }

    #[test]
    fn keys_to_come_are_skipped() {
        let line = b"SCHED 4ms: gomaxprocs=1 idleprocs=0 newkey=7 threads=2 runqueue=1 [ 3 ] \
            schedticks=[ 4 ] newlist=[ 5 ]";
        assert_eq!(
            parse(line).map(|(s, odd)| (s.threads, s.runqueue, s.local, odd)),
            Some((2, 1, vec![3], true))
        );
    }

    #[test]
    fn a_key_to_come_has_any_value_without_blanks() {
        for value in ["abc", "-7", "1.5", "12%", "[1,2]", "nil", "on-cpu:3"] {
            let line = format!(
                "SCHED 4ms: gomaxprocs=1 idleprocs=0 newkey={value} threads=2 runqueue=1 [ 3 ] \
                 schedticks=[ 4 ] last={value}"
            );
            let read = parse(line.as_bytes()).map(|(s, odd)| (s.threads, s.runqueue, s.local, odd));
            // A bracket right behind the key opens a list, which has figures only.
            let expected = (!value.starts_with('[')).then(|| (2, 1, vec![3], true));
            assert_eq!(read, expected, "{line}");
        }
        assert_eq!(parse(b"SCHED 4ms: gomaxprocs=1 newkey= runqueue=1 [ 3 ]"), None);
    }

    #[test]
    fn text_that_only_begins_like_a_record_is_none() {
        for line in [
            &b"SCHED "[..],
            b"SCHED 0ms: not a real line",
            b"SCHED 12ms: gomaxprocs=abc this is not from the runtime",
            b"SCHED 1ms: gomaxprocs=2 idleprocs=2 threads=4 runqueue=0 [ 0 ] schedticks=[ 1 2 ]",
            b"SCHED 1ms: gomaxprocs=2 idleprocs=2 threads=4 runqueue=0",
        ] {
            assert_eq!(parse(line), None, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_minus_of_a_figure_is_a_write_of_its_own() {
        let mut lane = Lane::new();
        let pieces = "7|ms: gomaxprocs=|2| idleprocs=|2| threads=|4| spinningthreads=|0| \
            needspinning=|0| idlethreads=|2| runqueue=|0| gcwaiting=|false| nmidlelocked=|-|1| \
            stopwait=|-|2| sysmonwait=|false|\n";
        for piece in pieces.split('|') {
            assert_eq!(lane.measure(piece.as_bytes()), piece.len(), "{piece:?}");
            lane.take(piece.as_bytes());
        }
        let snapshot = lane.finish().unwrap();
        assert_eq!((snapshot.gcwaiting, snapshot.stopwait), (Some(false), Some(-2)));
    }

    #[test]
    fn a_value_that_no_version_prints_behind_its_key_is_strange() {
        for (tail, strange) in [
            ("gcwaiting=false nmidlelocked=-1 stopwait=-2 sysmonwait=0", 0),
            ("gcwaiting=nil nmidlelocked=0 stopwait=0 sysmonwait=0", 1),
            ("gcwaiting=0 nmidlelocked=false stopwait=true sysmonwait=-1", 3),
        ] {
            let mut lane = Lane::new();
            let line = format!(
                "4ms: gomaxprocs=1 idleprocs=0 threads=2 spinningthreads=0 idlethreads=0 \
                 runqueue=0 {tail}"
            );
            assert_eq!(lane.take(line.as_bytes()), line.len());
            assert_eq!(lane.strange(), strange, "{tail}");
        }
    }

    #[test]
    fn a_record_is_put_together_from_single_writes() {
        let mut lane = Lane::new();
        for piece in [
            "7",
            "ms: gomaxprocs=",
            "2",
            " idleprocs=",
            "2",
            " threads=",
            "4",
            " spinningthreads=",
            "0",
            " idlethreads=",
            "2",
            " runqueue=",
            "0",
            " ",
            "[",
            "0",
            " ",
            "1",
            "]\n",
        ] {
            assert_eq!(lane.measure(piece.as_bytes()), piece.len(), "{piece:?}");
            lane.take(piece.as_bytes());
        }
        assert_eq!(lane.finish().map(|s| s.local), Some(vec![0, 1]));
    }
}
