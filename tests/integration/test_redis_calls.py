"""Calls to Redis: their bounds, and that they give way to a cancellation."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from orchestrator.execution.errors import RedisUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis, run_durable_script, run_script
from orchestrator.stores.script_batches import run_shared_script


async def call_and_wait(redis: Redis) -> None:
    await run_script(redis, "return 1", ())
    await run_shared_script(redis, "return 1", ())
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


async def test_scripts_of_one_moment_share_round_trips_and_each_has_its_own_answer(redis_url: str) -> None:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as redis:
        before = (await redis.info("stats"))["total_reads_processed"]
        double = f"return ARGV[1] * 2 -- {asyncio.get_running_loop().time()}"
        answers = await asyncio.gather(*(run_shared_script(redis, double, (), (number,)) for number in range(200)))
        assert answers == [number * 2 for number in range(200)]
        # Four batches, each sent again as the server does not know the script yet.
        assert (await redis.info("stats"))["total_reads_processed"] - before < 100


async def test_a_refused_script_and_a_cancelled_one_leave_the_others_their_answers(redis_url: str) -> None:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as redis:
        scripts = ("return 1", "return redis.call('NO-SUCH')", "return 3", "return 4")
        tasks = [asyncio.create_task(run_shared_script(redis, script, ())) for script in scripts]
        await asyncio.sleep(0)
        tasks[2].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], found[3]) == (1, 4)
    assert isinstance(found[2], asyncio.CancelledError)
    with pytest.raises(RedisUnavailable, match="Redis refused the command"):
        raise found[1]


async def test_all_of_a_batch_are_told_that_redis_is_away() -> None:
    async with connect_redis(Settings(_env_file=None, redis_url="redis://127.0.0.1:9")) as redis:
        calls = [run_shared_script(redis, "return 1", ()) for _ in range(3)]
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in found] == [RedisUnavailable] * 3
    assert len(set(map(id, found))) == 3


async def test_nobody_waits_for_ever_for_a_call_that_cannot_be_sent(redis_url: str) -> None:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as redis:
        calls = [run_shared_script(redis, script, ()) for script in ("return 1", None)]  # type: ignore[arg-type]
        found = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert [type(error) for error in found] == [AttributeError] * 2
