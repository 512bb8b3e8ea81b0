//! The outside world in safe code: files, processes, threads. No decisions, no text formats.

#![forbid(unsafe_code)]

pub mod sink;
