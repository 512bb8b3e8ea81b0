use super::*;
use crate::exit::Code;

const ENOENT: i32 = 2;
const ENOEXEC: i32 = 8;
const EACCES: i32 = 13;

fn program(format: Format) -> Program {
    Program {
        path: "/app/server".to_owned(),
        bytes: 1,
        format,
        executable: true,
        mode: 0o755,
        owner: 0,
        noexec: None,
        here: "amd64",
    }
}

fn elf(change: impl FnOnce(&mut Executable)) -> Program {
    let mut elf = Executable { arch: "amd64".to_owned(), runs_here: true, ..Executable::default() };
    change(&mut elf);
    program(Format::Elf(Box::new(elf)))
}

fn cgo() -> Option<BuildInfo> {
    let settings = vec![("CGO_ENABLED".to_owned(), "1".to_owned())];
    Some(BuildInfo { version: "go1.27.3".to_owned(), settings, ..BuildInfo::default() })
}

fn check(program: &Program, errno: i32, code: u8, expected: &str) {
    let (got, sentence) = explain(program, errno);
    assert_eq!((got.0, sentence.as_str()), (code, expected));
}

#[test]
fn a_missing_elf_interpreter_is_named_with_its_c_library() {
    let glibc = elf(|elf| {
        elf.interpreter = Some(("/lib64/ld-linux-x86-64.so.2".to_owned(), false));
        elf.go = cgo();
    });
    check(
        &glibc,
        ENOENT,
        127,
        "/app/server exists, but its ELF interpreter /lib64/ld-linux-x86-64.so.2 is not in this \
         image (built with cgo against glibc); build with CGO_ENABLED=0, or use an image with \
         glibc (Debian, distroless/base; not Alpine or scratch)",
    );
    let musl = elf(|elf| {
        elf.interpreter = Some(("/lib/ld-musl-x86_64.so.1".to_owned(), false));
    });
    check(
        &musl,
        ENOENT,
        127,
        "/app/server exists, but its ELF interpreter /lib/ld-musl-x86_64.so.1 is not in this \
         image (linked dynamically against musl); build with CGO_ENABLED=0, or use an Alpine image",
    );
}

#[test]
fn a_wrong_architecture_names_both() {
    let arm = elf(|elf| {
        elf.arch = "arm64".to_owned();
        elf.runs_here = false;
    });
    let (code, sentence) = explain(&arm, ENOEXEC);
    assert_eq!(code, Code::NOT_EXECUTABLE);
    assert!(
        sentence.starts_with(
            "/app/server is built for linux/arm64, but this machine is linux/amd64; build with \
             GOOS=linux GOARCH=amd64"
        ),
        "{sentence}"
    );
}

#[test]
fn scripts_name_their_first_line() {
    let script = |change: fn(&mut Script)| {
        let mut script = Script {
            line: "#!/bin/bash".to_owned(),
            interpreter: "/bin/bash".to_owned(),
            ..Script::default()
        };
        change(&mut script);
        program(Format::Script(script))
    };
    type Change = fn(&mut Script);
    let cases: [(Change, &str); 3] = [
        (
            |_| {},
            "the interpreter /bin/bash of its first line \"#!/bin/bash\" is not in this image",
        ),
        (|script| script.carriage_return = true, "\"#!/bin/bash\\r\" names an interpreter"),
        (
            |script| {
                script.exists = true;
                script.by_env = Some(("bash".to_owned(), false));
            },
            "bash of its first line \"#!/bin/bash\" is not in PATH",
        ),
    ];
    for (change, expected) in cases {
        let (code, sentence) = explain(&script(change), ENOENT);
        assert_eq!(code, Code::NOT_FOUND);
        assert!(sentence.contains(expected), "{sentence}");
    }
}

#[test]
fn files_that_are_no_programs_are_called_what_they_are() {
    for (format, errno, code, expected) in [
        (Format::Missing, ENOENT, 127, "/app/server does not exist"),
        (Format::Directory, EACCES, 126, "/app/server is a directory"),
        (Format::Empty, ENOEXEC, 126, "/app/server is empty; the build or the copy was cut short"),
        (
            Format::Dangling("bin/app".to_owned()),
            ENOENT,
            127,
            "/app/server is a symbolic link to bin/app, which does not exist",
        ),
        (Format::Data, ENOEXEC, 126, "/app/server is not a program (neither ELF nor a #! script)"),
    ] {
        check(&program(format), errno, code, expected);
    }
}

#[test]
fn what_forbids_executing_is_said() {
    let mut locked = elf(|_| {});
    locked.executable = false;
    check(
        &locked,
        EACCES,
        126,
        "/app/server exists, but it is not executable for this user; chmod +x, or COPY \
         --chmod=0755 in the Dockerfile",
    );
    let mut mounted = elf(|_| {});
    mounted.noexec = Some("/data".to_owned());
    assert!(explain(&mounted, EACCES).1.contains("lies on /data, which is mounted noexec"));
}

#[test]
fn an_errno_speaks_where_the_facts_show_nothing() {
    check(
        &elf(|_| {}),
        7,
        126,
        "/app/server cannot be executed: arguments and environment together are too long (E2BIG)",
    );
    check(&elf(|_| {}), 99, 126, "/app/server cannot be executed: errno 99");
}

#[test]
fn a_missing_library_is_a_problem_but_not_of_the_exec() {
    let program = elf(|elf| {
        elf.libraries = vec![Library {
            name: "libpq.so.5".to_owned(),
            state: Found::Missing(None),
            by: String::new(),
        }];
    });
    assert_eq!(problems(&program), [Problem::Libraries(vec!["libpq.so.5".to_owned()])]);
    assert!(explain(&program, 12).1.contains("ENOMEM"));
}

#[test]
fn a_command_that_path_does_not_have_may_be_in_the_current_directory() {
    let search = Search {
        command: "server".to_owned(),
        path: Some("/usr/bin:/bin".to_owned()),
        in_current_directory: true,
    };
    assert_eq!(
        not_found(&search),
        (
            Code::NOT_FOUND,
            "server was not found in PATH=/usr/bin:/bin; did you mean ./server? It is in the \
             current directory"
                .to_owned()
        )
    );
}
