//! The two clocks. Everybody else is given a [`Now`].

use crate::units::{Mono, Now, Wall};
use nix::libc::timespec;
use std::time::Duration;

/// Nanoseconds of a `timespec`; clocks read here never go below zero.
fn nanoseconds(time: timespec) -> u64 {
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or(0));
    u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX)
}

/// CLOCK_MONOTONIC, see clock_gettime(2).
#[must_use]
pub fn mono() -> Mono {
    Mono(read(nix::libc::CLOCK_MONOTONIC))
}

/// Both clocks, one after the other.
#[must_use]
pub fn now() -> Now {
    Now { mono: mono(), wall: Wall(read(nix::libc::CLOCK_REALTIME)) }
}

#[expect(unsafe_code, reason = "nix's clock_gettime needs its `time` feature for two calls")]
fn read(clock: nix::libc::clockid_t) -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec that the call fills; both clocks exist on every Linux.
    unsafe { nix::libc::clock_gettime(clock, &raw mut time) };
    nanoseconds(time)
}
