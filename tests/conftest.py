"""Fixtures that every kind of test shares: a real Redis and a real Temporal, one of each per session."""

from __future__ import annotations

import asyncio
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Generator, Iterator
from typing import NoReturn

import httpx2
import pytest
from temporalio.client import Client

from orchestrator.settings import Settings
from tests.support.model_server_fixture import model_server as model_server
from tests.support.servers import running_redis, running_s3, running_temporal
from tests.support.stuck_executions import stuck_executions

LONGEST_TEARDOWN_SECONDS = 150


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """End a teardown that hangs, with an error.

    A test's own time limit fires once. A worker whose eviction of a workflow went wrong, as it can where the machine
    stalls, holds its event loop for ever after that.
    """
    ended, main = threading.Event(), threading.get_ident()

    def watch() -> None:
        # Whatever else hangs after that is ended in its turn.
        while not ended.wait(LONGEST_TEARDOWN_SECONDS):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, _hung)
    threading.Thread(target=watch, daemon=True).start()
    try:
        return (yield)
    finally:
        ended.set()
        signal.signal(signal.SIGUSR1, before)


def _hung(number: int, frame: object) -> NoReturn:
    raise TimeoutError("the teardown hung")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis with an append-only file."""
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real Temporal server with our search attributes."""
    with running_temporal(tmp_path_factory.mktemp("temporal")) as address:
        yield address
        assert asyncio.run(_stuck(address)) == {}, "executions whose workflow task fails over and over"


async def _stuck(address: str) -> dict[str, int]:
    return await stuck_executions(await Client.connect(address))


@pytest.fixture(scope="session")
def settings(redis_url: str, temporal_address: str) -> Settings:
    """Settings bound to the session's servers; tests that need names of their own use `isolated_settings`."""
    return Settings(_env_file=None, redis_url=redis_url, temporal_address=temporal_address, api_auth="off")


@pytest.fixture
def isolated_settings(settings: Settings) -> Settings:
    """The session's servers with a task queue and a Redis key prefix that no other test uses."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    return settings.model_copy(update={"temporal_task_queue": name, "redis_key_prefix": name})


@pytest.fixture(scope="session")
def s3_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that speaks S3."""
    with running_s3(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def s3_settings(isolated_settings: Settings, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose claims are in a fresh bucket; each object keeps all its versions."""
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    bucket = isolated_settings.redis_key_prefix
    with httpx2.Client(base_url=s3_url, trust_env=False) as client:
        client.put(f"/{bucket}").raise_for_status()
        versions = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
        client.put(f"/{bucket}?versioning", content=versions).raise_for_status()
    fields = {"claim_store": "s3", "claim_s3_bucket": bucket, "claim_s3_endpoint_url": s3_url}
    return isolated_settings.model_copy(update=fields)


@pytest.fixture
async def temporal_client(settings: Settings) -> AsyncIterator[Client]:
    """A client of the session's Temporal server, connected in the test's own event loop."""
    # Imported here: tests of pure parts must not need the whole tree.
    from orchestrator.client import connect, disconnect

    client = await connect(settings)
    yield client
    await disconnect(client)
