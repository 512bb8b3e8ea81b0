//! A captured log, read afterwards: any program's stderr, goinit's own log, or both mixed, as
//! collectors keep it. Bytes in, one [`Story`] for each run out, and its verdict by the rules of
//! the live run. Memory does not grow with the log.

pub mod capture;
mod clock;
mod evidence;
mod judge;
pub mod own;
mod series;
mod story;

pub use clock::Clock;
pub use evidence::Testimony;
pub use judge::{Given, Told, verdict};
pub use series::{Point, Series};
pub use story::{Exit, Gc, Moment, Own, Package, Said, Stack, Story};

use crate::go::line::{Assembler, Framing};
use crate::units::Wall;
use capture::{Decoder, Margin, Stream, Unwrapped, is_bare, unwrap};
use own::{Order, Record, order};

/// A line that may be wrapped and is longer than this is taken as it is.
const LINE: usize = 256 * 1024;
/// Pods and containers that are told apart in one file; the lines of others go to the last.
const SOURCES: usize = 256;
/// Runs of one source that are kept, the newest.
const RUNS: usize = 16;

/// One stream of one source.
#[derive(Debug)]
struct Lane {
    assembler: Assembler,
    /// Pieces of a line that a collector has cut.
    pieces: Vec<u8>,
    /// The line in pieces is too long to be held: its pieces pass.
    passing: bool,
}

impl Lane {
    fn new() -> Self {
        let assembler = Assembler::new(Framing::Stream);
        Self { assembler, pieces: Vec::new(), passing: false }
    }
}

/// What can be taken back when records turn out to be forged.
#[derive(Debug)]
struct Shadow {
    seq: u64,
    told: Option<Told>,
    stall: Option<(String, u64)>,
    exit: Exit,
}

/// One container's log: its runs, oldest first.
#[derive(Debug)]
pub struct Source {
    /// `pod/api-7d9f/migrate`; empty when nobody says.
    pub name: String,
    /// The runs that are kept; the last one is the newest.
    pub runs: Vec<Story>,
    /// Older runs that are not kept.
    pub runs_left_out: u64,
    stderr: Lane,
    stdout: Lane,
    /// The stream on which goinit's records come.
    records_on: Option<Stream>,
    /// Whether a record may begin a run in its middle: a file has just begun.
    boundary: bool,
    shadow: Option<Shadow>,
    /// A run whose beginning was not seen: its last number, and how many came in order.
    candidate: Option<(String, u64, u64)>,
}

impl Source {
    fn new(name: &[u8]) -> Self {
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            runs: vec![Story::default()],
            runs_left_out: 0,
            stderr: Lane::new(),
            stdout: Lane::new(),
            records_on: None,
            boundary: true,
            shadow: None,
            candidate: None,
        }
    }

    /// Feeds the bytes of the program on one stream.
    fn bytes(&mut self, stream: Stream, wall: Option<Wall>, bytes: &[u8]) {
        let lane = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        let Some(story) = self.runs.last_mut() else { return };
        lane.assembler.feed(bytes, &mut |entry| story.entry(wall, &entry));
    }

    /// Takes a line out of its wrapping; a cut one when its last piece has come.
    fn wrapped(&mut self, found: &Unwrapped<'_>) {
        let stream = found.stream;
        let lane = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        let long = lane.pieces.len().saturating_add(found.text.len()) > LINE;
        if lane.passing || long {
            let mut pieces = std::mem::take(&mut lane.pieces);
            lane.passing = !found.ended;
            pieces.extend_from_slice(&found.text);
            if found.ended {
                pieces.push(b'\n');
            }
            return self.bytes(stream, found.wall, &pieces);
        }
        lane.pieces.extend_from_slice(&found.text);
        if !found.ended {
            return;
        }
        let mut line = std::mem::take(&mut lane.pieces);
        if !own::parse(&line).is_some_and(|record| self.record(stream, &record)) {
            line.push(b'\n');
            self.bytes(stream, found.wall, &line);
        }
        line.clear();
        let lane = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        lane.pieces = line;
    }

    /// Takes one of goinit's records; false = it is none, whatever it looks like.
    fn record(&mut self, stream: Stream, record: &Record) -> bool {
        let boundary = std::mem::take(&mut self.boundary);
        if *self.records_on.get_or_insert(stream) != stream {
            self.suspect(1);
            return false;
        }
        self.unmask(record);
        let Some(story) = self.runs.last_mut() else { return false };
        match &mut story.own {
            None => story.own = Some(begun(record)),
            Some(own) if own.run == record.run => match order(own, record.seq) {
                Order::Next => {}
                Order::After(lost) => {
                    self.shadow = Some(Shadow {
                        seq: own.seq,
                        told: story.told.clone(),
                        stall: story.stall.clone(),
                        exit: story.exit.clone(),
                    });
                    own.lost = own.lost.saturating_add(lost);
                }
                Order::Repeated => {
                    own.suspects = own.suspects.saturating_add(1);
                    return true;
                }
            },
            Some(own) => {
                if record.seq != 1 && !boundary && !follows(&mut self.candidate, record) {
                    own.suspects = own.suspects.saturating_add(1);
                    return true;
                }
                self.shadow = None;
                self.runs.push(Story { own: Some(begun(record)), ..Story::default() });
                if self.runs.len() > RUNS {
                    self.runs.remove(0);
                    self.runs_left_out = self.runs_left_out.saturating_add(1);
                }
            }
        }
        self.candidate = None;
        let Some(story) = self.runs.last_mut() else { return false };
        if let Some(own) = &mut story.own {
            own.seq = record.seq;
            own.records = own.records.saturating_add(1);
        }
        own::take(story, record);
        true
    }

    /// A record that goes on where the run was before somebody jumped ahead, or began another
    /// run while it lasted, shows that the records between were forged.
    fn unmask(&mut self, record: &Record) {
        if let (Some(shadow), Some(story)) = (&self.shadow, self.runs.last_mut())
            && let Some(own) = &mut story.own
            && own.run == record.run
            && record.seq == shadow.seq.saturating_add(1)
            && own.seq > record.seq
        {
            own.suspects = own.suspects.saturating_add(1);
            own.lost = own.lost.saturating_sub(own.seq.saturating_sub(record.seq));
            own.seq = shadow.seq;
            story.told = shadow.told.clone();
            story.stall = shadow.stall.clone();
            story.exit = shadow.exit.clone();
            self.shadow = None;
        }
        let [.., before, last] = self.runs.as_slice() else { return };
        let goes_on = before
            .own
            .as_ref()
            .is_some_and(|own| own.run == record.run && order(own, record.seq) == Order::Next);
        if goes_on && before.exit == Exit::default() {
            let forged = last.own.as_ref().map_or(0, |own| own.records);
            self.runs.pop();
            self.suspect(forged);
        }
    }

    fn suspect(&mut self, count: u64) {
        if let Some(own) = self.runs.last_mut().and_then(|story| story.own.as_mut()) {
            own.suspects = own.suspects.saturating_add(count);
        }
    }

    fn end(&mut self) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let lane = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
            let rest = std::mem::take(&mut lane.pieces);
            self.bytes(stream, None, &rest);
        }
        let Some(story) = self.runs.last_mut() else { return };
        self.stderr.assembler.end(&mut |entry| story.entry(None, &entry));
        self.stdout.assembler.end(&mut |entry| story.entry(None, &entry));
    }
}

/// Whether a run that began out of sight is real: several of its records came in order, with none
/// of another run between.
fn follows(candidate: &mut Option<(String, u64, u64)>, record: &Record) -> bool {
    const ENOUGH: u64 = 3;
    let count = match candidate {
        Some((run, seq, count)) if *run == record.run && seq.checked_add(1) == Some(record.seq) => {
            count.saturating_add(1)
        }
        Some(_) | None => 1,
    };
    *candidate = Some((record.run.clone(), record.seq, count));
    count >= ENOUGH
}

/// A run that begins with this record, for the reader at least.
fn begun(record: &Record) -> Own {
    Own { run: record.run.clone(), headless: record.seq > 1, ..Own::default() }
}

/// Reads a captured log.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    sources: Vec<Source>,
    /// The beginning of a line that may be wrapped.
    rest: Vec<u8>,
    /// The end of a bare line is still to come.
    inside: bool,
    /// What stands before each line of the file.
    margin: Margin,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// A reader at the start of a log.
    #[must_use]
    pub fn new() -> Self {
        let sources = vec![Source::new(b"")];
        let (decoder, rest, margin) = (Decoder::default(), Vec::new(), Margin::Unknown);
        Self { decoder, sources, rest, inside: false, margin }
    }

    /// Takes bytes of the log, cut anywhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.decoder.is_plain() {
            return self.text(bytes);
        }
        let mut decoded = Vec::new();
        self.decoder.feed(bytes, &mut decoded);
        self.text(&decoded);
    }

    /// One file of the log has ended and another follows.
    pub fn next_file(&mut self) {
        self.end_file();
        self.decoder = Decoder::default();
        for source in &mut self.sources {
            source.boundary = true;
        }
    }

    /// The log has ended: its containers, those without anything in them left out.
    #[must_use]
    pub fn end(mut self) -> Vec<Source> {
        self.end_file();
        for source in &mut self.sources {
            source.end();
        }
        let empty = |source: &Source| source.runs.iter().all(|story| story.moments.is_empty());
        let some = self.sources.iter().any(|source| !empty(source));
        self.sources.retain(|source| !empty(source) || (!some && source.name.is_empty()));
        self.sources
    }

    fn end_file(&mut self) {
        let mut decoded = Vec::new();
        self.decoder.end(&mut decoded);
        self.text(&decoded);
        if !self.rest.is_empty() {
            let line = std::mem::take(&mut self.rest);
            self.line(&line);
        }
        self.inside = false;
        self.margin = Margin::Unknown;
    }

    fn text(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            if self.inside {
                let end = memchr::memchr(b'\n', bytes);
                self.inside = end.is_none();
                bytes = self.pass(bytes, end.map_or(bytes.len(), |at| at.saturating_add(1)));
            } else if self.margin == Margin::None && self.rest.is_empty() && is_bare(*first) {
                let end = bare(bytes);
                self.inside = bytes.get(end.saturating_sub(1)) != Some(&b'\n');
                bytes = self.pass(bytes, end);
            } else {
                bytes = self.whole(bytes);
            }
        }
    }

    /// Passes bytes that are bare for sure; gives what is left.
    fn pass<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        let (now, later) = bytes.split_at_checked(count).unwrap_or((bytes, b""));
        if let Some(source) = self.sources.first_mut() {
            source.bytes(Stream::Unknown, None, now);
        }
        later
    }

    /// Gathers a line that may be wrapped and takes it; gives what is left.
    fn whole<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.rest.extend_from_slice(bytes);
            if self.rest.len() > LINE {
                let rest = std::mem::take(&mut self.rest);
                let _ = self.pass(&rest, rest.len());
                self.inside = true;
            }
            return b"";
        };
        let (line, later) = bytes.split_at_checked(end.saturating_add(1)).unwrap_or((bytes, b""));
        if self.rest.is_empty() {
            self.line(line);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(line);
            self.line(&rest);
            rest.clear();
            self.rest = rest;
        }
        later
    }

    /// One whole line, with its newline unless it is the file's last.
    fn line(&mut self, line: &[u8]) {
        if self.margin == Margin::Unknown {
            self.margin = Margin::of(line);
        }
        let (name, line) = self.margin.cut(line);
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        if !name.is_empty() {
            let found = Unwrapped {
                source: name,
                stream: Stream::Unknown,
                wall: None,
                text: bare.into(),
                ended: true,
            };
            if let Some(source) = self.source(name) {
                source.wrapped(&found);
            }
            return;
        }
        if let Some(found) = unwrap(bare) {
            if let Some(source) = self.source(found.source) {
                source.wrapped(&found);
            }
            return;
        }
        let Some(source) = self.sources.first_mut() else { return };
        if !own::parse(bare).is_some_and(|record| source.record(Stream::Unknown, &record)) {
            source.bytes(Stream::Unknown, None, line);
        }
    }

    fn source(&mut self, name: &[u8]) -> Option<&mut Source> {
        let known = self.sources.iter().position(|source| source.name.as_bytes() == name);
        if known.is_none() && self.sources.len() < SOURCES {
            self.sources.push(Source::new(name));
        }
        let last = self.sources.len().saturating_sub(1);
        self.sources.get_mut(known.unwrap_or(last))
    }
}

/// How many bytes at the start are bare lines, the last one perhaps cut.
fn bare(bytes: &[u8]) -> usize {
    let mut at = 0usize;
    while let Some(first) = bytes.get(at) {
        if !is_bare(*first) {
            break;
        }
        match bytes.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            Some(end) => at = at.saturating_add(end).saturating_add(1),
            None => return bytes.len(),
        }
    }
    at
}

#[cfg(test)]
mod tests;
