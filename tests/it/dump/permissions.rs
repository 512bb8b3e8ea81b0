//! Who may read whom (ptrace(2), "Ptrace access mode checking"): what works without privileges,
//! and that each refusal is one sentence with the rule and the remedy.

use super::{build_of, end};
use crate::support::{self, Run, TempDir};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

/// Users that own nothing.
const NOBODY: u32 = 65532;
const OTHER: u32 = 65531;
/// System calls by number on x86-64.
const PTRACE: u32 = 101;
const PROCESS_VM_READV: u32 = 310;
/// Capabilities by number.
const NET_RAW: u32 = 13;
const SYS_PTRACE: u32 = 19;

/// A place that every user may read, with goinit and the program in it.
struct Place {
    _directory: TempDir,
    program: PathBuf,
    goinit: PathBuf,
}

impl Place {
    fn new() -> Option<Self> {
        if !support::is_root() {
            support::skip("only root can be somebody else");
            return None;
        }
        let directory = TempDir::new();
        let (program, goinit) = (directory.path("hidden"), directory.path("goinit"));
        fs::copy(build_of("hidden", "1.25", "stripped")?, &program).unwrap();
        fs::copy(support::goinit(), &goinit).unwrap();
        for path in [&program, &goinit] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Some(Self { _directory: directory, program, goinit })
    }

    /// Starts the program in a state of tests/programs/launch.py, and waits until it hangs.
    fn start(&self, state: &[String], how: &str) -> Child {
        let mut command = std::process::Command::new(support::python());
        command.arg(support::helper("launch.py")).args(state).arg("--").arg(&self.program);
        command.args(Some(how).filter(|how| !how.is_empty()));
        super::start_with(command).0
    }

    /// What goinit in a state says of a process.
    fn dump(&self, state: &[String], pid: u32) -> Result<String, String> {
        let mut command = std::process::Command::new(support::python());
        command.arg(support::helper("launch.py")).args(state).arg("--").arg(&self.goinit);
        support::output(command.arg("dump").arg(pid.to_string()))
    }

    /// Asserts what goinit in the second state says of the program in the first.
    fn check(&self, program: &[String], how: &str, reader: &[String], words: &[&str]) {
        let mut child = self.start(program, how);
        let said = self.dump(reader, child.id());
        end(&mut child, 9);
        let text = match &said {
            Ok(text) => text,
            Err(why) => {
                let why = why.trim();
                assert_eq!(why.lines().count(), 1, "{why}");
                why
            }
        };
        for word in words {
            assert!(text.contains(word), "{program:?} {how} {reader:?}: {word}?\n{text}");
        }
    }
}

fn user(number: u32) -> String {
    format!("--uid={number}")
}

fn deny(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    format!("--deny={}", numbers.join(","))
}

/// What a dump of the hanging program contains.
const HANGS: &[&str] = &["goroutine 1 [sync.Mutex.Lock]", "main.lockUp(...)"];

#[test]
fn a_user_reads_its_own_programs_without_privileges() {
    let Some(place) = Place::new() else { return };
    let me = [user(NOBODY)];
    let confined = ["--no-new-privs".to_owned(), user(NOBODY)];
    place.check(&me, "", &me, HANGS);
    place.check(&confined, "", &confined, HANGS);
    // Root with what Docker gives it by default, which is without SYS_PTRACE.
    let docker = [format!("--drop-capability={SYS_PTRACE}")];
    place.check(&docker, "", &docker, HANGS);
}

#[test]
fn a_sandbox_that_forbids_system_calls_leaves_the_memory_file() {
    let Some(place) = Place::new() else { return };
    let me = [user(NOBODY)];
    let calls = [PROCESS_VM_READV, PTRACE];
    for denied in [&calls[..1], &calls[1..], &calls[..]] {
        place.check(&me, "", &[user(NOBODY), deny(denied)], HANGS);
    }
}

#[test]
fn each_refusal_names_the_rule_and_the_remedy() {
    let Some(place) = Place::new() else { return };
    let me = user(NOBODY);
    let check = |program: &[String], how: &str, reader: &[String], words: &[&str]| {
        place.check(program, how, reader, words);
    };
    let own = std::slice::from_ref(&me);
    check(own, "", &[user(OTHER)], &["as user 65532", "as user 65531", "CAP_SYS_PTRACE"]);
    let docker = [format!("--drop-capability={SYS_PTRACE}")];
    check(own, "", &docker, &["as user 65532", "as user 0", "run it as user 65532"]);
    let capable = [format!("--keep-capability={NET_RAW}"), me.clone()];
    check(&capable, "", own, &["capabilities that this goinit lacks", "no_new_privs"]);
    check(own, "undumpable", own, &["not dumpable", "under goinit"]);
    fs::set_permissions(&place.program, fs::Permissions::from_mode(0o711)).unwrap();
    check(own, "", own, &["not dumpable", "executable is not readable", "CAP_SYS_PTRACE"]);
}

#[test]
fn file_capabilities_are_named_and_no_new_privileges_takes_them_away() {
    let Some(place) = Place::new() else { return };
    if !support::have("setcap") {
        return;
    }
    let mut command = std::process::Command::new("setcap");
    support::output(command.arg("cap_net_raw+ep").arg(&place.program)).unwrap();
    let own = [user(NOBODY)];
    place.check(&own, "", &own, &["capabilities that this goinit lacks", "no_new_privs"]);
    let confined = ["--no-new-privs".to_owned(), user(NOBODY)];
    place.check(&confined, "", &confined, HANGS);
}

/// The run form opens memory and executable right after exec, so its evidence has the goroutines
/// of a program that has hidden itself since. Without SYS_PTRACE, which would open every door.
#[test]
fn what_was_opened_after_exec_is_read_although_the_program_hid_itself() {
    let Some(place) = Place::new() else { return };
    for (how, who) in [("undumpable", NOBODY), ("setuid", 0), ("undumpable", 0)] {
        let mut run = Run::new(&place.goinit)
            .args(["--stall-after", "1s", "--"])
            .arg(&place.program)
            .arg(how)
            .state(format!("--drop-capability={SYS_PTRACE}"));
        if who != 0 {
            run = run.uid(who);
        }
        let run = run.start();
        let group = run.wait_for_record("go.goroutines", Duration::from_secs(20));
        run.signal(15);
        let done = run.wait(Duration::from_secs(20));
        assert!(group.to_string().contains("main.lockUp"), "{how} as {who}: {group}");
        // Read from memory: nobody made the runtime print anything.
        assert_eq!(group["origin"], "goinit", "{group}");
        assert_eq!(done.named("go.panic").len(), 0, "{}", done.stderr());
    }
}
