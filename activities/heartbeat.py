"""Heartbeats: the SDK sends none by itself, and both cancellation and crash detection travel on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

LONGEST_INTERVAL_SECONDS = 2.0
"""A cancel request reaches an activity with the answer to its next heartbeat, and a cancel shall end within 5 s."""


def heartbeat_interval() -> float:
    """Return the seconds between two heartbeats: a third of the heartbeat timeout, at most two seconds."""
    timeout = activity.info().heartbeat_timeout
    if not timeout:
        return LONGEST_INTERVAL_SECONDS
    return min(LONGEST_INTERVAL_SECONDS, timeout.total_seconds() / 3)


@asynccontextmanager
async def heartbeating(details: Callable[[], Any]) -> AsyncIterator[None]:
    """Heartbeat steadily while the block runs; work that ends within the first interval costs no call.

    Args:
        details: gives the heartbeat's details, read again by the next attempt.
    """
    interval, loop = heartbeat_interval(), asyncio.get_running_loop()
    # A timer costs less than a task for every activity would.
    timer = loop.call_later(interval, lambda: beat())

    def beat() -> None:
        nonlocal timer
        timer = loop.call_later(interval, beat)
        activity.heartbeat(details())

    try:
        yield
    finally:
        timer.cancel()
