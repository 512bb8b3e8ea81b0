"""Brings a process into an awkward state and then becomes the command.

    launch.py [OPTION...] -- COMMAND [ARG...]

The tests cannot do this with std::process::Command without unsafe code, and a shell cannot do all
of it. Nothing of Python survives the exec, and nothing of whoever ran the tests: dispositions and mask
are what the options say, descriptors from 3 on are closed.
"""

import ctypes
import os
import resource
import signal
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG = 38, 36, 1
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_SECCOMP, PR_CAP_AMBIENT = 8, 24, 22, 47

RT_SIGACTION = {"x86_64": 13, "aarch64": 134}


def set_hidden(number, disposition):
    """What signal() cannot do for 32 and 33, which glibc keeps for itself."""
    call = RT_SIGACTION.get(os.uname().machine)
    if call is not None:
        action = disposition.to_bytes(8, sys.byteorder) + bytes(24)
        ctypes.CDLL(None).syscall(call, number, action, None, 8)


EPERM, ERRNO, KILL_PROCESS = 1, 0x00050000, 0x80000000


def deny(numbers, answer):
    """System calls that are answered so from now on (seccomp(2), BPF over the call's number)."""
    LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
    code = [(LOAD, 0, 0, 0)]
    for at, number in enumerate(numbers):
        code.append((EQUAL, len(numbers) - at, 0, number))
    code += [(RETURN, 0, 0, 0x7FFF0000), (RETURN, 0, 0, answer)]
    program = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(program)
    libc = ctypes.CDLL(None, use_errno=True)
    filter = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer)))
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.prctl(PR_SET_SECCOMP, 2, filter, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def keep_capability(number):
    """One capability that survives the change of user and the exec (capabilities(7), ambient)."""
    libc = ctypes.CDLL(None)
    header = struct.pack("Ii", 0x20080522, 0)
    bits = [(1 << number) & 0xFFFFFFFF, (1 << number) >> 32]
    data = struct.pack("6I", bits[0], bits[0], bits[0], bits[1], bits[1], bits[1])
    libc.capset(header, data)
    libc.prctl(PR_CAP_AMBIENT, 2, number, 0, 0)


def main():
    cut = sys.argv.index("--")
    options, command = sys.argv[1:cut], sys.argv[cut + 1:]
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # KILL, STOP and the two glibc keeps for itself
    os.closerange(3, 4096)  # whatever the test runner was started with
    set_hidden(32, signal.SIG_DFL)
    set_hidden(33, signal.SIG_DFL)
    os.closerange(3, 1024)
    close, uid, gid = [], None, None
    denied, answer, kept = [], 0, None
    for option in options:
        name, _, value = option.partition("=")
        if name == "--ignore":
            for number in map(int, value.split(",")):
                if number in (32, 33):
                    set_hidden(number, signal.SIG_IGN)
                else:
                    signal.signal(number, signal.SIG_IGN)
        elif name == "--block-all":
            signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
        elif name == "--close":
            close = [int(number) for number in value.split(",")]
        elif name == "--open":  # FD:PATH, inherited by the command
            number, path = value.split(":", 1)
            opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.dup2(opened, int(number), inheritable=True)
        elif name == "--unread":  # a pipe whose reader has gone
            reader, writer = os.pipe()
            os.dup2(writer, int(value), inheritable=True)
            os.close(reader)
            os.close(writer)
        elif name == "--nofile":
            resource.setrlimit(resource.RLIMIT_NOFILE, (int(value), int(value)))
        elif name == "--cgroup":
            with open(os.path.join(value, "cgroup.procs"), "w", encoding="ascii") as procs:
                procs.write(str(os.getpid()))
        elif name == "--uid":
            uid = gid = int(value)
        elif name == "--no-new-privs":
            ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        elif name in ("--deny", "--deadly"):  # numbers of system calls
            denied = [int(number) for number in value.split(",")]
            answer = KILL_PROCESS if name == "--deadly" else ERRNO | EPERM
        elif name == "--keep-capability":
            kept = int(value)
            ctypes.CDLL(None).prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        elif name == "--drop-capability":  # gone with the exec, for root too
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, int(value), 0, 0, 0)
        elif name == "--subreaper":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        elif name == "--own-group":
            os.setpgid(0, 0)
        elif name == "--session":
            os.setsid()
        elif name == "--chdir":
            os.chdir(value)
        elif name == "--chroot":
            os.chroot(value)
            os.chdir("/")
        elif name == "--env-pid":  # NAME: this pid, which the command keeps
            os.environ[value] = str(os.getpid())
        else:
            sys.exit(f"launch.py: unknown option {option}")
    if gid is not None:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if kept is not None:
        keep_capability(kept)
    if denied:
        deny(denied, answer)
    for number in close:
        try:
            os.close(number)
        except OSError:
            pass
    os.execvp(command[0], command)


main()
