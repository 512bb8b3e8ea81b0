//! Whether a program can start here, in the words of a colleague: not "No such file or
//! directory" but which file, and what to do about it.
//!
//! The facts are gathered by `host::program`; here they become problems, and an errno of execve(2)
//! becomes an exit code and a sentence.

use crate::go::buildinfo::BuildInfo;

mod words;
pub use words::{Search, Sentence, explain, not_found};

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
    /// Its permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: u32,
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

    /// The same for what really runs: of a script its interpreter. A shell says nothing, and
    /// what it starts is not known.
    #[must_use]
    pub fn runtime(&self) -> Option<&BuildInfo> {
        if let Format::Script(script) = &self.format {
            return script.program.as_ref()?.go();
        }
        self.go()
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
    /// Text without `#!`; whether a byte order mark stands before one.
    Text(bool),
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
    /// What runs: the interpreter, or what `env` finds. It may be a script in its turn.
    pub program: Option<Box<Program>>,
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
    /// It is to be loaded, not to be run: what kind of library.
    pub library: Option<&'static str>,
    /// The system it is built for, in Go's words, if that is not Linux.
    pub system: Option<String>,
    /// Processor level that this machine's CPU does not have (GOAMD64).
    pub cpu_level: Option<String>,
    /// Bytes that the file should have at least, if it is shorter.
    pub cut_from: Option<u64>,
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
    /// The library that asks for it; empty for the program itself.
    pub by: String,
}

/// Where a library was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Here.
    At(String),
    /// The loader is that library itself (musl).
    Loader,
    /// In none of the places where the loader looks; perhaps in one where it does not.
    Missing(Option<String>),
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
    /// A library, of this kind.
    Library(&'static str),
    /// An ELF file for another system, in Go's words: system and architecture.
    System(String, String),
    /// For a CPU of a higher level than this machine's.
    CpuLevel(String),
    /// Shorter than its headers say: bytes there, bytes needed.
    Cut(u64, u64),
    /// The interpreter of a script cannot run itself: the `#!` line and what is wrong.
    Interpreter(String, Box<Program>, Box<Problem>),
    /// A byte order mark before `#!`.
    Mark,
    /// For another system.
    Foreign(Foreign),
    /// For another architecture: the program's and this machine's.
    Architecture(String, &'static str),
    /// The ELF interpreter is not here.
    Loader(String),
    /// Libraries are not here; each with who asks for it and where one lies that is not found.
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
                | Self::Library(_)
                | Self::Mark
        )
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
        Format::Text(true) => found.push(Problem::Mark),
        Format::Text(false) => found.push(Problem::Text),
        Format::Data => found.push(Problem::Data),
        Format::Foreign(foreign) => found.push(Problem::Foreign(*foreign)),
        Format::Script(script) => found.extend(script_problem(script)),
        Format::Elf(elf) => elf_problems(elf, program, &mut found),
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
        Some((_, true)) | None => {
            let program = script.program.as_ref()?;
            let problem = problems(program).into_iter().next()?;
            Some(Problem::Interpreter(line, program.clone(), Box::new(problem)))
        }
    }
}

fn elf_problems(elf: &Executable, program: &Program, found: &mut Vec<Problem>) {
    if elf.not_linked {
        found.push(Problem::NotLinked);
        return;
    }
    if let Some(kind) = elf.library {
        found.push(Problem::Library(kind));
        return;
    }
    if let Some(need) = elf.cut_from {
        found.push(Problem::Cut(program.bytes, need));
    }
    if let Some(system) = &elf.system {
        found.push(Problem::System(system.clone(), elf.arch.clone()));
    }
    if !elf.runs_here {
        found.push(Problem::Architecture(elf.arch.clone(), program.here));
    }
    found.extend(elf.cpu_level.clone().map(Problem::CpuLevel));
    if let Some((loader, false)) = &elf.interpreter {
        found.push(Problem::Loader(loader.clone()));
        return;
    }
    let missing: Vec<_> = elf.libraries.iter().filter_map(Library::missing).collect();
    if !missing.is_empty() {
        found.push(Problem::Libraries(missing));
    }
}

impl Library {
    /// What is missing, in a few words.
    fn missing(&self) -> Option<String> {
        let Found::Missing(elsewhere) = &self.state else { return None };
        let by = if self.by.is_empty() { String::new() } else { format!(" (for {})", self.by) };
        let place = match elsewhere {
            Some(path) => format!(" ({path} is there, but the loader does not look there)"),
            None => String::new(),
        };
        Some(format!("{}{by}{place}", self.name))
    }
}

#[cfg(test)]
mod tests;
