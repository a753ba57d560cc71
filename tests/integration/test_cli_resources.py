"""The commands about bulk jobs, hooks, tools, sessions, collections, circuits and the audit log, on the real API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities.vectors import VectorActivities
from orchestrator.agents.connections import model_breakers
from orchestrator.agents.records import MemoryRecord
from orchestrator.execution.errors_steps import ModelUnavailable
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.sessions import SessionStore
from orchestrator.stores.vectors import open_vectors
from tests.integration.test_api_bulk import APPROVAL, counted, retrying
from tests.integration.test_api_executions import started, until_status
from tests.integration.test_api_recovery import stored
from tests.integration.test_cli_agents import ApiCli, orchestrator, run
from tests.support.polling import eventually

__all__ = ["orchestrator", "run"]

SECRET = "whsec_YSBrZXkgb2YgdHdlbnR5LWZvdXIgYnl0ZQ=="
STEPS = [{"step_id": "echo", "step_type": "transform", "value": "{{ input }}"}]


async def document(orchestrator: ApiCli, *arguments: str | Path) -> Any:
    """What a command prints as JSON."""
    told = await orchestrator(*arguments, "--output", "json")
    assert told.code == 0, told.err
    return json.loads(told.out)


async def test_a_bulk_job_is_counted_started_watched_and_stopped(
    orchestrator: ApiCli, isolated_settings: Settings
) -> None:
    workflow_id = await stored(orchestrator.http, isolated_settings, APPROVAL)
    which = ("--workflow", workflow_id, "--tag", "lot=a")
    async with retrying(isolated_settings):
        chosen = [await started(orchestrator.http, workflow_id, tags={"lot": "a"}) for _ in range(2)]
        other = await started(orchestrator.http, workflow_id, tags={"lot": "b"})
        await counted(orchestrator.http, 2, "cancel", filter={"workflow_id": workflow_id, "tags": {"lot": "a"}})
        since = ("--started-after", "2026-01-01T00:00:00")
        assert (await document(orchestrator, "bulk", "start", "cancel", *which, *since, "--dry-run"))["matched"] == 2
        job: dict[str, Any] = {}

        async def accepted() -> bool:
            told = await orchestrator("bulk", "start", "cancel", *which, "--reason", "over", "--output", "json")
            job.update(json.loads(told.out) if told.code == 0 else {})
            return told.code == 0

        # Temporal runs one batch operation at a time, and other tests have theirs.
        await eventually(accepted, 20)
        watched = await document(orchestrator, "bulk", "watch", job["job_id"])
        assert (watched["state"], watched["matched"], watched["reason"]) == ("completed", 2, "over")
        assert (await document(orchestrator, "bulk", "get", job["job_id"]))["done"] == 2
        over = await orchestrator("bulk", "stop", job["job_id"])
        assert (over.code, over.out) == (1, "")
        for execution_id in chosen:
            await until_status(orchestrator.http, execution_id, "cancelled")
        assert (await orchestrator.http.get(f"/executions/{other}")).json()["status"] == "awaiting"
        named = await document(orchestrator, "bulk", "start", "terminate", other, "--dry-run")
        assert named["matched"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bulk", "start", "cancel"), "filter"),
        (("bulk", "start", "cancel", "ex-1", "--all"), "give one"),
        (("bulk", "start", "cancel", "--tag", "lot"), "key=value"),
        (("bulk", "start", "explode", "--all"), "explode"),
        (("hooks", "send", "shop", "-", "--secret-env", "NOBODY_SET_THIS"), "NOBODY_SET_THIS"),
        (("collections", "create", "notes", "0"), "than or equal to 1"),
    ],
)
async def test_what_cannot_be_is_refused_in_words(orchestrator: ApiCli, arguments: tuple[str, ...], words: str) -> None:
    told = await orchestrator(*arguments)
    assert told.code in {1, 2}
    assert words in told.err


async def test_a_signed_message_is_sent_once(
    orchestrator: ApiCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRETS__SHOP", SECRET)
    monkeypatch.setenv("SHOP_HOOK", SECRET)
    body = {"workflow_id": "shop", "name": "Shop", "steps": STEPS, "webhook": {"secret": "SHOP"}}
    assert (await orchestrator.http.post("/workflows/", json=body)).status_code == 201
    payload = tmp_path / "order.json"
    payload.write_text(json.dumps({"order": 42}))
    send = ("hooks", "send", "shop", payload, "--secret-env", "SHOP_HOOK")
    first, second = [await document(orchestrator, *send, "--message-id", "msg_1") for _ in range(2)]
    assert first["execution_id"] == second["execution_id"]
    assert first["input"] == {"order": 42}
    assert (await document(orchestrator, *send))["execution_id"] != first["execution_id"]
    monkeypatch.setenv("SHOP_HOOK", "whsec_" + "A" * 32)
    refused = await orchestrator(*send)
    assert (refused.code, refused.out) == (1, "")


async def test_a_start_has_its_priority_its_deadline_and_its_callback(
    orchestrator: ApiCli, temporal_client: Client
) -> None:
    body = {"workflow_id": "timed", "name": "Timed", "steps": STEPS}
    assert (await orchestrator.http.post("/workflows/", json=body)).status_code == 201
    execute = ("workflows", "execute", "timed", "--priority", "1", "--execution-seconds", "60")
    told = await document(orchestrator, *execute, "--callback-url", "https://example.com/x", "--callback-secret", "ME")
    described = await temporal_client.get_workflow_handle(told["execution_id"]).describe()
    assert described.raw_description.workflow_execution_info.priority.priority_key == 1
    assert (await described.memo())["callback"] == {"url": "https://example.com/x", "secret": "ME"}
    refused = await orchestrator(*execute, "--callback-secret", "ME")
    assert (refused.code, refused.out) == (1, "")
    assert "url" in refused.err
    await temporal_client.get_workflow_handle(told["execution_id"]).terminate()


async def test_a_tool_is_declared_changed_and_deleted(orchestrator: ApiCli, tmp_path: Path) -> None:
    file = tmp_path / "rate.json"
    record = {"name": "rate", "description": "Rates.", "http": {"url": "https://rates.example.com/v1"}}
    file.write_text(json.dumps(record))
    assert (await document(orchestrator, "tools", "create", file))["version"] == 1
    file.write_text(json.dumps({**record, "description": "Exchange rates."}))
    assert (await document(orchestrator, "tools", "update", "rate", file))["version"] == 2
    assert json.loads((await orchestrator("tools", "get", "rate", "--version", "1")).out)["record"] == record
    assert "rate" in (await orchestrator("tools", "delete", "rate", "--expected-version", "2")).out
    gone = await orchestrator("tools", "get", "rate")
    assert (gone.code, gone.out) == (1, "")


async def test_collections_are_created_listed_read_and_deleted(
    orchestrator: ApiCli, temporal_client: Client, isolated_settings: Settings, tmp_path: Path
) -> None:
    store = open_vectors(isolated_settings.model_copy(update={"qdrant_path": tmp_path / "vectors"}))
    queue = isolated_settings.temporal_task_queue
    async with Worker(temporal_client, task_queue=queue, activities=VectorActivities(store).all()):
        created = await document(orchestrator, "collections", "create", "notes", "3", "--distance", "dot")
        assert created == {"name": "notes", "points": 0, "dimensions": 3, "distance": "dot"}
        await document(orchestrator, "collections", "create", "letters", "3")
        listed = await document(orchestrator, "collections", "list")
        assert [item["name"] for item in listed["items"]] == ["letters", "notes"]
        first = await document(orchestrator, "collections", "list", "--limit", "1")
        assert [item["name"] for item in first["items"]] == ["letters"]
        assert "notes" in (await orchestrator("collections", "list")).out
        assert await document(orchestrator, "collections", "get", "notes") == created
        assert (await orchestrator("collections", "delete", "notes")).out == "notes is deleted.\n"
        assert (await orchestrator("collections", "get", "notes")).code == 1
    await store.aclose()


async def test_a_circuit_is_listed_read_and_closed(orchestrator: ApiCli, isolated_settings: Settings) -> None:
    settings = isolated_settings.model_copy(update={"breaker_least_calls": 1, "breaker_open_seconds": 60})
    name = "model:openai/gpt-5-mini"
    async with connect_redis(settings) as redis:
        breakers = model_breakers(settings, redis)
        with pytest.raises(ModelUnavailable):
            async with breakers.guard(name, lease_seconds=5):
                raise ModelUnavailable("away")
    listed = await document(orchestrator, "breakers", "list")
    assert [(item["name"], item["state"]) for item in listed["items"]] == [(name, "open")]
    assert (await document(orchestrator, "breakers", "get", name))["last_error"] == "away"
    assert (await document(orchestrator, "breakers", "reset", name))["state"] == "closed"
    assert (await orchestrator("breakers", "get", "model:nobody")).code == 1


async def test_a_session_is_read_and_forgotten(orchestrator: ApiCli, isolated_settings: Settings) -> None:
    messages = [{"role": "user", "content": "hello [bold]"}]
    async with connect_redis(isolated_settings) as redis:
        await SessionStore(redis, isolated_settings.redis_key_prefix).append("kim-1", "k", messages, MemoryRecord())
    assert json.loads((await orchestrator("sessions", "get", "kim-1")).out)["messages"] == messages
    assert (await orchestrator("sessions", "delete", "kim-1")).code == 0
    assert (await orchestrator("sessions", "get", "kim-1")).code == 1


async def test_the_audit_log_tells_what_the_commands_asked_for(orchestrator: ApiCli) -> None:
    assert (await orchestrator("agents", "delete", "sales")).code == 0
    items = (await document(orchestrator, "audit", "list", "--limit", "1"))["items"]
    assert [(item["operation"], item["status"]) for item in items] == [("delete_agent", 204)]
