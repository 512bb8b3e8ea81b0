//! Commands, flags and help.

#![forbid(unsafe_code)]

pub(crate) mod flags;
pub(crate) mod out;
pub(crate) mod values;

use std::process::ExitCode;

/// Everything `goinit` does, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
