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
}

/// Reads an inittrace line, without its newline.
#[must_use]
pub fn parse(line: &[u8]) -> Option<InitTrace<'_>> {
    let rest = line.strip_prefix(b"init ")?;
    let (package, rest) = split(rest, b" @")?;
    let (at, rest) = split(rest, b" ms, ")?;
    let (duration, rest) = split(rest, b" ms clock, ")?;
    let (bytes, rest) = split(rest, b" bytes, ")?;
    let allocs = rest.strip_suffix(b" allocs")?;
    if package.is_empty() {
        return None;
    }
    Some(InitTrace {
        package,
        at_ms: figure(at)?,
        duration_ms: figure(duration)?,
        bytes: whole(bytes)?,
        allocs: whole(allocs)?,
    })
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
        };
        assert_eq!(parse(line), Some(expected));
    }

    #[test]
    fn other_words_about_init_are_no_trace() {
        for line in ["init done", "init x @y ms, 1 ms clock, 1 bytes, 1 allocs", "init  @0 ms"] {
            assert_eq!(parse(line.as_bytes()), None, "{line}");
        }
    }
}
