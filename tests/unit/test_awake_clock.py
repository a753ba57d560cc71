"""The clock of the tests' promises leaves out what the machine took, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.polling import wait_for

ROOT = Path(__file__).parents[2]
MEASURE = """
import sys, time
from tests.support.clock import awake_seconds
awake, real, computed = awake_seconds(), time.monotonic(), time.process_time()
print("ready", flush=True)
if sys.argv[1] == "computes":
    while time.process_time() - computed < 1.0:
        sum(range(100_000))
else:
    sys.stdin.readline()
print(awake_seconds() - awake, time.monotonic() - real)
"""


def _measured(manner: str, seconds: float) -> tuple[float, float]:
    """Return what the clock says of a process, and a real one: it computes, waits, or is stopped for so long."""
    command = [sys.executable, "-c", MEASURE, manner]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        if manner == "stalls":
            os.kill(process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        if manner == "stalls":
            os.kill(process.pid, signal.SIGCONT)
        if manner != "computes":
            process.stdin.write("\n")
            process.stdin.close()
        awake, real = process.stdout.readline().split()
    return float(awake), float(real)


def test_a_stall_is_left_out() -> None:
    awake, real = _measured("stalls", 1.5)
    assert real >= 1.5
    assert awake < real - 1.0


def test_what_is_computed_counts() -> None:
    awake, _ = _measured("computes", 0)
    assert awake >= 0.9


def test_waiting_counts() -> None:
    # A busy machine may take some of it.
    found: list[float] = []

    def counted() -> bool:
        found.append(_measured("waits", 0.5)[0])
        return found[-1] >= 0.4

    wait_for(counted, 60, "half a second that counts")
