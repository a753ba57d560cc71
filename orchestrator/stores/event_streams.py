"""What happens in executions, event by event, for whoever watches: a bounded Redis stream per execution."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.redis import redis_errors, run_script

Event = Mapping[str, Any]

MOST_ENTRIES = 50_000
LIFE_SECONDS = 7 * 86_400
"""After the end."""
ENDED_SECONDS = 90 * 86_400
"""For so long after its end an execution is known to have been; Temporal's retention is shorter."""
OPEN_LIFE_SECONDS = 40 * 86_400
"""After the last event of an execution whose end nobody told."""
BEGINNING = "0-0"

# KEYS: the stream. ARGV: run id, snapshot, end, most entries, seconds to live.
_END = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if last[1] and last[1][2][2] == 'end' and last[1][2][6] == ARGV[1] then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'type', 'snapshot', 'data', ARGV[2], 'run', ARGV[1])
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'type', 'end', 'data', ARGV[3], 'run', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return 1
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream; `fields` are as Redis gave them."""

    id: str
    order: tuple[int, int]
    fields: Mapping[str, str]

    @property
    def type(self) -> str:
        """The event's type."""
        return self.fields.get("type", "")


@dataclass(frozen=True, slots=True)
class Extent:
    """What a stream holds: the ids of its first and last entry, and whether earlier ones were trimmed."""

    first: str = BEGINNING
    last: str = BEGINNING
    ended_run: str | None = None
    """Id of the run whose end is the last entry."""
    trimmed: bool = False

    def lacks(self, after: str) -> bool:
        """Whether entries that come after an id are gone; a stream that was lost and began anew is not trimmed."""
        return (self.trimmed or after != BEGINNING) and order_of(after) < order_of(self.first)


def order_of(entry_id: str) -> tuple[int, int]:
    """Return what ids are ordered by."""
    moment, _, number = entry_id.partition("-")
    return int(moment), int(number or 0)


class EventStreams:
    """Writes and reads the streams."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._prefix = prefix

    def key(self, execution_id: str) -> str:
        """Return the stream's key."""
        return f"{self._prefix}:events:{execution_id}"

    def _ended_key(self, execution_id: str) -> str:
        return f"{self._prefix}:ended:{execution_id}"

    async def append(self, batch: Sequence[tuple[str, Event]]) -> None:
        """Add events, each to its execution's stream; an `end` brings its `snapshot`.

        Raises:
            RedisUnavailable: Redis is away; some may have been added.
        """
        async with redis_errors(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            for execution_id, event in batch:
                key = self.key(execution_id)
                if event["type"] == "end":
                    snapshot = event.get("snapshot") or {}
                    end = {name: value for name, value in event.items() if name != "snapshot"}
                    pipeline.eval(_END, 1, key, *_end_arguments(snapshot, end))
                    pipeline.set(self._ended_key(execution_id), str(event.get("at")), ex=ENDED_SECONDS)
                    continue
                fields: dict[Any, Any] = {"type": event["type"], "data": _text(event)}
                pipeline.xadd(key, fields, maxlen=MOST_ENTRIES, approximate=True)
                pipeline.expire(key, OPEN_LIFE_SECONDS)
            await pipeline.execute()

    async def end(self, execution_id: str, snapshot: Event, end: Event) -> bool:
        """Add the end of a run that could not tell it itself; gives whether it was missing.

        Raises:
            RedisUnavailable: Redis is away.
        """
        added = await run_script(self._redis, _END, [self.key(execution_id)], _end_arguments(snapshot, end))
        async with redis_errors(self._redis):
            await self._redis.set(self._ended_key(execution_id), str(end.get("at")), ex=ENDED_SECONDS)
        return bool(added)

    async def ended_at(self, execution_id: str) -> str | None:
        """Return when an execution ended, as far as an end was told, for long after its stream is gone.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            found: Any = await self._redis.get(self._ended_key(execution_id))
        return None if found is None else str(found)

    async def extent(self, execution_id: str) -> Extent:
        """Return what the stream holds.

        Raises:
            RedisUnavailable: Redis is away.
        """
        key = self.key(execution_id)
        async with redis_errors(self._redis):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.xrange(key, count=1)
            pipeline.xrevrange(key, count=1)
            pipeline.xinfo_stream(key)
            first, last, info = await pipeline.execute(raise_on_error=False)
            for answer in (first, last):
                if isinstance(answer, Exception):
                    raise answer
        if not last or isinstance(info, ResponseError):
            return Extent()
        if isinstance(info, Exception):
            raise RedisUnavailable(f"Redis cannot be reached: {info}", retry_after_seconds=2) from info
        last_id, fields = last[0]
        ended_run = fields.get("run") if fields.get("type") == "end" else None
        return Extent(first[0][0], last_id, ended_run, info["entries-added"] > info["length"])

    async def read(self, key: str, *, after: str, limit: int) -> list[Entry]:
        """Return the entries of a stream after an id, oldest first.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            found: Any = await self._redis.xrange(key, min=f"({after}", count=limit)
        return [_entry(*one) for one in found]

    async def last_id(self, key: str) -> str:
        """Return the id of a stream's last entry.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            found: Any = await self._redis.xrevrange(key, count=1)
        return str(found[0][0]) if found else BEGINNING

    async def wait(self, positions: Mapping[str, str], *, milliseconds: int, limit: int) -> dict[str, list[Entry]]:
        """Wait for entries of any of these streams, each after its position; gives them by key.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            places: dict[Any, Any] = dict(positions)
            found: Any = await self._redis.xread(places, count=limit, block=milliseconds)
        return {key: [_entry(*one) for one in entries] for key, entries in found or ()}


def _end_arguments(snapshot: Event, end: Event) -> list[str | int]:
    run_id = str(end.get("run_id") or "")
    return [run_id, _text(snapshot), _text(end), MOST_ENTRIES, LIFE_SECONDS]


def _text(event: Event) -> str:
    # ASCII: a lone surrogate of somebody's error text must not keep an event back.
    return json.dumps(event, separators=(",", ":"))


def _entry(entry_id: str, fields: Mapping[str, str]) -> Entry:
    return Entry(entry_id, order_of(entry_id), fields)
