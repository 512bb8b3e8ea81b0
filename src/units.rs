//! Plain values that every floor shares: instants, process numbers, signals, addresses.
//!
//! Nothing here reads a clock or calls the kernel. Durations are `std::time::Duration`.

use std::fmt;
use std::time::Duration;

/// An instant of CLOCK_MONOTONIC, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The instant `later` after this one; saturates.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How much time passed from `earlier` to this instant; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// An instant of CLOCK_REALTIME, in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

/// Both clocks, read together once per turn of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For deadlines and durations.
    pub mono: Mono,
    /// For timestamps in records.
    pub wall: Wall,
}

/// A process number, as goinit's PID namespace counts; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An address in another process's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub u64);

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A signal number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(pub u8);

/// Names of the classic signals in the order of their numbers (signal(7), x86 and ARM).
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first real-time signal that programs see: glibc keeps 32 and 33 for itself.
const RTMIN: u8 = 34;
/// The last real-time signal.
const RTMAX: u8 = 64;

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGQUIT: a Go program prints its goroutines and ends.
    pub const QUIT: Self = Self(3);
    /// SIGABRT.
    pub const ABRT: Self = Self(6);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGPIPE.
    pub const PIPE: Self = Self(13);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGCHLD.
    pub const CHLD: Self = Self(17);
    /// SIGCONT.
    pub const CONT: Self = Self(18);
    /// SIGSTOP.
    pub const STOP: Self = Self(19);
    /// SIGTSTP, what Ctrl-Z sends.
    pub const TSTP: Self = Self(20);
    /// SIGTTIN.
    pub const TTIN: Self = Self(21);
    /// SIGTTOU.
    pub const TTOU: Self = Self(22);

    /// A signal from its number, or nothing outside 1 to 64.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        u8::try_from(number).ok().filter(|n| (1..=RTMAX).contains(n)).map(Self)
    }

    /// A signal from what a person writes: `15`, `TERM`, `SIGTERM`, `RTMIN+3`, `RTMAX-1`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(rest) = name.strip_prefix("RTMIN") {
            let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse().ok()? };
            return RTMIN.checked_add(offset).filter(|n| *n <= RTMAX).map(Self);
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            let offset = if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse().ok()? };
            return RTMAX.checked_sub(offset).filter(|n| *n >= RTMIN).map(Self);
        }
        let name = match name {
            "POLL" => "IO",
            "IOT" => "ABRT",
            "CLD" => "CHLD",
            other => other,
        };
        let at = NAMES.iter().position(|known| *known == name)?;
        u8::try_from(at).ok()?.checked_add(1).map(Self)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(1).and_then(|i| NAMES.get(usize::from(i))) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 < RTMIN => write!(f, "signal {}", self.0),
            None if self.0 == RTMIN => f.write_str("SIGRTMIN"),
            None => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
        }
    }
}

/// A signal that was received, with the process that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which signal.
    pub signal: Signal,
    /// Who sent it, if a process did and its number can be seen from our PID namespace.
    pub from: Option<Pid>,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// One process.
    Process(Pid),
    /// A process group, by the number of its leader.
    Group(Pid),
    /// One thread of a process.
    Thread(Pid, Pid),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_parsed_from_its_own_name() {
        for number in (1..=31).chain(RTMIN..=RTMAX) {
            let signal = Signal(number);
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
            assert_eq!(Signal::parse(&number.to_string()), Some(signal));
        }
    }

    #[test]
    fn words_that_name_no_signal_are_refused() {
        for word in ["", "0", "65", "derp", "SIG", "RTMIN+31", "RTMAX-31", "RTMIN-1", "-15"] {
            assert_eq!(Signal::parse(word), None, "{word}");
        }
    }
}
