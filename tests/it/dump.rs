//! `goinit dump`: against the program's own SIGQUIT dump, from recorded memory, and on damage.

mod facts;
mod permissions;
mod recorded;
mod targets;

use crate::support;
use goinit::go::elf::Elf;
use goinit::go::image::Image;
use goinit::go::layout::{LAYOUTS, Layout};
use goinit::go::program::Program;
use goinit::host::memory::Live;
use goinit::units::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Toolchains that are compared; the newest of each is what `scripts/go-toolchain` pins.
const VERSIONS: [&str; 8] = ["1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27"];

/// Builds tests/programs/waits in one variant.
fn build(version: &str, variant: &str) -> Option<PathBuf> {
    build_of("waits", version, variant)
}

fn build_of(name: &str, version: &str, variant: &str) -> Option<PathBuf> {
    build_for(name, version, variant, "amd64")
}

/// Builds a program of tests/programs in one variant, named after it and the machine.
fn build_for(name: &str, version: &str, variant: &str, machine: &str) -> Option<PathBuf> {
    let toolchain = support::go(version)?;
    let place = Path::new(support::PROJECT).join("target/go-programs").join(version);
    fs::create_dir_all(&place).unwrap();
    let target = place.join(format!("{name}-{machine}-{variant}"));
    let (flags, cgo): (&[&str], &str) = match variant {
        "plain" | "calibrate" => (&[], "0"),
        "stripped" => (&["-ldflags=-s -w"], "0"),
        "pie" => (&["-buildmode=pie"], "0"),
        "no-inlining" => (&["-gcflags=all=-N -l"], "0"),
        "cover" => (&["-cover"], "0"),
        "v3" => (&["-ldflags=-s -w"], "0"),
        "race" => (&["-race", "-ldflags=-s -w"], "1"),
        "external" => (&["-ldflags=-linkmode=external"], "1"),
        "static" => (&["-ldflags=-linkmode=external -extldflags=-static -s -w"], "1"),
        "host" => (&[], "1"),
        "static-pie" => {
            (&["-buildmode=pie", "-ldflags=-linkmode=external -extldflags=-static-pie"], "1")
        }
        "cgo" => (&["-buildmode=pie", "-ldflags=-linkmode=external -s -w"], "1"),
        other => panic!("no variant {other}"),
    };
    if cgo == "1" && !support::have("gcc") {
        support::skip("no gcc for the cgo variant");
        return None;
    }
    let mut command = Command::new(&toolchain.go);
    command.args(["build", "-trimpath"]).args(flags).arg("-o").arg(&target).arg(".");
    command.current_dir(Path::new(support::PROJECT).join("tests/programs").join(name));
    command.env("GOARCH", machine).env("GOAMD64", if variant == "v3" { "v3" } else { "v1" });
    command.env("CGO_ENABLED", cgo).env("GOTOOLCHAIN", "local").env("GOPROXY", "off");
    command.env("GOFLAGS", "-mod=mod").env_remove("GOROOT");
    support::output(&mut command).unwrap();
    Some(target)
}

/// What a program wrote to its standard error: a file that goes with this value.
struct Errors(support::TempDir);

impl Errors {
    fn text(&self) -> String {
        fs::read_to_string(self.0.path("stderr")).unwrap()
    }
}

/// Starts a program and waits for its "ready"; its standard error goes to a file.
fn start(program: &Path) -> (Child, Errors) {
    start_with(Command::new(program))
}

/// The same with a command of its own.
fn start_with(mut command: Command) -> (Child, Errors) {
    let directory = support::TempDir::new();
    let out = directory.path("stdout");
    let child = command
        .stdout(fs::File::create(&out).unwrap())
        .stderr(fs::File::create(directory.path("stderr")).unwrap())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let ready = || fs::read_to_string(&out).unwrap_or_default().contains("ready");
    assert!(support::wait_until(Duration::from_secs(20), ready), "{command:?}");
    (child, Errors(directory))
}

fn end(child: &mut Child, number: i32) {
    support::kill(child.id(), number);
    assert!(support::wait_until(Duration::from_secs(20), || child.try_wait().unwrap().is_some()));
}

/// Goroutines by number: state, then frames and creator as lines without arguments and addresses.
fn parse(text: &str) -> BTreeMap<u64, (String, Vec<String>)> {
    let mut found = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut lines = block.lines().skip_while(|line| !line.starts_with("goroutine "));
        let Some(header) = lines.next() else { continue };
        let number = header.split(' ').nth(1).and_then(|word| word.parse().ok());
        let state = header.split_once(" [").and_then(|(_, rest)| rest.strip_suffix("]:"));
        let (Some(number), Some(state)) = (number, state) else { continue };
        if number == 0 {
            continue;
        }
        let clean = |line: &str| {
            let line = line.split(" fp=").next().unwrap_or(line);
            let call = !line.starts_with('\t') && !line.starts_with("created by");
            // Arguments start at the last bracket that is not a receiver's.
            let cut =
                line.rfind("(0x").or(line.rfind("({")).or(line.rfind("(?")).or(line.rfind("(...)"));
            let cut = cut.or(line.strip_suffix("()").map(str::len));
            if call { cut.map_or(line, |cut| &line[..cut]).to_owned() } else { line.to_owned() }
        };
        let frames = lines
            .take_while(|line| !line.is_empty())
            .filter(|line| !line.starts_with("\t#"))
            .map(clean)
            .collect();
        found.insert(number, (state.to_owned(), frames));
    }
    found
}

/// Whether a dump of ours and one of the runtime say the same; the runtime's may leave out the
/// middle of a deep stack (`...`), or all beyond 100 frames (to 1.20).
fn same(ours: &[String], runtime: &[String]) -> bool {
    match runtime.iter().position(|line| line.starts_with("...")) {
        Some(cut) => {
            let rest = &runtime[cut + 1..];
            let created = rest.iter().filter(|line| line.starts_with("created by")).count();
            ours.starts_with(&runtime[..cut])
                && ours.ends_with(rest)
                && created == ours.iter().filter(|line| line.starts_with("created by")).count()
        }
        None => ours == runtime,
    }
}

/// Asserts that our dump says all that the program's own dump says.
fn compare(ours: &str, own: &str, what: &str) {
    let (ours, own) = (parse(ours), parse(own));
    assert!(own.len() > 60, "{what}: {} goroutines", own.len());
    for (number, (state, frames)) in &own {
        let found = ours.get(number);
        let (our_state, our_frames) =
            found.unwrap_or_else(|| panic!("{what}: no goroutine {number}"));
        assert_eq!(our_state, state, "{what}, goroutine {number}");
        let equal = same(our_frames, frames);
        assert!(equal, "{what}, goroutine {number}\n{our_frames:#?}\n{frames:#?}");
    }
}

#[test]
fn parked_goroutines_equal_the_programs_own_dump_on_every_toolchain() {
    for version in VERSIONS {
        for variant in ["plain", "stripped", "pie", "cgo"] {
            let Some(program) = build(version, variant) else { continue };
            let (mut child, errors) = start(&program);
            let pid = child.id().to_string();
            let ours = support::output(Command::new(support::goinit()).args([
                "dump",
                "--system",
                pid.as_str(),
            ]));
            end(&mut child, 3);
            let what = format!("Go {version} {variant}");
            compare(&ours.unwrap(), &errors.text(), &what);
        }
    }
}

/// The note that the table was taken from, compared field by field.
#[test]
fn the_layout_table_equals_the_measured_offsets() {
    let Some(path) = support::shared("design/go-offsets.json") else { return };
    let note: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for layout in LAYOUTS {
        let Layout { minor, .. } = layout;
        let version = &note["versions"][format!("1.{minor}")];
        let vu = if minor >= 26 { 8 } else { 0 };
        let check = |structure: &str, field: &str, ours: u16, more: u64| {
            let theirs = version[structure][field].as_u64().map_or(0, |offset| offset + more);
            assert_eq!(u64::from(ours), theirs, "Go 1.{minor} {structure}.{field}");
        };
        check("g", "size", layout.size, 0);
        check("g", "syscallsp", layout.syscall_sp, 0);
        check("g", "atomicstatus", layout.status, 0);
        check("g", "goid", layout.goid, 0);
        check("g", "waitsince", layout.wait_since, 0);
        check("g", "waitreason", layout.wait_reason, 0);
        check("g", "trackingSeq", layout.tracking, 0);
        check("g", "lockedm", layout.locked_m, 0);
        check("g", "parentGoid", layout.parent, 0);
        check("g", "gopc", layout.created_pc, 0);
        check("g", "startpc", layout.start_pc, 0);
        check("g", "waiting", layout.waiting, 0);
        check("g", "timer", layout.timer, 0);
        check("g", "sleepWhen", layout.sleep_when, 0);
        check("g", "runningCleanups", layout.cleanups, 0);
        check("m", "procid", layout.m_tid, 0);
        check("m", "curg", layout.m_curg, 0);
        check("sudog", "elem", layout.sudog_elem, vu);
        check("sudog", "waitlink", layout.sudog_link, 0);
        check("sudog", "c", layout.sudog_chan, vu);
        check("pollDesc", "rg", layout.poll_read, 0);
        check("moduledata", "gofunc", layout.inlined, 0);
        check("moduledata", "inittasks", layout.init_tasks, 0);
    }
}

/// On versions in the table, measuring must give what the table says.
#[test]
fn calibration_measures_what_the_table_says() {
    for version in VERSIONS {
        let Some(path) = build(version, "calibrate") else { continue };
        let (mut child, _) = start(&path);
        let memory = Live::new(Pid(i32::try_from(child.id()).unwrap()), None);
        let exe = fs::read(&path).unwrap();
        let elf = Elf::read(&exe.as_slice()).unwrap();
        let image = Image::of_file(&elf, &exe, 0).unwrap();
        let program = Program::locate(image, &memory).unwrap();
        let Layout { syscall_sp, status, goid, wait_since, wait_reason, .. } = program.layout;
        let Layout { created_pc, start_pc, waiting, .. } = program.layout;
        let table =
            [syscall_sp, status, goid, wait_since, wait_reason, created_pc, start_pc, waiting];
        let it = goinit::go::calibrate::measure(&program, &memory);
        end(&mut child, 9);
        let it = it.unwrap_or_else(|| panic!("Go {version} cannot be measured"));
        let measured = [
            it.syscall_sp,
            it.status,
            it.goid,
            it.wait_since,
            it.wait_reason,
            it.created_pc,
            it.start_pc,
            it.waiting,
        ];
        assert_eq!(measured, table, "Go {version}");
    }
}

#[test]
fn running_goroutines_show_their_line_and_a_lock_cycle_is_named() {
    for version in ["1.19", "1.24", "1.27"] {
        let Some(program) = build_of("spins", version, "stripped") else { continue };
        let (mut child, _) = start(&program);
        let pid = child.id().to_string();
        let text = support::output(Command::new(support::goinit()).args([
            "dump",
            "--running",
            pid.as_str(),
        ]));
        end(&mut child, 9);
        let text = text.unwrap();
        assert_eq!(text.matches("main.spin(").count(), 2, "Go {version}\n{text}");
        assert_eq!(text.matches("# probable deadlock").count(), 1, "Go {version}\n{text}");
    }
}
