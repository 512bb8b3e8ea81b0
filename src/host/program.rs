//! Looks at what is to be run: where PATH finds it, what kind of file it is, and what it needs.
//! A few page-sized reads, however large the file; it is never mapped, because a file that
//! shrinks under a mapping would kill PID 1.

use std::cell::RefCell;
use std::env::consts::ARCH;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::files::Root;
use super::libraries;
use crate::go::buildinfo::BuildInfo;
use crate::go::elf::{Dynamic, Elf, NotElf, ReadAt};
use crate::linux::mountinfo;
use crate::policy::startable::{Executable, Foreign, Format, Program, Script, Search};
use crate::sys::job;

/// What execvp(3) searches when PATH is not set (musl's choice).
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// What container runtimes set when an image says nothing (runc, containerd).
const IMAGE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// How much of the beginning tells what kind of file it is; the kernel reads 256 for `#!`.
const HEAD_BYTES: usize = 256;
/// Longest mountinfo that is read.
const MOUNTINFO_MAX: usize = 1 << 20;

/// How thoroughly a program is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the settings need: every start does it.
    Start,
    /// Also what it needs from the image: after a failed start, and for `inspect`.
    Everything,
}

/// Finds a command as execvp(3) does: with a slash it is a path, else PATH is searched for an
/// executable file; a file that is not executable is only taken when there is no other.
///
/// # Errors
/// Where it was looked for, when there is none.
pub fn find(root: &Root, command: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Search> {
    let name = command.to_string_lossy().into_owned();
    if command.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(command));
    }
    let searched = path.map_or_else(|| OsString::from(DEFAULT_PATH), OsStr::to_os_string);
    let mut second = None;
    if !command.is_empty() {
        for directory in searched.as_bytes().split(|b| *b == b':') {
            // An empty element is the current directory.
            let directory = if directory.is_empty() { b"." } else { directory };
            let candidate = Path::new(OsStr::from_bytes(directory)).join(command);
            let Ok(metadata) = root.metadata(&candidate) else { continue };
            if metadata.is_file() && may_execute(&metadata) {
                return Ok(candidate);
            }
            if metadata.is_file() {
                second = second.or(Some(candidate));
            }
        }
    }
    second.ok_or_else(|| Search {
        path: Some(searched.to_string_lossy().into_owned()),
        in_current_directory: !name.is_empty() && root.is_live() && Path::new(command).is_file(),
        command: name,
    })
}

/// PATH as it counts below a root: our own variable, or what an image has by default.
#[must_use]
pub fn search_path(root: &Root) -> Option<OsString> {
    if root.is_live() { std::env::var_os("PATH") } else { Some(IMAGE_PATH.into()) }
}

/// Interpreters of interpreters that are looked at; the kernel follows four (fs/exec.c).
const SCRIPTS_MAX: u32 = 4;

/// Looks at a program.
#[must_use]
pub fn inspect(root: &Root, path: &Path, depth: Depth) -> Program {
    inspect_below(root, path, depth, SCRIPTS_MAX)
}

fn inspect_below(root: &Root, path: &Path, depth: Depth, scripts: u32) -> Program {
    let mut program = Program {
        path: path.to_string_lossy().into_owned(),
        here: go_arch(ARCH),
        ..Program::default()
    };
    let metadata = match root.metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            program.format = absent(root, path, &error);
            return program;
        }
    };
    if metadata.is_dir() {
        program.format = Format::Directory;
        return program;
    }
    if !metadata.is_file() {
        // Opening a FIFO would wait for a writer.
        program.format = Format::Special;
        return program;
    }
    program.bytes = metadata.len();
    program.executable = may_execute(&metadata);
    program.mode = metadata.permissions().mode() & 0o7777;
    program.owner = metadata.uid();
    if depth == Depth::Everything && root.is_live() {
        program.noexec = noexec(root, path);
    }
    program.format = match root.open(path) {
        Ok(file) => {
            Look { root, path, depth, scripts, bytes: program.bytes }.format(&Pages::new(file))
        }
        // A program can be executable without being readable; then nothing is known of it.
        Err(_) => Format::Unreadable(program.path.clone()),
    };
    program
}

/// Why there is nothing at a path.
fn absent(root: &Root, path: &Path, error: &io::Error) -> Format {
    if error.kind() == io::ErrorKind::PermissionDenied {
        let above = path.ancestors().skip(1).find(|above| root.metadata(above).is_ok());
        let above = above.unwrap_or(Path::new("/"));
        return Format::Unreadable(above.to_string_lossy().into_owned());
    }
    match std::fs::read_link(root.locate(path)) {
        Ok(target) => Format::Dangling(target.to_string_lossy().into_owned()),
        Err(_) => Format::Missing,
    }
}

/// Whether the mode bits let this process execute a file. Supplementary groups and capabilities
/// beyond root's are not looked at: any group's bit counts.
fn may_execute(metadata: &Metadata) -> bool {
    let mode = metadata.permissions().mode();
    match job::effective_user() {
        0 => mode & 0o111 != 0,
        uid if uid == metadata.uid() => mode & 0o100 != 0,
        _ => mode & 0o011 != 0,
    }
}

/// The mount point with noexec that a file lies on.
fn noexec(root: &Root, path: &Path) -> Option<String> {
    let path = path.canonicalize().ok()?;
    let mut buffer = Vec::new();
    let text = root.read(b"/proc/self/mountinfo", MOUNTINFO_MAX, &mut buffer).ok()?;
    let mount = mountinfo::mount_of(text, path.as_os_str().as_bytes())?;
    mount.is_noexec().then(|| String::from_utf8_lossy(&mount.point).into_owned())
}

/// One look at one file.
#[derive(Clone, Copy)]
struct Look<'a> {
    root: &'a Root,
    path: &'a Path,
    depth: Depth,
    /// How many `#!` may still be followed.
    scripts: u32,
    bytes: u64,
}

impl Look<'_> {
    fn format(self, file: &Pages) -> Format {
        let mut head = [0; HEAD_BYTES];
        let count = file.read_at(0, &mut head);
        let head = head.get(..count).unwrap_or_default();
        match head {
            [] => Format::Empty,
            [b'#', b'!', ..] => Format::Script(self.script(head)),
            [0x7f, b'E', b'L', b'F', ..] => self.elf(file),
            [b'M', b'Z', ..] => Format::Foreign(Foreign::Windows),
            [0, b'a', b's', b'm', ..] => Format::Foreign(Foreign::Wasm),
            [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..]
            | [0xfe, 0xed, 0xfa, 0xcf | 0xce, ..]
            | [0xca, 0xfe, 0xba, 0xbe, ..] => Format::Foreign(Foreign::MacOs),
            _ if head.starts_with(b"!<arch>\n") => Format::Archive,
            [0xef, 0xbb, 0xbf, rest @ ..] => Format::Text(rest.starts_with(b"#!")),
            _ if is_text(head) => Format::Text(false),
            _ => Format::Data,
        }
    }

    /// Takes a `#!` line apart as the kernel does (fs/binfmt_script.c).
    fn script(self, head: &[u8]) -> Script {
        let end = head.iter().position(|b| *b == b'\n').unwrap_or(head.len());
        let line = head.get(..end).unwrap_or_default();
        let carriage_return = line.last() == Some(&b'\r');
        let shown = line.strip_suffix(b"\r").unwrap_or(line);
        let words = line.get(2..).unwrap_or_default().trim_ascii_start();
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let mut words = words.splitn(2, blank);
        let interpreter = words.next().unwrap_or_default();
        let argument = words.next().unwrap_or_default();
        let path = Path::new(OsStr::from_bytes(interpreter));
        let exists = !interpreter.is_empty() && self.root.metadata(path).is_ok();
        let target = path.ends_with("env").then(|| env_target(self.root, argument)).flatten();
        let runs = match &target {
            Some((_, found)) => found.clone(),
            None => exists.then(|| path.to_path_buf()),
        };
        let followed =
            self.scripts.checked_sub(1).zip(runs).map(|(scripts, path)| {
                Box::new(inspect_below(self.root, &path, self.depth, scripts))
            });
        Script {
            line: String::from_utf8_lossy(shown).into_owned(),
            interpreter: String::from_utf8_lossy(interpreter).trim_end().to_owned(),
            exists,
            by_env: target.map(|(name, found)| (name, found.is_some())),
            carriage_return,
            program: followed,
        }
    }

    fn elf(self, file: &Pages) -> Format {
        let elf = match Elf::read(file) {
            Ok(elf) => elf,
            Err(NotElf::Short | NotElf::Magic | NotElf::Header) => return Format::Broken,
        };
        let name = elf.machine_name();
        let arch = name.map_or_else(|| format!("ELF machine {}", elf.machine), str::to_owned);
        let mut executable = Executable {
            wide: elf.wide,
            not_linked: !matches!(elf.kind, 2 | 3),
            relocatable: elf.relocatable,
            stripped: !elf.has_symbols(),
            go: BuildInfo::read(&elf, file),
            runs_here: true,
            arch,
            ..Executable::default()
        };
        if self.depth == Depth::Everything {
            self.needs(&elf, file, &mut executable);
        }
        Format::Elf(Box::new(executable))
    }

    /// What it needs of the machine and the image.
    fn needs(self, elf: &Elf, file: &Pages, executable: &mut Executable) {
        let dynamic = elf.dynamic(file);
        let go = executable.go.as_ref();
        let system = go.and_then(|go| go.setting("GOOS")).map(str::to_owned);
        let system = system.or_else(|| system_of(elf.abi).map(str::to_owned));
        executable.system = system.filter(|system| !matches!(system.as_str(), "linux" | "android"));
        let level = go.and_then(|go| go.setting("GOAMD64")).filter(|_| executable.arch == "amd64");
        executable.cpu_level = level.filter(|level| !has_level(level)).map(str::to_owned);
        let loader = elf.interpreter(file);
        executable.library = library_kind(elf, &dynamic, loader.is_some(), go);
        executable.runs_here = runs_here(self.root, &executable.arch);
        executable.cut_from = Some(elf.mapped_end()).filter(|end| *end > self.bytes);
        let exists =
            |loader: &String| self.root.metadata(Path::new(loader)).is_ok_and(|m| m.is_file());
        if let Some(loader) = loader.as_ref().filter(|loader| exists(loader)) {
            let needs = libraries::Needs { root: self.root, path: self.path, elf, dynamic, loader };
            executable.libraries = libraries::all(needs);
        }
        executable.interpreter = loader.map(|loader| {
            let there = exists(&loader);
            (loader, there)
        });
    }
}

/// The system of an ELF file, by its header (elf(5), EI_OSABI), in Go's words.
fn system_of(abi: u8) -> Option<&'static str> {
    match abi {
        2 => Some("netbsd"),
        6 => Some("solaris"),
        9 => Some("freebsd"),
        12 => Some("openbsd"),
        _ => None,
    }
}

/// Whether this is a library rather than a program, and of which kind.
fn library_kind(
    elf: &Elf,
    dynamic: &Dynamic,
    has_loader: bool,
    go: Option<&BuildInfo>,
) -> Option<&'static str> {
    match go.and_then(|go| go.setting("-buildmode")) {
        Some("c-shared") => return Some("shared library for C (go build -buildmode=c-shared)"),
        Some("plugin") => return Some("Go plugin (go build -buildmode=plugin)"),
        Some("shared") => return Some("shared Go library (go build -buildmode=shared)"),
        _ => {}
    }
    // A static position-independent program has no loader either, but it says what it is.
    let named = dynamic.soname.is_some() || elf.entry == 0;
    (elf.kind == 3 && !has_loader && !dynamic.pie && named).then_some("shared library")
}

/// Whether this machine's CPU has the features of a GOAMD64 level (go.dev/wiki/MinimumRequirements).
fn has_level(level: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("cmpxchg16b") && has!("popcnt") && has!("sse4.2") && has!("ssse3");
        let v3 = has!("avx2") && has!("bmi1") && has!("bmi2") && has!("fma") && has!("lzcnt");
        let v3 = v3 && has!("f16c") && has!("movbe");
        let v4 = has!("avx512f") && has!("avx512bw") && has!("avx512cd");
        let v4 = v4 && has!("avx512dq") && has!("avx512vl");
        match level {
            "v2" => v2,
            "v3" => v2 && v3,
            "v4" => v2 && v3 && v4,
            _ => true,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        true
    }
}

/// As shells decide whether to run a file themselves: no NUL in the beginning, mostly printable.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x20..=0x7e | 0x80..))
}

/// The command that `env` is to run and where it is: its first argument that is neither a flag
/// nor a variable.
fn env_target(root: &Root, argument: &[u8]) -> Option<(String, Option<PathBuf>)> {
    let skip =
        |word: &&[u8]| !word.is_empty() && word.first() != Some(&b'-') && !word.contains(&b'=');
    let name = argument.split(|b| matches!(b, b' ' | b'\t')).find(skip)?;
    let found = find(root, OsStr::from_bytes(name), search_path(root).as_deref()).ok();
    Some((String::from_utf8_lossy(name).trim_end().to_owned(), found))
}

/// Whether this machine runs programs of an architecture: its own, its 32-bit sibling, or one
/// with an emulator registered with the kernel (binfmt_misc).
fn runs_here(root: &Root, arch: &str) -> bool {
    let here = go_arch(ARCH);
    if arch == here || matches!((here, arch), ("amd64", "386") | ("arm64", "arm")) {
        return true;
    }
    let qemu = match arch {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "386" => "i386",
        "loong64" => "loongarch64",
        other => other,
    };
    let file = format!("/proc/sys/fs/binfmt_misc/qemu-{qemu}");
    root.metadata(Path::new(&file)).is_ok()
}

/// What Go calls an architecture.
fn go_arch(arch: &'static str) -> &'static str {
    match arch {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// How many bytes of a file are kept around the last reads.
const WINDOW: usize = 16 << 10;
/// The same for the first few reads: the start of a program needs only the beginnings of three
/// tables, and fresh memory costs more than what is read into it.
const FIRST_WINDOW: usize = 4 << 10;

/// A file that is read in windows, so that walking a table costs one system call and not one per
/// row.
#[derive(Debug)]
pub struct Pages {
    file: File,
    windows: RefCell<[(u64, Vec<u8>); 3]>,
}

impl Pages {
    /// Reads this file.
    #[must_use]
    pub fn new(file: File) -> Self {
        Self { file, windows: RefCell::default() }
    }

    fn pread(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while let Some(free) = buffer.get_mut(filled..).filter(|free| !free.is_empty()) {
            let at = offset.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX));
            match self.file.read_at(free, at) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        filled
    }
}

impl ReadAt for Pages {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> usize {
        if buf.len() > WINDOW / 2 {
            return self.pread(offset, buf);
        }
        let Ok(mut windows) = self.windows.try_borrow_mut() else { return self.pread(offset, buf) };
        let serve = |window: &(u64, Vec<u8>), buf: &mut [u8]| -> Option<usize> {
            let into = usize::try_from(offset.checked_sub(window.0)?).ok()?;
            let from = window.1.get(into..into.checked_add(buf.len())?)?;
            buf.copy_from_slice(from);
            Some(buf.len())
        };
        if let Some(count) = windows.iter().find_map(|window| serve(window, buf)) {
            return count;
        }
        // The oldest window makes room for the new one, which comes first.
        windows.rotate_right(1);
        let [window, ..] = &mut *windows;
        window.0 = offset & !4095;
        let length = if window.1.capacity() == 0 { FIRST_WINDOW } else { WINDOW };
        window.1.resize(length, 0);
        let got = self.pread(window.0, &mut window.1);
        window.1.truncate(got);
        // At the end of the file there may be less than was asked for.
        serve(window, buf).unwrap_or_else(|| self.pread(offset, buf))
    }
}
