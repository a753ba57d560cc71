"""Ports for the servers of tests: no two processes of one test run are given the same one."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

from orchestrator.embedded.ports import is_free

# Below those that systems give to outgoing connections and to servers that ask for any port.
_FIRST, _AFTER = 12_000, 32_000


def _own_ports() -> Iterator[int]:
    """Go round this process's share of the ports, from a random one: other test runs may be on the machine."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    share = range(_FIRST + worker, _AFTER, count)
    at = random.randrange(len(share))
    while True:
        yield share[at % len(share)]
        at += 1


_ports = _own_ports()


def free_port() -> int:
    """A port that is free now and that no other process of this test run takes until the server listens."""
    return next(port for port in _ports if is_free(port))
