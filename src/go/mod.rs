//! What the Go runtime prints and how it lays out its memory: bytes to values. No IO, no clock,
//! no panics; nothing of `linux`.

#![forbid(unsafe_code)]

pub mod bytes;
pub mod elf;
pub mod snapshot;
