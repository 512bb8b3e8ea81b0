//! Waiting for descriptors until an instant. HUP and ERR count as readable: an empty pipe whose
//! writers left reports POLLHUP alone, and reading it tells.

use crate::units::{Mono, Now};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// No wait is longer: nobody notices one wake-up a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Waits until one of the descriptors is readable or the deadline passed; says for each whether
/// it is readable. A `None` descriptor is skipped. EINTR counts as nothing readable.
pub fn readable<const N: usize>(
    descriptors: [Option<BorrowedFd<'_>>; N],
    deadline: Option<Mono>,
    now: Now,
) -> [bool; N] {
    let mut ready = [false; N];
    let mut wanted: [Option<PollFd<'_>>; N] =
        descriptors.map(|fd| fd.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    let mut dense: Vec<PollFd<'_>> = Vec::with_capacity(N);
    let mut places = [0usize; N];
    for (place, fd) in wanted.iter_mut().enumerate() {
        if let Some(fd) = fd.take() {
            if let Some(slot) = places.get_mut(dense.len()) {
                *slot = place;
            }
            dense.push(fd);
        }
    }
    // Always ppoll(2), which knows times below a millisecond, and not first in a flood: a sandbox
    // that kills whoever calls it shows that at the start then. One that refuses it has poll(2).
    let patience = deadline.map(|at| at.since(now.mono).min(LONGEST));
    let found = match nix::poll::ppoll(&mut dense, patience.map(Into::into), None) {
        Err(error) if error != nix::Error::EINTR => nix::poll::poll(&mut dense, timeout(patience)),
        done => done,
    };
    if !matches!(found, Ok(n) if n > 0) {
        return ready;
    }
    for (fd, place) in dense.iter().zip(places) {
        let any = fd.revents().is_some_and(|events| !events.is_empty());
        if let Some(slot) = ready.get_mut(place) {
            *slot = any;
        }
    }
    ready
}

/// Milliseconds for poll(2), rounded up: waking before the deadline would spin.
fn timeout(patience: Option<Duration>) -> PollTimeout {
    let Some(patience) = patience else { return PollTimeout::NONE };
    let millis = patience.as_nanos().div_ceil(1_000_000);
    i32::try_from(millis)
        .ok()
        .and_then(|ms| PollTimeout::try_from(ms).ok())
        .unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_rounded_down() {
        assert_eq!(timeout(Some(Duration::from_nanos(1))), PollTimeout::from(1u8));
        assert_eq!(timeout(Some(Duration::ZERO)), PollTimeout::ZERO);
        assert_eq!(timeout(None), PollTimeout::NONE);
        assert_eq!(timeout(Some(Duration::from_secs(u64::MAX))), PollTimeout::MAX);
    }
}
