//! How a process ended, and every exit code goinit can give, with the mapping between the two.
//!
//! The numbers are public interface: they are documented in docs/exit-codes.md and never change.

use crate::units::Signal;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It called exit with this status.
    Exited(u8),
    /// A signal ended it; `core` tells whether it left a core dump.
    Signalled {
        /// The signal that ended it.
        signal: Signal,
        /// Whether a core was dumped.
        core: bool,
    },
}

/// An exit code of goinit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// All is well; also the child's own 0.
    pub const SUCCESS: Self = Self(0);
    /// goinit ended the child because it stalled (`--on-stall=exit` or `quit`).
    pub const STALL: Self = Self(123);
    /// goinit ended the child at its deadline (`--timeout`), as coreutils timeout does.
    pub const DEADLINE: Self = Self(124);
    /// goinit itself failed: a bad flag, or the command could not be spawned for other reasons.
    pub const FAILED: Self = Self(125);
    /// The command was found but cannot be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The command was not found.
    pub const NOT_FOUND: Self = Self(127);
}

impl From<Ending> for Code {
    /// The child's own code, or 128 + the signal that ended it, as shells, tini and catatonit do.
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Exited(code) => Self(code),
            Ending::Signalled { signal, .. } => Self(128u8.saturating_add(signal.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_mirrored_and_signals_become_128_plus_n() {
        for code in 0..=255 {
            assert_eq!(Code::from(Ending::Exited(code)), Code(code));
        }
        for number in 1..=64 {
            let ending = Ending::Signalled { signal: Signal(number), core: false };
            assert_eq!(Code::from(ending), Code(128 + number));
        }
    }
}
