//! Every kind of executable: built in other ways, without what tools look for in it, no longer
//! there, of a Go version that is not known, with plugins, not started, not Go.

use super::{Errors, build, build_of, compare, end, start, start_with};
use crate::support::{self, TempDir};
use goinit::go::elf::Elf;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What is dumped of a process, with these options.
fn dump(pid: u32, options: &[&str]) -> Result<String, String> {
    let mut command = Command::new(support::goinit());
    support::output(command.arg("dump").args(options).arg(pid.to_string()))
}

/// Asserts that the dump of a program that is ready equals its own, and ends it.
fn check((mut child, errors): (Child, Errors), what: &str) -> String {
    let ours = dump(child.id(), &["--system"]);
    end(&mut child, 3);
    let ours = ours.unwrap_or_else(|why| panic!("{what}: {why}"));
    compare(&ours, &errors.text(), what);
    ours
}

/// Each variant with some version; `GOINIT_ALL_TARGETS=1` takes all versions for all variants.
#[test]
fn every_way_of_building_gives_the_programs_own_dump() {
    let some = [
        ("no-inlining", "1.19"),
        ("no-inlining", "1.26"),
        ("cover", "1.25"),
        ("v3", "1.23"),
        ("race", "1.24"),
        ("external", "1.21"),
        ("static", "1.27"),
        ("static-pie", "1.22"),
    ];
    let all =
        super::VERSIONS.iter().flat_map(|version| some.map(|(variant, _)| (variant, *version)));
    let all = std::env::var_os("GOINIT_ALL_TARGETS").map(|_| all.collect::<Vec<_>>());
    for (variant, version) in all.unwrap_or_else(|| some.to_vec()) {
        if variant == "cover" && version == "1.19" || variant == "race" && !has_race(version) {
            continue;
        }
        let Some(program) = build(version, variant) else { continue };
        check(start(&program), &format!("Go {version} {variant}"));
    }
}

/// Not every distribution of Go has the race detector's library in it.
fn has_race(version: &str) -> bool {
    let Some(toolchain) = support::go(version) else { return false };
    let race = toolchain.go.parent().unwrap().join("../src/runtime/race");
    ["race_linux_amd64.syso", "internal/amd64v1/race_linux.syso"]
        .iter()
        .any(|name| race.join(name).exists())
}

/// A changed copy of an executable.
fn changed(program: &Path, directory: &TempDir, change: impl Fn(&mut [u8])) -> PathBuf {
    let mut bytes = fs::read(program).unwrap();
    change(&mut bytes);
    let copy = directory.path("program");
    let _ = fs::remove_file(&copy);
    fs::write(&copy, bytes).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Overwrites every place where `from` stands.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    for at in &places {
        bytes[*at..*at + to.len()].copy_from_slice(to);
    }
    places.len()
}

/// Takes the section headers out, as `objcopy --strip-section-headers` does.
fn without_sections(bytes: &mut [u8]) {
    bytes[40..48].fill(0);
    bytes[58..64].fill(0);
    assert!(Elf::read(&&*bytes).unwrap().section(".text").is_none());
}

#[test]
fn neither_section_headers_nor_build_information_are_needed() {
    let directory = TempDir::new();
    // Externally linked and relocatable up to 1.25 has no section for the function table at all.
    for (version, variant) in [
        ("1.19", "stripped"),
        ("1.24", "cgo"),
        ("1.25", "pie"),
        ("1.27", "stripped"),
        ("1.27", "cgo"),
    ] {
        let Some(program) = build(version, variant) else { continue };
        let bare = changed(&program, &directory, |bytes| {
            without_sections(bytes);
            assert!(replace(bytes, b"\xff Go buildinf:", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0") > 0);
        });
        check(start(&bare), &format!("Go {version} {variant}, bare"));
    }
}

#[test]
fn a_version_that_is_not_known_is_measured() {
    let directory = TempDir::new();
    for version in super::VERSIONS {
        let Some(program) = build(version, "stripped") else { continue };
        let unknown = changed(&program, &directory, |bytes| {
            let known = format!("go{version}");
            assert!(replace(bytes, known.as_bytes(), b"go1.99") > 0, "Go {version}");
        });
        let text = check(start(&unknown), &format!("Go {version} unknown"));
        assert!(text.starts_with("# go1.99"), "{}", text.lines().next().unwrap());
    }
}

/// As `check`, for executables that are no longer there or cannot be read.
#[test]
fn a_program_without_its_file_is_read_from_its_mappings() {
    if !support::is_root() {
        return support::skip("only root can be somebody else");
    }
    let directory = TempDir::new();
    for (version, variant) in [
        ("1.19", "stripped"),
        ("1.21", "cgo"),
        ("1.25", "pie"),
        ("1.26", "pie"),
        ("1.27", "stripped"),
        ("1.27", "cgo"),
    ] {
        let Some(program) = build(version, variant) else { continue };
        let copy = changed(&program, &directory, |_| {});
        let what = format!("Go {version} {variant} unreadable");
        let mut command = Command::new(&copy);
        command.uid(NOBODY).gid(NOBODY);
        let (mut child, errors) = start_with(command);
        // Its user may read its memory, and no longer its file.
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o000)).unwrap();
        let goinit = directory.path("goinit");
        fs::copy(support::goinit(), &goinit).unwrap();
        let mut reader = Command::new(&goinit);
        reader.args(["dump", "--system"]).arg(child.id().to_string()).uid(NOBODY).gid(NOBODY);
        let ours = support::output(&mut reader);
        end(&mut child, 3);
        let ours = ours.unwrap_or_else(|why| panic!("{what}: {why}"));
        compare(&ours, &errors.text(), &what);
    }
}

/// The user that programs run as which root must not own.
const NOBODY: u32 = 65532;

#[test]
fn a_deleted_or_anonymous_executable_is_read_all_the_same() {
    let directory = TempDir::new();
    let Some(program) = build("1.25", "stripped") else { return };
    let copy = changed(&program, &directory, |_| {});
    let started = start(&copy);
    fs::remove_file(&copy).unwrap();
    check(started, "deleted");

    let mut command = Command::new(support::python());
    let code = "import os,sys\nfd=os.memfd_create('x')\nos.write(fd,open(sys.argv[1],'rb').read())\n\
                os.execve(f'/proc/self/fd/{fd}',['x'],os.environ)";
    command.args(["-c", code]).arg(&program);
    check(start_with(command), "in a memory file");

    if support::is_root() {
        let mut command = Command::new(support::python());
        let code =
            "import os,sys\nos.chroot(sys.argv[1])\nos.chdir('/')\nos.execv('/program',['x'])";
        changed(&program, &directory, |_| {});
        command.args(["-c", code]).arg(&directory.0);
        check(start_with(command), "in a root of its own");
    }
}

#[test]
fn what_a_plugin_calls_ends_where_its_code_begins() {
    let Some(toolchain) = support::go("1.25") else { return };
    let Some(program) = build_of("plugged", "1.25", "host") else { return };
    let plugin = program.with_extension("so");
    let mut command = Command::new(&toolchain.go);
    command.args(["build", "-trimpath", "-buildmode=plugin", "-o"]).arg(&plugin).arg("./plugin");
    command.current_dir(support::helper("plugged")).env("CGO_ENABLED", "1");
    command.env("GOTOOLCHAIN", "local").env("GOPROXY", "off").env_remove("GOROOT");
    command.env("GOFLAGS", "-mod=mod");
    support::output(&mut command).unwrap();
    let mut command = Command::new(&program);
    command.arg(&plugin);
    let (mut child, _) = start_with(command);
    let text = dump(child.id(), &[]);
    end(&mut child, 9);
    let text = text.unwrap();
    assert!(text.contains("# plugins are loaded"), "{text}");
    let blocks: Vec<&str> = text.split("\n\n").filter(|it| it.contains("[chan receive]")).collect();
    // One goroutine of the plugin, and the main one inside of it.
    assert_eq!(blocks.len(), 2, "{text}");
    for block in blocks {
        assert!(
            block.contains("# the stack ends here: a return address outside Go code"),
            "{text}"
        );
    }
}

/// Looks 0 to 2 ms after exec: the runtime is there or it is not, and nothing is harmed.
#[test]
fn a_runtime_that_has_not_started_is_said_in_one_sentence() {
    let Some(program) = build("1.27", "stripped") else { return };
    let mut early = 0;
    for round in 0..40u64 {
        let mut child =
            Command::new(&program).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let wait = support::now() + Duration::from_micros(round * 50);
        while support::now() < wait {}
        match dump(child.id(), &["--system"]) {
            Ok(text) => assert!(!text.contains("the stack ends here: a frame"), "{text}"),
            Err(why) => {
                early += 1;
                assert!(why.contains("has not started yet"), "{why}");
                assert_eq!(why.lines().count(), 1);
            }
        }
        assert_eq!(child.try_wait().unwrap(), None, "it goes on");
        end(&mut child, 9);
    }
    println!("{early} of 40 looks came before the runtime");
}

#[test]
fn what_is_not_a_readable_go_program_is_refused_in_one_sentence() {
    let check = |pid: &str, expected: &str| {
        let why = support::output(Command::new(support::goinit()).args(["dump", pid]));
        let why = why.unwrap_err();
        assert!(why.contains(expected) && why.lines().count() == 1, "{why}");
    };
    check("999999999", "there is no process");
    check(&std::process::id().to_string(), "it is not a Go program");
    check("0", "give one process number");
    let mut ended = Command::new("true").spawn().unwrap();
    let state = format!("/proc/{}/stat", ended.id());
    let zombie = || fs::read_to_string(&state).is_ok_and(|text| text.contains(") Z "));
    assert!(support::wait_until(Duration::from_secs(10), zombie));
    check(&ended.id().to_string(), "it has ended");
    end(&mut ended, 9);
    let kernel = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|it| it.is_empty())
    };
    if let Some(pid) = ["2"].iter().find(|pid| kernel(pid)) {
        check(pid, "a thread of the kernel");
    }
}
