"""How often somebody may ask, over all processes: a cell rate (GCRA), one number for each who asks."""

from __future__ import annotations

from redis.asyncio import Redis

from orchestrator.execution.errors_access import TooManyRequests
from orchestrator.stores.redis import run_script

BURST_SECONDS = 10

# The number is the time at which the bucket is full again. Gives the milliseconds to wait; 0: one was taken.
TAKE = """
local function take(key, now, per_minute, burst)
  local interval = 60000000 / per_minute
  local full = math.max(now, tonumber(redis.call('GET', key) or '0')) + interval
  local wait = full - burst * interval - now
  if wait > 0 then return math.ceil(wait / 1000) end
  redis.call('SET', key, string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
  return 0
end
"""

_ASK = (
    TAKE
    + """
local t = redis.call('TIME')
return take(KEYS[1], t[1] * 1000000 + t[2], tonumber(ARGV[1]), tonumber(ARGV[2]))
"""
)


def burst_of(per_minute: int) -> int:
    """Return how many may come at once."""
    return max(1, per_minute * BURST_SECONDS // 60)


class CellRates:
    """The rates of all who ask for one kind of thing."""

    def __init__(self, redis: Redis, prefix: str, kind: str, per_minute: int) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`, `kind` names what is asked for (`hooks`)."""
        self._redis = redis
        self._base = f"{{{prefix}:{kind}}}:rate"
        self._per_minute = per_minute

    async def take(self, name: str, message: str, hint: str) -> None:
        """Let one more pass.

        Args:
            name: who asks, or what is asked.
            message: what to say where it has to wait; when to come back is added.
            hint: the way out.

        Raises:
            TooManyRequests: not now.
            RedisUnavailable: nobody can tell.
        """
        args = (self._per_minute, burst_of(self._per_minute))
        wait = int(await run_script(self._redis, _ASK, (f"{self._base}:{name}",), args))
        if wait > 0:
            seconds = wait / 1000
            raise TooManyRequests(f"{message}; come back in {seconds:.1f} s", hint=hint, retry_after_seconds=seconds)
