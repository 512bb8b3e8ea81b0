//! What every integration test may use: skipping aloud, Go toolchains and programs, a process
//! runner with deadlines, and control groups that vanish with their test.
//!
//! Nothing here asserts anything about goinit. Waiting is always for a condition with a deadline;
//! `pause` and `now` are the only places that sleep and read the clock.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

/// The crate's directory.
pub(crate) const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// Reports that the running test, or a part of it, cannot run here.
///
/// With `GOINIT_TEST_STRICT=1` it fails the test instead. `scripts/test` counts the reports.
pub(crate) fn skip(reason: &str) {
    let strict = std::env::var_os("GOINIT_TEST_STRICT").is_some_and(|value| value == "1");
    assert!(!strict, "this test cannot run here, and GOINIT_TEST_STRICT=1: {reason}");
    println!("SKIPPED: {reason}");
    let Some(path) = std::env::var_os("GOINIT_TEST_SKIPS") else { return };
    let thread = std::thread::current();
    let line = format!("{}\t{reason}\n", thread.name().unwrap_or("?"));
    if let Ok(mut file) = fs::OpenOptions::new().append(true).open(path) {
        let _ = file.write_all(line.as_bytes());
    }
}

/// The path of something in `../shared`, or a reported skip.
pub(crate) fn shared(path: &str) -> Option<PathBuf> {
    let full = Path::new(PROJECT).join("../shared").join(path);
    if full.exists() {
        return Some(full);
    }
    skip(&format!("../shared/{path} is not here"));
    None
}

/// The binary under test: the one cargo built, or `$GOINIT_BIN`.
pub(crate) fn goinit() -> PathBuf {
    std::env::var_os("GOINIT_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_goinit").into(), PathBuf::from)
}

/// A script or program below tests/programs.
pub(crate) fn helper(name: &str) -> PathBuf {
    Path::new(PROJECT).join("tests/programs").join(name)
}

/// Python 3, the system's rather than a version manager's slow front.
pub(crate) fn python() -> &'static str {
    if Path::new("/usr/bin/python3").exists() { "/usr/bin/python3" } else { "python3" }
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a program is on the PATH; otherwise a reported skip.
pub(crate) fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return true;
    }
    skip(&format!("{program} is not installed (scripts/test-deps does it as root)"));
    false
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "tests measure real time, here and nowhere else")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// One short nap between two looks at a condition.
#[expect(clippy::disallowed_methods, reason = "the one sleep of the tests, between two looks")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}

/// Looks at `condition` until it gives something or the time is up.
pub(crate) fn wait_for<T>(limit: Duration, mut condition: impl FnMut() -> Option<T>) -> Option<T> {
    let end = now() + limit;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if now() >= end {
            return None;
        }
        pause();
    }
}

/// Waits until `condition` holds; whether it did in time.
pub(crate) fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    wait_for(limit, || condition().then_some(())).is_some()
}

/// Sends signal `number` (any, real-time ones too) to `pid`; whether that was possible.
#[expect(unsafe_code, reason = "nix cannot send real-time signals")]
pub(crate) fn kill(pid: u32, number: i32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    assert!(pid > 1, "a test never signals a group, everybody or PID 1");
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    unsafe { libc::kill(pid, number) == 0 }
}

/// A Go toolchain.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    /// The path of `go`.
    pub(crate) go: PathBuf,
    /// As asked for: `1.25`.
    pub(crate) version: String,
}

/// Gets a Go toolchain (`scripts/go-toolchain` downloads it at first use), or reports a skip.
pub(crate) fn go(version: &str) -> Option<Toolchain> {
    let script = Path::new(PROJECT).join("scripts/go-toolchain");
    match output(Command::new(script).arg(version)) {
        Ok(path) => Some(Toolchain { go: path.trim().into(), version: version.to_owned() }),
        Err(why) => {
            skip(&format!("no Go {version}: {why}"));
            None
        }
    }
}

/// Builds a Go program once per version and gives its path, or reports a skip.
///
/// `name` is a directory in tests/programs, or else in ../shared/scenarios. The result is kept in
/// target/go-programs/VERSION; a lock file there makes parallel tests wait for one builder.
pub(crate) fn program(name: &str, version: &str) -> Option<PathBuf> {
    let own = helper(name);
    let source = if own.is_dir() { own } else { shared(&format!("scenarios/{name}"))? };
    build(&source, name, version)
}

pub(crate) fn build(source: &Path, name: &str, version: &str) -> Option<PathBuf> {
    build_with(source, name, version, &["build"], &[])
}

/// The same with a command of go's of its own (`test -c`, `build -race`) and more environment.
pub(crate) fn build_with(
    source: &Path,
    name: &str,
    version: &str,
    verb: &[&str],
    environment: &[(&str, &str)],
) -> Option<PathBuf> {
    let toolchain = go(version)?;
    let place = Path::new(PROJECT).join("target/go-programs").join(&toolchain.version);
    fs::create_dir_all(&place).unwrap();
    let target = place.join(name);
    let lock = fs::File::create(place.join(format!("{name}.lock"))).unwrap();
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    if newer(&target, source) {
        return Some(target);
    }
    // Go wants to write go.sum beside go.mod, and ../shared is read-only: build from a copy.
    let copy = place.join(format!("{name}.src"));
    let _ = fs::remove_dir_all(&copy);
    copy_tree(source, &copy);
    let mut command = Command::new(&toolchain.go);
    command.args(verb).args(["-trimpath", "-o"]).arg(&target).arg(".").current_dir(&copy);
    command.env_remove("GOROOT").envs(go_environment()).envs(environment.iter().copied());
    match output(&mut command) {
        Ok(_) => Some(target),
        Err(why) => panic!("cannot build {name} with Go {version}: {why}"),
    }
}

pub(crate) fn go_environment() -> BTreeMap<String, String> {
    let script = Path::new(PROJECT).join("scripts/go-toolchain");
    let text = output(Command::new(script).arg("--env")).unwrap();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Whether `target` is newer than every file below `source`.
fn newer(target: &Path, source: &Path) -> bool {
    let Ok(built) = fs::metadata(target).and_then(|data| data.modified()) else { return false };
    fs::read_dir(source).unwrap().all(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return newer(target, &path);
        }
        fs::metadata(&path).unwrap().modified().unwrap() < built
    })
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_tree(&path, &target);
        } else {
            fs::write(&target, fs::read(&path).unwrap()).unwrap();
        }
    }
}

/// Runs a command to its end; its standard output, or why not.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let done = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&done.stderr).trim().to_owned())
}

/// Runs a command in a throw-away machine with cgroup v2 (`args` as for ../shared/v2vm/run-v2), or
/// reports a skip.
pub(crate) fn v2<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(args: I) -> Option<Done> {
    let script = shared("v2vm/run-v2")?;
    if !have("qemu-system-x86_64") || !have("busybox") {
        return None;
    }
    let cache = Path::new(PROJECT).join(".cache/v2vm");
    let started = Run::new(script).args(args).env("V2VM_CACHE", cache).start();
    Some(started.wait(Duration::from_secs(240)))
}

/// A command to be run, with the state it shall start in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cleared: bool,
    state: Vec<OsString>,
    pid_namespace: bool,
    mounts: Option<String>,
    stdin: Option<Vec<u8>>,
    unread: bool,
}

impl Run {
    /// Will run `program` with nothing special about it; stdin is empty.
    pub(crate) fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    /// Will run the goinit under test.
    pub(crate) fn goinit() -> Self {
        Self::new(goinit())
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts with an empty environment (but what `env` adds).
    pub(crate) fn clear_env(mut self) -> Self {
        self.cleared = true;
        self
    }

    /// An option of tests/programs/launch.py: `--block-all`, `--close=0,1`, `--nofile=10`, …
    pub(crate) fn state(mut self, option: impl AsRef<OsStr>) -> Self {
        self.state.push(option.as_ref().to_owned());
        self
    }

    /// Will run in a control group.
    pub(crate) fn in_group(self, group: &Group) -> Self {
        let mut option = OsString::from("--cgroup=");
        option.push(&group.path);
        self.state(option)
    }

    /// Will run as this user and group.
    pub(crate) fn uid(self, uid: u32) -> Self {
        self.state(format!("--uid={uid}"))
    }

    /// Will be PID 1 of a PID namespace of its own with its own /proc (root only).
    pub(crate) fn pid_1(mut self) -> Self {
        self.pid_namespace = true;
        self
    }

    /// Shell commands to run in a mount namespace of its own first (root only): `umount -l /proc`.
    pub(crate) fn mounts(mut self, script: &str) -> Self {
        self.mounts = Some(script.to_owned());
        self
    }

    /// Bytes for its standard input.
    pub(crate) fn stdin(mut self, bytes: &[u8]) -> Self {
        self.stdin = Some(bytes.to_vec());
        self
    }

    /// Nobody reads its standard error until `Started::read_on`.
    pub(crate) fn stderr_unread(mut self) -> Self {
        self.unread = true;
        self
    }

    /// The same command as the child of a shell that waits for it.
    pub(crate) fn under_a_shell(self) -> Self {
        let shell = Self::new("sh").args(["-c", "\"$@\"; exit $?", "sh"]);
        shell.arg(self.program).args(self.args)
    }

    fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut push = |list: &[&str]| words.extend(list.iter().map(OsString::from));
        match (&self.mounts, self.pid_namespace) {
            (None, false) => {}
            (None, true) => {
                push(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"])
            }
            (Some(script), pids) => {
                let line = format!("{script}\nexec \"$@\"");
                let pids: &[&str] = if pids {
                    &["--pid", "--fork", "--mount-proc", "--kill-child"]
                } else {
                    &["--mount"]
                };
                push(&["unshare"]);
                push(pids);
                push(&["--", "sh", "-c", &line, "sh"]);
            }
        }
        if !self.state.is_empty() {
            push(&[python(), "-I", "-S"]);
            words.push(helper("launch.py").into());
            words.extend(self.state.iter().cloned());
            words.push("--".into());
        }
        words.push(self.program.clone().into());
        words.extend(self.args.iter().cloned());
        words
    }

    /// Starts it.
    pub(crate) fn start(self) -> Started {
        let words = self.words();
        let (first, rest) = words.split_first().unwrap();
        let mut command = Command::new(first);
        command.args(rest).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        if self.cleared {
            command.env_clear();
        }
        // Variables of the test runner, which goinit would take for misspelt ones of its own.
        command.env_remove("GOINIT_TEST_SKIPS").env_remove("GOINIT_TEST_STRICT");
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            std::thread::spawn(move || pipe.write_all(&bytes));
        }
        let stdout = Pipe::new(child.stdout.take().unwrap(), true);
        let stderr = Pipe::new(child.stderr.take().unwrap(), !self.unread);
        Started { child, stdout, stderr, words, nested: self.pid_namespace }
    }

    /// Starts it and waits for its end, one minute at most.
    pub(crate) fn finish(self) -> Done {
        self.start().wait(Duration::from_secs(60))
    }
}

type Gate = Arc<(Mutex<bool>, std::sync::Condvar)>;

/// One output of a process, read by a thread as it comes.
#[derive(Debug)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    gate: Gate,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    fn new(mut source: impl Read + Send + 'static, open: bool) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let gate: Gate = Arc::new((Mutex::new(open), std::sync::Condvar::new()));
        let (sink, door) = (Arc::clone(&bytes), Arc::clone(&gate));
        let thread = std::thread::spawn(move || {
            let mut is_open = locked(&door.0);
            while !*is_open {
                is_open = door.1.wait(is_open).unwrap_or_else(PoisonError::into_inner);
            }
            drop(is_open);
            let mut buffer = vec![0; 1 << 16];
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                locked(&sink).extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, gate, thread: Some(thread) }
    }

    fn so_far(&self) -> Vec<u8> {
        locked(&self.bytes).clone()
    }

    fn open(&self) {
        *locked(&self.gate.0) = true;
        self.gate.1.notify_all();
    }

    fn is_done(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running process of ours; killed when dropped.
#[derive(Debug)]
pub(crate) struct Started {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    words: Vec<OsString>,
    nested: bool,
}

impl Started {
    /// The process id, seen from here. In a PID namespace: the one of the namespace's PID 1.
    pub(crate) fn pid(&self) -> u32 {
        let own = self.child.id();
        if !self.nested {
            return own;
        }
        let found = wait_for(Duration::from_secs(10), || children(own).first().copied());
        found.unwrap_or_else(|| panic!("{:?} has no child", self.words))
    }

    /// The children of that process.
    pub(crate) fn children(&self) -> Vec<u32> {
        children(self.pid())
    }

    /// Sends a signal to that process.
    pub(crate) fn signal(&self, number: i32) {
        assert!(kill(self.pid(), number), "cannot signal {:?}", self.words);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Standard output up to now.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout.so_far()).into_owned()
    }

    /// Standard error up to now.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr.so_far()).into_owned()
    }

    /// The records on standard error up to now.
    pub(crate) fn records(&self) -> Vec<Value> {
        records(&self.stderr.so_far())
    }

    /// Starts reading a standard error that was left unread.
    pub(crate) fn read_on(&self) {
        self.stderr.open();
    }

    /// Waits until `text` is on either output; fails the test after ten seconds.
    pub(crate) fn wait_for_text(&self, text: &str) {
        let seen = || self.stdout().contains(text) || self.stderr().contains(text);
        let limit = Duration::from_secs(10);
        assert!(
            wait_until(limit, seen),
            "no {text:?} within {limit:?} from {:?}\nstdout: {}\nstderr: {}",
            self.words,
            self.stdout(),
            self.stderr()
        );
    }

    /// Waits until `text` is on standard output. goinit's own records, which repeat the command
    /// line, are not looked at.
    pub(crate) fn wait_for_output(&self, text: &str) {
        let limit = Duration::from_secs(10);
        assert!(
            wait_until(limit, || self.stdout().contains(text)),
            "no {text:?} on stdout within {limit:?} from {:?}\nstdout: {}\nstderr: {}",
            self.words,
            self.stdout(),
            self.stderr()
        );
    }

    /// Waits for a record with this event name.
    pub(crate) fn wait_for_record(&self, event_name: &str, limit: Duration) -> Value {
        let seen = || self.records().into_iter().find(|record| record["event_name"] == event_name);
        wait_for(limit, seen).unwrap_or_else(|| {
            panic!("no {event_name} within {limit:?} from {:?}\n{}", self.words, self.stderr())
        })
    }

    /// Waits for the end, at most `limit`; a process that is still there is killed and the test
    /// fails.
    pub(crate) fn wait(self, limit: Duration) -> Done {
        let words = self.words.clone();
        match self.wait_or_kill(limit) {
            Ok(done) => done,
            Err(done) => panic!(
                "still running after {limit:?}: {words:?}\nstdout: {}\nstderr: {}",
                done.stdout(),
                done.stderr()
            ),
        }
    }

    /// Waits for the end, at most `limit`; `Err` with what it said if it had to be killed.
    pub(crate) fn wait_or_kill(mut self, limit: Duration) -> Result<Done, Done> {
        let start = now();
        let status = wait_for(limit, || self.child.try_wait().unwrap());
        let took = start.elapsed();
        self.stderr.open();
        if status.is_none() {
            self.end();
        }
        // A left-over grandchild may hold a pipe; what was read until now has to do then.
        wait_until(Duration::from_secs(2), || self.stdout.is_done() && self.stderr.is_done());
        let code = status.map_or(-1, |status| {
            status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
        });
        let signalled = status.is_some_and(|status| status.signal().is_some());
        let done =
            Done { code, signalled, took, out: self.stdout.so_far(), err: self.stderr.so_far() };
        if status.is_some() { Ok(done) } else { Err(done) }
    }

    /// Kills it and what it started: an init that is killed with KILL cannot take that along.
    fn end(&mut self) {
        // In a PID namespace its PID 1 is among them, and takes the others along.
        let started = descendants(self.child.id());
        if self.nested {
            for child in children(self.child.id()) {
                kill(child, libc::SIGKILL);
            }
        }
        let _ = self.child.kill();
        wait_until(Duration::from_secs(10), || {
            matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
        });
        for process in started {
            kill(process, libc::SIGKILL);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
        self.stderr.open();
    }
}

/// A process that has ended, and what it said.
#[derive(Debug)]
pub(crate) struct Done {
    /// Its exit code; 128 + n if signal n ended it; −1 if it had to be killed.
    pub(crate) code: i32,
    /// Whether a signal ended it.
    pub(crate) signalled: bool,
    /// How long it ran, at most, counted from `wait`.
    pub(crate) took: Duration,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Done {
    /// Standard output as text.
    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Standard error as text.
    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Standard error as it was.
    pub(crate) fn stderr_bytes(&self) -> &[u8] {
        &self.err
    }

    /// Every line of standard error that is a JSON object; goinit's own are as its schema says.
    #[track_caller]
    pub(crate) fn records(&self) -> Vec<Value> {
        crate::schema::check(&self.err);
        records(&self.err)
    }

    /// The records with this event name.
    pub(crate) fn named(&self, event_name: &str) -> Vec<Value> {
        let mut all = self.records();
        all.retain(|record| record["event_name"] == event_name);
        all
    }

    /// The last record of the last verdict, or null.
    pub(crate) fn verdict(&self) -> Value {
        self.named("goinit.verdict").pop().unwrap_or_default()
    }

    /// Fails with everything that was said unless the exit code is `code`.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout(), self.stderr());
        self
    }
}

fn records(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let values = lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    values.filter(Value::is_object).collect()
}

/// The children of a process, all its threads' ones.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let files = threads.flatten().map(|thread| thread.path().join("children"));
    let texts: Vec<String> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
    texts
        .iter()
        .flat_map(|text| text.split_whitespace())
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn descendants(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut next = children(pid);
    while let Some(child) = next.pop() {
        all.push(child);
        next.extend(children(child));
    }
    all
}

/// One line of a process's /proc/PID/status, without its name.
pub(crate) fn status_line(pid: u32, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// A directory that is removed with its owner.
#[derive(Debug)]
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    /// Makes one that every user can enter and write.
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(unique());
        fs::create_dir_all(&path).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs::set_permissions(&path, mode).unwrap();
        Self(path)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = format!("goinit-test-{}", std::process::id());
    let _ = write!(name, "-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    name
}

/// A control group of this machine (v1 or v2) that is removed, with what is left in it, on drop.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its directory.
    pub(crate) path: PathBuf,
}

impl Group {
    /// A group with a CPU quota of `quota_us` in every 100 ms, or a reported skip.
    pub(crate) fn cpu(quota_us: u32) -> Option<Self> {
        let v2 = ("cpu.max", format!("{quota_us} 100000"));
        Self::new("cpu", &[("cpu.cfs_quota_us", quota_us.to_string())], &[v2])
    }

    /// A group with a memory limit in bytes and no swap beyond it, or a reported skip.
    pub(crate) fn memory(limit_bytes: u64) -> Option<Self> {
        let v1 = [("memory.limit_in_bytes", limit_bytes.to_string())];
        Self::new("memory", &v1, &[("memory.max", limit_bytes.to_string())])
    }

    /// A group that can be frozen, or a reported skip.
    pub(crate) fn freezer() -> Option<Self> {
        Self::new("freezer", &[], &[])
    }

    fn new(controller: &str, v1: &[(&str, String)], v2: &[(&str, String)]) -> Option<Self> {
        if !is_root() {
            skip("making a control group needs root");
            return None;
        }
        for (parent, settings) in parents(controller, true)
            .into_iter()
            .map(|parent| (parent, v1))
            .chain(parents(controller, false).into_iter().map(|parent| (parent, v2)))
        {
            let path = parent.join(unique());
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Self { path };
            let set = |(file, value): &(&str, String)| fs::write(group.path.join(file), value);
            if settings.iter().all(|setting| set(setting).is_ok()) {
                return Some(group);
            }
        }
        skip(&format!("no writable {controller} control group here"));
        None
    }

    /// A file of the group, trimmed; empty if it is not there.
    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        wait_until(Duration::from_secs(10), || {
            for pid in self.read("cgroup.procs").lines().filter_map(|pid| pid.parse().ok()) {
                kill(pid, libc::SIGKILL);
            }
            fs::remove_dir(&self.path).is_ok() || !self.path.exists()
        });
    }
}

/// Where a child group may be made: below this process's own group, else at the mount's root.
fn parents(controller: &str, v1: bool) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mine = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for mount in mounts.lines() {
        let fields: Vec<&str> = mount.split(' ').collect();
        let [_, place, kind, options, ..] = fields[..] else { continue };
        let fits = if v1 {
            kind == "cgroup" && options.split(',').any(|option| option == controller)
        } else {
            kind == "cgroup2"
        };
        if !fits {
            continue;
        }
        let own = mine.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let here = if v1 {
                controllers.split(',').any(|name| name == controller)
            } else {
                controllers.is_empty()
            };
            here.then(|| path.trim_start_matches('/').to_owned())
        });
        found.extend(own.map(|path| Path::new(place).join(path)));
        found.push(place.into());
    }
    found
}

/// An init that had to be killed left its program running, which may spin for ever.
#[test]
fn what_had_to_be_killed_leaves_nothing_running() {
    let started = Run::goinit().args(["--", "sh", "-c", "echo; exec sleep 300"]).start();
    started.wait_for_output("\n");
    let program = started.children()[0];
    assert!(started.wait_or_kill(Duration::ZERO).is_err());
    let gone = || status_line(program, "State").is_none_or(|state| state.starts_with('Z'));
    assert!(wait_until(Duration::from_secs(10), gone), "the program is still running");
}
