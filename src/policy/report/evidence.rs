//! Evidence records of goinit's log, read back into the form in which the rules look at them. The
//! log has what told something at the time, so a replay may be less sure than the live run was.

use super::own::Field;
use super::story::Stack;
use crate::go::program::Refused;
use crate::policy::evidence::{
    Child, Evidence, Frame, Goroutine, GoroutineGroup, Goroutines, InitProgress, Lock, LockKind,
    Probe, Socket, Syscall, Target, TargetKind, Thread, Why,
};
use crate::units::Pid;
use serde_json::Value;

/// Records of one collection that are taken; goinit writes fifty.
const RECORDS: usize = 200;
/// Sentences that are kept.
const SENTENCES: usize = 60;

/// What was testified at a stall.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Testimony {
    /// `stall-1`; a new one displaces the old.
    id: String,
    /// Records of it.
    taken: usize,
    /// The sentences, in order.
    pub sentences: Vec<String>,
    /// Goroutines as memory showed them.
    pub stacks: Vec<Stack>,
    /// How many goroutines there were.
    pub total: u64,
    threads: Vec<Thread>,
    sockets: Vec<Socket>,
    locks: Vec<Lock>,
    children: Vec<Child>,
    init: Option<InitProgress>,
    missing: Option<String>,
}

impl Testimony {
    /// Takes one record that is part of the collection `id`.
    pub(super) fn take(&mut self, id: &str, name: &str, record: &Value) {
        if self.id != id {
            *self = Self { id: id.to_owned(), ..Self::default() };
        }
        self.taken = self.taken.saturating_add(1);
        if self.taken > RECORDS {
            return;
        }
        let field = Field(record);
        match name {
            "goinit.thread" if record.pointer("/process/parent_pid").is_some() => {
                self.children.push(Child {
                    pid: field.pid("/thread/id"),
                    parent: field.pid("/process/parent_pid"),
                    name: field.text("/thread/name"),
                    command: field.some("/process/command_line"),
                    doing: field
                        .text("/message")
                        .split_once(") ")
                        .map_or_else(String::new, |(_, doing)| doing.to_owned()),
                    ..Child::default()
                });
            }
            "goinit.thread" if record.pointer("/thread/idle").is_some() => {
                let all = record.pointer("/goinit/evidence/missing").and_then(Value::as_array);
                let texts = all.into_iter().flatten().filter_map(Value::as_str);
                self.missing = texts
                    .filter_map(|text| text.strip_prefix("goroutines: "))
                    .next()
                    .map(str::to_owned);
                return;
            }
            "goinit.thread" => self.threads.push(thread(field)),
            "goinit.socket" => self.sockets.push(socket(field)),
            "goinit.lock" => self.locks.push(Lock {
                kind: match field.text("/lock/kind").as_str() {
                    "flock" => LockKind::Flock,
                    "posix" => LockKind::Posix,
                    "ofd" => LockKind::Ofd,
                    "lease" => LockKind::Lease,
                    _ => LockKind::Other,
                },
                exclusive: field.flag("/lock/exclusive"),
                waiter: field.pid("/lock/waiter_pid"),
                holder: field.number("/lock/holder_pid").map(|_| field.pid("/lock/holder_pid")),
                holder_name: field.some("/lock/holder_name"),
                path: field.some("/lock/path"),
                inode: field.number("/lock/inode").unwrap_or(0),
            }),
            "goinit.init" => {
                self.init = Some(InitProgress {
                    done: field.number("/init/done").unwrap_or(0),
                    total: field.number("/init/total").unwrap_or(0),
                    running: field.some("/init/package"),
                    function: field.some("/init/function"),
                    pending: Vec::new(),
                });
            }
            "go.goroutines" => {
                self.total = field.number("/goroutines/total").unwrap_or(0);
                self.stacks.push(stack(field));
                return;
            }
            _ => {}
        }
        if self.sentences.len() < SENTENCES {
            self.sentences.push(field.text("/message"));
        }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// The same as the rules want it.
    #[must_use]
    pub fn evidence(&self, pid: Pid) -> Evidence {
        let mut evidence = Evidence { pid, ..Evidence::default() };
        if self.is_empty() {
            return evidence;
        }
        evidence.threads = Probe::Got(self.threads.clone());
        evidence.sockets = Probe::Got(self.sockets.clone());
        evidence.locks = Probe::Got(self.locks.clone());
        evidence.children = Probe::Got(self.children.clone());
        if self.missing.is_none() && !self.stacks.is_empty() {
            evidence.goroutines = Probe::Got(goroutines(&self.stacks, self.total, &self.init));
        }
        // The one reason that changes what is said of the program.
        let not_go = Why::Unsupported(Refused::NotGo.to_string());
        if self.missing.as_ref().is_some_and(|why| *why == not_go.to_string()) {
            evidence.goroutines = Probe::Missing(not_go);
        }
        evidence
    }
}

/// Groups as goroutines.
pub(super) fn goroutines(stacks: &[Stack], total: u64, init: &Option<InitProgress>) -> Goroutines {
    let mut all = Goroutines { total, init: init.clone(), ..Goroutines::default() };
    for stack in stacks {
        let frames: Vec<Frame> = stack.frames.iter().map(frame).collect();
        let (state, count) = (stack.state.as_str(), stack.count);
        let wakers = &mut all.wakers;
        let signals = frames.iter().any(|frame| frame.function.starts_with("os/signal."));
        wakers.signals |= signals;
        match state {
            "runnable" => wakers.runnable += count,
            "running" => wakers.running += count,
            "syscall" if !signals => wakers.syscall += count,
            "IO wait" => wakers.io_wait += count,
            "sleep" => wakers.timers += count,
            _ => {}
        }
        wakers.cgo |= frames.iter().any(|frame| frame.function == "runtime.cgocall");
        if stack.ids.contains(&1) {
            all.main = Some(Goroutine {
                id: 1,
                state: stack.state.clone(),
                frames: frames.clone(),
                waits_on: stack.waits_on.clone(),
                ..Goroutine::default()
            });
        }
        all.groups.push(GoroutineGroup {
            state: stack.state.clone(),
            count,
            first_id: stack.ids.first().copied().unwrap_or(0),
            frames,
            created_by: stack.created_by.as_ref().map(frame),
            waits_on: stack.waits_on.clone(),
            ..GoroutineGroup::default()
        });
    }
    all
}

fn frame((function, place): &(String, String)) -> Frame {
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    Frame { function: function.clone(), file: file.to_owned(), line: line.parse().unwrap_or(0) }
}

/// `main.wait /src/main.go:31`: function and place.
pub(super) fn halves(text: &str) -> (String, String) {
    // Type parameters may hold blanks, paths too; the function is what ends before ` /` or the
    // last blank.
    let at = text.find(" /").or_else(|| text.rfind(' '));
    let (function, place) = at.map_or((text, ""), |at| text.split_at(at));
    (function.to_owned(), place.trim_start().to_owned())
}

/// One `go.goroutines` record.
pub(super) fn stack(field: Field<'_>) -> Stack {
    let frames = field.texts("/goroutines/frames");
    let frames = frames.iter().map(|text| halves(text));
    let all: Vec<_> = frames.collect();
    let shown: Vec<_> =
        all.iter().filter(|(name, _)| !super::story::hidden(name.as_bytes())).cloned().collect();
    let created_by = field.some("/goroutines/created_by").map(|text| halves(&text));
    let system = created_by.as_ref().is_some_and(|(by, _)| by.starts_with("runtime."));
    Stack {
        count: field.number("/goroutines/count").unwrap_or(0),
        state: field.text("/goroutines/state"),
        minutes: field.number("/goroutines/wait_minutes_max").unwrap_or(0),
        ids: field.number("/goroutines/first_id").into_iter().collect(),
        frames: if shown.is_empty() { all } else { shown },
        created_by,
        locked: field.number("/goroutines/locked").unwrap_or(0),
        labels: field.some("/goroutines/labels"),
        remarks: field.some("/goroutines/remarks"),
        ancestors: field.texts("/goroutines/ancestors"),
        waits_on: field.some("/goroutines/waits_on"),
        system,
    }
}

fn thread(field: Field<'_>) -> Thread {
    let call = field.some("/thread/syscall/name").map(|name| {
        let socket = field.some("/socket/state").map(|_| socket(field));
        let message = field.text("/message");
        let path = message.split_once(" on ").map_or("", |(_, path)| path);
        let path = path.split_once(", at most ").map_or(path, |(path, _)| path).to_owned();
        let target = match &socket {
            Some(_) => Some(Target { kind: TargetKind::Socket, path: String::new(), socket }),
            None if path.is_empty() => None,
            None => {
                let kind = kind(&path, &field.text("/thread/wchan"));
                Some(Target { kind, path, socket: None })
            }
        };
        Syscall {
            name,
            nr: field.number("/thread/syscall/nr").unwrap_or(0),
            fd: field.number("/thread/syscall/fd"),
            text: field.text("/thread/syscall/text"),
            target,
            ..Syscall::default()
        }
    });
    Thread {
        tid: field.number("/thread/id").unwrap_or(0),
        name: field.text("/thread/name"),
        state: field.text("/thread/state"),
        wchan: field.some("/thread/wchan"),
        cpu_delta_us: field.number("/thread/cpu/delta_ms").unwrap_or(0).saturating_mul(1_000),
        same_call: call.is_some(),
        syscall: Probe::Got(call),
        ..Thread::default()
    }
}

/// The kind of thing that a target's name tells, with the kernel function that waits for it.
fn kind(path: &str, wchan: &str) -> TargetKind {
    if path.starts_with("pipe:") {
        TargetKind::Pipe
    } else if wchan == "wait_for_partner" || wchan.ends_with("pipe_read") {
        TargetKind::Fifo
    } else {
        TargetKind::File
    }
}

fn socket(field: Field<'_>) -> Socket {
    Socket {
        proto: field.text("/socket/proto"),
        local: field.text("/socket/local"),
        remote: field.text("/socket/remote"),
        state: field.text("/socket/state"),
        fd: field.number("/socket/fd"),
        send_queue: field.number("/socket/send_queue_bytes").unwrap_or(0),
        recv_queue: field.number("/socket/recv_queue_bytes").unwrap_or(0),
        retransmits: field.number("/socket/retransmits"),
        ..Socket::default()
    }
}
