"""Circuit breakers shared by all workers: closed, open after too many failures, half-open with one probe as a lease."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.execution.errors_steps import CircuitOpen
from orchestrator.stores.pages import LARGEST_PAGE, Page, page_of
from orchestrator.stores.redis import redis_errors
from orchestrator.stores.script_batches import run_shared_script

log = structlog.get_logger(__name__)

BreakerStatus = Literal["closed", "open", "half-open"]
BUCKETS = 6
"""The window slides in sixths."""
WARN_EVERY_SECONDS = 30.0

# Hash fields: `state`, `open_until` (ms), `probe`, `probe_until` (ms), `last_error`, `last_error_at` (ms), and per
# bucket of the window `c<bucket>` calls and `f<bucket>` failures.
_PRELUDE = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local function ms(value) return string.format('%.0f', value) end
local key = KEYS[1]
local state = redis.call('HGET', key, 'state') or 'closed'
"""

_ACQUIRE = (
    _PRELUDE
    + """
local token, lease, open_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
if state == 'closed' then return {'closed', 0} end
local wait = tonumber(redis.call('HGET', key, 'open_until') or '0') - now
if wait > 0 then return {'open', ms(wait)} end
local probing = tonumber(redis.call('HGET', key, 'probe_until') or '0') - now
if probing > 0 then return {'open', ms(math.min(probing, open_ms))} end
redis.call('HSET', key, 'state', 'half-open', 'probe', token, 'probe_until', ms(now + lease))
return {'probe', 0}
"""
)

_RECORD = (
    _PRELUDE
    + """
local token, outcome, failure = ARGV[1], ARGV[2], ARGV[3]
local bucket_ms, buckets, least = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local rate, open_ms = tonumber(ARGV[7]), tonumber(ARGV[8])
local ttl = ms(bucket_ms * buckets + open_ms + 86400000)
local function open()
  redis.call('DEL', key)
  redis.call('HSET', key, 'state', 'open', 'open_until', ms(now + open_ms),
    'last_error', failure, 'last_error_at', ms(now))
  redis.call('PEXPIRE', key, ttl)
  return 'open'
end
if state ~= 'closed' then
  if redis.call('HGET', key, 'probe') ~= token then return state end
  if outcome == 'failure' then return open() end
  if outcome == 'success' then redis.call('DEL', key) return 'closed' end
  redis.call('HDEL', key, 'probe', 'probe_until')
  return state
end
if outcome == 'abandoned' then return state end
local this = math.floor(now / bucket_ms)
redis.call('HINCRBY', key, 'c' .. this, 1)
if outcome == 'failure' then
  redis.call('HINCRBY', key, 'f' .. this, 1)
  redis.call('HSET', key, 'last_error', failure, 'last_error_at', ms(now))
end
redis.call('ZADD', KEYS[2], ms(now), ARGV[9])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ms(now - ttl))
redis.call('PEXPIRE', key, ttl)
local calls, failures = 0, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local letter, bucket = string.match(all[i], '^([cf])(%d+)$')
  if letter then
    if tonumber(bucket) <= this - buckets then redis.call('HDEL', key, all[i])
    elseif letter == 'c' then calls = calls + tonumber(all[i + 1])
    else failures = failures + tonumber(all[i + 1]) end
  end
end
if outcome == 'failure' and calls >= least and failures >= rate * calls then return open() end
return 'closed'
"""
)

_STATE = (
    _PRELUDE
    + """
local bucket_ms, buckets = tonumber(ARGV[1]), tonumber(ARGV[2])
local this, calls, failures = math.floor(now / bucket_ms), 0, 0
local all = redis.call('HGETALL', key)
for i = 1, #all, 2 do
  local letter, bucket = string.match(all[i], '^([cf])(%d+)$')
  if letter and tonumber(bucket) > this - buckets then
    if letter == 'c' then calls = calls + tonumber(all[i + 1]) else failures = failures + tonumber(all[i + 1]) end
  end
end
local open_until = redis.call('HGET', key, 'open_until')
if state == 'open' and tonumber(open_until or '0') <= now then state = 'half-open' end
local last = redis.call('HMGET', key, 'last_error', 'last_error_at')
return {state, calls, failures, open_until, last[1], last[2]}
"""
)


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a circuit opens: at least `least_calls` in `window_seconds`, of them `failure_rate` or more failed.

    Five attempts of one step against a dead dependency stay far below the default, so that a step's own retry policy
    ends it; a fleet that hammers one is stopped.
    """

    least_calls: int = 20
    failure_rate: float = 0.5
    window_seconds: float = 30.0
    open_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class BreakerState:
    """One circuit as it is now; calls and failures are those in the window. Times are aware UTC."""

    name: str
    state: BreakerStatus
    calls: int
    failures: int
    open_until: datetime | None
    last_error: str | None
    last_error_at: datetime | None


class CircuitBreakers:
    """The circuits of all dependencies, by name (`model:openai/gpt-5-mini`); with Redis away every call passes."""

    def __init__(
        self,
        redis: Redis,
        prefix: str,
        policy: BreakerPolicy | None = None,
        *,
        counts: Callable[[BaseException], bool],
    ) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`; `counts` tells the dependency's failures from others."""
        self._redis = redis
        self._base = f"{{{prefix}:breakers}}"
        self._policy = policy or BreakerPolicy()
        self._counts = counts
        self._warned_at = float("-inf")

    @asynccontextmanager
    async def guard(self, name: str, *, lease_seconds: float) -> AsyncIterator[None]:
        """Run the block if the circuit lets it, and record how it ended.

        Args:
            name: the dependency's name.
            lease_seconds: how long a probe may take before another one is allowed.

        Raises:
            CircuitOpen: the dependency is not to be called now; `retry_after_seconds` says when to come back.
        """
        token = uuid.uuid4().hex
        await self._acquire(name, token, lease_seconds)
        try:
            yield
        except asyncio.CancelledError:
            await asyncio.shield(self._record(name, token, "abandoned"))
            raise
        except BaseException as error:
            failed = self._counts(error)
            await self._record(name, token, "failure" if failed else "success", str(error)[:500] if failed else "")
            raise
        await self._record(name, token, "success")

    async def state(self, name: str) -> BreakerState:
        """Return one circuit; one that was never used is closed."""
        args = (self._bucket_milliseconds, BUCKETS)
        answer = await run_shared_script(self._redis, _STATE, self._keys(name), args)
        state, calls, failures, open_until, last_error, last_error_at = answer
        return BreakerState(
            name, state, int(calls), int(failures), _moment(open_until), last_error, _moment(last_error_at)
        )

    async def states(self, *, limit: int = LARGEST_PAGE, cursor: str | None = None) -> Page[BreakerState]:
        """Return circuits that were used lately, by name; a day's rest and one is forgotten.

        Raises:
            RequestError: bad limit or cursor.
        """
        async with redis_errors(self._redis):
            names: Any = await self._redis.zrange(self._keys("")[1], 0, -1)
        page = page_of("breakers", sorted(map(str, names)), str, limit=limit, cursor=cursor)
        return Page(await asyncio.gather(*map(self.state, page.items)), page.next_cursor)

    async def known(self, name: str) -> bool:
        """Return whether the circuit was used lately: its failures or its state may still be remembered."""
        async with redis_errors(self._redis):
            score: Any = await self._redis.zscore(self._keys(name)[1], name)
        return score is not None

    async def reset(self, name: str) -> None:
        """Close a circuit and forget its failures."""
        async with redis_errors(self._redis):
            await self._redis.delete(self._keys(name)[0])

    async def _acquire(self, name: str, token: str, lease_seconds: float) -> None:
        args = (token, int(lease_seconds * 1000), self._open_milliseconds)
        try:
            answer, wait = await run_shared_script(self._redis, _ACQUIRE, self._keys(name), args)
        except RedisUnavailable as error:
            self._warn(error)
            return
        if answer == "open":
            seconds = max(0.1, int(wait) / 1000)
            raise CircuitOpen(
                f"the circuit of '{name}' is open after too many failures; next try in {seconds:.1f} s",
                hint="it closes by itself once the dependency answers",
                retry_after_seconds=seconds,
                details={"breaker": name},
            )

    async def _record(self, name: str, token: str, outcome: str, failure: str = "") -> None:
        policy = self._policy
        args: tuple[Any, ...] = (token, outcome, failure, self._bucket_milliseconds, BUCKETS)
        args += (policy.least_calls, policy.failure_rate, self._open_milliseconds, name)
        try:
            await run_shared_script(self._redis, _RECORD, self._keys(name), args)
        except RedisUnavailable as error:
            self._warn(error)

    def _warn(self, error: RedisUnavailable) -> None:
        if time.monotonic() - self._warned_at > WARN_EVERY_SECONDS:
            self._warned_at = time.monotonic()
            log.warning("circuit breakers let every call through", error=str(error))

    def _keys(self, name: str) -> tuple[str, str]:
        return f"{self._base}:circuit:{name}", f"{self._base}:used"

    @property
    def _bucket_milliseconds(self) -> int:
        return max(1, int(self._policy.window_seconds * 1000 / BUCKETS))

    @property
    def _open_milliseconds(self) -> int:
        return max(1, int(self._policy.open_seconds * 1000))


def _moment(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None
