"""The connection to Redis: short timeouts, typed failures, writes that are on disk before they are acknowledged."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.settings import Settings

log = structlog.get_logger(__name__)

CALL_SECONDS = 1.6
"""No call to an absent or stuck Redis lasts longer: the API answers 503 in under 2 s."""
CONNECT_SECONDS = 0.9
CALLS_AT_ONCE = 48
SPARE_CONNECTIONS = 16
"""For calls that take no turns."""
FSYNC_MILLISECONDS = 1300
"""`appendfsync everysec` syncs once a second, so a confirmed write may wait that long."""

_warned_about_durability = False


def connect_redis(settings: Settings, *, calls_at_once: int = CALLS_AT_ONCE) -> Redis:
    """Return a client of `settings.redis_dsn`; nothing is opened before the first call.

    Answers are `str`. The client never tries again by itself: an absent Redis is an error at once, and the caller
    (Temporal's retry policy, the API's client) decides. Every call belongs in `redis_errors`, which bounds its time.
    """
    # No socket timeout of the client's own: it sends by `asyncio.wait_for`, which loses a cancellation that comes
    # as it ends (Python before 3.12, gh-86296), and a cancelled activity would run on.
    pool = BlockingConnectionPool.from_url(
        settings.redis_dsn,
        decode_responses=True,
        protocol=2,
        encoding_errors="replace",
        max_connections=calls_at_once + SPARE_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        retry=None,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=None,
    )
    client = Redis.from_pool(pool)
    _gates[client] = _Gate(calls_at_once)
    return client


class _Gate:
    """Lets a few calls through at a time: a burst queues here, where waiting is not taken for an absent Redis.

    Once a call finds Redis away, those that queued before fail with it: nobody waits for one turn after the other.
    """

    def __init__(self, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(calls_at_once)
        self._away: RedisUnavailable | None = None
        self._away_at = float("-inf")

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        came_at = time.monotonic()
        async with self._turns:
            if self._away is not None and self._away_at >= came_at:
                raise redis_unavailable(self._away.message)
            try:
                yield
            except RedisUnavailable as error:
                if not isinstance(error.__cause__, ResponseError):
                    self._away, self._away_at = error, time.monotonic()
                raise


_gates: WeakKeyDictionary[Redis, _Gate] = WeakKeyDictionary()


@asynccontextmanager
async def redis_errors(redis: Redis | None = None) -> AsyncIterator[None]:
    """Turn every failure of Redis in the block, slowness included, into `RedisUnavailable`.

    Args:
        redis: the client that the block uses; its calls then take turns, so that a burst is not taken for an absence.
    """
    if redis is None:
        async with _translated():
            yield
    else:
        if redis not in _gates:
            _gates[redis] = _Gate()
        async with _gates[redis].turn(), _translated():
            yield


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except TimeoutError as error:
        raise redis_unavailable(f"Redis did not answer within {CALL_SECONDS} s") from error
    except ResponseError as error:
        raise redis_unavailable(f"Redis refused the command: {error}") from error
    except (RedisError, OSError) as error:
        raise redis_unavailable(f"Redis cannot be reached: {error}") from error


async def run_script(redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
    """Run a Lua script that reads, or whose writes may be lost in a crash, and return its answer."""
    async with redis_errors(redis):
        try:
            return await redis.evalsha(sha1_of(script), len(keys), *keys, *args)
        except NoScriptError:
            return await redis.eval(script, len(keys), *keys, *args)


async def run_durable_script(redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
    """Run a Lua script and return its answer once its writes are fsynced on the server (`WAITAOF`).

    A server without an append-only file is accepted with one warning.

    Raises:
        RedisUnavailable: Redis is away, or did not confirm the fsync in time; the write may have happened.
    """
    async with redis_errors(redis):
        # One connection for both: WAITAOF speaks of the writes of its own connection.
        pipeline = redis.pipeline(transaction=False)
        pipeline.eval(script, len(keys), *keys, *args)
        pipeline.waitaof(1, 0, FSYNC_MILLISECONDS)
        answer, synced = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
    _check_synced(synced)
    return answer


@functools.cache
def sha1_of(script: str) -> str:
    """Return the name of a Lua script on the server."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _check_synced(synced: Any) -> None:
    global _warned_about_durability
    if isinstance(synced, ResponseError):
        if not _warned_about_durability:
            _warned_about_durability = True
            log.warning("Redis confirms no fsync; start it with --appendonly yes", answer=str(synced))
        return
    if isinstance(synced, Exception):
        raise redis_unavailable(f"Redis did not confirm that the write is on disk: {synced}") from synced
    if int(synced[0]) < 1:
        raise redis_unavailable(f"Redis did not confirm within {FSYNC_MILLISECONDS} ms that the write is on disk")


def redis_unavailable(message: str) -> RedisUnavailable:
    """Return the error of a call that Redis did not answer."""
    return RedisUnavailable(message, hint="check that Redis runs and that REDIS_URL is right", retry_after_seconds=2)
