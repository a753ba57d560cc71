"""Keeps a set of child processes running: whatever dies is started again, with a growing pause if it keeps dying."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from orchestrator.embedded.process import ProcessSpec, StartFailed, signal_group

WATCH_SECONDS = 0.1
STEADY_SECONDS = 10.0
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0


@dataclass
class Child:
    """One supervised process: how it is started, what runs now, and how it fared."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes]
    started_at: float
    starting: bool = True
    quick_deaths: int = 0
    restart_at: float | None = None


class Supervisor:
    """Starts children, restarts the dead, and stops them all.

    Use it from the main thread's event loop: children are tied to the thread that starts them.

    Args:
        say: told one line about every death and restart.
        on_change: called after every start and restart, when pids have changed.
    """

    def __init__(self, *, say: Callable[[str], None], on_change: Callable[[], None] = lambda: None) -> None:
        self._say = say
        self._on_change = on_change
        self._children: dict[str, Child] = {}
        self._stopping = False
        self._hurry = asyncio.Event()

    def pid(self, name: str) -> int | None:
        """The pid of the child's present process; None before it was ever started."""
        child = self._children.get(name)
        return child.process.pid if child else None

    async def start(self, spec: ProcessSpec) -> None:
        """Start a child and wait until it is ready; from then on its death is a restart.

        Raises:
            StartFailed: it ended or was not ready in time; it is left stopped.
        """
        process = spec.launch()
        child = Child(spec, process, time.monotonic())
        self._children[spec.name] = child
        self._on_change()
        try:
            await spec.wait_ready(process)
        except StartFailed:
            signal_group(process, signal.SIGKILL)
            raise
        child.starting = False

    async def watch(self) -> None:
        """Restart whatever dies, until `stop` is called."""
        while not self._stopping:
            for child in self._children.values():
                self._look_after(child)
            await asyncio.sleep(WATCH_SECONDS)

    def _look_after(self, child: Child) -> None:
        if child.starting:
            # Its death now is a failed start, which `wait_ready` reports.
            return
        now = time.monotonic()
        if child.restart_at is None:
            if child.process.poll() is None:
                return
            # What it started itself must not survive it and keep its port or files.
            signal_group(child.process, signal.SIGKILL)
            child.quick_deaths = 0 if now - child.started_at >= STEADY_SECONDS else child.quick_deaths + 1
            pause = _pause_seconds(child.quick_deaths)
            child.restart_at = now + pause
            after = f" in {pause:g} s" if pause else ""
            self._say(
                f"{child.spec.name} {_how_it_ended(child.process)}; restarting{after} (log: {child.spec.log_path})"
            )
        if now >= child.restart_at:
            child.process = child.spec.launch()
            child.started_at, child.restart_at = now, None
            self._on_change()

    async def stop(self, *stages: Iterable[str]) -> None:
        """Stop the named children, one stage after the other, then whatever is left; every child has then ended."""
        self._stopping = True
        for stage in (*stages, list(self._children)):
            await asyncio.gather(*(self._stop_one(self._children[name]) for name in stage if name in self._children))

    def hurry(self) -> None:
        """Make a stop under way kill what still runs."""
        self._hurry.set()

    async def _stop_one(self, child: Child) -> None:
        if child.process.poll() is None:
            signal_group(child.process, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(child.spec.stop_seconds):
                    await self._ended(child.process)
        signal_group(child.process, signal.SIGKILL)
        child.process.wait()

    async def _ended(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None and not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), 0.02)


def _pause_seconds(quick_deaths: int) -> float:
    """None after a steady life or a first death, then 0.5 s doubling to 15 s."""
    if quick_deaths <= 1:
        return 0.0
    return float(min(FIRST_PAUSE_SECONDS * 2 ** min(quick_deaths - 2, 10), LONGEST_PAUSE_SECONDS))


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    status = process.returncode
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"(process {process.pid}) was ended by {signal.Signals(-status).name}"
    return f"(process {process.pid}) ended with status {status}"
