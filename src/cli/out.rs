//! Words to the person at the terminal: standard output and standard error, where a reader that
//! went away is no error. Lint-enforced: the printing macros panic on a closed pipe.

use crate::exit::Code;
use std::io::{IsTerminal, Write};

/// Writes to standard output; a closed pipe ends nothing.
pub(crate) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes one line that begins with `goinit: ` to standard error.
pub(crate) fn error(text: &str) {
    let mut line = String::with_capacity(text.len() + 9);
    line.push_str("goinit: ");
    line.push_str(text);
    line.push('\n');
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// The first step of every subcommand: what was asked for, or the exit code after the help or the
/// error was printed.
pub(crate) fn asked<T>(parsed: Result<Option<T>, String>, help: &str) -> Result<T, Code> {
    match parsed {
        Ok(Some(request)) => Ok(request),
        Ok(None) => {
            print(help);
            Err(Code::SUCCESS)
        }
        Err(sentence) => {
            error(&sentence);
            Err(Code::FAILED)
        }
    }
}

/// Whether standard output may carry colour: a terminal, and nobody said NO_COLOR
/// (<https://no-color.org>).
pub(crate) fn colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        && std::io::stdout().is_terminal()
}

/// Columns of the page: `COLUMNS`, the terminal's, or 100 where there is none.
pub(crate) fn columns() -> usize {
    const ELSE: usize = 100;
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let columns = told.or_else(|| crate::sys::fd::columns(&std::io::stdout()).map(usize::from));
    columns.filter(|columns| (40..=1_000).contains(columns)).unwrap_or(ELSE)
}
