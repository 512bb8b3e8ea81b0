//! Packet mode: which record in progress a packet continues.
//!
//! A packet is a whole write(2) of one writer, but not signed. With one record in progress its
//! grammar decides. Where several runtimes print at once, a number may be any of theirs; what
//! comes after it often tells whose it was. So every possible assignment is kept, a [`World`],
//! until the packets that follow leave one, or leave several that agree on a record. What they
//! never agree on is damaged: no snapshot is made of the figures of two runtimes.

use super::sched::Lane;

/// Records in progress at the same time; the one that waited longest gives way.
const LANES: usize = 16;
/// Assignments that are kept; with more of them the records in question are damaged.
const WORLDS: usize = 32;
/// A record that made no progress while so many others went by from end to end belongs to a
/// runtime that has ended in the middle of it, or that is stopped.
const STALE: u32 = 3;
/// For so many records two runtimes are reckoned with after they were seen.
const SEVERAL: u32 = 1_000;
/// After so many it is given up.
const GIVEN_UP: u32 = 32;

/// One assignment of all packets so far.
#[derive(Clone, Debug, Default)]
struct World {
    open: Vec<Lane>,
    /// Complete, but the worlds do not agree on them yet.
    done: Vec<Lane>,
}

impl World {
    /// The world in which this record took the packet; nothing if that cannot be.
    fn after(&self, at: usize, bytes: &[u8]) -> Option<Self> {
        let mut world = self.clone();
        let lane = world.open.get_mut(at)?;
        lane.take(bytes);
        if !lane.plausible() {
            return None;
        }
        if lane.complete() {
            let lane = world.open.remove(at);
            world.finished(lane);
        }
        Some(world)
    }

    fn finished(&mut self, lane: Lane) {
        for other in &mut self.open {
            other.waited = other.waited.saturating_add(1);
        }
        self.done.push(lane);
    }

    /// Numbers of the open records: where an old one is left over, its runtime has ended.
    fn left(&self) -> Vec<u64> {
        let mut numbers: Vec<_> = self.open.iter().map(|lane| lane.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// How much in it is not as any known version prints it.
    fn strange(&self) -> u32 {
        self.open.iter().chain(&self.done).map(Lane::strange).sum()
    }

    /// Whether the same records stand at the same places, whichever was opened first.
    fn same(&self, other: &Self) -> bool {
        let within = |some: &[Lane], all: &[Lane]| some.iter().all(|lane| has(all, lane));
        self.done.len() == other.done.len()
            && within(&self.open, &other.open)
            && within(&other.open, &self.open)
            && within(&self.done, &other.done)
            && within(&other.done, &self.done)
    }
}

fn fits(lane: &Lane, bytes: &[u8]) -> bool {
    // A newline of its own ends detailed records only; the others end in `]` and newline at once.
    // A bracket is not printed together with the blank before it, nor the last one without more.
    (bytes != b"\n" || lane.detailed())
        && bytes != b" ["
        && bytes != b"]"
        && lane.measure(bytes).0 == bytes.len()
}

fn fresh(lane: &Lane) -> bool {
    lane.waited < STALE
}

/// All assignments that are possible; never none.
#[derive(Clone, Debug)]
pub(super) struct Worlds {
    all: Vec<World>,
    opened: u64,
    /// Two runtimes were seen at work at the same time; for so many records more that is reckoned
    /// with, and what one runtime alone would explain is not taken for the explanation.
    several: u32,
    /// Records that can be handed out.
    ready: Vec<Lane>,
}

impl Default for Worlds {
    fn default() -> Self {
        Self { all: vec![World::default()], opened: 0, several: 0, ready: Vec::new() }
    }
}

impl Worlds {
    /// Whether something complete waits for a decision.
    pub(super) fn undecided(&self) -> bool {
        self.all.len() > 1
    }

    /// `SCHED ` was written: a record begins.
    pub(super) fn open(&mut self) {
        self.opened = self.opened.wrapping_add(1);
        if self.all.iter().any(|world| world.open.len() >= LANES) {
            self.give_up_oldest();
        }
        for world in &mut self.all {
            world.open.push(Lane::new(self.opened));
        }
    }

    fn give_up_oldest(&mut self) {
        self.all.truncate(1);
        if let Some(world) = self.all.first_mut() {
            self.ready.extend(world.done.drain(..).map(doubtful));
            let oldest = world.open.iter().enumerate().min_by_key(|(_, lane)| lane.number);
            let at = oldest.map_or(0, |(at, _)| at);
            self.ready.push(doubtful(world.open.remove(at)));
        }
    }

    /// Whether a record in progress could take the packet.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        let takes = |lane: &Lane| fresh(lane) && fits(lane, bytes);
        self.all.iter().any(|world| world.open.iter().any(takes))
    }

    /// Whether it is what one of them prints next, by what is known of all versions.
    pub(super) fn expects(&self, bytes: &[u8]) -> bool {
        let takes = |lane: &Lane| fresh(lane) && lane.expects(bytes);
        self.all.iter().any(|world| world.open.iter().any(takes))
    }

    /// Gives the packet to the record that it continues; false when there is none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        if let [world] = self.all.as_mut_slice() {
            let mut candidates = (0..world.open.len()).filter(|at| {
                world.open.get(*at).is_some_and(|lane| fresh(lane) && fits(lane, bytes))
            });
            let Some(only) = candidates.next() else { return false };
            if candidates.next().is_none() {
                // An older record goes on although a younger one has begun: both runtimes live.
                let number = world.open.get(only).map_or(0, |lane| lane.number);
                if world.open.iter().any(|lane| lane.number > number && lane.keys() > 0) {
                    self.several = SEVERAL;
                }
                if let Some(lane) = world.open.get_mut(only) {
                    lane.take(bytes);
                    if lane.complete() {
                        let lane = world.open.remove(only);
                        world.finished(lane);
                        self.several = self.several.saturating_sub(1);
                        self.settle(false);
                    }
                }
                return true;
            }
        }
        self.branch(bytes)
    }

    /// Several records, or several worlds: all that is possible from here.
    fn branch(&mut self, bytes: &[u8]) -> bool {
        let mut next: Vec<World> = Vec::new();
        for world in &self.all {
            for (at, lane) in world.open.iter().enumerate() {
                if fresh(lane)
                    && fits(lane, bytes)
                    && let Some(world) = world.after(at, bytes)
                    && !next.iter().any(|known| known.same(&world))
                {
                    next.push(world);
                }
            }
        }
        let Some(least) = next.iter().map(World::strange).min() else { return false };
        next.retain(|world| world.strange() == least);
        if next.len() > WORLDS {
            next.truncate(1);
            for world in &mut next {
                world.open.iter_mut().chain(&mut world.done).for_each(|lane| lane.doubtful = true);
            }
        }
        self.all = next;
        self.settle(false);
        true
    }

    /// Gives a number to a record although it may have been a piece of a line as well: of the same
    /// runtime it was not, of another one it may have been.
    pub(super) fn presume(&mut self, bytes: &[u8]) {
        self.doubt(bytes);
        self.take(bytes);
    }

    /// A number went to a line although a record may have it: the same in reverse.
    pub(super) fn doubt(&mut self, bytes: &[u8]) {
        let two = |world: &World| world.open.iter().filter(|lane| fresh(lane)).count() > 1;
        if self.several > 0 || self.all.iter().any(two) {
            for lane in self.all.iter_mut().flat_map(|world| &mut world.open) {
                lane.doubtful |= fits(lane, bytes);
            }
        }
    }

    /// A piece that nobody wants, but a record that was thought dead: its runtime lives. What it
    /// printed before may have gone to another record.
    pub(super) fn revive(&mut self, bytes: &[u8]) -> bool {
        let [world] = self.all.as_mut_slice() else { return false };
        let Some(at) = world.open.iter().rposition(|lane| !fresh(lane) && fits(lane, bytes)) else {
            return false;
        };
        world.open.iter_mut().for_each(|lane| lane.doubtful = true);
        if let Some(lane) = world.open.get_mut(at) {
            lane.take(bytes);
            if lane.complete() {
                let lane = world.open.remove(at);
                world.finished(lane);
                self.settle(false);
            }
        }
        true
    }

    /// Nobody has written anything for a while: a record in progress is one that was left.
    pub(super) fn rest(&mut self) {
        self.settle(true);
    }

    /// Moves to `ready` what the worlds agree on.
    fn settle(&mut self, rests: bool) {
        let agreed: Vec<Lane> = match self.all.as_slice() {
            [_] | [] => Vec::new(),
            [first, others @ ..] => first
                .done
                .iter()
                .filter(|lane| others.iter().all(|world| has(&world.done, lane)))
                .cloned()
                .collect(),
        };
        for lane in agreed {
            for world in &mut self.all {
                if let Some(at) = world.done.iter().position(|other| other.same(&lane)) {
                    world.done.remove(at);
                }
            }
            self.ready.push(lane);
        }
        let best = (0..self.all.len()).min_by_key(|at| self.all.get(*at).map(World::left));
        let Some(mut best) = best.and_then(|at| self.all.get(at).cloned()) else { return };
        if self.all.len() > 1 {
            let nobody = self.all.iter().all(|world| world.open.is_empty());
            if nobody {
                // All are complete, and whose figures are whose was never told.
                self.ready.extend(best.done.drain(..).map(doubtful));
            } else if !rests && best.open.iter().any(fresh) {
                return;
            } else if self.several > 0 {
                // The old record may belong to a runtime that is only slow.
                best.done.iter_mut().for_each(|lane| lane.doubtful = true);
            }
        }
        self.ready.append(&mut best.done);
        if rests {
            best.open.iter_mut().for_each(|lane| lane.waited = lane.waited.max(STALE));
        }
        let (stay, go) = best.open.into_iter().partition(|lane| lane.waited < GIVEN_UP);
        best.open = stay;
        self.ready.extend(Vec::into_iter(go).map(doubtful));
        self.all = vec![best];
    }

    /// The records that are complete or given up, in the order in which that was decided.
    pub(super) fn ready(&mut self) -> std::vec::Drain<'_, Lane> {
        self.ready.drain(..)
    }

    /// The stream has ended: what is left can only be damaged.
    pub(super) fn end(&mut self) {
        self.settle(true);
        for world in &mut self.all {
            self.ready.extend(world.open.drain(..).map(doubtful));
        }
    }
}

fn has(lanes: &[Lane], lane: &Lane) -> bool {
    lanes.iter().any(|other| other.same(lane))
}

fn doubtful(mut lane: Lane) -> Lane {
    lane.doubtful = true;
    lane
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::snapshot::Snapshot;

    const TAIL: [&str; 9] =
        [" threads=", "4", " spinningthreads=", "0", " idlethreads=", "1", " runqueue=", "0", " "];

    /// The pieces of a record of a runtime with two Ps.
    fn record(uptime: &'static str, idle: &'static str) -> Vec<&'static str> {
        let mut pieces = vec![uptime, "ms: gomaxprocs=", "2", " idleprocs=", idle];
        pieces.extend(TAIL);
        pieces.extend(["[", "0", " ", "1", "]\n"]);
        pieces
    }

    fn play(worlds: &mut Worlds, pieces: &[&str]) {
        for piece in pieces {
            assert!(worlds.take(piece.as_bytes()), "{piece:?} fits nowhere");
        }
    }

    fn read(worlds: &mut Worlds) -> Vec<Option<Snapshot>> {
        worlds.ready().map(|mut lane| lane.finish()).collect()
    }

    #[test]
    fn a_number_belongs_to_the_record_that_goes_on_behind_it() {
        let mut worlds = Worlds::default();
        let (first, second) = (record("10", "1"), record("20", "2"));
        worlds.open();
        play(&mut worlds, &first[..6]);
        worlds.open();
        // Both need a number now, and both are given one.
        play(&mut worlds, &[second[0], second[1], first[6], second[2], first[7], second[3]]);
        play(&mut worlds, &first[8..]);
        play(&mut worlds, &second[4..]);
        let found: Vec<_> = read(&mut worlds).into_iter().flatten().collect();
        assert_eq!(found.len(), 2, "{worlds:?}");
        assert_eq!((found[0].uptime_ms, found[0].idleprocs, found[0].threads), (10, 1, 4));
        assert_eq!((found[1].uptime_ms, found[1].idleprocs, found[1].threads), (20, 2, 4));
    }

    #[test]
    fn records_that_keep_step_are_read_when_their_figures_agree_and_damaged_when_not() {
        for (idle, whole) in [("1", false), ("2", true)] {
            let mut worlds = Worlds::default();
            let (first, second) = (record("10", "2"), record("10", idle));
            worlds.open();
            worlds.open();
            for (a, b) in first.iter().zip(&second) {
                play(&mut worlds, &[a, b]);
            }
            let found = read(&mut worlds);
            assert_eq!(found.len(), 2);
            // One has two idle Ps and the other one, and nothing else differs: whichever it is.
            assert!(found.iter().all(|one| one.is_some()) || !whole, "{idle}");
        }
        let mut worlds = Worlds::default();
        let (first, second) = (record("10", "2"), record("11", "1"));
        worlds.open();
        worlds.open();
        for (a, b) in first.iter().zip(&second) {
            play(&mut worlds, &[a, b]);
        }
        assert_eq!(read(&mut worlds), [None, None]);
    }

    #[test]
    fn a_runtime_that_ended_in_a_record_does_not_spoil_the_next_ones() {
        let mut worlds = Worlds::default();
        worlds.open();
        play(&mut worlds, &record("10", "1")[..6]);
        let mut found = Vec::new();
        for uptime in ["20", "30", "40", "50"] {
            worlds.open();
            play(&mut worlds, &record(uptime, "2"));
            found.extend(read(&mut worlds).into_iter().flatten().map(|one| one.uptime_ms));
        }
        assert_eq!(found, [20, 30, 40, 50]);
        // With a pause behind the first one, at once.
        let mut worlds = Worlds::default();
        worlds.open();
        play(&mut worlds, &record("10", "1")[..6]);
        worlds.open();
        play(&mut worlds, &record("20", "2"));
        worlds.rest();
        assert_eq!(read(&mut worlds).into_iter().flatten().count(), 1);
    }
}
