"""The child of an init in the black-box tests. One mode per thing to be seen.

child.py count N        take N signals of any kind, one line each: NUMBER SENDER
child.py die N          die of signal N
child.py orphans N      leave N orphans that end at once, say ready, wait for SIGTERM
child.py adopted        leave one orphan, which says who adopted it
child.py group          say which of child and grandchild got SIGTERM, then end
child.py foreground     say whether this process group is the terminal's foreground one
child.py notice N       say each signal N (a handler), until SIGTERM
child.py resume         end with 7 when this process and its child were continued
child.py tick           a line every 20 ms, until SIGTERM
"""

import os
import resource
import signal
import sys
import time


def say(text):
    os.write(1, (text + "\n").encode())


def everything():
    return {number for number in signal.valid_signals()} - {signal.SIGKILL, signal.SIGSTOP}


def count(number):
    signal.pthread_sigmask(signal.SIG_BLOCK, everything())
    say("ready")
    for _ in range(int(number)):
        got = signal.sigwaitinfo(everything())
        say(f"{got.si_signo} {got.si_pid}")


def die(number):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = int(number)
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    time.sleep(5)


def orphans(number):
    pid = os.fork()
    if pid == 0:
        for _ in range(int(number)):
            if os.fork() == 0:
                os._exit(0)
        os._exit(0)
    os.waitpid(pid, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    say("ready")
    signal.sigwaitinfo([signal.SIGTERM])


def adopted():
    middle = os.fork()
    if middle == 0:
        first = os.getpid()
        if os.fork() == 0:
            end = time.monotonic() + 5
            while os.getppid() == first and time.monotonic() < end:
                time.sleep(0.005)
            say(f"adopted by {os.getppid()}")
        os._exit(0)
    os.waitpid(middle, 0)
    time.sleep(0.5)


def group():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    if os.fork() == 0:
        say("grandchild got it" if signal.sigtimedwait([signal.SIGTERM], 1.5) else "grandchild did not")
        os._exit(0)
    time.sleep(0.1)
    say("ready")
    signal.sigwaitinfo([signal.SIGTERM])
    say("child got it")
    os.wait()


def foreground():
    say("foreground" if os.tcgetpgrp(0) == os.getpgrp() else "background")


def notice(number):
    signal.signal(int(number), lambda got, frame: say(f"noticed {got}"))
    say("ready")
    while True:
        signal.pause()


def resume():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])
    grandchild = os.fork()
    say("child ready" if grandchild else "grandchild ready")
    signal.sigwaitinfo([signal.SIGCONT])
    if not grandchild:
        os._exit(0)
    os.waitpid(grandchild, 0)
    os._exit(7)


def tick():
    say("ready")
    number = 0
    while True:
        number += 1
        say(f"tick {number}")
        time.sleep(0.02)


def soak(rounds, orphaned, signals, volume):
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN, signal.SIGUSR1])
    packet = (b"x" * 999 + b"\n") * 4
    for number in range(1, int(rounds) + 1):
        middle = os.fork()
        if middle == 0:
            for _ in range(int(orphaned)):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
        os.waitpid(middle, 0)
        say(f"signals {number}")
        for _ in range(int(signals)):
            signal.sigwaitinfo([signal.SIGRTMIN])
        for _ in range(int(volume) // len(packet)):
            os.write(2, packet)
        say(f"round {number}")
        signal.sigwaitinfo([signal.SIGUSR1])


globals()[sys.argv[1]](*sys.argv[2:])
