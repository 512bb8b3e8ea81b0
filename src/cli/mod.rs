//! Commands, flags and help.

#![forbid(unsafe_code)]

pub(crate) mod flags;
pub(crate) mod out;
pub(crate) mod values;

use std::process::ExitCode;

/// Everything `goinit` does, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(word) if word == "__evidence" => {
            ExitCode::from(crate::host::evidence::main(args.collect()).0)
        }
        Some(_) | None => ExitCode::SUCCESS,
    }
}
