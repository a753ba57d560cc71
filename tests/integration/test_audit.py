"""Writes are recorded with who, what, why and how it ended; and who decides an approval is who has the key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from structlog.testing import capture_logs

from orchestrator.settings import Settings
from orchestrator.stores import audit
from orchestrator.stores.api_keys import ApiKeys, Role
from orchestrator.stores.audit import RECORD_SECONDS, AuditEntry, AuditLog
from orchestrator.stores.redis import connect_redis
from tests.integration.test_api_executions import started, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.killable_redis import killable_redis

SMALL = {"name": "Small", "steps": [{"step_id": "a", "step_type": "transform", "value": 1}]}
APPROVAL = {"step_id": "ok", "step_type": "approval", "title": "Pay?", "approvers": ["kim", "ada"], "quorum": 2}


@pytest.fixture
def closed(isolated_settings: Settings) -> Settings:
    return isolated_settings.model_copy(update={"api_auth": "on"})


@pytest.fixture
async def api(closed: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(closed) as client:
        yield client


@pytest.fixture
async def auths(closed: Settings) -> dict[str, dict[str, str]]:
    """The headers of one key of each name."""
    roles: dict[str, Role] = {"root": "admin", "eve": "editor", "kim": "operator", "ada": "operator", "vic": "viewer"}
    async with connect_redis(closed) as redis:
        keys = ApiKeys(redis, closed)
        return {name: {"X-API-Key": (await keys.create(name, role, created_by="t"))[1]} for name, role in roles.items()}


async def entries(api: httpx2.AsyncClient, auths: dict[str, dict[str, str]], **query: Any) -> list[dict[str, Any]]:
    answer = await api.get("/audit/", headers=auths["root"], params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_writes_are_recorded_and_reads_are_not(api: httpx2.AsyncClient, auths: dict[str, dict[str, str]]) -> None:
    await api.post("/workflows/", json=SMALL, headers=auths["eve"])
    await api.get("/workflows/small", headers=auths["vic"])
    await api.post("/workflows/validate", json=SMALL, headers=auths["vic"])
    await api.post("/executions/ex-none/pause", json={"reason": "prices change"}, headers=auths["kim"])
    await api.delete("/workflows/small", headers=auths["vic"])
    await api.delete("/workflows/small", headers={"X-API-Key": "nonsense"})
    found = await entries(api, auths)
    assert [(one["who"], one["role"], one["operation"], one["status"]) for one in reversed(found)] == [
        ("eve", "editor", "create_workflow", 201),
        ("kim", "operator", "pause_execution", 404),
        ("vic", "viewer", "delete_workflow", 403),
    ]
    assert [one["reason"] for one in found] == ["", "prices change", ""]
    assert [one["target"] for one in reversed(found)] == [
        "/api/v1/workflows/small",
        "/api/v1/executions/ex-none/pause",
        "/api/v1/workflows/small",
    ]
    assert {(one["address"], one["method"]) for one in found} == {("127.0.0.1", "POST"), ("127.0.0.1", "DELETE")}


async def test_the_log_is_paged_newest_first(api: httpx2.AsyncClient, auths: dict[str, dict[str, str]]) -> None:
    for number in range(5):
        await api.post(f"/executions/ex-{number}/cancel", headers=auths["kim"])
    pages, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = (await api.get("/audit/", headers=auths["root"], params=query)).json()
        pages.append([one["target"].split("/")[-2] for one in answer["items"]])
        cursor = answer["next_cursor"]
        if cursor is None:
            break
    assert pages == [["ex-4", "ex-3"], ["ex-2", "ex-1"], ["ex-0"]]
    problem_in(await api.get("/audit/?cursor=abc", headers=auths["root"]), 422, "invalid-request")
    problem_in(await api.get("/audit/?cursor=YXVkaXQKeA", headers=auths["root"]), 422, "invalid-request")


def an_entry(number: int) -> AuditEntry:
    return AuditEntry("kim", "", "", "x", "POST", str(number), 200, "", "")


async def test_the_log_is_bounded(closed: Settings) -> None:
    async with connect_redis(closed) as redis:
        log = AuditLog(redis, closed.redis_key_prefix, 100)
        for number in range(400):
            await log.record(an_entry(number))
        assert 100 <= await redis.xlen(f"{closed.redis_key_prefix}:audit") <= 250
        assert (await log.read(1, None)).items[0].entry.target == "399"


@pytest.fixture
def quiet() -> Iterator[list[Any]]:
    with capture_logs() as lines:
        yield lines


async def test_without_redis_an_entry_is_in_the_log(closed: Settings, tmp_path: Path, quiet: list[Any]) -> None:
    async with (
        killable_redis(tmp_path) as server,
        connect_redis(closed.model_copy(update={"redis_url": server.url})) as redis,
    ):
        server.kill()
        await AuditLog(redis, "x", 100).record(an_entry(1))
    assert [(line["event"], line["who"]) for line in quiet] == [
        ("a write", "kim"),
        ("an audit entry is in this log only", "kim"),
    ]


async def test_entries_that_redis_is_slow_to_take_are_written_behind_the_answers(
    closed: Settings, tmp_path: Path, quiet: list[Any]
) -> None:
    async with (
        killable_redis(tmp_path) as server,
        connect_redis(closed.model_copy(update={"redis_url": server.url})) as redis,
    ):
        log = AuditLog(redis, "x", 1000)
        await redis.client_pause(round(RECORD_SECONDS * 3000), all=True)
        await asyncio.gather(*(log.record(an_entry(number)) for number in range(100)))
        assert log._under_way, "Redis answered before the answers went out: nothing was written behind them"
        await log.aclose()
        assert await redis.xlen("x:audit") == 100
    assert {line["event"] for line in quiet} == {"a write"}


async def test_what_is_written_behind_answers_is_bounded(
    closed: Settings, tmp_path: Path, quiet: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_UNDER_WAY", 3)
    async with (
        killable_redis(tmp_path) as server,
        connect_redis(closed.model_copy(update={"redis_url": server.url})) as redis,
    ):
        log = AuditLog(redis, "x", 1000)
        await asyncio.gather(*(log.record(an_entry(number)) for number in range(5)))
        await log.aclose()
        assert await redis.xlen("x:audit") == 3
    alone = [line for line in quiet if line["event"] == "an audit entry is in this log only"]
    assert [(line["target"], line["error"]) for line in alone] == [
        ("3", "too many are under way"),
        ("4", "too many are under way"),
    ]


async def test_who_decides_is_who_has_the_key(
    api: httpx2.AsyncClient, auths: dict[str, dict[str, str]], closed: Settings
) -> None:
    workflow_id = closed.redis_key_prefix
    definition = {"name": "Pay", "steps": [APPROVAL]}
    assert (await api.put(f"/workflows/{workflow_id}", json=definition, headers=auths["eve"])).status_code == 201
    api.headers |= auths["kim"]
    async with working(closed):
        execution_id = await started(api, workflow_id)
        await until_status(api, execution_id, "awaiting")
        url, body = f"/executions/{execution_id}/approvals/ok", {"decision": "approved"}
        problem_in(await api.post(url, json={**body, "by": "ada"}), 403, "forbidden")
        problem_in(await api.post(url, json=body, headers=auths["eve"]), 409, "wrong-state")
        assert (await api.post(url, json={**body, "by": "kim"})).status_code == 200
        # The same person does not make a quorum of two.
        again = await api.post(url, json=body)
        assert (await api.get(f"/executions/{execution_id}")).json()["status"] == "awaiting", again.text
        assert (await api.post(url, json={**body, "reason": "seen"}, headers=auths["ada"])).status_code == 200
        found = await until_status(api, execution_id, "completed")
    assert "kim" in str(found["output"])
    decided = [
        (one["who"], one["status"]) for one in await entries(api, auths) if one["operation"] == "decide_approval"
    ]
    assert decided[-3:] == [("kim", 200), ("eve", 409), ("kim", 403)]
    assert decided[0] == ("ada", 200)
