//! Text formats of kernel files: bytes to values. No IO, no clock, no panics; nothing of `go`.

#![forbid(unsafe_code)]

pub mod cgroup;
pub mod mountinfo;
