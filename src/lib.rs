//! goinit: what runs as PID 1 in front of a Go program.
//!
//! Data flows one way: bytes → lines → entries → snapshots → verdicts → actions. A floor knows
//! the floors below it and nothing above; `tests/it/tidy.rs` reads the `use` lines and fails on
//! a breach. ARCHITECTURE.md walks through the house.

pub mod units;

pub mod exit;

/// Floor 0: one thin function per system call; the only unsafe code.
pub mod sys;

/// Floor 1: what the Go runtime prints and how it lays out memory; bytes to values.
pub mod go;

/// Floor 1: text formats of kernel files; bytes to values.
pub mod linux;

/// Floor 2: decisions, without IO or clock.
pub mod policy;

/// Floor 3: the outside world in safe code.
pub mod host;

/// Floor 4: commands, flags and help.
pub mod cli;
