//! What a piece of the program's stderr turned out to be. Nothing here is an error: what is not
//! understood is [`Entry::Text`], byte for byte.

use super::crash::CrashHead;
use super::dump::{Group, Totals};
use super::gc::GcTrace;
use super::init::InitTrace;
use super::snapshot::Snapshot;

/// One entry of the stream. Bytes are borrowed from the input or from the assembler, so an entry
/// lives only during the call that hands it out.
#[derive(Debug)]
pub enum Entry<'a> {
    /// A whole scheduler snapshot: one heartbeat.
    Sched(Snapshot),
    /// A snapshot of which pieces are missing or cannot be told from another runtime's. The
    /// bytes are what could be attributed to it.
    Damaged(&'a [u8]),
    /// A package's initialisation has finished.
    Init(InitTrace<'a>),
    /// A garbage collection has finished; the bytes are what no known version prints.
    Gc(GcTrace, &'a [u8]),
    /// The first words of a crash or of a dump on request.
    Crash(CrashHead<'a>),
    /// Goroutines with equal stacks; all groups come at the end of a dump, largest first.
    Goroutines(Group<'a>),
    /// The dump's figures, after its groups.
    DumpEnd(Totals),
    /// A line of the program, or a piece of one.
    Text(Text<'a>),
    /// A line of the program that is one whole JSON object.
    Json(Object<'a>),
}

/// A line that is one whole JSON object, without its newline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Object<'a> {
    /// The line as it came.
    pub bytes: &'a [u8],
    /// One of its own keys is a word of goinit's records (`goinit`, `event_name`), or is written
    /// with escapes and may be one.
    pub familiar: bool,
}

/// A line of text without its newline, or a piece of a line that is longer than the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a> {
    /// The bytes as they came; any bytes but newline.
    pub bytes: &'a [u8],
    /// Not the first piece of its line.
    pub continues: bool,
    /// Not the last piece of its line: more follows.
    pub continued: bool,
    /// The stream ended without a newline.
    pub partial: bool,
}

impl<'a> Text<'a> {
    /// A whole line.
    #[must_use]
    pub fn line(bytes: &'a [u8]) -> Self {
        Self { bytes, ..Self::default() }
    }
}
