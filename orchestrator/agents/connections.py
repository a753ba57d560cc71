"""The stores behind an agent factory, opened on first use and never shared between event loops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import httpx2
from redis.asyncio import Redis

from orchestrator.execution.errors_steps import AgentFailed, AttemptTimeout, HttpConnection, ModelUnavailable
from orchestrator.execution.errors_tools import McpBadResponse, McpUnavailable
from orchestrator.settings import Settings, discover_settings
from orchestrator.stores.agent_calls import AgentCallStore
from orchestrator.stores.agents import AgentStore
from orchestrator.stores.breakers import BreakerPolicy, CircuitBreakers
from orchestrator.stores.leases import WorkerLeases
from orchestrator.stores.redis import connect_redis

DEPENDENCY_FAILURES = (
    AgentFailed,
    AttemptTimeout,
    HttpConnection,
    McpBadResponse,
    McpUnavailable,
    ModelUnavailable,
    OSError,
    httpx2.TransportError,
)
"""What opens a circuit. A 4xx, a 429 or an answer that breaks its schema comes from a dependency that works."""


@dataclass(frozen=True, slots=True)
class AgentStores:
    """Everything that the factory keeps in Redis."""

    redis: Redis
    prefix: str
    agents: AgentStore
    calls: AgentCallStore
    breakers: CircuitBreakers
    leases: WorkerLeases


def open_stores(settings: Settings, redis: Redis) -> AgentStores:
    """Return the stores over a client."""
    prefix = settings.redis_key_prefix
    return AgentStores(
        redis=redis,
        prefix=prefix,
        agents=AgentStore(redis, prefix),
        calls=AgentCallStore(redis, prefix),
        breakers=model_breakers(settings, redis),
        leases=WorkerLeases(redis, prefix),
    )


def model_breakers(settings: Settings, redis: Redis) -> CircuitBreakers:
    """Return the circuit breakers of models and Python agents."""
    policy = BreakerPolicy(
        least_calls=settings.breaker_least_calls,
        failure_rate=settings.breaker_failure_rate,
        window_seconds=settings.breaker_window_seconds,
        open_seconds=settings.breaker_open_seconds,
    )
    return CircuitBreakers(
        redis, settings.redis_key_prefix, policy, counts=lambda error: isinstance(error, DEPENDENCY_FAILURES)
    )


class Connections:
    """Opens the stores once per event loop: a Redis connection works only in the loop that opened it."""

    def __init__(self, settings: Settings | None = None, redis: Redis | None = None) -> None:
        """Args: without `settings` the environment's are used; a given `redis` stays the giver's."""
        self._settings = settings
        self._given = redis
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stores: AgentStores | None = None

    @property
    def settings(self) -> Settings:
        """The settings; where none were given, those of the environment and of the local stack that runs here."""
        if self._settings is None:
            self._settings = discover_settings()
        return self._settings

    def stores(self) -> AgentStores:
        """Return the stores for the running event loop."""
        loop = asyncio.get_running_loop()
        if self._stores is None or self._loop is not loop:
            self._stores = open_stores(self.settings, self._given or connect_redis(self.settings))
            self._loop = loop
        return self._stores

    async def aclose(self) -> None:
        """Close what this object opened."""
        if self._stores is not None and self._given is None and self._loop is asyncio.get_running_loop():
            await self._stores.redis.aclose()
        self._stores = None
