"""Calls to Redis: their bounds, and that they give way to a cancellation."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis, run_durable_script, run_script


async def call_and_wait(redis: Redis) -> None:
    await run_script(redis, "return 1", ())
    await run_durable_script(redis, "return redis.call('SET', KEYS[1], 'v')", ("test-cancelled-calls",))
    await asyncio.Event().wait()


async def test_no_cancellation_is_lost_in_a_call_whenever_it_comes(redis_url: str) -> None:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as redis:
        for steps in range(150):
            task = asyncio.create_task(call_and_wait(redis))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task}, timeout=10)
            assert task.cancelled(), f"a cancellation after {steps} steps of the event loop was lost"
