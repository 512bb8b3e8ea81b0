//! Values of flags and variables: what a person writes, to what the program needs. Each error
//! completes the sentence `--flag=value …` and says what to write instead.

use crate::exit::Code;
use crate::units::Signal;
use std::path::PathBuf;
use std::time::Duration;

/// `30s`, `1m30s`, `500ms`, `1.5s`, `0`.
pub(crate) fn duration(value: &str) -> Result<Duration, String> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(value)
        .map_err(|_| "is not a duration; write it like 30s, 1m30s or 500ms".to_owned())
}

/// `1 0 true false`; a switch without value counts as 1.
pub(crate) fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err("is neither 1, true, 0 nor false".to_owned()),
    }
}

/// One of a few words.
pub(crate) fn choice<T: Copy>(value: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        format!("is not one of {}", list.join(", "))
    })
}

/// An exit code.
pub(crate) fn code(value: &str) -> Result<Code, String> {
    // `parse` alone would take "+1" as well.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value
        .parse()
        .ok()
        .filter(|_| digits)
        .map(Code)
        .ok_or_else(|| "is not an exit code; write a number from 0 to 255".to_owned())
}

/// A number within bounds.
pub(crate) fn number(value: &str, least: usize, most: usize) -> Result<usize, String> {
    value
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("is not a number from {least} to {most}"))
}

/// A signal by name or number.
pub(crate) fn signal(value: &str) -> Result<Signal, String> {
    Signal::parse(value)
        .ok_or_else(|| format!("names no signal ({value:?}); write TERM, SIGTERM, 15 or RTMIN+1"))
}

/// A path. goinit leaves its directory, so a relative one is completed here.
pub(crate) fn path(value: &str) -> Result<PathBuf, String> {
    std::path::absolute(text(value)?).map_err(|error| format!("is no path here: {error}"))
}

/// Any text but an empty one.
pub(crate) fn text(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_in_go() {
        let check = |text, millis| {
            assert_eq!(duration(text).ok().map(|d| d.as_millis()), millis, "{text}");
        };
        check("30s", Some(30_000));
        check("1m30s", Some(90_000));
        check("500ms", Some(500));
        check("1h", Some(3_600_000));
        check("0", Some(0));
        check("0s", Some(0));
        check("", None);
        check("5", None);
        check("-5s", None);
        check("banana", None);
        check("1.5s", Some(1_500));
    }

    #[test]
    fn a_relative_path_is_meant_from_where_we_are() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(path("dumps/a"), Ok(here.join("dumps/a")));
        assert_eq!(path("/dumps"), Ok("/dumps".into()));
        assert!(path("").is_err());
    }

    #[test]
    fn exit_codes_are_numbers_from_0_to_255() {
        assert_eq!(code("255"), Ok(Code(255)));
        for wrong in ["256", "", "-1", "+1", "x", "1 "] {
            assert!(code(wrong).is_err(), "{wrong}");
        }
    }
}
