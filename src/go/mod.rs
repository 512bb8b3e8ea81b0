//! What the Go runtime prints and how it lays out its memory: bytes to values. No IO, no clock,
//! no panics; nothing of `linux`.

#![forbid(unsafe_code)]

pub mod buildinfo;
pub mod bytes;
mod classify;
pub mod crash;
mod detail;
pub mod dump;
pub mod elf;
pub mod entry;
pub mod gc;
pub mod init;
pub mod json;
mod lanes;
pub mod line;
mod scan;
pub mod sched;
pub mod snapshot;
mod traceback;
