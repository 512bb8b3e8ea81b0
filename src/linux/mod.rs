//! Text formats of kernel files: bytes to values. No IO, no clock, no panics; nothing of `go`.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod fdinfo;
pub mod ldcache;
pub mod locks;
pub mod maps;
pub mod mountinfo;
pub mod net;
pub mod psi;
pub mod stat;
pub mod syscalls;
pub mod task;
