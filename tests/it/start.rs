//! What cannot start: wrong flags, and commands that are no programs here.

use crate::run::{VERSION, ended, run};
use crate::support::{Done, Run, TempDir, goinit, program};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// goinit's own failure, with every one of these words in what it says.
#[track_caller]
fn refused(done: &Done, words: &[&str]) {
    assert_eq!(done.code, 125, "{}", done.stderr());
    assert!(done.stdout().is_empty(), "{}", done.stdout());
    for word in words {
        assert!(done.stderr().contains(word), "no {word:?} in {}", done.stderr());
    }
    assert!(!done.stderr().contains("panicked"), "{}", done.stderr());
    assert!(done.stderr().lines().count() <= 3, "{}", done.stderr());
}

#[test]
fn an_invalid_value_is_refused_with_flag_value_and_remedy() {
    for (flag, value, remedy) in [
        ("stall-after", "soon", "30s"),
        ("stall-after", "-1s", "30s"),
        ("timeout", "", "30s"),
        ("timeout", "99999999999999999999h", "30s"),
        ("on-stall", "explode", "report"),
        ("exit-on-stall", "256", "255"),
        ("exit-on-timeout", "x", "255"),
        ("termination-bytes", "9", "256"),
        ("gomaxprocs", "0", "auto"),
        ("gomaxprocs", "-3", "auto"),
        ("gomemlimit", "1.5x", "512MiB"),
        ("schedtrace", "3h", "hour"),
        ("stderr", "loud", "auto"),
        ("sched-log", "some", "change"),
        ("log-full", "panic", "drop"),
        ("gotraceback", "loud", "crash"),
        ("remap", "300=1", "255"),
        ("remap", "=", "255"),
        ("rewrite", "15", "SRC:DST"),
        ("rewrite", "TERM:NOSUCH", "NOSUCH"),
        ("parent-death-signal", "0", "signal"),
        ("grace", "ten", "30s"),
    ] {
        let done = Run::goinit().arg(format!("--{flag}={value}")).args(["--", "true"]).finish();
        refused(&done, &[&format!("--{flag}"), value, remedy]);
        let variable = format!("GOINIT_{}", flag.replace('-', "_").to_uppercase());
        let done = Run::goinit().env(&variable, value).args(["--", "true"]).finish();
        if !value.is_empty() {
            refused(&done, &[&variable, value, remedy]);
        }
    }
}

#[test]
fn an_unknown_flag_and_a_missing_command_are_refused_with_a_suggestion() {
    let said = |words: &[&str]| Run::goinit().args(words).finish();
    refused(&said(&["--stal-after=3s", "--", "true"]), &["--stal-after", "--stall-after"]);
    refused(&said(&["true"]), &["goinit -- true"]);
    refused(&said(&["--"]), &["command"]);
    refused(&said(&[]), &["--help"]);
    refused(&said(&["--stall-after"]), &["--stall-after"]);
}

/// goinit's last record: this code, this cause, these words.
#[track_caller]
fn not_started(command: &Path, code: i32, words: &[&str]) {
    let done = run(&[], command).finish();
    let cause = if code == 127 { "not_found" } else { "not_executable" };
    ended(&done, code, cause, "goinit");
    let message = done.named("goinit.exit")[0]["message"].as_str().unwrap().to_owned();
    let name = command.display().to_string();
    for word in words.iter().copied().chain([name.as_str()]) {
        assert!(message.contains(word), "no {word:?} in {message}");
    }
}

fn write(place: &TempDir, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
    let path = place.path(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn a_command_that_is_missing_or_no_program_is_named_with_the_cause() {
    let place = TempDir::new();
    not_started(&place.path("nothing"), 127, &["does not exist"]);
    not_started(Path::new("no-such-command-anywhere"), 127, &["PATH"]);
    not_started(&place.path("a/b"), 127, &["does not exist"]);
    not_started(&place.0, 126, &["directory"]);
    not_started(&write(&place, "plain", b"#!/bin/sh\nexit 0\n", 0o644), 126, &["chmod +x"]);
    not_started(&write(&place, "empty", b"", 0o755), 126, &["empty"]);
    not_started(&write(&place, "noise", &[0x80, 0, 1, 2, 3, 0xff], 0o755), 126, &[]);
    not_started(&write(&place, "short", b"\x7fELF", 0o755), 126, &["ELF"]);
    let script = write(&place, "script", b"#!/opt/none/bash -e\necho\n", 0o755);
    not_started(&script, 127, &["/opt/none/bash", "#!"]);
    let windows = write(&place, "windows", b"#!/bin/sh\r\necho\r\n", 0o755);
    not_started(&windows, 127, &["carriage return"]);
}

#[test]
fn a_program_for_another_architecture_is_named_with_both() {
    let Some(healthy) = program("healthy", VERSION) else { return };
    let place = TempDir::new();
    let mut bytes = fs::read(healthy).unwrap();
    // e_machine, two bytes at 18: 22 is s390, which no machine of ours emulates.
    bytes[18..20].copy_from_slice(&22u16.to_le_bytes());
    let foreign = write(&place, "foreign", &bytes, 0o755);
    let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    not_started(&foreign, 126, &["s390", here]);
}

#[test]
fn a_missing_elf_interpreter_is_named() {
    let place = TempDir::new();
    let mut bytes = fs::read("/bin/sh").unwrap();
    let find = |bytes: &[u8]| bytes.windows(4).position(|window| window == b"/lib");
    let at = find(&bytes).expect("/bin/sh is linked dynamically");
    bytes[at..at + 4].copy_from_slice(b"/opt");
    let program = write(&place, "dynamic", &bytes, 0o755);
    not_started(&program, 127, &["/opt", "ELF interpreter"]);
}

#[test]
fn the_static_binary_starts_itself_and_help_teaches() {
    let done = Run::goinit().args(["--stderr=auto", "--"]).arg(goinit()).arg("--version").finish();
    assert_eq!((done.code, done.stdout().as_str()), (0, "goinit 0.1.0\n"), "{}", done.stderr());
    let help = Run::goinit().arg("--help").finish().expect_code(0).stdout();
    for word in ["goinit [OPTIONS] -- COMMAND", "--stall-after", "ENTRYPOINT", "GOINIT_", "123"] {
        assert!(help.contains(word), "no {word} in the help");
    }
}
