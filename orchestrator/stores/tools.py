"""Tools in Redis: declared ones with immutable versions, and what the hashes of offers stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from orchestrator.execution.errors import VersionConflict
from orchestrator.execution.errors_tools import ToolExists, ToolNotFound
from orchestrator.stores.pages import Page
from orchestrator.stores.redis import redis_errors
from orchestrator.stores.versioned import Filter, StoredVersion, VersionedStore

MOST_TOOLS = 100_000
OFFER_SECONDS = 30 * 86_400
"""An agent that waits longer than this between an offer and its call is not held to the offer."""


class ToolStore:
    """Records by name. Every method raises `RedisUnavailable` in under 2 s where Redis is away."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._store = VersionedStore(redis, prefix, "tools")

    async def create(self, record: dict[str, Any], sha256: str) -> StoredVersion:
        """Store a record under its name; a deleted one gets its next version.

        Raises:
            ToolExists: the name is taken.
        """
        name = str(record["name"])
        written = await self._store.write("create", name, record, sha256, _summary(record))
        if written.stored is None:
            raise ToolExists(
                f"tool '{name}' exists (version {written.latest})",
                hint=f"update it with PUT /api/v1/tools/{name}, or choose another name",
                details={"tool": name, "version": written.latest},
            )
        return written.stored

    async def seed(self, record: dict[str, Any], sha256: str) -> bool:
        """Store a shipped record where its name never existed; returns whether it is new."""
        written = await self._store.write("seed", str(record["name"]), record, sha256, _summary(record))
        return written.outcome != "kept"

    async def put(
        self, record: dict[str, Any], sha256: str, *, if_version: int | None = None
    ) -> tuple[StoredVersion, bool]:
        """Store the next version, or nothing where the content is the same; returns it and whether it is new.

        Raises:
            VersionConflict: the latest version is not `if_version` (0: it must be new).
        """
        name = str(record["name"])
        written = await self._store.write("put", name, record, sha256, _summary(record), if_version=if_version)
        if written.stored is None:
            raise _conflict(name, if_version, written.latest)
        return written.stored, written.outcome == "created"

    async def find(self, name: str) -> StoredVersion | None:
        """Return the latest version of a tool in use; None where there is none."""
        found = await self._store.read(name)
        return None if found is None or found.deleted else found

    async def get(self, name: str, version: int | None = None) -> StoredVersion:
        """Return a version, the latest by default, with `deleted` set where the tool was deleted.

        Raises:
            ToolNotFound: no such tool or version.
        """
        try:
            found = await self._store.read(name, version)
        except LookupError:
            raise ToolNotFound(f"tool '{name}' has no version {version}") from None
        if found is None:
            raise await self._not_found(name)
        return found

    async def delete(self, name: str, *, if_version: int | None = None) -> None:
        """Take a tool out of use; its versions stay readable.

        Raises:
            ToolNotFound: no such tool.
            VersionConflict: the latest version is not `if_version`.
        """
        outcome, latest = await self._store.delete(name, if_version=if_version)
        if outcome == "missing":
            raise await self._not_found(name)
        if outcome == "conflict":
            raise _conflict(name, if_version, latest)

    async def list(self, *, limit: int, cursor: str | None = None, text: str | None = None) -> Page[StoredVersion]:
        """Return tools in use by name, latest versions.

        Raises:
            RequestError: bad limit or cursor.
        """
        return await self._store.list(limit=limit, cursor=cursor, shown=Filter(text=text))

    async def names(self) -> Sequence[str]:
        """Return the names of all tools in use, sorted."""
        return await self._store.ids(most=MOST_TOOLS)

    async def _not_found(self, name: str) -> ToolNotFound:
        near = await self._store.nearest(name)
        hint = f"did you mean '{near}'?" if near else "GET /api/v1/tools lists the tools"
        return ToolNotFound(f"there is no declared tool '{name[:100]}'", hint=hint)


class OfferStore:
    """What models were offered: the hash of every tool, under the hash of the whole offer."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def keep(self, sha256: str, tools: Mapping[str, str]) -> None:
        """Keep an offer for a month from now."""
        async with redis_errors(self._redis):
            await self._redis.set(self._key(sha256), orjson.dumps(dict(tools)), ex=OFFER_SECONDS)

    async def recall(self, sha256: str) -> dict[str, str] | None:
        """Return an offer; None where it is not known any more."""
        async with redis_errors(self._redis):
            found = await self._redis.get(self._key(sha256))
        return None if found is None else dict(orjson.loads(found))

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}:tool-offers:{sha256}"


def _conflict(name: str, expected: int | None, latest: int) -> VersionConflict:
    return VersionConflict(
        f"tool '{name}' is at version {latest}, not {expected}",
        hint="read it again, apply your change to that version and send its version in If-Match",
        details={"tool": name, "version": latest},
    )


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {"name": record.get("name"), "description": record.get("description")}
