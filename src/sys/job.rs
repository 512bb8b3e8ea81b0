//! Who we are to the kernel and to a shell: PID 1, job control, working directory.

/// Our own process number.
#[must_use]
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The user whose permissions count for what we do.
#[must_use]
pub fn effective_user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Lets whoever waits for our CPU run first, sched_yield(2).
pub fn give_way() {
    let _ = nix::sched::sched_yield();
}

/// Whether somebody can continue us after we stopped ourselves: our parent is in our session, as
/// a shell or what a shell started is. PID 1 cannot be stopped, and what a container runtime
/// starts leads a session of its own, in which nobody would ever continue it.
#[must_use]
pub fn has_job_control() -> bool {
    let parent = nix::unistd::getppid();
    let own = Some(nix::unistd::Pid::from_raw(0));
    own_pid() != 1
        && parent.as_raw() > 0
        && nix::unistd::getsid(Some(parent)).ok() == nix::unistd::getsid(own).ok()
}

/// Names the calling thread, of which 15 bytes count; the main thread's name is the process's (`ps`,
/// /proc/PID/comm), see prctl(2), PR_SET_NAME.
pub fn set_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// Leaves the directory we were started in, so that nothing is kept busy by us.
pub fn go_to_root() {
    let _ = nix::unistd::chdir("/");
}

/// A number that differs from run to run, from the kernel's random source; the clock where it
/// refuses (very early boot).
#[must_use]
pub fn random() -> u32 {
    let mut bytes = [0u8; 4];
    if super::fd::random_bytes(&mut bytes) {
        return u32::from_ne_bytes(bytes);
    }
    let clock = super::clock::now().wall.0 ^ u64::from(own_pid().unsigned_abs()) << 32;
    u32::try_from((clock ^ (clock >> 32)) & u64::from(u32::MAX)).unwrap_or(0)
}
