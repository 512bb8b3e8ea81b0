//! Goroutines as text: the form of the runtime's own dump, so that what reads that reads this;
//! what the runtime cannot say stands in lines that begin with `# `.

use super::goroutine::{Dump, Goroutine, Lock, LockKind, Wait};
use super::inittask;
use super::symbol::Frame;
use std::fmt::Write;

/// What to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// Also the runtime's own goroutines and frames.
    pub system: bool,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub now: u64,
}

/// Appends one goroutine, with an empty line behind it.
pub fn goroutine(out: &mut String, dump: &Dump, goroutine: &Goroutine, view: View) {
    header(out, dump, goroutine, view);
    for wait in goroutine.waits.iter().take(64) {
        let _ = writeln!(out, "\t# waits for {}", wait_text(dump, *wait, view.now));
        if let Wait::Lock(_, at) = wait {
            holders(out, dump, *at);
        }
    }
    standstill(out, dump, goroutine, view.now);
    if goroutine.thread != 0 {
        let what = dump.threads.get(&goroutine.thread).map_or("", String::as_str);
        let _ = writeln!(out, "\t# on thread {}{what}", goroutine.thread);
    }
    if goroutine.unstable {
        out.push_str("\t# (unstable: it kept moving while it was read)\n");
    }
    frames(out, dump, goroutine, view);
    if let Some(stack) = dump.symbols.stack(goroutine.stack)
        && let Some(reason) = stack.end.reason()
    {
        let _ = writeln!(out, "\t# the stack ends here: {reason}");
    }
    let created = goroutine.created_by.and_then(|site| dump.symbols.frames(site).first());
    if let Some(frame) = created
        && (view.system || !hidden_frame(dump.symbols.function(frame), false, "", true))
    {
        let _ = write!(out, "created by {}", dump.symbols.function(frame));
        if goroutine.parent != 0 {
            let _ = write!(out, " in goroutine {}", goroutine.parent);
        }
        out.push('\n');
        place(out, dump, frame);
    }
    out.push('\n');
}

/// Since when it waits or stands still, where that is known.
fn standstill(out: &mut String, dump: &Dump, goroutine: &Goroutine, now: u64) {
    match goroutine.moved {
        Some(true) => {
            let _ = writeln!(out, "\t# moved within {}", seconds(dump.sampled));
        }
        Some(false) => {
            let _ = writeln!(out, "\t# has not moved for {}", seconds(dump.sampled));
        }
        None => {}
    }
    if let Some(waited) = dump.waited(goroutine, now).filter(|waited| *waited > dump.sampled) {
        let _ = writeln!(out, "\t# waits for {} at least", seconds(waited));
    }
}

/// Nanoseconds as `0.5 s`, `83.2 s`.
#[must_use]
pub fn seconds(nanoseconds: u64) -> String {
    let tenths = nanoseconds / 100_000_000;
    format!("{}.{} s", tenths / 10, tenths % 10)
}

fn header(out: &mut String, dump: &Dump, goroutine: &Goroutine, view: View) {
    let _ = write!(out, "goroutine {} [{}", goroutine.id, dump.state(goroutine));
    if goroutine.status == super::goroutine::Status::LEAKED {
        out.push_str(" (leaked)");
    }
    if goroutine.scan {
        out.push_str(" (scan)");
    }
    let minutes = dump.minutes(goroutine, view.now);
    if minutes > 0 {
        let _ = write!(out, ", {minutes} minutes");
    }
    if goroutine.locked {
        out.push_str(", locked to thread");
    }
    out.push_str("]:\n");
}

fn frames(out: &mut String, dump: &Dump, goroutine: &Goroutine, view: View) {
    let mut callee = "";
    let mut shown = 0;
    for (number, frame) in dump.symbols.stack_frames(goroutine.stack).enumerate() {
        let name = dump.symbols.function(frame);
        let hidden = !view.system && hidden_frame(name, frame.wrapper, callee, number == 0);
        callee = name;
        if !hidden {
            shown += 1;
            line(out, dump, frame);
        }
    }
    if shown == 0 {
        for frame in dump.symbols.stack_frames(goroutine.stack) {
            line(out, dump, frame);
        }
    }
}

fn line(out: &mut String, dump: &Dump, frame: &Frame) {
    out.push_str(function_text(dump.symbols.function(frame)));
    out.push_str("(...)\n");
    place(out, dump, frame);
}

fn place(out: &mut String, dump: &Dump, frame: &Frame) {
    let _ = write!(out, "\t{}:{}", dump.symbols.texts.get(frame.file), frame.line);
    match frame.offset {
        Some(offset) if offset > 0 => {
            let _ = writeln!(out, " +{offset:#x}");
        }
        _ => out.push('\n'),
    }
}

fn holders(out: &mut String, dump: &Dump, lock: u64) {
    for holder in dump.holding(lock) {
        let _ = writeln!(out, "\t# possibly held by goroutine {holder}");
    }
}

/// The name as the runtime prints it.
#[must_use]
pub fn function_text(name: &str) -> &str {
    if name == "runtime.gopanic" { "panic" } else { name }
}

/// Whether the user's view hides a frame (runtime/traceback.go, `showfuncinfo`); `callee` is the
/// function it called.
#[must_use]
pub fn hidden_frame(name: &str, wrapper: bool, callee: &str, innermost: bool) -> bool {
    let raised = ["runtime.gopanic", "runtime.sigpanic", "runtime.panicwrap"];
    if wrapper && !raised.contains(&callee) {
        return true;
    }
    if name == "runtime.gopanic" && !innermost {
        return false;
    }
    let Some(rest) = name.strip_prefix("runtime.") else { return !name.contains('.') };
    if ["runFinalizers", "runCleanups"].contains(&rest) {
        return false;
    }
    let (receiver, method) = rest.rsplit_once('.').unwrap_or(("", rest));
    let receiver =
        receiver.strip_prefix("(*").and_then(|it| it.strip_suffix(')')).unwrap_or(receiver);
    let exported = |name: &str| name.starts_with(|first: char| first.is_ascii_uppercase());
    !(exported(method) && (receiver.is_empty() || exported(receiver)))
}

/// What one wait is for, as a fragment.
#[must_use]
pub fn wait_text(dump: &Dump, wait: Wait, now: u64) -> String {
    match wait {
        Wait::Channel(at) => {
            let name = dump.elements.get(&at).map_or_else(String::new, |name| format!("{name} "));
            match dump.channels.get(&at) {
                Some(channel) => format!(
                    "chan {name}{at:#x}, {} of {} buffered{}",
                    channel.length,
                    channel.capacity,
                    if channel.closed { ", closed" } else { "" }
                ),
                None => format!("chan {name}{at:#x}"),
            }
        }
        Wait::Lock(kind, at) => {
            let name = kind.name();
            let Some(lock) = dump.locks.get(&at) else { return format!("{name} {at:#x}") };
            match kind {
                LockKind::WaitGroup => {
                    let waiting = lock.low & Lock::WAITERS;
                    format!("{name} {at:#x}, counter {}, {waiting} waiting", lock.high)
                }
                LockKind::Mutex => format!(
                    "{name} {at:#x}, {}, {} waiting",
                    if lock.locked() { "locked" } else { "unlocked" },
                    lock.waiting()
                ),
                LockKind::Read | LockKind::Write => {
                    let (readers, writer) = lock.readers();
                    let side = if kind == LockKind::Read { "read" } else { "write" };
                    format!(
                        "{name} {at:#x} to {side}, {readers} readers{}",
                        if writer { ", a writer" } else { "" }
                    )
                }
                LockKind::Semaphore => format!("{name} {at:#x}"),
            }
        }
        Wait::Poll { fd, write } => {
            let what = dump.descriptors.get(&fd).map_or("", String::as_str);
            let state = if write { "writable" } else { "readable" };
            format!("descriptor {fd} {what} to become {state}").replace("  ", " ")
        }
        Wait::Until(when) => {
            format!("time, {} ms left", when.saturating_sub(now) / 1_000_000)
        }
    }
}

/// The lock that a goroutine waits for.
fn wanted(dump: &Dump, id: u64) -> String {
    let of = dump.goroutines.iter().find(|goroutine| goroutine.id == id);
    let lock = of.into_iter().flat_map(|goroutine| &goroutine.waits).find_map(|wait| match wait {
        Wait::Lock(kind, at) => Some(format!("{} {at:#x}", kind.name())),
        Wait::Channel(_) | Wait::Poll { .. } | Wait::Until(_) => None,
    });
    lock.unwrap_or_else(|| "a lock".to_owned())
}

/// How far package initialisation is, while it lasts.
fn initialisation(out: &mut String, dump: &Dump) {
    let function = inittask::function(dump);
    let Some(init) = dump.init.as_ref().filter(|init| !init.is_complete()) else {
        if let Some(function) = function {
            let _ = writeln!(out, "# init: running {function}");
        }
        return;
    };
    let _ = write!(out, "# init: {} of {} packages done", init.done, init.total);
    let running = function.or(init.running.as_deref()).unwrap_or("none");
    let _ = write!(out, "; running {running}");
    if !init.pending.is_empty() {
        let _ = write!(out, "; pending {}", init.pending.join(", "));
    }
    out.push('\n');
}

/// Facts about the whole program, each a line that begins with `# `.
#[must_use]
pub fn facts(dump: &Dump) -> String {
    let mut out = String::new();
    if dump.calibrated {
        let version = if dump.version.is_empty() { "its Go version" } else { &dump.version };
        let _ = writeln!(
            out,
            "# {version} is not known; its structures were measured, some facts are missing"
        );
    }
    if dump.plugins {
        out.push_str("# plugins are loaded; their functions are not named\n");
    }
    initialisation(&mut out, dump);
    for ring in &dump.cycles {
        let first = ring.first().copied().unwrap_or(0);
        let _ = write!(out, "# probable deadlock: goroutine {first}");
        let next = ring.iter().skip(1).chain([&first]);
        for (number, (waiter, holder)) in ring.iter().zip(next).enumerate() {
            let which = if number == 0 { "" } else { ", which" };
            let lock = wanted(dump, *waiter);
            let _ = write!(out, "{which} waits for {lock}, possibly held by goroutine {holder}");
        }
        out.push('\n');
    }
    for (count, what) in [(dump.unreadable, "unreadable"), (dump.left_out, "left out")] {
        if count > 0 {
            let _ = writeln!(out, "# {count} goroutines {what}");
        }
    }
    out
}
