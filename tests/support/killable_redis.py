"""A Redis that a test may kill, and bring back with its data."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import Popen

from orchestrator.embedded.ports import LOOPBACK
from orchestrator.embedded.process import stop
from orchestrator.embedded.valkey import valkey
from tests.support.ports import free_port


class KillableRedis:
    """A server of its own, on a port that it keeps.

    Args:
        folder: for its append-only file.
    """

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.url = f"redis://{LOOPBACK}:{port}"
        self._spec = valkey(folder / "redis", port, folder / "redis.log")
        self._process: Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it on what its append-only file holds."""
        self._process = self._spec.launch()
        await self._spec.wait_ready(self._process)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            stop(self._process, self._spec.stop_seconds)


@asynccontextmanager
async def killable_redis(folder: Path) -> AsyncIterator[KillableRedis]:
    """Run one while the block runs."""
    server = KillableRedis(folder)
    try:
        await server.start()
        yield server
    finally:
        server.close()
