//! `goinit inspect` on real binaries: of several Go versions and targets, with every way to be
//! linked, and on files that are no programs, below the real root and below unpacked images.

use crate::support::{Done, Run, TempDir, go, go_environment, goinit, output, skip};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `goinit inspect --json`, below a root if there is one.
fn look(root: Option<&Path>, program: &Path) -> (i32, Value) {
    let mut run = Run::goinit().args(["inspect", "--json"]);
    if let Some(root) = root {
        run = run.arg("--root").arg(root);
    }
    let done: Done = run.arg(program).finish();
    assert_eq!(done.stderr(), "");
    (done.code, serde_json::from_str(&done.stdout()).unwrap())
}

/// Every word is in the problems or their remedies.
#[track_caller]
fn problem(found: &(i32, Value), code: i32, words: &[&str]) {
    let (got, document) = found;
    let text = document["problems"].to_string();
    assert_eq!(*got, code, "{document:#}");
    assert_eq!(document["will_start"], code == 0, "{document:#}");
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text}");
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_path_buf()
}

const MAIN: &str = "package main\n\nfunc main() { println(\"hello\") }\n";
const CGO: &str = "package main\n\n// #include <math.h>\n// #cgo LDFLAGS: -lm\nimport \"C\"\n\n\
                   //export Answer\nfunc Answer() C.int { return 42 }\n\n\
                   func main() { println(C.sqrt(2)) }\n";

/// A module of one file, and what is built of it.
struct Module {
    place: TempDir,
    version: &'static str,
    go: PathBuf,
}

impl Module {
    fn new(version: &'static str, line: &str, source: &str) -> Option<Self> {
        let go = go(version)?.go;
        let place = TempDir::new();
        fs::write(place.path("go.mod"), format!("module example.com/shop\n\ngo {line}\n")).unwrap();
        fs::write(place.path("main.go"), source).unwrap();
        Some(Self { place, version, go })
    }

    /// Runs `go ARGS -o NAME` with these variables; the path of NAME.
    fn make(&self, args: &[&str], env: &[(&str, &str)], name: &str) -> PathBuf {
        let path = self.place.path(name);
        let mut command = Command::new(&self.go);
        command.args(args).arg("-o").arg(&path).current_dir(&self.place.0);
        command.env_remove("GOROOT").envs(go_environment()).envs(env.iter().copied());
        if let Err(why) = output(&mut command) {
            panic!("Go {} {args:?}: {why}", self.version);
        }
        path
    }
}

#[test]
fn what_go_build_noted_is_told_for_every_version() {
    for (version, line, aware) in [
        ("1.21", "1.20", "no"),
        ("1.24", "1.21", "no"),
        ("1.25", "1.25", "yes"),
        ("1.27", "1.25", "yes"),
        ("1.27", "1.24", "switched_off"),
    ] {
        let Some(module) = Module::new(version, line, MAIN) else { return };
        // With -trimpath the toolchain does not note -ldflags.
        let flags = ["build", "-tags", "nethttp,x", "-ldflags", "-s -w"];
        let path = module.make(&flags, &[("CGO_ENABLED", "0")], "server");
        let (code, found) = look(None, &path);
        assert_eq!((code, &found["kind"]), (0, &"Go executable".into()), "{found:#}");
        let noted = &found["go"];
        assert!(noted["version"].as_str().unwrap().starts_with(&format!("go{version}.")));
        for (key, value) in [
            ("module", Value::from("example.com/shop")),
            ("dependencies", 0.into()),
            ("goos", "linux".into()),
            ("cgo", false.into()),
            ("container_aware", aware.into()),
        ] {
            assert_eq!(noted[key], value, "Go {version}: {key}\n{found:#}");
        }
        assert_eq!(noted["settings"]["-tags"], "nethttp,x");
        assert_eq!(noted["settings"]["-ldflags"], "-s -w");
        assert_eq!(found["elf"]["stripped"], true, "Go {version}");
        assert_eq!(found["elf"]["static"], true);
        assert_eq!(found["goroutine_reader"], true);
        let page = Run::goinit().arg("inspect").arg(&path).finish().expect_code(0).stdout();
        for word in [version, "example.com/shop", "statically", "It will start here"] {
            assert!(page.contains(word), "no {word} in {page}");
        }
    }
}

#[test]
fn a_build_for_another_target_is_named_with_both() {
    let Some(module) = Module::new("1.27", "1.25", MAIN) else { return };
    let build = |goos, goarch| {
        let env = [("CGO_ENABLED", "0"), ("GOOS", goos), ("GOARCH", goarch)];
        look(None, &module.make(&["build"], &env, &format!("{goos}-{goarch}")))
    };
    let (here, other) =
        if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    problem(&build("linux", other), 1, &[other, here, "GOARCH"]);
    problem(&build("darwin", "arm64"), 1, &["macOS", "GOOS=linux"]);
    problem(&build("windows", "amd64"), 1, &["Windows", "GOOS=linux"]);
    problem(&build("freebsd", here), 1, &["freebsd", "GOOS=linux"]);
}

#[test]
fn what_is_no_program_of_a_build_is_explained_and_exits_2() {
    let Some(module) = Module::new("1.27", "1.25", MAIN) else { return };
    fs::create_dir(module.place.path("lib")).unwrap();
    fs::write(module.place.path("lib/lib.go"), "package lib\n\nfunc F() int { return 1 }\n")
        .unwrap();
    fs::write(
        module.place.path("main_test.go"),
        "package main\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) {}\n",
    )
    .unwrap();
    let archive = module.place.path("lib.a");
    let mut command = Command::new(&module.go);
    command.args(["build", "-o"]).arg(&archive).arg("./lib").current_dir(&module.place.0);
    output(command.env_remove("GOROOT").envs(go_environment())).unwrap();
    fs::set_permissions(&archive, fs::Permissions::from_mode(0o755)).unwrap();
    problem(&look(None, &archive), 2, &["package archive", "func main"]);
    let test = module.make(&["test", "-c"], &[("CGO_ENABLED", "0")], "tests");
    let (code, found) = look(None, &test);
    assert_eq!(code, 0, "a test binary does start");
    assert!(found["remarks"].to_string().contains("test binary"), "{found:#}");
    let Some(cgo) = Module::new("1.27", "1.25", CGO) else { return };
    let shared = ["build", "-buildmode=c-shared"];
    let library = cgo.make(&shared, &[("CGO_ENABLED", "1")], "libshop.so");
    problem(&look(None, &library), 2, &["c-shared", "-buildmode"]);
    let object = cgo.place.path("x.o");
    let gcc = "echo 'int x;' | gcc -x c -c - -o \"$0\"";
    output(Command::new("sh").args(["-c", gcc]).arg(&object)).unwrap();
    fs::set_permissions(&object, fs::Permissions::from_mode(0o755)).unwrap();
    problem(&look(None, &object), 2, &["object file"]);
}

/// A program with cgo, and the files that it needs on this machine: loader and libraries.
fn with_cgo() -> Option<(Module, PathBuf, PathBuf, Vec<PathBuf>)> {
    let module = Module::new("1.27", "1.25", CGO)?;
    let path = module.make(&["build"], &[("CGO_ENABLED", "1")], "server");
    let (code, found) = look(None, &path);
    assert_eq!(code, 0, "{found:#}");
    let loader = PathBuf::from(found["elf"]["interpreter"]["path"].as_str().unwrap());
    let libraries = found["elf"]["libraries"].as_array().unwrap();
    let found: Vec<PathBuf> =
        libraries.iter().map(|one| PathBuf::from(one["found"].as_str().unwrap())).collect();
    Some((module, path, loader, found))
}

fn copy(from: &Path, root: &Path, to: &str) {
    let target = root.join(to.trim_start_matches('/'));
    fs::create_dir_all(target.parent().unwrap()).unwrap();
    fs::copy(from, target).unwrap();
}

#[test]
fn cgo_is_told_where_loader_and_libraries_are_missing() {
    let Some((_module, program, loader, libraries)) = with_cgo() else { return };
    assert!(libraries.iter().any(|path| path.to_string_lossy().contains("libc.so.6")));
    let image = TempDir::new();
    let app = Path::new("/app/server");
    copy(&program, &image.0, "/app/server");
    // Alpine, or scratch: no glibc.
    let found = look(Some(&image.0), app);
    problem(&found, 1, &["ELF interpreter", "glibc", "CGO_ENABLED=0", "Alpine"]);
    copy(&loader, &image.0, loader.to_str().unwrap());
    problem(&look(Some(&image.0), app), 1, &["libm.so.6", "libc.so.6", "not in this image"]);
    // In a directory that nobody looks at it does not help, and that is said.
    for library in &libraries {
        let name = library.file_name().unwrap().to_str().unwrap();
        copy(library, &image.0, &format!("/usr/local/lib/{name}"));
    }
    let found = look(Some(&image.0), app);
    problem(&found, 1, &["/usr/local/lib/libm.so.6 is there, but the loader does not look there"]);
    for library in &libraries {
        copy(library, &image.0, library.to_str().unwrap());
    }
    problem(&look(Some(&image.0), app), 0, &[]);
    // A library for another machine is passed over.
    let libm = libraries.iter().find(|path| path.ends_with("libm.so.6")).unwrap();
    let file = image.path(libm.to_str().unwrap().trim_start_matches('/'));
    let wrong = fs::OpenOptions::new().write(true).open(file).unwrap();
    wrong.write_all_at(&22u16.to_le_bytes(), 18).unwrap();
    fs::remove_file(image.path("usr/local/lib/libm.so.6")).unwrap();
    problem(&look(Some(&image.0), app), 1, &["libm.so.6"]);
}

#[test]
fn libraries_are_found_by_runpath_and_through_other_libraries() {
    let place = TempDir::new();
    let script = "cd \"$0\" && mkdir -p bin lib/deep && \
        echo 'int inner(void){return 7;}' | gcc -shared -fPIC -x c - -Wl,-soname,libinner.so -o lib/deep/libinner.so && \
        echo 'int inner(void); int outer(void){return inner();}' | gcc -shared -fPIC -x c - \
            -Wl,-soname,libouter.so -Llib/deep -linner '-Wl,-rpath,$ORIGIN/deep' -o lib/libouter.so && \
        echo 'int outer(void); int main(void){return outer();}' | gcc -x c - -Llib -louter \
            -Wl,-rpath-link,lib/deep '-Wl,-rpath,$ORIGIN/../lib' -o bin/run";
    if let Err(why) = output(Command::new("sh").args(["-c", script]).arg(&place.0)) {
        return skip(&format!("no C compiler: {why}"));
    }
    let program = place.path("bin/run");
    assert_eq!(Command::new(&program).status().unwrap().code(), Some(7), "it does start");
    let found = look(None, &program);
    problem(&found, 0, &[]);
    let libraries = found.1["elf"]["libraries"].to_string();
    assert!(
        libraries.contains("libinner.so") && libraries.contains("lib/libouter.so"),
        "{libraries}"
    );
    fs::remove_file(place.path("lib/deep/libinner.so")).unwrap();
    problem(&look(None, &program), 1, &["libinner.so (for libouter.so)"]);
    fs::remove_file(place.path("lib/libouter.so")).unwrap();
    problem(&look(None, &program), 1, &["libouter.so"]);
}

#[test]
fn musl_finds_its_own_libraries_and_its_path_file() {
    let place = TempDir::new();
    let script = "cd \"$0\" && echo 'int f(void){return 7;}' | gcc -shared -fPIC -x c - -Wl,-soname,libf.so -o libf.so && \
        echo 'int f(void); int main(void){return f();}' | gcc -x c - -L. -lf \
            -Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1 -o run && \
        echo 'int g;' | gcc -nostdlib -shared -x c - -Wl,-soname,libc.musl-x86_64.so.1 -o libc.so";
    if let Err(why) = output(Command::new("sh").args(["-c", script]).arg(&place.0)) {
        return skip(&format!("no C compiler: {why}"));
    }
    let image = TempDir::new();
    let app = Path::new("/app/run");
    copy(&place.path("run"), &image.0, "/app/run");
    problem(&look(Some(&image.0), app), 1, &["musl", "Alpine"]);
    copy(&place.path("libc.so"), &image.0, "/lib/ld-musl-x86_64.so.1");
    problem(&look(Some(&image.0), app), 1, &["libf.so"]);
    copy(&place.path("libf.so"), &image.0, "/opt/x/libf.so");
    problem(&look(Some(&image.0), app), 1, &["libf.so"]);
    write(&image.path("etc/ld-musl-x86_64.path"), b"/lib\n/opt/x\n", 0o644);
    problem(&look(Some(&image.0), app), 0, &[]);
}

#[test]
fn scripts_are_followed_and_their_mistakes_named() {
    let image = TempDir::new();
    let check = |name: &str, text: &str, code: i32, words: &[&str]| {
        write(&image.path(name), text.as_bytes(), 0o755);
        problem(&look(Some(&image.0), &Path::new("/").join(name)), code, words);
    };
    check("a", "#!/bin/sh\n", 1, &["/bin/sh", "not in this image"]);
    copy(&goinit(), &image.0, "/bin/sh");
    check("a", "#!/bin/sh\n", 0, &[]);
    check("b", "#! /bin/sh -e\n", 0, &[]);
    check("crlf", "#!/bin/sh\r\n", 1, &["Windows line ends", "dos2unix"]);
    check("env", "#!/usr/bin/env sh\n", 1, &["/usr/bin/env"]);
    copy(&goinit(), &image.0, "/usr/bin/env");
    check("env", "#!/usr/bin/env sh\n", 0, &[]);
    check("python", "#!/usr/bin/env -S python3 -u\n", 1, &["python3", "not in PATH"]);
    check("of", "#!/a\n", 0, &[]);
    check("mark", "\u{feff}#!/bin/sh\n", 2, &["byte order mark"]);
    check("text", "echo hello\n", 2, &["#!"]);
    // The interpreter is here, but for another machine.
    let mut bytes = fs::read(goinit()).unwrap();
    bytes[18..20].copy_from_slice(&22u16.to_le_bytes());
    write(&image.path("bin/foreign"), &bytes, 0o755);
    check("deep", "#!/bin/foreign\n", 1, &["/deep cannot run by its first line", "linux/s390x"]);
    check("loop", "#!/loop\n", 0, &[]);
}

#[test]
fn files_that_are_no_programs_exit_2_and_what_is_missing_exits_1() {
    let place = TempDir::new();
    let check = |path: &Path, code: i32, words: &[&str]| problem(&look(None, path), code, words);
    check(&place.path("none"), 1, &["does not exist"]);
    check(&place.0, 2, &["directory"]);
    check(&write(&place.path("empty"), b"", 0o755), 2, &["empty"]);
    check(&write(&place.path("noise"), &[0x80, 0, 1, 2, 3, 0xff], 0o755), 2, &["not a program"]);
    check(&write(&place.path("short"), b"\x7fELF", 0o755), 2, &["damaged"]);
    symlink("nowhere", place.path("dangling")).unwrap();
    check(&place.path("dangling"), 1, &["nowhere", "symbolic link"]);
    nix::unistd::mkfifo(&place.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    check(&place.path("fifo"), 2, &["not a regular file"]);
    let whole = fs::read(goinit()).unwrap();
    check(&write(&place.path("plain"), &whole, 0o644), 1, &["not executable", "chmod"]);
    let half = write(&place.path("half"), &whole[..whole.len() / 8], 0o755);
    check(&half, 1, &["cut short"]);
    let (code, found) = look(None, &write(&place.path("mine"), &whole, 0o700));
    assert_eq!(code, 0, "{found:#}");
    assert!(found["remarks"].to_string().contains("only its owner"), "{found:#}");
    assert_eq!(found["mode"], "0700");
}

#[test]
fn huge_and_hostile_files_cost_little() {
    let place = TempDir::new();
    let header = fs::read(goinit()).unwrap();
    // Two GiB of nothing behind a real header whose tables point far out.
    let sparse = place.path("sparse");
    fs::write(&sparse, &header[..64]).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&sparse).unwrap();
    file.set_len(2 << 30).unwrap();
    file.write_all_at(&(1u64 << 30).to_le_bytes(), 32).unwrap();
    file.write_all_at(&(3u64 << 29).to_le_bytes(), 40).unwrap();
    file.write_all_at(&[0xff, 0xff], 56).unwrap();
    file.write_all_at(&[0xff, 0xff], 60).unwrap();
    fs::set_permissions(&sparse, fs::Permissions::from_mode(0o755)).unwrap();
    let start = crate::support::now();
    look(None, &sparse);
    // Every byte of the headers, turned over.
    let base = write(&place.path("base"), &header[..4096], 0o755);
    for at in 0..120 {
        let mut bad = header[..4096].to_vec();
        bad[at] ^= 0xff;
        let path = write(&base, &bad, 0o755);
        let (code, _) = look(None, &path);
        assert!((0..=2).contains(&code), "byte {at}: {code}");
    }
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn wrong_usage_exits_125() {
    for args in [&[][..], &["--root", "/nonexistent", "x"], &["a", "b"], &["--frob", "a"]] {
        let done = Run::goinit().arg("inspect").args(args).finish();
        assert_eq!(done.code, 125, "{args:?}: {}", done.stderr());
        assert!(done.stderr().contains("goinit inspect --help"), "{}", done.stderr());
    }
}
