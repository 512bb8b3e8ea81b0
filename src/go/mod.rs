//! What the Go runtime prints and how it lays out its memory: bytes to values. No IO, no clock,
//! no panics; nothing of `linux`.

#![forbid(unsafe_code)]

pub mod allgs;
pub mod buildinfo;
pub mod bytes;
pub mod calibrate;
mod classify;
pub mod crash;
mod detail;
pub mod dump;
pub mod element;
pub mod elf;
pub mod entry;
pub mod fields;
pub mod gather;
pub mod gc;
mod glue;
pub mod goroutine;
pub mod image;
pub mod init;
pub mod inittask;
pub mod json;
pub mod layout;
pub mod line;
pub mod list;
pub mod locks;
pub mod memory;
pub mod module;
mod packets;
pub mod pclntab;
mod pieces;
pub mod print;
pub mod program;
pub mod reasons;
mod scan;
pub mod sched;
pub mod snapshot;
mod strand;
mod stream;
pub mod subject;
pub mod summary;
pub mod sweep;
pub mod symbol;
mod traceback;
mod tracks;
pub mod unwind;
pub mod waiting;
pub mod walk;
mod weave;
mod worlds;
