//! One line of goinit's log: built as a small ordered tree, rendered as one JSON object.
//!
//! The contract is docs/log-format.md: key order, names, size limits, escapes. Records that come
//! in floods (lines of the program) do not build a tree; they use [`Frame::line`]. Nothing here
//! writes anywhere or reads a clock.

use crate::go::json::plain;
use crate::units::Wall;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// A record longer than this is cut before it is written: conmon reads 8,192 bytes at a time,
/// containerd and Docker split lines at 16,384.
pub const HARD_LIMIT: usize = 8_000;
/// `message` is one sentence; longer ones are cut (lines of the program are exempt).
pub const MESSAGE_LIMIT: usize = 240;
/// A string inside a record; longer ones are cut and the record says `"truncated":true`.
pub const STRING_LIMIT: usize = 1_024;

/// How much a record matters. The words are known to every common log backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Snapshots and other periodic facts; dropped first when the log is full.
    Debug,
    /// What went as planned.
    Info,
    /// What a person should look at.
    Warn,
    /// A bad end or what led to it.
    Error,
}

impl Severity {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The severity of a word in the log.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error].into_iter().find(|s| s.word() == word)
    }
}

/// Whose statement a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// goinit's own.
    Goinit,
    /// Parsed out of the program's stderr, so a hostile program can forge it.
    Runtime,
    /// The program's words.
    Child,
}

impl Origin {
    /// The word in the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Goinit => "goinit",
            Self::Runtime => "runtime",
            Self::Child => "child",
        }
    }
}

/// A value in a record. Floats always carry a point; there are no nulls.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A fraction.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(Cow<'static, str>),
    /// Numbers.
    Numbers(Vec<u64>),
    /// Texts.
    Texts(Vec<String>),
    /// Nested keys, in order.
    Object(Vec<(&'static str, Value)>),
}

macro_rules! value_from {
    ($($from:ty => $variant:ident($conversion:expr)),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(($conversion)(value))
            }
        })*
    };
}

value_from! {
    i64 => Int(|v| v),
    i32 => Int(i64::from),
    u64 => Uint(|v| v),
    u32 => Uint(u64::from),
    u16 => Uint(u64::from),
    u8 => Uint(u64::from),
    usize => Uint(|v| u64::try_from(v).unwrap_or(u64::MAX)),
    f64 => Float(|v| v),
    bool => Bool(|v| v),
    &'static str => Text(Cow::Borrowed),
    String => Text(Cow::Owned),
    Vec<u64> => Numbers(|v| v),
    Vec<u32> => Numbers(|v: Vec<u32>| v.into_iter().map(u64::from).collect()),
    Vec<String> => Texts(|v| v),
    Duration => Uint(|v: Duration| u64::try_from(v.as_millis()).unwrap_or(u64::MAX)),
}

/// One record, before it has a time and a number.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    severity: Severity,
    event_name: &'static str,
    origin: Origin,
    message: String,
    fields: Vec<(&'static str, Value)>,
    truncated: bool,
}

impl Record {
    /// A record named `event_name` (docs/log-format.md has the closed list) with its sentence.
    #[must_use]
    pub fn new(
        severity: Severity,
        event_name: &'static str,
        origin: Origin,
        message: impl Into<String>,
    ) -> Self {
        let mut message = message.into();
        let truncated = shorten(&mut message, MESSAGE_LIMIT);
        Self { severity, event_name, origin, message, fields: Vec::new(), truncated }
    }

    /// Adds a value at a dotted path: `stall.for_ms` becomes `"stall":{"for_ms":…}`. Keys keep
    /// the order in which they came. An empty text or list is left out: absent means omitted.
    #[must_use]
    pub fn put(mut self, path: &'static str, value: impl Into<Value>) -> Self {
        let mut value = value.into();
        match &mut value {
            Value::Text(text) if text.is_empty() => return self,
            Value::Texts(list) if list.is_empty() => return self,
            Value::Numbers(list) if list.is_empty() => return self,
            Value::Text(text) if text.len() > STRING_LIMIT => {
                self.truncated |= shorten(text.to_mut(), STRING_LIMIT);
            }
            Value::Texts(list) => {
                for text in list {
                    self.truncated |= shorten(text, STRING_LIMIT);
                }
            }
            Value::Int(_)
            | Value::Uint(_)
            | Value::Float(_)
            | Value::Bool(_)
            | Value::Text(_)
            | Value::Numbers(_)
            | Value::Object(_) => {}
        }
        insert(&mut self.fields, path, value);
        self
    }

    /// [`Record::put`] when there is a value.
    #[must_use]
    pub fn put_some<V: Into<Value>>(self, path: &'static str, value: Option<V>) -> Self {
        match value {
            Some(value) => self.put(path, value),
            None => self,
        }
    }

    /// Marks the record as part `index` of `count` of the evidence named `id`.
    #[must_use]
    pub fn part(self, id: String, index: usize, count: usize) -> Self {
        self.put("goinit.part.id", id)
            .put("goinit.part.index", index)
            .put("goinit.part.count", count)
    }

    /// How much the record matters.
    #[must_use]
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// Its name from the closed list.
    #[must_use]
    pub fn event_name(&self) -> &'static str {
        self.event_name
    }

    /// Its sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The value at a dotted path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Value> {
        let mut keys = &self.fields;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let (_, value) = keys.iter().find(|(key, _)| *key == part)?;
            if parts.peek().is_none() {
                return Some(value);
            }
            let Value::Object(inner) = value else { return None };
            keys = inner;
        }
        None
    }
}

fn insert(fields: &mut Vec<(&'static str, Value)>, path: &'static str, value: Value) {
    let Some((head, rest)) = path.split_once('.') else {
        match fields.iter_mut().find(|(key, _)| *key == path) {
            Some((_, old)) => *old = value,
            None => fields.push((path, value)),
        }
        return;
    };
    if let Some((_, Value::Object(inner))) = fields.iter_mut().find(|(key, _)| *key == head) {
        insert(inner, rest, value);
        return;
    }
    let mut inner = Vec::new();
    insert(&mut inner, rest, value);
    fields.push((head, Value::Object(inner)));
}

/// Cuts `text` to at most `limit` bytes with `…` at the end; says whether it had to.
pub fn shorten(text: &mut String, limit: usize) -> bool {
    if text.len() <= limit {
        return false;
    }
    let mark = '…';
    let mut end = limit.saturating_sub(mark.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push(mark);
    true
}

/// Between the severity of a `child.line` and its words.
const LINE_MESSAGE: &str = "\",\"message\":\"";
/// Bytes of an ordinary `child.line` besides its words.
const LINE_ROOM: usize = 256;

/// Gives records their time and number: the state that one run of goinit has.
#[derive(Debug)]
pub struct Frame {
    run: [u8; 8],
    seq: u64,
    /// What every `child.line` says between its words and its number.
    line_tail: String,
    /// The last timestamp as it is rendered, and how most lines begin then: floods bring many
    /// lines at one instant.
    stamp: String,
    line_head: String,
    stamped: Wall,
}

impl Frame {
    /// The frame of a run; `run` is random per start and separates restarts.
    #[must_use]
    pub fn new(run: u32) -> Self {
        let mut digits = [b'0'; 8];
        for (digit, shift) in digits.iter_mut().zip((0..8u32).rev()) {
            let nibble = (run >> (shift * 4)) & 0xf;
            *digit = char::from_digit(nibble, 16).map_or(b'0', |c| u8::try_from(c).unwrap_or(b'0'));
        }
        let run = String::from_utf8_lossy(&digits);
        let line_tail = format!(
            "\",\"event_name\":\"child.line\",\"origin\":\"child\",\"goinit\":{{\"run\":\"{run}\",\"seq\":"
        );
        let (stamp, line_head) = (String::new(), String::new());
        Self { run: digits, seq: 0, line_tail, stamp, line_head, stamped: Wall(u64::MAX) }
    }

    /// The run as eight hex digits.
    #[must_use]
    pub fn run(&self) -> &str {
        std::str::from_utf8(&self.run).unwrap_or_default()
    }

    /// Number of the last record; the next one gets one more.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Appends a whole record with its newline.
    pub fn render(&mut self, wall: Wall, record: &Record, out: &mut Vec<u8>) {
        let start = out.len();
        self.try_render(wall, record, out);
        if out.len() - start > HARD_LIMIT {
            // Rare by construction (strings are cut one by one): keep the sentence, say so.
            out.truncate(start);
            self.seq -= 1;
            let brief = Record { fields: Vec::new(), truncated: true, ..record.clone() };
            self.try_render(wall, &brief, out);
        }
    }

    fn try_render(&mut self, wall: Wall, record: &Record, out: &mut Vec<u8>) {
        self.stamp(wall, out);
        out.extend_from_slice(record.severity.word().as_bytes());
        out.extend_from_slice(b"\",\"message\":");
        text(&record.message, out);
        out.extend_from_slice(b",\"event_name\":\"");
        out.extend_from_slice(record.event_name.as_bytes());
        out.extend_from_slice(b"\",\"origin\":\"");
        out.extend_from_slice(record.origin.word().as_bytes());
        out.extend_from_slice(b"\",\"goinit\":{");
        let own = match record.fields.iter().find(|(key, _)| *key == "goinit") {
            Some((_, Value::Object(own))) => own.as_slice(),
            Some(_) | None => &[],
        };
        if let Some((_, version)) = own.iter().find(|(key, _)| *key == "version") {
            out.extend_from_slice(b"\"version\":");
            render_value(version, out);
            out.push(b',');
        }
        self.number(out);
        for (key, value) in own.iter().filter(|(key, _)| *key != "version") {
            out.push(b',');
            render_member(key, value, out);
        }
        out.push(b'}');
        for (key, value) in record.fields.iter().filter(|(key, _)| *key != "goinit") {
            out.push(b',');
            render_member(key, value, out);
        }
        if record.truncated {
            out.extend_from_slice(b",\"truncated\":true");
        }
        out.extend_from_slice(b"}\n");
    }

    /// Appends a `child.line` up to its number:
    /// `{"timestamp":"…",…,"message":"…","event_name":"child.line","origin":"child","goinit":{"run":"…","seq":N`.
    pub fn line(&mut self, wall: Wall, severity: Severity, message: &str, out: &mut Vec<u8>) {
        self.stamp_of(wall);
        out.reserve(LINE_ROOM.saturating_add(message.len()));
        if severity == Severity::Info {
            out.extend_from_slice(self.line_head.as_bytes());
        } else {
            out.extend_from_slice(self.stamp.as_bytes());
            out.extend_from_slice(severity.word().as_bytes());
            out.extend_from_slice(LINE_MESSAGE.as_bytes());
        }
        inner_text(message, out);
        self.seq += 1;
        out.extend_from_slice(self.line_tail.as_bytes());
        decimal(self.seq, out);
    }

    fn number(&mut self, out: &mut Vec<u8>) {
        self.seq += 1;
        out.extend_from_slice(b"\"run\":\"");
        out.extend_from_slice(&self.run);
        out.extend_from_slice(b"\",\"seq\":");
        decimal(self.seq, out);
    }

    /// `{"timestamp":"2026-03-02T09:14:07.120345678Z","severity":"`
    fn stamp(&mut self, wall: Wall, out: &mut Vec<u8>) {
        self.stamp_of(wall);
        out.extend_from_slice(self.stamp.as_bytes());
    }

    fn stamp_of(&mut self, wall: Wall) {
        if wall == self.stamped {
            return;
        }
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(wall.0);
        let time = humantime::format_rfc3339_nanos(time);
        self.stamp.clear();
        // Writing into a string cannot fail.
        let _ = write!(self.stamp, "{{\"timestamp\":\"{time}\",\"severity\":\"");
        self.line_head.clear();
        for piece in [&self.stamp, Severity::Info.word(), LINE_MESSAGE] {
            self.line_head.push_str(piece);
        }
        self.stamped = wall;
    }
}

/// A JSON object of its own, on one line.
#[must_use]
pub fn object(members: &[(&'static str, Value)]) -> String {
    let mut out = Vec::new();
    render_value(&Value::Object(members.to_vec()), &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends `text` as a JSON string with its quotes.
pub fn text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    inner_text(text, out);
    out.push(b'"');
}

/// Appends what stands between the quotes of a JSON string.
fn inner_text(text: &str, out: &mut Vec<u8>) {
    // serde_json gives the same bytes one at a time, which is a third of the cost of a flood.
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain(rest));
        out.extend_from_slice(plain);
        let Some((byte, later)) = special.split_first() else { break };
        escaped(*byte, out);
        rest = later;
    }
}

/// A byte that a JSON string cannot hold as it is.
fn escaped(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            let digit = |nibble: u8| HEX.get(usize::from(nibble & 15)).copied().unwrap_or(b'0');
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a number in decimal digits.
pub fn decimal(number: u64, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, &number);
}

fn render_member(key: &str, value: &Value, out: &mut Vec<u8>) {
    text(key, out);
    out.push(b':');
    render_value(value, out);
}

fn render_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Int(number) => {
            let _ = serde_json::to_writer(out, number);
        }
        Value::Uint(number) => decimal(*number, out),
        // JSON has no infinity; serde_json would print null, and nulls are never written.
        Value::Float(number) if !number.is_finite() => out.extend_from_slice(b"0.0"),
        Value::Float(number) => {
            let _ = serde_json::to_writer(out, number);
        }
        Value::Bool(truth) => out.extend_from_slice(if *truth { b"true" } else { b"false" }),
        Value::Text(words) => text(words, out),
        Value::Numbers(list) => list_of(list, out, |number, out| decimal(*number, out)),
        Value::Texts(list) => list_of(list, out, |words, out| text(words, out)),
        Value::Object(members) => {
            out.push(b'{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                render_member(key, value, out);
            }
            out.push(b'}');
        }
    }
}

fn list_of<T>(list: &[T], out: &mut Vec<u8>, each: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (at, item) in list.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        each(item, out);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(record: &Record) -> String {
        let mut out = Vec::new();
        Frame::new(0x9f2c_61d0).render(Wall(1_772_442_847_120_345_678), record, &mut out);
        String::from_utf8(out).expect("records are UTF-8")
    }

    #[test]
    fn keys_come_in_the_order_of_the_contract() {
        let record = Record::new(Severity::Warn, "goinit.stall", Origin::Goinit, "no progress")
            .put("stall.kind", "idle")
            .put("goinit.version", "0.1.0")
            .put("stall.for_ms", 15_000u64)
            .put("ratio", 4.0)
            .put("list", vec![1u64, 2])
            .put("nothing", "")
            .part("stall-1".into(), 1, 6);
        assert_eq!(
            rendered(&record),
            "{\"timestamp\":\"2026-03-02T09:14:07.120345678Z\",\"severity\":\"WARN\",\
             \"message\":\"no progress\",\"event_name\":\"goinit.stall\",\"origin\":\"goinit\",\
             \"goinit\":{\"version\":\"0.1.0\",\"run\":\"9f2c61d0\",\"seq\":1,\
             \"part\":{\"id\":\"stall-1\",\"index\":1,\"count\":6}},\
             \"stall\":{\"kind\":\"idle\",\"for_ms\":15000},\"ratio\":4.0,\"list\":[1,2]}\n"
        );
    }

    #[test]
    fn long_texts_are_cut_and_marked() {
        let record = Record::new(Severity::Info, "x", Origin::Child, "é".repeat(500))
            .put("field", "z".repeat(STRING_LIMIT + 1));
        let line = rendered(&record);
        assert!(line.contains("\"truncated\":true"));
        assert!(record.message().len() <= MESSAGE_LIMIT && record.message().ends_with('…'));
    }

    #[test]
    fn a_record_over_the_hard_limit_keeps_its_sentence_and_number() {
        let mut record = Record::new(Severity::Info, "x", Origin::Goinit, "sentence");
        for path in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
            record = record.put(path, "y".repeat(STRING_LIMIT));
        }
        let line = rendered(&record);
        assert!(line.len() < HARD_LIMIT && line.contains("sentence"));
        assert!(line.contains("\"seq\":1}") && line.contains("\"truncated\":true"));
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for code in (0..0x250).chain([0x2028, 0xfffd, 0x1f980]) {
            let words: String =
                ['a', char::from_u32(code).expect("a character"), 'b'].iter().collect();
            let mut out = Vec::new();
            text(&words, &mut out);
            assert_eq!(String::from_utf8(out).ok(), serde_json::to_string(&words).ok());
        }
    }

    #[test]
    fn values_are_found_by_their_path() {
        let record = Record::new(Severity::Info, "x", Origin::Goinit, "s").put("a.b", 3u64);
        assert_eq!(record.get("a.b"), Some(&Value::Uint(3)));
        assert_eq!(record.get("a.c"), None);
        assert_eq!(record.get("a.b.c"), None);
    }
}
