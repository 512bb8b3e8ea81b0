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
use crate::go::buildinfo::BuildInfo;
use crate::go::elf::{Elf, NotElf, ReadAt};
use crate::linux::mountinfo;
use crate::policy::startable::{
    Executable, Foreign, Format, Found, Library, Program, Script, Search,
};

/// What execvp(3) searches when PATH is not set (musl's choice).
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// Where loaders look without being told (ld.so(8), and Debian's multiarch directories).
const LIBRARY_DIRECTORIES: [&str; 12] = [
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/local/lib64",
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib/aarch64-linux-gnu",
];
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

/// Looks at a program.
#[must_use]
pub fn inspect(root: &Root, path: &Path, depth: Depth) -> Program {
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
    if depth == Depth::Everything && root.is_live() {
        program.noexec = noexec(root, path);
    }
    program.format = match root.open(path) {
        Ok(file) => format_of(root, &Pages::new(file), depth),
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
    // /proc/self belongs to the effective user.
    let uid = std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
    match uid {
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

fn format_of(root: &Root, file: &Pages, depth: Depth) -> Format {
    let mut head = [0; HEAD_BYTES];
    let count = file.read_at(0, &mut head);
    let head = head.get(..count).unwrap_or_default();
    match head {
        [] => Format::Empty,
        [b'#', b'!', ..] => Format::Script(script(root, head)),
        [0x7f, b'E', b'L', b'F', ..] => elf(root, file, head, depth),
        [b'M', b'Z', ..] => Format::Foreign(Foreign::Windows),
        [0, b'a', b's', b'm', ..] => Format::Foreign(Foreign::Wasm),
        [0xcf | 0xce, 0xfa, 0xed, 0xfe, ..]
        | [0xfe, 0xed, 0xfa, 0xcf | 0xce, ..]
        | [0xca, 0xfe, 0xba, 0xbe, ..] => Format::Foreign(Foreign::MacOs),
        _ if head.starts_with(b"!<arch>\n") => Format::Archive,
        _ if is_text(head) => Format::Text,
        _ => Format::Data,
    }
}

/// As shells decide whether to run a file themselves: no NUL in the beginning, mostly printable.
fn is_text(head: &[u8]) -> bool {
    head.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b | 0x20..=0x7e | 0x80..))
}

/// Takes a `#!` line apart as the kernel does (fs/binfmt_script.c).
fn script(root: &Root, head: &[u8]) -> Script {
    let end = head.iter().position(|b| *b == b'\n').unwrap_or(head.len());
    let line = head.get(..end).unwrap_or_default();
    let carriage_return = line.last() == Some(&b'\r');
    let shown = line.strip_suffix(b"\r").unwrap_or(line);
    let words = line.get(2..).unwrap_or_default().trim_ascii_start();
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let mut words = words.splitn(2, blank);
    let interpreter = words.next().unwrap_or_default();
    let argument = words.next().unwrap_or_default();
    let interpreter_path = Path::new(OsStr::from_bytes(interpreter));
    let exists = !interpreter.is_empty() && root.metadata(interpreter_path).is_ok();
    let by_env = interpreter_path.ends_with("env").then(|| env_target(root, argument)).flatten();
    Script {
        line: String::from_utf8_lossy(shown).into_owned(),
        interpreter: String::from_utf8_lossy(interpreter).trim_end().to_owned(),
        exists,
        by_env,
        carriage_return,
    }
}

/// The command that `env` is to run: its first argument that is neither a flag nor a variable.
fn env_target(root: &Root, argument: &[u8]) -> Option<(String, bool)> {
    let skip =
        |word: &&[u8]| !word.is_empty() && word.first() != Some(&b'-') && !word.contains(&b'=');
    let name = argument.split(|b| matches!(b, b' ' | b'\t')).find(skip)?;
    let path = std::env::var_os("PATH");
    let found = find(root, OsStr::from_bytes(name), path.as_deref()).is_ok();
    Some((String::from_utf8_lossy(name).trim_end().to_owned(), found))
}

fn elf(root: &Root, file: &Pages, head: &[u8], depth: Depth) -> Format {
    let elf = match Elf::read(file) {
        Ok(elf) => elf,
        Err(NotElf::Short | NotElf::Magic | NotElf::Header) => return Format::Broken,
    };
    let arch =
        elf.machine_name().map_or_else(|| format!("ELF machine {}", elf.machine), str::to_owned);
    // e_type: 2 is an executable, 3 a shared object or position-independent executable. In either
    // byte order the other byte is 0.
    let kind = head.get(16..18).map(|kind| kind.iter().copied().max().unwrap_or(0));
    let mut executable = Executable {
        runs_here: runs_here(root, &arch),
        wide: elf.wide,
        not_linked: !matches!(kind, Some(2 | 3)),
        relocatable: elf.relocatable,
        stripped: !elf.has_symbols(),
        interpreter: elf.interpreter(file).map(|loader| {
            let exists = root.metadata(Path::new(&loader)).is_ok();
            (loader, exists)
        }),
        go: BuildInfo::read(&elf, file),
        arch,
        libraries: Vec::new(),
    };
    if depth == Depth::Everything {
        let names = elf.needed(file);
        executable.libraries = names.into_iter().map(|name| library(root, name)).collect();
    }
    Format::Elf(Box::new(executable))
}

/// Looks for a library in the usual directories and those of ld.so.conf.
fn library(root: &Root, name: String) -> Library {
    if name.contains('/') {
        let there = root.metadata(Path::new(&name)).is_ok();
        let state = if there { Found::At(name.clone()) } else { Found::Missing };
        return Library { name, state };
    }
    for directory in LIBRARY_DIRECTORIES {
        let path = Path::new(directory).join(&name);
        if root.metadata(&path).is_ok() {
            let state = Found::At(path.to_string_lossy().into_owned());
            return Library { name, state };
        }
    }
    // ld.so.cache and LD_LIBRARY_PATH can name other directories.
    let known_elsewhere =
        std::env::var_os("LD_LIBRARY_PATH").is_some_and(|p| !p.is_empty()) || in_cache(root, &name);
    let state = if known_elsewhere { Found::Unknown } else { Found::Missing };
    Library { name, state }
}

/// Whether the loader's cache has a library of this name.
fn in_cache(root: &Root, name: &str) -> bool {
    let mut buffer = Vec::new();
    let Ok(text) = root.read(b"/etc/ld.so.cache", 4 << 20, &mut buffer) else { return false };
    memchr::memmem::find(text, format!("/{name}\0").as_bytes()).is_some()
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
        window.1.resize(WINDOW, 0);
        let got = self.pread(window.0, &mut window.1);
        window.1.truncate(got);
        // At the end of the file there may be less than was asked for.
        serve(window, buf).unwrap_or_else(|| self.pread(offset, buf))
    }
}
