"""A clock for promises of the kind "answers within two seconds": it stands while the machine does not let us run."""

from __future__ import annotations

import threading
import time

TICK_SECONDS = 0.05


class _AwakeClock:
    """Counts the time that passes, but for what a thread that only ticks was kept from ticking.

    Time in which this process computed counts in full: a thread that holds the interpreter is no stall.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stalled = 0.0
        self._at, self._computed = time.monotonic(), time.process_time()
        threading.Thread(target=self._tick, name="awake-clock", daemon=True).start()

    def now(self) -> float:
        with self._lock:
            now = time.monotonic()
            return now - self._stalled - self._stall(now)

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            with self._lock:
                now = time.monotonic()
                self._stalled += self._stall(now)
                self._at, self._computed = now, time.process_time()

    def _stall(self, now: float) -> float:
        """Return how much of the time since the last tick we were kept from running."""
        return max(0.0, now - self._at - 2 * TICK_SECONDS - (time.process_time() - self._computed))


_clocks: list[_AwakeClock] = []


def awake_seconds() -> float:
    """Seconds since some moment, without those in which the machine stood still or had no time for us."""
    if not _clocks:
        _clocks.append(_AwakeClock())
    return _clocks[0].now()
