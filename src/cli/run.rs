//! The run form: goinit's first life, in which it may still fail with a message and an exit code.
//! The second one begins with [`Supervisor::run`], from which only the program's end leads out.

use super::arguments::{self, Asked, Run};
use super::{help, out};
use crate::exit::Code;
use crate::go::line;
use crate::host::cgroup::{self, Places};
use crate::host::diagnostics;
use crate::host::files::Root;
use crate::host::goroutines::Early;
use crate::host::intake::Intake;
use crate::host::kubernetes;
use crate::host::lookout::Lookout;
use crate::host::oom::OomWatch;
use crate::host::program::{self, Depth};
use crate::host::sink::Sink;
use crate::host::supervisor::Supervisor;
use crate::host::termination::{Leaving, Message};
use crate::policy::backlog::Class;
use crate::policy::config::{Raw, Termination};
use crate::policy::diagnosis::{Diagnosis, Setup};
use crate::policy::greeting;
use crate::policy::limits::Limits;
use crate::policy::outbox::Outbox;
use crate::policy::record::{Origin, Record, Severity};
use crate::policy::resize::{self, Resize};
use crate::policy::session::{Birth, Session};
use crate::policy::settings::{self, Options, Runtime, Settings};
use crate::policy::startable::{self, Program};
use crate::sys::signals::{self, Mask, SignalFd};
use crate::sys::spawn::{Plan, replace, spawn};
use crate::sys::{clock, fd, job, start};
use crate::units::{Now, Pid};
use std::borrow::Cow;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Runs a command as its init; gives goinit's exit code.
pub(crate) fn main(arguments: Vec<OsString>) -> Code {
    // Before anything else: a signal that arrives from now on waits for the signalfd, and a
    // SIGCHLD that our parent ignored works again.
    signals::watch_children();
    let inherited = signals::set_mask(Mask::ALL);
    match arguments::read(arguments, own_variables()) {
        Ok(Asked::Run(run)) => match std::env::var_os("GOINIT_DISABLED") {
            Some(reason) => disabled(&run, &reason, inherited),
            None => Start::new(*run).go(),
        },
        Ok(Asked::Help) => {
            out::print(&help::text());
            Code::SUCCESS
        }
        Ok(Asked::Version) => {
            out::print(concat!("goinit ", env!("CARGO_PKG_VERSION"), "\n"));
            Code::SUCCESS
        }
        Err(sentence) => {
            out::error(&sentence);
            Code::FAILED
        }
    }
}

/// What belongs to the program that was just started.
struct Born {
    child: Pid,
    at: Now,
    signals: SignalFd,
    pipe: Option<fd::Pipe>,
    log: Option<OwnedFd>,
    terminal: Option<BorrowedFd<'static>>,
}

/// What the start collects on its way.
struct Start {
    run: Run,
    root: Root,
    outbox: Outbox,
    /// Standard input and standard error are a terminal: the program keeps it.
    interactive: bool,
    message: Message,
    kubernetes: kubernetes::Attributes,
}

impl Start {
    fn new(run: Run) -> Self {
        let terminal = |number| fd::standard(number).is_some_and(fd::is_terminal);
        let interactive = run.wishes.config.stderr.is_none() && terminal(0) && terminal(2);
        let root = Root::live();
        let mut kubernetes = kubernetes::attributes(|name| std::env::var(name).ok());
        let config = &run.wishes.config;
        let path = match &config.termination {
            Termination::Off => None,
            Termination::File(path) => Some(path.clone()),
            Termination::Auto => kubernetes::termination_file(&root, &mut kubernetes),
        };
        let message = Message { path, limit: config.termination_bytes };
        let outbox = Outbox::new(job::random());
        Self { run, root, outbox, interactive, message, kubernetes }
    }

    /// Starts the program and stays with it.
    fn go(mut self) -> Code {
        let (limits, places) = cgroup::read(&self.root, None, cgroup::Depth::Deciding);
        let command = self.run.command.first().cloned().unwrap_or_default();
        let path = std::env::var_os("PATH");
        let program = match program::find(&self.root, &command, path.as_deref()) {
            Ok(path) => program::inspect(&self.root, &path, Depth::Start),
            Err(search) => {
                let (code, sentence) = startable::not_found(&search);
                return self.refuse(code, &sentence);
            }
        };
        let (settings, options) = self.settings(&limits, &program);
        let signals = match SignalFd::all() {
            Ok(signals) => signals,
            Err(error) => return self.refuse(Code::FAILED, &format!("no signalfd: {error}")),
        };
        let config = &self.run.wishes.config;
        let not_first = job::own_pid() != 1;
        if (config.subreaper || not_first)
            && let Err(error) = fd::become_subreaper()
        {
            self.warn(&format!("orphans cannot be adopted: no subreaper ({error})"));
        }
        if let Some(signal) = self.run.wishes.config.parent_death
            && let Err(error) = signals::on_parent_death(signal)
        {
            self.warn(&format!("no signal at the parent's death: {error}"));
        }
        let user = resize::VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?)));
        let user = user.collect();
        let build = program.runtime().cloned();
        let start = Resize { limits, settings, build, user, options };
        self.launch(&program, start, &places, signals)
    }

    /// Decides the environment.
    fn settings(&self, limits: &Limits, program: &Program) -> (Settings, Options) {
        let mut options = self.run.wishes.settings.clone();
        if self.interactive {
            // The program keeps its terminal, and nobody wants a heartbeat on it.
            options.schedtrace_ms = 0;
        }
        let settings = settings::decide(limits, Runtime::of(program.runtime()), variable, &options);
        (settings, options)
    }

    /// Spawns, and becomes the supervisor.
    fn launch(
        mut self,
        program: &Program,
        start: Resize,
        places: &Places,
        signals: SignalFd,
    ) -> Code {
        // First what the run needs, then what it can do without: descriptors may be scarce.
        let pipe = if self.interactive { None } else { self.log_pipe() };
        let log = fd::own_stderr();
        let config = &self.run.wishes.config;
        diagnostics::install(config.verbose);
        let terminal = (!config.single_child).then(foreground_terminal).flatten();
        let descriptors: Vec<_> = pipe.iter().map(|pipe| (fd::number(&pipe.writer), 2)).collect();
        let at = clock::now();
        let plan = Plan {
            path: &c_string(OsStr::new(&program.path)),
            args: &self.run.command.iter().map(|arg| c_string(arg)).collect::<Vec<_>>(),
            env: environment(&start.settings),
            descriptors: &descriptors,
            own_group: !config.single_child,
            terminal: terminal.map(|fd| fd::number(&fd)),
            traceable: true,
        };
        let child = match start_program(plan, program) {
            Ok(child) => child,
            Err(errno) => {
                let path = PathBuf::from(&program.path);
                let facts = program::inspect(&self.root, &path, Depth::Everything);
                let (code, sentence) = startable::explain(&facts, errno);
                return self.refuse(code, &sentence);
            }
        };
        let born = Born { child, at, signals, pipe, log, terminal };
        self.stay(program, start, places, born)
    }

    /// The program runs: becomes its supervisor. Never inlined, so that the pages of its large
    /// stack frame are first touched when the program does not wait for it any more.
    #[inline(never)]
    fn stay(mut self, program: &Program, start: Resize, places: &Places, born: Born) -> Code {
        let Born { child, at, signals, pipe, log, terminal } = born;
        let config = self.run.wishes.config.clone();
        // Before anything else: the program may hide itself at any moment from here on.
        let go = program.runtime().is_some();
        let early = if go { Early::open(child) } else { Early::default() };
        let own = pipe.iter().flat_map(|pipe| [pipe.reader.as_fd(), pipe.writer.as_fd()]);
        let own = own.chain(early.files().map(|(_, file)| file.as_fd()));
        let own = own.chain(log.as_ref().map(AsFd::as_fd));
        fd::close_all_but(&own.chain([signals.as_fd()]).collect::<Vec<_>>());
        // Descriptors may be scarce: what writes the log comes before what looks around.
        let waker = fd::Waker::new().ok();
        // Nobody is killed for memory between exec and here, and the start is not kept waiting.
        let oom_kills = OomWatch::new(&self.root, places);
        let lookout = Lookout::new(child, early, places, config.dump_dir.clone());
        let framing = pipe.as_ref().map_or(fd::Framing::Stream, |pipe| pipe.framing);
        let stderr = pipe.map(|pipe| {
            let _ = fd::set_nonblocking(pipe.reader.as_fd());
            let holds = fd::enlarge_pipe(pipe.reader.as_fd());
            Intake::new(pipe.reader, framing, holds)
        });
        self.greet(child, program, &start, framing);
        let raw = match &config.raw {
            Some(Raw::File(path)) => Some(Sink::to_file(path.clone(), fd::Waker::new().ok())),
            Some(Raw::Log) | None => None,
        };
        job::go_to_root();
        let birth = Birth {
            child,
            own_group: !config.single_child,
            piped: stderr.is_some(),
            job_control: job::has_job_control(),
            interactive: self.interactive,
            at: at.mono,
        };
        let heartbeat_ms = heartbeat(&start.settings);
        let diagnosis = Diagnosis::new(
            &config,
            Setup {
                framing: match framing {
                    fd::Framing::Packets => line::Framing::Packets,
                    fd::Framing::Stream => line::Framing::Stream,
                },
                go,
                heartbeat_ms,
            },
            start,
            at.mono,
        );
        let name_orphans = config.warn_reaped;
        let mut session = Session::new(config, birth, self.outbox, diagnosis);
        let sink = Sink::new(log, waker);
        Supervisor {
            signals,
            child,
            stderr,
            sink,
            raw,
            terminal,
            name_orphans,
            message: self.message,
            leaving: Leaving::default(),
            oom_kills,
            lookout,
        }
        .run(&mut session)
    }

    /// Posts the first records.
    fn greet(&mut self, child: Pid, program: &Program, start: &Resize, framing: fd::Framing) {
        let Resize { settings, limits, .. } = start;
        let now = clock::now();
        let not_first = job::own_pid() != 1;
        let command: Vec<_> =
            self.run.command.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let start = greeting::Start {
            pid: child,
            command: &command,
            limits,
            settings,
            program,
            heartbeat_ms: heartbeat(settings),
            packets: framing == fd::Framing::Packets,
            subreaper: not_first,
            kubernetes: &self.kubernetes,
        };
        let record = greeting::start(&start);
        if self.interactive && !self.run.wishes.config.verbose {
            self.outbox.quiet(Severity::Warn);
        }
        self.outbox.post(now.wall, Class::Vital, &record);
        for sentence in self.run.warnings.clone().iter().chain(&settings.warnings) {
            self.warn(sentence);
        }
    }

    fn warn(&mut self, sentence: &str) {
        self.outbox.post(clock::now().wall, Class::Vital, &greeting::warning(sentence));
    }

    /// The program's stderr; without it the program writes to goinit's own.
    fn log_pipe(&mut self) -> Option<fd::Pipe> {
        let pipe = fd::log_pipe();
        if let Err(error) = &pipe {
            self.warn(&format!("no pipe for the program's stderr, it passes unread: {error}"));
        }
        pipe.ok()
    }

    /// The command cannot be run: the last record, the termination message, the exit code.
    fn refuse(mut self, code: Code, sentence: &str) -> Code {
        let code = self.run.wishes.config.remapped(code);
        let message = format!("cannot start: {sentence}; exit code {}", code.0);
        let cause = match code {
            Code::NOT_FOUND => "not_found",
            Code::NOT_EXECUTABLE => "not_executable",
            _ => "goinit_failed",
        };
        if self.interactive {
            out::error(&message);
        } else {
            let record = Record::new(Severity::Error, "goinit.exit", Origin::Goinit, &*message)
                .put("exit.code", code.0)
                .put("exit.cause", cause)
                .put("exit.by", "goinit")
                .put("error.type", cause)
                .put("error.message", sentence.to_owned());
            self.outbox.post(clock::now().wall, Class::Vital, &record);
            let mut text = Vec::new();
            for (_, record) in self.outbox.records() {
                text.extend_from_slice(record);
            }
            let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), &text);
        }
        self.message.leave(&message).wait();
        code
    }
}

/// A variable of our own environment, which is the program's but for what is set.
fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Interval of the heartbeat that the program will print, from its own GODEBUG.
fn heartbeat(settings: &Settings) -> u32 {
    let own = || std::env::var("GODEBUG").unwrap_or_default();
    let debug = settings.get("GODEBUG").map_or_else(own, str::to_owned);
    let last = debug.split(',').filter_map(|pair| pair.strip_prefix("schedtrace=")).next_back();
    last.and_then(|millis| millis.parse().ok()).unwrap_or(0)
}

/// Starts the program; a text file without `#!` goes to the shell, as execvp(3) does.
fn start_program(plan: Plan<'_>, program: &Program) -> Result<Pid, i32> {
    const ENOEXEC: i32 = 8;
    let shell = Plan { path: c"/bin/sh", ..plan.clone() };
    match spawn(plan).map_err(|error| error.raw_os_error().unwrap_or(0)) {
        Err(ENOEXEC) if matches!(program.format, startable::Format::Text(_)) => {
            let script = c_string(OsStr::new(&program.path));
            let mut args = vec![c"sh".to_owned(), script];
            args.extend(shell.args.iter().skip(1).cloned());
            spawn(Plan { args: &args, ..shell }).map_err(|_| ENOEXEC)
        }
        other => other,
    }
}

/// The terminal whose foreground is ours to give.
fn foreground_terminal() -> Option<BorrowedFd<'static>> {
    let own = fd::own_group();
    (0..=2).filter_map(fd::standard).find(|fd| fd::foreground(*fd) == Some(own))
}

/// The program's environment: ours with the settings in place of what they replace.
fn environment(settings: &Settings) -> Vec<Cow<'static, CStr>> {
    let named = |entry: &[u8], name: &str| {
        entry.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
    };
    let replaced = |entry: &CStr| settings.env.iter().any(|var| named(entry.to_bytes(), var.name));
    let kept = start::environment().filter(|entry| !replaced(entry)).map(Cow::Borrowed);
    let set = settings.env.iter().map(|var| format!("{}={}", var.name, var.value));
    kept.chain(set.filter_map(|text| CString::new(text).ok().map(Cow::Owned))).collect()
}

/// The variables that may be meant for us: goinit's and tini's.
fn own_variables() -> impl Iterator<Item = (OsString, OsString)> {
    start::environment().filter_map(|entry| {
        let entry = entry.to_bytes();
        let ours = entry.starts_with(b"GOINIT_") || entry.starts_with(b"TINI_");
        let at = entry.iter().position(|b| *b == b'=').filter(|_| ours)?;
        let (name, value) = (entry.get(..at)?, entry.get(at + 1..)?);
        Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
    })
}

/// Arguments and variables come from exec and hold no NUL.
fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).unwrap_or_default()
}

/// GOINIT_DISABLED: one record with the reason, then the command in our place.
fn disabled(run: &Run, reason: &OsStr, inherited: Mask) -> Code {
    let mut outbox = Outbox::new(job::random());
    let message = format!("goinit is switched off: {}", reason.to_string_lossy());
    let record = Record::new(Severity::Info, "goinit.start", Origin::Goinit, message);
    outbox.post(clock::now().wall, Class::Vital, &record);
    for (_, record) in outbox.records() {
        let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), record);
    }
    let command = run.command.first().cloned().unwrap_or_default();
    let root = Root::live();
    let path = std::env::var_os("PATH");
    let (code, sentence) = match program::find(&root, &command, path.as_deref()) {
        Err(search) => startable::not_found(&search),
        Ok(path) => {
            signals::stop_ignoring_pipes();
            signals::set_mask(inherited);
            let args: Vec<_> = run.command.iter().map(|arg| c_string(arg)).collect();
            let error =
                replace(&c_string(path.as_os_str()), &args, &environment(&Settings::default()));
            let facts = program::inspect(&root, &path, Depth::Everything);
            startable::explain(&facts, error.raw_os_error().unwrap_or(0))
        }
    };
    out::error(&format!("cannot start: {sentence}"));
    code
}
