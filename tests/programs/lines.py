"""Writes numbered lines to stderr as told: `HEAD:COUNT` lines that begin with HEAD, `short:COUNT`
empty ones, `read` waits until the file $GATE is there, `wait` for a signal. Says on stdout when it
is through. SIGUSR1 is told there, too."""

import os
import signal
import sys
import time

signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"USR1\n"))
for step in sys.argv[1:]:
    if step == "wait":
        os.write(1, b"through\n")
        while True:
            signal.pause()
    elif step == "read":
        os.write(1, b"waits\n")
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
        continue
    head, count = step.split(":")
    for number in range(int(count)):
        line = "\n" if head == "short" else f"{head} {number} {'.' * 60}\n"
        while line:
            try:
                line = line[os.write(2, line.encode()):]
            except InterruptedError:
                pass
os.write(1, b"through\n")
