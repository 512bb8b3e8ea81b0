//! Goroutines and package init, read from the program's memory.

use crate::policy::evidence::{Goroutines, Probe, Why};
use crate::units::{Mono, Pid};
use std::fs::File;

/// What the reader of goroutines is given.
#[derive(Debug)]
pub struct Look<'a> {
    /// The program.
    pub pid: Pid,
    /// Its memory: /proc/PID/mem, opened right after its exec if goinit started it.
    pub memory: Option<&'a File>,
    /// When it has to be done.
    pub until: Mono,
}

/// All goroutines, or why they cannot be read.
#[must_use]
pub fn goroutines(look: &Look<'_>) -> Probe<Goroutines> {
    if look.memory.is_none() {
        return Probe::Missing(Why::Denied(format!("/proc/{}/mem", look.pid)));
    }
    Probe::Missing(Why::NotAsked)
}
