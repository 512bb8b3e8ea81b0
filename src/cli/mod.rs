//! Commands, flags and help.

#![forbid(unsafe_code)]

pub(crate) mod arguments;
pub(crate) mod dump;
pub(crate) mod flags;
pub(crate) mod help;
pub(crate) mod inspect;
pub(crate) mod limits;
pub(crate) mod out;
pub(crate) mod probe;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod values;

use crate::exit::Code;
use crate::sys::start;
use std::ffi::{OsString, c_int};
use std::panic::catch_unwind;

pub use crate::sys::start::Argv;

/// Everything `goinit` does, from the arguments of C's `main` to its exit code.
#[must_use]
pub fn main(count: c_int, arguments: Argv) -> c_int {
    let arguments = start::enter(count, arguments);
    // The panic itself was printed. It must not unwind into C.
    let code = catch_unwind(|| dispatch(&mut arguments.into_iter().skip(1).collect()));
    code.unwrap_or(Code::FAILED).0.into()
}

fn dispatch(arguments: &mut Vec<OsString>) -> Code {
    let first = arguments.first().and_then(|word| word.to_str()).unwrap_or_default().to_owned();
    let mut rest = || arguments.split_off(1);
    match first.as_str() {
        "run" => run::main(rest()),
        "limits" => limits::main(rest()),
        "inspect" => inspect::main(rest()),
        "dump" => dump::main(rest()),
        "probe" => probe::main(rest()),
        "report" => report::main(rest()),
        // Hidden: what the run form starts to look at a program that stalled.
        "__evidence" => crate::host::evidence::main(rest()),
        "help" => {
            out::print(&help::text());
            Code::SUCCESS
        }
        // Hidden: docs/goinit.1 is made from it.
        "__man" => {
            out::print(&help::man());
            Code::SUCCESS
        }
        _ => run::main(std::mem::take(arguments)),
    }
}
