//! One assignment of all pieces so far, and which of several are kept.

use crate::go::strand::{Strand, has, places, sum};

/// Assignments that are kept with all their figures once a second runtime was seen. With more of
/// them, those in which the same records go on at the same places are one, and the figures in
/// which they differ are in doubt.
const EXACT: usize = 12;
/// With more of them, those in which any records go on at the same places are one.
const VAGUE: usize = 24;
/// Assignments that are kept at all; with more of them what is in question is damaged.
pub(super) const WORLDS: usize = 32;
/// Pieces after which whoever writes is not expected to be interrupted.
const RUN: u32 = 3;
/// What a tear adds to the density, and a density at which writers keep interrupting each other.
const TEAR: u32 = 64;
const DENSE: u32 = 250;

/// One assignment of all packets so far.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    pub(super) open: Vec<Strand>,
    /// Complete, but the worlds do not agree on them yet.
    pub(super) done: Vec<Strand>,
    /// Pieces of what went on although one runtime alone could not have.
    pub(super) breaches: u32,
    /// How often one gave way to another, twice counted where that one had gone on for a while.
    pub(super) tears: u32,
    /// The one that went on last, and for how many pieces it has.
    pub(super) last: u64,
    pub(super) run: u32,
    /// How often they gave way of late: [`TEAR`] for each time, a sixteenth less with each piece.
    pub(super) density: u32,
}

impl World {
    /// The strand that could take the packet, and whether there are others.
    pub(super) fn takers<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let open = self.open.iter().enumerate();
        open.filter(|(_, strand)| strand.fresh() && strand.fits(bytes)).map(|(at, _)| at)
    }

    /// What can go on with the first of these bytes of a stream, and how many of them it can take.
    pub(super) fn ways<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (usize, usize)> + 'a {
        let open = self.open.iter().enumerate().filter(|(_, strand)| strand.fresh());
        open.flat_map(|(at, strand)| strand.pieces(bytes).map(move |taken| (at, taken)))
    }

    /// A sum that is the same for worlds that have read the same.
    pub(super) fn sum(&self) -> u64 {
        sum(&self.open) ^ sum(&self.done).rotate_left(1)
    }

    /// Gives the packet to a strand; false when what it then reads cannot be.
    pub(super) fn give(&mut self, at: usize, bytes: &[u8]) -> bool {
        for (other, strand) in self.open.iter_mut().enumerate() {
            strand.crossed |= other != at && strand.locked();
        }
        let Some(strand) = self.open.get_mut(at) else { return false };
        strand.take(bytes);
        let number = strand.number;
        self.turn(number);
        let Some(strand) = self.open.get_mut(at) else { return false };
        // Figures that may be another's deny nothing.
        if !strand.blurred && !strand.plausible() {
            return false;
        }
        self.breaches = self.breaches.saturating_add(u32::from(strand.crossed));
        if strand.complete() {
            let strand = self.open.remove(at);
            self.finished(strand);
        }
        true
    }

    /// The strand of this number goes on.
    pub(super) fn turn(&mut self, number: u64) {
        self.density = self.density.saturating_sub(self.density.div_ceil(16));
        if number == self.last {
            self.run = self.run.saturating_add(1);
            return;
        }
        self.density = self.density.saturating_add(TEAR);
        self.tears = self.tears.saturating_add(if self.run < RUN { 1 } else { 2 });
        (self.last, self.run) = (number, 1);
    }

    /// Begins a record or a line.
    pub(super) fn begin(&mut self, mut strand: Strand) {
        self.turn(strand.number);
        for other in &mut self.open {
            let records = strand.is_record() && other.is_record();
            other.crossed |= other.locked() || records;
            other.beside |= records;
            strand.beside |= records;
        }
        self.open.push(strand);
    }

    pub(super) fn finished(&mut self, strand: Strand) {
        self.open.iter_mut().for_each(|other| other.pass(&strand));
        self.done.push(strand);
    }

    /// Numbers of what is in progress: where an old one is left over, its runtime has ended.
    pub(super) fn left(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.open.iter().map(|strand| strand.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// How much in it is not as any known version prints it.
    pub(super) fn strange(&self) -> u32 {
        self.open.iter().chain(&self.done).map(Strand::strange).sum()
    }

    /// Takes in a world that goes on at the same places: what only one of them has read is in
    /// doubt.
    pub(super) fn blur(&mut self, other: &Self) {
        for strand in &mut self.open {
            strand.blurred |= !has(&other.open, strand);
            strand.doubtful |= strand.blurred;
        }
        self.merge(other);
    }

    /// Takes over the doubts of a world with the same in progress, and makes damaged what only one
    /// of them has.
    pub(super) fn merge(&mut self, other: &Self) {
        for strand in &mut self.done {
            strand.doubtful |= !has(&other.done, strand);
            strand.late = true;
        }
        for (mine, theirs) in pairs(&mut self.done, &other.done) {
            mine.doubtful |= theirs.doubtful;
        }
        for (mine, theirs) in pairs(&mut self.open, &other.open) {
            mine.doubtful |= theirs.doubtful;
            mine.hangs |= theirs.hangs;
            mine.blurred |= theirs.blurred;
            mine.crossed &= theirs.crossed;
            mine.waited = mine.waited.min(theirs.waited);
        }
        self.breaches = self.breaches.min(other.breaches);
        self.tears = self.tears.min(other.tears);
        self.density = self.density.max(other.density);
    }
}

/// Adds a world, or makes one of it and one with the same sum.
pub(super) fn add(
    all: &mut Vec<(u64, World)>,
    sum: u64,
    world: World,
    join: impl FnOnce(&mut World, &World),
) {
    match all.iter_mut().find(|(of, _)| *of == sum) {
        Some((_, known)) => join(known, &world),
        None => all.push((sum, world)),
    }
}

/// Those of the first that the second has as well.
pub(super) fn pairs<'a>(
    some: &'a mut [Strand],
    others: &'a [Strand],
) -> impl Iterator<Item = (&'a mut Strand, &'a Strand)> {
    some.iter_mut().filter_map(|mine| {
        let theirs = others.iter().find(|theirs| theirs.same(mine))?;
        Some((mine, theirs))
    })
}

/// Those of a step that are least unlike what known versions print; `more` were not followed.
pub(super) fn likely(all: Vec<(u64, World)>, more: bool) -> Vec<World> {
    let mut all: Vec<World> = all.into_iter().map(|(_, world)| world).collect();
    let least = all.iter().map(World::strange).min();
    all.retain(|world| Some(world.strange()) == least);
    if more {
        all.iter_mut().flat_map(|world| &mut world.open).for_each(|one| one.doubtful = true);
    }
    all
}

/// The fewest tears.
pub(super) fn least(all: &[World]) -> u32 {
    all.iter().map(|world| world.tears).min().unwrap_or(0)
}

/// Up to so many tears a world is reckoned with. In a stream a figure may be two, so that there
/// is always one more world; but who writes is rarely interrupted, so those with the fewest tears
/// are right, unless the writers keep interrupting each other.
pub(super) fn most(all: &[World], stream: bool) -> u32 {
    let least = least(all);
    let dense = |world: &World| world.tears == least && world.density > DENSE;
    if stream && !all.iter().any(dense) { least } else { u32::MAX }
}

/// Makes one of those that go on in the same way: what they differ in will never be told. If there
/// are too many, also of those that go on at the same places: the figures in which they differ
/// can be told apart by chance only.
pub(super) fn reduce(all: Vec<World>, several: bool, stream: bool) -> Vec<World> {
    let most = most(&all, stream);
    let margin = most.saturating_sub(least(&all));
    let mut all = joined(
        all,
        |world| sum(&world.open),
        |known, world| {
            if world.tears.abs_diff(known.tears) > margin {
                if world.tears < known.tears {
                    known.clone_from(world);
                }
            } else if several || known.breaches == world.breaches {
                // As long as no second runtime was seen, it is taken that there is none.
                known.merge(world);
            } else if world.breaches < known.breaches {
                known.clone_from(world);
            }
        },
    );
    let within = |all: &[World]| all.iter().filter(|world| world.tears <= most).count();
    if several && within(&all) > EXACT {
        // The same records stand at these places.
        all = joined(all, |world| places(&world.open, true), World::blur);
    }
    if several && within(&all) > VAGUE {
        all = joined(all, |world| places(&world.open, false), World::blur);
    }
    if all.len() > WORLDS {
        all.sort_by_key(|world| world.tears);
        let keep = within(&all).max(WORLDS);
        all.truncate(keep);
    }
    all
}

pub(super) fn joined(
    all: Vec<World>,
    sum: impl Fn(&World) -> u64,
    join: impl Fn(&mut World, &World),
) -> Vec<World> {
    let mut kept = Vec::with_capacity(all.len());
    for world in all {
        add(&mut kept, sum(&world), world, &join);
    }
    kept.into_iter().map(|(_, world)| world).collect()
}

/// The one that is taken for right; what the others have otherwise is damaged.
pub(super) fn united(mut all: Vec<World>, stream: bool) -> Option<World> {
    let most = most(&all, stream);
    all.retain(|world| world.tears <= most);
    let mut best = all.iter().min_by_key(|world| (world.breaches, world.left()))?.clone();
    for other in &all {
        for strand in &mut best.open {
            strand.doubtful |= !has(&other.open, strand);
        }
        best.merge(other);
    }
    best.done.iter_mut().for_each(|strand| strand.late = true);
    Some(best)
}
