"""Fleet-wide token buckets over a real Redis, with the server's time."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
import structlog
from redis.asyncio import Redis

from orchestrator.agents.connections import model_breakers
from orchestrator.agents.model_calls import ModelCalls, rate_limits
from orchestrator.agents.providers import ModelProviders, ModelRequest
from orchestrator.execution.errors_steps import CircuitOpen, ModelRateLimited, ModelUnavailable, RateLimitedLocally
from orchestrator.settings import ProviderSettings, Settings
from orchestrator.stores.rate_limits import RateLimit, RateLimits
from orchestrator.stores.redis import connect_redis
from tests.fakes import model_behaviours as does
from tests.fakes.model_server import FakeModelServer
from tests.support.polling import eventually
from tests.support.ports import free_port


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect_redis(Settings(_env_file=None, redis_url=redis_url)) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


async def refusals(limits: RateLimits, calls: int, tokens: int = 0, model: str = "own/tiny") -> list[float]:
    """Reserve so often at once, and return the waits of those that were refused."""

    async def one() -> float:
        try:
            await limits.reserve(model, tokens)
        except RateLimitedLocally as error:
            return error.retry_after_seconds or 0
        return 0

    return [wait for wait in await asyncio.gather(*(one() for _ in range(calls))) if wait]


async def test_all_workers_together_make_no_more_requests_than_allowed(redis: Redis, prefix: str) -> None:
    fleet = [RateLimits(redis, prefix, {"own": RateLimit(requests_per_minute=6)}) for _ in range(4)]
    found = await asyncio.gather(*(refusals(worker, 5) for worker in fleet))
    waits = [wait for one in found for wait in one]
    assert len(waits) == 20 - 6
    assert all(0 < wait <= 10 for wait in waits), "a sixth of a minute brings the next request"


async def test_tokens_are_corrected_by_what_a_call_really_used(redis: Redis, prefix: str) -> None:
    limits = RateLimits(redis, prefix, {"own": RateLimit(tokens_per_minute=600)})
    reservation = await limits.reserve("own/tiny", 500)
    assert len(await refusals(limits, 1, 400)) == 1
    await limits.settle(reservation, 100)
    assert await refusals(limits, 1, 400) == []
    (wait,) = await refusals(limits, 1, 400)
    assert 20 < wait <= 30, "300 of 400 tokens are missing, ten come a second"


async def test_a_call_over_the_whole_limit_passes_once_and_owes_the_rest(redis: Redis, prefix: str) -> None:
    limits = RateLimits(redis, prefix, {"own": RateLimit(tokens_per_minute=600)})
    assert await refusals(limits, 1, 1200) == []
    (wait,) = await refusals(limits, 1, 1)
    assert 55 < wait <= 61, "600 are owed"


async def test_what_was_given_back_is_there_again_but_never_more_than_the_limit(redis: Redis, prefix: str) -> None:
    limits = RateLimits(redis, prefix, {"own": RateLimit(requests_per_minute=1, tokens_per_minute=600)})
    for _ in range(3):
        await limits.release(await limits.reserve("own/tiny", 600))
    assert len(await refusals(limits, 2, 600)) == 1


async def test_providers_have_buckets_of_their_own_and_others_have_none(redis: Redis, prefix: str) -> None:
    limits = RateLimits(redis, prefix, {"own": RateLimit(1), "other": RateLimit(1)})
    assert len(await refusals(limits, 2)) == 1
    assert await refusals(limits, 1, model="OTHER/tiny") == []
    assert await refusals(limits, 50, 10_000, model="free/tiny") == []


async def test_a_bucket_fills_up_with_time(redis: Redis, prefix: str) -> None:
    limits = RateLimits(redis, prefix, {"own": RateLimit(tokens_per_minute=600)})
    assert await refusals(limits, 1, 600) == []
    (wait,) = await refusals(limits, 1, 5)
    assert 0 < wait <= 0.5, "ten tokens come a second"

    async def passes() -> bool:
        return await refusals(limits, 1, 5) == []

    await eventually(passes)


async def test_a_closed_model_is_left_alone_by_all_workers_and_others_are_not(redis: Redis, prefix: str) -> None:
    one, other = RateLimits(redis, prefix, {}), RateLimits(redis, prefix, {})
    await one.close("own/tiny", 30)
    await other.close("own/tiny", 5)
    (wait,) = await refusals(other, 1)
    assert 25 < wait <= 30, "the longer time holds"
    assert await refusals(other, 1, model="own/large") == []


async def test_with_redis_away_calls_pass_with_one_warning() -> None:
    away = f"redis://127.0.0.1:{free_port()}"
    async with connect_redis(Settings(_env_file=None, redis_url=away)) as client:
        limits = RateLimits(client, "test", {"own": RateLimit(1, 1)})
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                assert await limits.reserve("own/tiny", 5) is None
            await limits.close("own/tiny", 5)
    assert [entry["event"] for entry in logs] == ["rate limits let every call through"]


@pytest.fixture
async def calls(redis: Redis, redis_url: str, prefix: str, model_server: FakeModelServer) -> AsyncIterator[ModelCalls]:
    own = ProviderSettings(base_url=model_server.url, requests_per_minute=3, tokens_per_minute=10_000)
    settings = Settings(
        _env_file=None, redis_url=redis_url, redis_key_prefix=prefix, providers={"Own": own}, breaker_least_calls=2
    )
    providers = ModelProviders(settings)
    yield ModelCalls(providers, model_breakers(settings, redis), rate_limits(settings, redis))
    await providers.aclose()


REQUEST = ModelRequest("own/tiny", [{"role": "user", "content": "hello"}], timeout_seconds=5)


async def test_calls_over_the_limit_never_reach_the_provider(calls: ModelCalls, model_server: FakeModelServer) -> None:
    outcomes = await asyncio.gather(*(calls.complete(REQUEST) for _ in range(8)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RateLimitedLocally)]
    assert (len(refused), len(model_server.calls())) == (5, 3)
    assert all(error.parks and error.retry_after_seconds for error in refused)


async def test_a_retry_after_of_the_provider_holds_for_the_whole_fleet(
    calls: ModelCalls, model_server: FakeModelServer
) -> None:
    model_server.always(does.status(429, headers={"Retry-After": "30"}))
    with pytest.raises(ModelRateLimited):
        await calls.complete(REQUEST)
    with pytest.raises(RateLimitedLocally) as caught:
        await calls.complete(REQUEST)
    assert 25 < (caught.value.retry_after_seconds or 0) <= 30
    assert len(model_server.calls()) == 1


async def test_an_open_circuit_uses_up_no_limit(calls: ModelCalls, model_server: FakeModelServer) -> None:
    model_server.always(does.status(500))
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await calls.complete(REQUEST)
    for _ in range(5):
        with pytest.raises(CircuitOpen):
            await calls.complete(REQUEST)
