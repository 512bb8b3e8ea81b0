//! The outside world in safe code: files, processes, threads. No decisions, no text formats.

#![forbid(unsafe_code)]

mod binary;
pub mod cgroup;
pub mod collector;
mod denied;
mod described;
pub mod diagnostics;
pub mod evidence;
pub mod files;
pub mod goroutines;
pub mod intake;
pub mod kubernetes;
mod libraries;
pub mod lookout;
pub mod memory;
pub mod oom;
pub mod program;
mod running;
pub mod sampler;
pub mod sink;
pub mod status;
pub mod supervisor;
pub mod termination;
