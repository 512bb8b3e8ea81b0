//! What one thread is doing: `syscall`, `wchan` and `stack` of /proc/PID/task/TID.

/// What the `syscall` file says.
///
/// procfs's parser is not used: it fails on `-1 sp pc`, a thread that is blocked outside of a
/// system call (stopped, or at a page fault), which is one we care about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// It runs or could run.
    Running,
    /// It sleeps, but in no system call.
    Outside,
    /// It sleeps in a system call.
    In {
        /// The call's number.
        nr: u64,
        /// Its six argument registers.
        args: [u64; 6],
    },
}

impl Blocked {
    /// Reads a `syscall` file.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.trim();
        if text == "running" {
            return Some(Self::Running);
        }
        let mut words = text.split_ascii_whitespace();
        let nr: i64 = words.next()?.parse().ok()?;
        let Ok(nr) = u64::try_from(nr) else { return Some(Self::Outside) };
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
        }
        Some(Self::In { nr, args })
    }
}

/// Reads a `wchan` file: the kernel function in which the thread sleeps. `0` means none, or that
/// the kernel does not tell.
#[must_use]
pub fn wchan(text: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(text).ok()?.trim();
    (!name.is_empty() && name != "0").then_some(name)
}

/// The most functions taken from a kernel stack.
pub const KERNEL_STACK_LIMIT: usize = 16;

/// Reads a `stack` file: function names, innermost first, without offsets and addresses.
#[must_use]
pub fn kernel_stack(text: &[u8]) -> Vec<String> {
    let lines = String::from_utf8_lossy(text);
    let function = |line: &str| {
        let (_, place) = line.trim().split_once("] ")?;
        let name = place.split_once("+0x").map_or(place, |(name, _)| name);
        Some(name.to_owned())
    };
    lines.lines().filter_map(function).take(KERNEL_STACK_LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_of_the_syscall_file_are_read() {
        let check = |text: &str, expected| assert_eq!(Blocked::parse(text.as_bytes()), expected);
        check("running\n", Some(Blocked::Running));
        check("-1 0x7ffd9a1b1c58 0x7f3a04f19b8d\n", Some(Blocked::Outside));
        check(
            "73 0x3 0x2 0x0 0xffffffffffffffff 0x1 0x0 0x7ffe0 0x401000\n",
            Some(Blocked::In { nr: 73, args: [3, 2, 0, u64::MAX, 1, 0] }),
        );
    }

    #[test]
    fn garbage_in_the_syscall_file_is_nothing() {
        for text in [&b""[..], b"73", b"73 0x1", b"73 1 2 3 4 5 6", b"\xff", b"x 0x1"] {
            assert_eq!(Blocked::parse(text), None);
        }
    }

    #[test]
    fn kernel_stacks_lose_addresses_and_offsets() {
        let text = b"[<0>] locks_lock_inode_wait+0x5c/0x150\n[<0>] __do_sys_flock+0x123/0x190\n\
            [<ffffffff8100>] entry_SYSCALL_64_after_hwframe+0x76/0x7e\n\n";
        assert_eq!(
            kernel_stack(text),
            ["locks_lock_inode_wait", "__do_sys_flock", "entry_SYSCALL_64_after_hwframe"]
        );
        assert_eq!(kernel_stack(b"").len(), 0);
    }

    #[test]
    fn a_wait_channel_of_zero_is_none() {
        assert_eq!(wchan(b"0"), None);
        assert_eq!(wchan(b""), None);
        assert_eq!(wchan(b"do_wait"), Some("do_wait"));
    }
}
