#!/usr/bin/env python3
"""Measures inits side by side: size, start-up, memory, wake-ups, orphans, signals, stderr; and what
the watchdog costs beside an idle Go program.

    benches/inits.py [--quick] [--bin PATH] [--orphans N] [--only PART]

Each round measures every init once, so that noise of the machine meets all of them. A cell is the
median and, in brackets, smallest and largest; below a table each target is met or missed. Every
init is PID 1 of a PID namespace of its own; that needs root. CPU time is what the kernel's
scheduler counted (schedstat, rusage).
"""

import argparse
import contextlib
import ctypes
import os
import platform
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
CLONE_NEWPID = 0x20000000
MODES = {"exit": 1, "sleep": 2, "orphans": 3, "echo": 4, "lines": 5, "json": 6, "blocks": 7,
         "clock": 8, "json-blocks": 9, "flood": 10, "flood-lines": 11, "read": 12}
BLOCK = 120 * 540
# Becomes the command in a process whose pipe2(2) refuses O_DIRECT, as gVisor's does: goinit then
# reads a plain byte stream.
NO_PACKETS = """
import ctypes, os, platform, struct, sys
number = {"x86_64": 293, "aarch64": 59}[platform.machine()]
program = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 24), (0x45, 0, 1, os.O_DIRECT),
           (0x06, 0, 0, 0x00050016), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *op) for op in program))
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
prctl = ctypes.CDLL(None).prctl
prctl(38, 1, 0, 0, 0)
if prctl(22, 2, ctypes.byref(Filter(len(program), ctypes.addressof(code))), 0, 0):
    sys.exit("no seccomp filter")
os.execv(sys.argv[1], sys.argv[1:])
"""
LIBC = ctypes.CDLL(None, use_errno=True)


def build(place, options):
    """The children, one file per mode."""
    children = {}
    for mode, number in MODES.items():
        target = Path(place) / mode
        count = {"orphans": options.orphans, "lines": options.megabytes, "json": options.megabytes,
                 "blocks": options.megabytes * 4, "json-blocks": options.megabytes * 4}.get(mode, 1)
        if mode != "orphans":
            count = max(1, count * 1_000_000 // BLOCK)
        subprocess.run(["gcc", "-O2", "-nostdlib", "-static", "-ffreestanding", "-fno-stack-protector",
                        "-fno-tree-loop-distribute-patterns", "-Wno-unused-function",
                        f"-DMODE={number}", f"-DCOUNT={count}", "-o", str(target),
                        str(PROJECT / "benches/child.c")], check=True)
        children[mode] = (str(target), count)
    return children


def inits(options, place):
    """{name: command in front of the child}; the empty one is the bare child. Each is copied
    first, as an image's layer is unpacked: how a file was written decides how the page cache holds
    it, and that is an eighth of a start."""
    wanted = {
        "bare": [], "goinit": [options.bin, "--"], "tini-static": ["tini-static", "--"],
        "catatonit": ["catatonit", "--"], "dumb-init": ["dumb-init", "--"],
    }
    found = {}
    for name, command in wanted.items():
        path = shutil.which(command[0]) if command else ""
        if path is None:
            print(f"{name} is not installed: left out", file=sys.stderr)
        elif command:
            found[name] = [shutil.copy(path, Path(place) / f"init-{name}"), *command[1:]]
        else:
            found[name] = []
    return found


def namespace(new):
    """The next child will be PID 1 of a new PID namespace, or an ordinary one again."""
    with open("/proc/self/ns/pid", "rb") as own:
        failed = LIBC.unshare(CLONE_NEWPID) if new else LIBC.setns(own.fileno(), CLONE_NEWPID)
    if failed:
        raise OSError(ctypes.get_errno(), "no PID namespace (this needs root)")


def spawn(command, stdin="/dev/null", out="/dev/null", err="/dev/null"):
    """Starts a command as PID 1; gives its pid here. A stream is a path or a descriptor."""
    actions = []
    for number, stream in enumerate((stdin, out, err)):
        if isinstance(stream, str):
            actions.append((os.POSIX_SPAWN_OPEN, number, stream, os.O_RDWR, 0))
        else:
            actions.append((os.POSIX_SPAWN_DUP2, stream, number))
    environment = {"PATH": os.environ["PATH"], "GOINIT_TERMINATION_LOG": "none"}
    namespace(new=True)
    try:
        return os.posix_spawn(command[0], command, environment, file_actions=actions)
    finally:
        namespace(new=False)


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.wait4(pid, 0)


def children_of(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            found += map(int, (task / "children").read_text().split())
        except OSError:
            pass
    return found


def cpu_us(pid):
    """CPU time of all threads that still live, us."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total / 1000


def asleep(pid, child):
    """The process that runs `child`, once it sleeps: pid itself or its child."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for candidate in [pid, *children_of(pid)]:
            try:
                if os.readlink(f"/proc/{candidate}/exe") == child:
                    stat = Path(f"/proc/{candidate}/stat").read_text()
                    if stat.rsplit(")", 1)[1].split()[0] == "S":
                        return candidate
            except OSError:
                pass
        time.sleep(0.001)
    raise RuntimeError(f"{child} does not sleep")


def status(pid, name, task="."):
    for line in Path(f"/proc/{pid}/{task}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def switches(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*")
    return sum(status(pid, "voluntary_ctxt_switches", f"task/{task.name}") for task in tasks)


@contextlib.contextmanager
def one_cpu():
    """On one CPU, and nobody interrupts whom he wakes: what an init does after its child's exec
    does not get into what it takes until then, and where two processes share a pipe it is not
    chance which of them waits for the other how often."""
    cpus, policy = os.sched_getaffinity(0), os.sched_getscheduler(0)
    os.sched_setaffinity(0, {max(cpus)})
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.sched_setaffinity(0, cpus)


def until_exec(front, child):
    """CPU of init and child until the child's first instruction, us."""
    read, write = os.pipe()
    with one_cpu():
        pid = spawn([*front, child], out=write)
        os.close(write)
        own, parent = struct.unpack("qq", os.read(read, 16))
    os.close(read)
    end(pid)
    return (own + (parent if front else 0)) / 1000


def until_sleep(front, child):
    """CPU of init and child until the child sleeps, us."""
    pid = spawn([*front, child])
    inner = asleep(pid, child)
    used = sum(cpu_us(each) for each in {pid, inner})
    end(pid)
    return used


def spent(usage):
    """CPU seconds of a process that was waited for, and of those that it had waited for."""
    return usage.ru_utime + usage.ru_stime


def start_and_end(front, child):
    """CPU of a whole run of a child that exits at once, us."""
    pid = spawn([*front, child])
    _, code, usage = os.wait4(pid, 0)
    if code:
        raise RuntimeError(f"{front} ended with {code}")
    return spent(usage) * 1e6


def at_rest(front, child, seconds):
    """(VmRSS KiB, RssAnon KiB, voluntary switches a second) while the child sleeps."""
    pid = spawn([*front, child])
    asleep(pid, child)
    time.sleep(1)
    before = switches(pid)
    time.sleep(seconds)
    figures = status(pid, "VmRSS"), status(pid, "RssAnon"), (switches(pid) - before) / seconds
    end(pid)
    return figures


def reap(front, child, count):
    """(CPU ms of the init, wall ms, zombies left) for all orphans ending at once."""
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    pid = spawn([*front, child], stdin=go_read, out=said_write)
    os.close(go_read)
    os.close(said_write)
    if os.read(said_read, 1) != b"r":
        raise RuntimeError("the orphans could not be made")
    time.sleep(0.3)
    adopted = len(children_of(pid)) - 1
    before, start = cpu_us(pid), time.monotonic()
    os.write(go_write, b"g")
    left = adopted
    while left > 0 and time.monotonic() - start < 30:
        time.sleep(0.005)
        left = len(children_of(pid)) - 1
    wall = (time.monotonic() - start) * 1000
    used = (cpu_us(pid) - before) / 1000
    os.close(go_write)
    os.close(said_read)
    end(pid)
    if adopted < count:
        raise RuntimeError(f"only {adopted} orphans of {count}")
    return used, wall, left


def answers(pid, said, times, pause):
    """From kill(2) to the byte the child answers with, us, so many times."""
    found = []
    for _ in range(times):
        time.sleep(pause)
        start = time.perf_counter()
        os.kill(pid, signal.SIGUSR1)
        os.read(said, 1)
        found.append((time.perf_counter() - start) * 1e6)
    end(pid)
    os.close(said)
    return sorted(found)


def latencies(front, child, times):
    """From kill(2) to the byte the child answers with, us."""
    said_read, said_write = os.pipe()
    pid = spawn([*front, child], out=said_write)
    os.close(said_write)
    os.read(said_read, 1)
    if front:
        asleep(pid, child)
    return statistics.median(answers(pid, said_read, times, 0.002))


def flooded(front, child, times, log):
    """From kill(2) to the byte the child answers with, us, while stderr is written as fast as it is
    read: (median, 99th of a hundred). The log is `log`, or a pipe that cat reads."""
    said_read, said_write = os.pipe()
    reader, write = None, log
    if log is None:
        read, write = os.pipe()
        reader = subprocess.Popen(["cat"], stdin=read, stdout=subprocess.DEVNULL)
        os.close(read)
    pid = spawn([*front, child], out=said_write, err=write)
    os.close(said_write)
    if reader:
        os.close(write)
    os.read(said_read, 1)
    time.sleep(0.1)
    found = answers(pid, said_read, times, 0.005)
    if reader:
        reader.wait()
    return found[len(found) // 2], found[len(found) * 99 // 100]


def recorded(init, children, child, packets):
    """(seconds, CPU seconds of the init) for all that its child writes to stderr."""
    launch = [] if packets else [sys.executable, "-I", "-S", "-c", NO_PACKETS]
    said_read, said_write = os.pipe()
    start = time.monotonic()
    _, code, usage = os.wait4(spawn([*launch, *init, child], out=said_write), 0)
    wall = time.monotonic() - start
    os.close(said_write)
    if code:
        raise RuntimeError(f"{init} ended with {code}")
    # The init has waited for the child, which says what of it all was its own.
    writer = struct.unpack("qq", os.read(said_read, 16))[0] / 1e9
    os.close(said_read)
    launcher = spent(os.wait4(spawn([*launch, children["exit"][0]]), 0)[2])
    return wall - launcher, spent(usage) - writer - launcher


def piped(reader, child, packets):
    """(seconds, CPU seconds of the reader) for all that the child writes into a pipe."""
    read, write = os.pipe2(os.O_DIRECT if packets else 0)
    start = time.monotonic()
    reader = subprocess.Popen(reader, stdin=read, stdout=subprocess.DEVNULL)
    os.close(read)
    writer = subprocess.Popen([child], stdout=subprocess.DEVNULL, stderr=write)
    os.close(write)
    writer.wait()
    _, reader.returncode, usage = os.wait4(reader.pid, 0)
    return time.monotonic() - start, spent(usage)


def cell(values, digits=0):
    values = [value for value in values if value is not None]
    if not values:
        return "-"
    low, high = min(values), max(values)
    text = f"{statistics.median(values):.{digits}f}"
    return text if len(values) == 1 or low == high else f"{text} [{low:.{digits}f}..{high:.{digits}f}]"


def table(rows, names):
    widths = [max(len(row[0]) for row in rows)] + [
        max([len(name), *(len(row[1].get(name, "-")) for row in rows)]) for name in names]
    print("  ".join(text.ljust(width) for text, width in zip(["", *names], widths)).rstrip())
    for title, cells in rows:
        line = [title, *(cells.get(name, "-") for name in names)]
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


SIZE = "binary, bytes"
UNTIL_EXEC, UNTIL_SLEEP = "  until exec, over bare", "  until it sleeps, over bare"
RSS, WAKE_UPS = "VmRSS, KiB", "wake-ups a second at rest"
REAPED, LATENCY = "orphans at once, CPU ms", "signal latency (median of 200), us"
# Row, and how often tini-static's figure goinit's may be; nothing for a target of zero.
TARGETS = [(UNTIL_EXEC, 1.2), (UNTIL_SLEEP, 1.2), (RSS, 1.2), (WAKE_UPS, None), (LATENCY, 1.2),
           (REAPED, 1.2)]


# Standard error: how the child writes it, how it is read, and what goinit is to manage; of packets
# a part of what a reader does that does nothing with them.
ONE_EACH, BLOCKS = "one write a line", "64 KB a write"
PACKETS, STREAM = "packets", "stream"
PER_CPU, OF_READ = "MB per CPU second of the reader", "x read, round by round"
TAKEN_IN = [(f"text, {ONE_EACH}", 250), (f"text, {BLOCKS}", 250), (f"JSON, {ONE_EACH}", 500),
            (f"JSON, {BLOCKS}", 500)]
LEAST_OF_READ = 0.5


def median(rows, title, name):
    """What a cell begins with; nothing if there is none."""
    text = dict(rows)[title].get(name, "").split(" ")[0]
    return float(text) if text else None


def verdict(title, figure, target, met):
    print(f"{title.strip()}: {figure}, target {target}: {'met' if met else 'missed'}")


def verdicts(rows):
    """One line for each target: met or missed, and by how much."""
    for title, times in TARGETS:
        ours, theirs = (median(rows, title, name) for name in ("goinit", "tini-static"))
        if ours is None or theirs is None:
            continue
        if times is None:
            verdict(title, f"{ours:g}", 0, ours == 0)
        else:
            ratio = ours / theirs if theirs else float("inf")
            verdict(title, f"{ratio:.2f} x tini-static", f"{times} x", ratio <= times)


def stderr_verdicts(rows):
    """The same for the way from standard error into records."""
    for title, target in TAKEN_IN:
        ours = median(rows, f"{title}: {PER_CPU}", f"goinit, {STREAM}")
        verdict(f"{title}, {STREAM}", f"{ours:g} {PER_CPU}", target, ours >= target)
    title = f"text, {ONE_EACH}"
    part = median(rows, f"{title}: {OF_READ}", f"goinit, {PACKETS}")
    verdict(f"{title}, {PACKETS}", f"{part:g} x read", f"{LEAST_OF_READ} x", part >= LEAST_OF_READ)


def start_rows(fronts, children, options):
    rounds = 20 if options.quick else 150
    executed, until, whole = ({name: [] for name in fronts} for _ in range(3))
    for _ in range(rounds):
        for name, front in fronts.items():
            executed[name].append(until_exec(front, children["clock"][0]))
            until[name].append(until_sleep(front, children["sleep"][0]))
            whole[name].append(start_and_end(front, children["exit"][0]))
    def over(sums):
        bare = statistics.median(sums["bare"])
        return {name: f"{statistics.median(values) - bare:.0f}" for name, values in sums.items()
                if name != "bare"}
    return [
        ("start until the child's exec, CPU us", {name: cell(v) for name, v in executed.items()}),
        (UNTIL_EXEC, over(executed)),
        ("start until the child sleeps, CPU us", {name: cell(v) for name, v in until.items()}),
        (UNTIL_SLEEP, over(until)),
        ("whole run, CPU us", {name: cell(v) for name, v in whole.items()}),
        ("  whole run, over bare", over(whole)),
    ]


def rest_rows(fronts, children, options):
    rounds, seconds = (1, 3) if options.quick else (3, 5)
    found = {name: [] for name in fronts}
    for _ in range(rounds):
        for name, front in fronts.items():
            found[name].append(at_rest(front, children["sleep"][0], seconds))
    titles = [RSS, "RssAnon, KiB", WAKE_UPS]
    return [(title, {name: cell([row[at] for row in rows], 1 if at == 2 else 0)
                     for name, rows in found.items()}) for at, title in enumerate(titles)]


def watched_rows(place, options):
    """Wake-ups a second of goinit beside an idle Go program, with its heartbeat and without."""
    tool = subprocess.run([PROJECT / "scripts/go-toolchain", "--demo"], capture_output=True, text=True)
    if tool.returncode:
        print("no Go toolchain: the wake-ups with a watchdog are left out", file=sys.stderr)
        return []
    source, child = Path(place) / "idle.go", str(Path(place) / "idle")
    source.write_text('package main\n\nimport "time"\n\nfunc main() { time.Sleep(time.Hour) }\n')
    home = {"GOCACHE": f"{place}/go-cache", "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
    subprocess.run([tool.stdout.strip(), "build", "-o", child, source], check=True, env=os.environ | home)
    rounds, seconds = (1, 10) if options.quick else (3, 20)
    found = {}
    for _ in range(rounds):
        for name, flags in (("on, heartbeat 1 s", []), ("off", ["--schedtrace=0"])):
            pid = spawn([options.bin, *flags, "--", child])
            inner = asleep(pid, child)
            time.sleep(3)
            before = [(switches(each), cpu_us(each)) for each in (pid, inner)]
            time.sleep(seconds)
            after = [(switches(each), cpu_us(each)) for each in (pid, inner)]
            end(pid)
            found.setdefault(name, []).append(
                [(new - old) / seconds for was, now in zip(before, after) for old, new in zip(was, now)])
    titles = ["goinit, wake-ups a second", "goinit, CPU us a second", "program, wake-ups a second",
              "program, CPU us a second"]
    return [(title, {name: cell([row[at] for row in rows], 1) for name, rows in found.items()})
            for at, title in enumerate(titles)]


def work_rows(fronts, children, options):
    rounds = 1 if options.quick else 5
    reaped, signals = ({name: [] for name in fronts if name != "bare"} for _ in range(2))
    signals["bare"] = []
    for _ in range(rounds):
        for name, front in fronts.items():
            signals[name].append(latencies(front, children["echo"][0], 200))
            if name != "bare":
                reaped[name].append(reap(front, *children["orphans"]))
    count = children["orphans"][1]
    titles = [REAPED, f"{count} orphans, wall ms", "zombies left"]
    rows = [(title, {name: cell([row[at] for row in found], 1 if at == 0 else 0)
                     for name, found in reaped.items()}) for at, title in enumerate(titles)]
    return [*rows, (LATENCY, {n: cell(v) for n, v in signals.items()})]


def stderr_rows(children, options):
    goinit, bare = [options.bin, "--log-full=block", "--"], [children["read"][0]]
    readers = {
        f"goinit, {STREAM}": lambda child: recorded(goinit, children, child, False),
        f"goinit, {PACKETS}": lambda child: recorded(goinit, children, child, True),
        f"read, {PACKETS}": lambda child: piped(bare, child, True),
        f"cat, {PACKETS}": lambda child: piped(["cat"], child, True),
        f"cat, {STREAM}": lambda child: piped(["cat"], child, False),
    }
    rows = []
    for mode, (title, _) in zip(["lines", "blocks", "json", "json-blocks"], TAKEN_IN):
        child, count = children[mode]
        runs = {name: [] for name in readers}
        for _ in range(2 if options.quick else 5):
            for name, reader in readers.items():
                runs[name].append([count * BLOCK / 1e6 / taken for taken in reader(child)])
        for at, unit in enumerate(["MB/s", PER_CPU]):
            rows.append((f"{title}: {unit}",
                         {name: cell([run[at] for run in found]) for name, found in runs.items()}))
        # One straight behind the other, so that noise of the machine meets both.
        pairs = zip(*(runs[f"{name}, {PACKETS}"] for name in ("goinit", "read")))
        parts = [ours[1] / theirs[1] for ours, theirs in pairs]
        rows.append((f"{title}: {OF_READ}", {f"goinit, {PACKETS}": cell(parts, 2)}))
    return rows, list(readers)


def flood_rows(fronts, children, options):
    """Signal latency while another process of the program fills stderr."""
    goinit = fronts["goinit"]
    fronts = {"goinit": goinit, "goinit --stderr=raw": [*goinit[:1], "--stderr=raw", "--"],
              **{name: front for name, front in fronts.items() if name == "tini-static"}}
    rows = []
    for mode, title in [("flood", BLOCKS), ("flood-lines", ONE_EACH)]:
        for place, log in [("a pipe", None), ("/dev/null", "/dev/null")]:
            found = {name: [] for name in fronts}
            for _ in range(1 if options.quick else 5):
                for name, front in fronts.items():
                    found[name].append(flooded(front, children[mode][0], 200, log))
            for at, what in enumerate(["median", "99th of a hundred"]):
                rows.append((f"{title}, log to {place}: {what}",
                             {name: cell([run[at] for run in runs]) for name, runs in found.items()}))
    return rows, list(fronts)


def inits_part(fronts, children, _place, options):
    size = {name: str(os.path.getsize(front[0])) for name, front in fronts.items() if front}
    rows = [(SIZE, size), *start_rows(fronts, children, options),
            *rest_rows(fronts, children, options), *work_rows(fronts, children, options)]
    table(rows, list(fronts))
    print()
    verdicts(rows)


def watched_part(_fronts, _children, place, options):
    if watched := watched_rows(place, options):
        print("\nan idle Go program, the watchdog on and off")
        table(watched, list(watched[0][1]))


def stderr_part(_fronts, children, _place, options):
    print("\nstandard error into records, nothing dropped (--log-full=block), log to /dev/null; "
          "writer and reader on one CPU")
    with one_cpu():
        rows, names = stderr_rows(children, options)
    table(rows, names)
    print()
    stderr_verdicts(rows)


def flood_part(fronts, children, _place, options):
    print("\nsignal latency while stderr is written as fast as it is read, us")
    table(*flood_rows(fronts, children, options))


PARTS = {"inits": inits_part, "watched": watched_part, "stderr": stderr_part, "flood": flood_part}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--bin", default=str(PROJECT / "target/release/goinit"), help="the goinit to measure")
    parser.add_argument("--orphans", type=int, default=10_000)
    parser.add_argument("--megabytes", type=int, default=30, help="input of the stderr figures")
    parser.add_argument("--only", choices=PARTS, help="one of the tables alone")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("inits.py: each init runs in a PID namespace of its own, which needs root")
    with tempfile.TemporaryDirectory(prefix="goinit-bench-") as place:
        fronts = inits(options, place)
        children = build(place, options)
        print(f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
              f"load {os.getloadavg()[0]:.1f}; median [smallest..largest]")
        for part in PARTS.values() if options.only is None else [PARTS[options.only]]:
            part(fronts, children, place, options)


if __name__ == "__main__":
    main()
