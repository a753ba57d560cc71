"""`AgentFactory`: the registry of agents, records and Python alike, with its state in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from orchestrator.agents.base import AgentResources, BaseAgent
from orchestrator.agents.connections import AgentStores, Connections
from orchestrator.agents.discovery import as_agent, entry_point_agents, read_records
from orchestrator.agents.entries import AgentEntry, python_entry, record_entry
from orchestrator.agents.health import AgentHealth, judge
from orchestrator.agents.observation import observed_call
from orchestrator.agents.records import AgentRecord, check_record, record_document, record_sha256
from orchestrator.execution.errors import AgentExists, AgentNotFound
from orchestrator.execution.errors_steps import AgentFailed
from orchestrator.settings import Settings
from orchestrator.stores.agent_state import AgentState
from orchestrator.stores.breakers import CircuitBreakers
from orchestrator.stores.leases import WorkerLeases
from orchestrator.stores.pages import Page, check_limit, decode_cursor, encode_cursor
from orchestrator.stores.versioned import VersionRow


@dataclass(frozen=True, slots=True)
class PinnedRecord:
    """A record at one version, for one call."""

    record: AgentRecord
    version: int


class AgentFactory:
    """Owns the lifecycle of agents: register, get, list, update, retire, health.

    One instance per process, `agent_factory`; importing it opens nothing. Its connection is opened on first use, from
    the settings that `bind` gave it, else from the environment. Every method that reads or writes the registry raises
    `RedisUnavailable` in under 2 s where Redis is away.
    """

    def __init__(self, settings: Settings | None = None, *, redis: Redis | None = None) -> None:
        """Args: as `bind`."""
        self._connections = Connections(settings, redis)
        self._python: dict[str, BaseAgent] = {}

    def bind(self, settings: Settings, *, redis: Redis | None = None) -> Self:
        """Use these settings, and this client where one is given (it stays the giver's to close)."""
        self._connections = Connections(settings, redis)
        return self

    @property
    def settings(self) -> Settings:
        """The settings in use."""
        return self._connections.settings

    @property
    def breakers(self) -> CircuitBreakers:
        """The circuit breakers, for the running event loop."""
        return self._stores.breakers

    @property
    def leases(self) -> WorkerLeases:
        """The workers' leases, for the running event loop."""
        return self._stores.leases

    @property
    def python_types(self) -> list[str]:
        """Types of the Python agents in this process, for the worker's lease."""
        return sorted(self._python)

    async def aclose(self) -> None:
        """Close the connection that the factory opened; the next use opens it again."""
        await self._connections.aclose()

    # --- registering ---------------------------------------------------------------------------------------------

    async def load(self, folder: Path | None = None) -> list[str]:
        """Register Python agents by entry point, then a folder's records; returns the new records' types."""
        for agent in entry_point_agents():
            await self.register(agent)
        return await self.load_records(folder) if folder is not None else []

    async def load_records(self, folder: Path) -> list[str]:
        """Store a folder's records where their type never existed: an edited or retired one is left alone.

        Returns:
            The types that are new.

        Raises:
            InvalidAgent: the folder or a file in it cannot be used; nothing of it is stored.
        """
        records = await asyncio.to_thread(read_records, folder)
        created: list[str] = []
        for record in records:
            document = record_document(record)
            if await self._stores.agents.seed(document, record_sha256(document)):
                created.append(record.agent_type)
        return created

    async def register(self, agent: BaseAgent | type[BaseAgent] | AgentRecord | dict[str, Any]) -> AgentEntry:
        """Register a Python agent (again, with every process that can run it) or a new record.

        Raises:
            InvalidAgent: with every issue.
            AgentExists: a record's type is taken.
        """
        if isinstance(agent, AgentRecord):
            return await self._create(agent)
        if isinstance(agent, dict):
            return await self._create(check_record(agent))
        python = as_agent(agent, f"{agent!r}")
        description = {
            "description": python.description,
            "class": f"{type(python).__module__}:{type(python).__qualname__}",
        }
        await self._stores.agents.register_python(python.agent_type, description)
        self._python[python.agent_type] = python
        return python_entry(python.agent_type, description)

    async def update(self, agent_type: str, document: dict[str, Any], *, if_version: int | None = None) -> AgentEntry:
        """Store the next version of a record.

        Raises:
            InvalidAgent: with every issue.
            AgentNotFound: no such record.
            VersionConflict: the latest version is not `if_version`.
        """
        stored = await self._stores.agents.get(agent_type)
        if stored.retired:
            raise _retired(agent_type)
        return (await self.put(agent_type, document, if_version=if_version))[0]

    async def put(
        self, agent_type: str, document: dict[str, Any], *, if_version: int | None = None
    ) -> tuple[AgentEntry, bool]:
        """Store a record's next version, or its first; returns it and whether the agent is new.

        Raises:
            InvalidAgent: with every issue.
            AgentExists: the type is a Python agent's.
            VersionConflict: the latest version is not `if_version` (0: it must be new).
        """
        record = check_record(document, agent_type=agent_type)
        await self._refuse_python(agent_type)
        data = record_document(record)
        stored, created = await self._stores.agents.put(agent_type, data, record_sha256(data), if_version=if_version)
        return record_entry(stored), created

    async def retire(self, agent_type: str, *, if_version: int | None = None) -> None:
        """Take an agent out of use; a record's versions stay readable.

        Raises:
            AgentNotFound: no such agent.
            VersionConflict: the latest version is not `if_version`.
        """
        forgotten = await self._stores.agents.forget_python(agent_type)
        self._python.pop(agent_type, None)
        if forgotten and await self._stores.agents.find(agent_type) is None:
            return
        await self._stores.agents.retire(agent_type, if_version=if_version)

    # --- reading -------------------------------------------------------------------------------------------------

    async def get(self, agent_type: str, version: int | None = None) -> AgentEntry:
        """Return an agent, a record at its latest version by default (`retired` set where it was retired).

        Raises:
            AgentNotFound: no such agent or version.
        """
        if version is None:
            found = (await self._stores.agents.python_agents()).get(agent_type)
            if found is not None:
                return python_entry(agent_type, found)
        return record_entry(await self._stores.agents.get(agent_type, version))

    async def versions(self, agent_type: str, *, limit: int = 50, cursor: str | None = None) -> Page[VersionRow]:
        """Return versions of a record, newest first; none of a Python agent.

        Raises:
            AgentNotFound: no such agent.
            RequestError: bad limit or cursor.
        """
        if agent_type in await self._stores.agents.python_agents():
            return Page([])
        return await self._stores.agents.versions(agent_type, limit=limit, cursor=cursor)

    async def list(self, *, limit: int = 50, cursor: str | None = None, text: str | None = None) -> Page[AgentEntry]:
        """Return the agents in use, by type.

        Args:
            limit: items per page, 1 to 200.
            cursor: `next_cursor` of the page before.
            text: looked for in type and description, in any case.

        Raises:
            RequestError: bad limit or cursor.
        """
        check_limit(limit)
        after = decode_cursor("agents", cursor)
        python = await self._stores.agents.python_agents()
        found: list[AgentEntry] = []
        for agent_type in await self._stores.agents.types():
            if agent_type <= after or len(found) > limit:
                continue
            entry = await self._entry(agent_type, python)
            if entry is not None and (not text or entry.mentions(text)):
                found.append(entry)
        more = len(found) > limit
        return Page(found[:limit], encode_cursor("agents", found[limit - 1].agent_type) if more else None)

    async def known_types(self) -> set[str]:
        """Return the types of all agents in use, for validating definitions."""
        return set(await self._stores.agents.types())

    async def health(self, agent_type: str) -> AgentHealth:
        """Return how an agent is.

        Raises:
            AgentNotFound: no such agent.
        """
        stores, entry = self._stores, await self.get(agent_type)
        python = entry.kind == "python"
        model = (entry.record or {}).get("model") or self.settings.default_model
        calls, breaker, workers = await asyncio.gather(
            stores.calls.read(agent_type),
            stores.breakers.state(f"agent:{agent_type}" if python else f"model:{model}"),
            stores.leases.live(),
        )
        return judge(agent_type, python=python, calls=calls, breaker=breaker, workers=workers)

    # --- running -------------------------------------------------------------------------------------------------

    async def resolve(self, agent_type: str, version: int | None = None) -> BaseAgent | PinnedRecord:
        """Return what a step of this type is to call now.

        Args:
            agent_type: the agent.
            version: of a record that a step pinned at its first turn: used though a later one exists, or it was
                retired since. None: the latest.

        Raises:
            AgentNotFound: no such agent, or it was retired.
            AgentFailed: a Python agent that only other workers have; retryable, one of them takes it.
        """
        stores = self._stores
        python = self._python.get(agent_type)
        if python is not None:
            state = AgentState(stores.redis, stores.prefix, agent_type)
            python.bind(AgentResources(state=state, breakers=stores.breakers))
            return python
        if version is not None:
            pinned = await stores.agents.get(agent_type, version)
            return PinnedRecord(AgentRecord.model_validate(pinned.record), pinned.version)
        stored = await stores.agents.find(agent_type)
        if stored is not None and not stored.retired:
            return PinnedRecord(AgentRecord.model_validate(stored.record), stored.version)
        if agent_type in await stores.agents.python_agents():
            raise AgentFailed(f"agent '{agent_type}' is a Python agent that this worker has not registered")
        raise _retired(agent_type) if stored is not None else await stores.agents.not_found(agent_type)

    @asynccontextmanager
    async def observed(self, agent_type: str, *, lease_seconds: float) -> AsyncIterator[None]:
        """Record how the block, one call of an agent, goes; with Redis away it runs unrecorded.

        Args:
            agent_type: whose call.
            lease_seconds: after this time a call counts as lost.
        """
        async with observed_call(self._stores.calls, agent_type, lease_seconds=lease_seconds):
            yield

    @property
    def _stores(self) -> AgentStores:
        return self._connections.stores()

    async def _create(self, record: AgentRecord) -> AgentEntry:
        await self._refuse_python(record.agent_type)
        document = record_document(record)
        return record_entry(await self._stores.agents.create(document, record_sha256(document)))

    async def _refuse_python(self, agent_type: str) -> None:
        if agent_type in await self._stores.agents.python_agents():
            raise AgentExists(
                f"agent '{agent_type}' is a Python agent; a record of this type would never be used",
                hint=f"choose another agent_type, or retire it with DELETE /api/v1/agents/{agent_type}",
            )

    async def _entry(self, agent_type: str, python: dict[str, dict[str, Any]]) -> AgentEntry | None:
        if agent_type in python:
            return python_entry(agent_type, python[agent_type])
        stored = await self._stores.agents.find(agent_type)
        return None if stored is None or stored.retired else record_entry(stored)


def _retired(agent_type: str) -> AgentNotFound:
    hint = f"put it back with PUT /api/v1/agents/{agent_type}, or name another agent_type"
    return AgentNotFound(f"agent '{agent_type}' was retired", hint=hint)
