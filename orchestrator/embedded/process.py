"""What one process of the stack is, and how it is started so that it never outlives us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.embedded import tether

LOG_LIMIT_BYTES = 20 * 1024 * 1024


class StartFailed(Exception):
    """A part of the stack did not come up; the message names its log and quotes its last lines."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the stack.

    Attributes:
        name: a word for people and for the log file.
        argv: the command; `argv[0]` is an executable.
        log_path: where its output is appended.
        ready: given the pid, returns True once that process serves; it is polled and may raise `OSError` meanwhile.
        environment: variables set on top of ours; None removes one.
        start_seconds: how long it may take until it is ready.
        stop_seconds: how long it may take to end after SIGTERM before it is killed.
        poll_seconds: how often `ready` is asked.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    ready: Callable[[int], Awaitable[bool]]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    start_seconds: float = 30.0
    stop_seconds: float = 10.0
    poll_seconds: float = 0.05

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the process in a group of its own, tied to our life.

        Raises:
            RuntimeError: called off the main thread, whose end alone is also the end of our process: the kernel's
                tie is to the thread that forks (prctl(2), PR_SET_PDEATHSIG).
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("processes of the stack must be started from the main thread")
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        rotate(self.log_path)
        environment = {**os.environ, **{key: value for key, value in self.environment.items() if value is not None}}
        for key in (key for key, value in self.environment.items() if value is None):
            environment.pop(key, None)
        manner = "kernel" if sys.platform == "linux" else "watchdog"
        with self.log_path.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-I", "-S", tether.__file__, str(os.getpid()), manner, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                process_group=0,
            )

    async def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Poll until the process serves.

        Raises:
            StartFailed: it ended, or was not ready within `start_seconds`.
        """
        deadline = time.monotonic() + self.start_seconds
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise StartFailed(self._complaint(f"ended with status {process.returncode} while starting"))
            try:
                async with asyncio.timeout(2):
                    if await self.ready(process.pid):
                        return
            except (OSError, TimeoutError):
                pass
            await asyncio.sleep(self.poll_seconds)
        raise StartFailed(self._complaint(f"was not ready after {self.start_seconds:g} s"))

    def _complaint(self, what: str) -> str:
        tail = last_lines(self.log_path)
        quoted = f"; its last lines:\n{tail}" if tail else "; it wrote nothing"
        return f"{self.name} {what}. See {self.log_path}{quoted}"


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to the process and everything it started that stayed in its group."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return


def stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    """End a process: SIGTERM, then SIGKILL after `seconds`; blocks until it has ended."""
    signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    signal_group(process, signal.SIGKILL)
    process.wait()


def rotate(path: Path) -> None:
    """Keep one older generation of a log that has grown over 20 MiB."""
    if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
        path.replace(path.with_suffix(path.suffix + ".1"))


def last_lines(path: Path, count: int = 8, limit_bytes: int = 4096) -> str:
    """The last lines of a log, bounded."""
    try:
        data = path.read_bytes()[-limit_bytes:]
    except OSError:
        return ""
    return "\n".join(data.decode(errors="replace").splitlines()[-count:])
