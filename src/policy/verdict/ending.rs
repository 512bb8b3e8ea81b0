//! The verdict on a program that has ended, from how it ended and what its runtime said before.

use super::{Class, Confidence, Crash, Finding, Verdict};
use crate::exit::Ending;
use crate::units::Signal;
use std::time::Duration;

/// How a program ended, with what was seen around it.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its end; `None` = it has printed a crash and not ended.
    pub ending: Option<Ending>,
    /// The head of the crash that its runtime printed.
    pub crash: Option<&'a Crash>,
    /// Whether the kernel killed somebody in its memory cgroup.
    pub oom: bool,
    /// How long it ran.
    pub ran: Duration,
}

/// Judges an end.
#[must_use]
pub fn of_end(end: &End<'_>) -> Verdict {
    // A program that ends well has not crashed, whatever its lines looked like.
    let well = end.ending == Some(Ending::Exited(0));
    let found = end
        .crash
        .filter(|_| !well)
        .map(crashed)
        .or_else(|| end.ending.map(|ending| ended(ending, end.oom)))
        .unwrap_or_else(|| {
            let sentence = "the program's end was not seen".to_owned();
            Finding::new(Class::Crashed, "unknown", Confidence::Unclear, sentence)
        });
    let mut verdict = super::with(found, end.ran);
    if end.ending.is_none() && end.crash.is_some() {
        verdict.sentence.push_str("; it has not ended since");
        super::super::record::shorten(&mut verdict.sentence, super::super::record::MESSAGE_LIMIT);
    }
    verdict
}

/// What the runtime printed says more than the exit code, which is 2 for all of it.
fn crashed(crash: &Crash) -> Finding {
    let text = &crash.message;
    let (cause, sentence, next) = match crash.kind {
        "panic" => (
            "panic",
            format!("the program panicked: {text}"),
            "the first frame of the program itself in the trace is the place",
        ),
        "signal" => (
            "signal",
            format!("the program was ended by a signal from outside: {text}"),
            "find out who sent it; a Go program does not send it to itself",
        ),
        _ if text.ends_with("deadlock!") => (
            "deadlock",
            format!("the runtime found that nobody can ever run again: {text}"),
            "the trace shows what each goroutine waits for; one of them should have been woken",
        ),
        _ if is_config(text) => (
            "config",
            format!("the Go runtime refuses its settings: {text}"),
            "correct that environment variable",
        ),
        _ => (
            "fatal",
            format!("the Go runtime gave up: {text}"),
            "the trace names the goroutine; such errors cannot be recovered from",
        ),
    };
    Finding::new(Class::Crashed, cause, Confidence::Certain, sentence).next(next)
}

/// Fatal errors about settings (runtime/mgcpacer.go, `readGOMEMLIMIT`; from Go 1.27 on
/// internal/godebug's removed settings).
fn is_config(text: &str) -> bool {
    ["malformed GOMEMLIMIT", "malformed GOGC", "removed GODEBUG"]
        .iter()
        .any(|head| text.starts_with(head))
}

fn ended(ending: Ending, oom: bool) -> Finding {
    match ending {
        Ending::Exited(0) => {
            let sentence = "the program ended by itself with exit code 0".to_owned();
            Finding::new(Class::Ok, "finished", Confidence::Certain, sentence)
        }
        Ending::Exited(code) => {
            let sentence = format!("the program ended by itself with exit code {code}");
            Finding::new(Class::Crashed, "exit-code", Confidence::Certain, sentence)
                .next("its last lines should say why")
        }
        Ending::Signalled { signal: Signal::KILL, .. } if oom => {
            let sentence = "the kernel killed the program: out of memory".to_owned();
            Finding::new(Class::Killed, "oom", Confidence::Certain, sentence)
                .next("raise the memory limit, or set GOMEMLIMIT and find what holds memory")
        }
        Ending::Signalled { signal, .. } => {
            let sentence = format!("the program was ended by {signal}");
            Finding::new(Class::Crashed, "signal", Confidence::Certain, sentence)
                .next("find out who sent it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ending: Ending, crash: Option<(&'static str, &str)>, oom: bool, expected: &str) {
        let crash = crash.map(|(kind, text)| Crash { kind, message: text.to_owned() });
        let end =
            End { ending: Some(ending), crash: crash.as_ref(), oom, ran: Duration::from_secs(3) };
        let verdict = of_end(&end);
        assert_eq!(format!("{}/{}", verdict.class.word(), verdict.cause), expected);
    }

    #[test]
    fn what_the_runtime_said_comes_before_the_exit_code() {
        let two = Ending::Exited(2);
        check(two, Some(("panic", "boom")), false, "crashed/panic");
        check(
            two,
            Some(("fatal", "all goroutines are asleep - deadlock!")),
            false,
            "crashed/deadlock",
        );
        check(two, Some(("fatal", "concurrent map writes")), false, "crashed/fatal");
        check(two, Some(("fatal", "malformed GOMEMLIMIT; see `go doc`")), false, "crashed/config");
        check(two, Some(("signal", "SIGABRT: abort")), false, "crashed/signal");
        check(two, None, false, "crashed/exit-code");
        check(Ending::Exited(0), None, false, "ok/finished");
    }

    #[test]
    fn a_kill_is_out_of_memory_only_when_the_kernel_says_so() {
        let killed = Ending::Signalled { signal: Signal::KILL, core: false };
        check(killed, None, true, "killed/oom");
        check(killed, None, false, "crashed/signal");
        let terminated = Ending::Signalled { signal: Signal::TERM, core: false };
        check(terminated, None, true, "crashed/signal");
    }

    #[test]
    fn a_crash_that_does_not_end_is_said_to_hang() {
        let crash = Crash { kind: "fatal", message: "sync: unlock of unlocked mutex".to_owned() };
        let end = End { ending: None, crash: Some(&crash), oom: false, ran: Duration::ZERO };
        let verdict = of_end(&end);
        assert_eq!(verdict.cause, "fatal");
        assert!(verdict.sentence.ends_with("it has not ended since"), "{}", verdict.sentence);
    }
}
