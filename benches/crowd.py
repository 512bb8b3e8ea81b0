#!/usr/bin/env python3
"""Memory and time of goinit on the dump of a real program with 100,000 goroutines in a few groups.

    benches/crowd.py GOINIT PROGRAM     PROGRAM: tests/programs/formats, built with any Go

The program is asked for its goroutines (SIGQUIT) once alone, into a file that `goinit report` then
reads, and once under goinit. Prints the peak memory (VmHWM) and the time of each.
"""

import json
import os
import sys
import tempfile
import time

COUNT = 100_000


def run(command, out, err):
    """Runs a command; seconds and peak memory in MiB of that process alone, looked at till its end."""
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        os.execv(command[0], command)
    peak = 0
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1])
        time.sleep(0.002)
    return time.monotonic() - begin, peak / 1024


def main(goinit, program):
    crowd = [program, "crowd", str(COUNT)]
    with tempfile.TemporaryDirectory() as place, open(os.devnull, "wb") as null:
        dump, report, log = (os.path.join(place, name) for name in ("dump", "report", "log"))
        with open(dump, "wb") as file:
            seconds, _ = run(crowd, null, file)
        size = os.path.getsize(dump) / 2**20
        print(f"dump of {COUNT} goroutines: {size:.0f} MiB, printed in {seconds:.1f} s")
        with open(report, "wb") as file:
            seconds, peak = run([goinit, "report", "--json", dump], file, null)
        with open(report, encoding="utf-8") as file:
            told = json.load(file)
        print(f"goinit report: {seconds:.2f} s, {size / seconds:.0f} MiB/s, peak {peak:.1f} MiB; "
              f"{told['goroutines']} goroutines in {told['groups']} groups")
        with open(log, "wb") as file:
            seconds, peak = run([goinit, "--termination-log=none", "--", *crowd], null, file)
        with open(log, encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        total = [r["goroutines"] for r in records if "total" in r.get("goroutines", {})]
        print(f"goinit live: {seconds:.1f} s, peak {peak:.1f} MiB; "
              f"{total[-1]['total']} goroutines in {total[-1]['groups']} groups, "
              f"{os.path.getsize(log)} bytes of log")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
