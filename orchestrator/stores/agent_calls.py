"""How agents' calls went: totals, the recent ones, those in flight and the last error, kept over restarts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from redis.asyncio import Redis

from orchestrator.stores.script_batches import run_shared_script

RECENT_CALLS = 50
"""Health is judged by the last calls, at most this many."""
RECENT_SECONDS = 900.0
"""…and not by older ones."""

_NOW = "local t = redis.call('TIME'); local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

# KEYS: totals (hash), recent (list of "<ms> <1|0> <milliseconds taken>"), in flight (sorted set by end of lease).
_BEGIN = (
    _NOW
    + """
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[2]), ARGV[1])
return 1
"""
)
_END = (
    _NOW
    + """
local id, outcome, taken, error, most = unpack(ARGV)
redis.call('ZREM', KEYS[3], id)
if outcome == 'abandoned' then return 1 end
local stamp = string.format('%.0f', now)
redis.call('HINCRBY', KEYS[1], 'calls', 1)
if outcome == 'failure' then
  redis.call('HINCRBY', KEYS[1], 'failures', 1)
  redis.call('HSET', KEYS[1], 'last_error', error, 'last_error_at', stamp)
else
  redis.call('HSET', KEYS[1], 'last_success_at', stamp)
end
redis.call('LPUSH', KEYS[2], stamp .. ' ' .. (outcome == 'success' and '1' or '0') .. ' ' .. taken)
redis.call('LTRIM', KEYS[2], 0, most - 1)
return 1
"""
)
_READ = (
    _NOW
    + """
local totals = redis.call('HMGET', KEYS[1], 'calls', 'failures', 'last_error', 'last_error_at', 'last_success_at')
local stamp = string.format('%.0f', now)
return {stamp, totals, redis.call('LRANGE', KEYS[2], 0, -1), redis.call('ZCOUNT', KEYS[3], stamp, '+inf')}
"""
)


@dataclass(frozen=True, slots=True)
class AgentCalls:
    """What is known about one agent's calls. Times are aware UTC.

    Attributes:
        calls: attempts ever, `failures` of them failed.
        recent_calls: those of the last 15 minutes, at most 50.
        success_rate: of the recent calls, 0 to 1; None without any.
        latency_seconds: median of the recent calls; None without any.
        last_error: `{"type", "message"}`.
        in_flight: calls that run now, on all workers.
    """

    calls: int
    failures: int
    recent_calls: int
    success_rate: float | None
    latency_seconds: float | None
    last_error: dict[str, Any] | None
    last_error_at: datetime | None
    last_success_at: datetime | None
    in_flight: int


class AgentCallStore:
    """The calls of all agents."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._prefix = prefix

    async def begin(self, agent_type: str, call_id: str, *, lease_seconds: float) -> None:
        """Count a call as in flight, at most for `lease_seconds`: a killed worker's calls vanish by themselves."""
        await run_shared_script(self._redis, _BEGIN, self._keys(agent_type), (call_id, int(lease_seconds * 1000)))

    async def end(
        self, agent_type: str, call_id: str, outcome: str, *, seconds: float, error: dict[str, Any] | None = None
    ) -> None:
        """Record how a call ended.

        Args:
            agent_type: whose call.
            call_id: as given to `begin`.
            outcome: `success`, `failure`, or `abandoned` (cancelled, parked: says nothing about the agent).
            seconds: how long it took.
            error: `{"type", "message"}` of a failure.
        """
        args = (call_id, outcome, int(seconds * 1000), orjson.dumps(error or {}).decode(), RECENT_CALLS)
        await run_shared_script(self._redis, _END, self._keys(agent_type), args)

    async def read(self, agent_type: str) -> AgentCalls:
        """Return what is known; zeros for an agent that was never called."""
        now, totals, recent, in_flight = await run_shared_script(self._redis, _READ, self._keys(agent_type))
        calls, failures, last_error, last_error_at, last_success_at = totals
        rows = [[int(part) for part in row.split()] for row in recent]
        fresh = [row for row in rows if int(now) - row[0] <= RECENT_SECONDS * 1000]
        taken = sorted(row[2] for row in fresh)
        return AgentCalls(
            calls=int(calls or 0),
            failures=int(failures or 0),
            recent_calls=len(fresh),
            success_rate=sum(row[1] for row in fresh) / len(fresh) if fresh else None,
            latency_seconds=taken[len(taken) // 2] / 1000 if taken else None,
            last_error=orjson.loads(last_error) if last_error else None,
            last_error_at=_moment(last_error_at),
            last_success_at=_moment(last_success_at),
            in_flight=int(in_flight),
        )

    def _keys(self, agent_type: str) -> tuple[str, str, str]:
        base = f"{{{self._prefix}:agent-calls:{agent_type}}}"
        return f"{base}:totals", f"{base}:recent", f"{base}:in-flight"


def _moment(milliseconds: Any) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None
