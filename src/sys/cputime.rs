//! The CPU clock of another process, see clock_getcpuclockid(3).

#![expect(unsafe_code, reason = "nix names this clock only for the own process")]

use crate::units::Pid;

/// The kernel's number for the clock that counts the CPU time of all threads of a process
/// (`CPUCLOCK_SCHED`, include/linux/posix-timers.h). glibc computes it in the same way.
fn clock_of(pid: Pid) -> libc::clockid_t {
    const SCHED: libc::clockid_t = 2;
    (!pid.0 << 3) | SCHED
}

/// CPU time of a process so far, all threads, ended ones too, ns. It needs no permission and one
/// system call, where reading the threads would take four for each. `None` = it is gone.
#[must_use]
pub fn of_process(pid: Pid) -> Option<u64> {
    // Beyond PID_MAX_LIMIT (4 Mi) the shift of the clock's number would lose bits and name
    // another process.
    if !(1..=1 << 22).contains(&pid.0) {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live timespec that the call fills; a clock that does not exist is EINVAL.
    let result = unsafe { libc::clock_gettime(clock_of(pid), &raw mut time) };
    if result != 0 {
        return None;
    }
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanoseconds = u64::try_from(time.tv_nsec).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_our_own_time_and_knows_nothing_of_the_dead() {
        let me = Pid(i32::try_from(std::process::id()).unwrap());
        let before = of_process(me).unwrap();
        let mut sum = 0u64;
        while of_process(me).unwrap() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(of_process(me).unwrap() > before);
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(of_process(Pid(pid)), None, "{pid}");
        }
    }
}
