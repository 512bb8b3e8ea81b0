//! What stands around a line when somebody else has collected it: `kubectl logs --prefix` and
//! `--timestamps`, the CRI files of a node, Docker's json-file, UTF-16 from a Windows shell.
//!
//! One line in, the program's own bytes out; what is not understood is a bare line.

use crate::go::json::members;
use crate::units::Wall;
use std::borrow::Cow;

/// Which descriptor of the program a collector says a line came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Nobody says.
    #[default]
    Unknown,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line without what a collector put around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unwrapped<'a> {
    /// `pod/api-7d9f/migrate` of `kubectl logs --prefix`; empty = none.
    pub source: &'a [u8],
    /// Where the program wrote it.
    pub stream: Stream,
    /// When it was collected.
    pub wall: Option<Wall>,
    /// The program's bytes, without newline.
    pub text: Cow<'a, [u8]>,
    /// The line ends here; false for a piece of which the rest follows.
    pub ended: bool,
}

/// Whether a line can only be bare, by its first byte. Dumps and snapshots pass this way.
#[must_use]
pub fn is_bare(first: u8) -> bool {
    !matches!(first, b'0'..=b'9' | b'[' | b'{')
}

/// Takes the wrapping off a line (no newline); `None` = it is bare.
#[must_use]
pub fn unwrap(line: &[u8]) -> Option<Unwrapped<'_>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"{\"log\":") {
        return docker(line);
    }
    let (source, rest) = prefix(line);
    let (wall, rest) = match stamp(rest) {
        Some((wall, fraction, rest)) => match cri(rest) {
            Some((stream, ended, text)) => {
                let text = Cow::Borrowed(text);
                return Some(Unwrapped { source, stream, wall: Some(wall), text, ended });
            }
            // Kubelet and Docker write nine digits; loggers of programs hardly ever do.
            None if fraction == 9 => (Some(wall), rest),
            None => (None, rest_of(source, line)),
        },
        None => (None, rest),
    };
    if source.is_empty() && wall.is_none() {
        return None;
    }
    let text = Cow::Borrowed(rest);
    Some(Unwrapped { source, stream: Stream::Unknown, wall, text, ended: true })
}

/// The line behind its prefix.
fn rest_of<'a>(source: &[u8], line: &'a [u8]) -> &'a [u8] {
    let taken = if source.is_empty() { 0 } else { source.len().saturating_add(3) };
    line.get(taken..).unwrap_or_default()
}

/// `[pod/NAME/CONTAINER] `
fn prefix(line: &[u8]) -> (&[u8], &[u8]) {
    let found = line.strip_prefix(b"[").filter(|rest| rest.starts_with(b"pod/")).and_then(|rest| {
        let end = memchr::memchr(b']', rest.get(..512).unwrap_or(rest))?;
        let source = rest.get(..end)?;
        let text = rest.get(end.saturating_add(1)..)?;
        (!source.contains(&b' ')).then_some((source, text.strip_prefix(b" ").unwrap_or(text)))
    });
    found.unwrap_or((b"", line))
}

/// `stderr F `, `stdout P:tag `: where, whether the line ends, and its text.
fn cri(rest: &[u8]) -> Option<(Stream, bool, &[u8])> {
    let (stream, rest) = if let Some(rest) = rest.strip_prefix(b"stderr ") {
        (Stream::Stderr, rest)
    } else {
        (Stream::Stdout, rest.strip_prefix(b"stdout ")?)
    };
    let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
    let tags = rest.get(..end)?;
    let ended = match tags.split(|b| *b == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some((stream, ended, rest.get(end.saturating_add(1)..).unwrap_or_default()))
}

/// `{"log":"text\n","stream":"stderr","time":"…"}`; a piece has no newline at its end.
fn docker(line: &[u8]) -> Option<Unwrapped<'_>> {
    let (mut log, mut stream, mut wall) = (None, Stream::Unknown, None);
    members(line, |key, value| {
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        let Some(inner) = inner else { return };
        match key {
            b"log" => log = Some(inner),
            b"stream" if inner == b"stdout" => stream = Stream::Stdout,
            b"stream" if inner == b"stderr" => stream = Stream::Stderr,
            b"time" => wall = stamp_only(inner),
            _ => {}
        }
    })?;
    let mut text = unescape(log?);
    let ended = text.last() == Some(&b'\n');
    if ended {
        match &mut text {
            Cow::Borrowed(bytes) => *bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes),
            Cow::Owned(bytes) => {
                bytes.pop();
            }
        }
    }
    Some(Unwrapped { source: b"", stream, wall, text, ended })
}

/// What stands before every line of a file, known by its first line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Margin {
    /// No line was seen.
    #[default]
    Unknown,
    /// Nothing.
    None,
    /// `> `: quoted in a mail or an issue.
    Quote,
    /// `web-1  | `: docker compose logs.
    Service,
    /// So many blanks, where the runtime's first words were pasted into a text.
    Blanks(usize),
}

impl Margin {
    /// What the first line says.
    #[must_use]
    pub fn of(line: &[u8]) -> Self {
        let line = line.trim_ascii_end();
        let words = line.trim_ascii_start();
        let blanks = line.len().saturating_sub(words.len());
        let heads = [&b"goroutine "[..], b"SCHED ", b"runtime: "];
        let told = || {
            crate::go::crash::begins(words).is_some()
                || heads.iter().any(|head| words.starts_with(head))
        };
        if blanks > 0 && told() {
            Self::Blanks(blanks)
        } else if line.starts_with(b"> ") {
            Self::Quote
        } else if service(line).is_some() {
            Self::Service
        } else {
            Self::None
        }
    }

    /// The name in the margin and what stands behind it; a line without margin stays as it is.
    #[must_use]
    pub fn cut(self, line: &[u8]) -> (&[u8], &[u8]) {
        match self {
            Self::Unknown | Self::None => (b"", line),
            Self::Quote => {
                let rest = line.strip_prefix(b">").unwrap_or(line);
                (b"", rest.strip_prefix(b" ").unwrap_or(rest))
            }
            Self::Service => service(line).unwrap_or((b"", line)),
            Self::Blanks(most) => {
                let blank = |byte: &&u8| matches!(byte, b' ' | b'\t');
                let blanks = line.iter().take(most).take_while(blank).count();
                (b"", line.get(blanks..).unwrap_or_default())
            }
        }
    }
}

/// `web-1  | `: the name of a container as compose makes it, padded, and a bar.
fn service(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = line.get(..128).unwrap_or(line);
    let bar = memchr::memchr(b'|', head)?;
    let name = head.get(..bar)?.strip_suffix(b" ")?.trim_ascii_end();
    let number = name.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let shaped = name.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b));
    let named = number > 0 && name.iter().rev().nth(number) == Some(&b'-');
    let rest = line.get(bar.saturating_add(1)..)?;
    (shaped && named).then(|| (name, rest.strip_prefix(b" ").unwrap_or(rest)))
}

/// The text of a JSON string, between its quotes.
#[must_use]
pub fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        text.extend_from_slice(rest.get(..at).unwrap_or_default());
        let letter = rest.get(at.saturating_add(1)).copied().unwrap_or(b'\\');
        rest = rest.get(at.saturating_add(2)..).unwrap_or_default();
        match letter {
            b'n' => text.push(b'\n'),
            b't' => text.push(b'\t'),
            b'r' => text.push(b'\r'),
            b'b' => text.push(8),
            b'f' => text.push(12),
            b'u' => {
                let (found, taken) = code_point(rest);
                let mut buffer = [0; 4];
                text.extend_from_slice(found.encode_utf8(&mut buffer).as_bytes());
                rest = rest.get(taken..).unwrap_or_default();
            }
            other => text.push(other),
        }
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// The character of the digits behind `\u`, a surrogate pair included, and the bytes it takes.
fn code_point(rest: &[u8]) -> (char, usize) {
    let unit = |bytes: Option<&[u8]>| {
        std::str::from_utf8(bytes?).ok().and_then(|digits| u32::from_str_radix(digits, 16).ok())
    };
    let Some(first) = unit(rest.get(..4)) else { return ('\u{fffd}', 0) };
    if (0xd800..0xdc00).contains(&first)
        && rest.get(4..6) == Some(b"\\u")
        && let Some(second) = unit(rest.get(6..10)).filter(|u| (0xdc00..0xe000).contains(u))
    {
        let whole = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(whole).unwrap_or('\u{fffd}'), 10);
    }
    (char::from_u32(first).unwrap_or('\u{fffd}'), 4)
}

/// An RFC 3339 time with a blank behind it: the time, the number of its fractional digits, the
/// rest of the line.
fn stamp(line: &[u8]) -> Option<(Wall, usize, &[u8])> {
    let (wall, fraction, taken) = rfc3339(line)?;
    let rest = line.get(taken..)?;
    let rest = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    Some((wall, fraction, rest))
}

/// An RFC 3339 time and nothing else.
#[must_use]
pub fn stamp_only(text: &[u8]) -> Option<Wall> {
    let (wall, _, taken) = rfc3339(text)?;
    (taken == text.len()).then_some(wall)
}

/// The time that a line of a program states as Go programs do: package log's `2026/03/02 09:14:07`,
/// an RFC 3339 time at the start, slog's `time=` and `"time":"`.
#[must_use]
pub fn own_time(line: &[u8]) -> Option<Wall> {
    match *line.first()? {
        b'0'..=b'9' if line.get(4) == Some(&b'/') => {
            let mut text = *line.first_chunk::<19>()?;
            for (at, found, meant) in [(4, b'/', b'-'), (7, b'/', b'-'), (10, b' ', b'T')] {
                let byte = text.get_mut(at).filter(|byte| **byte == found)?;
                *byte = meant;
            }
            let (mut whole, zulu) = ([0; 20], b'Z');
            let (body, end) = whole.split_at_mut_checked(19)?;
            body.copy_from_slice(&text);
            *end.first_mut()? = zulu;
            stamp_only(&whole)
        }
        b'0'..=b'9' => rfc3339(line).map(|(wall, _, _)| wall),
        b't' => rfc3339(line.strip_prefix(b"time=")?).map(|(wall, _, _)| wall),
        b'{' => {
            let head = line.get(..128).unwrap_or(line);
            let at = memchr::memmem::find(head, b"\"time\":\"")?.saturating_add(8);
            rfc3339(line.get(at..)?).map(|(wall, _, _)| wall)
        }
        _ => None,
    }
}

/// `2026-03-02T09:14:07.120345678Z`, or with an offset; the bytes it takes.
fn rfc3339(text: &[u8]) -> Option<(Wall, usize, usize)> {
    let figure = |from: usize, digits: usize| -> Option<u64> {
        let digits = text.get(from..from.saturating_add(digits))?;
        digits.iter().try_fold(0u64, |sum, byte| {
            byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0'))
        })
    };
    let mark = |at: usize, byte: u8| (text.get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (figure(0, 4)?, figure(5, 2)?, figure(8, 2)?);
    let _ = (mark(4, b'-')?, mark(7, b'-')?, mark(10, b'T')?);
    let (hour, minute, second) = (figure(11, 2)?, figure(14, 2)?, figure(17, 2)?);
    let _ = (mark(13, b':')?, mark(16, b':')?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    let mut at = 19;
    let (mut nanos, mut fraction) = (0u64, 0usize);
    if text.get(at) == Some(&b'.') {
        at += 1;
        while let Some(byte) = text.get(at).filter(|byte| byte.is_ascii_digit()) {
            if fraction < 9 {
                nanos = nanos * 10 + u64::from(byte - b'0');
                fraction += 1;
            }
            at += 1;
        }
        nanos *= 10u64.pow(9 - u32::try_from(fraction).unwrap_or(9));
    }
    let mut seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    match text.get(at)? {
        b'Z' => at += 1,
        sign @ (b'+' | b'-') => {
            mark(at + 3, b':')?;
            let offset = figure(at + 1, 2)? * 3_600 + figure(at + 4, 2)? * 60;
            seconds = match sign {
                b'+' => seconds.saturating_sub(offset),
                _ => seconds + offset,
            };
            at += 6;
        }
        _ => return None,
    }
    Some((Wall(seconds.saturating_mul(1_000_000_000).saturating_add(nanos)), fraction, at))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

/// Turns a captured file's bytes into UTF-8: a byte order mark is taken off, UTF-16 (what a
/// Windows shell's `>` writes) is decoded. Everything else passes through.
#[derive(Debug, Default)]
pub struct Decoder {
    kind: Encoding,
    /// Bytes that do not make a unit yet, or are too few to judge.
    held: Vec<u8>,
    /// The first half of a surrogate pair.
    high: Option<u16>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Encoding {
    #[default]
    Unknown,
    Bytes,
    Utf16 {
        big: bool,
    },
}

impl Decoder {
    /// Whether bytes can be used as they are, without [`Decoder::feed`].
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.kind == Encoding::Bytes && self.held.is_empty()
    }

    /// Takes bytes and appends text to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        if self.kind == Encoding::Unknown {
            if self.held.len() < 3 {
                return;
            }
            self.settle();
        }
        self.drain(out);
    }

    /// The file has ended.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        if self.kind == Encoding::Unknown {
            self.settle();
        }
        self.drain(out);
        if !self.held.is_empty() || self.high.take().is_some() {
            out.extend_from_slice("\u{fffd}".as_bytes());
            self.held.clear();
        }
    }

    fn settle(&mut self) {
        let (kind, mark) = match self.held.as_slice() {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Bytes, 3),
            [0xff, 0xfe, ..] => (Encoding::Utf16 { big: false }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { big: true }, 2),
            _ => (Encoding::Bytes, 0),
        };
        self.kind = kind;
        self.held.drain(..mark);
    }

    fn drain(&mut self, out: &mut Vec<u8>) {
        let Encoding::Utf16 { big } = self.kind else {
            out.append(&mut self.held);
            return;
        };
        let whole = self.held.len() & !1;
        let units = self.held.get(..whole).unwrap_or_default().chunks_exact(2).map(|pair| {
            let pair = [pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0)];
            if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
        });
        let mut units: Vec<u16> = self.high.take().into_iter().chain(units).collect();
        if units.last().is_some_and(|unit| (0xd800..0xdc00).contains(unit)) {
            self.high = units.pop();
        }
        for found in char::decode_utf16(units) {
            let mut buffer = [0; 4];
            let text = found.unwrap_or('\u{fffd}').encode_utf8(&mut buffer);
            out.extend_from_slice(text.as_bytes());
        }
        self.held.drain(..whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, source: &str, stream: Stream, text: &str, ended: bool) -> Option<Wall> {
        let found = unwrap(line.as_bytes()).unwrap_or_else(|| panic!("bare: {line}"));
        assert_eq!(String::from_utf8_lossy(found.source), source, "{line}");
        assert_eq!(String::from_utf8_lossy(&found.text), text, "{line}");
        assert_eq!((found.stream, found.ended), (stream, ended), "{line}");
        found.wall
    }

    #[test]
    fn every_collector_s_wrapping_comes_off() {
        let time = Some(Wall(1_772_442_847_120_345_678));
        let stamp = "2026-03-02T09:14:07.120345678Z";
        assert_eq!(
            check(&format!("{stamp} SCHED 0ms"), "", Stream::Unknown, "SCHED 0ms", true),
            time
        );
        let line = format!("[pod/api-7d9f/migrate] {stamp} hello");
        assert_eq!(check(&line, "pod/api-7d9f/migrate", Stream::Unknown, "hello", true), time);
        assert_eq!(check("[pod/a/b] hello", "pod/a/b", Stream::Unknown, "hello", true), None);
        let line = "2026-03-02T10:14:07.12+01:00 stderr P  piece ";
        let early = check(line, "", Stream::Stderr, " piece ", false);
        assert_eq!(early, Some(Wall(1_772_442_847_120_000_000)));
        assert_eq!(check(&format!("{stamp} stdout F "), "", Stream::Stdout, "", true), time);
        let line = r#"{"log":"a\tb\u00e9\ud83d\ude00\n","stream":"stderr","time":"2026-03-02T09:14:07.120345678Z"}"#;
        assert_eq!(check(line, "", Stream::Stderr, "a\tbé😀", true), time);
        let line = r#"{"log":"piece","stream":"stdout"}"#;
        assert_eq!(check(line, "", Stream::Stdout, "piece", false), None);
    }

    #[test]
    fn lines_of_programs_stay_as_they_are() {
        for line in [
            "",
            "2026-03-02T09:14:07.120Z starting",
            "2026-03-02 09:14:07 starting",
            "2026-13-02T09:14:07.120345678Z x",
            "[info] pod/x",
            "{\"log\":1}",
            "{\"level\":\"info\"}",
            "9",
        ] {
            assert_eq!(unwrap(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn times_that_programs_state_are_read() {
        let same = Some(Wall(1_772_442_847_000_000_000));
        for line in [
            "2026/03/02 09:14:07 database not ready",
            "2026-03-02T10:14:07+01:00\tINFO\tstarting",
            "time=2026-03-02T09:14:07Z level=INFO msg=x",
            r#"{"level":"INFO","time":"2026-03-02T09:14:07Z","msg":"x"}"#,
        ] {
            assert_eq!(own_time(line.as_bytes()), same, "{line}");
        }
        for line in
            ["", "2026/03/02", "time=now", "{\"time\":\"", "9 lives", "2026/99/02 09:14:07 "]
        {
            assert_eq!(own_time(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn utf_16_and_byte_order_marks_are_read() {
        let text = "SCHED é😀\r\n";
        let units = |big: bool| {
            let all = std::iter::once(0xfeff).chain(text.encode_utf16());
            all.flat_map(|unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
                .collect::<Vec<u8>>()
        };
        for bytes in [units(true), units(false), [b"\xef\xbb\xbf", text.as_bytes()].concat()] {
            for chunk in [1, 3, 100] {
                let (mut decoder, mut out) = (Decoder::default(), Vec::new());
                bytes.chunks(chunk).for_each(|part| decoder.feed(part, &mut out));
                decoder.end(&mut out);
                assert_eq!(String::from_utf8_lossy(&out), text);
            }
        }
        let (mut decoder, mut out) = (Decoder::default(), Vec::new());
        decoder.feed(b"x", &mut out);
        decoder.end(&mut out);
        assert_eq!(out, b"x");
    }
}
