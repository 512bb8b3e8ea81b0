//! The list of formats: what makes a runtime print each, and the versions that are made to.

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavor {
    Plain,
    /// As a test binary.
    Test,
    /// A test binary of Go 1.24, where synctest is an experiment.
    Synctest,
    /// Go 1.26, where the profile of leaked goroutines is an experiment.
    Leaks,
    /// With checks of unsafe pointers.
    Checkptr,
    /// With C in it.
    Cgo,
    /// With the race detector.
    Race,
    /// With a runtime that prints a key which no version has: `newkey=abc`.
    Tomorrow,
}

/// One format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) versions: &'static [&'static str],
    pub(super) flavor: Flavor,
    pub(super) arguments: &'static [&'static str],
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// With the heartbeat that goinit asks for.
    pub(super) traces: bool,
    pub(super) code: i32,
    /// Where the goroutines are is a matter of luck.
    pub(super) loose: bool,
    /// Only who sees each write can tell it: not those who read it from a file.
    pub(super) live: bool,
}

const fn case(
    name: &'static str,
    versions: &'static [&'static str],
    arguments: &'static [&'static str],
) -> Case {
    let (flavor, traces, code) = (Flavor::Plain, false, 2);
    Case {
        name,
        versions,
        flavor,
        arguments,
        environment: &[],
        traces,
        code,
        loose: false,
        live: false,
    }
}

impl Case {
    const fn of(self, flavor: Flavor) -> Self {
        Self { flavor, ..self }
    }

    const fn with(self, environment: &'static [(&'static str, &'static str)]) -> Self {
        Self { environment, ..self }
    }

    const fn traced(self) -> Self {
        Self { traces: true, ..self }
    }

    const fn loose(self) -> Self {
        Self { loose: true, ..self }
    }

    const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    const fn code(self, code: i32) -> Self {
        Self { code, ..self }
    }
}

const ALL: &[&str] = &["1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27"];
/// The oldest, the first that indents the text of a panic, the newest.
const SOME: &[&str] = &["1.19", "1.23", "1.27"];
const ENDS: &[&str] = &["1.19", "1.27"];

/// Every format.
pub(super) const CASES: &[Case] = &[
    // Traces.
    case("sched", ALL, &["sleep"]).with(&[("GODEBUG", "schedtrace=10")]).traced().code(0),
    case("sched-detail", ALL, &["sleep"])
        .with(&[("GODEBUG", "schedtrace=10,scheddetail=1")])
        .traced()
        .code(0),
    case("sched-key", &["1.27"], &["sleep"])
        .of(Flavor::Tomorrow)
        .with(&[("GODEBUG", "schedtrace=10")])
        .traced()
        .code(0),
    case("sched-key-detail", &["1.27"], &["sleep"])
        .of(Flavor::Tomorrow)
        .with(&[("GODEBUG", "schedtrace=10,scheddetail=1")])
        .traced()
        .code(0),
    case("sched-crash", ALL, &["panic-goroutine"]).traced(),
    case("sched-quit", SOME, &["states"]).traced(),
    case("inittrace", ALL, &["sleep"]).with(&[("GODEBUG", "inittrace=1")]).code(0),
    case("gctrace", ALL, &["collect"]).with(&[("GODEBUG", "gctrace=1")]).code(0),
    case("gctrace-leaks", &["1.27"], &["leaked"]).with(&[("GODEBUG", "gctrace=1")]),
    // Dumps.
    case("states", ALL, &["states"]),
    case("crowd", ENDS, &["crowd"]),
    case("busy", SOME, &["busy"]).loose(),
    case("ancestors", SOME, &["ancestors"]).with(&[("GODEBUG", "tracebackancestors=5")]),
    case("elided", ALL, &["elided"]),
    case("elided-crash", SOME, &["elided-crash"]).with(&[("GOTRACEBACK", "all")]),
    case("labels", &["1.25", "1.26", "1.27"], &["labels"])
        .with(&[("GODEBUG", "tracebacklabels=1")]),
    case("leaked", &["1.27"], &["leaked"]),
    case("leaked-experiment", &["1.26"], &["leaked"]).of(Flavor::Leaks),
    case("bubble", &["1.25", "1.26", "1.27"], &["-test.run=^TestBubble$"])
        .of(Flavor::Test)
        .with(&[("GODEBUG", "asynctimerchan=0")]),
    case("bubble-experiment", &["1.24"], &["-test.run=^TestBubble$"])
        .of(Flavor::Synctest)
        .with(&[("GODEBUG", "asynctimerchan=0")]),
    case("level-none", SOME, &["levels"]).with(&[("GOTRACEBACK", "none")]),
    case("level-single", SOME, &["levels"]).with(&[("GOTRACEBACK", "single")]),
    case("level-all", SOME, &["levels"]).with(&[("GOTRACEBACK", "all")]),
    case("level-system", SOME, &["levels"]).with(&[("GOTRACEBACK", "system")]),
    case("level-crash", ALL, &["levels"]).with(&[("GOTRACEBACK", "crash")]).code(134),
    case("level-wer", SOME, &["levels"]).with(&[("GOTRACEBACK", "wer")]),
    case("level-none-quit", ENDS, &["crowd"]).with(&[("GOTRACEBACK", "none")]),
    case("own-stack", ENDS, &["own-stack"]).code(0),
    case("all-stacks", SOME, &["all-stacks"]).code(0),
    case("profile", ENDS, &["profile"]).code(0),
    case("imitation", ENDS, &["imitation"]).code(0),
    case("init-exit", ENDS, &["init-exit"]).code(3),
    // Panics.
    case("panic", SOME, &["panic"]),
    case("panic-error", ENDS, &["panic-error"]),
    case("panic-stringer", ENDS, &["panic-stringer"]),
    case("panic-lines", ALL, &["panic-lines"]),
    case("panic-lines-none", SOME, &["panic-lines"]).with(&[("GOTRACEBACK", "none")]),
    // Go 1.22 and older do not indent the text of a panic.
    case("panic-imitation-live", &["1.19", "1.22"], &["panic-imitation"]).live(),
    case("panic-imitation", &["1.23", "1.27"], &["panic-imitation"]),
    case("panic-blank-lines", SOME, &["panic-blank-lines"]),
    case("panic-string-type", SOME, &["panic-string-type"]),
    case("panic-values", ALL, &["panic-values"]),
    case("panic-nil", ENDS, &["panic-nil"]),
    case("panic-nil-error", &["1.21", "1.27"], &["panic-nil"]).with(&[("GODEBUG", "panicnil=0")]),
    case("panic-empty", ENDS, &["panic-empty"]),
    case("panic-long", ENDS, &["panic-long"]),
    case("panic-nested", ALL, &["panic-nested"]),
    case("panic-repanic", ALL, &["panic-repanic"]),
    case("panic-rethrow", SOME, &["panic-rethrow"]),
    case("panic-goexit", SOME, &["panic-goexit"]),
    case("panic-goroutine", SOME, &["panic-goroutine"]),
    case("panic-index", ENDS, &["panic-index"]),
    case("panic-divide", ENDS, &["panic-divide"]),
    case("panic-type", ENDS, &["panic-type"]),
    case("panic-nil-pointer", SOME, &["panic-nil-pointer"]),
    case("panic-nil-map", ENDS, &["panic-nil-map"]),
    case("panic-closed", ENDS, &["panic-closed"]),
    case("panic-elided", SOME, &["panic-elided"]),
    case("panic-init", SOME, &["init-panic"]),
    case("panic-log", ENDS, &["log-panic"]),
    case("panic-http", ENDS, &["http-panic"]).code(0),
    case("panic-cgo", SOME, &["cgo-callback"]).of(Flavor::Cgo),
    case("panic-cgo-frames", ENDS, &["cgo-callback-traceback"]).of(Flavor::Cgo),
    case("panic-cgo-pointer", &["1.19", "1.21", "1.26"], &["cgo-pointer"]).of(Flavor::Cgo),
    case("panic-race", ENDS, &["race-closed"]).of(Flavor::Race).loose(),
    case("test-panic", &["1.19", "1.24", "1.25", "1.27"], &["-test.run=^TestPanic$"])
        .of(Flavor::Test),
    case("test-timeout", SOME, &["-test.run=^TestTimeout$", "-test.timeout=100ms"])
        .of(Flavor::Test),
    case("test-parallel", ENDS, &["-test.run=^TestParallel$", "-test.timeout=100ms"])
        .of(Flavor::Test),
    case("test-bubble-deadlock", &["1.25", "1.27"], &["-test.run=^TestBubbleDeadlock$"])
        .of(Flavor::Test)
        .with(&[("GODEBUG", "asynctimerchan=0")]),
    // Fatal errors.
    case("fatal-deadlock", SOME, &["deadlock"]),
    case("fatal-deadlock-two", SOME, &["deadlock-two"]),
    case("fatal-goexit", SOME, &["goexit-main"]),
    case("fatal-init-deadlock", SOME, &["init-deadlock"]),
    case("fatal-map-writes", SOME, &["map-writes"]).loose(),
    case("fatal-map-read-write", ENDS, &["map-read-write"]).loose(),
    case("fatal-map-iteration", ENDS, &["map-iteration"]).loose(),
    case("fatal-unlock", SOME, &["unlock"]),
    case("fatal-runlock", ENDS, &["runlock"]),
    case("fatal-rwunlock", ENDS, &["rwunlock"]),
    case("fatal-overflow", SOME, &["overflow"]),
    case("fatal-out-of-memory", SOME, &["out-of-memory"]),
    case("fatal-no-memory", ENDS, &["no-memory"]),
    case("fatal-bad-pointer", SOME, &["bad-pointer"]).loose(),
    case("fatal-bad-frame", SOME, &["bad-frame"]),
    case("fatal-checkptr", ENDS, &["checkptr"]).of(Flavor::Checkptr),
    case("fatal-threads", SOME, &["threads"]).loose(),
    case("fatal-newosproc", SOME, &["no-threads"]).loose(),
    case("fatal-fault", SOME, &["fault"]),
    case("fatal-bus-error", SOME, &["bus-error"]),
    case("fatal-broken-error", SOME, &["panic-broken-error"]),
    case("fatal-memory-limit", ENDS, &["sleep"]).with(&[("GOMEMLIMIT", "64MB")]),
    case("fatal-removed-setting", &["1.27"], &["sleep"]).with(&[("GODEBUG", "asynctimerchan=1")]),
    // Signals.
    case("signal-quit", ALL, &["signal-quit"]),
    case("signal-abrt", SOME, &["signal-abrt"]),
    case("signal-segv", SOME, &["signal-segv"]),
    case("signal-bus", ENDS, &["signal-bus"]),
    case("signal-fpe", ENDS, &["signal-fpe"]),
    case("signal-ill", ENDS, &["signal-ill"]),
    case("signal-trap", ENDS, &["signal-trap"]),
    case("signal-sys", ENDS, &["signal-sys"]),
    case("signal-term", ENDS, &["signal-term"]).code(143),
    case("signal-cgo", &["1.19", "1.21", "1.27"], &["cgo-null"]).of(Flavor::Cgo),
    case("signal-cgo-frames", &["1.19", "1.21", "1.27"], &["cgo-traceback"]).of(Flavor::Cgo),
    case("signal-cgo-plain-frames", ENDS, &["cgo-traceback-plain"]).of(Flavor::Cgo),
    case("signal-cgo-call", SOME, &["cgo-block"]).of(Flavor::Cgo),
    case("signal-cgo-callback", SOME, &["cgo-callback-wait"]).of(Flavor::Cgo),
    case("race", ENDS, &["race"]).of(Flavor::Race).loose().code(66),
];
