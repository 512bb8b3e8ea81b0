//! Evidence as records: one subject a record, what matters first, the rest counted.

use super::evidence::{
    Cgroup, Child, Evidence, Frame, GoroutineGroup, Goroutines, InitProgress, Lock, LockKind,
    Socket, Syscall, Thread,
};
use super::record::{Origin, Record, Severity};
use super::verdict::place::{place, short};

/// The most records made of one collection.
pub const LIMIT: usize = 50;

/// Goroutine groups among them; `goinit dump` shows all.
const GROUPS: usize = 20;
/// Frames of each.
const FRAMES: usize = 16;

/// The records of one collection, which is named `id` (`stall-1`).
#[must_use]
pub fn records(evidence: &Evidence, id: &str) -> Vec<Record> {
    let mut all = Vec::new();
    if let Some(progress) = evidence.goroutines.got().and_then(|g| g.init.as_ref()) {
        all.extend(init(progress));
    }
    all.extend(evidence.locks.got().into_iter().flatten().map(lock));
    let listed = evidence.threads.got().map_or(&[][..], Vec::as_slice);
    let (shown, idle): (Vec<&Thread>, Vec<&Thread>) =
        listed.iter().partition(|thread| is_interesting(thread));
    all.extend(shown.into_iter().map(thread));
    all.extend(evidence.children.got().into_iter().flatten().map(child));
    let busy = evidence.sockets.got().into_iter().flatten();
    all.extend(busy.filter(|socket| is_telling(socket)).map(socket));
    if let Some(group) = evidence.cgroup.got() {
        all.extend(throttle(group));
        all.extend(memory(group));
    }
    if let Some(found) = evidence.goroutines.got() {
        all.extend(found.groups.iter().take(GROUPS).map(|group| goroutines(group, found.total)));
    }
    let room = LIMIT.saturating_sub(1);
    let cut = all.len().saturating_sub(room);
    all.truncate(room);
    all.push(rest(evidence, idle.len(), cut));
    let count = all.len();
    let numbered = all.into_iter().enumerate();
    numbered.map(|(at, record)| record.part(id.to_owned(), at + 1, count)).collect()
}

fn warn(name: &'static str, sentence: impl Into<String>) -> Record {
    Record::new(Severity::Warn, name, Origin::Goinit, sentence)
}

/// Parked threads of the runtime say nothing: those waiting for work in futex(2), sysmon in
/// nanosleep(2), the one in the network poller.
fn is_interesting(thread: &Thread) -> bool {
    /// CPU between two looks from which a thread does something, µs.
    const BUSY_US: u64 = 2_000;
    match thread.syscall.got() {
        Some(Some(call)) => match call.name.as_str() {
            "futex" => false,
            "nanosleep" => call.timeout_ms.is_some_and(|ms| ms > super::verdict::SYSMON_MS),
            name => !name.starts_with("epoll_"),
        },
        // Running or stopped, or what it does is not known. A thread that was met for a moment
        // between two sleeps says nothing.
        Some(None) | None if thread.state == "R" => thread.cpu_delta_us >= BUSY_US,
        Some(None) | None => thread.state != "S",
    }
}

/// Sockets that tell something: nobody answers, or data lies about.
fn is_telling(socket: &Socket) -> bool {
    match socket.state.as_str() {
        "SYN_SENT" | "CLOSE_WAIT" => true,
        "LISTEN" => socket.recv_queue > 0,
        _ => socket.send_queue > 0 || socket.recv_queue > 0 || socket.state == "ESTABLISHED",
    }
}

fn thread(thread: &Thread) -> Record {
    let call = thread.syscall.got().and_then(Option::as_ref);
    let doing = match (thread.state.as_str(), call) {
        ("T" | "t", _) => "is stopped by a signal".to_owned(),
        (_, Some(call)) => blocked(call),
        ("R", None) => format!("runs ({} ms of CPU)", thread.cpu_delta_us / 1000),
        (state, None) => match &thread.wchan {
            Some(wchan) => format!("waits in the kernel, {wchan} (state {state})"),
            None => format!("is in state {state}"),
        },
    };
    let record = warn("goinit.thread", format!("thread {} {doing}", thread.tid))
        .put("thread.id", thread.tid)
        .put("thread.name", thread.name.clone())
        .put("thread.state", thread.state.clone())
        .put_some("thread.wchan", thread.wchan.clone())
        .put_some("thread.syscall.name", call.map(|call| call.name.clone()))
        .put_some("thread.syscall.nr", call.map(|call| call.nr))
        .put_some("thread.syscall.fd", call.and_then(|call| call.fd))
        .put_some("thread.syscall.text", call.map(|call| call.text.clone()))
        .put("thread.cpu.delta_ms", thread.cpu_delta_us / 1000)
        .put("thread.stack", thread.kernel_stack.clone());
    match call.and_then(|call| call.target.as_ref()?.socket.as_ref()) {
        Some(socket) => with_socket(record, socket),
        None => record,
    }
}

/// `blocked in connect(2) to 10.0.3.7:5432 (SYN_SENT)`
fn blocked(call: &Syscall) -> String {
    let mut text = format!("blocked in {}(2)", call.name);
    match &call.target {
        Some(target) => match &target.socket {
            Some(socket) => {
                let verb = if call.name == "connect" { "to" } else { "on" };
                let end = if socket.remote.is_empty() { &socket.local } else { &socket.remote };
                text.push_str(&format!(" {verb} {end} ({})", socket.state));
            }
            None => text.push_str(&format!(" on {}", target.path)),
        },
        None => {
            if let Some(pid) = call.wait_pid {
                text.push_str(&format!(" for process {pid}"));
            } else if call.name.starts_with("wait") {
                text.push_str(" for any child process");
            }
        }
    }
    if let Some(ms) = call.timeout_ms {
        text.push_str(&format!(", at most {ms} ms"));
    }
    text
}

fn with_socket(record: Record, socket: &Socket) -> Record {
    record
        .put("socket.proto", socket.proto.clone())
        .put("socket.local", socket.local.clone())
        .put("socket.remote", socket.remote.clone())
        .put("socket.state", socket.state.clone())
        .put_some("socket.fd", socket.fd)
        .put("socket.send_queue_bytes", socket.send_queue)
        .put("socket.recv_queue_bytes", socket.recv_queue)
        .put_some("socket.retransmits", socket.retransmits)
}

fn socket(socket: &Socket) -> Record {
    let fd = socket.fd.map_or(String::new(), |fd| format!(" (fd {fd})"));
    let proto = &socket.proto;
    let sentence = match socket.state.as_str() {
        "SYN_SENT" => format!(
            "{proto} connection to {}{fd} is not answered, {}",
            socket.remote,
            match socket.retransmits.unwrap_or(0) {
                1 => "1 retransmission".to_owned(),
                count => format!("{count} retransmissions"),
            }
        ),
        "LISTEN" => format!(
            "{} connections wait to be accepted on {proto} {}{fd}",
            socket.recv_queue, socket.local
        ),
        state => format!(
            "{proto} connection to {}{fd} is {state}: {} bytes unread, {} unacknowledged",
            socket.remote, socket.recv_queue, socket.send_queue
        ),
    };
    with_socket(warn("goinit.socket", sentence), socket)
}

/// `process 9 waits for flock /data/x.lock, held by process 31 (flyway)`
fn lock(lock: &Lock) -> Record {
    let what = lock.path.clone().unwrap_or_else(|| format!("inode {}", lock.inode));
    let held = match (lock.holder, &lock.holder_name) {
        (Some(holder), _) if holder == lock.waiter => {
            "held by itself through another descriptor".to_owned()
        }
        (Some(holder), Some(name)) => format!("held by process {holder} ({name})"),
        (Some(holder), None) => format!("held by process {holder}, which has ended or is hidden"),
        (None, _) => "its holder is not visible from here".to_owned(),
    };
    let kind = match lock.kind {
        LockKind::Other => "a lock on",
        LockKind::Flock | LockKind::Posix | LockKind::Ofd | LockKind::Lease => lock.kind.word(),
    };
    warn("goinit.lock", format!("process {} waits for {kind} {what}, {held}", lock.waiter))
        .put("lock.kind", lock.kind.word())
        .put("lock.exclusive", lock.exclusive)
        .put("lock.waiter_pid", i64::from(lock.waiter.0))
        .put_some("lock.holder_pid", lock.holder.map(|pid| i64::from(pid.0)))
        .put_some("lock.holder_name", lock.holder_name.clone())
        .put_some("lock.path", lock.path.clone())
        .put("lock.inode", lock.inode)
}

/// A child process, as the thread that it mainly is.
fn child(child: &Child) -> Record {
    warn("goinit.thread", format!("child process {} ({}) {}", child.pid, child.name, child.doing))
        .put("thread.id", i64::from(child.pid.0))
        .put("thread.name", child.name.clone())
        .put("thread.state", child.state.clone())
        .put_some("thread.wchan", child.wchan.clone())
        .put_some("thread.syscall.text", child.syscall.as_ref().map(|call| call.text.clone()))
        .put("thread.cpu.delta_ms", child.cpu_delta_us / 1000)
        .put("process.parent_pid", i64::from(child.parent.0))
        .put_some("process.command_line", child.command.clone())
}

/// Package init that is not done.
fn init(progress: &InitProgress) -> Option<Record> {
    let function = progress.function.as_ref().or(progress.running.as_ref())?;
    let done = match progress.total {
        0 => String::new(),
        total => format!(", {} of {total} packages done", progress.done),
    };
    let record = warn("goinit.init", format!("package init is in {function}{done}"))
        .put("init.done", progress.done)
        .put("init.total", progress.total)
        .put_some("init.package", progress.running.clone())
        .put_some("init.function", progress.function.clone())
        .put("init.pending", progress.pending.clone());
    Some(record)
}

/// One group of goroutines, as the program's memory shows it.
fn goroutines(group: &GoroutineGroup, total: u64) -> Record {
    let text = |frame: &Frame| format!("{} {}:{}", frame.function, frame.file, frame.line);
    // Where in the program: what the runtime does to wait is in the state.
    let place = place(&group.frames).map(|place| short(&place)).unwrap_or_default();
    let state = &group.state;
    let on = group.waits_on.as_ref().map_or_else(String::new, |on| format!(", waits for {on}"));
    let message = format!("goroutines: {} x [{state}] {place}{on}", group.count);
    warn("go.goroutines", message)
        .put("goroutines.count", group.count)
        .put("goroutines.total", total)
        .put("goroutines.state", state.clone())
        .put_some("goroutines.wait_minutes_max", group.wait_ms.map(|ms| ms / 60_000))
        .put("goroutines.first_id", group.first_id)
        .put("goroutines.frames", group.frames.iter().take(FRAMES).map(text).collect::<Vec<_>>())
        .put_some("goroutines.created_by", group.created_by.as_ref().map(text))
        .put_some("goroutines.waits_on", group.waits_on.clone())
}

/// Goroutines in lines for the termination message: `118 goroutines [chan receive] main.(*pool).get
/// < main.worker`.
#[must_use]
pub fn lines(all: &Goroutines) -> Vec<String> {
    let line = |group: &GoroutineGroup| {
        let who = match group.count {
            1 => format!("goroutine {}", group.first_id),
            count => format!("{count} goroutines"),
        };
        let functions: Vec<&str> =
            group.frames.iter().take(3).map(|frame| frame.function.as_str()).collect();
        format!("{who} [{}] {}", group.state, functions.join(" < "))
    };
    all.groups.iter().take(3).map(line).collect()
}

fn throttle(group: &Cgroup) -> Option<Record> {
    let delta = &group.cpu_delta;
    if delta.nr_throttled == 0 {
        return None;
    }
    let sentence = format!(
        "cpu throttled in {} of {} periods while evidence was collected",
        delta.nr_throttled, delta.nr_periods
    );
    let record = warn("goinit.throttle", sentence)
        .put("cgroup.cpu.nr_periods", delta.nr_periods)
        .put("cgroup.cpu.nr_throttled", delta.nr_throttled)
        .put("cgroup.cpu.throttled_usec", delta.throttled_usec)
        .put("cgroup.cpu.usage_usec", delta.usage_usec)
        .put_some("cgroup.cpu.quota_us", group.quota_us)
        .put_some("cgroup.cpu.period_us", group.period_us);
    Some(record)
}

/// Memory at 90 % of its limit, or events that moved.
fn memory(group: &Cgroup) -> Option<Record> {
    let (max, used) = (group.memory_max?, group.memory_current?);
    let events = &group.memory_events_delta;
    let near = used >= max.saturating_sub(max / 10);
    if !near && events.max == 0 && events.high == 0 && events.oom_kill == 0 {
        return None;
    }
    let percent = used.saturating_mul(100).checked_div(max).unwrap_or(0);
    let record = warn("goinit.memory", format!("memory is at {percent} % of the limit"))
        .put("cgroup.memory.current", used)
        .put("cgroup.memory.max", max)
        .put("cgroup.memory.events.high", events.high)
        .put("cgroup.memory.events.max", events.max)
        .put("cgroup.memory.events.oom_kill", events.oom_kill);
    Some(record)
}

/// What the other records leave out, and which sources did not answer.
fn rest(evidence: &Evidence, idle: usize, cut: usize) -> Record {
    let left = &evidence.left_out;
    let missing: Vec<String> = [
        ("cgroup", evidence.cgroup.missing()),
        ("process", evidence.process.missing()),
        ("threads", evidence.threads.missing()),
        ("sockets", evidence.sockets.missing()),
        ("locks", evidence.locks.missing()),
        ("children", evidence.children.missing()),
        ("goroutines", evidence.goroutines.missing()),
    ]
    .into_iter()
    .filter_map(|(source, why)| Some(format!("{source}: {}", why?)))
    .collect();
    let all = evidence.threads.got().map_or(0, Vec::len);
    let more = if all > idle { "more " } else { "" };
    let parked = match idle {
        0 => format!("no {more}threads are parked"),
        1 => format!("1 {more}thread is parked"),
        _ => format!("{idle} {more}threads are parked"),
    };
    let sentence = match missing.first() {
        None => parked,
        Some(first) if idle == 0 => format!("no {first}"),
        Some(first) => format!("{parked}; no {first}"),
    };
    Record::new(Severity::Info, "goinit.thread", Origin::Goinit, sentence)
        .put("thread.idle", idle)
        .put("thread.left_out", left.threads)
        .put("socket.left_out", left.sockets)
        .put("counters.records_left_out", cut)
        .put("goinit.evidence.took_ms", evidence.took_ms)
        .put("goinit.evidence.missing", missing)
}

#[cfg(test)]
mod tests;
