//! Which record or line in progress the next piece continues.
//!
//! A packet is a whole write(2) of one writer, but not signed. With one record in progress its
//! grammar decides. Where several are in progress, of several runtimes or of several threads of
//! one, a number may belong to any of them; what comes after it often tells whose it was. So every
//! possible assignment is kept, a [`World`], until the packets that follow leave one, or leave
//! several that agree on a record. What they never agree on is damaged: no snapshot is made of the
//! figures of two runtimes.
//!
//! A stream (`stream`) has no packets: a figure may be two, of two records. There the world in which
//! the writers interrupt each other least is the right one, as long as they do it rarely; and what
//! comes out has to go on from what some runtime printed before (`tracks`).
//!
//! One runtime alone is bound further: it prints one record at a time, and while one of its
//! threads is inside a print statement the others wait. Where something goes on although another
//! was printed in between against that rule, the world has a breach. It is no proof against the
//! world, because there may be a second runtime; but as long as none was seen, the world without
//! breaches is the right one.

mod stream;
mod world;

use super::snapshot::Snapshot;
use super::strand::{Body, GIVEN_UP, STALE, Strand, has};
use super::tracks::Tracks;
use std::cell::Cell;
use std::rc::Rc;
use world::{WORLDS, World, add, least, likely, most, reduce, united};

/// Records and lines in progress at the same time; the one that waited longest gives way.
const STRANDS: usize = 24;
/// Assignments behind which no read is looked at closely.
const CONFUSED: usize = 5;
/// Packets after which what could not be decided until then is damaged: several lines.
const UNSETTLED: u32 = 300;
/// Assignments that may be looked at for a read in the long run, at most, and beside that at once:
/// whoever prints in confusion for long would have to wait for us otherwise.
const EASE: usize = 1024;
const EFFORT: usize = 60_000;
/// Assignments of one packet that are looked at.
const BRANCHES: usize = 96;
/// Records and lines that are complete and wait for a decision.
const DONE: usize = 32;
/// For so many records two runtimes are reckoned with after they were seen.
const SEVERAL: u32 = 1_000;

fn spend(effort: &Cell<usize>, more: usize) {
    effort.set(effort.get().saturating_add(more));
}

/// All assignments that are possible; never none.
#[derive(Clone, Debug)]
pub(super) struct Worlds {
    all: Vec<World>,
    opened: u64,
    /// Two runtimes were seen at work at the same time; for so many records more that is reckoned
    /// with, and what one runtime alone would explain is not taken for the explanation.
    several: u32,
    /// Packets since there was one assignment only.
    unsettled: u32,
    /// Assignments that were looked at, less what was allowed for it; copies made for a closer
    /// look spend from the same purse.
    effort: Rc<Cell<usize>>,
    /// Records and lines that can be handed out.
    ready: Vec<Strand>,
    /// What each runtime printed last.
    tracks: Tracks,
    /// The bytes are those of a stream.
    stream: bool,
}

impl Worlds {
    /// Nothing in progress; pieces come in packets or, otherwise, as a stream.
    pub(super) fn new(stream: bool) -> Self {
        Self {
            all: vec![World::default()],
            opened: 0,
            several: 0,
            unsettled: 0,
            effort: Rc::default(),
            ready: Vec::new(),
            tracks: Tracks::default(),
            stream,
        }
    }

    /// Whether a snapshot of any runtime is known.
    pub(super) fn knows_any(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// Whether a snapshot that was put together goes on from what a runtime printed.
    pub(super) fn knows(&self, snapshot: &Snapshot) -> bool {
        self.tracks.knows(snapshot)
    }

    /// Takes note of a snapshot that was printed so.
    pub(super) fn note(&mut self, snapshot: &Snapshot) {
        self.tracks.note(snapshot);
        if let [world] = self.all.as_mut_slice()
            && world.open.is_empty()
        {
            world.density = world.density.saturating_div(2);
        }
    }

    /// Whether something complete waits for a decision.
    pub(super) fn undecided(&self) -> bool {
        self.all.len() > 1
    }

    /// A read of so many bytes came: it may cost something.
    pub(super) fn ease(&self, bytes: usize) {
        let allowed = bytes.saturating_div(2).saturating_add(8).min(EASE);
        self.effort.set(self.effort.get().saturating_sub(allowed));
    }

    /// Whether more was spent than is allowed: no choices are followed, and no closer looks taken.
    pub(super) fn tired(&self) -> bool {
        self.effort.get() > EFFORT
    }

    /// Whether there are so many possibilities that nothing is expected for sure.
    pub(super) fn confused(&self) -> bool {
        self.all.len() > CONFUSED
    }

    /// Whether two runtimes are reckoned with.
    pub(super) fn several(&self) -> bool {
        self.several > 0
    }

    /// Whether a record, or a line behind a detailed one, is in progress.
    pub(super) fn tracing(&self) -> bool {
        let traces = |strand: &Strand| match &*strand.body {
            Body::Record(_) => strand.fresh(),
            Body::Line(line) => strand.fresh() && line.detail(),
        };
        self.all.iter().any(|world| world.open.iter().any(traces))
    }

    /// Whether anything is in progress.
    pub(super) fn busy(&self) -> bool {
        self.all.iter().any(|world| !world.open.is_empty())
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Strand> {
        self.all.iter_mut().flat_map(|world| &mut world.open)
    }

    /// Several writes came in one read: a piece may have been missed.
    pub(super) fn mix(&mut self) {
        self.each().for_each(|strand| strand.mixed = true);
    }

    /// Behind the figure that came last stands a line of somebody, whose first digits it may be.
    /// As long as it is not `doubtful`, the next piece will tell.
    pub(super) fn hang(&mut self, doubtful: bool) {
        for strand in self.each().filter(|strand| strand.figure) {
            strand.doubtful |= doubtful;
            strand.hangs = true;
        }
    }

    /// A figure that nothing wants: the one before was no figure.
    pub(super) fn doubt_last(&mut self) {
        self.each().for_each(|strand| strand.doubtful |= strand.hangs);
    }

    /// Whether these digits can be what a record in progress has next.
    pub(super) fn can_be(&self, digits: &[u8], last: Option<&Snapshot>) -> bool {
        let mut open = self.all.iter().flat_map(|world| &world.open);
        open.any(|strand| match &*strand.body {
            Body::Record(lane) => lane.fits(digits) && lane.can_be(digits, last),
            Body::Line(line) => line.fits(digits).is_some(),
        })
    }

    /// A record or a line begins.
    pub(super) fn open(&mut self, body: Option<Body>) {
        self.opened = self.opened.wrapping_add(1);
        if self.all.iter().any(|world| world.open.len() >= STRANDS) {
            self.give_up_oldest();
        }
        let strand = match body {
            Some(body) => Strand::new(body, self.opened),
            None => Strand::record(self.opened),
        };
        for world in &mut self.all {
            world.begin(strand.clone());
        }
        self.notice();
    }

    /// Two runtimes are at work when one alone explains nothing any more.
    fn notice(&mut self) {
        let least = self.all.iter().map(|world| world.breaches).min().unwrap_or(0);
        if least > 0 {
            self.several = SEVERAL;
            for world in &mut self.all {
                world.breaches = world.breaches.saturating_sub(least);
            }
        }
    }

    fn give_up_oldest(&mut self) {
        self.collapse();
        if let Some(world) = self.all.first_mut() {
            self.ready.append(&mut world.done);
            let oldest = world.open.iter().enumerate().max_by_key(|(_, strand)| strand.waited);
            let at = oldest.map_or(0, |(at, _)| at);
            self.ready.push(world.open.remove(at).doubt());
        }
    }

    /// Leaves one world; what the others have otherwise is damaged.
    fn collapse(&mut self) {
        if self.all.len() > 1 {
            self.all = united(std::mem::take(&mut self.all), self.stream).into_iter().collect();
        }
    }

    /// Whether something in progress could take the packet.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        self.all.iter().any(|world| world.takers(bytes).next().is_some())
    }

    /// Whether it is what one of them prints next, by what is known of all versions.
    pub(super) fn expects(&self, bytes: &[u8]) -> bool {
        let takes = |strand: &Strand| strand.fresh() && strand.expects(bytes);
        self.all.iter().any(|world| world.open.iter().any(takes))
    }

    /// Gives the packet to what it continues; false when there is none.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        spend(&self.effort, self.all.len());
        if let [world] = self.all.as_mut_slice() {
            let mut takers = world.takers(bytes);
            let Some(only) = takers.next() else { return false };
            if takers.next().is_none() {
                drop(takers);
                let before = world.done.len();
                world.give(only, bytes);
                self.notice();
                self.settle(before);
                return true;
            }
        }
        self.branch(bytes)
    }

    /// Several strands, or several worlds: all that is possible from here.
    fn branch(&mut self, bytes: &[u8]) -> bool {
        let mut next: Vec<(u64, World)> = Vec::new();
        let mut all =
            self.all.iter().flat_map(|world| world.takers(bytes).map(move |at| (world, at)));
        for (world, at) in all.by_ref().take(BRANCHES) {
            spend(&self.effort, 1);
            let mut world = world.clone();
            if world.give(at, bytes) {
                add(&mut next, world.sum(), world, World::merge);
            }
        }
        // What else it could be is not followed.
        let more = all.next().is_some();
        drop(all);
        let next = likely(next, more);
        if next.is_empty() {
            return false;
        }
        self.all = next;
        self.decide();
        true
    }

    /// Of all that is possible now, keeps what can be told apart, and hands out what is agreed on.
    fn decide(&mut self) {
        self.notice();
        let least = least(&self.all);
        for world in &mut self.all {
            world.tears = world.tears.saturating_sub(least);
        }
        self.all = reduce(std::mem::take(&mut self.all), self.several > 0, self.stream);
        let waits = |world: &World| world.done.len() > DONE;
        self.unsettled = self.unsettled.saturating_add(1);
        if self.all.len() > WORLDS
            || self.unsettled > UNSETTLED
            || self.tired()
            || self.all.iter().any(waits)
        {
            self.collapse();
        }
        if self.all.len() < 2 {
            self.unsettled = 0;
        }
        self.settle(0);
    }

    /// The packet may be meant for a line of which nothing is known here.
    pub(super) fn doubt(&mut self, bytes: &[u8]) {
        self.each().for_each(|strand| strand.doubtful |= strand.fits(bytes));
    }

    /// Gives back the beginning that was taken for that of a line whose pieces are known, when
    /// what follows is none of these.
    pub(super) fn reclaim(&mut self) -> Option<Vec<u8>> {
        let [world] = self.all.as_mut_slice() else { return None };
        let vague = |strand: &Strand| match &*strand.body {
            Body::Line(line) => line.vague() && line.begun(),
            Body::Record(_) => false,
        };
        let at = world.open.iter().rposition(vague)?;
        match &*world.open.remove(at).body {
            Body::Line(line) => Some(line.text().to_vec()),
            Body::Record(_) => None,
        }
    }

    /// A piece that nobody wants, but one that was thought dead: its runtime lives. What it
    /// printed before may have gone to another.
    pub(super) fn revive(&mut self, bytes: &[u8]) -> bool {
        let [world] = self.all.as_mut_slice() else { return false };
        let old = |strand: &Strand| !strand.fresh() && strand.fits(bytes);
        let Some(at) = world.open.iter().rposition(old) else { return false };
        self.several = SEVERAL;
        world.open.iter_mut().for_each(|strand| strand.doubtful = true);
        let before = world.done.len();
        world.give(at, bytes);
        self.settle(before);
        true
    }

    /// Nobody has written anything for a while: a record in progress is one that was left.
    pub(super) fn rest(&mut self) {
        if self.several == 0 {
            self.prefer_old();
        }
        self.collapse();
        if let Some(world) = self.all.first_mut() {
            self.ready.append(&mut world.done);
            for strand in world.open.iter_mut().filter(|strand| strand.is_record()) {
                strand.waited = strand.waited.max(STALE);
            }
        }
    }

    /// Where one runtime alone is at work, what is left over is the older one: a process before it
    /// that has ended.
    fn prefer_old(&mut self) {
        let best = (0..self.all.len())
            .min_by_key(|at| self.all.get(*at).map(|world| (world.breaches, world.left())));
        if let Some(best) = best.and_then(|at| self.all.get(at).cloned()) {
            self.all = vec![best];
        }
    }

    /// Something complete that all worlds that are reckoned with have.
    fn agreed(&self) -> Option<Strand> {
        let most = most(&self.all, self.stream);
        let mut worlds = self.all.iter().filter(|world| world.tears <= most);
        let first = worlds.next()?;
        let others: Vec<&World> = worlds.collect();
        let all = |strand: &&Strand| others.iter().all(|world| has(&world.done, strand));
        first.done.iter().find(all).cloned()
    }

    /// Moves to `ready` what the worlds agree on.
    fn settle(&mut self, before: usize) {
        if let [world] = self.all.as_mut_slice() {
            if world.done.len() > before {
                self.deliver();
            }
            return;
        }
        while let Some(strand) = self.agreed() {
            let mut doubtful = strand.doubtful;
            self.all.retain_mut(|world| {
                let at = world.done.iter().position(|other| other.same(&strand));
                doubtful |= at.is_some_and(|at| world.done.remove(at).doubtful);
                at.is_some()
            });
            let mut strand = strand;
            (strand.doubtful, strand.late) = (doubtful, true);
            self.ready.push(strand);
        }
        // Nothing that is in progress belongs to anybody who is still there.
        let over = |world: &World| !world.open.iter().any(Strand::fresh);
        let least = least(&self.all);
        if self.all.iter().any(|world| over(world) && (world.tears == least || !self.stream)) {
            if self.several == 0 {
                self.prefer_old();
            }
            self.collapse();
            self.deliver();
        }
    }

    /// Hands out all that is complete in the only world, and what waited too long.
    fn deliver(&mut self) {
        let [world] = self.all.as_mut_slice() else { return };
        for strand in world.done.drain(..) {
            self.several = self.several.saturating_sub(u32::from(strand.is_record()));
            self.ready.push(strand);
        }
        while let Some(at) = world.open.iter().position(|strand| strand.waited >= GIVEN_UP) {
            self.ready.push(world.open.remove(at).doubt());
        }
    }

    /// What is complete or given up, in the order in which that was decided.
    pub(super) fn ready(&mut self) -> std::vec::Drain<'_, Strand> {
        self.ready.drain(..)
    }

    /// The stream has ended: what is left can only be damaged.
    pub(super) fn end(&mut self) {
        self.rest();
        for world in &mut self.all {
            self.ready.extend(world.open.drain(..).map(Strand::doubt));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::go::pieces::Pieces;
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
        let finish = |strand: Strand| match (*strand.body).clone() {
            Body::Record(mut lane) if !strand.doubtful => lane.finish(),
            Body::Record(_) | Body::Line(_) => None,
        };
        worlds.ready().map(finish).collect()
    }

    #[test]
    fn a_number_belongs_to_the_record_that_goes_on_behind_it() {
        let mut worlds = Worlds::new(false);
        let (first, second) = (record("10", "1"), record("20", "2"));
        worlds.open(None);
        play(&mut worlds, &first[..6]);
        worlds.open(None);
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
            let mut worlds = Worlds::new(false);
            let (first, second) = (record("10", "2"), record("10", idle));
            worlds.open(None);
            worlds.open(None);
            for (a, b) in first.iter().zip(&second) {
                play(&mut worlds, &[a, b]);
            }
            let found = read(&mut worlds);
            assert_eq!(found.len(), 2);
            // One has two idle Ps and the other one, and nothing else differs: whichever it is.
            assert!(found.iter().all(|one| one.is_some()) || !whole, "{idle}");
        }
        let mut worlds = Worlds::new(false);
        let (first, second) = (record("10", "2"), record("11", "1"));
        worlds.open(None);
        worlds.open(None);
        for (a, b) in first.iter().zip(&second) {
            play(&mut worlds, &[a, b]);
        }
        assert_eq!(read(&mut worlds), [None, None]);
    }

    #[test]
    fn a_runtime_that_ended_in_a_record_does_not_spoil_the_next_ones() {
        let mut worlds = Worlds::new(false);
        worlds.open(None);
        play(&mut worlds, &record("10", "1")[..6]);
        let mut found = Vec::new();
        for uptime in ["20", "30", "40", "50"] {
            worlds.open(None);
            play(&mut worlds, &record(uptime, "2"));
            found.extend(read(&mut worlds).into_iter().flatten().map(|one| one.uptime_ms));
        }
        assert_eq!(found, [20, 30, 40, 50]);
        // With a pause behind the first one, at once.
        let mut worlds = Worlds::new(false);
        worlds.open(None);
        play(&mut worlds, &record("10", "1")[..6]);
        worlds.open(None);
        play(&mut worlds, &record("20", "2"));
        worlds.rest();
        assert_eq!(read(&mut worlds).into_iter().flatten().count(), 1);
    }

    #[test]
    fn runtimes_that_start_in_step_cost_little_and_do_not_spoil_what_follows() {
        let mut worlds = Worlds::new(false);
        let mut several = Vec::new();
        for runtime in 0..3 {
            worlds.open(None);
            several.push(record("10", if runtime % 2 == 0 { "1" } else { "2" }));
        }
        for at in 0..several[0].len() {
            for record in &several {
                play(&mut worlds, &record[at..=at]);
                assert!(worlds.all.len() <= WORLDS);
                let done = worlds.all.iter().map(|world| world.done.len()).max();
                assert!(done <= Some(DONE));
            }
        }
        assert_eq!(read(&mut worlds).len(), 3);
        assert!(worlds.all.iter().all(|world| world.open.is_empty()), "{worlds:?}");
        worlds.open(None);
        play(&mut worlds, &record("20", "1"));
        assert_eq!(read(&mut worlds).into_iter().flatten().count(), 1);
    }

    #[test]
    fn a_line_that_was_left_gives_way_after_a_whole_list_of_others() {
        let line = |opener: &str| Pieces::opens(opener.as_bytes()).map(Body::Line);
        let mut worlds = Worlds::new(false);
        worlds.open(line("  P"));
        play(&mut worlds, &["0", ": status="]);
        let goroutine = ["7", ": status=", "4", "(", "sleep", ") m=", "nil", " lockedm=", "nil"];
        let mut clear = 0;
        for _ in 0..60 {
            worlds.open(line("  G"));
            play(&mut worlds, &goroutine);
            play(&mut worlds, &["\n"]);
            clear += worlds.ready().filter(|strand| !strand.doubtful && !strand.late).count();
        }
        assert!(clear >= 15, "{clear}");
    }
}
