"""Fixtures that every kind of test shares: a real Redis and a real Temporal, one of each per session."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Generator, Iterator

import httpx2
import pytest
from temporalio.client import Client

from orchestrator.settings import Settings
from tests.support.model_server_fixture import model_server as model_server
from tests.support.servers import redis_server, s3_server, temporal_server
from tests.support.standing_servers import revive, standing
from tests.support.stuck_executions import stuck_executions

pytest_plugins = ["tests.support.local_failures"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, None, None]:
    """Fail the test in which a server of the session ended, and no other."""
    try:
        return (yield)
    finally:
        ended = revive()
        assert not ended, "\n".join(ended)


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis with an append-only file."""
    folder = tmp_path_factory.mktemp("redis")
    with standing(lambda: redis_server(folder)) as url:
        yield url


@pytest.fixture(scope="session")
def temporal_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real Temporal server with our search attributes."""
    folder = tmp_path_factory.mktemp("temporal")
    with standing(lambda: temporal_server(folder)) as address:
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
    folder = tmp_path_factory.mktemp("s3")
    with standing(lambda: s3_server(folder)) as url:
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
