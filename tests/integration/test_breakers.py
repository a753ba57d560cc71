"""Circuit breakers over a real Redis, with the server's time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import structlog
from redis.asyncio import Redis

from orchestrator.execution.errors_steps import CircuitOpen, ModelRejected, ModelUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.breakers import BreakerPolicy, CircuitBreakers
from orchestrator.stores.redis import connect_redis
from tests.support.polling import eventually
from tests.support.ports import free_port

QUICK = BreakerPolicy(least_calls=4, failure_rate=0.5, window_seconds=60, open_seconds=1.0)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as client:
        yield client


def breakers(redis: Redis, policy: BreakerPolicy = QUICK, prefix: str | None = None) -> CircuitBreakers:
    name = prefix or f"test-{uuid.uuid4().hex[:12]}"
    return CircuitBreakers(redis, name, policy, counts=lambda error: isinstance(error, ModelUnavailable))


async def call(circuits: CircuitBreakers, error: Exception | None = None, name: str = "model:a/b") -> str:
    """Make one guarded call and tell how it went."""
    try:
        async with circuits.guard(name, lease_seconds=5):
            if error is not None:
                raise error
    except CircuitOpen:
        return "open"
    except Exception as raised:
        assert raised is error
        return "failed"
    return "done"


async def open_it(circuits: CircuitBreakers) -> None:
    for _ in range(QUICK.least_calls):
        assert await call(circuits, ModelUnavailable("down")) == "failed"
    assert await call(circuits) == "open"


async def test_it_opens_at_the_failure_rate_and_not_before_the_least_calls(redis: Redis) -> None:
    circuits = breakers(redis)
    outcomes = [await call(circuits, ModelUnavailable("down")) for _ in range(3)]
    assert outcomes == ["failed"] * 3
    assert (await circuits.state("model:a/b")).state == "closed"
    await call(circuits, ModelUnavailable("server down"))
    found = await circuits.state("model:a/b")
    assert (found.state, found.last_error) == ("open", "server down")
    assert found.open_until is not None
    with pytest.raises(CircuitOpen) as caught:
        async with circuits.guard("model:a/b", lease_seconds=5):
            raise AssertionError("must not run")
    assert 0.1 <= (caught.value.retry_after_seconds or 0) <= 1.0
    assert "model:a/b" in caught.value.message


async def test_successes_keep_it_closed_below_the_rate(redis: Redis) -> None:
    circuits = breakers(redis)
    for _ in range(6):
        await call(circuits)
    for _ in range(5):
        assert await call(circuits, ModelUnavailable("down")) == "failed"
    found = await circuits.state("model:a/b")
    assert (found.state, found.calls, found.failures) == ("closed", 11, 5)
    assert await call(circuits, ModelUnavailable("down")) == "failed"
    assert await call(circuits) == "open"


async def test_only_the_dependencys_own_failures_count(redis: Redis) -> None:
    circuits = breakers(redis)
    for _ in range(10):
        await call(circuits, ModelRejected("bad request"))
    assert (await circuits.state("model:a/b")).failures == 0


async def test_after_the_pause_one_probe_passes_and_its_success_closes(redis: Redis) -> None:
    circuits = breakers(redis)
    await open_it(circuits)
    entered, leave = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        async with circuits.guard("model:a/b", lease_seconds=5):
            entered.set()
            await leave.wait()

    await eventually(lambda: half_open(circuits))
    task = asyncio.create_task(probe())
    await entered.wait()
    assert [await call(circuits) for _ in range(5)] == ["open"] * 5
    leave.set()
    await task
    assert (await circuits.state("model:a/b")).state == "closed"
    assert await call(circuits) == "done"


async def half_open(circuits: CircuitBreakers) -> bool:
    return (await circuits.state("model:a/b")).state == "half-open"


async def test_a_failed_probe_opens_it_again(redis: Redis) -> None:
    circuits = breakers(redis)
    await open_it(circuits)
    await eventually(lambda: half_open(circuits))
    assert await call(circuits, ModelUnavailable("still down")) == "failed"
    assert await call(circuits) == "open"
    assert (await circuits.state("model:a/b")).last_error == "still down"


async def test_of_many_that_come_at_once_to_a_half_open_circuit_one_is_the_probe(redis: Redis) -> None:
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    workers = [breakers(redis, prefix=prefix) for _ in range(5)]
    await open_it(workers[0])
    await eventually(lambda: half_open(workers[0]))
    running = refused = 0

    async def attempt(circuits: CircuitBreakers) -> str:
        nonlocal running, refused
        try:
            async with circuits.guard("model:a/b", lease_seconds=5):
                running += 1
                await eventually(lambda: refused == 19)
        except CircuitOpen:
            refused += 1
            return "open"
        return "done"

    outcomes = await asyncio.gather(*(attempt(circuits) for circuits in workers * 4))
    assert running == 1
    assert outcomes.count("done") == 1


async def test_a_cancelled_or_lost_probe_makes_room_for_the_next(redis: Redis) -> None:
    circuits = breakers(redis)
    await open_it(circuits)
    await eventually(lambda: half_open(circuits))

    async def hang() -> None:
        async with circuits.guard("model:a/b", lease_seconds=5):
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await eventually(lambda: is_open(circuits))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await call(circuits) == "done"


async def is_open(circuits: CircuitBreakers) -> bool:
    return bool(await circuits._redis.hget(circuits._keys("model:a/b")[0], "probe"))


async def test_a_probe_whose_worker_died_is_replaced_when_its_lease_ends(redis: Redis) -> None:
    circuits = breakers(redis)
    await open_it(circuits)
    await eventually(lambda: half_open(circuits))
    await circuits._acquire("model:a/b", "dead-worker", 0.3)
    assert await call(circuits) == "open"

    async def passed() -> bool:
        return await call(circuits) == "done"

    await eventually(passed)


async def test_late_results_of_calls_from_before_do_not_move_an_open_circuit(redis: Redis) -> None:
    circuits = breakers(redis, BreakerPolicy(least_calls=4, open_seconds=30))
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with circuits.guard("model:a/b", lease_seconds=5):
            entered.set()
            await leave.wait()

    task = asyncio.create_task(slow())
    await entered.wait()
    await open_it(circuits)
    leave.set()
    await task
    assert await call(circuits) == "open"


async def test_old_failures_leave_the_window(redis: Redis) -> None:
    circuits = breakers(redis, BreakerPolicy(least_calls=4, window_seconds=0.3, open_seconds=30))
    for _ in range(3):
        await call(circuits, ModelUnavailable("down"))

    async def forgotten() -> bool:
        return (await circuits.state("model:a/b")).failures == 0

    await eventually(forgotten)
    assert await call(circuits, ModelUnavailable("down")) == "failed"
    assert await call(circuits) == "done"


async def test_circuits_are_apart_listed_and_can_be_reset(redis: Redis) -> None:
    circuits = breakers(redis)
    await open_it(circuits)
    assert await call(circuits, name="model:c/d") == "done"
    assert [(item.name, item.state) for item in (await circuits.states()).items] == [
        ("model:a/b", "open"),
        ("model:c/d", "closed"),
    ]
    await circuits.reset("model:a/b")
    assert await call(circuits) == "done"


async def test_five_attempts_against_a_dead_dependency_do_not_open_the_default_circuit(redis: Redis) -> None:
    circuits = breakers(redis, BreakerPolicy())
    outcomes = [await call(circuits, ModelUnavailable("down")) for _ in range(5)]
    assert outcomes == ["failed"] * 5
    assert await call(circuits) == "done"


async def test_with_redis_away_calls_pass_with_one_warning() -> None:
    async with connect_redis(Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}")) as client:
        circuits = breakers(client)
        with structlog.testing.capture_logs() as logs:
            outcomes = [await call(circuits, ModelUnavailable("down")) for _ in range(9)]
        assert outcomes == ["failed"] * 9
        assert [entry["event"] for entry in logs] == ["circuit breakers let every call through"]
