//! Whether a program can start here, in the words of a colleague: not "No such file or
//! directory" but which file, and what to do about it.
//!
//! The facts are gathered by `host::program`; here they become problems, and an errno of execve(2)
//! becomes an exit code and a sentence.

use std::fmt;

use crate::exit::Code;
use crate::go::buildinfo::BuildInfo;

/// Facts about what is to be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its path as it was asked for or found in PATH.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// What kind of file it is.
    pub format: Format,
    /// May be executed by us, as far as mode bits tell.
    pub executable: bool,
    /// Mount point of a file system that forbids executing, if it lies on one.
    pub noexec: Option<String>,
    /// Architecture of this machine, in Go's words.
    pub here: &'static str,
}

impl Program {
    /// The Linux executable, if it is one.
    #[must_use]
    pub fn elf(&self) -> Option<&Executable> {
        if let Format::Elf(elf) = &self.format { Some(elf) } else { None }
    }

    /// What `go build` noted, if it is a Go executable.
    #[must_use]
    pub fn go(&self) -> Option<&BuildInfo> {
        self.elf()?.go.as_ref()
    }
}

/// What kind of file it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// There is nothing at that path.
    #[default]
    Missing,
    /// A symbolic link to something that is not there.
    Dangling(String),
    /// A directory.
    Directory,
    /// A socket, device or pipe.
    Special,
    /// It, or a directory above it, may not be looked into.
    Unreadable(String),
    /// No bytes at all.
    Empty,
    /// A Linux executable.
    Elf(Box<Executable>),
    /// A file that begins with `#!`.
    Script(Script),
    /// An executable for another operating system.
    Foreign(Foreign),
    /// `!<arch>`: what `go build -o` writes for a package that is not `main`.
    Archive,
    /// ELF magic, but no usable header behind it.
    Broken,
    /// Text without `#!`.
    Text,
    /// Anything else.
    Data,
}

/// An executable for another operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Mach-O.
    MacOs,
    /// PE.
    Windows,
    /// WebAssembly.
    Wasm,
}

/// A file that begins with `#!`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// The first line, without its end.
    pub line: String,
    /// The interpreter it names.
    pub interpreter: String,
    /// Whether that file is there.
    pub exists: bool,
    /// What `env` is to look for, and whether it is in PATH.
    pub by_env: Option<(String, bool)>,
    /// The line ends with a carriage return, which becomes part of the name.
    pub carriage_return: bool,
}

/// A Linux executable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executable {
    /// Its architecture in Go's words, or the ELF machine number.
    pub arch: String,
    /// 64-bit class.
    pub wide: bool,
    /// Runs on this machine: natively, or through an emulator the kernel knows.
    pub runs_here: bool,
    /// `e_type` is neither an executable nor a shared object (an object file or a core).
    pub not_linked: bool,
    /// Position-independent.
    pub relocatable: bool,
    /// The symbol table was removed.
    pub stripped: bool,
    /// The dynamic loader it asks for, and whether it is there; nothing when linked statically.
    pub interpreter: Option<(String, bool)>,
    /// The libraries it asks for.
    pub libraries: Vec<Library>,
    /// What `go build` noted; nothing if it is not Go.
    pub go: Option<BuildInfo>,
}

/// A shared library that an executable asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub state: Found,
}

/// Where a library was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Here.
    At(String),
    /// In none of the usual directories.
    Missing,
    /// Not looked for, or it may be in a directory that only the loader knows.
    Unknown,
}

/// What keeps a program from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is nothing.
    Missing,
    /// A dangling link.
    Dangling(String),
    /// A directory.
    Directory,
    /// A socket, device or pipe.
    Special,
    /// Not to be looked into.
    Unreadable(String),
    /// No execute permission.
    NotExecutable,
    /// On a mount with noexec.
    NoExec(String),
    /// No bytes.
    Empty,
    /// Text without `#!`.
    Text,
    /// Not a program at all.
    Data,
    /// A package archive.
    Archive,
    /// A damaged ELF file.
    Broken,
    /// An object file or a core.
    NotLinked,
    /// For another system.
    Foreign(Foreign),
    /// For another architecture: the program's and this machine's.
    Architecture(String, &'static str),
    /// The ELF interpreter is not here.
    Loader(String),
    /// Libraries are not here.
    Libraries(Vec<String>),
    /// `#!` names a file that is not here; the whole line.
    NoInterpreter(String, String),
    /// `#!/usr/bin/env NAME`, and NAME is not in PATH.
    NotInPath(String, String),
    /// `#!` line with a carriage return.
    CarriageReturn(String),
}

impl Problem {
    /// Whether this says that the file is no program at all, not that it is one for elsewhere.
    #[must_use]
    pub fn is_no_program(&self) -> bool {
        matches!(
            self,
            Self::Directory
                | Self::Special
                | Self::Empty
                | Self::Text
                | Self::Data
                | Self::Archive
                | Self::Broken
                | Self::NotLinked
        )
    }

    /// What to do about it, as a sentence without its stop; nothing if that is plain.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Loader(loader) => return Some(loader_remedy(loader)),
            Self::Architecture(_, here) => {
                return Some(format!(
                    "build with GOOS=linux GOARCH={here}, or for the image's platform \
                 (docker build --platform, TARGETARCH)"
                ));
            }
            Self::Foreign(_) => "build with GOOS=linux: the builder's own system is the default",
            Self::Archive => {
                "its package is not main, or -o named a package that is a library; \
                 build the directory that holds func main"
            }
            Self::NotExecutable => "chmod +x, or COPY --chmod=0755 in the Dockerfile",
            Self::NoExec(_) => "put it on a file system that is mounted without noexec",
            Self::CarriageReturn(_) => {
                "save the file with Unix line ends (dos2unix, or git's \
                 core.autocrlf=input)"
            }
            Self::Text => "the first line has to name its interpreter, such as #!/bin/sh",
            Self::NoInterpreter(..) | Self::NotInPath(..) => {
                "install the interpreter in the image, or run the program without the script"
            }
            Self::Libraries(_) => "build with CGO_ENABLED=0, or install the libraries in the image",
            Self::Empty => "the build or the copy was cut short",
            Self::Missing | Self::Dangling(_) | Self::Directory | Self::Special => return None,
            Self::Unreadable(_) | Self::Data | Self::Broken | Self::NotLinked => return None,
        };
        Some(text.to_owned())
    }
}

/// Which C library a dynamic loader belongs to.
#[must_use]
pub fn libc_of(loader: &str) -> Option<&'static str> {
    let name = loader.rsplit('/').next().unwrap_or(loader);
    if name.starts_with("ld-musl-") {
        Some("musl")
    } else if name.starts_with("ld-linux") || name.starts_with("ld64") || name == "ld.so.1" {
        Some("glibc")
    } else {
        None
    }
}

fn loader_remedy(loader: &str) -> String {
    let image = match libc_of(loader) {
        Some("glibc") => "use an image with glibc (Debian, distroless/base; not Alpine or scratch)",
        Some("musl") => "use an Alpine image",
        _ => "use an image that has it",
    };
    format!("build with CGO_ENABLED=0, or {image}")
}

/// Everything that keeps a program from starting, the most telling first.
#[must_use]
pub fn problems(program: &Program) -> Vec<Problem> {
    let mut found = Vec::new();
    match &program.format {
        Format::Missing => return vec![Problem::Missing],
        Format::Dangling(target) => return vec![Problem::Dangling(target.clone())],
        Format::Directory => return vec![Problem::Directory],
        Format::Special => return vec![Problem::Special],
        Format::Unreadable(place) => return vec![Problem::Unreadable(place.clone())],
        Format::Empty => found.push(Problem::Empty),
        Format::Archive => found.push(Problem::Archive),
        Format::Broken => found.push(Problem::Broken),
        Format::Text => found.push(Problem::Text),
        Format::Data => found.push(Problem::Data),
        Format::Foreign(foreign) => found.push(Problem::Foreign(*foreign)),
        Format::Script(script) => found.extend(script_problem(script)),
        Format::Elf(elf) => elf_problems(elf, program.here, &mut found),
    }
    if !program.executable {
        found.push(Problem::NotExecutable);
    }
    found.extend(program.noexec.clone().map(Problem::NoExec));
    found
}

fn script_problem(script: &Script) -> Option<Problem> {
    let line = script.line.clone();
    if script.carriage_return && !script.exists {
        return Some(Problem::CarriageReturn(line));
    }
    if !script.exists {
        return Some(Problem::NoInterpreter(script.interpreter.clone(), line));
    }
    match &script.by_env {
        Some((_, false)) if script.carriage_return => Some(Problem::CarriageReturn(line)),
        Some((name, false)) => Some(Problem::NotInPath(name.clone(), line)),
        Some((_, true)) | None => None,
    }
}

fn elf_problems(elf: &Executable, here: &'static str, found: &mut Vec<Problem>) {
    if elf.not_linked {
        found.push(Problem::NotLinked);
        return;
    }
    if !elf.runs_here {
        found.push(Problem::Architecture(elf.arch.clone(), here));
    }
    if let Some((loader, false)) = &elf.interpreter {
        found.push(Problem::Loader(loader.clone()));
        return;
    }
    let missing: Vec<_> = elf
        .libraries
        .iter()
        .filter(|library| library.state == Found::Missing)
        .map(|library| library.name.clone())
        .collect();
    if !missing.is_empty() {
        found.push(Problem::Libraries(missing));
    }
}

/// A problem in a sentence that names the file.
#[derive(Clone, Copy, Debug)]
pub struct Sentence<'a> {
    /// The program.
    pub path: &'a str,
    /// What is wrong with it.
    pub problem: &'a Problem,
    /// What `go build` noted, for the words about cgo.
    pub go: Option<&'a BuildInfo>,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path;
        match self.problem {
            Problem::Missing => write!(f, "{path} does not exist"),
            Problem::Dangling(target) => {
                write!(f, "{path} is a symbolic link to {target}, which does not exist")
            }
            Problem::Directory => write!(f, "{path} is a directory"),
            Problem::Special => write!(f, "{path} is not a regular file"),
            Problem::Unreadable(place) => {
                write!(f, "{path} cannot be looked at: permission denied for {place}")
            }
            Problem::NotExecutable => {
                write!(f, "{path} exists, but it is not executable for this user")
            }
            Problem::NoExec(point) => write!(
                f,
                "{path} lies on {point}, which is mounted noexec: nothing there can be executed"
            ),
            Problem::Empty => write!(f, "{path} is empty"),
            Problem::Text => write!(
                f,
                "{path} is text without a #! line, so the kernel does not know who should run it"
            ),
            Problem::Data => write!(f, "{path} is not a program (neither ELF nor a #! script)"),
            Problem::Archive => write!(f, "{path} is a package archive, not a program"),
            Problem::Broken => {
                write!(f, "{path} begins like an ELF file, but its header is damaged or cut short")
            }
            Problem::NotLinked => {
                write!(f, "{path} is an object file or a core dump, not a program")
            }
            Problem::Foreign(foreign) => {
                let system = match foreign {
                    Foreign::MacOs => "macOS (Mach-O)",
                    Foreign::Windows => "Windows (PE)",
                    Foreign::Wasm => "WebAssembly",
                };
                write!(f, "{path} is built for {system}, not for Linux")
            }
            Problem::Architecture(arch, here) => {
                write!(f, "{path} is built for linux/{arch}, but this machine is linux/{here}")
            }
            Problem::Loader(loader) => {
                write!(f, "{path} exists, but its ELF interpreter {loader} is not in this image")?;
                let cgo = self.go.map(|go| go.setting("CGO_ENABLED") == Some("1"));
                match (cgo, libc_of(loader)) {
                    (Some(true), Some(libc)) => write!(f, " (built with cgo against {libc})"),
                    (_, Some(libc)) => write!(f, " (linked dynamically against {libc})"),
                    (_, None) => Ok(()),
                }
            }
            Problem::Libraries(names) => write!(
                f,
                "{path} needs shared libraries that are not in this image: {}",
                names.join(", ")
            ),
            Problem::NoInterpreter(interpreter, line) => write!(
                f,
                "{path} exists, but the interpreter {interpreter} of its first line \"{line}\" is \
                 not in this image"
            ),
            Problem::NotInPath(name, line) => {
                write!(f, "{path} exists, but {name} of its first line \"{line}\" is not in PATH")
            }
            Problem::CarriageReturn(line) => write!(
                f,
                "{path} has Windows line ends: its first line \"{line}\\r\" names an interpreter \
                 whose name ends with a carriage return"
            ),
        }
    }
}

/// Where a command was looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// The command as it was given.
    pub command: String,
    /// The value of PATH, if it was searched.
    pub path: Option<String>,
    /// A file of that name is in the current directory.
    pub in_current_directory: bool,
}

/// Why a command that was looked for in PATH was not found.
#[must_use]
pub fn not_found(search: &Search) -> (Code, String) {
    let Search { command, path, in_current_directory } = search;
    let text = match path {
        _ if command.is_empty() => "the command is empty".to_owned(),
        Some(path) => {
            let hint = if *in_current_directory {
                format!("; did you mean ./{command}? It is in the current directory")
            } else {
                String::new()
            };
            format!("{command} was not found in PATH={path}{hint}")
        }
        None => format!("{command} does not exist"),
    };
    (Code::NOT_FOUND, text)
}

/// The exit code and the sentence for an execve(2) that failed. The code follows the errno, as
/// in tini and shells; the sentence follows the facts.
#[must_use]
pub fn explain(program: &Program, errno: i32) -> (Code, String) {
    // ENOENT is 2 and ENOTDIR 20 on every Linux.
    let code = if matches!(errno, 2 | 20) { Code::NOT_FOUND } else { Code::NOT_EXECUTABLE };
    let found = problems(program);
    // A missing library does not fail the exec; the loader complains later.
    let telling = found.iter().find(|problem| !matches!(problem, Problem::Libraries(_)));
    let Some(problem) = telling else { return (code, generic(program, errno)) };
    let sentence = Sentence { path: &program.path, problem, go: program.go() };
    let text = match problem.remedy() {
        Some(remedy) => format!("{sentence}; {remedy}"),
        None => sentence.to_string(),
    };
    (code, text)
}

/// Where the facts show nothing wrong, the errno has to speak (execve(2)).
fn generic(program: &Program, errno: i32) -> String {
    let path = &program.path;
    let why = match errno {
        1 => "the kernel or a security module forbids it (EPERM)",
        2 => "a file it needs does not exist (ENOENT)",
        5 => "reading it failed (EIO)",
        7 => "arguments and environment together are too long (E2BIG)",
        8 => "the kernel does not know its format (ENOEXEC)",
        11 => "the limit of processes is reached (EAGAIN: ulimit -u, or pids.max of the cgroup)",
        12 => "there is not enough memory (ENOMEM)",
        13 => "permission denied (EACCES): by a directory above it, a security module, or seccomp",
        20 => "a part of its path is not a directory (ENOTDIR)",
        22 => "its headers make no sense to the kernel (EINVAL)",
        26 => "it is open for writing (ETXTBSY)",
        36 => "its path is too long (ENAMETOOLONG)",
        40 => "too many symbolic links (ELOOP)",
        80 => "its ELF interpreter is of an unknown format (ELIBBAD)",
        _ => return format!("{path} cannot be executed: errno {errno}"),
    };
    format!("{path} cannot be executed: {why}")
}

#[cfg(test)]
mod tests;
