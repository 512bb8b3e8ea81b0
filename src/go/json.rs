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
    let mut at = blank(line, 0);
    let mut nest = Nest::default();
    let mut key: Option<&[u8]> = None;
    let mut start = 0usize;
    if line.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        // Here a value begins, or (straight after an opening bracket) a key or the end.
        match *line.get(at)? {
            open @ (b'{' | b'[') => {
                nest.push(open == b'{')?;
                at = blank(line, at.saturating_add(1));
                let close = if open == b'{' { b'}' } else { b']' };
                if line.get(at) != Some(&close) {
                    if open == b'{' {
                        let (name, next) = member_key(line, at)?;
                        (key, start) = top(&nest, name, next, key, start);
                        at = next;
                    }
                    continue;
                }
                nest.pop();
                at = at.saturating_add(1);
            }
            b'"' => at = string(line, at)?,
            b'-' | b'0'..=b'9' => at = number(line, at)?,
            _ => at = word(line, at)?,
        }
        // A value ended.
        loop {
            if nest.depth == 1
                && let Some(name) = key.take()
            {
                each(name, first(after(line, start), at.saturating_sub(start)));
            }
            at = blank(line, at);
            if nest.depth == 0 {
                return (at == line.len()).then_some(());
            }
            match (*line.get(at)?, nest.object()) {
                (b',', true) => {
                    let (name, next) = member_key(line, blank(line, at.saturating_add(1)))?;
                    (key, start) = top(&nest, name, next, key, start);
                    at = next;
                    break;
                }
                (b',', false) => {
                    at = blank(line, at.saturating_add(1));
                    break;
                }
                (b'}', true) | (b']', false) => {
                    nest.pop();
                    at = at.saturating_add(1);
                }
                _ => return None,
            }
        }
    }
}

/// Remembers a key of the outermost object and where its value starts.
fn top<'a>(
    nest: &Nest,
    name: &'a [u8],
    next: usize,
    key: Option<&'a [u8]>,
    start: usize,
) -> (Option<&'a [u8]>, usize) {
    if nest.depth == 1 { (Some(name), next) } else { (key, start) }
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
}

fn blank(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
        at = at.saturating_add(1);
    }
    at
}

/// `"key" :` from its first quote: the key and where its value starts.
fn member_key(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let end = string(line, at)?;
    let name = line.get(at.saturating_add(1)..end.saturating_sub(1))?;
    let colon = blank(line, end);
    (line.get(colon) == Some(&b':')).then(|| (name, blank(line, colon.saturating_add(1))))
}

/// A string from its first quote: where it ends.
fn string(line: &[u8], at: usize) -> Option<usize> {
    if line.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at.saturating_add(1);
    loop {
        at = at.saturating_add(plain(after(line, at)));
        match *line.get(at)? {
            b'"' => return Some(at.saturating_add(1)),
            b'\\' => at = escape(line, at.saturating_add(1))?,
            _ => return None,
        }
    }
}

/// How many bytes at the start a JSON string can hold as they are: no quote, no backslash, no
/// control character. Eight at a time, because every line of the program goes through here.
#[must_use]
pub fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let mut words = bytes.chunks_exact(8);
    let mut taken = 0usize;
    for word in words.by_ref() {
        let Ok(word) = <[u8; 8]>::try_from(word) else { return taken };
        let word = u64::from_le_bytes(word);
        // Bytes below N have their top bit set in `word - N * ONES` unless it was set before; a
        // borrow reaches only bytes above the first hit.
        let below = |word: u64, limit: u8| {
            word.wrapping_sub(ONES.wrapping_mul(u64::from(limit))) & !word & TOPS
        };
        let equal = |byte: u8| below(word ^ ONES.wrapping_mul(u64::from(byte)), 1);
        let hits = below(word, b' ') | equal(b'"') | equal(b'\\');
        if hits != 0 {
            return taken.saturating_add(usize::try_from(hits.trailing_zeros() / 8).unwrap_or(0));
        }
        taken = taken.saturating_add(8);
    }
    let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    let rest = words.remainder();
    taken.saturating_add(rest.iter().position(special).unwrap_or(rest.len()))
}

/// What follows a backslash: where it ends.
fn escape(line: &[u8], at: usize) -> Option<usize> {
    match *line.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at.saturating_add(1)),
        b'u' => {
            let start = at.saturating_add(1);
            let end = start.saturating_add(4);
            line.get(start..end)?.iter().all(u8::is_ascii_hexdigit).then_some(end)
        }
        _ => None,
    }
}

fn number(line: &[u8], at: usize) -> Option<usize> {
    let mut at = at.saturating_add(usize::from(line.get(at) == Some(&b'-')));
    let digits = |from: usize| {
        let count = after(line, from).iter().take_while(|b| b.is_ascii_digit()).count();
        (count > 0).then(|| from.saturating_add(count))
    };
    at = if line.get(at) == Some(&b'0') { at.saturating_add(1) } else { digits(at)? };
    if line.get(at) == Some(&b'.') {
        at = digits(at.saturating_add(1))?;
    }
    if matches!(line.get(at), Some(b'e' | b'E')) {
        at = at.saturating_add(1);
        at = at.saturating_add(usize::from(matches!(line.get(at), Some(b'+' | b'-'))));
        at = digits(at)?;
    }
    Some(at)
}

fn word(line: &[u8], at: usize) -> Option<usize> {
    [&b"true"[..], b"false", b"null"]
        .into_iter()
        .find(|word| after(line, at).starts_with(word))
        .map(|word| at.saturating_add(word.len()))
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
