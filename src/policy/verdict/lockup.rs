//! A runtime that has locked itself up: nothing in the process will ever move again.

use super::machine::{BUSY_PERMILLE, goroutines};
use super::threads::call;
use super::words::lasting;
use super::{Case, Class, Confidence, Finding};
use crate::policy::evidence::{Probe, Syscall, Thread};
use crate::policy::history::Kind;
use std::time::Duration;

/// So long after the last heartbeat it may have stopped, where nobody has called it silence yet.
const LOST: Duration = Duration::from_secs(2);

/// The heartbeat has stopped, and so has the thread that prints it: sysmon naps for milliseconds
/// as long as the runtime lives, and here every thread waits for ever, or spins for a lock and does
/// not nap either. Timers are armed in vain then, and nobody is left who looks at the poller. A
/// silence for another reason (stderr that was closed or given to somebody else, a CPU quota) leaves
/// sysmon its naps, and the sleep that sysmon takes in a runtime without heartbeat has a limit.
pub(super) fn locked_up(case: &Case<'_>) -> Option<Finding> {
    let history = case.history;
    let last = history.last_beat?;
    if case.kind != Kind::Silent && history.now.since(last) < LOST {
        return None;
    }
    // Whose goroutines can be read is the Go program still, and nothing that it has executed.
    goroutines(case)?;
    let threads = case.evidence.threads.got()?;
    let count = u64::try_from(threads.len()).ok()?;
    let all = case.evidence.process.got().is_some_and(|process| process.threads == count);
    let blocked = |thread: &Thread| call(thread).is_some_and(for_ever);
    let spins = |thread: &Thread| {
        let busy = thread.cpu_delta_us.saturating_mul(1_000);
        let least = case.evidence.sample_ms.saturating_mul(1_000).saturating_mul(BUSY_PERMILLE);
        thread.syscall == Probe::Got(None) && busy > least
    };
    if !all || !threads.iter().all(|t| dead(t) || spins(t)) || !threads.iter().any(blocked) {
        return None;
    }
    let how = match threads.iter().filter(|thread| spins(thread)).count() {
        0 => "every thread waits in a futex that nobody can wake".to_owned(),
        count => format!("{count} of {} threads spin, the others wait in a futex", threads.len()),
    };
    let crash = history.crash.as_ref().map_or_else(String::new, |crash| {
        let word = if crash.kind == "panic" { "panic" } else { "fatal error" };
        format!(" after it printed “{word}: {}”", crash.message)
    });
    let sentence = format!(
        "the Go runtime has locked itself up{crash}: no heartbeat{}, and {how}",
        lasting(history.now.since(last))
    );
    let finding = Finding::new(Class::Stalled, "locked-up", Confidence::Likely, sentence);
    let next = "only SIGKILL ends it; a crash or SIGQUIT can do this while a snapshot is printed: a \
                longer --schedtrace makes it rarer";
    Some(finding.next(next))
}

/// It was in the same call at both looks, in one that nothing ends but a wake-up, and has not run
/// between them. The poller may wait for the next timer: who returns from it needs the lock.
fn dead(thread: &Thread) -> bool {
    let parked = call(thread).is_some_and(|call| match call.name.as_str() {
        "futex" => for_ever(call),
        name => name.starts_with("epoll_"),
    });
    parked && thread.same_call && thread.switches_delta == 0 && thread.cpu_delta_us == 0
}

/// A futex without a time limit, the last argument.
fn for_ever(call: &Syscall) -> bool {
    call.name == "futex" && call.text.ends_with(", NULL)")
}
