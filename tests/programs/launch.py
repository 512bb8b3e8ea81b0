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
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG = 38, 36, 1

RT_SIGACTION = {"x86_64": 13, "aarch64": 134}


def reset_hidden():
    """Default dispositions for 32 and 33, which glibc keeps for itself."""
    call = RT_SIGACTION.get(os.uname().machine)
    for number in (32, 33):
        if call is not None:
            ctypes.CDLL(None).syscall(call, number, bytes(32), None, 8)


def main():
    cut = sys.argv.index("--")
    options, command = sys.argv[1:cut], sys.argv[cut + 1:]
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # KILL, STOP and the two glibc keeps for itself
    os.closerange(3, 4096)  # whatever the test runner was started with
    reset_hidden()
    os.closerange(3, 1024)
    close, uid, gid = [], None, None
    for option in options:
        name, _, value = option.partition("=")
        if name == "--ignore":
            for number in value.split(","):
                signal.signal(int(number), signal.SIG_IGN)
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
    for number in close:
        try:
            os.close(number)
        except OSError:
            pass
    os.execvp(command[0], command)


main()
