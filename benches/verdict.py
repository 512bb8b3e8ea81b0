#!/usr/bin/env python3
"""How long a verdict takes, and what watching costs. Prints medians and the worst.

    benches/verdict.py [--bin PATH] [--runs N]

* From the deadline (`--stall-after` without progress) to the verdict record: on an idle machine, with a
  program that waits, one with 3,000 goroutines, and one that burns all the CPU of a quota of a tenth,
  a fifth and half of a CPU, with goinit in the same control group.
* CPU of goinit itself over 20 s with a healthy program and one heartbeat a second.

Needs root and a cgroup v1 cpu controller for the quotas (what is missing is left out), and Go.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "scripts"))
PATIENCE_MS = 2000
VERSION = "1.25"


def program(name):
    from importlib.machinery import SourceFileLoader
    from importlib.util import module_from_spec, spec_from_loader
    loader = SourceFileLoader("matrix", str(PROJECT / "scripts/matrix"))
    matrix = module_from_spec(spec_from_loader("matrix", loader))
    loader.exec_module(matrix)
    return matrix.build(matrix.Case(name, name, "stalled/any"), VERSION)


def start(goinit, path, env=None, group=None):
    command = [goinit, f"--stall-after={PATIENCE_MS}ms", "--termination-log=none", "--", path]
    if group:
        command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, env=os.environ | (env or {}))


def late_ms(child):
    """From the deadline to the first verdict: it says since when, and the log when."""
    for line in child.stderr:
        if b'"goinit.verdict"' in line:
            return json.loads(line)["verdict"]["since_ms"] - PATIENCE_MS
    return None


def verdicts(goinit, name, runs, env=None, group=None):
    times = []
    for _ in range(runs):
        child = start(goinit, program(name), env, group)
        times.append(late_ms(child))
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
    times = [one for one in times if one is not None]
    return f"{statistics.median(times):6.0f} ms, worst {max(times)} ms of {len(times)}" if times else "no verdict"


def quota(cpus):
    group = Path(f"/sys/fs/cgroup/cpu/goinit-bench-verdict-{os.getpid()}")
    group.mkdir(exist_ok=True)
    (group / "cpu.cfs_quota_us").write_text(str(int(cpus * 100_000)))
    return group


def cost(goinit):
    child = start(goinit, program("idle-server"))
    time.sleep(3)
    used = lambda: sum(int(open(f"/proc/{child.pid}/task/{task}/schedstat").read().split()[0])
                       for task in os.listdir(f"/proc/{child.pid}/task"))
    before, begun = used(), time.monotonic()
    time.sleep(20)
    share = (used() - before) / 1e9 / (time.monotonic() - begun)
    child.terminate()
    child.wait()
    return f"{share * 100:.4f} % of one CPU"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=PROJECT / "target/release/goinit", type=Path)
    parser.add_argument("--runs", default=5, type=int)
    options = parser.parse_args()
    print("from the deadline to the verdict")
    print("  idle, waits on a channel     ", verdicts(options.bin, "chan-recv", options.runs), flush=True)
    print("  idle, 3,000 goroutines       ", verdicts(options.bin, "many-goroutines", options.runs), flush=True)
    for cpus in (0.5, 0.2, 0.1):
        try:
            group = quota(cpus)
        except OSError as error:
            print(f"  quota {cpus}: left out ({error})")
            continue
        line = verdicts(options.bin, "livelock", options.runs, {"GOMAXPROCS": "2"}, group)
        print(f"  burns CPU, quota {cpus}         ", line, flush=True)
        time.sleep(0.5)
        group.rmdir()
    print("watching a healthy program     ", cost(options.bin))


if __name__ == "__main__":
    main()
