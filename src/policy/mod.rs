//! Decisions. No IO, no clock, no threads: a captured log replays to the same verdict.

#![forbid(unsafe_code)]

pub mod evidence;
pub mod history;
pub mod progress;
pub mod record;
pub mod verdict;
pub mod watchdog;
