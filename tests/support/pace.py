"""How slow the machine is: times that the product promises hold where a processor is to be had."""

from __future__ import annotations

import os
import time

_BURN_SECONDS = 0.02


def slowness() -> float:
    """How many times longer work takes now than with the machine to itself; at least 1.

    The larger of two readings: processes that wanted to run, per processor, in the last minute; and the time that
    a short piece of work takes now, against the processor time that it gets.
    """
    began, used = time.perf_counter(), time.process_time()
    while time.process_time() - used < _BURN_SECONDS:
        pass
    now = (time.perf_counter() - began) / _BURN_SECONDS
    return max(1.0, now, os.getloadavg()[0] / (os.cpu_count() or 1))


def within(elapsed: float, promised: float) -> bool:
    """Whether what took `elapsed` seconds just now kept to the promised ones, as far as this machine can tell."""
    return elapsed < promised or elapsed < promised * slowness()
