//! What the Go runtime prints and how it lays out its memory: bytes to values. No IO, no clock,
//! no panics; nothing of `linux`.

#![forbid(unsafe_code)]

pub mod buildinfo;
pub mod bytes;
pub mod elf;
pub mod crash;
mod detail;
pub mod dump;
pub mod entry;
pub mod gc;
pub mod init;
pub mod json;
pub mod line;
mod classify;
mod lanes;
mod scan;
pub mod sched;
pub mod snapshot;
mod traceback;
