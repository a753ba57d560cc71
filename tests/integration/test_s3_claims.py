"""Claims in a bucket: uses start a value's time anew, an absent server holds up, an absent bucket is told at once."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import aioboto3
import httpx2
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from orchestrator.client import connect, disconnect
from orchestrator.commands.outcome import USAGE, CommandError
from orchestrator.commands.services import api, worker
from orchestrator.execution.errors import ClaimsUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.claims import claim_driver, claims_problem, keep_ahead, with_claims
from orchestrator.stores.claims.s3_claims import S3Claims
from tests.support.executions import worker_with
from tests.support.ports import free_port
from tests.support.stubs import Stubs

LARGE = {"text": "x" * 200_000}
DATA = b"value" * 50_000
SHA256 = hashlib.sha256(DATA).hexdigest()
Writes = Callable[[], Awaitable[int]]


@pytest.fixture
async def bucket(s3_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    url = f"{s3_settings.claim_s3_endpoint_url}/{s3_settings.claim_s3_bucket}"
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        yield client


@pytest.fixture
def writes(bucket: httpx2.AsyncClient) -> Writes:
    """Counts how often the bucket's claims were written: each write is a version."""

    async def count() -> int:
        answer = await bucket.get("?versions&prefix=orchestrator/claims/")
        return answer.text.count("<Version>")

    return count


async def test_a_value_is_written_once_and_its_uses_of_one_day_write_nothing(
    s3_settings: Settings, writes: Writes
) -> None:
    store = S3Claims(s3_settings)
    for _ in range(3):
        await store.put(SHA256, DATA)
        assert await store.get(SHA256) == DATA
    assert await writes() == 1
    await store.aclose()


async def test_every_kind_of_use_starts_the_time_of_an_old_value_anew(s3_settings: Settings, writes: Writes) -> None:
    store = S3Claims(s3_settings, touch_after=timedelta(0))
    await store.put(SHA256, DATA)
    assert await writes() == 1
    await store.get(SHA256)
    assert await writes() == 2
    await store.put(SHA256, DATA)
    assert await writes() == 3
    assert await store.prolong([SHA256]) == []
    assert await writes() == 4
    assert await store.get(SHA256) == DATA
    await store.aclose()


async def test_a_cut_off_value_is_written_anew(s3_settings: Settings, bucket: httpx2.AsyncClient) -> None:
    store = S3Claims(s3_settings)
    await bucket.put(f"/orchestrator/claims/{SHA256}", content=DATA[:1000])
    await store.put(SHA256, DATA)
    assert await store.get(SHA256) == DATA
    await store.aclose()


async def test_a_missing_claim_is_named_and_retryable(s3_settings: Settings, bucket: httpx2.AsyncClient) -> None:
    converter = with_claims(pydantic_data_converter, s3_settings)
    [reference] = await converter.encode([LARGE])
    assert await converter.decode([Payload.FromString(reference.SerializeToString())]) == [LARGE]
    listed = (await bucket.get("?list-type=2")).text
    key = listed.partition("<Key>")[2].partition("</Key>")[0]
    async with aioboto3.Session().client("s3", endpoint_url=s3_settings.claim_s3_endpoint_url) as s3:
        await s3.delete_object(Bucket=s3_settings.claim_s3_bucket, Key=key)
    with pytest.raises(ApplicationError, match="is not in the s3 claim store") as caught:
        await converter.decode([reference])
    assert (caught.value.type, caught.value.non_retryable) == ("claim-missing", False)
    await close(converter)


async def test_a_server_that_is_away_holds_up_and_is_no_wrong_setting(s3_settings: Settings) -> None:
    settings = s3_settings.model_copy(update={"claim_s3_endpoint_url": f"http://127.0.0.1:{free_port()}"})
    converter = with_claims(pydantic_data_converter, settings)
    assert await converter.decode(await converter.encode([{"small": True}])) == [{"small": True}]
    with pytest.raises(ClaimsUnavailable, match="the claim store in the bucket"):
        await keep_ahead(converter, LARGE, "the value")
    with pytest.raises(ApplicationError) as caught:
        await converter.encode([LARGE])
    assert (caught.value.type, caught.value.non_retryable) == ("claims-unavailable", False)
    assert await claims_problem(settings) is None
    await close(converter)


async def test_a_bucket_that_is_absent_is_named(s3_settings: Settings) -> None:
    assert await claims_problem(s3_settings) is None
    settings = s3_settings.model_copy(update={"claim_s3_bucket": "nobody-made-it"})
    problem = await claims_problem(settings)
    assert problem is not None
    assert "'nobody-made-it' fails: there is no such bucket; create it, or correct CLAIM_S3_BUCKET" in problem
    store = S3Claims(settings)
    for call in (lambda: store.put(SHA256, DATA), lambda: store.get(SHA256), store.identity):
        with pytest.raises(ClaimsUnavailable, match="there is no such bucket"):
            await call()
    await store.aclose()


def test_services_do_not_start_without_the_bucket(s3_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAIM_STORE", "s3")
    monkeypatch.setenv("CLAIM_S3_BUCKET", "nobody-made-it")
    monkeypatch.setenv("CLAIM_S3_ENDPOINT_URL", s3_settings.claim_s3_endpoint_url or "")
    for service in (worker, api):
        with pytest.raises(CommandError, match="there is no such bucket") as caught:
            service()
        assert caught.value.code == USAGE


async def test_without_credentials_the_sentence_says_so(
    s3_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    assert "Unable to locate credentials" in (await claims_problem(s3_settings) or "")


def test_without_the_package_the_settings_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.settings.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'agent-orchestrator\[s3\]'"):
        Settings(_env_file=None, claim_store="s3", claim_s3_bucket="any")


async def test_an_execution_passes_large_values_on_through_the_bucket(s3_settings: Settings, writes: Writes) -> None:
    client = await connect(s3_settings)
    steps = [
        {"step_id": "first", "step_type": "agent_task", "agent_type": "a", "task": "t"},
        {"step_id": "second", "step_type": "agent_task", "agent_type": "a", "task": "t", "depends_on": ["first"]},
    ]
    stubs = Stubs({"first": [{"result": LARGE}]})
    async with worker_with(client, s3_settings, stubs.all(), worker_max_cached_workflows=0) as runner:
        view = await runner.run({"name": "Two", "steps": steps}, LARGE)
    assert view.status == "completed", view.error
    assert stubs.inputs["second"].dependencies == {"first": LARGE}
    assert await writes() >= 2
    await disconnect(client)


async def close(converter: DataConverter) -> None:
    driver = claim_driver(converter)
    assert driver is not None
    await driver.claims.aclose()
