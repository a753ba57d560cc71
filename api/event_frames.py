"""Server-Sent Events of one execution: entries as frames, keep-alive comments, the end."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from api.event_ends import EventEnds
from api.event_hub import EventHub, StreamReader
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import ExecutionNotFound, RequestError, Unavailable
from orchestrator.stores.event_streams import BEGINNING, Entry, EventStreams
from orchestrator.stores.token_streams import TokenStreams

KEEP_ALIVE_SECONDS = 10.0
LOOK_SECONDS = 3.0
"""When nothing has come for so long, somebody looks whether the execution was ended from outside."""
MOST_LOOK_SECONDS = 30.0
KEEP_ALIVE = b": keep-alive\n\n"
AWAY = b": the events are away for the moment\n\n"
AWAY_SECONDS = 1.0

_PLACE = re.compile(r"(\d{1,19}-\d{1,19})(?:~(\d{1,19}-\d{1,19}))?")
PLACE_PATTERN = r"^([0-9]{1,19}-[0-9]{1,19}(~[0-9]{1,19}-[0-9]{1,19})?)?$"
"""The same in JSON Schema, for the contract; an empty id counts as none."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a client has: the last event and, where it also watches tokens, the last of these."""

    event: str = BEGINNING
    token: str = BEGINNING


def place_of(last_event_id: str | None) -> Place:
    """Return the place that `Last-Event-ID` names.

    Raises:
        RequestError: it names none.
    """
    if not last_event_id:
        return Place()
    found = _PLACE.fullmatch(last_event_id)
    if found is None:
        message = f"Last-Event-ID '{last_event_id[:60]}' is no id of an event of ours"
        hint = "send the id of the last event that came, unchanged, or leave the header out"
        raise RequestError(message, hint=hint, issues=[Issue("invalid-header", message, "/Last-Event-ID", hint)])
    return Place(found[1], found[2] or BEGINNING)


class EventFrames:
    """Gives the frames of event streams.

    Args:
        hub: reads for all clients of this process.
        streams: the events.
        tokens: the text of running model calls.
        ends: tells ends that no worker told.
    """

    def __init__(self, hub: EventHub, streams: EventStreams, tokens: TokenStreams, ends: EventEnds) -> None:
        self._hub = hub
        self._streams = streams
        self._tokens = tokens
        self._ends = ends

    async def finished(self, execution_id: str, place: Place) -> bool:
        """Whether a client has everything of an execution that is closed.

        Raises:
            ExecutionNotFound: no such execution.
            Unavailable: Redis or Temporal is away.
        """
        self._hub.admit()
        closed = await self._ends.told(execution_id)
        extent = await self._streams.extent(execution_id)
        return closed and extent.ended_run is not None and place.event == extent.last

    async def frames(self, execution_id: str, place: Place, *, tokens: bool) -> AsyncGenerator[bytes]:
        """Yield the frames after a place, until the end event or for ever."""
        wake = asyncio.Event()
        texts: StreamReader | None = None
        async with AsyncExitStack() as stack:
            try:
                key = self._streams.key(execution_id)
                events = await stack.enter_async_context(self._hub.reading(key, place.event, wake))
                if tokens:
                    key = self._tokens.key(execution_id)
                    texts = await stack.enter_async_context(self._hub.reading(key, place.token, wake))
            except Unavailable:
                # The answer has begun: the client comes back.
                return
            yield b": events of an execution\n\n"
            async for frame in _Stream(self._streams, self._ends, execution_id, events, texts, wake).run():
                yield frame


class _Stream:
    def __init__(
        self,
        streams: EventStreams,
        ends: EventEnds,
        execution_id: str,
        events: StreamReader,
        texts: StreamReader | None,
        wake: asyncio.Event,
    ) -> None:
        self._streams = streams
        self._ends = ends
        self._execution_id = execution_id
        self._events = events
        self._texts = texts
        self._wake = wake
        self._sent_at = time.monotonic()
        self._look_seconds = LOOK_SECONDS

    async def run(self) -> AsyncGenerator[bytes]:
        while True:
            self._wake.clear()
            ended = False
            try:
                chunks, ended = await self._next()
            except ExecutionNotFound:
                return
            except Unavailable:
                chunks = [AWAY]
                await asyncio.sleep(AWAY_SECONDS)
            if chunks:
                yield b"".join(chunks)
                self._sent_at, self._look_seconds = time.monotonic(), LOOK_SECONDS
            elif ended or not await self._still_open():
                return
            elif time.monotonic() - self._sent_at >= KEEP_ALIVE_SECONDS:
                yield KEEP_ALIVE
                self._sent_at = time.monotonic()
            if ended:
                return

    async def _next(self) -> tuple[list[bytes], bool]:
        """Return the frames of what has come since, and whether they end with the end."""
        chunks: list[bytes] = []
        if self._texts is not None:
            for entry in await self._texts.take():
                chunks.append(_token_frame(entry, f"{self._events.after}~{entry.id}"))
        if self._events.lagging:
            chunks += await self._healing()
        suffix = f"~{self._texts.after}" if self._texts is not None else ""
        entries = await self._events.take()
        chunks += [_frame(entry.type, f"{entry.id}{suffix}", entry.fields.get("data", "{}")) for entry in entries]
        ended = bool(entries) and entries[-1].type == "end" and not self._events.lagging
        return chunks, ended

    async def _healing(self) -> list[bytes]:
        """Return a snapshot where entries that the client lacks are gone; it has no id, so it is no place."""
        extent = await self._streams.extent(self._execution_id)
        if not extent.lacks(self._events.after):
            return []
        snapshot = await self._ends.snapshot(self._execution_id)
        return [_frame("snapshot", None, json.dumps(snapshot, separators=(",", ":")))]

    async def _still_open(self) -> bool:
        """Wait for entries, for a while; gives whether there can be any."""
        try:
            async with asyncio.timeout(min(self._look_seconds, KEEP_ALIVE_SECONDS)):
                await self._wake.wait()
            return True
        except TimeoutError:
            pass
        channel = self._events.channel
        if time.monotonic() - channel.looked_at < self._look_seconds:
            return True
        # One reader of a stream looks for all.
        channel.looked_at = time.monotonic()
        self._look_seconds = min(2 * self._look_seconds, MOST_LOOK_SECONDS)
        try:
            await self._ends.told(self._execution_id)
        except ExecutionNotFound:
            return False
        except Unavailable:
            pass
        return True


def _frame(kind: str, place: str | None, data: str) -> bytes:
    head = f"id: {place}\n" if place is not None else ""
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


def _token_frame(entry: Entry, place: str) -> bytes:
    fields = entry.fields
    numbers = {name: int(fields.get(name, 0)) for name in ("turn", "attempt", "seq")}
    data = {"path": fields.get("path", ""), **numbers, "text": fields.get("text", "")}
    return _frame("token", place, json.dumps(data, separators=(",", ":")))
