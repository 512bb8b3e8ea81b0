//! From entries of the program's stderr to records of the log. Pure: time comes as an argument,
//! records go to the outbox. Lines of the program do not build a tree: they come in floods.

mod doubt;

use super::backlog::Class;
use super::config::{SchedLog, Stderr};
use super::outbox::Outbox;
use super::record::{Origin, Record, Severity};
use crate::go::crash::CrashHead;
use crate::go::dump::{Frame, Group, Totals, abridged};
use crate::go::entry::{Entry, Object, Text};
use crate::go::gc::GcTrace;
use crate::go::init::InitTrace;
use crate::go::json;
use crate::go::snapshot::Snapshot;
use crate::units::{Mono, Now};
use memchr::memmem::Finder;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

/// Snapshots kept for a stall or a bad end.
pub const RING: usize = 64;
/// Goroutine groups of one dump that become records; the rest is counted.
pub const GROUPS: u64 = 50;
/// Frames of a group in its record.
const FRAMES: usize = 32;
/// A snapshot is written at least so often.
const EVERY: Duration = Duration::from_secs(30);
/// Rendered bytes of one line's text in one record; the rest of the record takes less than 600.
const PIECE: usize = 7_000;

/// What is counted for the final record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Snapshots read.
    pub sched_lines: u64,
    /// Snapshots begun that could not be put together.
    pub damaged: u64,
    /// Lines of the program, JSON included.
    pub child_lines: u64,
    /// JSON lines that imitate goinit's own records.
    pub forged_suspects: u64,
}

/// Writes entries down.
#[derive(Debug)]
pub struct Journal {
    stderr: Stderr,
    sched_log: SchedLog,
    counts: Counts,
    ring: VecDeque<(Now, Snapshot)>,
    /// The last snapshot that was written, and when.
    written: Option<(Mono, Snapshot)>,
    ticks: Option<u64>,
    dumps: u64,
    groups: u64,
    words: Words,
    doubt: Option<doubt::Doubt>,
}

impl Journal {
    /// A journal at the start of a run.
    #[must_use]
    pub fn new(stderr: Stderr, sched_log: SchedLog) -> Self {
        Self {
            stderr,
            sched_log,
            counts: Counts::default(),
            ring: VecDeque::new(),
            written: None,
            ticks: None,
            dumps: 0,
            groups: 0,
            words: Words::new(),
            doubt: None,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The last snapshots that are not in the log, with the time of their arrival, oldest first.
    pub fn ring(&self) -> impl Iterator<Item = &(Now, Snapshot)> {
        self.ring.iter()
    }

    /// Writes out the ring, at a stall or a bad end, and empties it.
    pub fn pour_ring(&mut self, outbox: &mut Outbox) {
        for (now, snapshot) in self.ring.drain(..) {
            outbox.post(now.wall, Class::Debug, &sched(&snapshot, None));
        }
    }

    /// Writes one entry.
    pub fn write(&mut self, now: Now, entry: &Entry<'_>, outbox: &mut Outbox) {
        if self.doubts(now, entry, outbox) {
            return;
        }
        match entry {
            Entry::Text(line) => self.text(now, line, outbox),
            Entry::Json(object) => self.json(now, object, outbox),
            Entry::Sched(snapshot) => self.sched(now, snapshot, outbox),
            Entry::Damaged(bytes) => {
                self.counts.damaged = self.counts.damaged.saturating_add(1);
                self.wrap(now, &Text::line(bytes), false, outbox);
            }
            Entry::Init(trace) => outbox.post(now.wall, Class::Debug, &init(trace)),
            Entry::Gc(trace, more) => outbox.post(now.wall, Class::Debug, &gc(trace, more)),
            Entry::Crash(head) => {
                outbox.post(now.wall, Class::Vital, &panic(head).put("panic.proven", true));
            }
            Entry::Goroutines(group) => {
                self.groups = self.groups.saturating_add(1);
                if self.groups <= GROUPS {
                    let record = goroutines(group)
                        .put("goinit.part.id", format!("dump-{}", self.dumps.saturating_add(1)))
                        .put("goinit.part.index", self.groups);
                    outbox.post(now.wall, Class::Line, &record);
                }
            }
            Entry::DumpEnd(totals) => {
                let left_out = self.groups.saturating_sub(GROUPS);
                self.groups = 0;
                self.dumps = self.dumps.saturating_add(1);
                outbox.post(now.wall, Class::Line, &dump_end(totals, left_out, self.dumps));
            }
        }
    }

    fn sched(&mut self, now: Now, snapshot: &Snapshot, outbox: &mut Outbox) {
        self.counts.sched_lines = self.counts.sched_lines.saturating_add(1);
        let ticks: u64 = snapshot.schedticks.iter().map(|tick| u64::from(*tick)).sum();
        let delta = self.ticks.and_then(|before| ticks.checked_sub(before));
        self.ticks = (!snapshot.schedticks.is_empty()).then_some(ticks);
        let due = match (self.sched_log, &self.written) {
            (SchedLog::Off, _) => false,
            (SchedLog::All, _) | (SchedLog::Change, None) => true,
            (SchedLog::Change, Some((at, last))) => {
                now.mono.since(*at) >= EVERY || differs(last, snapshot)
            }
        };
        if !due {
            // What is in the log already need not be there twice.
            if self.ring.len() >= RING {
                self.ring.pop_front();
            }
            self.ring.push_back((now, snapshot.clone()));
        }
        if due {
            self.written = Some((now.mono, snapshot.clone()));
            outbox.post(now.wall, Class::Snapshot, &sched(snapshot, delta));
        }
    }

    fn json(&mut self, now: Now, object: &Object<'_>, outbox: &mut Outbox) {
        let line = object.bytes;
        let forged = object.familiar && forged(line);
        self.counts.forged_suspects = self.counts.forged_suspects.saturating_add(u64::from(forged));
        if forged || self.stderr == Stderr::Wrap {
            return self.wrap(now, &Text::line(line), forged, outbox);
        }
        self.counts.child_lines = self.counts.child_lines.saturating_add(1);
        pass(line, true, outbox);
    }

    fn text(&mut self, now: Now, line: &Text<'_>, outbox: &mut Outbox) {
        if self.stderr == Stderr::Raw {
            let whole = u64::from(!line.continues);
            self.counts.child_lines = self.counts.child_lines.saturating_add(whole);
            return pass(line.bytes, !line.continued, outbox);
        }
        self.wrap(now, line, false, outbox);
    }

    /// Writes a line as one record, or as several when it is too long for one.
    fn wrap(&mut self, now: Now, line: &Text<'_>, forged: bool, outbox: &mut Outbox) {
        let whole = u64::from(!line.continues);
        self.counts.child_lines = self.counts.child_lines.saturating_add(whole);
        let severity = self.words.severity(line.bytes);
        let class = if severity == Severity::Debug { Class::Debug } else { Class::Line };
        // Nearly every line is UTF-8, and to find that out costs less than to look for what is not.
        let words = match std::str::from_utf8(line.bytes) {
            Ok(words) => Cow::Borrowed(words),
            Err(_) => String::from_utf8_lossy(line.bytes),
        };
        let lossy = matches!(words, Cow::Owned(_));
        let mut rest: &str = &words;
        let mut continues = line.continues;
        loop {
            let end = piece(rest);
            let (part, later) = rest.split_at_checked(end).unwrap_or((rest, ""));
            let continued = line.continued || !later.is_empty();
            outbox.write(class, |frame, out| {
                frame.line(now.wall, severity, part, out);
                if !(continues || continued || line.partial || lossy || forged) {
                    return out.extend_from_slice(b"},\"child\":{\"stream\":\"stderr\"}}\n");
                }
                out.extend_from_slice(b"},\"child\":{\"stream\":\"stderr\"");
                for (flag, key) in [
                    (continues, &b",\"continues\":true"[..]),
                    (continued, b",\"continued\":true"),
                    (line.partial && later.is_empty(), b",\"partial\":true"),
                    (true, b"}"),
                    (lossy, b",\"lossy\":true"),
                    (forged, b",\"forged\":true"),
                ] {
                    if flag {
                        out.extend_from_slice(key);
                    }
                }
                out.extend_from_slice(b"}\n");
            });
            if later.is_empty() {
                return;
            }
            continues = true;
            rest = later;
        }
    }
}

/// Passes bytes on as they are.
fn pass(bytes: &[u8], newline: bool, outbox: &mut Outbox) {
    outbox.write(Class::Line, |_, out| {
        out.extend_from_slice(bytes);
        if newline {
            out.push(b'\n');
        }
    });
}

/// How much of `words` fits into one record once it is escaped.
fn piece(words: &str) -> usize {
    // A byte takes six at most: `\u001b`.
    if words.len() <= PIECE / 6 {
        return words.len();
    }
    let mut cost = 0usize;
    for (at, byte) in words.bytes().enumerate() {
        cost = cost.saturating_add(match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
            0..=0x1f => 6,
            _ => 1,
        });
        if cost > PIECE && words.is_char_boundary(at) {
            return at;
        }
    }
    words.len()
}

/// Words that are looked for in every line, ready to be found.
#[derive(Debug)]
struct Words {
    level: Finder<'static>,
}

impl Words {
    fn new() -> Self {
        Self { level: Finder::new(b"level=") }
    }

    /// The severity that a line of text states: a klog head (`E1124 …`) or `level=error`.
    fn severity(&self, line: &[u8]) -> Severity {
        if let [letter @ (b'E' | b'W' | b'F'), digits @ ..] = line
            && digits.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
            && digits.get(4) == Some(&b' ')
        {
            return if *letter == b'W' { Severity::Warn } else { Severity::Error };
        }
        let head = line.get(..256).unwrap_or(line);
        let Some(at) = self.level.find(head) else { return Severity::Info };
        let word = head.get(at.saturating_add(6)..).unwrap_or_default();
        let word = word.strip_prefix(b"\"").unwrap_or(word);
        let starts = |name: &[u8]| {
            word.get(..name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name))
        };
        if [&b"err"[..], b"fatal", b"panic", b"crit"].into_iter().any(starts) {
            Severity::Error
        } else if starts(b"warn") {
            Severity::Warn
        } else if starts(b"debug") || starts(b"trace") {
            Severity::Debug
        } else {
            Severity::Info
        }
    }
}

/// Whether a JSON line imitates a record of goinit: a key `goinit`, or an `event_name` of ours.
fn forged(line: &[u8]) -> bool {
    let mut found = false;
    let _ = json::members(line, |key, value| {
        let key = plain(key);
        let ours = key == "event_name" && {
            let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            let value = plain(value.unwrap_or_default());
            value.starts_with("goinit.") || value.starts_with("go.")
        };
        found |= key == "goinit" || ours;
    });
    found
}

/// A JSON string's text without its `\uXXXX` escapes of ASCII, the only ones that can hide a name.
fn plain(raw: &[u8]) -> Cow<'_, str> {
    let raw = String::from_utf8_lossy(raw);
    if !raw.contains("\\u") {
        return raw;
    }
    let mut text = String::new();
    let mut pieces = raw.split("\\u");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let code = piece.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        text.extend(code.and_then(char::from_u32));
        text.push_str(piece.get(4..).unwrap_or_default());
    }
    Cow::Owned(text)
}

/// Whether the picture changed: busy or idle, work queued or not, threads by a quarter.
fn differs(last: &Snapshot, new: &Snapshot) -> bool {
    let queued = |s: &Snapshot| s.runqueue > 0 || s.local.iter().any(|n| *n > 0);
    let idle = |s: &Snapshot| s.idleprocs == s.gomaxprocs;
    let threads = u64::from(last.threads.abs_diff(new.threads)).saturating_mul(4);
    idle(last) != idle(new)
        || queued(last) != queued(new)
        || threads > u64::from(last.threads)
        || last.gomaxprocs != new.gomaxprocs
        || last.gcwaiting != new.gcwaiting
}

/// The record of a snapshot.
#[must_use]
pub fn sched(snapshot: &Snapshot, ticks_delta: Option<u64>) -> Record {
    let sum: u64 = snapshot.local.iter().map(|n| u64::from(*n)).sum();
    let message = format!(
        "sched {}ms: procs {} idle {}, threads {} idle {}, runq {}+{sum}",
        snapshot.uptime_ms,
        snapshot.gomaxprocs,
        snapshot.idleprocs,
        snapshot.threads,
        snapshot.idlethreads,
        snapshot.runqueue
    );
    let mut record = Record::new(Severity::Debug, "go.sched", Origin::Runtime, message)
        .put("sched.uptime_ms", snapshot.uptime_ms)
        .put("sched.gomaxprocs", snapshot.gomaxprocs)
        .put("sched.idleprocs", snapshot.idleprocs)
        .put("sched.threads", snapshot.threads)
        .put("sched.spinningthreads", snapshot.spinningthreads)
        .put_some("sched.needspinning", snapshot.needspinning)
        .put("sched.idlethreads", snapshot.idlethreads)
        .put("sched.runqueue", snapshot.runqueue);
    if !snapshot.local.is_empty() {
        let longest = snapshot.local.iter().copied().max().unwrap_or(0);
        // With hundreds of Ps the sums have to do: a record has a size limit.
        let lists = snapshot.local.len() <= 256;
        record = record
            .put("sched.runq_local", if lists { snapshot.local.clone() } else { Vec::new() })
            .put("sched.runq_local_sum", sum)
            .put("sched.runq_local_max", longest)
            .put("sched.schedticks", if lists { snapshot.schedticks.clone() } else { Vec::new() })
            .put_some("sched.ticks_delta", ticks_delta);
    }
    record = record
        .put_some("sched.gcwaiting", snapshot.gcwaiting)
        .put_some("sched.stopwait", snapshot.stopwait)
        .put("sched.more", snapshot.more.clone());
    let Some(detail) = &snapshot.detail else { return record };
    record
        .put("sched.goroutines", detail.goroutines)
        .put("sched.timers", detail.timers)
        .put_some("lossy", detail.partial.then_some(true))
        .put_some("sched.main_status", detail.main_status)
        .put_some("sched.main_reason", detail.main_reason.clone())
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn init(trace: &InitTrace<'_>) -> Record {
    let package = lossy(trace.package);
    let message = format!(
        "init {package} @{}ms {}ms {}B {} allocs",
        trace.at_ms, trace.duration_ms, trace.bytes, trace.allocs
    );
    Record::new(Severity::Debug, "go.init", Origin::Runtime, message)
        .put("init.package", package)
        .put("init.at_ms", trace.at_ms)
        .put("init.duration_ms", trace.duration_ms)
        .put("init.bytes", trace.bytes)
        .put("init.allocs", trace.allocs)
        .put("init.more", lossy(trace.more))
}

fn gc(trace: &GcTrace, more: &[u8]) -> Record {
    let message = format!(
        "gc {}: heap {}->{}->{} MB, goal {} MB, {}% of cpu",
        trace.cycle,
        trace.heap_before_mb,
        trace.heap_after_mb,
        trace.heap_live_mb,
        trace.goal_mb,
        trace.cpu_percent
    );
    Record::new(Severity::Debug, "go.gc", Origin::Runtime, message)
        .put("gc.cycle", trace.cycle)
        .put("gc.at_ms", trace.at_ms)
        .put("gc.cpu_percent", trace.cpu_percent)
        .put("gc.pause_ms", trace.pause_ms)
        .put("gc.mark_ms", trace.mark_ms)
        .put("gc.heap_before_mb", trace.heap_before_mb)
        .put("gc.heap_after_mb", trace.heap_after_mb)
        .put("gc.heap_live_mb", trace.heap_live_mb)
        .put("gc.goal_mb", trace.goal_mb)
        .put("gc.stacks_mb", trace.stacks_mb)
        .put("gc.globals_mb", trace.globals_mb)
        .put("gc.procs", trace.procs)
        .put("gc.forced", trace.forced)
        .put("gc.more", lossy(more))
}

fn panic(head: &CrashHead<'_>) -> Record {
    let word = head.kind.word();
    let message = format!("{word}: {}", lossy(head.first_line()));
    Record::new(Severity::Error, "go.panic", Origin::Runtime, message)
        .put("panic.kind", word)
        .put("panic.text", lossy(head.message))
        .put("panic.signal", head.signal.map(lossy).unwrap_or_default())
        .put("panic.lead", head.lead.map(lossy).unwrap_or_default())
        .put("panic.chained", head.chained)
}

fn frame(frame: Frame<'_>) -> String {
    let (mut text, place) = (lossy(frame.function), lossy(frame.place));
    if !place.is_empty() {
        text.push(' ');
        text.push_str(&place);
    }
    let _ = super::record::shorten(&mut text, 240);
    text
}

fn short(words: &[u8]) -> String {
    let mut text = lossy(words);
    let _ = super::record::shorten(&mut text, 240);
    text
}

fn goroutines(group: &Group<'_>) -> Record {
    let state = lossy(group.state());
    // How the runtime parks a goroutine says nothing; what called for it does.
    let own = |frame: &Frame<'_>| frame.function.starts_with(b"runtime.");
    let telling = group.frames().skip_while(own).map(|f| lossy(f.function)).take(2);
    let mut functions: Vec<String> = telling.collect();
    if functions.is_empty() {
        functions = group.frames().take(2).map(|f| lossy(f.function)).collect();
    }
    let message = format!("goroutines: {} x [{state}] {}", group.count(), functions.join(" <- "));
    // Long frames leave room for fewer of them below the size limit of a record.
    let mut room = 5_000usize;
    let mut fits = |text: &String| {
        room = room.saturating_sub(text.len());
        room > 0
    };
    let frames = abridged(group.frames().map(frame).collect(), FRAMES, "...".to_owned());
    let frames: Vec<String> = frames.into_iter().take_while(&mut fits).collect();
    let ancestors: Vec<String> = group.ancestors().map(short).take_while(fits).collect();
    Record::new(Severity::Error, "go.goroutines", Origin::Runtime, message)
        .put("goroutines.count", group.count())
        .put("goroutines.state", state)
        .put("goroutines.wait_minutes_max", group.wait_minutes_max())
        .put("goroutines.locked", group.locked())
        .put_some("goroutines.first_id", group.first_ids().first().copied())
        .put("goroutines.labels", group.labels().map(lossy).unwrap_or_default())
        .put("goroutines.remarks", group.remarks().map(lossy).unwrap_or_default())
        .put("goroutines.frames", frames)
        .put("goroutines.created_by", group.created_by().map(frame).unwrap_or_default())
        .put("goroutines.ancestors", ancestors)
}

fn dump_end(totals: &Totals, left_out: u64, number: u64) -> Record {
    let message = match totals.goroutines {
        0 => "dump: no goroutines".to_owned(),
        1 => "dump: 1 goroutine".to_owned(),
        count => format!("dump: {count} goroutines, groups: {}", totals.groups),
    };
    Record::new(Severity::Error, "go.goroutines", Origin::Runtime, message)
        .put("goinit.part.id", format!("dump-{number}"))
        .put("goroutines.total", totals.goroutines)
        .put("goroutines.groups", totals.groups)
        .put("goroutines.groups_left_out", left_out)
        .put("goroutines.ungrouped", totals.ungrouped)
        .put("goroutines.bytes", totals.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(stderr: Stderr, entries: &[Entry<'_>]) -> String {
        let mut outbox = Outbox::new(1);
        let mut journal = Journal::new(stderr, SchedLog::Change);
        for entry in entries {
            journal.write(Now::default(), entry, &mut outbox);
        }
        outbox.records().map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn a_line_of_text_becomes_a_record_with_the_severity_it_states() {
        for (line, word) in [
            ("hello", "INFO"),
            ("E1124 10:00:00.000000 1 x.go:3] bad", "ERROR"),
            ("W1124 10:00:00.000000 1 x.go:3] hm", "WARN"),
            ("time=x level=debug msg=y", "DEBUG"),
            ("ts=1 level=ERROR msg=y", "ERROR"),
        ] {
            let written = log(Stderr::Auto, &[Entry::Text(Text::line(line.as_bytes()))]);
            assert!(written.contains(&format!("\"severity\":\"{word}\"")), "{line}: {written}");
            assert!(written.contains(line) && written.contains("child.line"));
        }
    }

    fn object(line: &str) -> Entry<'_> {
        Entry::Json(json::object(line.as_bytes()).unwrap())
    }

    #[test]
    fn json_passes_unchanged_unless_it_imitates_our_records() {
        let honest = r#"{"level":"info","nested":{"goinit":1},"event_name":"gone"}"#;
        assert_eq!(log(Stderr::Auto, &[object(honest)]), format!("{honest}\n"));
        assert!(log(Stderr::Wrap, &[object(honest)]).contains("child.line"));
        for line in [
            r#"{"goinit":{"seq":1}}"#,
            r#"{"event_name":"goinit.exit"}"#,
            r#"{"event_name":"go.sched"}"#,
            r#"{"\u0067oinit":1}"#,
            r#"{"event\u005fname":"g\u006f.sched"}"#,
        ] {
            let written = log(Stderr::Auto, &[object(line)]);
            assert!(written.contains("\"forged\":true"), "{line}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_replaced_and_marked() {
        let written = log(Stderr::Auto, &[Entry::Text(Text::line(b"caf\xe9"))]);
        assert!(written.contains("caf\u{fffd}") && written.contains("\"lossy\":true"));
    }

    #[test]
    fn a_long_line_becomes_several_records_below_the_hard_limit() {
        for line in ["\u{1b}".repeat(20_000), "é".repeat(20_000)] {
            let written = log(Stderr::Auto, &[Entry::Text(Text::line(line.as_bytes()))]);
            assert!(written.lines().all(|record| record.len() < super::super::record::HARD_LIMIT));
            assert!(written.lines().count() > 4 && written.contains("\"continued\":true"));
        }
    }

    #[test]
    fn snapshots_are_thinned_to_changes_and_kept_in_the_ring() {
        let quiet = Snapshot { gomaxprocs: 2, idleprocs: 2, threads: 4, ..Snapshot::default() };
        let busy = Snapshot { idleprocs: 0, ..quiet.clone() };
        let entries: Vec<_> =
            [&quiet, &quiet, &busy, &busy].map(|s| Entry::Sched(s.clone())).into_iter().collect();
        assert_eq!(log(Stderr::Auto, &entries).lines().count(), 2);
        let (mut outbox, mut journal) = (Outbox::new(1), Journal::new(Stderr::Auto, SchedLog::Off));
        for _ in 0..100 {
            journal.write(Now::default(), &Entry::Sched(quiet.clone()), &mut outbox);
        }
        assert!(outbox.is_empty() && journal.ring().count() == RING);
    }
}
