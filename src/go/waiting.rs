//! What a parked goroutine waits for: channels, locks, descriptors, a moment.
//!
//! Channels hang on the goroutine's own list of `sudog`s. Semaphores do too since 1.26; before,
//! their `sudog` is found among the words of the innermost frames, as is the `pollDesc` of one
//! that waits for a descriptor. A word is believed only when what it points to points back.

use super::bytes::{u8_at, u32_at, u64_at};
use super::fields::RawG;
use super::gather::Gathered;
use super::goroutine::{Channel, Dump, Goroutine, Lock, LockKind, Status, Wait};
use super::layout::{CHAN_BYTES, Layout, POLL_FD, SUDOG_BYTES, TIMER_WHEN};
use super::memory::ReadMemory;
use super::symbol::Symbols;
use super::unwind::Call;
use std::collections::HashMap;

/// Frames whose words are looked at.
const FRAMES: usize = 6;
/// Words looked at per goroutine.
const WORDS: usize = 256;
/// Cases of a select that are followed.
const CASES: usize = 64;
/// Channels, and locks, described at most.
const OBJECTS: usize = 100_000;

/// What the stack of one goroutine suggests.
#[derive(Clone, Debug)]
pub struct Clue {
    address: u64,
    kind: Suspect,
    words: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspect {
    Lock(LockKind),
    Poll { write: bool },
    Sleep,
}

/// What to look for, from the wait reason and the innermost frames.
#[must_use]
pub fn clue(
    raw: &RawG,
    reason: &str,
    calls: &[Call],
    word: &dyn Fn(u64) -> Option<u64>,
    goroutine: &Goroutine,
    symbols: &Symbols,
) -> Option<Clue> {
    let frames = || {
        let sites = symbols.stack(goroutine.stack).map_or(&[][..], |stack| &stack.sites);
        let sites = sites.get(..FRAMES.min(sites.len())).unwrap_or(&[]);
        sites.iter().flat_map(|site| symbols.frames(*site)).map(|frame| symbols.function(frame))
    };
    let kind = match reason {
        "sleep" => Suspect::Sleep,
        "IO wait" => Suspect::Poll { write: frames().any(|name| name.ends_with(".waitWrite")) },
        "sync.Mutex.Lock" => Suspect::Lock(LockKind::Mutex),
        "sync.RWMutex.RLock" => Suspect::Lock(LockKind::Read),
        "sync.RWMutex.Lock" => Suspect::Lock(LockKind::Write),
        "sync.WaitGroup.Wait" => Suspect::Lock(LockKind::WaitGroup),
        "semacquire" => Suspect::Lock(lock_kind(frames())),
        _ => return None,
    };
    let limits = if matches!(kind, Suspect::Poll { .. }) {
        netpoll_frame(calls, symbols, goroutine)
    } else {
        None
    };
    let calls = match limits {
        Some(number) => calls.get(number..=number)?,
        None => calls.get(..FRAMES.min(calls.len()))?,
    };
    let mut words = Vec::new();
    if kind != Suspect::Sleep {
        for call in calls {
            let mut at = call.sp;
            while at < call.fp && words.len() < WORDS {
                let value = word(at).unwrap_or(0);
                let own = (raw.low..raw.high).contains(&value);
                if value > 0xffff && value.is_multiple_of(8) && !own && value != raw.address {
                    words.push(value);
                }
                at = at.saturating_add(8);
            }
        }
        words.sort_unstable();
        words.dedup();
    }
    Some(Clue { address: raw.address, kind, words })
}

/// Which lock's method stands on the stack, for Go 1.19 and for WaitGroups before 1.25.
fn lock_kind<'s>(mut frames: impl Iterator<Item = &'s str>) -> LockKind {
    let found = frames.find_map(|name| {
        Some(match name.strip_prefix("sync.")? {
            "(*Mutex).lockSlow" | "(*Mutex).Lock" => LockKind::Mutex,
            "(*WaitGroup).Wait" => LockKind::WaitGroup,
            "(*RWMutex).RLock" => LockKind::Read,
            "(*RWMutex).Lock" => LockKind::Write,
            _ => return None,
        })
    });
    found.unwrap_or(LockKind::Semaphore)
}

fn netpoll_frame(calls: &[Call], symbols: &Symbols, goroutine: &Goroutine) -> Option<usize> {
    let sites = &symbols.stack(goroutine.stack)?.sites;
    let blocks = |site| {
        let mut frames = symbols.frames(site).iter();
        frames.any(|frame| symbols.function(frame) == "runtime.netpollblock")
    };
    let number = sites.iter().take(FRAMES).position(|site| blocks(*site))?;
    (number < calls.len()).then_some(number)
}

/// Follows all clues of a chunk together and fills in what the goroutines wait for.
pub fn resolve(
    memory: &dyn ReadMemory,
    layout: &Layout,
    raws: &[RawG],
    clues: &[Clue],
    goroutines: &mut [Goroutine],
    dump: &mut Dump,
) {
    let numbers: HashMap<u64, usize> =
        raws.iter().enumerate().map(|(number, raw)| (raw.address, number)).collect();
    let mut waits: Vec<Vec<Wait>> = vec![Vec::new(); raws.len()];
    let kinds: HashMap<u64, LockKind> = clues
        .iter()
        .filter_map(|clue| match clue.kind {
            Suspect::Lock(kind) => Some((clue.address, kind)),
            Suspect::Poll { .. } | Suspect::Sleep => None,
        })
        .collect();
    follow_sudogs(memory, layout, raws, &kinds, &mut waits);
    for clue in clues {
        let Some(number) = numbers.get(&clue.address) else { continue };
        let (Some(raw), Some(waits)) = (raws.get(*number), waits.get_mut(*number)) else {
            continue;
        };
        if !waits.is_empty() {
            continue;
        }
        let wait = match clue.kind {
            Suspect::Sleep => sleep(memory, raw),
            Suspect::Lock(kind) => semaphore(memory, layout, clue, kind),
            Suspect::Poll { write } => descriptor(memory, layout, clue, write),
        };
        waits.extend(wait);
    }
    for (waits, goroutine) in waits.into_iter().zip(goroutines.iter_mut()) {
        goroutine.waits = waits.into_boxed_slice();
    }
    describe_channels(memory, goroutines, dump);
    describe_locks(memory, goroutines, dump);
}

/// Walks `g.waiting` of all goroutines, one link of each per round.
fn follow_sudogs(
    memory: &dyn ReadMemory,
    layout: &Layout,
    raws: &[RawG],
    kinds: &HashMap<u64, LockKind>,
    waits: &mut [Vec<Wait>],
) {
    let mut open: Vec<(usize, u64)> = raws
        .iter()
        .enumerate()
        .filter(|(_, raw)| {
            raw.waiting != 0 && matches!(raw.status(), Status::WAITING | Status::LEAKED)
        })
        .map(|(number, raw)| (number, raw.waiting))
        .collect();
    for _ in 0..CASES {
        if open.is_empty() {
            return;
        }
        let places: Vec<u64> = open.iter().map(|(_, place)| *place).collect();
        let found = Gathered::read(memory, &places, SUDOG_BYTES);
        let mut next = Vec::new();
        for (at, (number, _)) in open.iter().enumerate() {
            let (Some(sudog), Some(raw)) = (found.get(at), raws.get(*number)) else { continue };
            let word = |at: u16| u64_at(sudog, at.into()).unwrap_or(0);
            if word(0) != raw.address {
                continue;
            }
            let (channel, element) = (word(layout.sudog_chan), word(layout.sudog_elem));
            if let Some(waits) = waits.get_mut(*number) {
                if channel != 0 {
                    waits.push(Wait::Channel(channel));
                } else if let Some(kind) = kinds.get(&raw.address)
                    && element != 0
                {
                    waits.push(lock(*kind, element));
                }
            }
            if word(layout.sudog_link) != 0 {
                next.push((*number, word(layout.sudog_link)));
            }
        }
        open = next;
    }
}

/// The lock around a semaphore: `sync` puts the word at a fixed place in each type.
fn lock(kind: LockKind, semaphore: u64) -> Wait {
    let before = match kind {
        LockKind::Mutex => 4,
        LockKind::WaitGroup | LockKind::Write => 8,
        LockKind::Read => 12,
        LockKind::Semaphore => 0,
    };
    Wait::Lock(kind, semaphore.saturating_sub(before))
}

/// The `sudog` among the words: its first word is the goroutine, its element the semaphore.
fn semaphore(
    memory: &dyn ReadMemory,
    layout: &Layout,
    clue: &Clue,
    kind: LockKind,
) -> Option<Wait> {
    let found = Gathered::read(memory, &clue.words, 48);
    (0..clue.words.len()).find_map(|number| {
        let sudog = found.get(number)?;
        let element = u64_at(sudog, layout.sudog_elem.into())?;
        (u64_at(sudog, 0)? == clue.address && element != 0).then(|| lock(kind, element))
    })
}

/// The `pollDesc` among the words: one of its two slots holds the goroutine.
fn descriptor(memory: &dyn ReadMemory, layout: &Layout, clue: &Clue, write: bool) -> Option<Wait> {
    let found = Gathered::read(memory, &clue.words, 8);
    let slot = (0..clue.words.len())
        .find(|number| found.get(*number).and_then(|word| u64_at(word, 0)) == Some(clue.address))?;
    let slot = clue.words.get(slot)?;
    let base = slot.checked_sub(u64::from(layout.poll_read) + if write { 8 } else { 0 })?;
    let fd = memory.word(base.checked_add(POLL_FD)?)?;
    // RLIMIT_NOFILE cannot exceed 2^30 (fs.nr_open).
    let fd = u32::try_from(fd).ok().filter(|fd| *fd < 1 << 30)?;
    Some(Wait::Poll { fd, write })
}

fn sleep(memory: &dyn ReadMemory, raw: &RawG) -> Option<Wait> {
    if raw.sleep_when != 0 {
        return Some(Wait::Until(raw.sleep_when));
    }
    let when = memory.word(raw.timer.checked_add(TIMER_WHEN).filter(|_| raw.timer != 0)?)?;
    (when != 0).then_some(Wait::Until(when))
}

fn describe_channels(memory: &dyn ReadMemory, goroutines: &[Goroutine], dump: &mut Dump) {
    let mut places: Vec<u64> = goroutines
        .iter()
        .flat_map(|goroutine| &goroutine.waits)
        .filter_map(|wait| if let Wait::Channel(at) = wait { Some(*at) } else { None })
        .filter(|at| !dump.channels.contains_key(at))
        .collect();
    places.sort_unstable();
    places.dedup();
    places.truncate(OBJECTS.saturating_sub(dump.channels.len()));
    let found = Gathered::read(memory, &places, CHAN_BYTES);
    for (number, at) in places.iter().enumerate() {
        let Some(bytes) = found.get(number) else { continue };
        let word = |at| u64_at(bytes, at).unwrap_or(0);
        let (length, capacity, closed) = (word(0), word(8), u8_at(bytes, 28).unwrap_or(0));
        // What breaks the rules of a channel is none, however it was found.
        if length <= capacity && closed <= 1 {
            dump.channels.insert(*at, Channel { length, capacity, closed: closed == 1 });
        }
    }
}

fn describe_locks(memory: &dyn ReadMemory, goroutines: &[Goroutine], dump: &mut Dump) {
    let mut places: Vec<u64> = goroutines
        .iter()
        .flat_map(|goroutine| &goroutine.waits)
        .filter_map(|wait| if let Wait::Lock(_, at) = wait { Some(*at) } else { None })
        .filter(|at| !dump.locks.contains_key(at))
        .collect();
    places.sort_unstable();
    places.dedup();
    places.truncate(OBJECTS.saturating_sub(dump.locks.len()));
    let found = Gathered::read(memory, &places, 24);
    for (number, at) in places.iter().enumerate() {
        let Some(bytes) = found.get(number) else { continue };
        let int = |at| u32_at(bytes, at).unwrap_or(0);
        let lock = Lock {
            low: int(0),
            high: int(4),
            readers: int(16).cast_signed(),
            reader_wait: int(20).cast_signed(),
        };
        dump.locks.insert(*at, lock);
    }
}
