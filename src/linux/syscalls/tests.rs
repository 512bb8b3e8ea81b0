//! Decoding against calls whose strace output is known.

use super::*;

/// A program with descriptors 3 and 5 and a few bytes of memory.
struct Program;

impl Lookup for Program {
    fn descriptor(&mut self, fd: u32) -> Option<String> {
        match fd {
            3 => Some("/data/migrate.lock".to_owned()),
            5 => Some("TCP:[10.0.1.12:40112->10.0.3.7:5432]".to_owned()),
            _ => None,
        }
    }

    fn memory(&mut self, at: Addr, len: usize) -> Option<Vec<u8>> {
        let mut bytes = match at.0 {
            0x1000 => b"/run/\xc3\xa4.fifo\0rest".to_vec(),
            0x2000 => vec![2, 0, 0x15, 0x38, 10, 0, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0],
            0x3000 => [12u64.to_ne_bytes(), 500_000_000u64.to_ne_bytes()].concat(),
            0x4000 => [5u32.to_ne_bytes(), [1, 0, 0, 0], 9u32.to_ne_bytes(), [0; 4]].concat(),
            _ => return None,
        };
        bytes.truncate(len);
        Some(bytes)
    }
}

const X86: Option<Arch> = Some(Arch::X86_64);
const ARM: Option<Arch> = Some(Arch::Aarch64);

fn check(arch: Option<Arch>, nr: u64, args: [u64; 6], expected: &str) -> Call {
    let call = decode(arch, nr, args, &mut Program);
    assert_eq!(call.text, expected);
    call
}

#[test]
fn numbers_have_the_names_of_the_kernel_headers() {
    for (arch, nr, expected) in [
        (X86, 0, "read"),
        (X86, 42, "connect"),
        (X86, 73, "flock"),
        (X86, 202, "futex"),
        (X86, 281, "epoll_pwait"),
        (X86, 334, "rseq"),
        (X86, 335, "uretprobe"),
        (X86, 400, "syscall_400"),
        (ARM, 0, "io_setup"),
        (ARM, 22, "epoll_pwait"),
        (ARM, 32, "flock"),
        (ARM, 56, "openat"),
        (ARM, 63, "read"),
        (ARM, 98, "futex"),
        (ARM, 203, "connect"),
        (ARM, 260, "wait4"),
        (ARM, 294, "kexec_file_load"),
        (ARM, 245, "syscall_245"),
        (X86, 424, "pidfd_send_signal"),
        (ARM, 435, "clone3"),
        (X86, 441, "epoll_pwait2"),
        (ARM, 467, "open_tree_attr"),
        (X86, 9999, "syscall_9999"),
        (X86, u64::MAX, "syscall_18446744073709551615"),
        (None, 5, "syscall_5"),
    ] {
        assert_eq!(name(arch, nr), expected);
    }
}

#[test]
fn calls_read_as_strace_shows_them() {
    let max = u64::MAX;
    check(X86, 73, [3, 2, 0, 0, 0, 0], "flock(3</data/migrate.lock>, LOCK_EX)");
    check(
        X86,
        0,
        [5, 0xc000, 512, 0, 0, 0],
        "read(5<TCP:[10.0.1.12:40112->10.0.3.7:5432]>, 0xc000, 512)",
    );
    let call = check(
        X86,
        42,
        [5, 0x2000, 16, 0, 0, 0],
        "connect(5<TCP:[10.0.1.12:40112->10.0.3.7:5432]>, {10.0.3.7:5432}, 16)",
    );
    assert_eq!((call.fd, call.address.as_deref()), (Some(5), Some("10.0.3.7:5432")));
    let call = check(
        X86,
        257,
        [max - 99, 0x1000, 0o200_0000, 0, 0, 0],
        "openat(AT_FDCWD, \"/run/ä.fifo\", O_RDONLY|O_CLOEXEC)",
    );
    assert_eq!((call.fd, call.path.as_deref()), (None, Some("/run/ä.fifo")));
    let call = check(X86, 61, [max, 0, 0, 0, 0, 0], "wait4(-1, NULL, 0, NULL)");
    assert_eq!(call.wait_pid, None);
    let call = check(X86, 247, [1, 31, 0x7ff0, 4, 0, 0], "waitid(P_PID, 31, 0x7ff0, 4)");
    assert_eq!(call.wait_pid, Some(31));
    let call =
        check(X86, 202, [0xc0d8, 128, 0, 0, 0, 0], "futex(0xc0d8, FUTEX_WAIT_PRIVATE, 0, NULL)");
    assert_eq!(call.futex, Some(0xc0d8));
    let call = check(
        ARM,
        115,
        [1, 0, 0x3000, 0, 0, 0],
        "clock_nanosleep(CLOCK_MONOTONIC, 0, {12.500s}, NULL)",
    );
    assert_eq!(call.timeout_ms, Some(12_500));
    let call = check(
        X86,
        281,
        [9, 0x70, 128, u64::from(u32::MAX), 0, 0],
        "epoll_pwait(9, 0x70, 128, -1, NULL)",
    );
    assert_eq!(call.timeout_ms, None);
    let call = check(
        X86,
        7,
        [0x4000, 2, 1500, 0, 0, 0],
        "poll([5<TCP:[10.0.1.12:40112->10.0.3.7:5432]>, 9<>], 2, 1500)",
    );
    assert_eq!((call.watched, call.timeout_ms), (Some(2), Some(1500)));
    check(X86, 72, [3, 7, 0x70, 0, 0, 0], "fcntl(3</data/migrate.lock>, F_SETLKW, 0x70)");
}

#[test]
fn what_cannot_be_looked_up_is_shown_as_a_number() {
    check(
        X86,
        257,
        [u64::MAX - 99, 0xdead, 0o101, 0, 0, 0],
        "openat(AT_FDCWD, 0xdead, O_WRONLY|O_CREAT)",
    );
    check(X86, 42, [7, 0xdead, 16, 0, 0, 0], "connect(7, 0xdead, 16)");
    check(X86, 34, [0; 6], "pause()");
    check(X86, 400, [1; 6], "syscall_400(…)");
}

#[test]
fn any_numbers_are_survived() {
    for nr in 0..500 {
        for args in [[0; 6], [u64::MAX; 6], [0x1000; 6], [0x4000; 6], [1 << 63; 6]] {
            for arch in [X86, ARM, None] {
                let call = decode(arch, nr, args, &mut Program);
                assert!(call.text.ends_with(')') || call.text.ends_with('…'));
                assert!(call.text.len() <= TEXT_LIMIT + 3);
            }
        }
    }
}
