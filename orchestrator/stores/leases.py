"""Workers' leases: which workers live, told by themselves every two seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

import structlog
from pydantic import BaseModel, Field
from redis.asyncio import Redis

from orchestrator.background import beside
from orchestrator.execution.errors import RedisUnavailable
from orchestrator.stores.redis import run_script

log = structlog.get_logger(__name__)

LEASE_SECONDS = 10.0
REFRESH_SECONDS = 2.0

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
_REFRESH = (
    _NOW
    + """
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
return 1
"""
)
_RELEASE = """
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('HDEL', KEYS[2], ARGV[1])
"""
_LIVE = (
    _NOW
    + """
local dead = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
for _, id in ipairs(dead) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
end
return redis.call('HVALS', KEYS[2])
"""
)


class WorkerLease(BaseModel):
    """What a living worker says about itself."""

    worker_id: str
    pid: int
    task_queue: str
    host: str
    started_at: datetime
    agents: list[str] = Field(default_factory=list)
    """Types of the Python agents that this worker can run."""
    vectors: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    claims: dict[str, Any] = Field(default_factory=dict)
    """`identity` of the claim store that this worker uses; empty while it cannot be asked."""


class WorkerLeases:
    """The leases of all workers. Time is the Redis server's."""

    def __init__(self, redis: Redis, prefix: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`; a lease ends `lease_seconds` after its last refresh."""
        self._redis = redis
        self._keys = (f"{{{prefix}:workers}}:expiry", f"{{{prefix}:workers}}:leases")
        self._lease_milliseconds = int(lease_seconds * 1000)

    async def refresh(self, lease: WorkerLease) -> None:
        """Write or renew a lease."""
        args = (lease.worker_id, lease.model_dump_json(), self._lease_milliseconds)
        await run_script(self._redis, _REFRESH, self._keys, args)

    async def release(self, worker_id: str) -> None:
        """End a lease at once."""
        await run_script(self._redis, _RELEASE, self._keys, (worker_id,))

    async def live(self) -> list[WorkerLease]:
        """Return the leases that have not run out, by worker id."""
        found = await run_script(self._redis, _LIVE, self._keys)
        return sorted((WorkerLease.model_validate_json(item) for item in found), key=lambda lease: lease.worker_id)

    @asynccontextmanager
    async def held(
        self, read: Callable[[], WorkerLease], *, every_seconds: float = REFRESH_SECONDS
    ) -> AsyncIterator[None]:
        """Hold a lease while the block runs; with Redis away the worker works on and the lease comes back by itself.

        Args:
            read: gives the lease's present content before every refresh.
            every_seconds: the time between two refreshes.
        """
        try:
            async with beside(self._keep(read, every_seconds)):
                yield
        finally:
            with suppress(RedisUnavailable):
                await self.release(read().worker_id)

    async def _keep(self, read: Callable[[], WorkerLease], every_seconds: float) -> None:
        away = False
        while True:
            try:
                await self.refresh(read())
                away = False
            except RedisUnavailable as error:
                if not away:
                    log.warning("the worker's lease is not renewed", error=str(error))
                away = True
            await asyncio.sleep(every_seconds)
