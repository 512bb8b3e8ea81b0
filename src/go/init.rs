//! One line of `GODEBUG=inittrace=1`: a package whose initialisation has finished.
//!
//! `init net/http @4.2 ms, 0.35 ms clock, 18432 bytes, 211 allocs`; the same from 1.19 to 1.27.
//! Durations of 10 ms and more are printed without a fraction. The package that hangs never
//! appears: the line is printed after the fact.

use super::scan::{figure, split, whole};

/// What one inittrace line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InitTrace<'a> {
    /// Import path.
    pub package: &'a [u8],
    /// When its initialisation began, in milliseconds since the runtime's own initialisation.
    pub at_ms: f64,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// Bytes it allocated.
    pub bytes: u64,
    /// Number of its allocations.
    pub allocs: u64,
    /// Everything from the first field that is not known.
    pub more: &'a [u8],
}

/// Reads an inittrace line, without its newline. The figures are told by their units; what no
/// version so far prints is kept as it stands.
#[must_use]
pub fn parse(line: &[u8]) -> Option<InitTrace<'_>> {
    let rest = line.strip_prefix(b"init ")?;
    let (package, rest) = split(rest, b" @")?;
    let (at, mut rest) = split(rest, b" ms, ")?;
    let (mut duration, mut bytes, mut allocs, mut more) = (None, None, None, &b""[..]);
    while !rest.is_empty() {
        let (field, later) = split(rest, b", ").unwrap_or((rest, b""));
        if let Some(value) = field.strip_suffix(b" ms clock") {
            duration = Some(figure(value)?);
        } else if let Some(value) = field.strip_suffix(b" bytes") {
            bytes = Some(whole(value)?);
        } else if let Some(value) = field.strip_suffix(b" allocs") {
            allocs = Some(whole(value)?);
        } else if more.is_empty() {
            more = rest;
        }
        rest = later;
    }
    if package.is_empty() {
        return None;
    }
    let (at_ms, duration_ms, bytes, allocs) = (figure(at)?, duration?, bytes?, allocs?);
    Some(InitTrace { package, at_ms, duration_ms, bytes, allocs, more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_its_five_figures() {
        let line = b"init net/http @4.2 ms, 11 ms clock, 18432 bytes, 211 allocs";
        let expected = InitTrace {
            package: b"net/http",
            at_ms: 4.2,
            duration_ms: 11.0,
            bytes: 18_432,
            allocs: 211,
            more: b"",
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn fields_to_come_are_kept() {
        let line =
            b"init net/http @4.2 ms, 11 ms clock, 18432 bytes, 2 goroutines, 211 allocs, new";
        let trace = parse(line).unwrap();
        assert_eq!((trace.allocs, trace.more), (211, &b"2 goroutines, 211 allocs, new"[..]));
        assert_eq!(parse(b"init net/http @4.2 ms, 11 ms clock, 18432 bytes, 2 goroutines"), None);
    }

    #[test]
    fn other_words_about_init_are_no_trace() {
        for line in ["init done", "init x @y ms, 1 ms clock, 1 bytes, 1 allocs", "init  @0 ms"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
