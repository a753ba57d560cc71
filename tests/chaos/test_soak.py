"""A steady load of every kind of execution: all end well, and no process holds more and more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import psutil
import pytest

from orchestrator.client import connect, disconnect
from tests.support.mixed_load import Load
from tests.support.service_processes import Services
from tests.support.stuck_executions import stuck_executions
from tests.support.tool_endpoint import ToolEndpoint

SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))
MORE_FILES = 40
"""Connections of pools that breathe."""
MORE_MEMORY = 1.25


@dataclass(frozen=True)
class Held:
    """What a process holds: open files and connections, and memory in bytes."""

    files: int
    memory: int


def _held(services: Services) -> dict[str, Held]:
    processes = {part.spec.name: psutil.Process(part.pid) for part in (services.worker, services.api)}
    return {name: Held(process.num_fds(), process.memory_info().rss) for name, process in processes.items()}


def _rounds(services: Services, endpoint: ToolEndpoint) -> Iterator[None]:
    """Run rounds of every kind, three of each at once; each has ended well when it is given."""
    load = Load(services.http, endpoint)
    while True:
        with ThreadPoolExecutor(16) as people:
            jobs = list(people.map(load.play, [kind for kind in load.kinds for _ in range(3)]))
            list(people.map(load.check_end, jobs))
        endpoint.forget()
        yield


async def _stuck(services: Services) -> dict[str, int]:
    client = await connect(services.settings)
    try:
        return await stuck_executions(client)
    finally:
        await disconnect(client)


@pytest.mark.timeout(300)
def test_a_short_load_leaves_no_connections_behind(services: Services, endpoint: ToolEndpoint) -> None:
    rounds = _rounds(services, endpoint)
    next(rounds)
    before = _held(services)
    next(rounds)
    after = _held(services)
    assert all(after[name].files <= before[name].files + MORE_FILES for name in before), (before, after)
    assert asyncio.run(_stuck(services)) == {}


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS + 600)
def test_a_long_load_leaves_nothing_behind(services: Services, endpoint: ToolEndpoint) -> None:
    """Caches are full after a quarter of the time; from then on nothing grows any more."""
    rounds, began = _rounds(services, endpoint), time.monotonic()
    while time.monotonic() - began < SOAK_SECONDS / 4:
        next(rounds)
    warm = _held(services)
    while time.monotonic() - began < SOAK_SECONDS:
        next(rounds)
    after = _held(services)
    assert all(after[name].files <= warm[name].files + MORE_FILES for name in warm), (warm, after)
    assert all(after[name].memory <= warm[name].memory * MORE_MEMORY for name in warm), (warm, after)
    assert asyncio.run(_stuck(services)) == {}
