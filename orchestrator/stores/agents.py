"""Agent records in Redis: immutable versions, and the Python agents that workers have registered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from redis.asyncio import Redis

from orchestrator.execution.errors import AgentExists, AgentNotFound, VersionConflict
from orchestrator.expressions import suggest
from orchestrator.stores.pages import Page
from orchestrator.stores.redis import redis_errors, run_durable_script
from orchestrator.stores.versioned import Filter, StoredVersion, VersionedStore, VersionRow, Written

_REGISTER = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
_FORGET = "return redis.call('HDEL', KEYS[1], ARGV[1])"


@dataclass(frozen=True, slots=True)
class StoredAgent:
    """One version of an agent record. Times are aware UTC; `updated_at` is this version's, or the retirement's."""

    agent_type: str
    version: int
    sha256: str
    record: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    retired: bool


class AgentStore:
    """Records by `agent_type`. Every method raises `RedisUnavailable` in under 2 s where Redis is away."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._store = VersionedStore(redis, prefix, "agents")
        self._python = f"{{{prefix}:agents}}:python"

    async def create(self, record: dict[str, Any], sha256: str) -> StoredAgent:
        """Store a record under its `agent_type`; a retired one gets its next version.

        Raises:
            AgentExists: the type is taken.
        """
        agent_type = str(record["agent_type"])
        written = await self._store.write("create", agent_type, record, sha256, _summary(record))
        if written.outcome == "exists":
            raise AgentExists(
                f"agent '{agent_type}' exists (version {written.latest})",
                hint=f"update it with PUT /api/v1/agents/{agent_type}, or choose another agent_type",
                details={"agent_type": agent_type, "version": written.latest},
            )
        return _stored(written)

    async def seed(self, record: dict[str, Any], sha256: str) -> StoredAgent | None:
        """Store a shipped record where its type never existed; None where it did, edited or retired since."""
        written = await self._store.write("seed", str(record["agent_type"]), record, sha256, _summary(record))
        return None if written.outcome == "kept" else _stored(written)

    async def put(
        self, agent_type: str, record: dict[str, Any], sha256: str, *, if_version: int | None = None
    ) -> tuple[StoredAgent, bool]:
        """Store the next version, or nothing where the content is the same; returns it and whether it is new.

        Raises:
            VersionConflict: the latest version is not `if_version` (0: it must be new).
        """
        written = await self._store.write("put", agent_type, record, sha256, _summary(record), if_version=if_version)
        if written.outcome == "conflict":
            raise _conflict(agent_type, if_version, written.latest)
        return _stored(written), written.outcome == "created"

    async def find(self, agent_type: str, version: int | None = None) -> StoredAgent | None:
        """Return a version, the latest by default, retired or not; None where there is none."""
        try:
            found = await self._store.read(agent_type, version)
        except LookupError:
            return None
        return None if found is None else _agent(found)

    async def get(self, agent_type: str, version: int | None = None) -> StoredAgent:
        """Return a version, the latest by default, with `retired` set where the agent was retired.

        Raises:
            AgentNotFound: no such record or version.
        """
        found = await self.find(agent_type, version)
        if found is None:
            raise await self.not_found(agent_type, version)
        return found

    async def retire(self, agent_type: str, *, if_version: int | None = None) -> None:
        """Mark the record as retired: new steps cannot use it, its versions stay readable.

        Raises:
            AgentNotFound: no such record.
            VersionConflict: the latest version is not `if_version`.
        """
        outcome, latest = await self._store.delete(agent_type, if_version=if_version)
        if outcome == "missing":
            raise await self.not_found(agent_type)
        if outcome == "conflict":
            raise _conflict(agent_type, if_version, latest)

    async def versions(self, agent_type: str, *, limit: int, cursor: str | None = None) -> Page[VersionRow]:
        """Return versions, newest first.

        Raises:
            AgentNotFound: no such record.
            RequestError: bad limit or cursor.
        """
        page = await self._store.versions(agent_type, limit=limit, cursor=cursor)
        if page is None:
            raise await self.not_found(agent_type)
        return page

    async def list(self, *, limit: int, cursor: str | None = None, text: str | None = None) -> Page[StoredAgent]:
        """Return live records by type, latest versions.

        Raises:
            RequestError: bad limit or cursor.
        """
        page = await self._store.list(limit=limit, cursor=cursor, shown=Filter(text=text))
        return Page([_agent(item) for item in page.items], page.next_cursor)

    async def types(self) -> Sequence[str]:
        """Return the types of all live records and of all registered Python agents, sorted."""
        return sorted({*await self._store.ids(most=100_000), *await self.python_agents()})

    async def register_python(self, agent_type: str, description: dict[str, Any]) -> None:
        """Make a worker's Python agent known to the other processes, fsynced."""
        await run_durable_script(
            self._redis, _REGISTER, (self._python,), (agent_type, orjson.dumps(description).decode())
        )

    async def forget_python(self, agent_type: str) -> bool:
        """Remove a Python agent's registration, fsynced; returns whether there was one."""
        return bool(await run_durable_script(self._redis, _FORGET, (self._python,), (agent_type,)))

    async def python_agents(self) -> dict[str, dict[str, Any]]:
        """Return the registered Python agents by type."""
        async with redis_errors(self._redis):
            found = await self._redis.hgetall(self._python)
        return {str(key): orjson.loads(value) for key, value in sorted(found.items())}

    async def not_found(self, agent_type: str, version: int | None = None) -> AgentNotFound:
        """Return the error for an unknown type or version, with the nearest known type as its hint."""
        known = await self.types()
        if version is not None and agent_type in known:
            return AgentNotFound(f"agent '{agent_type}' has no version {version}")
        near = suggest(agent_type, known)
        hint = f"did you mean '{near}'?" if near else "GET /api/v1/agents lists the agents"
        return AgentNotFound(f"there is no agent '{agent_type[:100]}'", hint=hint)


def _conflict(agent_type: str, expected: int | None, latest: int) -> VersionConflict:
    return VersionConflict(
        f"agent '{agent_type}' is at version {latest}, not {expected}",
        hint="read it again, apply your change to that version and send its version in If-Match",
        details={"agent_type": agent_type, "version": latest},
    )


def _stored(written: Written) -> StoredAgent:
    if written.stored is None:
        raise AssertionError(f"a write that ended in '{written.outcome}' stored nothing")
    return _agent(written.stored)


def _agent(item: StoredVersion) -> StoredAgent:
    return StoredAgent(
        item.id, item.version, item.sha256, item.document, item.created_at, item.updated_at, item.deleted
    )


def _summary(record: dict[str, Any]) -> dict[str, Any]:
    return {"name": record.get("agent_type"), "description": record.get("description")}
