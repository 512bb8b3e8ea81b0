//! Decisions. No IO, no clock, no threads: a captured log replays to the same verdict.

#![forbid(unsafe_code)]

pub mod backlog;
pub mod config;
pub mod diagnosis;
pub mod dumped;
pub mod event;
pub mod evidence;
mod farewell;
pub mod greeting;
mod hang;
pub mod history;
pub mod journal;
pub mod limits;
mod losses;
pub mod outbox;
pub mod pace;
pub mod progress;
pub mod record;
pub mod repeat;
pub mod report;
pub mod resize;
pub mod session;
pub mod settings;
pub mod shutdown;
pub mod sign;
pub mod startable;
pub mod status;
pub mod testimony;
pub mod verdict;
pub mod watchdog;
