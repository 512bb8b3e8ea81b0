//! A dump as JSON, in the shape of docs/dump.schema.json.

use crate::go::goroutine::{Dump, Goroutine, Lock, LockKind, Wait};
use crate::go::inittask;
use crate::go::print::{View, function_text, hidden_frame};
use crate::go::summary::{FrameText, Group, Summary};
use crate::go::symbol::Frame;
use crate::units::Pid;
use serde_json::{Value, json};

/// The version of the shape; it changes when a field changes its meaning or goes.
const FORMAT: &str = "goinit-dump/1";

/// Everything but the goroutines.
pub(super) fn head(pid: Pid, dump: &Dump, summary: &Summary) -> Value {
    let init = dump.init.as_ref().map(|init| {
        json!({"total": init.total, "done": init.done, "running": init.running,
               "pending": init.pending})
    });
    json!({
        "format": FORMAT, "pid": pid.0, "go_version": dump.version,
        "calibrated": dump.calibrated, "plugins": dump.plugins,
        "sample_ms": (dump.sampled > 0).then_some(dump.sampled / 1_000_000),
        "total": summary.total, "users": summary.users, "doubtful": summary.doubtful,
        "unreadable": dump.unreadable, "left_out": dump.left_out,
        "init": init, "init_function": inittask::function(dump),
        "lock_cycles": dump.cycles,
    })
}

/// What was asked about with `--wait-for`.
pub(super) fn subjects(dump: &Dump, addresses: &[u64]) -> Value {
    let one = |at: &u64| {
        let waiting: Vec<u64> = dump.waiting_for(*at).map(|goroutine| goroutine.id).collect();
        let using: Vec<u64> = dump.holding(*at).collect();
        json!({"address": hex(*at), "waiting": waiting, "on_stack_of": using})
    };
    json!({"wait_for": addresses.iter().map(one).collect::<Vec<_>>()})
}

/// One goroutine.
pub(super) fn goroutine(dump: &Dump, goroutine: &Goroutine, view: View) -> Value {
    let symbols = &dump.symbols;
    let created = goroutine.created_by.and_then(|site| symbols.frames(site).first());
    let created = created.map(|at| {
        let parent = (goroutine.parent != 0).then_some(goroutine.parent);
        joined(frame(dump, at), json!({"goroutine": parent}))
    });
    let end = symbols.stack(goroutine.stack).and_then(|stack| stack.end.reason());
    let thread = (goroutine.thread != 0).then(|| {
        let activity = dump.threads.get(&goroutine.thread);
        let activity = activity.map(|text| text.trim_start_matches(", "));
        json!({"id": goroutine.thread, "activity": activity})
    });
    json!({
        "id": goroutine.id, "state": dump.state(goroutine), "status": goroutine.status.name(),
        "waited_ms": dump.waited(goroutine, view.now).map(|ns| ns / 1_000_000),
        "moved": goroutine.moved, "locked_to_thread": goroutine.locked,
        "system": goroutine.system, "unstable": goroutine.unstable, "thread": thread,
        "waits_for":
            goroutine.waits.iter().map(|it| wait(dump, *it, view.now)).collect::<Vec<_>>(),
        "frames": frames(dump, goroutine, view), "stack_end": end, "created_by": created,
    })
}

/// A group of equal goroutines.
pub(super) fn group(group: &Group) -> Value {
    let text = |frame: &FrameText| json!({"function": frame.function, "file": frame.file, "line": frame.line});
    json!({
        "state": group.state, "count": group.count, "ids": group.ids,
        "waited_ms": group.waited.map(|ns| ns / 1_000_000), "not_moved": group.still,
        "system": group.system, "waits_for": group.waits_for,
        "frames": group.frames.iter().map(text).collect::<Vec<_>>(),
        "frames_left_out": group.frames_left_out,
        "created_by": group.created_by.as_ref().map(text),
    })
}

/// An address as text: a JSON number would lose bits in many readers.
fn hex(address: u64) -> String {
    format!("{address:#x}")
}

fn frame(dump: &Dump, frame: &Frame) -> Value {
    json!({
        "function": function_text(dump.symbols.function(frame)),
        "file": dump.symbols.texts.get(frame.file), "line": frame.line, "offset": frame.offset,
    })
}

fn frames(dump: &Dump, goroutine: &Goroutine, view: View) -> Vec<Value> {
    let mut shown = Vec::new();
    let mut callee = "";
    for (number, it) in dump.symbols.stack_frames(goroutine.stack).enumerate() {
        let name = dump.symbols.function(it);
        if view.system || !hidden_frame(name, it.wrapper, callee, number == 0) {
            shown.push(frame(dump, it));
        }
        callee = name;
    }
    if shown.is_empty() {
        shown = dump.symbols.stack_frames(goroutine.stack).map(|it| frame(dump, it)).collect();
    }
    shown
}

fn wait(dump: &Dump, wait: Wait, now: u64) -> Value {
    match wait {
        Wait::Channel(at) => {
            let channel = dump.channels.get(&at);
            json!({
                "kind": "channel", "address": hex(at), "element": dump.elements.get(&at),
                "length": channel.map(|channel| channel.length),
                "capacity": channel.map(|channel| channel.capacity),
                "closed": channel.map(|channel| channel.closed),
            })
        }
        Wait::Lock(kind, at) => lock(dump, kind, at),
        Wait::Poll { fd, write } => json!({
            "kind": "descriptor", "fd": fd, "ready": if write { "write" } else { "read" },
            "target": dump.descriptors.get(&fd),
        }),
        Wait::Until(when) => {
            json!({"kind": "sleep", "left_ms": when.saturating_sub(now) / 1_000_000})
        }
    }
}

fn lock(dump: &Dump, kind: LockKind, at: u64) -> Value {
    let value = json!({
        "kind": kind.name(), "address": hex(at),
        "possibly_held_by": dump.holding(at).collect::<Vec<u64>>(),
    });
    let Some(lock) = dump.locks.get(&at) else { return value };
    let own = match kind {
        LockKind::Mutex => json!({"locked": lock.locked(), "waiting": lock.waiting()}),
        LockKind::Read | LockKind::Write => {
            let (readers, writer) = lock.readers();
            let access = if kind == LockKind::Read { "read" } else { "write" };
            json!({"access": access, "readers": readers, "writer": writer})
        }
        LockKind::WaitGroup => json!({"counter": lock.high, "waiting": lock.low & Lock::WAITERS}),
        LockKind::Semaphore => return value,
    };
    joined(value, own)
}

/// The members of both objects.
pub(super) fn joined(mut value: Value, more: Value) -> Value {
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}
