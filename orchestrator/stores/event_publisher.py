"""Takes events from workflow threads and activities without ever blocking them, and writes them to Redis."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog
from redis.exceptions import ResponseError

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.event_streams import Event, EventStreams

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.01
"""Events of one activation, and of those beside it, go in one round trip."""
BATCH = 500
MOST_PENDING = 20_000
"""What comes on top while Redis is away or slow is dropped; a later snapshot makes up for it."""
AWAY_SECONDS = 0.5
WARN_EVERY_SECONDS = 30.0
LAST_SECONDS = 2.0
"""At the worker's end, for what is still pending."""


class EventPublisher:
    """A queue between threads and one writing task. Watching is a convenience: no failure here reaches an execution."""

    def __init__(self, streams: EventStreams) -> None:
        self._streams = streams
        self._pending: deque[tuple[str, Event]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._woken = False
        self._dropped = 0
        self._warned_at = float("-inf")

    def publish(self, execution_id: str, events: Sequence[Event]) -> None:
        """Take events of one execution, from any thread. It neither blocks nor fails."""
        if len(self._pending) + len(events) > MOST_PENDING:
            self._dropped += len(events)
        else:
            self._pending.extend((execution_id, event) for event in events)
        if self._loop is not None and not self._woken:
            self._woken = True
            # The loop may be closing; then nobody writes any more.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake.set)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write what comes in while the block runs, and what is left at its end."""
        self._loop = asyncio.get_running_loop()
        if self._pending:
            self._wake.set()
        task = asyncio.create_task(self._write_on())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            with suppress(RedisUnavailable, TimeoutError):
                async with asyncio.timeout(LAST_SECONDS):
                    while self._pending:
                        await self._write()

    async def _write_on(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            self._wake.clear()
            self._woken = False
            while self._pending:
                try:
                    await self._write()
                except RedisUnavailable as error:
                    self._warn(str(error))
                    await asyncio.sleep(AWAY_SECONDS)
            if self._dropped:
                self._warn("too many of them waited")

    async def _write(self) -> None:
        """Write a batch; where Redis is away it stays first in the queue, so that the order is kept."""
        batch = [self._pending[index] for index in range(min(BATCH, len(self._pending)))]
        try:
            await self._streams.append(batch)
        except RedisUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            # It is there and refuses one of them: again and again would repeat the others.
            self._warn(str(error))
        for _ in batch:
            self._pending.popleft()

    def _warn(self, reason: str) -> None:
        if time.monotonic() - self._warned_at > WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            dropped, self._dropped = self._dropped, 0
            log.warning("events are not published", reason=reason, pending=len(self._pending), dropped=dropped)
