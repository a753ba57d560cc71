"""Claim stores over a real Redis and a real disk: what was put is there, once, for long enough, and found by all."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from orchestrator.embedded.process import stop
from orchestrator.embedded.valkey import valkey
from orchestrator.execution.errors import ClaimsUnavailable, PayloadTooLarge, RedisUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimStore, claim_driver, claim_errors, keep_ahead, with_claims
from orchestrator.stores.claims.file_claims import FileClaims
from orchestrator.stores.claims.redis_claims import RedisClaims
from tests.support.ports import free_port

LARGE = {"text": "x" * 200_000}
DAY = 24 * 3600


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
async def redis(isolated_settings: Settings) -> AsyncIterator[Redis]:
    client = Redis.from_url(isolated_settings.redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["redis", "file", "s3"])
def store_settings(request: pytest.FixtureRequest, isolated_settings: Settings, tmp_path: Path) -> Settings:
    if request.param == "s3":
        found: Settings = request.getfixturevalue("s3_settings")
        return found
    update = {"claim_store": request.param, "claim_store_path": tmp_path / "claims"}
    return isolated_settings.model_copy(update=update)


def store_of(settings: Settings) -> ClaimStore:
    driver = claim_driver(with_claims(pydantic_data_converter, settings))
    assert driver is not None
    assert driver.claims.kind == settings.claim_store
    return driver.claims


@pytest.fixture
async def store(store_settings: Settings) -> AsyncIterator[ClaimStore]:
    found = store_of(store_settings)
    yield found
    await found.aclose()


@pytest.fixture
async def converter(isolated_settings: Settings) -> AsyncIterator[DataConverter]:
    found = with_claims(pydantic_data_converter, isolated_settings)
    yield found
    driver = claim_driver(found)
    assert driver is not None
    await driver.claims.aclose()


async def test_what_was_put_is_there_byte_for_byte(store: ClaimStore) -> None:
    data = bytes(range(256)) * 1000
    assert await store.get(sha256_of(data)) is None
    await store.put(sha256_of(data), data)
    await store.put(sha256_of(data), data)
    assert await store.get(sha256_of(data)) == data
    assert await store.prolong([sha256_of(data), sha256_of(b"other")]) == [sha256_of(b"other")]


async def test_several_values_are_read_in_order_and_one_that_is_missing_is_none(store: ClaimStore) -> None:
    values = [f"value {number}".encode() for number in range(45)]
    for data in values:
        await store.put(sha256_of(data), data)
    wanted = [sha256_of(b"nothing"), *(sha256_of(data) for data in reversed(values))]
    assert await store.get_many(wanted) == [None, *reversed(values)]
    assert await store.get_many([]) == []


async def test_writers_of_the_same_value_do_not_disturb_each_other(store: ClaimStore) -> None:
    data = b"the same" * 50_000
    await asyncio.gather(*(store.put(sha256_of(data), data) for _ in range(20)))
    assert await store.get(sha256_of(data)) == data


async def test_a_store_tells_the_same_identity_to_everybody(
    store: ClaimStore, store_settings: Settings, tmp_path: Path
) -> None:
    elsewhere = {
        "redis_key_prefix": f"{store_settings.redis_key_prefix}-b",
        "claim_store_path": tmp_path / "others",
        "claim_s3_prefix": "elsewhere",
    }
    same, other = store_of(store_settings), store_of(store_settings.model_copy(update=elsewhere))
    found = await asyncio.gather(*(one.identity() for one in (store, same, store, same)))
    assert len(set(found)) == 1
    assert await other.identity() != found[0]
    await same.aclose()
    await other.aclose()


async def test_one_caller_at_a_time_has_the_turn(store: ClaimStore, store_settings: Settings) -> None:
    if store.kind == "file":
        pytest.skip("nothing expires in a folder: there is no turn to take")
    other = store_of(store_settings)
    taken = await asyncio.gather(*(one.take_turn(3600) for one in (store, other, store, other)))
    assert sorted(taken) == [False, False, False, True]
    await other.give_turn_back()
    assert [await store.take_turn(3600), await other.take_turn(3600)] == [True, False]
    await other.aclose()


async def test_a_claim_expires_a_week_after_the_retention_and_reading_prolongs_it(
    isolated_settings: Settings, redis: Redis
) -> None:
    store = RedisClaims(isolated_settings.model_copy(update={"claim_retention_days": 10}))
    sha256 = sha256_of(b"value")
    key = f"{isolated_settings.redis_key_prefix}:claim:{sha256}"
    await store.put(sha256, b"value")
    assert 17 * DAY - 60 < await redis.ttl(key) <= 17 * DAY
    for use in (lambda: store.get(sha256), lambda: store.put(sha256, b"value"), lambda: store.prolong([sha256])):
        await redis.expire(key, 3 * DAY)
        await use()
        assert await redis.ttl(key) > 16 * DAY
    # A read within the same day writes nothing.
    await redis.expire(key, 17 * DAY - 3600)
    await store.get(sha256)
    assert await redis.ttl(key) <= 17 * DAY - 3600
    await store.aclose()


async def test_claims_survive_a_kill_of_redis(tmp_path: Path) -> None:
    spec = valkey(tmp_path / "redis", port := free_port(), tmp_path / "redis.log")
    store = RedisClaims(Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{port}"))
    values = [f"value {number}".encode() * 20_000 for number in range(5)]
    process = spec.launch()
    try:
        await spec.wait_ready(process)
        await asyncio.gather(*(store.put(sha256_of(value), value) for value in values))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        with pytest.raises(RedisUnavailable):
            await store.get(sha256_of(values[0]))
        process = spec.launch()
        await spec.wait_ready(process)
        assert [await store.get(sha256_of(value)) for value in values] == values
    finally:
        await store.aclose()
        stop(process, spec.stop_seconds)


async def test_a_file_that_cannot_be_written_is_an_unavailable_store_and_leaves_no_rest(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ClaimsUnavailable, match="the claim store in"):
        await FileClaims(tmp_path / "file").put("ab" * 32, b"value")
    store = FileClaims(tmp_path / "claims")
    await store.put("ab" * 32, b"value")
    kept = [path.name for path in (tmp_path / "claims").rglob("*") if path.is_file()]
    assert kept == ["ab" * 32]
    assert stat.S_IMODE((tmp_path / "claims").stat().st_mode) == 0o700


async def test_only_payloads_from_the_threshold_on_are_kept_outside(
    isolated_settings: Settings, converter: DataConverter, redis: Redis
) -> None:
    [small] = await converter.encode([{"text": "x" * 100_000}])
    assert not small.external_payloads
    assert [key async for key in redis.scan_iter(f"{isolated_settings.redis_key_prefix}*")] == []
    [large] = await converter.encode([LARGE])
    assert large.external_payloads[0].size_bytes > 200_000
    assert large.ByteSize() < 500
    assert await converter.decode([large]) == [LARGE]


async def test_equal_payloads_are_kept_once(
    isolated_settings: Settings, converter: DataConverter, redis: Redis
) -> None:
    other = with_claims(pydantic_data_converter, isolated_settings)
    for one in (converter, other):
        await one.encode([LARGE, LARGE])
        await one.encode([LARGE])
    keys = [key async for key in redis.scan_iter(f"{isolated_settings.redis_key_prefix}:claim:*")]
    assert len(keys) == 1
    driver = claim_driver(other)
    assert driver is not None
    await driver.claims.aclose()


async def test_a_missing_or_damaged_claim_is_named_logged_and_retryable(
    isolated_settings: Settings, converter: DataConverter, redis: Redis
) -> None:
    [reference] = await converter.encode([LARGE])
    [key] = [key async for key in redis.scan_iter(f"{isolated_settings.redis_key_prefix}:claim:*")]
    kept = await redis.get(key)
    assert isinstance(kept, bytes)
    for damage, told in ((lambda: redis.set(key, kept + b"x"), "is damaged"), (lambda: redis.delete(key), "is not in")):
        await damage()
        with structlog.testing.capture_logs() as logs, pytest.raises(ApplicationError, match=told) as caught:
            await converter.decode([Payload.FromString(reference.SerializeToString())])
        assert (caught.value.type, caught.value.non_retryable) == ("claim-missing", False)
        assert [(entry["log_level"], entry["event"]) for entry in logs] == [("error", "a claim is missing")]
        assert logs[0]["sha256"] == key.decode().rpartition(":")[2]
    # A value that is made again heals it, although this very process kept it a moment ago.
    await converter.encode([LARGE])
    assert await converter.decode([reference]) == [LARGE]


async def test_without_redis_small_payloads_work_and_large_ones_are_retryable() -> None:
    settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{free_port()}")
    converter = with_claims(pydantic_data_converter, settings)
    await keep_ahead(converter, {"small": True}, "the value")
    assert await converter.decode(await converter.encode([{"small": True}])) == [{"small": True}]
    with pytest.raises(RedisUnavailable):
        await keep_ahead(converter, LARGE, "the value")
    with pytest.raises(ApplicationError) as caught:
        await converter.encode([LARGE])
    assert (caught.value.type, caught.value.non_retryable) == ("redis-unavailable", False)
    with pytest.raises(RedisUnavailable), claim_errors():
        await converter.encode([LARGE])


async def test_a_value_over_the_limit_is_refused_before_it_is_sent(converter: DataConverter) -> None:
    with pytest.raises(PayloadTooLarge, match=r"the value takes 11,000,011 bytes as JSON; 10,485,760 are allowed"):
        await keep_ahead(converter, {"text": "x" * 11_000_000}, "the value")


def test_settings_say_what_a_claim_store_needs(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CLAIM_STORE=s3 needs CLAIM_S3_BUCKET"):
        Settings(_env_file=None, claim_store="s3")
    with pytest.raises(ValueError, match="CLAIM_STORE=file needs CLAIM_STORE_PATH"):
        Settings(_env_file=None, claim_store="file")
    none = Settings(_env_file=None, claim_store="none")
    assert claim_driver(with_claims(pydantic_data_converter, none)) is None
    file = Settings(_env_file=None, claim_store="file", claim_store_path=tmp_path)
    driver = claim_driver(with_claims(pydantic_data_converter, file))
    assert driver is not None
    assert driver.name() == "file"
