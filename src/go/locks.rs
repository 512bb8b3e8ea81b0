//! Who probably holds a lock, and rings of goroutines that wait for one another.
//!
//! Go records no holder. A goroutine that is not waiting for a lock but has its address in a live
//! stack word probably holds it: `Lock` was called with that address and `Unlock` still will be.
//! Others that merely refer to the lock look the same, so every sentence says "possibly".

use super::bytes::{index, u64_at, wide};
use super::gather::Gathered;
use super::goroutine::{Dump, LockKind, Status, Wait};
use super::layout::{Layout, SCHED_SP, STACK_HI, STACK_LO};
use super::memory::{Piece, ReadMemory};
use std::collections::{BTreeMap, BTreeSet};

/// Locks looked for, those with most waiters first.
const LOCKS: usize = 64;
/// Holders named per lock.
const HOLDERS: usize = 8;
/// Stack bytes looked at per goroutine.
const STACK_BYTES: u64 = 64 * 1024;
/// Goroutines read together.
const CHUNK: usize = 256;
/// Stack bytes read together; what does not fit is cut.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;
/// Goroutines in a ring.
const RING: usize = 64;

/// A goroutine that may hold a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The lock's address.
    pub lock: u64,
    /// The goroutine's number.
    pub goroutine: u64,
}

/// Finds holders of the locks that goroutines of `dump` wait for, and rings among them; and who
/// has one of the addresses `asked` on its stack, be it a lock, a channel or anything else.
pub fn find(
    memory: &dyn ReadMemory,
    layout: &Layout,
    dump: &mut Dump,
    asked: &[u64],
    expired: &dyn Fn() -> bool,
) {
    let mut locks = wanted(dump);
    for at in asked {
        let waiters = dump.waiting_for(*at).map(|goroutine| goroutine.id);
        locks.insert(*at, waiters.collect());
    }
    if locks.is_empty() {
        return;
    }
    let mut found = BTreeSet::new();
    for chunk in dump.goroutines.chunks(CHUNK) {
        if expired() {
            break;
        }
        let places: Vec<u64> = chunk.iter().map(|goroutine| goroutine.address).collect();
        let states = Gathered::read(memory, &places, layout.size.into());
        let mut stacks: Vec<(u64, u64, Vec<u8>)> = Vec::new();
        let mut bytes = 0;
        for (number, goroutine) in chunk.iter().enumerate() {
            let Some(state) = states.get(number) else { continue };
            let word = |at: usize| u64_at(state, at).unwrap_or(0);
            let (low, high) = (word(STACK_LO), word(STACK_HI));
            let syscall = word(layout.syscall_sp.into());
            let sp = if syscall == 0 { word(SCHED_SP) } else { syscall };
            let running = goroutine.status == Status::RUNNING;
            if !(low..high).contains(&sp) || running || bytes > CHUNK_BYTES {
                continue;
            }
            let length = index((high - sp).min(STACK_BYTES));
            bytes += length;
            stacks.push((goroutine.id, sp, vec![0u8; length]));
        }
        let mut pieces: Vec<Piece<'_>> =
            stacks.iter_mut().map(|(_, sp, stack)| Piece::new(*sp, stack)).collect();
        memory.read_pieces(&mut pieces);
        drop(pieces);
        for (goroutine, _, stack) in &stacks {
            for word in stack.chunks_exact(8).filter_map(|word| u64_at(word, 0)) {
                if let Some(waiters) = locks.get(&word)
                    && !waiters.contains(goroutine)
                {
                    found.insert(Holder { lock: word, goroutine: *goroutine });
                }
            }
        }
    }
    let mut named: BTreeMap<u64, usize> = BTreeMap::new();
    dump.holders = found
        .into_iter()
        .filter(|holder| {
            let count = named.entry(holder.lock).or_default();
            *count += 1;
            *count <= HOLDERS
        })
        .collect();
    dump.cycles = rings(dump);
}

/// The locks with most waiters, with the goroutines that wait for them.
fn wanted(dump: &Dump) -> BTreeMap<u64, BTreeSet<u64>> {
    let mut locks: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for goroutine in &dump.goroutines {
        for wait in &goroutine.waits {
            let kinds = [LockKind::Mutex, LockKind::Read, LockKind::Write];
            if let Wait::Lock(kind, at) = wait
                && kinds.contains(kind)
            {
                locks.entry(*at).or_default().insert(goroutine.id);
            }
        }
    }
    let mut sizes: Vec<(usize, u64)> = locks.iter().map(|(at, set)| (set.len(), *at)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    for (_, at) in sizes.get(LOCKS..).unwrap_or(&[]) {
        locks.remove(at);
    }
    locks
}

/// Rings: each goroutine waits for a lock that the next one possibly holds.
fn rings(dump: &Dump) -> Vec<Vec<u64>> {
    let mut waits: BTreeMap<u64, u64> = BTreeMap::new();
    for goroutine in &dump.goroutines {
        for wait in &goroutine.waits {
            if let Wait::Lock(LockKind::Mutex | LockKind::Read | LockKind::Write, at) = wait {
                waits.insert(goroutine.id, *at);
            }
        }
    }
    let mut next: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (waiter, lock) in &waits {
        let holders = dump.holders.iter().filter(|holder| holder.lock == *lock);
        let holders: Vec<u64> =
            holders.map(|it| it.goroutine).filter(|id| waits.contains_key(id)).collect();
        if !holders.is_empty() {
            next.insert(*waiter, holders);
        }
        if wide(next.len()) > 100_000 {
            break;
        }
    }
    let mut found: Vec<Vec<u64>> = Vec::new();
    let mut seen = BTreeSet::new();
    for start in next.keys() {
        if let Some(ring) = ring_from(*start, &next, &seen) {
            seen.extend(ring.iter().copied());
            found.push(ring);
        }
        if found.len() >= LOCKS {
            break;
        }
    }
    found
}

/// The ring through `start`, following every possible holder depth first.
fn ring_from(
    start: u64,
    next: &BTreeMap<u64, Vec<u64>>,
    known: &BTreeSet<u64>,
) -> Option<Vec<u64>> {
    if known.contains(&start) {
        return None;
    }
    let mut path = vec![start];
    let mut visited = BTreeSet::from([start]);
    let mut choices = vec![0usize];
    while let (Some(at), Some(choice)) = (path.last().copied(), choices.last_mut()) {
        let taken = *choice;
        *choice += 1;
        match next.get(&at).and_then(|holders| holders.get(taken)) {
            Some(holder) if *holder == start => return Some(path),
            Some(holder) if path.len() < RING && visited.insert(*holder) => {
                path.push(*holder);
                choices.push(0);
            }
            Some(_) => {}
            None => {
                path.pop();
                choices.pop();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_found_once_and_a_chain_is_not_a_ring() {
        let next = BTreeMap::from([(1, vec![9, 2]), (2, vec![3]), (3, vec![1]), (4, vec![1])]);
        assert_eq!(ring_from(1, &next, &BTreeSet::new()), Some(vec![1, 2, 3]));
        assert_eq!(ring_from(4, &next, &BTreeSet::new()), None);
        assert_eq!(ring_from(2, &next, &BTreeSet::from([2])), None);
    }
}
