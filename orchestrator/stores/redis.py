"""The connection to Redis: short timeouts, typed failures, writes that are on disk before they are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import RedisError, ResponseError

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.settings import Settings

log = structlog.get_logger(__name__)

CALL_SECONDS = 1.8
"""No call to an absent or stuck Redis lasts longer: the API answers 503 in under 2 s."""
CONNECT_SECONDS = 0.9
FSYNC_MILLISECONDS = 1400
"""`appendfsync everysec` syncs once a second, so a confirmed write may wait that long."""

_warned_about_durability = False


def connect_redis(settings: Settings) -> Redis:
    """Return a client of `settings.redis_dsn`; nothing is opened before the first call.

    Answers are `str`. The client never tries again by itself: an absent Redis is an error at once, and the caller
    (Temporal's retry policy, the API's client) decides.
    """
    pool = BlockingConnectionPool.from_url(
        settings.redis_dsn,
        decode_responses=True,
        protocol=2,
        encoding_errors="replace",
        max_connections=64,
        timeout=CONNECT_SECONDS,
        retry=None,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=CALL_SECONDS,
    )
    return Redis.from_pool(pool)


@asynccontextmanager
async def redis_errors() -> AsyncIterator[None]:
    """Turn every failure of Redis in the block, slowness included, into `RedisUnavailable`."""
    try:
        async with asyncio.timeout(CALL_SECONDS):
            yield
    except TimeoutError as error:
        raise _unavailable(f"Redis did not answer within {CALL_SECONDS} s") from error
    except ResponseError as error:
        raise _unavailable(f"Redis refused the command: {error}") from error
    except (RedisError, OSError) as error:
        raise _unavailable(f"Redis cannot be reached: {error}") from error


async def run_script(redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
    """Run a Lua script that reads, or whose writes may be lost in a crash, and return its answer."""
    async with redis_errors():
        return await redis.register_script(script)(keys=keys, args=args)


async def run_durable_script(redis: Redis, script: str, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
    """Run a Lua script and return its answer once its writes are fsynced on the server (`WAITAOF`).

    A server without an append-only file is accepted with one warning.

    Raises:
        RedisUnavailable: Redis is away, or did not confirm the fsync in time; the write may have happened.
    """
    async with redis_errors():
        # One connection for both: WAITAOF speaks of the writes of its own connection.
        pipeline = redis.pipeline(transaction=False)
        pipeline.eval(script, len(keys), *keys, *args)
        pipeline.waitaof(1, 0, FSYNC_MILLISECONDS)
        answer, synced = await pipeline.execute(raise_on_error=False)
        if isinstance(answer, Exception):
            raise answer
    _check_synced(synced)
    return answer


def _check_synced(synced: Any) -> None:
    global _warned_about_durability
    if isinstance(synced, ResponseError):
        if not _warned_about_durability:
            _warned_about_durability = True
            log.warning("Redis confirms no fsync; start it with --appendonly yes", answer=str(synced))
        return
    if isinstance(synced, Exception):
        raise _unavailable(f"Redis did not confirm that the write is on disk: {synced}") from synced
    if int(synced[0]) < 1:
        raise _unavailable(f"Redis did not confirm within {FSYNC_MILLISECONDS} ms that the write is on disk")


def _unavailable(message: str) -> RedisUnavailable:
    return RedisUnavailable(message, hint="check that Redis runs and that REDIS_URL is right", retry_after_seconds=2)
