//! `goinit inspect`: what a program is, and whether it will start here.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::out;
use crate::exit::Code;
use crate::go::buildinfo::BuildInfo;
use crate::host::files::Root;
use crate::host::program::{self, Depth};
use crate::policy::settings::{Awareness, Runtime, bytes_text};
use crate::policy::startable::{
    self, Executable, Format, Found, Problem, Program, Sentence, libc_of,
};

/// What `--help` prints.
pub(crate) const HELP: &str = "\
Usage: goinit inspect [--json] [--root DIR] PROGRAM

Shows what PROGRAM is (Go version, module, build settings, how it is linked), what goinit can do
with it, and whether it will start here; if not, why, and what to change in the build.

      --json      one JSON object
      --root DIR  look at an unpacked image below DIR; PROGRAM is a path in it
      --help      this text

Example, as the last step of a Dockerfile, so that a broken image is never pushed:
  RUN [\"/goinit\", \"inspect\", \"/app/server\"]

Exit code: 0 it will start, 1 it will not, 2 it is not a program, 125 wrong usage.
";

/// It will not start.
const WILL_NOT: Code = Code(1);
/// It is not a program.
const NO_PROGRAM: Code = Code(2);

/// Build settings worth a line, in this order.
const SETTINGS: [&str; 14] = [
    "CGO_ENABLED",
    "GOAMD64",
    "GOARM",
    "GOARM64",
    "GOEXPERIMENT",
    "-buildmode",
    "-race",
    "-trimpath",
    "-tags",
    "-ldflags",
    "-gcflags",
    "vcs.revision",
    "vcs.time",
    "vcs.modified",
];

/// What was asked for.
struct Request {
    json: bool,
    root: Root,
    program: OsString,
}

/// The subcommand.
pub(crate) fn main(args: Vec<OsString>) -> Code {
    let request = match out::asked(
        parse(args).map_err(|error| format!("inspect: {error}; see goinit inspect --help")),
        HELP,
    ) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    let path = program::search_path(&request.root);
    let path = match program::find(&request.root, &request.program, path.as_deref()) {
        Ok(path) => path,
        Err(search) if search.in_current_directory => PathBuf::from(&request.program),
        Err(search) => {
            let (_, sentence) = startable::not_found(&search);
            if request.json {
                out::print(&format!(
                    "{:#}\n",
                    json!({"will_start": false, "problems": [sentence]})
                ));
            } else {
                out::error(&sentence);
            }
            return WILL_NOT;
        }
    };
    let program = program::inspect(&request.root, &path, Depth::Everything);
    let problems = startable::problems(&program);
    if request.json {
        out::print(&format!("{:#}\n", document(&program, &problems)));
    } else {
        out::print(&page(&program, &problems));
    }
    if problems.iter().any(Problem::is_no_program) {
        NO_PROGRAM
    } else if problems.is_empty() {
        Code::SUCCESS
    } else {
        WILL_NOT
    }
}

fn parse(args: Vec<OsString>) -> Result<Option<Request>, String> {
    use lexopt::Arg;
    let mut json = false;
    let mut root = Root::live();
    let mut program = None;
    let mut parser = lexopt::Parser::from_args(args);
    while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
        match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            Arg::Long("json") => json = true,
            Arg::Long("root") => {
                let directory = PathBuf::from(parser.value().map_err(|error| error.to_string())?);
                if !directory.is_dir() {
                    return Err(format!("--root {}: no such directory", directory.display()));
                }
                root = Root::at(&directory);
            }
            Arg::Value(value) if program.is_none() => program = Some(value),
            Arg::Short(_) | Arg::Long(_) | Arg::Value(_) => {
                return Err(arg.unexpected().to_string());
            }
        }
    }
    let program = program.ok_or("no PROGRAM was given; write its path")?;
    Ok(Some(Request { json, root, program }))
}

/// What kind of thing it is, in two or three words.
fn kind(program: &Program) -> &'static str {
    match &program.format {
        Format::Missing | Format::Dangling(_) => "missing",
        Format::Directory => "directory",
        Format::Special => "special file",
        Format::Unreadable(_) => "unreadable",
        Format::Empty => "empty file",
        Format::Elf(elf) if elf.go.is_some() => "Go executable",
        Format::Elf(_) => "executable, not Go",
        Format::Script(_) => "script",
        Format::Foreign(_) => "executable for another system",
        Format::Archive => "package archive",
        Format::Broken => "damaged ELF file",
        Format::Text(_) => "text",
        Format::Data => "data",
    }
}

/// What the runtime does about a CPU limit by itself.
fn awareness(go: &BuildInfo) -> &'static str {
    match Runtime::Go(go).awareness() {
        Awareness::None => "no: older than Go 1.25, it takes every CPU it sees",
        Awareness::SwitchedOff => {
            "switched off by the go line in go.mod (older than 1.25); goinit switches it on"
        }
        Awareness::Full => "yes: it applies its cgroup's CPU limit itself, and follows changes",
    }
}

/// Remarks on the build that are no obstacle to starting.
fn remarks(program: &Program) -> Vec<String> {
    let mut remarks = Vec::new();
    if program.executable && program.mode & 0o011 == 0 {
        let (mode, owner) = (program.mode, program.owner);
        remarks.push(format!("mode {mode:04o}: only its owner, user {owner}, may execute it"));
    }
    let Some(go) = program.go() else { return remarks };
    let path = go.path.as_deref().unwrap_or_default();
    if path.ends_with(".test") {
        remarks.push(format!("it is a test binary (go test -c) of {path}, not a program"));
    }
    if go.setting("-race") == Some("true") {
        remarks.push(
            "it was built with -race: 2 to 20 times slower and 5 to 10 times the memory".to_owned(),
        );
    }
    if go.setting("GOAMD64").is_some_and(|level| level > "v1") {
        let level = go.setting("GOAMD64").unwrap_or_default();
        remarks.push(format!("GOAMD64={level}: it ends at once on a CPU without these features"));
    }
    if let Some(elf) = program.elf()
        && let Some((loader, true)) = &elf.interpreter
        && let Some(libc) = libc_of(loader)
    {
        remarks.push(format!(
            "linked dynamically against {libc}: it will not start in scratch or in an image with \
             another C library; CGO_ENABLED=0 makes it static"
        ));
    }
    if go.setting("vcs.modified") == Some("true") {
        remarks.push("built from a working tree with uncommitted changes".to_owned());
    }
    remarks
}

/// Whether goinit reads goroutines from the memory of such a program.
fn reader_supported(elf: &Executable) -> bool {
    let release = elf.go.as_ref().and_then(BuildInfo::release);
    elf.wide
        && matches!(elf.arch.as_str(), "amd64" | "arm64")
        && release.is_some_and(|release| ((1, 19)..=(1, 27)).contains(&release))
}

fn document(program: &Program, problems: &[Problem]) -> Value {
    let sentence = |problem: &Problem| {
        let remedy = problem.remedy();
        let sentence = Sentence { path: &program.path, problem, go: program.go() }.to_string();
        json!({"problem": sentence, "remedy": remedy})
    };
    let mut document = json!({
        "path": program.path,
        "kind": kind(program),
        "bytes": program.bytes,
        "executable": program.executable,
        "mode": (program.mode != 0).then(|| format!("{:04o}", program.mode)),
        "will_start": problems.is_empty(),
        "problems": problems.iter().map(sentence).collect::<Vec<_>>(),
        "remarks": remarks(program),
    });
    let Some(object) = document.as_object_mut() else { return document };
    if let Format::Script(script) = &program.format {
        object.insert("first_line".to_owned(), script.line.as_str().into());
        object.insert("interpreter".to_owned(), script.interpreter.as_str().into());
        if let Some(program) = &script.program {
            object.insert("runs".to_owned(), program.path.as_str().into());
        }
    }
    if let Some(elf) = program.elf() {
        object.insert("elf".to_owned(), elf_document(elf));
    }
    if let Some(go) = program.go() {
        object.insert("go".to_owned(), go_document(go));
        let supported = program.elf().is_some_and(reader_supported);
        object.insert("goroutine_reader".to_owned(), supported.into());
    }
    document
}

fn elf_document(elf: &Executable) -> Value {
    let libraries: Vec<Value> = elf
        .libraries
        .iter()
        .map(|library| match &library.state {
            Found::At(path) => json!({"name": library.name, "found": path}),
            Found::Loader => json!({"name": library.name, "found": "the loader itself"}),
            Found::Missing(elsewhere) => {
                json!({"name": library.name, "found": false, "elsewhere": elsewhere})
            }
        })
        .collect();
    json!({
        "arch": elf.arch,
        "runs_here": elf.runs_here,
        "position_independent": elf.relocatable,
        "stripped": elf.stripped,
        "static": elf.interpreter.is_none(),
        "interpreter": elf.interpreter.as_ref().map(|(path, exists)| {
            json!({"path": path, "exists": exists, "libc": libc_of(path)})
        }),
        "libraries": libraries,
    })
}

fn go_document(go: &BuildInfo) -> Value {
    let settings: serde_json::Map<String, Value> =
        go.settings.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    json!({
        "version": go.version,
        "path": go.path,
        "module": go.module,
        "module_version": go.module_version,
        "dependencies": go.dependencies,
        "goos": go.setting("GOOS"),
        "goarch": go.setting("GOARCH"),
        "cgo": go.setting("CGO_ENABLED").map(|value| value == "1"),
        "default_godebug": go.setting("DefaultGODEBUG"),
        "settings": settings,
        "container_aware": match Runtime::Go(go).awareness() {
            Awareness::None => "no",
            Awareness::SwitchedOff => "switched_off",
            Awareness::Full => "yes",
        },
    })
}

fn page(program: &Program, problems: &[Problem]) -> String {
    let mut page = format!("{}: {}, {}\n", program.path, kind(program), bytes_text(program.bytes));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(page, "  {name:<12} {value}");
    };
    if let Format::Script(script) = &program.format {
        line("first line", &script.line);
        if let Some(program) = &script.program {
            line("runs", &format!("{}, {}", program.path, kind(program)));
        }
    }
    if let Some(go) = program.go() {
        go_lines(go, &mut line);
    }
    if let Some(elf) = program.elf() {
        elf_lines(elf, &mut line);
    }
    for remark in remarks(program) {
        line("note", &remark);
    }
    let colour = |code: &str, text: &str| {
        if out::colour() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    };
    if problems.is_empty() {
        let _ = writeln!(page, "{}", colour("32", "It will start here."));
        return page;
    }
    let _ = writeln!(page, "{}", colour("31", "It will NOT start here:"));
    for problem in problems {
        let sentence = Sentence { path: &program.path, problem, go: program.go() };
        let _ = writeln!(page, "  {sentence}.");
        if let Some(remedy) = problem.remedy() {
            let _ = writeln!(page, "  -> {remedy}");
        }
    }
    page
}

fn go_lines(go: &BuildInfo, line: &mut impl FnMut(&str, &str)) {
    let absent = "?";
    line("Go", &go.version);
    line(
        "target",
        &format!(
            "{}/{}",
            go.setting("GOOS").unwrap_or(absent),
            go.setting("GOARCH").unwrap_or(absent)
        ),
    );
    let version = go.module_version.as_deref().unwrap_or("no version");
    if let Some(module) = &go.module {
        line("module", &format!("{module} {version}, {} dependencies", go.dependencies));
    }
    if let Some(path) = &go.path {
        line("package", path);
    }
    for key in SETTINGS {
        if let Some(value) = go.setting(key) {
            line(key, value);
        }
    }
    if let Some(value) = go.setting("DefaultGODEBUG") {
        line("GODEBUG", &brief(value));
    }
    line("CPU limit", awareness(go));
}

/// The settings that have to do with limits; an old go line makes two dozen others.
fn brief(settings: &str) -> String {
    let known = ["containermaxprocs=", "updatemaxprocs="];
    let (told, rest): (Vec<_>, Vec<_>) =
        settings.split(',').partition(|setting| known.iter().any(|key| setting.starts_with(key)));
    if told.is_empty() || rest.is_empty() {
        return format!("{settings} (default)");
    }
    format!("{} and {} more (default; --json has all)", told.join(","), rest.len())
}

fn elf_lines(elf: &Executable, line: &mut impl FnMut(&str, &str)) {
    let bits = if elf.wide { "64-bit" } else { "32-bit" };
    line("machine", &format!("{} ({bits})", elf.arch));
    line("symbols", if elf.stripped { "stripped" } else { "there" });
    match &elf.interpreter {
        None => line("linked", "statically"),
        Some((path, exists)) => {
            let here = if *exists { "is here" } else { "is NOT here" };
            line("linked", &format!("dynamically; its interpreter {path} {here}"));
        }
    }
    for library in &elf.libraries {
        let place = match &library.state {
            Found::At(path) => path.as_str(),
            Found::Loader => "(the loader itself)",
            Found::Missing(_) => "NOT FOUND",
        };
        line("library", &format!("{} {place}", library.name));
    }
    if elf.go.is_some() {
        let text = if reader_supported(elf) {
            "goroutines can be read from memory"
        } else {
            "goroutines cannot be read from memory (Go 1.19 to 1.27 on amd64 and arm64 can)"
        };
        line("diagnosis", text);
    }
}
