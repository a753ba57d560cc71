"""Waiting for something to become true, without sleeping for a guess."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_for(condition: Callable[[], bool], seconds: float = 10.0, what: str = "the condition") -> None:
    """Poll until it holds; fails the test when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not hold within {seconds} s"
        time.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 10.0) -> None:
    """Poll an async condition until it holds; fails the test when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"{condition} did not hold within {seconds} s"
        await asyncio.sleep(0.02)
