//! Measuring the layout of a Go version that is not in the table, from live data.
//!
//! Each field has a property that only it has: the goroutine numbers are distinct and the first
//! is 1; only `sched.g` points back; only `startpc` of the first goroutine is `runtime.main`. The
//! properties give exactly the table on every version in it. What does not fit is refused.

use super::bytes::{u32_at, u64_at, wide};
use super::gather::Gathered;
use super::layout::{G_M, Layout, SCHED_SP, STACK_HI, STACK_LO};
use super::memory::ReadMemory;
use super::program::Program;

/// Goroutines looked at.
const SAMPLE: usize = 64;
/// Bytes of each `g` looked at; every known one is at most 456 long.
const BYTES: usize = 456;

/// The layout of this program, or nothing when a property holds nowhere or in two places.
#[must_use]
pub fn measure(program: &Program<'_>, memory: &dyn ReadMemory) -> Option<Layout> {
    let addresses = program.goroutines(memory, SAMPLE).list;
    let gathered = Gathered::read(memory, &addresses, BYTES);
    let sample: Vec<(u64, &[u8])> = addresses
        .iter()
        .enumerate()
        .filter_map(|(number, address)| Some((*address, gathered.get(number)?)))
        .collect();
    let (_, first) = sample.first()?;
    let word = |bytes: &[u8], at: usize| u64_at(bytes, at).unwrap_or(0);

    let goid = only((112..256).step_by(8).filter(|at| numbers(&sample, *at)))?;
    let parked: Vec<(u64, &[u8])> = sample
        .iter()
        .copied()
        .filter(|(_, bytes)| u32_at(bytes, goid.saturating_sub(8)) == Some(4))
        .collect();
    // The fields in front have not moved since 1.18; if they have, nothing else can be trusted.
    let back = only((24..168).step_by(8).filter(|at| {
        !parked.is_empty() && parked.iter().all(|(address, bytes)| word(bytes, *at) == *address)
    }))?;
    if back != SCHED_SP + 16 {
        return None;
    }
    let main = program.table.function_named("runtime.main")?.entry;
    let start = only((200..BYTES).step_by(8).filter(|at| {
        word(first, *at) == main
            && sample.iter().all(|(_, bytes)| {
                let pc = word(bytes, *at);
                pc == 0 || program.table.function_at(pc).is_some_and(|it| it.entry == pc)
            })
    }))?;
    let frame = (SCHED_SP + 32..=SCHED_SP + 56).step_by(8).find(|at| {
        parked.iter().all(|(_, bytes)| {
            (word(bytes, STACK_LO)..word(bytes, STACK_HI)).contains(&word(bytes, *at))
        })
    })?;
    let current = current(memory, &sample, word);
    let newest = Layout::newest();
    let at = |offset: usize| u16::try_from(offset).ok();
    Some(Layout {
        minor: program.version.as_ref().map_or(0, |version| version.minor),
        size: newest.size,
        syscall_sp: at(frame + 8)?,
        status: at(goid.checked_sub(8)?)?,
        goid: at(goid)?,
        wait_since: at(goid + 16)?,
        wait_reason: at(goid + 24)?,
        // Not measurable; the other fields of a look still have to agree.
        tracking: 0,
        locked_m: 0,
        parent: at(start.checked_sub(24)?)?,
        created_pc: at(start.checked_sub(16)?)?,
        start_pc: at(start)?,
        waiting: at(start + 16)?,
        timer: 0,
        sleep_when: 0,
        cleanups: 0,
        m_tid: newest.m_tid,
        m_curg: current.unwrap_or(newest.m_curg),
        ..newest
    })
}

/// The one value of `places`, if there is exactly one.
fn only(mut places: impl Iterator<Item = usize>) -> Option<usize> {
    let place = places.next()?;
    places.next().is_none().then_some(place)
}

/// Whether the words at `at` are goroutine numbers: the first is 1, all differ, none is large.
fn numbers(sample: &[(u64, &[u8])], at: usize) -> bool {
    let mut ids: Vec<u64> =
        sample.iter().map(|(_, bytes)| u64_at(bytes, at).unwrap_or(0)).collect();
    let first = ids.first() == Some(&1);
    ids.sort_unstable();
    let distinct = ids.windows(2).all(|pair| pair.first() != pair.last());
    let small = ids.iter().all(|id| (1..1 << 48).contains(id));
    first && distinct && small && wide(ids.len()) > 1
}

/// Where `m.curg` is: the last word of an `m` that is the goroutine it belongs to.
fn current(
    memory: &dyn ReadMemory,
    sample: &[(u64, &[u8])],
    word: impl Fn(&[u8], usize) -> u64,
) -> Option<u16> {
    sample.iter().find_map(|(address, bytes)| {
        let mut m = [0u8; 400];
        if word(bytes, G_M) == 0 || !memory.read(word(bytes, G_M), &mut m) {
            return None;
        }
        let last = (0..400).step_by(8).rfind(|at| word(&m, *at) == *address)?;
        u16::try_from(last).ok()
    })
}
