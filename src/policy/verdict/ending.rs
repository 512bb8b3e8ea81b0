//! The verdict on a program that has ended, from how it ended and what its runtime said before.

use super::place::{self, place};
use super::{Class, Confidence, Crash, Finding, Verdict, goroutines};
use crate::exit::Ending;
use crate::policy::evidence::Goroutines;
use crate::units::Signal;
use std::time::Duration;

/// How a program ended, with what was seen around it.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its end; `None` = it has printed a crash and not ended.
    pub ending: Option<Ending>,
    /// The head of the crash that its runtime printed.
    pub crash: Option<&'a Crash>,
    /// The goroutines that it printed after that.
    pub dump: Option<&'a Goroutines>,
    /// Whether the kernel killed somebody in its memory cgroup.
    pub oom: bool,
    /// How long it ran.
    pub ran: Duration,
}

/// What came through goinit before the end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent<'a> {
    /// Whether somebody asked for the end with SIGTERM.
    pub asked: bool,
    /// The signals that goinit passed on.
    pub passed: &'a [Signal],
}

/// Judges an end of which nobody had told goinit.
#[must_use]
pub fn of_end(end: &End<'_>) -> Verdict {
    of_stop(end, Sent::default())
}

/// Judges an end. This is the only place that puts an end of the program's own into words.
#[must_use]
pub fn of_stop(end: &End<'_>, sent: Sent<'_>) -> Verdict {
    let crash = end.crash.filter(|_| end.ending.is_none_or(can_end_a_crash));
    let found = match (crash, end.ending) {
        (Some(crash), _) => crashed(crash, end.dump, sent),
        (None, Some(ending)) => ended(ending, end.oom, sent),
        (None, None) => {
            let sentence = "the program's end was not seen".to_owned();
            Finding::new(Class::Crashed, "unknown", Confidence::Unclear, sentence)
                .next("the node's log may tell what became of it")
        }
    };
    let mut verdict = super::with(found, end.ran);
    if sent.asked && verdict.cause == "exit-code" {
        // Many a program answers a request to end with a code of its own.
        (verdict.class, verdict.next) = (Class::Stopped, "nothing, if it may end with that code");
    }
    if end.ending.is_none() && end.crash.is_some() {
        verdict.sentence.push_str("; it has not ended since");
        super::super::record::shorten(&mut verdict.sentence, super::super::record::MESSAGE_LIMIT);
    }
    verdict
}

/// Whether a crash can have ended so. The runtime exits with 2, with 4 or 5 when it fails once
/// more, or raises a signal (GOTRACEBACK=crash, a host of C); a program that ends otherwise has
/// only printed what looked like a crash.
fn can_end_a_crash(ending: Ending) -> bool {
    match ending {
        Ending::Exited(code) => matches!(code, 2 | 4 | 5),
        Ending::Signalled { signal, .. } => signal != Signal::KILL && signal != Signal::TERM,
    }
}

/// What the runtime printed says more than the exit code, which is 2 for all of it.
fn crashed(crash: &Crash, dump: Option<&Goroutines>, sent: Sent<'_>) -> Finding {
    let text = &crash.message;
    // The one that failed is printed first, and is the one that was running.
    let groups = dump.map(|all| all.groups.as_slice()).unwrap_or_default();
    let group = groups.iter().find(|group| group.state == "running").or(groups.first());
    let mut spot = group.and_then(|group| place(&group.frames));
    let deadlock = text.ends_with("deadlock!");
    let mut on = None;
    if deadlock && let Some(main) = dump.and_then(|all| all.main.as_ref()) {
        spot = place(&main.frames);
        on = goroutines::waits_on(main).or_else(|| Some(main.state.clone()));
    }
    let at = place::within(spot.as_deref());
    let (cause, sentence, next) = match crash.kind {
        "panic" => (
            "panic",
            format!("panic: {text}{at}"),
            "the first frame of the program itself in the trace is the place",
        ),
        "signal" => {
            return signalled(text.split(':').next().unwrap_or(text), "", sent).at(spot);
        }
        _ if deadlock => (
            "deadlock",
            format!("fatal error: {text}{at}"),
            "the trace shows what each goroutine waits for; one of them should have been woken",
        ),
        _ if is_config(text) => {
            spot = None;
            (
                "config",
                format!("the Go runtime refuses its settings: {text}"),
                "correct that environment variable",
            )
        }
        _ => (
            "fatal",
            format!("fatal error: {text}{at}"),
            "the trace names the goroutine; such errors cannot be recovered from",
        ),
    };
    Finding::new(Class::Crashed, cause, Confidence::Certain, sentence).at(spot).on(on).next(next)
}

/// Fatal errors about settings (runtime/mgcpacer.go, `readGOMEMLIMIT`; from Go 1.27 on
/// internal/godebug's removed settings).
fn is_config(text: &str) -> bool {
    ["malformed GOMEMLIMIT", "malformed GOGC", "removed GODEBUG"]
        .iter()
        .any(|head| text.starts_with(head))
}

fn ended(ending: Ending, oom: bool, sent: Sent<'_>) -> Finding {
    match ending {
        Ending::Exited(0) => {
            let sentence = "the program ended with exit code 0".to_owned();
            Finding::new(Class::Ok, "finished", Confidence::Certain, sentence).next("nothing")
        }
        Ending::Exited(code) => {
            let sentence = format!("the program ended with exit code {code}");
            Finding::new(Class::Crashed, "exit-code", Confidence::Certain, sentence)
                .next("its last lines should say why")
        }
        Ending::Signalled { signal: Signal::KILL, .. } if oom => {
            let sentence = "the program was killed by the kernel: out of memory".to_owned();
            Finding::new(Class::Killed, "oom", Confidence::Certain, sentence)
                .next("raise the memory limit, or set GOMEMLIMIT and find what holds memory")
        }
        Ending::Signalled { signal, core } => {
            signalled(&signal.to_string(), if core { ", core dumped" } else { "" }, sent)
        }
    }
}

/// Signals that a program brings upon itself: a fault, abort(3), what the kernel does not let it
/// do, a write that nobody reads. Any other one somebody sent, of whom the kernel tells nothing.
const OWN: [&str; 11] = [
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGILL",
    "SIGPIPE",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSYS",
    "SIGTRAP",
    "SIGXCPU",
    "SIGXFSZ",
];

/// Ended by a signal, with or without its runtime saying so. Only what came through goinit tells
/// that somebody wanted the program to end.
fn signalled(signal: &str, core: &str, sent: Sent<'_>) -> Finding {
    let own = OWN.contains(&signal);
    let passed = sent.passed.iter().any(|passed| passed.to_string() == signal);
    let (class, who, next) = match (sent.asked, passed) {
        (true, true) => (Class::Stopped, "", "nothing"),
        (true, false) if !own => (Class::Stopped, "", "nothing"),
        (false, true) => (
            Class::Stopped,
            ", which goinit passed on",
            "its `goinit.signal` record tells who sent it, if the kernel said so",
        ),
        (_, false) if own => (
            Class::Crashed,
            "",
            "a program brings it upon itself, by a fault in C code, abort(3) or a broken pipe: look \
             at what it did last",
        ),
        (_, false) => (
            Class::Crashed,
            "; goinit does not know who sent it",
            "find out who sent it: a probe, an eviction, an operator, or the program itself",
        ),
    };
    let sentence = format!("the program was ended by {signal}{core}{who}");
    Finding::new(class, "signal", Confidence::Certain, sentence).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ending: Ending, crash: Option<(&'static str, &str)>, oom: bool, expected: &str) {
        let crash = crash.map(|(kind, text)| Crash { kind, message: text.to_owned() });
        let end = End {
            ending: Some(ending),
            crash: crash.as_ref(),
            dump: None,
            oom,
            ran: Duration::from_secs(3),
        };
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
        // A line that looks like a crash is none when the end does not fit.
        check(Ending::Exited(0), Some(("panic", "boom")), false, "ok/finished");
        check(Ending::Exited(1), Some(("panic", "boom")), false, "crashed/exit-code");
    }

    #[test]
    fn a_crash_has_the_place_where_it_happened() {
        let frame = |function: &str, line| crate::policy::evidence::Frame {
            function: function.to_owned(),
            file: "/src/app.go".to_owned(),
            line,
        };
        let group = |state: &str, function| crate::policy::evidence::GoroutineGroup {
            state: state.to_owned(),
            frames: vec![frame("panic", 1), frame("sort.Slice", 2), frame(function, 7)],
            ..Default::default()
        };
        let groups = vec![group("chan receive", "main.wait"), group("running", "main.load")];
        let dump = Goroutines { groups, ..Goroutines::default() };
        let crash = Crash { kind: "panic", message: "boom".to_owned() };
        let ending = Some(Ending::Exited(2));
        let (crash, dump, ran) = (Some(&crash), Some(&dump), Duration::ZERO);
        let verdict = of_end(&End { ending, crash, dump, oom: false, ran });
        assert_eq!(verdict.place.as_deref(), Some("main.load (/src/app.go:7)"));
        assert_eq!(verdict.sentence, "panic: boom in main.load (app.go:7)");
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
    fn a_signal_is_a_crash_unless_it_came_through_goinit() {
        let quit = Crash { kind: "signal", message: "SIGQUIT: quit".to_owned() };
        for signal in (1..=64).map(Signal) {
            let own = [4, 5, 6, 7, 8, 11, 13, 16, 24, 25, 31].contains(&signal.0);
            let ending = Some(Ending::Signalled { signal, core: false });
            let (oom, ran) = (false, Duration::ZERO);
            let end = End { ending, crash: None, dump: None, oom, ran };
            let told = |asked, passed: &[Signal]| {
                let verdict = of_stop(&end, Sent { asked, passed });
                assert_eq!(verdict.cause, "signal");
                (verdict.class, verdict.sentence.contains("does not know who sent it"))
            };
            assert_eq!(told(false, &[]), (Class::Crashed, !own), "{signal}");
            assert_eq!(told(false, &[signal]), (Class::Stopped, false), "{signal}");
            // What ends it after SIGTERM, such as SIGKILL, is part of that, but no fault is.
            let after = if own { Class::Crashed } else { Class::Stopped };
            assert_eq!(told(true, &[]), (after, false), "{signal}");
            let dumped = End { ending: Some(Ending::Exited(2)), crash: Some(&quit), ..end };
            let passed = [signal];
            let class = of_stop(&dumped, Sent { asked: false, passed: &passed }).class;
            let expected = if signal == Signal::QUIT { Class::Stopped } else { Class::Crashed };
            assert_eq!(class, expected, "{signal}");
        }
        check(Ending::Exited(2), Some(("signal", "SIGQUIT: quit")), false, "crashed/signal");
    }

    #[test]
    fn a_code_after_a_request_to_end_is_no_crash_and_a_panic_is_one() {
        let panic = Crash { kind: "panic", message: "boom".to_owned() };
        let class = |code, crash| {
            let (ending, ran) = (Some(Ending::Exited(code)), Duration::ZERO);
            let end = End { ending, crash, dump: None, oom: false, ran };
            of_stop(&end, Sent { asked: true, passed: &[Signal::TERM] }).class
        };
        assert_eq!(class(0, None), Class::Ok);
        assert_eq!(class(1, None), Class::Stopped);
        assert_eq!(class(2, Some(&panic)), Class::Crashed);
    }

    #[test]
    fn a_crash_that_does_not_end_is_said_to_hang() {
        let crash = Crash { kind: "fatal", message: "sync: unlock of unlocked mutex".to_owned() };
        let (crash, dump, ran) = (Some(&crash), None, Duration::ZERO);
        let end = End { ending: None, crash, dump, oom: false, ran };
        let verdict = of_end(&end);
        assert_eq!(verdict.cause, "fatal");
        assert!(verdict.sentence.ends_with("it has not ended since"), "{}", verdict.sentence);
    }
}
