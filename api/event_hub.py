"""One loop per API process reads the streams that anybody watches, and hands every entry to its readers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from orchestrator.execution.errors import RedisUnavailable, TooManyStreams
from orchestrator.stores.event_streams import Entry, EventStreams, order_of

log = structlog.get_logger(__name__)

WAIT_MILLISECONDS = 250
"""A stream that nobody watched before is asked for with the next round."""
AWAY_SECONDS = 1.0
PAGE = 500
MOST_PENDING = 1_000
"""Entries that wait for one reader; one that lags further reads from Redis at its own pace."""
MOST_READERS = 2_000


class Channel:
    """One stream that is watched: how far the loop has read it, and for whom."""

    def __init__(self, key: str, position: str) -> None:
        self.key = key
        self.position = position
        self.readers: set[StreamReader] = set()
        self.looked_at = time.monotonic()
        """When an entry came, or somebody last looked whether the execution has ended without a word."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Hand entries to every reader."""
        self.position, self.looked_at = entries[-1].id, time.monotonic()
        for reader in self.readers:
            reader.deliver(entries)


class StreamReader:
    """One client's place in one stream: first what is there already, then what comes.

    Args:
        streams: where the entries are.
        channel: the stream.
        after: what the client has.
        wake: set when there is something to take.
    """

    def __init__(self, streams: EventStreams, channel: Channel, after: str, wake: asyncio.Event) -> None:
        self._streams = streams
        self.channel = channel
        self.after = after
        self._order = order_of(after)
        self._wake = wake
        self._pending: deque[Entry] = deque()
        self.lagging = True
        """Whether the next entries are read from Redis: at first, and after the client was too slow."""

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Keep what came, or leave it to be read later where too much waits."""
        if len(self._pending) + len(entries) > MOST_PENDING:
            self._pending.clear()
            self.lagging = True
        else:
            self._pending.extend(entry for entry in entries if entry.order > self._order)
        self._wake.set()

    async def take(self) -> list[Entry]:
        """Return the next entries; none where all are taken.

        Raises:
            RedisUnavailable: they have to be read, and Redis is away.
        """
        found: list[Entry] = []
        if self.lagging:
            self._pending.clear()
            found = await self._streams.read(self.channel.key, after=self.after, limit=PAGE)
            # What comes after a page that is not full was delivered since, or will be.
            self.lagging = len(found) == PAGE
        if not found and not self.lagging:
            found = [entry for entry in self._pending if entry.order > self._order]
            self._pending.clear()
        if found:
            self.after, self._order = found[-1].id, found[-1].order
        return found


class EventHub:
    """The readers of one API process.

    Args:
        streams: where the entries are.
    """

    def __init__(self, streams: EventStreams) -> None:
        self._streams = streams
        self._channels: dict[str, Channel] = {}
        self._feeding: asyncio.Task[None] | None = None

    @property
    def readers(self) -> int:
        """How many there are."""
        return sum(len(channel.readers) for channel in self._channels.values())

    def admit(self) -> None:
        """Refuse a reader over the bound.

        Raises:
            TooManyStreams: there are as many as one process serves.
        """
        if self.readers >= MOST_READERS:
            raise TooManyStreams(
                f"this process serves {MOST_READERS} event streams already",
                hint="read GET /executions/{id} instead, or try again later",
                retry_after_seconds=10,
            )

    @asynccontextmanager
    async def reading(self, key: str, after: str, wake: asyncio.Event) -> AsyncIterator[StreamReader]:
        """Give a reader of a stream; nothing of it is left after the block.

        Raises:
            RedisUnavailable: Redis is away.
        """
        channel = self._channels.get(key)
        if channel is None:
            # Entries before this one are what a new reader reads by itself.
            position = await self._streams.last_id(key)
            channel = self._channels.setdefault(key, Channel(key, position))
        reader = StreamReader(self._streams, channel, after, wake)
        channel.readers.add(reader)
        self._feed()
        try:
            yield reader
        finally:
            channel.readers.discard(reader)
            if not channel.readers and self._channels.get(key) is channel:
                del self._channels[key]

    async def aclose(self) -> None:
        """Stop the loop."""
        if self._feeding is not None:
            self._feeding.cancel()
            await asyncio.gather(self._feeding, return_exceptions=True)

    def _feed(self) -> None:
        if self._feeding is None or self._feeding.done():
            self._feeding = asyncio.create_task(self._feed_on())

    async def _feed_on(self) -> None:
        """Read for all while there is anybody."""
        while self._channels:
            asked = dict(self._channels)
            positions = {key: channel.position for key, channel in asked.items()}
            try:
                found = await self._streams.wait(positions, milliseconds=WAIT_MILLISECONDS, limit=PAGE)
            except RedisUnavailable as error:
                log.warning("event streams wait for Redis", error=error.message)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            for key, entries in found.items():
                # One that was left and watched anew has a position of its own.
                if entries and self._channels.get(key) is asked[key]:
                    asked[key].deliver(entries)
