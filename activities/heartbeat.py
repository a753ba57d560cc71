"""Heartbeats: the SDK sends none by itself, and both cancellation and crash detection travel on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity

USUAL_INTERVAL_SECONDS = 2.0
"""A cancel request reaches an activity with the answer to its next heartbeat, and a cancel shall end within 5 s."""
LONGEST_INTERVAL_SECONDS = 4.0
MOST_BEATS_PER_SECOND = 200
"""Of one worker. Each costs the server a write: those of a thousand waiting calls would take its time from the rest."""

_running = 0


def heartbeat_interval(running: int, timeout_seconds: float | None) -> float:
    """Return the seconds between two heartbeats of one activity.

    Args:
        running: activities that beat in this process: many beat less often.
        timeout_seconds: the heartbeat timeout; an activity beats at least three times within it.
    """
    interval = min(max(USUAL_INTERVAL_SECONDS, running / MOST_BEATS_PER_SECOND), LONGEST_INTERVAL_SECONDS)
    return min(interval, timeout_seconds / 3) if timeout_seconds else interval


@asynccontextmanager
async def heartbeating(details: Callable[[], Any]) -> AsyncIterator[None]:
    """Heartbeat steadily while the block runs; work that ends within the first interval costs no call.

    Args:
        details: gives the heartbeat's details, read again by the next attempt.
    """
    global _running
    limit, loop = activity.info().heartbeat_timeout, asyncio.get_running_loop()
    timeout = limit.total_seconds() if limit else None
    timer: asyncio.TimerHandle

    def later() -> asyncio.TimerHandle:
        # A timer costs less than a task for every activity would.
        return loop.call_later(heartbeat_interval(_running, timeout), beat)

    def beat() -> None:
        nonlocal timer
        timer = later()
        activity.heartbeat(details())

    _running += 1
    timer = later()
    try:
        yield
    finally:
        _running -= 1
        timer.cancel()
