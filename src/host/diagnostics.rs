//! goinit's words about itself, through the `log` facade: a line becomes a `goinit.debug` record
//! in the next turn of the loop. Warnings always, the rest with `--verbose`.
//!
//! The facade needs one static backend; it holds nothing but lines on their way.

use crate::policy::record::{Origin, Record, Severity};
use log::{Level, LevelFilter, Log, Metadata};
use std::sync::{Mutex, PoisonError};

/// Lines that wait for the loop at most; the rest are counted.
const LINES: usize = 64;

#[derive(Debug)]
struct Backend {
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lines: Vec<(Level, String)>,
    left_out: u64,
}

static BACKEND: Backend =
    Backend { waiting: Mutex::new(Waiting { lines: Vec::new(), left_out: 0 }) };

impl Log for Backend {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, line: &log::Record<'_>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.lines.len() < LINES {
            waiting.lines.push((line.level(), line.args().to_string()));
        } else {
            waiting.left_out += 1;
        }
    }

    fn flush(&self) {}
}

/// Switches the facade on.
pub fn install(verbose: bool) {
    let level = if verbose { LevelFilter::Debug } else { LevelFilter::Warn };
    if log::set_logger(&BACKEND).is_ok() {
        log::set_max_level(level);
    }
}

/// The lines since the last time, as records.
#[must_use]
pub fn take() -> Vec<Record> {
    let mut waiting = BACKEND.waiting.lock().unwrap_or_else(PoisonError::into_inner);
    let left_out = std::mem::take(&mut waiting.left_out);
    let mut records: Vec<Record> = std::mem::take(&mut waiting.lines)
        .into_iter()
        .map(|(level, line)| {
            let severity = match level {
                Level::Error => Severity::Error,
                Level::Warn => Severity::Warn,
                Level::Info => Severity::Info,
                Level::Debug | Level::Trace => Severity::Debug,
            };
            Record::new(severity, "goinit.debug", Origin::Goinit, line)
        })
        .collect();
    if left_out > 0 {
        let line = format!("{left_out} more lines about goinit itself were left out");
        records.push(Record::new(Severity::Warn, "goinit.debug", Origin::Goinit, line));
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_for_the_loop_and_too_many_are_counted() {
        install(true);
        for number in 0..LINES + 3 {
            log::debug!("line {number}");
        }
        let records = take();
        assert_eq!(records.len(), LINES + 1);
        assert_eq!(records.first().map(Record::message), Some("line 0"));
        assert!(records.last().is_some_and(|last| last.message().starts_with("3 more lines")));
        assert!(take().is_empty());
    }
}
