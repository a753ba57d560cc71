"""Concurrency keys over HTTP: who is refused, who queues."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from temporalio.client import Client

from activities.concurrency import ConcurrencyActivities
from activities.control import ControlActivities
from orchestrator.client import connect, disconnect
from orchestrator.execution.concurrency import GateStart, gate_id
from orchestrator.settings import Settings
from tests.integration.test_api_executions import document, started, until_status
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.polling import eventually
from tests.support.stubs import Stubs

CALL = {"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t"}


@pytest.fixture
def quick(isolated_settings: Settings) -> Settings:
    """Gates look for closed holders twice a second."""
    return isolated_settings.model_copy(
        update={"concurrency_check_seconds": 0.5, "worker_graceful_shutdown_seconds": 0.5}
    )


@pytest.fixture
async def api(quick: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(quick) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        yield client


@pytest.fixture
async def stubs(quick: Settings) -> AsyncIterator[Stubs]:
    """A worker whose steps never end by themselves."""
    client = await connect(quick)
    found = Stubs({"call": [{"hang": True}]})
    activities = [*ControlActivities(client).all(), *ConcurrencyActivities(client, 0.5).all(), *found.all()]
    async with leased_worker(client, quick, activities):
        yield found
    await disconnect(client)


async def stored(api: httpx2.AsyncClient, settings: Settings, concurrency: dict[str, Any]) -> str:
    workflow_id = settings.redis_key_prefix
    body = {"name": "Limited", "steps": [CALL], "concurrency": concurrency}
    answer = await api.put(f"/workflows/{workflow_id}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return workflow_id


async def test_a_start_that_finds_no_place_is_refused_naming_who_has_it(
    api: httpx2.AsyncClient, quick: Settings, stubs: Stubs, temporal_client: Client
) -> None:
    workflow_id = await stored(api, quick, {"key": "{{ input.account }}", "max": 2, "on_conflict": "reject"})
    url, body = f"/workflows/{workflow_id}/execute", {"input_data": {"account": "a-17"}}
    answers = await asyncio.gather(*(api.post(url, json=body) for _ in range(8)))
    taken = sorted(answer.json()["execution_id"] for answer in answers if answer.status_code == 202)
    assert len(taken) == 2
    for answer in answers:
        if answer.status_code != 202:
            problem = problem_in(answer, 409, "concurrency-limit")
            assert sorted(problem["holders"]) == taken
            assert (problem["key"], problem["max"]) == ("a-17", 2)
            assert all(name in problem["detail"] for name in taken)
    assert {(await until_status(api, name, "running"))["status"] for name in taken} == {"running"}
    # Another key is free.
    await started(api, workflow_id, input_data={"account": "b"})
    await api.post(f"/executions/{taken[0]}/cancel")
    await until_status(api, taken[0], "cancelled")
    await started(api, workflow_id, **body)
    gate = temporal_client.get_workflow_handle(gate_id(workflow_id, "a-17"))
    found = await gate.query("places", result_type=GateStart)
    assert len(found.places.holders) == 2
    assert taken[1] in [item.execution_id for item in found.places.holders]


async def test_a_key_that_cannot_be_made_of_the_input_is_a_422(api: httpx2.AsyncClient, quick: Settings) -> None:
    for conflict in ("reject", "enqueue"):
        workflow_id = await stored(api, quick, {"key": "{{ input.account }}", "on_conflict": conflict})
        answer = await api.post(f"/workflows/{workflow_id}/execute", json={"input_data": {}})
        problem = problem_in(answer, 422, "E_MISSING")
        assert problem["errors"][0]["pointer"] == "/concurrency/key"


async def test_a_start_that_queues_is_shown_and_listed_as_queued(
    api: httpx2.AsyncClient, quick: Settings, stubs: Stubs
) -> None:
    workflow_id = await stored(api, quick, {"on_conflict": "enqueue"})
    first = await api.post(f"/workflows/{workflow_id}/execute", json={})
    assert (first.status_code, first.json()["status"], first.json()["detail"]) == (202, "queued", "concurrency")
    holder = first.json()["execution_id"]
    await until_status(api, holder, "running")
    waiting = await started(api, workflow_id)

    async def listed() -> bool:
        query = {"workflow_id": workflow_id, "status": "queued", "detail": "concurrency"}
        items = (await api.get("/executions/", params=query)).json()["items"]
        return [(item["execution_id"], item["status"]) for item in items] == [(waiting, "queued")]

    await eventually(listed)
    found = await document(api, waiting)
    assert (found["status"], found["detail"]) == ("queued", "concurrency")
    assert found["steps"][0]["state"] == "pending"
    await api.post(f"/executions/{holder}/cancel")
    await until_status(api, waiting, "running")
    third = await started(api, workflow_id)
    await until_status(api, third, "queued")
    await api.post(f"/executions/{third}/cancel")
    gone = await until_status(api, third, "cancelled")
    assert gone["steps"][0]["state"] == "cancelled"


async def test_without_a_worker_a_start_that_must_be_answered_at_once_is_a_503(
    api: httpx2.AsyncClient, quick: Settings
) -> None:
    workflow_id = await stored(api, quick, {"on_conflict": "reject"})
    began, awake = time.monotonic(), awake_seconds()
    answer = await api.post(f"/workflows/{workflow_id}/execute", json={})
    problem_in(answer, 503, "no-worker")
    assert time.monotonic() - began > 4
    assert awake_seconds() - awake < 12
    # What queues needs none.
    workflow_id = await stored(api, quick, {"on_conflict": "enqueue"})
    await started(api, workflow_id)
