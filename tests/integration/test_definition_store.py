"""Definitions over a real Redis: versions, compare-and-set, lists, and what is left after kill -9."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from orchestrator.embedded.valkey import valkey
from orchestrator.execution.errors import (
    RedisUnavailable,
    RequestError,
    VersionConflict,
    WorkflowExists,
    WorkflowNotFound,
)
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.redis import connect_redis
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.ports import free_port
from tests.support.servers import running, running_redis


def document(workflow_id: str, **fields: Any) -> dict[str, Any]:
    return {"workflow_id": workflow_id, "name": workflow_id.replace("-", " ").title(), "steps": [], **fields}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect_redis(Settings(_env_file=None, redis_url=redis_url))
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> DefinitionStore:
    return DefinitionStore(redis, f"test-{uuid.uuid4().hex[:12]}")


async def test_a_created_definition_reads_back_with_aware_times(store: DefinitionStore) -> None:
    created = await store.create(document("lead-processing", note="Zürich ✓"), "sha-1")
    assert (created.version, created.sha256, created.deleted) == (1, "sha-1", False)
    assert created.definition["note"] == "Zürich ✓"
    assert abs(datetime.now(UTC) - created.created_at) < timedelta(minutes=1)
    assert await store.get("lead-processing") == created


async def test_creating_an_id_twice_names_the_put_that_would_update_it(store: DefinitionStore) -> None:
    await store.create(document("lead-processing"), "sha-1")
    with pytest.raises(WorkflowExists) as caught:
        await store.create(document("lead-processing", name="Other"), "sha-2")
    assert "PUT /api/v1/workflows/lead-processing" in (caught.value.hint or "")
    assert (await store.get("lead-processing")).sha256 == "sha-1"


async def test_of_twenty_simultaneous_creates_exactly_one_wins(store: DefinitionStore) -> None:
    results = await asyncio.gather(
        *(store.create(document("race", n=n), f"sha-{n}") for n in range(20)), return_exceptions=True
    )
    winners = [item for item in results if not isinstance(item, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(item, WorkflowExists) for item in results if isinstance(item, BaseException))
    assert await store.get("race") == winners[0]


async def test_put_makes_immutable_versions_and_none_for_the_same_content(store: DefinitionStore) -> None:
    first, created = await store.put("flow", document("flow", n=1), "sha-1")
    second, created_again = await store.put("flow", document("flow", n=2), "sha-2")
    same, _ = await store.put("flow", document("flow", n=2), "sha-2")
    assert (created, created_again) == (True, False)
    assert (first.version, second.version, same.version) == (1, 2, 2)
    assert same.updated_at == second.updated_at
    assert (await store.get("flow", 1)).definition["n"] == 1
    assert [item.version for item in (await store.versions("flow", limit=5)).items] == [2, 1]
    back, _ = await store.put("flow", document("flow", n=1), "sha-1")
    assert back.version == 3, "only the latest version's content is compared"


async def test_of_simultaneous_conditional_puts_exactly_one_wins(store: DefinitionStore) -> None:
    await store.create(document("flow"), "sha-0")
    puts = (store.put("flow", document("flow", n=n), f"sha-{n + 1}", if_version=1) for n in range(10))
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(item, VersionConflict) for item in results) == 9
    assert (await store.get("flow")).version == 2


async def test_if_version_zero_means_that_it_must_be_new(store: DefinitionStore) -> None:
    await store.put("flow", document("flow"), "sha-1", if_version=0)
    with pytest.raises(VersionConflict, match="version 1, not 0"):
        await store.put("flow", document("flow", n=2), "sha-2", if_version=0)


async def test_a_deleted_definition_is_readable_unlisted_and_can_be_created_again(store: DefinitionStore) -> None:
    await store.create(document("flow"), "sha-1")
    await store.delete("flow")
    await store.delete("flow")
    assert (await store.get("flow")).deleted
    assert (await store.list(limit=10)).items == []
    revived = await store.create(document("flow", n=2), "sha-2")
    assert (revived.version, revived.deleted) == (2, False)
    assert [item.workflow_id for item in (await store.list(limit=10)).items] == ["flow"]


async def test_putting_a_deleted_definition_back_revives_its_version(store: DefinitionStore) -> None:
    await store.create(document("flow"), "sha-1")
    await store.delete("flow")
    revived, created = await store.put("flow", document("flow"), "sha-1")
    assert (revived.version, revived.deleted, created) == (1, False, True)
    assert not (await store.get("flow")).deleted


async def test_what_is_not_there_is_named_with_the_nearest_id(store: DefinitionStore) -> None:
    await store.create(document("lead-processing"), "sha-1")
    with pytest.raises(WorkflowNotFound) as caught:
        await store.get("lead-procesing")
    assert caught.value.hint == "did you mean 'lead-processing'?"
    with pytest.raises(WorkflowNotFound, match="no version 7; the latest is 1"):
        await store.get("lead-processing", 7)
    for call in (store.delete("nothing-like-it"), store.versions("nothing-like-it", limit=5)):
        with pytest.raises(WorkflowNotFound):
            await call


async def test_pages_cover_every_definition_once_in_order(store: DefinitionStore) -> None:
    names = [f"flow-{n:03}" for n in range(25)]
    await asyncio.gather(*(store.create(document(name), name) for name in reversed(names)))
    seen: list[str] = []
    cursor: str | None = None
    pages = 0
    while True:
        page = await store.list(limit=10, cursor=cursor)
        seen += [item.workflow_id for item in page.items]
        pages, cursor = pages + 1, page.next_cursor
        if cursor is None:
            break
    assert (seen, pages) == (names, 3)
    assert (await store.list(limit=25)).next_cursor is None


async def test_lists_filter_by_tag_and_text_across_batches(store: DefinitionStore) -> None:
    sales = {"tags": {"team": "sales"}}
    await asyncio.gather(
        *(store.create(document(f"flow-{n:03}", **(sales if n % 60 == 0 else {})), str(n)) for n in range(130)),
        store.create(document("zebra", description="Straße der Leads"), "z"),
    )
    found = await store.list(limit=2, tag="team=sales")
    assert [item.workflow_id for item in found.items] == ["flow-000", "flow-060"]
    rest = await store.list(limit=2, tag="team=sales", cursor=found.next_cursor)
    assert [item.workflow_id for item in rest.items] == ["flow-120"]
    assert [item.workflow_id for item in (await store.list(limit=5, text="STRASSE")).items] == ["zebra"]
    assert (await store.list(limit=5, tag="team=other")).items == []


@pytest.mark.parametrize("cursor", ["!!!", "AAAA", "Zm9v", "ünï", "YWdlbnRzCmZsb3c", "x" * 1000, "ZGVmaW5pdGlvbnMK"])
async def test_a_cursor_of_another_list_or_of_nobody_is_refused(store: DefinitionStore, cursor: str) -> None:
    with pytest.raises(RequestError) as caught:
        await store.list(limit=5, cursor=cursor)
    assert caught.value.issues[0].pointer == "/cursor"


@pytest.mark.parametrize(("fields", "pointer"), [({"limit": 0}, "/limit"), ({"limit": 201}, "/limit")])
async def test_a_bad_limit_is_refused(store: DefinitionStore, fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(RequestError) as caught:
        await store.list(**fields)
    assert caught.value.issues[0].pointer == pointer
    with pytest.raises(RequestError, match="key=value"):
        await store.list(limit=5, tag="sales")


async def test_ids_that_no_encoding_carries_are_simply_not_found(store: DefinitionStore) -> None:
    with pytest.raises(WorkflowNotFound):
        await store.get("bad-\ud800-id")
    with pytest.raises(RequestError, match="not storable JSON"):
        await store.create(document("flow", text="\ud800"), "sha")


def test_an_acknowledged_write_survives_kill_9_of_redis(tmp_path: Path) -> None:
    port = free_port()
    spec = valkey(tmp_path / "redis", port, tmp_path / "redis.log")
    settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{port}")

    async def write_and_kill(pid: int) -> None:
        async with connect_redis(settings) as client:
            await DefinitionStore(client, "p").create(document("kept"), "sha-1")
            os.kill(pid, signal.SIGKILL)

    async def read() -> str:
        async with connect_redis(settings) as client:
            return (await DefinitionStore(client, "p").get("kept")).sha256

    with running(spec) as pid:
        asyncio.run(write_and_kill(pid))
    with running(spec):
        assert asyncio.run(read()) == "sha-1"


async def test_a_burst_of_calls_waits_instead_of_failing(store: DefinitionStore) -> None:
    await store.create(document("flow"), "sha-1")
    found = await asyncio.gather(*(store.get("flow") for _ in range(300)))
    assert {item.version for item in found} == {1}


async def test_a_burst_on_a_deaf_redis_fails_together_in_under_two_seconds() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        url = f"redis://127.0.0.1:{deaf.getsockname()[1]}"
        async with connect_redis(Settings(_env_file=None, redis_url=url)) as client:
            began = awake_seconds()
            calls = (DefinitionStore(client, "p").get("flow") for _ in range(300))
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert within(awake_seconds() - began, 2)
    assert all(isinstance(item, RedisUnavailable) for item in results)


def every_call(store: DefinitionStore) -> list[Callable[[], Awaitable[Any]]]:
    return [
        lambda: store.create(document("flow"), "sha"),
        lambda: store.put("flow", document("flow"), "sha"),
        lambda: store.get("flow"),
        lambda: store.delete("flow"),
        lambda: store.versions("flow", limit=5),
        lambda: store.list(limit=5),
    ]


async def test_with_redis_gone_or_deaf_every_call_fails_typed_in_under_two_seconds() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        for port in (free_port(), deaf.getsockname()[1]):
            settings = Settings(_env_file=None, redis_url=f"redis://127.0.0.1:{port}", redis_password="very-secret")
            client = connect_redis(settings)

            async def timed(call: Callable[[], Awaitable[Any]]) -> float:
                began = awake_seconds()
                with pytest.raises(RedisUnavailable) as caught:
                    await call()
                assert "very-secret" not in str(caught.value)
                return awake_seconds() - began

            took = await asyncio.gather(*(timed(call) for call in every_call(DefinitionStore(client, "p"))))
            assert max(took) < 2
            await client.aclose()


def test_a_write_that_redis_does_not_sync_is_not_acknowledged(tmp_path: Path) -> None:
    async def write(url: str) -> None:
        async with connect_redis(Settings(_env_file=None, redis_url=url)) as client:
            await client.config_set("appendfsync", "no")
            began = awake_seconds()
            with pytest.raises(RedisUnavailable, match="on disk"):
                await DefinitionStore(client, "p").create(document("flow"), "sha-1")
            assert within(awake_seconds() - began, 2)

    with running_redis(tmp_path) as url:
        asyncio.run(write(url))


def test_a_server_without_an_append_only_file_is_taken_with_a_warning(tmp_path: Path) -> None:
    async def write(url: str) -> None:
        async with connect_redis(Settings(_env_file=None, redis_url=url)) as client:
            await client.config_set("appendonly", "no")
            with structlog.testing.capture_logs() as logs:
                await DefinitionStore(client, "p").create(document("flow"), "sha-1")
            assert [entry["log_level"] for entry in logs] == ["warning"]

    with running_redis(tmp_path) as url:
        asyncio.run(write(url))
