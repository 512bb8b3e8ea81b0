//! The words: what is wrong and what to do about it, and the exit code of a start that failed.

use std::fmt;

use super::{Foreign, Problem, Program, libc_of, problems};
use crate::exit::Code;
use crate::go::buildinfo::BuildInfo;

impl Problem {
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
            Self::Empty | Self::Cut(..) => "the build or the copy was cut short",
            Self::Mark => "save the file without a byte order mark (UTF-8, not UTF-8 with BOM)",
            Self::Library(_) => "build without -buildmode, or with -buildmode=exe or pie",
            Self::NotLinked => "build the program itself: go build -o FILE, without -c",
            Self::System(..) => "build with GOOS=linux",
            Self::CpuLevel(_) => "build with GOAMD64=v1, the default, or for the CPUs of the nodes",
            Self::Interpreter(_, _, problem) => return problem.remedy(),
            Self::Missing | Self::Dangling(_) | Self::Directory | Self::Special => return None,
            Self::Unreadable(_) | Self::Data | Self::Broken => return None,
        };
        Some(text.to_owned())
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
            Problem::Library(kind) => write!(f, "{path} is a {kind}, to be loaded by a program"),
            Problem::System(system, arch) => {
                write!(f, "{path} is built for {system}/{arch}, not for Linux")
            }
            Problem::CpuLevel(level) => write!(
                f,
                "{path} is built with GOAMD64={level}, and this machine's CPU lacks features of \
                 that level: it ends at once"
            ),
            Problem::Cut(have, need) => write!(
                f,
                "{path} is cut short: it has {have} bytes, and its headers speak of {need}"
            ),
            Problem::Mark => write!(
                f,
                "{path} begins with a byte order mark before its #! line, so the kernel does not \
                 see it"
            ),
            Problem::Interpreter(line, program, problem) => {
                let inner = Sentence { path: &program.path, problem, go: program.go() };
                write!(f, "{path} cannot run by its first line \"{line}\": {inner}")
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
    let telling = found.iter().find(|problem| {
        !matches!(problem, Problem::Libraries(_) | Problem::Cut(..) | Problem::CpuLevel(_))
    });
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
