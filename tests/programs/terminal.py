"""A small job-control shell on a pseudo-terminal, for the tests of an init's terminal manners.

    terminal.py PLAN -- COMMAND [ARG...]

Runs COMMAND as the foreground job of a new session on a new terminal and then does what PLAN says,
step by step, each with a deadline of ten seconds:

    text:WORD    wait until WORD was printed          type:HEX     type these bytes
    size:R,C     change the window size               stopped      wait until the job is stopped
    continue     bring the stopped job back           quiet:MS     just wait
    signal:N     send N to the job's leader

Everything that the terminal showed goes to stdout, and last `[end CODE]` (128+n for signal n), or
`[failed STEP]` with exit code 1.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

LIMIT = 10.0


class Shell:
    """The middle process: the session's leader, which the job's parent must be."""

    def __init__(self, command, orders, answers):
        self.command, self.orders, self.answers = command, orders, answers

    def run(self):
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        job = os.fork()
        if job == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpgrp())
            for number in (signal.SIGTTOU, signal.SIGPIPE, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.execvp(self.command[0], self.command)
        self.answer(f"job {job}")
        while True:
            pid, status = os.waitpid(job, os.WUNTRACED)
            if os.WIFSTOPPED(status):
                os.tcsetpgrp(0, os.getpgrp())  # as a shell does when a job stops
                self.answer("stopped")
                os.read(self.orders, 1)
                os.tcsetpgrp(0, job)
                os.killpg(job, signal.SIGCONT)
                continue
            code = os.waitstatus_to_exitcode(status)
            self.answer(f"end {code if code >= 0 else 128 - code}")
            os._exit(0)

    def answer(self, text):
        os.write(self.answers, (text + "\n").encode())


class Driver:
    def __init__(self, command):
        orders, self.orders = os.pipe()
        self.answers, answers = os.pipe()
        self.shell, self.master = pty.fork()
        if self.shell == 0:
            for descriptor in (self.orders, self.answers, ):
                os.close(descriptor)
            Shell(command, orders, answers).run()
        os.close(orders)
        os.close(answers)
        self.shown, self.said = b"", b""

    def look(self, seconds):
        """Takes what comes within that time."""
        ready, _, _ = select.select([self.master, self.answers], [], [], seconds)
        for descriptor in ready:
            try:
                data = os.read(descriptor, 65536)
            except OSError:
                data = b""
            if descriptor == self.master:
                self.shown += data
            else:
                self.said += data
        if ready and not data:
            time.sleep(0.005)

    def until(self, condition):
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                return False
            self.look(0.02)
        return True

    def job(self):
        self.until(lambda: b"job " in self.said and b"\n" in self.said)
        return int(self.said.split()[1])

    def step(self, word, value):
        if word == "text":
            return self.until(lambda: value.encode() in self.shown)
        if word == "type":
            os.write(self.master, bytes.fromhex(value))
        elif word == "size":
            rows, columns = map(int, value.split(","))
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        elif word == "stopped":
            return self.until(lambda: b"stopped" in self.said)
        elif word == "continue":
            self.said = self.said.replace(b"stopped\n", b"")
            os.write(self.orders, b"c")
        elif word == "quiet":
            end = time.monotonic() + int(value) / 1000
            while time.monotonic() < end:
                self.look(0.01)
        elif word == "signal":
            os.kill(self.job(), int(value))
        else:
            sys.exit(f"terminal.py: unknown step {word}")
        return True


def main():
    cut = sys.argv.index("--")
    driver = Driver(sys.argv[cut + 1:])
    failed = None
    for step in sys.argv[1:cut]:
        word, _, value = step.partition(":")
        if not driver.step(word, value):
            failed = step
            break
    if failed is None and not driver.until(lambda: b"end " in driver.said):
        failed = "end"
    driver.look(0.05)
    sys.stdout.buffer.write(driver.shown)
    if failed is not None:
        job = driver.job()
        for descendant in (*children(job), job):
            try:
                os.kill(descendant, signal.SIGKILL)
            except OSError:
                pass
        print(f"[failed {failed}]")
        sys.exit(1)
    print(f"[{driver.said.decode().split(chr(10))[-2]}]")


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


main()
