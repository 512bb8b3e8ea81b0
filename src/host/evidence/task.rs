//! What the evidence process is asked to do. goinit alone writes these arguments, so there is no
//! help and no message: what is not understood is refused.

use crate::units::Pid;
use std::ffi::OsString;
use std::time::Duration;

/// The arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// The program to look at.
    pub(super) pid: Pid,
    /// An open descriptor of its memory.
    pub(super) memory: Option<i32>,
    /// An open descriptor of its executable.
    pub(super) executable: Option<i32>,
    /// An open descriptor of its auxiliary vector.
    pub(super) vector: Option<i32>,
    /// How long to wait between the two looks.
    pub(super) sample: Duration,
    /// How long all of it may take.
    pub(super) deadline: Duration,
}

impl Task {
    /// Reads `--pid N [--mem-fd N] [--exe-fd N] [--auxv-fd N] [--sample MS] [--deadline MS]`.
    pub(super) fn parse(args: &[OsString]) -> Option<Self> {
        let mut pid = None;
        let (mut memory, mut executable, mut vector) = (None, None, None);
        let mut sample = Duration::from_millis(200);
        let mut deadline = Duration::from_secs(3);
        let (pairs, rest) = args.as_chunks::<2>();
        if !rest.is_empty() {
            return None;
        }
        for [flag, value] in pairs {
            let number: u64 = value.to_str()?.parse().ok()?;
            match flag.to_str()? {
                "--pid" => pid = Some(Pid(i32::try_from(number).ok()?)),
                "--mem-fd" => memory = Some(i32::try_from(number).ok()?),
                "--exe-fd" => executable = Some(i32::try_from(number).ok()?),
                "--auxv-fd" => vector = Some(i32::try_from(number).ok()?),
                "--sample" => sample = Duration::from_millis(number),
                "--deadline" => deadline = Duration::from_millis(number),
                _ => return None,
            }
        }
        let pid = pid.filter(|pid| pid.0 > 0)?;
        let sample = sample.min(deadline / 2);
        Some(Self { pid, memory, executable, vector, sample, deadline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_pairs_and_the_pid_is_needed() {
        let check =
            |args: &[&str]| Task::parse(&args.iter().map(OsString::from).collect::<Vec<_>>());
        let task = check(&["--pid", "7", "--mem-fd", "9", "--sample", "50"]).unwrap();
        assert_eq!((task.pid, task.memory), (Pid(7), Some(9)));
        let early = check(&["--pid", "7", "--exe-fd", "4", "--auxv-fd", "5"]).unwrap();
        assert_eq!((early.executable, early.vector), (Some(4), Some(5)));
        assert_eq!(task.sample, Duration::from_millis(50));
        for args in [&["--pid"][..], &[], &["--pid", "0"], &["--pid", "x"], &["--what", "1"]] {
            assert_eq!(check(args), None, "{args:?}");
        }
        let task = check(&["--pid", "7", "--deadline", "100"]).unwrap();
        assert_eq!(task.sample, Duration::from_millis(50), "the look fits into the deadline");
    }
}
