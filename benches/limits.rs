//! What reading limits and looking at a program costs: `cargo bench --bench limits`.
//!
//! Cold is the first reading of a fresh process (the median of 21), warm the one after many; a
//! check is what happens at each heartbeat. Nothing is compared with anything, so noise shows.

#![expect(clippy::print_stdout, clippy::expect_used, reason = "a benchmark talks and may fail")]

use goinit::host::cgroup::{self, Watch};
use goinit::host::files::Root;
use goinit::host::program::{self, Depth};
use goinit::sys::clock::mono;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

fn main() {
    let root = Root::live();
    if std::env::args().nth(1).as_deref() == Some("cold") {
        let nanoseconds = time(|| black_box(cgroup::read(&root, None, cgroup::Depth::Deciding)));
        println!("{nanoseconds}");
        return;
    }
    println!("microseconds, median (smallest to largest)");
    row("read everything, cold", (0..21).map(|_| cold()).collect());
    row(
        "read everything, warm",
        repeat(500, || black_box(cgroup::read(&root, None, cgroup::Depth::Deciding))),
    );
    let mut watch = Watch::new(&root);
    row("look for changes", repeat(1000, || black_box(watch.check().is_some())));
    let large = Large::new();
    for (name, depth) in [("start", Depth::Start), ("everything", Depth::Everything)] {
        let look = || black_box(program::inspect(&root, &large.0, depth));
        row(&format!("inspect 100 MB, {name}"), repeat(100, look));
    }
}

fn time<T>(work: impl FnOnce() -> T) -> u64 {
    let start = mono();
    black_box(work());
    u64::try_from(mono().since(start).as_nanos()).unwrap_or(u64::MAX)
}

fn repeat<T>(count: usize, mut work: impl FnMut() -> T) -> Vec<u64> {
    (0..count).map(|_| time(&mut work)).collect()
}

/// A reading in a process of its own.
fn cold() -> u64 {
    let own = std::env::current_exe().expect("our own path");
    let done = std::process::Command::new(own).arg("cold").output().expect("ourselves");
    String::from_utf8_lossy(&done.stdout).trim().parse().expect("a number")
}

fn row(name: &str, mut times: Vec<u64>) {
    times.sort_unstable();
    let at = |index: usize| times.get(index).copied().unwrap_or(0);
    let micro = |nanoseconds: u64| format!("{}.{}", nanoseconds / 1000, nanoseconds % 1000 / 100);
    let (least, middle, most) = (at(0), at(times.len() / 2), at(times.len() - 1));
    println!("{name:<28} {:>8} ({} to {})", micro(middle), micro(least), micro(most));
}

/// A program of 100 MB: the one named by GOINIT_BENCH_PROGRAM, or this one, made longer.
struct Large(PathBuf);

impl Large {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("goinit-bench-limits-{}", std::process::id()));
        let source = std::env::var_os("GOINIT_BENCH_PROGRAM").map(PathBuf::from);
        let source = source.or_else(|| std::env::current_exe().ok()).expect("a program");
        std::fs::copy(source, &path).expect("a copy");
        let file = std::fs::OpenOptions::new().write(true).open(&path).expect("the copy");
        let block = vec![0x5a; 1 << 20];
        let mut at = file.metadata().expect("its size").len();
        while at < 100 << 20 {
            file.write_all_at(&block, at).expect("room");
            at += 1 << 20;
        }
        Self(path)
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Path::new(&self.0));
    }
}
