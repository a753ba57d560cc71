"""The text of running model calls, piece by piece, for whoever watches: a bounded Redis stream per execution."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.redis import redis_errors
from orchestrator.stores.script_batches import run_shared_script

log = structlog.get_logger(__name__)

FLUSH_SECONDS = 0.05
LOOK_SECONDS = 0.1
MOST_ENTRIES = 5000
MOST_PENDING_LETTERS = 256 * 1024
"""Waiting for a slow Redis; what comes on top is left out, which a gap in `seq` shows."""
LIFE_SECONDS = 3600
"""After the last piece."""
WARN_EVERY_SECONDS = 30.0
BEGINNING = "0-0"

_APPEND = """
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, 3))
return redis.call('EXPIRE', KEYS[1], ARGV[2])
"""


@dataclass(frozen=True, slots=True)
class TokenPiece:
    """A piece of a model's answer.

    Attributes:
        id: the place in the stream: reading goes on after it.
        path: the step's path.
        turn: of the agent's loop.
        attempt: of that turn; a higher one begins the text anew.
        seq: 0, 1, … within the attempt; a gap is text that was left out.
        text: what to append.
    """

    id: str
    path: str
    turn: int
    attempt: int
    seq: int
    text: str


class TokenWriter:
    """Takes the pieces of one attempt; `publish` only remembers them, a task of its own writes them."""

    def __init__(self, store: TokenStreams, execution_id: str, fields: dict[str, str | int]) -> None:
        self._store = store
        self._execution_id = execution_id
        self._fields = fields
        self._pending: list[str] = []
        self._letters = 0
        self._seq = 0
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()

    def publish(self, text: str) -> None:
        """Take a piece of text. It neither blocks nor fails."""
        if not text:
            return
        if self._letters + len(text) > MOST_PENDING_LETTERS:
            self._seq += 1
            return
        self._pending.append(text)
        self._letters += len(text)
        self._wake.set()

    async def run(self) -> None:
        """Write what comes in, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(FLUSH_SECONDS)
            self._wake.clear()
            await self.flush()

    async def flush(self) -> None:
        """Write what is pending as one piece; what Redis does not take is left out."""
        async with self._writing:
            text = "".join(self._pending)
            self._pending.clear()
            self._letters = 0
            if not text:
                return
            seq, self._seq = self._seq, self._seq + 1
            await self._store.append(self._execution_id, {**self._fields, "seq": seq, "text": text})


class TokenStreams:
    """Writes and reads the streams. Watching is a convenience: no failure here ever reaches a model call."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._prefix = prefix
        self._warned_at = float("-inf")

    @asynccontextmanager
    async def writing(self, execution_id: str, *, path: str, turn: int, attempt: int) -> AsyncIterator[TokenWriter]:
        """Give a writer for one attempt's text; at the end of the block the rest is written."""
        writer = TokenWriter(self, execution_id, {"path": path, "turn": turn, "attempt": attempt})
        task = asyncio.create_task(writer.run())
        try:
            yield writer
        finally:
            # First the rest, so that the task is not cancelled while it writes.
            await writer.flush()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def append(self, execution_id: str, fields: Mapping[str, str | int]) -> None:
        """Add one entry; a failure is a warning now and then."""
        key = self.key(execution_id)
        try:
            await run_shared_script(self._redis, _APPEND, (key,), (MOST_ENTRIES, LIFE_SECONDS, *chain(*fields.items())))
        except RedisUnavailable as error:
            if time.monotonic() - self._warned_at > WARN_EVERY_SECONDS:
                self._warned_at = time.monotonic()
                log.warning("the text of a model call is not published", error=str(error))

    async def read(self, execution_id: str, *, after: str = BEGINNING, limit: int = 200) -> list[TokenPiece]:
        """Return the pieces after one, oldest first; none where nothing was published or its time is over.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            found: Any = await self._redis.xrange(self.key(execution_id), min=f"({after}", count=limit)
        return [_piece(entry_id, fields) for entry_id, fields in found]

    async def latest(self, execution_id: str) -> str:
        """Return the id of the newest piece, to follow from now on; the beginning where there is none.

        Raises:
            RedisUnavailable: Redis is away.
        """
        async with redis_errors(self._redis):
            found: Any = await self._redis.xrevrange(self.key(execution_id), count=1)
        return str(found[0][0]) if found else BEGINNING

    async def follow(self, execution_id: str, *, after: str = BEGINNING) -> AsyncIterator[TokenPiece]:
        """Yield the pieces after one as they come, without end: the caller knows when the execution is over.

        It looks again and again instead of blocking: a blocked read would hold a connection for each watcher.

        Raises:
            RedisUnavailable: Redis is away.
        """
        while True:
            pieces = await self.read(execution_id, after=after)
            for piece in pieces:
                yield piece
                after = piece.id
            if not pieces:
                await asyncio.sleep(LOOK_SECONDS)

    def key(self, execution_id: str) -> str:
        """Return the stream's key."""
        return f"{self._prefix}:tokens:{execution_id}"


def _piece(entry_id: str, fields: dict[str, str]) -> TokenPiece:
    turn, attempt, seq = (int(fields.get(name, 0)) for name in ("turn", "attempt", "seq"))
    return TokenPiece(entry_id, fields.get("path", ""), turn, attempt, seq, fields.get("text", ""))
