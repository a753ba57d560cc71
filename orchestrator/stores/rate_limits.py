"""Token buckets shared by all workers: requests and tokens a minute per provider, with the server's clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.execution.errors_steps import RateLimitedLocally
from orchestrator.stores.script_batches import run_shared_script

log = structlog.get_logger(__name__)

WARN_EVERY_SECONDS = 30.0
SHORTEST_WAIT_MILLISECONDS = 50

# Hash fields: `r` and `t`, the requests and tokens that are left (tokens may be owed: below zero), `at` (ms).
# A bucket holds one minute's worth, which is how providers count. ARGV: limits a minute (0: none), then the amounts.
_PRELUDE = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function ms(value) return string.format('%.0f', math.ceil(value)) end
local limits = {tonumber(ARGV[1]), tonumber(ARGV[2])}
local amounts = {tonumber(ARGV[3]), tonumber(ARGV[4])}
local stored = redis.call('HMGET', KEYS[1], 'r', 't', 'at')
local passed = math.max(0, now - (tonumber(stored[3]) or now))
local left = {}
for i = 1, 2 do
  left[i] = math.min(limits[i], (tonumber(stored[i]) or limits[i]) + passed * limits[i] / 60000)
end
local function keep()
  local owed = 0
  for i = 1, 2 do
    left[i] = math.min(limits[i], left[i] - amounts[i])
    if limits[i] > 0 then owed = math.max(owed, (limits[i] - left[i]) * 60000 / limits[i]) end
  end
  redis.call('HSET', KEYS[1], 'r', tostring(left[1]), 't', tostring(left[2]), 'at', ms(now))
  redis.call('PEXPIRE', KEYS[1], ms(owed + 60000))
end
"""

_RESERVE = (
    _PRELUDE
    + """
local wait = math.max(0, redis.call('PTTL', KEYS[2]))
for i = 1, 2 do
  local wanted = math.min(amounts[i], limits[i])
  if limits[i] > 0 and left[i] < wanted then wait = math.max(wait, (wanted - left[i]) * 60000 / limits[i]) end
end
if wait > 0 then return ms(wait) end
if limits[1] > 0 or limits[2] > 0 then keep() end
return '0'
"""
)

_SETTLE = _PRELUDE + "keep() return '0'"

_CLOSE = """
local left = redis.call('PTTL', KEYS[1])
if left < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end
return '0'
"""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A provider's bounds for all workers together; None: unbounded."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call took from the buckets before it was made."""

    provider: str
    tokens: int


class RateLimits:
    """The buckets of all providers. With Redis away every call passes, with a warning now and then."""

    def __init__(self, redis: Redis, prefix: str, limits: Mapping[str, RateLimit]) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`; `limits` are by provider, in lower case."""
        self._redis = redis
        self._base = f"{{{prefix}:rates}}"
        self._limits = limits
        self._warned_at = float("-inf")

    async def reserve(self, model: str, tokens: int) -> Reservation | None:
        """Take one request and so many tokens for a call that is about to be made.

        A call larger than the bucket passes when that is full; the rest is owed.

        Args:
            model: `provider/model`.
            tokens: an estimate, which `settle` corrects.

        Returns:
            What was taken; None where nothing is counted for this provider.

        Raises:
            RateLimitedLocally: not now; `retry_after_seconds` says when, and the attempt is parked until then.
        """
        provider = _provider_of(model)
        answer = await self._run(_RESERVE, (self._bucket(provider), self._closed(model)), provider, 1, tokens)
        if answer is None:
            return None
        if answer != "0":
            seconds = max(int(answer), SHORTEST_WAIT_MILLISECONDS) / 1000
            raise RateLimitedLocally(
                f"the limit of provider '{provider}' is used up; next try of '{model}' in {seconds:.1f} s",
                hint=f"raise PROVIDERS__{provider.upper()}__REQUESTS_PER_MINUTE or …__TOKENS_PER_MINUTE if the "
                "provider allows more",
                retry_after_seconds=seconds,
                details={"provider": provider},
            )
        return Reservation(provider, tokens) if provider in self._limits else None

    async def settle(self, reservation: Reservation | None, tokens: int) -> None:
        """Correct a reservation by what the call really used."""
        if reservation is not None and tokens != reservation.tokens:
            await self._give_back(reservation.provider, requests=0, tokens=reservation.tokens - tokens)

    async def release(self, reservation: Reservation | None) -> None:
        """Give a reservation back: the call was not made."""
        if reservation is not None:
            await self._give_back(reservation.provider, requests=1, tokens=reservation.tokens)

    async def close(self, model: str, seconds: float) -> None:
        """Let no call to this model begin for a while: the provider said when to come back."""
        try:
            await run_shared_script(self._redis, _CLOSE, (self._closed(model),), (max(1, int(seconds * 1000)),))
        except RedisUnavailable as error:
            self._warn(error)

    async def _give_back(self, provider: str, *, requests: int, tokens: int) -> None:
        await self._run(_SETTLE, (self._bucket(provider),), provider, -requests, -tokens)

    async def _run(self, script: str, keys: tuple[str, ...], provider: str, requests: int, tokens: int) -> str | None:
        limit = self._limits.get(provider, RateLimit())
        args = (limit.requests_per_minute or 0, limit.tokens_per_minute or 0, requests, tokens)
        try:
            return str(await run_shared_script(self._redis, script, keys, args))
        except RedisUnavailable as error:
            self._warn(error)
            return None

    def _warn(self, error: RedisUnavailable) -> None:
        if time.monotonic() - self._warned_at > WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            log.warning("rate limits let every call through", error=str(error))

    def _bucket(self, provider: str) -> str:
        return f"{self._base}:bucket:{provider}"

    def _closed(self, model: str) -> str:
        return f"{self._base}:closed:{model}"


def _provider_of(model: str) -> str:
    return model.partition("/")[0].lower()
