"""The claim store in Redis: one key for each value, fsynced before it is acknowledged, with an expiry."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Sequence

from redis.asyncio import BlockingConnectionPool, Redis

from orchestrator.settings import Settings
from orchestrator.stores.redis import (
    CALLS_AT_ONCE,
    CONNECT_SECONDS,
    redis_errors,
    run_durable_script,
    run_script,
)

DAY_SECONDS = 24 * 3600
KEPT_LONGER_DAYS = 7
"""A closed execution can be read for the namespace's retention; then there is a week for clocks and clean-ups."""
BATCH = 500
READ_AT_ONCE = 20
"""In one call: what a turn of an agent adds to its conversation is mostly a few KB, 2 MB at the most."""

# A value that is there already is not sent again.
_PROLONG = "return redis.call('EXPIRE', KEYS[1], ARGV[1])"
_PUT = "return redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])"
# A write on every read would swell the append-only file: once a day is enough.
_GET = """
local values = {}
for number, key in ipairs(KEYS) do
    values[number] = redis.call('GET', key)
    if values[number] and redis.call('TTL', key) < ARGV[1] - 86400 then redis.call('EXPIRE', key, ARGV[1]) end
end
return values
"""
_IDENTITY = "redis.call('SET', KEYS[1], ARGV[1], 'NX') return redis.call('GET', KEYS[1])"


class RedisClaims:
    """Values under `<prefix>:claim:<sha256>`.

    Args:
        settings: address, key prefix, retention.
    """

    kind = "redis"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = f"{settings.redis_key_prefix}:claim"
        self._expiry_seconds = (settings.claim_retention_days + KEPT_LONGER_DAYS) * DAY_SECONDS
        self._client: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def put(self, sha256: str, data: bytes) -> None:
        """See `ClaimStore.put`."""
        key = self._key(sha256)
        # An earlier writer may have died before its fsync: prolonging waits for one as well.
        if not await run_durable_script(self._redis, _PROLONG, (key,), (self._expiry_seconds,)):
            await run_durable_script(self._redis, _PUT, (key,), (data, self._expiry_seconds))

    async def get(self, sha256: str) -> bytes | None:
        """See `ClaimStore.get`."""
        return (await self.get_many([sha256]))[0]

    async def get_many(self, sha256s: Sequence[str]) -> list[bytes | None]:
        """See `ClaimStore.get_many`: one call for many small values, such as the parts of a conversation."""
        found: list[bytes | None] = []
        for start in range(0, len(sha256s), READ_AT_ONCE):
            keys = [self._key(sha256) for sha256 in sha256s[start : start + READ_AT_ONCE]]
            found += await run_script(self._redis, _GET, keys, (self._expiry_seconds,))
        return found

    async def prolong(self, sha256s: Collection[str]) -> list[str]:
        """See `ClaimStore.prolong`."""
        wanted, missing = list(sha256s), []
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            redis = self._redis
            async with redis_errors(redis):
                pipeline = redis.pipeline(transaction=False)
                for sha256 in batch:
                    pipeline.expire(self._key(sha256), self._expiry_seconds)
                answers = await pipeline.execute()
            missing += [sha256 for sha256, found in zip(batch, answers, strict=True) if not found]
        return missing

    async def identity(self) -> str:
        """See `ClaimStore.identity`: a random id that the first process left in the store."""
        found = await run_script(self._redis, _IDENTITY, (f"{self._prefix}-store",), (uuid.uuid4().hex,))
        return f"redis:{found.decode()}"

    async def take_turn(self, seconds: float) -> bool:
        """See `ClaimStore.take_turn`."""
        redis = self._redis
        async with redis_errors(redis):
            return bool(await redis.set(f"{self._prefix}-turn", "taken", nx=True, ex=int(seconds)))

    async def give_turn_back(self) -> None:
        """See `ClaimStore.give_turn_back`."""
        redis = self._redis
        async with redis_errors(redis):
            await redis.delete(f"{self._prefix}-turn")

    async def aclose(self) -> None:
        """See `ClaimStore.aclose`."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    def _key(self, sha256: str) -> str:
        return f"{self._prefix}:{sha256}"

    @property
    def _redis(self) -> Redis:
        """The client of the running loop: a Temporal client may be shared by several, connections may not."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = self._connect(), loop
        return self._client

    def _connect(self) -> Redis:
        pool = BlockingConnectionPool.from_url(
            self._settings.redis_dsn,
            decode_responses=False,
            protocol=2,
            max_connections=CALLS_AT_ONCE + 8,
            timeout=CONNECT_SECONDS,
            retry=None,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=None,  # As in `connect_redis`.
        )
        return Redis.from_pool(pool)
