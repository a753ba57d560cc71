"""The audit log: who wrote what, and how it ended; the newest in a bounded Redis stream, all of them in the log."""

from __future__ import annotations

import asyncio
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.pages import Page, check_limit, decode_cursor, encode_cursor
from orchestrator.stores.redis import redis_errors

log = structlog.get_logger("audit")

RECORD_SECONDS = 0.25
"""An answer never waits longer for its entry: that is then written behind it."""
MOST_UNDER_WAY = 1000
"""Entries that are written behind their answers, per process; those beyond are in the log alone."""
KIND = "audit"
_ID = re.compile(r"\d{1,20}-\d{1,20}")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One write, or the attempt of one.

    Attributes:
        who: name of the key.
        key_id: its id; "" without authentication.
        role: its role.
        operation: operation id of the contract.
        method: of HTTP.
        target: the path that was asked for, or that of what was created.
        status: of the answer.
        reason: as the request gave it.
        address: where the request came from.
    """

    who: str
    key_id: str
    role: str
    operation: str
    method: str
    target: str
    status: int
    reason: str
    address: str


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """An entry with its place and time (aware UTC)."""

    entry_id: str
    at: datetime
    entry: AuditEntry


class AuditLog:
    """The entries of one deployment.

    Args:
        redis: where the stream is.
        prefix: `settings.redis_key_prefix`.
        most: how many entries are kept, about.
    """

    def __init__(self, redis: Redis, prefix: str, most: int) -> None:
        self._redis = redis
        self._key = f"{prefix}:audit"
        self._most = most
        self._under_way: set[asyncio.Task[None]] = set()

    async def record(self, entry: AuditEntry) -> None:
        """Keep an entry; with Redis away it is in the process's log alone."""
        fields: dict[Any, Any] = asdict(entry)
        log.info("a write", **fields)
        if len(self._under_way) >= MOST_UNDER_WAY:
            _only_logged("too many are under way", fields)
            return
        keeping = asyncio.create_task(self._keep(fields))
        self._under_way.add(keeping)
        keeping.add_done_callback(self._under_way.discard)
        await asyncio.wait({keeping}, timeout=RECORD_SECONDS)

    async def aclose(self) -> None:
        """Wait for the entries that are under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _keep(self, fields: dict[Any, Any]) -> None:
        try:
            async with redis_errors(self._redis):
                await self._redis.xadd(self._key, fields, maxlen=self._most, approximate=True)
        except RedisUnavailable as error:
            _only_logged(error.message, fields)

    async def read(self, limit: int, cursor: str | None) -> Page[StoredEntry]:
        """Return entries, newest first.

        Raises:
            RequestError: the cursor was not given by this list.
            RedisUnavailable: Redis is away.
        """
        after = decode_cursor(KIND, cursor)
        if after and not _ID.fullmatch(after):
            decode_cursor(KIND, "-")
        async with redis_errors(self._redis):
            newest = f"({after}" if after else "+"
            found: Any = await self._redis.xrevrange(self._key, max=newest, count=check_limit(limit) + 1)
        items = [_entry(entry_id, fields) for entry_id, fields in found[:limit]]
        return Page(items, encode_cursor(KIND, items[-1].entry_id) if len(found) > limit else None)


def _only_logged(why: str, fields: dict[Any, Any]) -> None:
    log.warning("an audit entry is in this log only", error=why, **fields)


def _entry(entry_id: str, fields: dict[str, Any]) -> StoredEntry:
    at = datetime.fromtimestamp(int(entry_id.partition("-")[0]) / 1000, UTC)
    return StoredEntry(entry_id, at, AuditEntry(**{**fields, "status": int(fields["status"])}))
