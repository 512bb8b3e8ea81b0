//! The roof: arguments in, exit code out.
//!
//! C's `main` and not Rust's: before its own main Rust reads /proc/self/maps and makes a signal
//! stack, to explain an overflow of the stack that goinit would not survive anyway. That is a
//! tenth of the time until the program runs.

#![no_main]
#![expect(unsafe_code, reason = "the C library finds `main` by its name")]

use goinit::cli::{self, Argv};
use std::ffi::c_int;

#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: Argv) -> c_int {
    cli::main(count, arguments)
}
