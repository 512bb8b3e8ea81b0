//! One thin function per system call; the only unsafe code, and the only place that names `libc`
//! or `nix`. No policy, no logging.

pub mod clock;
pub mod cputime;
pub mod fd;
pub mod job;
pub mod limits;
pub mod memfile;
pub mod memory;
pub mod poll;
pub mod signals;
pub mod spawn;
pub mod start;
pub mod trace;
pub mod trial;
pub mod vm;
pub mod wait;
