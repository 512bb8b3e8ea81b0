//! What the name of goinit's process says: `goinit:running`, `goinit:stalled`.
//!
//! The status page is for whoever may inspect goinit by the rules of ptrace(2). The name is for
//! everybody who sees the process at all: /proc/PID/comm needs no right, no file and no port, and
//! `ps` shows it. It has 15 bytes, so it says what a probe has to know and nothing more.

use super::status::{Answer, Status};

/// A state of the run, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The program runs; nothing more is known.
    Alive,
    /// Its Go runtime prints heartbeats.
    Running,
    /// The line of `--ready-on` has not come.
    Waiting,
    /// `--ready-file` decides; its path is on the page only.
    File,
    /// The line of `--ready-on` has come.
    Ready,
    /// A verdict condemns the program.
    Stalled,
    /// The program has ended.
    Ended,
}

/// All of them with their names, 15 bytes at most (prctl(2), PR_SET_NAME).
const NAMES: [(Sign, &str); 7] = [
    (Sign::Alive, "goinit:alive"),
    (Sign::Running, "goinit:running"),
    (Sign::Waiting, "goinit:waiting"),
    (Sign::File, "goinit:file"),
    (Sign::Ready, "goinit:ready"),
    (Sign::Stalled, "goinit:stalled"),
    (Sign::Ended, "goinit:ended"),
];

impl Sign {
    /// What a status comes down to.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match status.ready_line {
            _ if status.ended => Self::Ended,
            _ if status.condemned => Self::Stalled,
            Some(true) => Self::Ready,
            Some(false) | None if status.ready_file.is_some() => Self::File,
            Some(false) => Self::Waiting,
            None if status.beats > 0 => Self::Running,
            None => Self::Alive,
        }
    }

    /// The name of the process.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(sign, _)| *sign == self).map_or("goinit", |(_, name)| name)
    }

    /// Reads /proc/PID/comm; `None` = no goinit that publishes anything.
    #[must_use]
    pub fn parse(comm: &str) -> Option<Self> {
        NAMES.iter().find(|(_, name)| *name == comm.trim_end()).map(|(sign, _)| *sign)
    }

    /// Is the program alive?
    #[must_use]
    pub fn live(self) -> (Answer, String) {
        let (answer, words) = match self {
            Self::Ended => (Answer::No, "the program has ended"),
            Self::Stalled => (Answer::No, "stalled; the log says why"),
            Self::Alive | Self::Running | Self::Waiting | Self::File | Self::Ready => {
                (Answer::Yes, "no stall")
            }
        };
        (answer, words.to_owned())
    }

    /// Has it started?
    #[must_use]
    pub fn startup(self) -> (Answer, String) {
        let (answer, words) = match self {
            Self::Ended => (Answer::No, "the program has ended"),
            Self::Stalled => (Answer::No, "not started: stalled; the log says why"),
            Self::Waiting => (Answer::No, "not started: the line of --ready-on was not seen"),
            Self::Ready => (Answer::Yes, "started: the line of --ready-on was seen"),
            Self::Running => (
                Answer::Yes,
                "the Go runtime runs; whether package init is done, only goinit's own user can see",
            ),
            Self::File => (
                Answer::Unknown,
                "cannot tell: the path of --ready-file is for goinit's own user to see",
            ),
            Self::Alive => (
                Answer::Unknown,
                "cannot tell whether it has started: use --ready-on, or probe as goinit's own user",
            ),
        };
        (answer, words.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_fits_and_is_read_back() {
        for (sign, name) in NAMES {
            assert!(name.len() <= 15, "{name}");
            assert_eq!(sign.name(), name);
            assert_eq!(Sign::parse(&format!("{name}\n")), Some(sign));
        }
        for comm in ["goinit", "goinit:", "goinit:stalle", "sh\n", ""] {
            assert_eq!(Sign::parse(comm), None);
        }
    }

    #[test]
    fn the_name_answers_as_the_page_does_where_it_can() {
        let plain = Status { beats: 3, ..Status::default() };
        let named = Status { ready_line: Some(false), ..plain.clone() };
        let cases = [
            (Status::default(), "goinit:alive", Answer::Yes, Answer::Unknown),
            (plain.clone(), "goinit:running", Answer::Yes, Answer::Yes),
            (named.clone(), "goinit:waiting", Answer::Yes, Answer::No),
            (
                Status { ready_line: Some(true), ..plain.clone() },
                "goinit:ready",
                Answer::Yes,
                Answer::Yes,
            ),
            (
                Status { ready_file: Some("/x".into()), ..named },
                "goinit:file",
                Answer::Yes,
                Answer::Unknown,
            ),
            (Status { condemned: true, ..plain.clone() }, "goinit:stalled", Answer::No, Answer::No),
            (Status { ended: true, ..plain }, "goinit:ended", Answer::No, Answer::No),
        ];
        for (status, name, live, startup) in cases {
            let sign = Sign::of(&status);
            assert_eq!((sign.name(), sign.live().0, sign.startup().0), (name, live, startup));
        }
    }
}
