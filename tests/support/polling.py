"""Waiting for something to become true, without sleeping for a guess."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.support.clock import awake_seconds


def wait_for(condition: Callable[[], bool], seconds: float = 30.0, what: str = "the condition") -> None:
    """Poll until it holds; fails the test when it does not within `seconds`."""
    deadline = awake_seconds() + seconds
    while not condition():
        assert awake_seconds() < deadline, f"{what} did not hold within {seconds} s"
        time.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[bool] | bool], seconds: float = 30.0) -> None:
    """Poll an async condition until it holds; fails the test when it does not within `seconds`."""
    deadline = awake_seconds() + seconds
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert awake_seconds() < deadline, f"{condition} did not hold within {seconds} s"
        await asyncio.sleep(0.02)
