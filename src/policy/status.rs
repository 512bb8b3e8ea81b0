//! What a probe is told: a small page that goinit rewrites when something changes, and the answers
//! that follow from it.
//!
//! The page is text, one `key=value` a line, with the same number in its first and its last line:
//! a reader that sees two different ones has read it while it was being written and reads again.

use crate::units::Pid;
use std::fmt::Write;
use std::path::PathBuf;

/// Size of the page, bytes. It never changes: the file is sealed against it.
pub const PAGE: usize = 2048;
/// Name of the memory file; its link reads `/memfd:goinit-status (deleted)`.
pub const NAME: &str = "goinit-status";
/// First line of every page; another number is another format.
const MAGIC: &str = "goinit-status 1";
/// The longest sentence on the page, bytes.
const SENTENCE: usize = 400;

/// How a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The program, as goinit's PID namespace counts.
    pub pid: Option<Pid>,
    /// Whether the program has ended.
    pub ended: bool,
    /// Whether the watchdog can see anything; the reason if it cannot.
    pub blind: bool,
    /// Heartbeats so far: more than none means that the Go runtime runs.
    pub beats: u64,
    /// Class and cause of the verdict on the stall that lasts: `stalled/channel`.
    pub verdict: Option<String>,
    /// Whether that verdict is sure enough to act on it.
    pub condemned: bool,
    /// Its sentence.
    pub sentence: String,
    /// Whether a line with the text of `--ready-on` was seen; `None` = no such option.
    pub ready_line: Option<bool>,
    /// The file of `--ready-file`.
    pub ready_file: Option<PathBuf>,
}

/// What a probe answers; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Healthy, or started.
    Yes,
    /// Stalled, or not started yet.
    No,
    /// It cannot be told.
    Unknown,
}

impl Answer {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> crate::exit::Code {
        crate::exit::Code(match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Unknown => 2,
        })
    }
}

/// How far package init has come, as the program's memory says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Init {
    /// `main.main` runs, or has run.
    Done,
    /// It is still going on; the package and how many are done of how many.
    Running(String, u64, u64),
    /// It cannot be seen, and why.
    Unseen(String),
}

impl Status {
    /// The page with number `number`. What is too long is cut.
    #[must_use]
    pub fn page(&self, number: u64) -> [u8; PAGE] {
        let mut text = format!("{MAGIC}\nnumber={number}\n");
        let mut line = |key: &str, value: &str| {
            let value: String =
                value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let _ = writeln!(text, "{key}={value}");
        };
        if let Some(pid) = self.pid {
            line("pid", &pid.to_string());
        }
        line("ended", flag(self.ended));
        line("blind", flag(self.blind));
        line("beats", &self.beats.to_string());
        if let Some(verdict) = &self.verdict {
            line("verdict", verdict);
        }
        line("condemned", flag(self.condemned));
        let mut sentence = self.sentence.clone();
        super::record::shorten(&mut sentence, SENTENCE);
        line("sentence", &sentence);
        if let Some(ready) = self.ready_line {
            line("ready_line", flag(ready));
        }
        // A path that does not fit as text cannot be handed on; it then counts as not there.
        if let Some(path) = self.ready_file.as_ref().and_then(|path| path.to_str()) {
            line("ready_file", path.get(..path.len().min(1024)).unwrap_or_default());
        }
        let _ = writeln!(text, "end={number}");
        let mut page = [0u8; PAGE];
        for (to, from) in page.iter_mut().zip(text.as_bytes()) {
            *to = *from;
        }
        page
    }

    /// Reads a page; `None` = torn, or not of this format.
    #[must_use]
    pub fn parse(page: &[u8]) -> Option<Self> {
        let text = page.split(|byte| *byte == 0).next()?;
        let text = std::str::from_utf8(text).ok()?;
        let mut lines = text.lines();
        if lines.next()? != MAGIC {
            return None;
        }
        let mut status = Self::default();
        let (mut number, mut end) = (None, None);
        for (key, value) in lines.filter_map(|line| line.split_once('=')) {
            match key {
                "number" => number = value.parse::<u64>().ok(),
                "pid" => status.pid = value.parse().ok().map(Pid),
                "ended" => status.ended = value == "1",
                "blind" => status.blind = value == "1",
                "beats" => status.beats = value.parse().unwrap_or(0),
                "verdict" => status.verdict = Some(value.to_owned()),
                "condemned" => status.condemned = value == "1",
                "sentence" => status.sentence = value.to_owned(),
                "ready_line" => status.ready_line = Some(value == "1"),
                "ready_file" => status.ready_file = Some(PathBuf::from(value)),
                "end" => end = value.parse::<u64>().ok(),
                _ => {}
            }
        }
        (number.is_some() && number == end).then_some(status)
    }

    /// Is it alive? Only a verdict that is sure enough says no: what is slow, stopped on purpose,
    /// only waiting or not visible at all is not restarted for it.
    #[must_use]
    pub fn live(&self) -> (Answer, String) {
        if self.ended {
            return (Answer::No, "the program has ended".to_owned());
        }
        match &self.verdict {
            Some(verdict) if self.condemned => {
                (Answer::No, format!("{verdict}: {}", self.sentence))
            }
            Some(verdict) => (Answer::Yes, format!("{verdict}: {}", self.sentence)),
            None if self.blind => {
                (Answer::Yes, "the program runs; goinit cannot see whether it moves".to_owned())
            }
            None => (Answer::Yes, "no stall".to_owned()),
        }
    }

    /// Has it started? What the user named decides; else package init does. `file` says whether
    /// the file of `--ready-file` is there.
    #[must_use]
    pub fn startup(&self, file: bool, init: impl FnOnce() -> Init) -> (Answer, String) {
        if self.ended {
            return (Answer::No, "the program has ended".to_owned());
        }
        if self.ready_line.is_some() || self.ready_file.is_some() {
            return if self.ready_line == Some(true) {
                (Answer::Yes, "started: the line of --ready-on was seen".to_owned())
            } else if file {
                (Answer::Yes, "started: the file of --ready-file is there".to_owned())
            } else {
                (Answer::No, "not started: neither line nor file says that it is ready".to_owned())
            };
        }
        match init() {
            Init::Done => (Answer::Yes, "started: package init is done, main runs".to_owned()),
            Init::Running(package, done, total) => {
                let progress =
                    if total > 0 { format!(" ({done} of {total} done)") } else { String::new() };
                (Answer::No, format!("not started: package init of {package}{progress}"))
            }
            Init::Unseen(why) if self.beats > 0 => (
                Answer::Yes,
                format!("the Go runtime runs; whether package init is done cannot be seen: {why}"),
            ),
            Init::Unseen(why) => (
                Answer::Unknown,
                format!(
                    "cannot tell whether it has started ({why}): use --ready-on or --ready-file"
                ),
            ),
        }
    }
}

fn flag(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stalled() -> Status {
        Status {
            pid: Some(Pid(7)),
            beats: 31,
            verdict: Some("stalled/channel".to_owned()),
            condemned: true,
            sentence: "the main goroutine waits in a channel receive".to_owned(),
            ready_line: Some(false),
            ready_file: Some(PathBuf::from("/tmp/ready = yes")),
            ..Status::default()
        }
    }

    #[test]
    fn a_status_survives_the_page() {
        for status in [stalled(), Status::default()] {
            assert_eq!(Status::parse(&status.page(3)), Some(status));
        }
    }

    #[test]
    fn a_page_that_is_half_old_and_half_new_is_refused() {
        let (old, new) = (stalled().page(3), stalled().page(4));
        let used = new.iter().rposition(|byte| *byte != 0).unwrap();
        for cut in 24..used {
            let mut torn = old;
            torn[..cut].copy_from_slice(&new[..cut]);
            assert_eq!(Status::parse(&torn), None, "{cut}");
        }
        assert_eq!(Status::parse(&[0; PAGE]), None);
        assert_eq!(Status::parse(b"goinit-status 2\nnumber=1\nend=1\n"), None);
        assert_eq!(Status::parse(&[0xff; PAGE]), None);
    }

    #[test]
    fn the_longest_texts_fit_and_line_ends_do_no_harm() {
        let status = Status {
            sentence: "a\nend=9\u{fc}".repeat(200),
            verdict: Some("v".repeat(60)),
            ready_file: Some(PathBuf::from("f".repeat(3000))),
            ..stalled()
        };
        let read = Status::parse(&status.page(u64::MAX)).unwrap();
        assert!(read.sentence.starts_with("a end=9"), "{}", read.sentence);
        assert_eq!(read.pid, Some(Pid(7)));
    }

    #[test]
    fn only_a_verdict_that_condemns_fails_the_live_probe() {
        let answer = |status: &Status| status.live().0;
        assert_eq!(answer(&stalled()), Answer::No);
        assert_eq!(answer(&Status { condemned: false, ..stalled() }), Answer::Yes);
        assert_eq!(answer(&Status { blind: true, ..Status::default() }), Answer::Yes);
        assert_eq!(answer(&Status { ended: true, ..Status::default() }), Answer::No);
    }

    #[test]
    fn startup_goes_by_what_the_user_named_then_by_package_init() {
        let named = Status { ready_line: Some(false), beats: 9, ..Status::default() };
        let never = || -> Init { unreachable!() };
        assert_eq!(named.startup(false, never).0, Answer::No);
        assert_eq!(named.startup(true, never).0, Answer::Yes);
        let seen = Status { ready_line: Some(true), ..named };
        assert_eq!(seen.startup(false, never).0, Answer::Yes);
        let plain = Status { beats: 9, ..Status::default() };
        assert_eq!(plain.startup(false, || Init::Done).0, Answer::Yes);
        let running = || Init::Running("app/db".to_owned(), 3, 9);
        assert_eq!(plain.startup(false, running).0, Answer::No);
        let denied = || Init::Unseen("denied".to_owned());
        assert_eq!(plain.startup(false, denied).0, Answer::Yes);
        assert_eq!(Status::default().startup(false, denied).0, Answer::Unknown);
    }
}
