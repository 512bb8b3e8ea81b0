//! Decisions. No IO, no clock, no threads: a captured log replays to the same verdict.

#![forbid(unsafe_code)]

pub mod backlog;
pub mod config;
pub mod event;
pub mod limits;
pub mod outbox;
pub mod record;
pub mod settings;
pub mod shutdown;
pub mod startable;
