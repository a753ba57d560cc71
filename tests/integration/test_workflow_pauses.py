"""Pauses of whole workflows over HTTP: what runs, what starts, what an operator holds, and who comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis
from temporalio.client import Client

from activities.definitions import DefinitionActivities
from api import workflow_pauses
from orchestrator.client import connect, disconnect, new_execution_id, start_execution
from orchestrator.execution.messages import StartExecution
from orchestrator.sdk import OrchestratorClient
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.pauses import PauseTurn
from orchestrator.stores.redis import connect_redis
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.polling import eventually

GATED: dict[str, Any] = {
    "name": "Gated",
    "steps": [
        {"step_id": "go", "step_type": "wait_for_signal", "signal": "go"},
        {"step_id": "done", "step_type": "transform", "value": 1, "depends_on": ["go"]},
    ],
}
WHY = {"reason": "the price list is wrong"}


@pytest.fixture
def name(isolated_settings: Settings) -> str:
    """The workflow's id: the namespace is all tests'."""
    return isolated_settings.redis_key_prefix


@pytest.fixture
async def api(isolated_settings: Settings, name: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        assert (await client.put(f"/workflows/{name}", json=GATED)).status_code == 201
        yield client


@pytest.fixture
async def redis(isolated_settings: Settings) -> AsyncIterator[Redis]:
    found = connect_redis(isolated_settings)
    yield found
    await found.aclose()


@pytest.fixture
async def store(isolated_settings: Settings, redis: Redis) -> DefinitionStore:
    return DefinitionStore(redis, isolated_settings.redis_key_prefix)


@pytest.fixture
async def temporal(isolated_settings: Settings, store: DefinitionStore) -> AsyncIterator[Client]:
    """A client, with a worker that runs."""
    client = await connect(isolated_settings)
    async with leased_worker(client, isolated_settings, DefinitionActivities(store, client).all()):
        yield client
    await disconnect(client)


async def started(api: httpx2.AsyncClient, name: str) -> str:
    answer = await api.post(f"/workflows/{name}/execute", json={"async_execution": True})
    assert answer.status_code == 202, answer.text
    found: str = answer.json()["execution_id"]
    return found


async def document(api: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await api.get(f"/executions/{execution_id}")).json()
    return found


async def is_held(api: httpx2.AsyncClient, execution_id: str, holds: dict[str, str]) -> None:
    async def reached() -> bool:
        found = await document(api, execution_id)
        return bool(found.get("holds", {}) == holds and (found["status"] == "paused") == bool(holds))

    await eventually(reached)


async def ends(api: httpx2.AsyncClient, execution_id: str) -> None:
    assert (await api.post(f"/executions/{execution_id}/signals/go", json={})).status_code == 202

    async def completed() -> bool:
        return bool((await document(api, execution_id))["status"] == "completed")

    await eventually(completed)


async def changed(api: httpx2.AsyncClient, name: str, action: str) -> dict[str, Any]:
    answer = await api.post(f"/workflows/{name}/{action}", json=WHY)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_paused_workflow_holds_what_runs_and_what_starts_until_it_is_resumed(
    api: httpx2.AsyncClient, name: str, temporal: Client, isolated_settings: Settings
) -> None:
    running = [await started(api, name) for _ in range(2)]
    answer = await changed(api, name, "pause")
    assert (answer["signalled"], answer["closed"]) == (2, 0)
    assert (answer["paused"]["reason"], answer["paused"]["by"]) == (WHY["reason"], "anonymous")
    assert (await api.get(f"/workflows/{name}")).json()["paused"] == answer["paused"]
    problem = problem_in(await api.post(f"/workflows/{name}/pause", json=WHY), 409, "wrong-state")
    assert "paused already" in problem["detail"]

    late = await started(api, name)
    # As schedules, parents and the command line do.
    by_reference = new_execution_id()
    await start_execution(temporal, isolated_settings, StartExecution(workflow_id=name), execution_id=by_reference)
    for execution_id in (*running, late, by_reference):
        await is_held(api, execution_id, {"workflow": WHY["reason"]})
    # A new version changes nothing about the pause.
    await api.put(f"/workflows/{name}", json={**GATED, "description": "another"})
    assert (await api.get(f"/workflows/{name}")).json()["paused"] == answer["paused"]

    answer = await changed(api, name, "resume")
    assert (answer["paused"], answer["signalled"]) == (None, 4)
    assert (await api.get(f"/workflows/{name}")).json()["paused"] is None
    for execution_id in (*running, late, by_reference):
        await is_held(api, execution_id, {})
        await ends(api, execution_id)
    await ends(api, await started(api, name))


@pytest.mark.usefixtures("temporal")
async def test_an_operators_pause_outlives_the_workflows(api: httpx2.AsyncClient, name: str) -> None:
    execution_id = await started(api, name)
    await api.post(f"/executions/{execution_id}/pause", json={"reason": "mine"})
    await changed(api, name, "pause")
    await is_held(api, execution_id, {"operator": "mine", "workflow": WHY["reason"]})
    await changed(api, name, "resume")
    await is_held(api, execution_id, {"operator": "mine"})
    await api.post(f"/executions/{execution_id}/resume", json={})
    await ends(api, execution_id)


async def test_unknown_workflows_and_those_that_are_not_paused_are_refused(api: httpx2.AsyncClient, name: str) -> None:
    for action in ("pause", "resume"):
        problem_in(await api.post(f"/workflows/not-there/{action}", json=WHY), 404, "workflow-not-found")
    problem_in(await api.post(f"/workflows/{name}/resume", json=WHY), 409, "wrong-state")
    # What runs of a deleted workflow would otherwise be held for ever.
    await changed(api, name, "pause")
    await api.delete(f"/workflows/{name}")
    assert (await changed(api, name, "resume"))["paused"] is None


@pytest.mark.usefixtures("temporal")
async def test_a_pause_that_comes_while_an_execution_starts_is_followed(
    api: httpx2.AsyncClient, name: str, store: DefinitionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag changes between the start's look at it and the start, and no sweep ever sees the execution."""
    look = DefinitionStore.get

    async def pause(self: DefinitionStore, workflow_id: str, version: int | None = None) -> Any:
        found = await look(self, workflow_id, version)
        await store.set_pause(name, paused=True, reason="meanwhile")
        return found

    monkeypatch.setattr(DefinitionStore, "get", pause)
    execution_id = await started(api, name)
    await is_held(api, execution_id, {"workflow": "meanwhile"})

    async def resume(self: DefinitionStore, workflow_id: str, version: int | None = None) -> Any:
        found = await look(self, workflow_id, version)
        await store.set_pause(name, paused=False)
        return found

    monkeypatch.setattr(DefinitionStore, "get", resume)
    await ends(api, await started(api, name))


@pytest.mark.usefixtures("temporal")
async def test_a_pause_that_was_cut_short_may_be_sent_again(
    api: httpx2.AsyncClient, name: str, store: DefinitionStore
) -> None:
    execution_id = await started(api, name)
    # A process that ended between the flag and the signals.
    assert (await store.set_pause(name, paused=True, reason="first", by="kim")).changed
    assert (await changed(api, name, "pause"))["paused"]["reason"] == "first"
    await is_held(api, execution_id, {"workflow": "first"})
    problem_in(await api.post(f"/workflows/{name}/pause", json=WHY), 409, "wrong-state")
    assert (await store.set_pause(name, paused=False)).changed
    await changed(api, name, "resume")
    await ends(api, execution_id)


@pytest.mark.usefixtures("temporal")
async def test_a_retry_of_a_paused_workflow_starts_held(api: httpx2.AsyncClient, name: str) -> None:
    execution_id = await started(api, name)
    await api.post(f"/executions/{execution_id}/terminate", json={})

    async def terminated() -> bool:
        return bool((await document(api, execution_id))["status"] == "terminated")

    await eventually(terminated)
    await changed(api, name, "pause")
    answer = await api.post(f"/executions/{execution_id}/retry", json={})
    assert answer.status_code == 202, answer.text
    await is_held(api, execution_id, {"workflow": WHY["reason"]})
    await changed(api, name, "resume")
    await ends(api, execution_id)


@pytest.mark.usefixtures("temporal")
async def test_of_a_pause_and_a_resume_at_once_the_later_one_is_in_force(
    api: httpx2.AsyncClient, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pause's signals come after the resume's, and are taken back."""
    execution_id = await started(api, name)
    tell, resumed = workflow_pauses._tell, asyncio.Event()

    async def late(services: Any, told: str, pause: Any) -> bool:
        if pause is not None:
            await resumed.wait()
        return await tell(services, told, pause)

    monkeypatch.setattr(workflow_pauses, "_tell", late)
    pausing = asyncio.create_task(changed(api, name, "pause"))

    async def flagged() -> bool:
        return (await api.get(f"/workflows/{name}")).json()["paused"] is not None

    await eventually(flagged)
    assert (await changed(api, name, "resume"))["paused"] is None
    resumed.set()
    assert (await pausing)["paused"] is None
    await ends(api, execution_id)


async def test_an_older_turn_cannot_close_a_newer_one(
    api: httpx2.AsyncClient, name: str, store: DefinitionStore
) -> None:
    first = await store.set_pause(name, paused=True, reason="one", by="kim")
    second = await store.set_pause(name, paused=False)
    assert await store.close_turn(name, first.number) == second
    assert await store.close_turn(name, second.number) == replace(second, changed=False)
    assert await store.set_pause(name, paused=False) == PauseTurn(second.number, None, changed=False)


@pytest.mark.usefixtures("temporal")
async def test_the_client_pauses_and_resumes(isolated_settings: Settings, name: str) -> None:
    async with running_api(isolated_settings) as api:
        await api.put(f"/workflows/{name}", json=GATED)
        url = str(api.base_url).removesuffix("/").removesuffix("/api/v1")

        def act() -> None:
            with OrchestratorClient(url) as client:
                paused = client.pause_workflow(name, "later")["paused"]
                assert paused is not None
                assert paused["reason"] == "later"
                assert client.resume_workflow(name)["paused"] is None

        await asyncio.to_thread(act)
