//! One record or line of the runtime in progress, put together from packets.

use super::pieces::{Pieces, number};
use super::sched::Lane;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

/// A record that made no progress while so many others went by from end to end belongs to a
/// runtime that has ended in the middle of it, or that is stopped.
pub(super) const STALE: u32 = 3;
/// The same where several writes come in one read, and in a stream.
const MIXED: u32 = 5;
/// The same of lines behind a detailed record, and all lines that went by.
const LISTED: u32 = 40;
/// After so many it is given up.
pub(super) const GIVEN_UP: u32 = 32;

/// What is in progress.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// The figures of a `SCHED` line.
    Record(Box<Lane>),
    /// Any other line that is printed piece by piece.
    Line(Pieces),
}

/// A record or a line in progress, or complete and not handed out yet.
#[derive(Clone, Debug)]
pub(super) struct Strand {
    /// Shared by the worlds that have read the same: nearly all of them have.
    pub(super) body: Rc<Body>,
    /// A piece could have belonged to another one as well.
    pub(super) doubtful: bool,
    /// Some of its figures may have been exchanged with another's.
    pub(super) blurred: bool,
    /// Others were printed where its own runtime would have made them wait: if it goes on, there
    /// are two runtimes, and if not, its runtime has ended.
    pub(super) crossed: bool,
    /// It was complete for a while before it was known to be: what was handed out meanwhile may
    /// have come after it.
    pub(super) late: bool,
    /// A record of another was in progress at the same time.
    pub(super) beside: bool,
    /// It was in progress when several writes came in one read.
    pub(super) mixed: bool,
    /// Its last piece is a figure; then, and with a line of somebody right behind it, which it may
    /// be the beginning of.
    pub(super) figure: bool,
    pub(super) hangs: bool,
    /// Its place in the order of beginnings.
    pub(super) number: u64,
    /// Whole records of others seen since the last piece.
    pub(super) waited: u32,
    /// Whole records and lines of others seen since the last piece.
    passed: u32,
    /// Lines of a stream since the last piece.
    aged: u32,
    /// A sum over its pieces (FNV-1a), so that unequal ones are told apart quickly.
    mark: u64,
}

impl Strand {
    pub(super) fn new(body: Body, number: u64) -> Self {
        let opener = match &body {
            Body::Record(lane) => lane.raw(),
            Body::Line(line) => line.text(),
        };
        let mark = hashed(0xcbf2_9ce4_8422_2325, opener);
        Self {
            body: Rc::new(body),
            doubtful: false,
            crossed: false,
            late: false,
            blurred: false,
            beside: false,
            mixed: false,
            figure: false,
            hangs: false,
            number,
            waited: 0,
            passed: 0,
            aged: 0,
            mark,
        }
    }

    /// A record of which only `SCHED ` is known.
    pub(super) fn record(number: u64) -> Self {
        Self::new(Body::Record(Box::new(Lane::new())), number)
    }

    /// Whether it is in progress at all, as far as one knows. A thread that prints a line can be
    /// kept waiting while another prints records, but those behind a detailed record are printed
    /// by the same.
    pub(super) fn fresh(&self) -> bool {
        match &*self.body {
            Body::Line(line) if !line.detail() => true,
            Body::Line(_) => self.waited < STALE && self.passed < LISTED,
            // As a stream it is told from the others well enough to wait a bit longer.
            Body::Record(_) if self.mixed => self.waited < MIXED,
            Body::Record(_) => self.waited < STALE,
        }
    }

    /// Another one is complete.
    pub(super) fn pass(&mut self, other: &Self) {
        self.waited = self.waited.saturating_add(u32::from(other.is_record()));
        self.passed = self.passed.saturating_add(1);
    }

    pub(super) fn is_record(&self) -> bool {
        matches!(&*self.body, Body::Record(_))
    }

    /// A line of a stream has ended.
    pub(super) fn age(&mut self) {
        self.aged = self.aged.saturating_add(1);
    }

    /// Whether so many lines of a stream went by that it is given up.
    pub(super) fn aged(&self) -> bool {
        self.aged >= GIVEN_UP
    }

    /// How many bytes can be its next piece.
    pub(super) fn pieces<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let lane = match &*self.body {
            Body::Record(lane) => Some(lane),
            Body::Line(_) => None,
        };
        lane.into_iter().flat_map(|lane| lane.pieces(bytes))
    }

    /// How many bytes can be the next pieces of a record.
    pub(super) fn measure(&self, bytes: &[u8]) -> usize {
        match &*self.body {
            Body::Record(lane) => lane.measure(bytes),
            Body::Line(_) => 0,
        }
    }

    /// What was read of it, if that is so little of a record that anybody could have written it.
    pub(super) fn hardly(&self) -> Option<&[u8]> {
        match &*self.body {
            Body::Record(lane) if lane.keys() < 2 => Some(lane.raw()),
            Body::Record(_) | Body::Line(_) => None,
        }
    }

    /// Whether the bytes can be its next piece.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        match &*self.body {
            Body::Record(lane) => lane.fits(bytes),
            Body::Line(line) => line.fits(bytes).is_some(),
        }
    }

    /// Whether they are its next piece as a known version prints it.
    pub(super) fn expects(&self, bytes: &[u8]) -> bool {
        match &*self.body {
            Body::Record(lane) => lane.fits(bytes) && lane.expects(bytes),
            Body::Line(line) => line.fits(bytes) == Some(true),
        }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        match Rc::make_mut(&mut self.body) {
            Body::Record(lane) => {
                lane.take(bytes);
            }
            Body::Line(line) => line.take(bytes),
        }
        self.figure = match &*self.body {
            Body::Record(_) => bytes.last().is_some_and(u8::is_ascii_digit),
            Body::Line(_) => number(bytes),
        };
        self.hangs = false;
        (self.waited, self.passed, self.aged) = (0, 0, 0);
        self.mark = hashed(self.mark, bytes);
    }

    pub(super) fn complete(&self) -> bool {
        match &*self.body {
            Body::Record(lane) => lane.complete(),
            Body::Line(line) => line.complete(),
        }
    }

    /// Whether what was read so far can be one record.
    pub(super) fn plausible(&self) -> bool {
        match &*self.body {
            Body::Record(lane) => lane.plausible(),
            Body::Line(_) => true,
        }
    }

    /// Whether the runtime is in the middle of a print statement: its own other threads wait.
    pub(super) fn locked(&self) -> bool {
        match &*self.body {
            Body::Record(lane) => lane.locked(),
            Body::Line(line) => line.locked(),
        }
    }

    /// How much of it is not as any known version prints it.
    pub(super) fn strange(&self) -> u32 {
        match &*self.body {
            Body::Record(lane) => lane.strange(),
            Body::Line(line) => line.strange(),
        }
    }

    /// Whether both read the same and go on at the same place.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.mark == other.mark
    }

    /// Where it goes on, whatever was read so far; `strict` adds which one it is.
    fn place(&self, strict: bool) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.fresh(), strict.then_some(self.number)).hash(&mut hasher);
        match &*self.body {
            Body::Record(lane) => lane.place().hash(&mut hasher),
            Body::Line(line) => line.place().hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Marks it as one whose pieces cannot be told from another's.
    pub(super) fn doubt(mut self) -> Self {
        self.doubtful = true;
        self
    }
}

/// Whether one like this is among them.
pub(super) fn has(strands: &[Strand], strand: &Strand) -> bool {
    strands.iter().any(|other| other.same(strand))
}

/// A sum over all, in any order, that is the same where they are the same.
pub(super) fn sum(strands: &[Strand]) -> u64 {
    // Odd multiples: a sum of sums would be the same for many.
    let mix =
        |strand: &Strand| (strand.mark ^ (strand.mark >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    strands.iter().map(mix).fold(0, u64::wrapping_add)
}

/// A sum over all, in any order, that is the same where they go on at the same places.
pub(super) fn places(strands: &[Strand], strict: bool) -> u64 {
    strands.iter().map(|strand| strand.place(strict)).fold(0, u64::wrapping_add)
}

/// A sum over bytes (FNV-1a) that goes on from another. Where a piece ends adds nothing: what is
/// printed behind a figure is no digit.
fn hashed(mark: u64, bytes: &[u8]) -> u64 {
    let step = |mark: u64, byte: &u8| (mark ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(mark, step)
}
