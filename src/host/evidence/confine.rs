//! What the evidence process gives up before it looks at anything: it reads what a foreign
//! program wrote, beside an init that must not suffer from it.

use super::proc::{Program, SMALL};
use crate::linux::stat;
use crate::sys::limits::{self, Limit};
use crate::sys::{fd, signals};
use crate::units::Signal;
use std::time::Duration;

/// Address space: a large executable is mapped, not read.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Private memory: 100,000 goroutines took 25 MB.
const DATA: u64 = 128 << 20;
/// Private memory that is always left: less, and not even the answer could be built.
const DATA_LEAST: u64 = 16 << 20;
/// Open descriptors: files are read one by one.
const DESCRIPTORS: u64 = 64;

/// Gives up all that is not needed. Descriptors that are wanted have been adopted before (they
/// are close-on-exec by then).
pub(super) fn confine(program: &Program, deadline: Duration) {
    // Each step is a precaution of its own; that one is refused is no reason to see nothing.
    fd::close_inherited();
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    let _ = limits::lower(Limit::Core, 0);
    let _ = limits::lower(Limit::Descriptors, DESCRIPTORS);
    let _ = limits::lower(Limit::AddressSpace, ADDRESS_SPACE);
    let _ = limits::lower(Limit::Data, DATA);
    let _ = limits::lower(Limit::CpuSeconds, deadline.as_secs().saturating_add(2));
    if let Some((user, group, groups)) = identity(program)
        && (user, group) != (limits::user(), limits::group())
    {
        let _ = limits::become_user(user, group, &groups);
    }
    // Last: a change of user clears it.
    let _ = signals::on_parent_death(Signal::KILL);
}

/// Lowers the memory further when the group is near its limit: with cgroup v2 under Kubernetes
/// an OOM kill takes the whole group, the program and goinit with it.
pub(super) fn fit_into(headroom: Option<u64>) {
    if let Some(bytes) = headroom {
        let _ = limits::lower(Limit::Data, (bytes / 2).clamp(DATA_LEAST, DATA));
    }
}

/// The program's user and groups, as its `status` file tells: effective user, effective group,
/// supplementary groups.
fn identity(program: &Program) -> Option<(u32, u32, Vec<u32>)> {
    let status = program.read("status", SMALL).ok()?;
    let [_, user, ..] = stat::ids(&status, "Uid")?;
    let [_, group, ..] = stat::ids(&status, "Gid")?;
    Some((user, group, stat::groups(&status)))
}
