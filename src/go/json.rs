//! Whether a line is one whole JSON object (RFC 8259), found in one pass without allocation.
//!
//! Lines of the program that are JSON pass through byte for byte, so the answer has to be right:
//! a line that only looks like an object would break the readers of the log. Nesting is limited
//! to 127 levels, below what common readers accept.

use super::entry::Object;
use super::scan::{after, first};

/// Deepest nesting that is accepted.
const DEPTH: u32 = 127;

/// The line if it is one JSON object and nothing else.
#[must_use]
pub fn object(line: &[u8]) -> Option<Object<'_>> {
    if line.first() != Some(&b'{') || line.last() != Some(&b'}') {
        return None;
    }
    // Seen on the way: to search each line for these words costs as much as to read it.
    let mut familiar = false;
    members(line, |key, _| {
        familiar |= match key.len() {
            6 => key == b"goinit",
            10 => key == b"event_name",
            // With one escape of six bytes at least, and nothing but such escapes at most.
            11..=60 => key.contains(&b'\\'),
            _ => false,
        };
    })?;
    Some(Object { bytes: line, familiar })
}

/// Walks over one JSON object and shows each top-level member: the key between its quotes and
/// the value, both as they stand (escapes not resolved). `None` when it is not one object.
pub fn members<'a>(line: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8])) -> Option<()> {
    std::str::from_utf8(line).ok()?;
    let mut rest = blank(line);
    let mut nest = Nest::default();
    // The member of the outermost object that is being read: its key, and all from its value on.
    let mut member: Option<(&[u8], &[u8])> = None;
    if rest.first() != Some(&b'{') {
        return None;
    }
    loop {
        // Here a value begins, or (straight after an opening bracket) a key or the end.
        let (byte, later) = rest.split_first()?;
        rest = match *byte {
            b'"' => string(later)?,
            open @ (b'{' | b'[') => {
                nest.push(open == b'{')?;
                let inner = blank(later);
                match (inner.split_first()?, open) {
                    ((b'}', later), b'{') | ((b']', later), b'[') => {
                        nest.pop();
                        later
                    }
                    (_, b'{') => {
                        rest = nest.member(inner, &mut member)?;
                        continue;
                    }
                    _ => {
                        rest = inner;
                        continue;
                    }
                }
            }
            b'-' | b'0'..=b'9' => number(rest)?,
            _ => word(rest)?,
        };
        // A value ended.
        loop {
            if nest.depth == 1
                && let Some((name, value)) = member.take()
            {
                each(name, first(value, value.len().saturating_sub(rest.len())));
            }
            rest = blank(rest);
            if nest.depth == 0 {
                return rest.is_empty().then_some(());
            }
            let (byte, later) = rest.split_first()?;
            match (byte, nest.object()) {
                (b',', true) => {
                    rest = nest.member(blank(later), &mut member)?;
                    break;
                }
                (b',', false) => {
                    rest = blank(later);
                    break;
                }
                (b'}', true) | (b']', false) => {
                    nest.pop();
                    rest = later;
                }
                _ => return None,
            }
        }
    }
}

/// Which brackets are open: one bit each.
#[derive(Default)]
struct Nest {
    depth: u32,
    objects: u128,
}

impl Nest {
    fn push(&mut self, object: bool) -> Option<()> {
        if self.depth >= DEPTH {
            return None;
        }
        self.objects = (self.objects << 1) | u128::from(object);
        self.depth = self.depth.saturating_add(1);
        Some(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth = self.depth.saturating_sub(1);
    }

    fn object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// `"key" :` of the innermost object: what follows it. One of the outermost is remembered.
    #[inline(always)]
    fn member<'a>(
        &self,
        rest: &'a [u8],
        member: &mut Option<(&'a [u8], &'a [u8])>,
    ) -> Option<&'a [u8]> {
        let name = rest.strip_prefix(b"\"")?;
        let end = string(name)?;
        let value = blank(blank(end).strip_prefix(b":")?);
        if self.depth == 1 {
            let length = name.len().saturating_sub(end.len()).saturating_sub(1);
            *member = Some((first(name, length), value));
        }
        Some(value)
    }
}

// Each of these takes what begins with the thing and gives what follows it. They are small, and
// called some twenty times a line, in floods: a call costs as much as the work.

#[inline(always)]
fn blank(mut rest: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n', later @ ..] = rest {
        rest = later;
    }
    rest
}

/// A string behind its first quote.
#[inline(always)]
fn string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match after(rest, plain(rest)) {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', rest @ ..] => escape(rest)?,
            _ => return None,
        };
    }
}

/// How many bytes at the start a JSON string can hold as they are: no quote, no backslash, no
/// control character. Eight at a time, because every line of the program goes through here.
#[must_use]
#[inline(always)]
pub fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    const fn all(byte: u8) -> u64 {
        ONES * (byte as u64)
    }
    let mut rest = bytes;
    while let Some((word, later)) = rest.split_first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Bytes below N have their top bit set in `word - N * ONES` unless it was set before; a
        // borrow reaches only bytes above the first hit. Neither quote nor backslash has that bit.
        let below = word.wrapping_sub(all(b' '))
            | (word ^ all(b'"')).wrapping_sub(ONES)
            | (word ^ all(b'\\')).wrapping_sub(ONES);
        let hits = below & !word & TOPS;
        let taken = bytes.len().saturating_sub(rest.len());
        if hits != 0 {
            return taken.saturating_add(usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0));
        }
        rest = later;
    }
    let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    let taken = bytes.len().saturating_sub(rest.len());
    taken.saturating_add(rest.iter().position(special).unwrap_or(rest.len()))
}

/// What a backslash begins, behind it.
fn escape(rest: &[u8]) -> Option<&[u8]> {
    match rest.split_first()? {
        (b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest) => Some(rest),
        (b'u', rest) => {
            let (digits, rest) = rest.split_first_chunk::<4>()?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(rest)
        }
        _ => None,
    }
}

#[inline(always)]
fn number(rest: &[u8]) -> Option<&[u8]> {
    let mut rest = match rest.strip_prefix(b"-").unwrap_or(rest) {
        [b'0', rest @ ..] => rest,
        rest => digits(rest)?,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = digits(fraction)?;
    }
    match rest {
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            digits(exponent)
        }
        _ => Some(rest),
    }
}

/// One digit or more.
#[inline(always)]
fn digits(rest: &[u8]) -> Option<&[u8]> {
    let [b'0'..=b'9', rest @ ..] = rest else { return None };
    let mut rest = rest;
    while let [b'0'..=b'9', later @ ..] = rest {
        rest = later;
    }
    Some(rest)
}

fn word(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [b't', b'r', b'u', b'e', rest @ ..]
        | [b'f', b'a', b'l', b's', b'e', rest @ ..]
        | [b'n', b'u', b'l', b'l', rest @ ..] => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_end_at_the_first_that_a_json_string_escapes() {
        let plainly = |bytes: &[u8]| {
            bytes.iter().position(|b| *b < 32 || *b == b'"' || *b == b'\\').unwrap_or(bytes.len())
        };
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=255 {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    // What follows the first one must not matter.
                    bytes.extend_from_slice(b"\x01\"\\ \xff");
                    assert_eq!(plain(&bytes), plainly(&bytes), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn whole_objects_are_recognised() {
        for line in [
            "{}",
            "{ }",
            r#"{"a":1,"b":[1,2,{"c":null}],"d":"x\"y","e":-1.5e+7,"f":{},"g":[]}"#,
            r#"{"u":"\u00e9é","t":true , "f": false}"#,
        ] {
            assert!(object(line.as_bytes()).is_some(), "{line}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for line in [
            "",
            "{",
            "}",
            "{}{}",
            "[]",
            "{]}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":tru}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":[1 2]}",
            "{\"level\":\"info\",\"msg\":\"broken json",
            "{\"a\":[1,]}",
            "{\"a\":[}",
        ] {
            assert!(object(line.as_bytes()).is_none(), "{line}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none());
    }

    #[test]
    fn an_object_with_a_key_of_ours_is_familiar() {
        for (line, familiar) in [
            (r#"{"level":"info","goinit":{}}"#, true),
            (r#"{"event_name":"x"}"#, true),
            (r#"{"g\u006finit":1}"#, true),
            (r#"{"event":"goinit","n":{"goinit":1,"event_name":"go.x"}}"#, false),
            (r#"{"msg":"a \"goinit\" \u0067","l":["event_name"]}"#, false),
        ] {
            assert_eq!(
                object(line.as_bytes()).map(|found| found.familiar),
                Some(familiar),
                "{line}"
            );
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let nested = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(object(nested(126).as_bytes()).is_some());
        assert!(object(nested(127).as_bytes()).is_none());
    }

    #[test]
    fn only_members_of_the_outermost_object_are_shown() {
        let line = br#"{"a":{"goinit":1},"b" : [1,{"c":2}], "goinit":"x","d":3}"#;
        let mut seen = Vec::new();
        members(line, |key, value| seen.push((key, value))).unwrap();
        let expected: [(&[u8], &[u8]); 4] = [
            (b"a", br#"{"goinit":1}"#),
            (b"b", br#"[1,{"c":2}]"#),
            (b"goinit", b"\"x\""),
            (b"d", b"3"),
        ];
        assert_eq!(seen, expected);
    }
}
