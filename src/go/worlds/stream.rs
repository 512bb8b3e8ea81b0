//! A stream: which record in progress its bytes continue, where no write is known to end.

use super::world::{WORLDS, World, add, likely, reduce, united};
use super::{Worlds, spend};
use crate::go::scan::{after, first};
use crate::go::strand::Strand;
use std::collections::BTreeMap;

/// Ways to go on from one place that are looked at.
const WAYS: usize = 1024;

impl Worlds {
    /// Gives bytes of a stream to the records that they continue, as far as that goes, and tells
    /// how far. Nothing is taken if that is neither `enough` nor has a key or the end of a list.
    pub(in crate::go) fn read(&mut self, bytes: &[u8], enough: impl Fn(usize) -> bool) -> usize {
        let sure = |taken: usize| {
            enough(taken) || first(bytes, taken).iter().any(|byte| matches!(byte, b'=' | b']'))
        };
        if let Some((at, taken)) = self.only(bytes) {
            if !sure(taken) {
                return self.revived(bytes, sure);
            }
            if let [world] = self.all.as_mut_slice() {
                let before = world.done.len();
                world.give(at, first(bytes, taken));
                self.notice();
                self.settle(before);
            }
            return taken;
        }
        let (taken, worlds) = self.explore(bytes);
        if !sure(taken) {
            return self.revived(bytes, sure);
        }
        self.all = worlds;
        self.decide();
        taken
    }

    /// The one record that can go on, where there is no choice, and how far.
    fn only(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let [world] = self.all.as_slice() else { return None };
        let mut fresh = world.open.iter().enumerate().filter(|(_, strand)| strand.fresh());
        match (fresh.next(), fresh.next()) {
            (Some((at, strand)), None) => Some((at, strand.measure(bytes))),
            _ => None,
        }
    }

    /// Gives bytes of a stream that nobody wants to a record that was thought dead.
    fn revived(&mut self, bytes: &[u8], sure: impl Fn(usize) -> bool) -> usize {
        let [world] = self.all.as_slice() else { return 0 };
        let old = world.open.iter().rfind(|strand| !strand.fresh());
        let taken = old.map_or(0, |strand| strand.measure(bytes));
        if sure(taken) && self.revive(first(bytes, taken)) { taken } else { 0 }
    }

    /// Every way to cut the bytes into pieces of the records in progress, as far as one of them
    /// goes: what comes of those that go that far. A figure may be two, of two records.
    fn explore(&self, bytes: &[u8]) -> (usize, Vec<World>) {
        let start = self.all.iter().map(|world| (0, world.clone())).collect();
        let mut reached = BTreeMap::from([(0usize, (start, false))]);
        let mut farthest = (0, Vec::new());
        while let Some((at, (worlds, more))) = reached.pop_first() {
            let mut worlds = likely(worlds, more);
            if at > 0 {
                worlds = reduce(worlds, self.several > 0, self.stream);
            }
            if worlds.len() > WORLDS || self.tired() {
                worlds = united(worlds, self.stream).into_iter().collect();
            }
            let mut ways = 0usize;
            for world in &worlds {
                for (strand, taken) in world.ways(after(bytes, at)) {
                    spend(&self.effort, 1);
                    ways = ways.saturating_add(1);
                    let (next, more) = reached.entry(at.saturating_add(taken)).or_default();
                    if ways > WAYS {
                        *more = true;
                        break;
                    }
                    let mut world = world.clone();
                    if world.give(strand, first(after(bytes, at), taken)) {
                        add(next, world.sum(), world, World::merge);
                    }
                }
            }
            if !worlds.is_empty() {
                farthest = (at, worlds);
            }
        }
        farthest
    }

    /// Whether all of these bytes can be the next pieces of the records in progress.
    pub(in crate::go) fn reaches(&self, bytes: &[u8]) -> bool {
        if let Some((_, taken)) = self.only(bytes) {
            return taken == bytes.len();
        }
        !self.tired() && self.wants(bytes) && self.explore(bytes).0 == bytes.len()
    }

    /// Whether the first of these bytes can be the next piece of a record in progress.
    pub(in crate::go) fn wants(&self, bytes: &[u8]) -> bool {
        self.all.iter().any(|world| world.ways(bytes).next().is_some())
    }

    /// Gives back what was read of the youngest record, if that is hardly anything: what follows
    /// is somebody's text, and so was that.
    pub(in crate::go) fn unmask(&mut self) -> Option<Vec<u8>> {
        let youngest = |world: &World| {
            let (at, strand) =
                world.open.iter().enumerate().max_by_key(|(_, strand)| strand.number)?;
            Some((at, strand.number, strand.hardly()?.to_vec()))
        };
        let (_, number, read) = youngest(self.all.first()?)?;
        let same = |world: &World| {
            youngest(world).is_some_and(|(_, of, bytes)| (of, &bytes) == (number, &read))
        };
        if !self.all.iter().all(same) {
            return None;
        }
        self.all.iter_mut().for_each(|world| world.open.retain(|strand| strand.number != number));
        Some(read)
    }

    /// A line of a stream has ended; what did not go on for many is given up.
    pub(in crate::go) fn age(&mut self) {
        self.each().for_each(Strand::age);
        if self.each().any(|strand| strand.aged()) {
            self.collapse();
            let Some(world) = self.all.first_mut() else { return };
            self.ready.append(&mut world.done);
            let old = world.open.extract_if(.., |strand| strand.aged());
            self.ready.extend(old.map(Strand::doubt));
        }
    }
}
