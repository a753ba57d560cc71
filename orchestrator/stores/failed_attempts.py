"""How often somebody failed to prove who they are, over all processes."""

from __future__ import annotations

import hashlib

from redis.asyncio import Redis

from orchestrator.execution.errors_access import TooManyRequests
from orchestrator.stores.redis import run_script

FAILURE_WINDOW_SECONDS = 60

# What counts failures under a key: `blocked` gives the milliseconds to wait, 0 where there is room.
COUNT_FAILURES = """
local function blocked(key, most)
  if tonumber(redis.call('GET', key) or '0') < tonumber(most) then return 0 end
  return math.max(1, redis.call('PTTL', key))
end
local function failed(key, window)
  if redis.call('INCR', key) == 1 then redis.call('PEXPIRE', key, window) end
end
"""
_ASK = COUNT_FAILURES + "return blocked(KEYS[1], ARGV[1])"
_NOTE = COUNT_FAILURES + "failed(KEYS[1], ARGV[1]) return 0"


def source_of(address: str) -> str:
    """Return the name under which an address is counted."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


class FailedAttempts:
    """The failures of all who prove themselves to one kind of thing.

    They are counted by address and by what was asked, so that nobody locks out others.
    """

    def __init__(self, redis: Redis, prefix: str, kind: str, per_minute: int) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`, `kind` names what is asked for (`hooks`)."""
        self._redis = redis
        self._base = f"{{{prefix}:{kind}}}:failed"
        self._per_minute = per_minute

    async def check(self, address: str, name: str, message: str, hint: str) -> None:
        """Let an address try once more.

        Args:
            address: where the request comes from.
            name: what is asked.
            message: what to say where it has to wait; when to come back is added.
            hint: the way out.

        Raises:
            TooManyRequests: it failed too often lately.
            RedisUnavailable: nobody can tell.
        """
        wait = int(await run_script(self._redis, _ASK, (self._key(address, name),), (self._per_minute,)))
        if wait > 0:
            seconds = wait / 1000
            raise TooManyRequests(f"{message}; come back in {seconds:.1f} s", hint=hint, retry_after_seconds=seconds)

    async def note(self, address: str, name: str) -> None:
        """Count a failure.

        Raises:
            RedisUnavailable: it could not be counted.
        """
        await run_script(self._redis, _NOTE, (self._key(address, name),), (FAILURE_WINDOW_SECONDS * 1000,))

    def _key(self, address: str, name: str) -> str:
        return f"{self._base}:{source_of(address)}:{name}"
