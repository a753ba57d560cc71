"""Simulations over HTTP: stored definitions and ones sent along, with a real Redis and without a Temporal server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from api import simulations
from orchestrator.sdk import OrchestratorClient
from orchestrator.settings import Settings
from tests.support.api_server import problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within

CALL = {"step_type": "api_call", "url": "https://far.example.com/"}
PAY: dict[str, Any] = {
    "workflow_id": "pay",
    "input_schema": {"type": "object", "required": ["amount"]},
    "steps": [
        {"step_id": "charge", **CALL, "json": {"amount": "{{ input.amount }}"}},
        {"step_id": "thank", **CALL, "depends_on": ["charge"], "when": "input.amount > 100"},
    ],
    "output": "{{ steps.charge.output.body.id }}",
}
CHARGED = {"charge": {"output": {"status": 200, "headers": {}, "body": {"id": "c-1"}}}}


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    # Nobody listens there: a simulation needs no Temporal.
    async with running_api(isolated_settings.model_copy(update={"temporal_host": "127.0.0.1:9"})) as client:
        yield client


async def stored(api: httpx2.AsyncClient, document: dict[str, Any] = PAY) -> None:
    answer = await api.post("/workflows/", json=document)
    assert answer.status_code == 201, answer.text


async def test_a_stored_workflow_is_simulated_with_mocks(api: httpx2.AsyncClient) -> None:
    await stored(api)
    answer = await api.post("/workflows/pay/simulate", json={"input_data": {"amount": 5}, "mocks": CHARGED})
    report = answer.json()
    assert answer.status_code == 200, report
    assert (report["workflow_id"], report["workflow_version"], report["status"]) == ("pay", 1, "completed")
    assert report["output"] == "c-1"
    assert [entry["path"] for entry in report["path"]] == ["charge"]
    assert [(item["path"], item["reason"]) for item in report["skipped"]] == [("thank", "condition")]
    assert report["calls"][0]["asked"] == {"amount": 5}
    assert (await api.get("/workflows/pay")).json()["version"] == 1


async def test_an_earlier_version_is_simulated_by_name(api: httpx2.AsyncClient) -> None:
    await stored(api)
    await api.put("/workflows/pay", json={**PAY, "output": "second"})
    body = {"input_data": {"amount": 5}, "mocks": CHARGED}
    outputs = [
        (await api.post(f"/workflows/pay/simulate{query}", json=body)).json()["output"]
        for query in ("", "?version=1", "?version=2")
    ]
    assert outputs == ["second", "c-1", "second"]


async def test_a_workflow_without_a_body_is_simulated(api: httpx2.AsyncClient) -> None:
    await stored(
        api, {"workflow_id": "pay", "steps": [{"step_id": "x", "step_type": "transform", "value": "{{ now() }}"}]}
    )
    report = (await api.post("/workflows/pay/simulate")).json()
    assert (report["status"], report["unmocked"]) == ("completed", [])


async def test_a_definition_that_is_sent_along_runs_its_stored_children(api: httpx2.AsyncClient) -> None:
    await stored(api)
    parent = {
        "name": "Parent",
        "steps": [{"step_id": "kid", "step_type": "workflow", "workflow_id": "pay", "input": {"amount": 500}}],
        "output": "{{ steps.kid.output }}",
    }
    mocks = {"pay/charge": CHARGED["charge"], "pay/thank": {"output": None}}
    answer = await api.post("/workflows/simulate", json={"definition": parent, "mocks": mocks})
    report = answer.json()
    assert answer.status_code == 200, report
    assert (report["workflow_id"], report["workflow_version"], report["output"]) == ("parent", None, "c-1")
    assert [entry["path"] for entry in report["path"]] == ["kid", "pay/charge", "pay/thank"]
    assert (await api.get("/workflows/parent")).status_code == 404


async def test_a_child_that_is_not_stored_fails_as_it_would(api: httpx2.AsyncClient) -> None:
    parent = {"name": "P", "steps": [{"step_id": "kid", "step_type": "workflow", "workflow_id": "gone"}]}
    report = (await api.post("/workflows/simulate", json={"definition": parent})).json()
    assert (report["status"], report["error"]["type"]) == ("failed", "workflow-not-found")


async def test_the_clock_starts_where_the_caller_says(api: httpx2.AsyncClient) -> None:
    late = {"name": "L", "steps": [{"step_id": "x", "step_type": "transform", "value": "{{ now() }}"}]}
    answer = await api.post("/workflows/simulate", json={"definition": late, "now": "2031-05-06T07:08:09Z"})
    assert answer.json()["output"] == {"x": "2031-05-06T07:08:09Z"}


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "pointer"),
    [
        (
            "pay/simulate",
            {"mocks": {"chrage": {}}, "input_data": {"amount": 1}},
            422,
            "invalid-scenario",
            "/mocks/chrage",
        ),
        (
            "pay/simulate",
            {"messages": [{"send": "x"}], "input_data": {"amount": 1}},
            422,
            "invalid-scenario",
            "/messages/0/send",
        ),
        ("pay/simulate", {"input_data": {}}, 422, "invalid-input", "/input_data"),
        ("pay/simulate", {"mock": {}}, 422, "invalid-request", "/mock"),
        ("pay/simulate", {"now": "soon", "input_data": {"amount": 1}}, 422, "invalid-request", "/now"),
        ("pay/simulate?version=7", {}, 404, "workflow-not-found", None),
        ("pai/simulate", {}, 404, "workflow-not-found", None),
        ("simulate", {"definition": {"name": "x", "steps": []}}, 422, "invalid-definition", "/definition/steps"),
        ("simulate", {}, 422, "invalid-request", "/definition"),
    ],
)
async def test_what_cannot_be_simulated_is_a_problem_that_points(
    api: httpx2.AsyncClient, path: str, body: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    await stored(api)
    problem = problem_in(await api.post(f"/workflows/{path}", json=body), status, code)
    assert pointer is None or problem["errors"][0]["pointer"] == pointer


async def test_a_misspelt_step_is_asked_back(api: httpx2.AsyncClient) -> None:
    await stored(api)
    answer = await api.post("/workflows/pay/simulate", json={"input_data": {"amount": 1}, "mocks": {"chrage": {}}})
    assert answer.json()["errors"][0]["hint"] == "did you mean 'charge'?"


async def test_a_deleted_workflow_is_not_simulated(api: httpx2.AsyncClient) -> None:
    await stored(api)
    await api.delete("/workflows/pay")
    problem_in(await api.post("/workflows/pay/simulate", json={}), 410, "workflow-deleted")


HEAVY = {
    "name": "Heavy",
    "steps": [
        {
            "step_id": "on",
            "step_type": "loop",
            "while": "true",
            "max_iterations": 10000,
            "steps": [{"step_id": "x", "step_type": "transform", "value": "{{ range(9000).map(n => n * 2).sum() }}"}],
        }
    ],
}


async def test_a_definition_that_computes_for_ever_is_stopped_and_blocks_nobody(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "LONGEST_SECONDS", 1.0)
    began = awake_seconds()
    heavy = [asyncio.create_task(api.post("/workflows/simulate", json={"definition": HEAVY})) for _ in range(2)]
    waits = []
    while not all(task.done() for task in heavy):
        asked = awake_seconds()
        assert (await api.get("/health/live")).status_code == 200
        waits.append(awake_seconds() - asked)
        await asyncio.sleep(0.02)
    reports = [(await task).json() for task in heavy]
    assert [report["stopped"] for report in reports] == ["time", "time"]
    assert within(awake_seconds() - began, 10)
    assert sorted(waits)[len(waits) // 2] < 0.2


async def test_who_waits_too_long_for_a_turn_is_told_to_come_back(
    api: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "LONGEST_SECONDS", 1.0)
    monkeypatch.setattr(simulations, "PATIENCE_SECONDS", 0.1)
    answers = await asyncio.gather(*(api.post("/workflows/simulate", json={"definition": HEAVY}) for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert (refused.json()["code"], "retry-after" in refused.headers) == ("simulator-busy", True)


async def test_the_client_simulates_what_is_stored_and_what_is_not(api: httpx2.AsyncClient) -> None:
    await stored(api)
    scenario = {"input_data": {"amount": 5}, "mocks": CHARGED}

    def play() -> list[Any]:
        with OrchestratorClient(str(api.base_url).removesuffix("/api/v1/")) as client:
            return [
                client.simulate_workflow("pay", scenario)["output"],
                client.simulate_workflow("pay", scenario, version=1)["workflow_version"],
                client.simulate_definition({**PAY, "output": "other"}, scenario)["output"],
            ]

    assert await asyncio.to_thread(play) == ["c-1", 1, "other"]
