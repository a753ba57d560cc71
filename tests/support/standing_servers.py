"""Servers of a whole test session: one that ends fails the test that it ended in, and stands again for the next."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestrator.embedded.process import ProcessSpec, StartFailed, last_lines, stop

TRIES = 3
"""A start may meet a machine that stalls; the tests of a whole session would fail with it."""


@dataclass
class _Standing:
    spec: ProcessSpec
    process: subprocess.Popen[bytes]


_standing: list[_Standing] = []


@contextmanager
def standing(make: Callable[[], tuple[ProcessSpec, str]]) -> Iterator[str]:
    """Run a server while the block runs.

    Args:
        make: gives the server, on a port that is free now, and its address.
    """
    server, address = _started(make)
    _standing.append(server)
    try:
        yield address
    finally:
        _standing.remove(server)
        stop(server.process, server.spec.stop_seconds)


def revive() -> list[str]:
    """Start those again that have ended, on their ports and with their data; say of each how it ended."""
    found = []
    for server in _standing:
        status = server.process.poll()
        if status is not None:
            found.append(f"{server.spec.name} ended with status {status}: {last_lines(server.spec.log_path)}")
            server.process = _launched(server.spec)
    return found


def _started(make: Callable[[], tuple[ProcessSpec, str]]) -> tuple[_Standing, str]:
    for _ in range(TRIES - 1):
        spec, address = make()
        try:
            return _Standing(spec, _launched(spec)), address
        except StartFailed:
            continue
    spec, address = make()
    return _Standing(spec, _launched(spec)), address


def _launched(spec: ProcessSpec) -> subprocess.Popen[bytes]:
    process = spec.launch()
    try:
        with asyncio.Runner() as runner:
            runner.run(spec.wait_ready(process))
    except BaseException:
        stop(process, spec.stop_seconds)
        raise
    return process
