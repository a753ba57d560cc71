"""What a Python agent remembers between calls: JSON values in Redis, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from redis.asyncio import Redis

from orchestrator.execution.errors import Conflict
from orchestrator.stores.redis import redis_errors, run_durable_script

MOST_TRIES = 20

_SET = "redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) return 1"
_DELETE = "return redis.call('HDEL', KEYS[1], ARGV[1])"
_SWAP = """
local found = redis.call('HGET', KEYS[1], ARGV[1])
if (found or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


class AgentState:
    """The state of one agent type, shared by all workers. Writes are fsynced before they return."""

    def __init__(self, redis: Redis, prefix: str, agent_type: str) -> None:
        """Args: `prefix` is `settings.redis_key_prefix`."""
        self._redis = redis
        self._key = f"{{{prefix}:agent-state:{agent_type}}}"

    async def get(self, name: str, default: Any = None) -> Any:
        """Return a value, or the default where there is none."""
        found = await self._read(name)
        return orjson.loads(found) if found else default

    async def set(self, name: str, value: Any) -> None:
        """Store a JSON value."""
        await run_durable_script(self._redis, _SET, (self._key,), (name, orjson.dumps(value).decode()))

    async def delete(self, name: str) -> bool:
        """Remove a value; returns whether there was one."""
        return bool(await run_durable_script(self._redis, _DELETE, (self._key,), (name,)))

    async def update(self, name: str, change: Callable[[Any], Any], default: Any = None) -> Any:
        """Replace a value by `change(value)` atomically and return the new one.

        Args:
            name: the value's name.
            change: a pure function; called again where somebody wrote in between.
            default: what `change` gets where there is no value.

        Raises:
            Conflict: others wrote each time, twenty times in a row.
        """
        for _ in range(MOST_TRIES):
            found = await self._read(name)
            value = change(orjson.loads(found) if found else default)
            args = (name, found, orjson.dumps(value).decode())
            if await run_durable_script(self._redis, _SWAP, (self._key,), args):
                return value
        raise Conflict(
            f"the agent's state '{name}' changed {MOST_TRIES} times while it was being updated", retryable=True
        )

    async def _read(self, name: str) -> str:
        async with redis_errors(self._redis):
            return str(await self._redis.hget(self._key, name) or "")
