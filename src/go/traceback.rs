//! The lines of a traceback (runtime/traceback.go), each read alone: headers, functions, places.

use super::scan::{after, decimal, first, split};

/// A `goroutine N [state]:` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// The goroutine's number.
    pub(crate) id: u64,
    /// The wait reason or status: `chan receive (nil chan)`.
    pub(crate) state: &'a [u8],
    /// For how long it has waited, in whole minutes; 0 when none is printed.
    pub(crate) minutes: u64,
    /// It may run on its own thread only.
    pub(crate) locked: bool,
    /// Profiler labels as printed, with their braces (1.26 and later).
    pub(crate) labels: Option<&'a [u8]>,
    /// Keys between the number and the bracket that are not known: `prio=3`.
    keys: &'a [u8],
    /// Remarks in the bracket that have no field here: `synctest bubble 4`.
    notes: &'a [u8],
    /// What stands behind the bracket, unless it is labels.
    behind: &'a [u8],
}

impl Header<'_> {
    /// What the header says besides, in one text.
    pub(crate) fn remarks(&self) -> Option<Box<[u8]>> {
        let known = [self.keys, self.notes, self.behind];
        let parts: Vec<&[u8]> = known.into_iter().filter(|part| !part.is_empty()).collect();
        (!parts.is_empty()).then(|| parts.join(&b"; "[..]).into())
    }
}

/// Reads a header in any form of 1.19 to 1.27:
///
/// ```text
/// goroutine 1 gp=0xc000002380 m=nil [chan receive, 1 minutes, locked to thread]:
/// goroutine 7 [select (no cases) labels:{"k": "v"}]:
/// goroutine 7 [chan receive] {job: "import ]: users", shard: 7}:
/// ```
pub(crate) fn header(line: &[u8]) -> Option<Header<'_>> {
    let rest = line.strip_prefix(b"goroutine ")?;
    let (id, taken) = decimal(rest)?;
    let rest = after(rest, taken).strip_suffix(b":")?;
    // Between the number and the bracket stand only `gp=`, `m=` and `mp=`.
    let open = memchr::memchr(b'[', first(rest, 96))?;
    let keys = first(rest, open).strip_suffix(b" ")?;
    let Bracket { words, labels, behind } = bracket(after(rest, open.saturating_add(1)))?;
    let (state, remarks) = split(words, b", ").unwrap_or((words, b""));
    if state.is_empty() {
        return None;
    }
    let state = state.strip_suffix(b" (scan)").unwrap_or(state);
    let (minutes, locked) = (0, false);
    let mut found =
        Header { id, state, minutes, locked, labels, keys: unknown(keys), notes: b"", behind };
    if !remarks.is_empty() {
        notes(&mut found, remarks);
    }
    Some(found)
}

/// The keys from the first one that is not known.
fn unknown(keys: &[u8]) -> &[u8] {
    let mut rest = keys;
    while let Some(word) = rest.strip_prefix(b" ") {
        let end = memchr::memchr(b' ', word).unwrap_or(word.len());
        if ![&b"gp="[..], b"m=", b"mp="].iter().any(|key| word.starts_with(key)) {
            return word;
        }
        rest = after(word, end);
    }
    rest
}

/// What follows the opening bracket.
struct Bracket<'a> {
    words: &'a [u8],
    /// May hold any text, brackets and colons too.
    labels: Option<&'a [u8]>,
    behind: &'a [u8],
}

fn bracket(rest: &[u8]) -> Option<Bracket<'_>> {
    let end = memchr::memchr(b']', rest)?;
    let words = first(rest, end);
    if let Some((words, _)) = split(words, b" labels:{") {
        let labels = after(rest, words.len().saturating_add(8)).strip_suffix(b"]")?;
        return Some(Bracket { words, labels: Some(labels), behind: b"" });
    }
    let behind = after(rest, end.saturating_add(1));
    let behind = if behind.is_empty() { behind } else { behind.strip_prefix(b" ")? };
    if behind.starts_with(b"{") {
        return Some(Bracket { words, labels: Some(behind), behind: b"" });
    }
    Some(Bracket { words, labels: None, behind })
}

/// The remarks behind the state: `3 minutes`, `locked to thread`, `synctest bubble 4`. Of those
/// that are not known everything from the first one is kept.
fn notes<'a>(header: &mut Header<'a>, remarks: &'a [u8]) {
    let mut rest = remarks;
    while !rest.is_empty() {
        let (remark, later) = split(rest, b", ").unwrap_or((rest, b""));
        if remark == b"locked to thread" {
            header.locked = true;
        } else if let Some((minutes, taken)) = decimal(remark)
            && after(remark, taken).starts_with(b" minute")
        {
            header.minutes = minutes;
        } else if header.notes.is_empty() {
            header.notes = rest;
        }
        rest = later;
    }
}

/// A line inside a goroutine's stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `main.(*pool).get(0xc000012345, …)`: the function without its arguments.
    Function(&'a [u8]),
    /// `created by main.main in goroutine 1`: the function.
    CreatedBy(&'a [u8]),
    /// A tab, then `/src/pool.go:88 +0x1d`: file and line.
    Place(&'a [u8]),
    /// `...56 frames elided...`, in any version's words.
    Elided,
    /// `[originating from goroutine 1]:` opens an ancestor's stack.
    Ancestor,
    /// A remark of the runtime that is no frame.
    Remark,
    /// Nothing of the kind.
    Other,
}

/// Reads one line of a stack.
pub(crate) fn line(line: &[u8]) -> Line<'_> {
    match line.first() {
        Some(b'\t') => place(after(line, 1)),
        Some(b'.') if line.starts_with(b"...") && line.ends_with(b"elided...") => Line::Elided,
        Some(b'[') if line.starts_with(b"[originating from goroutine ") => Line::Ancestor,
        Some(b'c') if line.starts_with(b"created by ") => {
            let function = after(line, 11);
            Line::CreatedBy(split(function, b" in goroutine ").map_or(function, |(name, _)| name))
        }
        Some(b'n') if line.starts_with(b"non-Go function at pc=") => {
            Line::Function(first(line, 15))
        }
        Some(_) if line.last() == Some(&b')') => match memchr::memrchr(b'(', line) {
            Some(at) if at > 0 && named(first(line, at)) => Line::Function(first(line, at)),
            Some(_) | None => Line::Other,
        },
        Some(_) | None => Line::Other,
    }
}

/// Whether a place comes behind the line: it is a function, or where a goroutine was created.
pub(crate) fn names(text: &[u8]) -> bool {
    matches!(line(text), Line::Function(_) | Line::CreatedBy(_))
}

/// Whether it is a line of a stack from end to end, and not the beginning of one with something
/// else behind it.
pub(crate) fn complete(text: &[u8]) -> bool {
    match line(text) {
        Line::Function(name) => {
            let arguments = after(text, name.len().saturating_add(1));
            name.starts_with(b"non-Go ")
                || (arguments.strip_suffix(b")").is_some_and(words)
                    && !name.starts_with(b"created by ")
                    && !name.starts_with(b"goroutine ")
                    && memchr::memmem::find(name, b"(0x").is_none()
                    && memchr::memmem::find(name, b"(...)").is_none())
        }
        Line::CreatedBy(_) => match split(text, b" in goroutine ") {
            Some((name, number)) => number.iter().all(u8::is_ascii_digit) && named(after(name, 11)),
            None => text.last() != Some(&b')') && named(after(text, 11)),
        },
        Line::Place(place) => {
            let addresses = after(text, place.len().saturating_add(1));
            let mut words = addresses.split(|b| *b == b' ').skip(1);
            !place.contains(&b'\t')
                && memchr::memmem::find(place, b" +0x").is_none()
                && words.all(|word| {
                    let known = [&b"+0x"[..], b"fp=0x", b"sp=0x", b"pc=0x"];
                    let digits = known.iter().find_map(|key| word.strip_prefix(*key));
                    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                })
        }
        Line::Elided | Line::Ancestor | Line::Remark => true,
        Line::Other => false,
    }
}

/// Whether they are a function's arguments: `{0xc000012345, 0x3?}, 0x1, ...`.
fn words(arguments: &[u8]) -> bool {
    let one = |word: &[u8]| {
        let open = word.iter().take_while(|b| **b == b'{').count();
        let close = word.iter().rev().take_while(|b| **b == b'}').count();
        let word = first(after(word, open), word.len().saturating_sub(open.saturating_add(close)));
        let digits = word.strip_suffix(b"?").unwrap_or(word).strip_prefix(b"0x");
        matches!(word, b"" | b"..." | b"_")
            || digits.is_some_and(|d| !d.is_empty() && d.iter().all(u8::is_ascii_hexdigit))
    };
    arguments.split(|b| *b == b',').all(|word| one(word.strip_prefix(b" ").unwrap_or(word)))
}

/// Whether it can be the name of a function: blanks only inside type parameters.
fn named(name: &[u8]) -> bool {
    match memchr::memchr(b' ', name) {
        None => {
            let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
            name.contains(&b'.') || name.iter().all(word)
        }
        Some(blank) => memchr::memchr(b'[', name).is_some_and(|bracket| bracket < blank),
    }
}

/// `file:line`, then perhaps ` +0x1d fp=0x… sp=0x… pc=0x…`, which has no colon.
fn place(text: &[u8]) -> Line<'_> {
    let Some(colon) = memchr::memrchr(b':', text) else {
        return if text.starts_with(b"goroutine running on other thread") {
            Line::Remark
        } else {
            Line::Other
        };
    };
    let Some((_, digits)) = decimal(after(text, colon.saturating_add(1))) else {
        return Line::Other;
    };
    let end = colon.saturating_add(1).saturating_add(digits);
    if matches!(text.get(end), None | Some(b' ')) {
        Line::Place(first(text, end))
    } else {
        Line::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, id: u64, state: &str, minutes: u64, locked: bool, labels: Option<&str>) {
        let found = header(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
        assert_eq!((found.id, found.state), (id, state.as_bytes()), "{line}");
        assert_eq!((found.minutes, found.locked), (minutes, locked), "{line}");
        assert_eq!(found.labels, labels.map(str::as_bytes), "{line}");
    }

    #[test]
    fn what_a_header_says_besides_is_kept() {
        for (line, remarks) in [
            ("goroutine 1 gp=0x1 m=0 mp=0x2 [running]:", None),
            ("goroutine 7 [select, 1 minutes, locked to thread]:", None),
            ("goroutine 7 [sleep (durable), synctest bubble 4]:", Some("synctest bubble 4")),
            ("goroutine 7 gp=0x1 m=nil prio=3 [sleep]:", Some("prio=3")),
            (
                "goroutine 7 prio=3 [sleep, 2 minutes, pinned, on cpu 4] deep {a: b}:",
                Some("prio=3; pinned, on cpu 4; deep {a: b}"),
            ),
        ] {
            let found = header(line.as_bytes()).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(found.remarks().as_deref(), remarks.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn headers_of_all_versions_are_read() {
        check("goroutine 1 [running]:", 1, "running", 0, false, None);
        check(
            "goroutine 1 gp=0xc000002380 m=0 mp=0x5a5b20 [chan receive, 3 minutes, locked to thread]:",
            1,
            "chan receive",
            3,
            true,
            None,
        );
        check("goroutine 9 [select (no cases)]:", 9, "select (no cases)", 0, false, None);
        check("goroutine 9 [sleep (scan), 1 minutes]:", 9, "sleep", 1, false, None);
        check(
            "goroutine 7 [chan receive (durable), synctest bubble 4]:",
            7,
            "chan receive (durable)",
            0,
            false,
            None,
        );
        check("goroutine 0 gp=0x1 m=0 mp=0x2 [idle]:", 0, "idle", 0, false, None);
    }

    #[test]
    fn labels_are_read_inside_and_behind_the_brackets() {
        check(
            "goroutine 7 [chan receive labels:{\"k\": \"v]:\"}]:",
            7,
            "chan receive",
            0,
            false,
            Some("{\"k\": \"v]:\"}"),
        );
        check(
            "goroutine 7 gp=0x1 m=nil [chan receive, 2 minutes] {job: \"a ]: b\", shard: 7}:",
            7,
            "chan receive",
            2,
            false,
            Some("{job: \"a ]: b\", shard: 7}"),
        );
    }

    #[test]
    fn what_only_begins_like_a_header_is_none() {
        for line in [
            "goroutine",
            "goroutine x [y]:",
            "goroutine 1 [running]",
            "goroutine 1 []:",
            "goroutine 1: done",
            "goroutine 5[x]:",
        ] {
            assert_eq!(header(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn lines_of_a_stack_are_told_apart() {
        let cases: [(&str, Line<'_>); 9] = [
            ("main.(*pool).get(0xc0, {0x1, 0x2})", Line::Function(b"main.(*pool).get")),
            (
                "main.Map[go.shape.int, string](...)",
                Line::Function(b"main.Map[go.shape.int, string]"),
            ),
            ("runtime.goexit({})", Line::Function(b"runtime.goexit")),
            ("created by main.main in goroutine 1", Line::CreatedBy(b"main.main")),
            ("created by net/http.(*Server).Serve", Line::CreatedBy(b"net/http.(*Server).Serve")),
            (
                "\t/src/a b/pool.go:88 +0x1d fp=0x1 sp=0x2 pc=0x3",
                Line::Place(b"/src/a b/pool.go:88"),
            ),
            ("...56 frames elided...", Line::Elided),
            ("\tgoroutine running on other thread; stack unavailable", Line::Remark),
            ("that was printed (by the program)", Line::Other),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text.as_bytes()), expected, "{text}");
        }
    }
}
