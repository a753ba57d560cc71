"""Messages over HTTP: signals, approvals, parked steps; with a real Temporal and a real worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from orchestrator.client import connect
from orchestrator.definition.limits import SIGNALS_BUFFERED
from orchestrator.settings import Settings
from tests.integration.test_api_executions import Scripts, document, started, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.polling import eventually

FORM = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "integer"}}}
APPROVAL = {"step_id": "ok", "step_type": "approval", "title": "Pay?", "form_schema": FORM, "approvers": ["kim", "ada"]}
SIGNAL = {"step_id": "paid", "step_type": "wait_for_signal", "signal": "paid", "accept_when": "result.amount > 10"}
CALL = {"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t", "retry": {"max_attempts": 1}}
PARKED = {**CALL, "on_error": [{"park": True}]}
NESTED = {"step_id": "enrich", "step_type": "foreach", "items": [1, 2, 3, 4], "steps": [PARKED]}
FAILING = [{"error": {"type": "boom", "message": "it broke", "retryable": False}}]


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        yield client


async def stored(api: httpx2.AsyncClient, settings: Settings, *steps: dict[str, Any]) -> str:
    """Store a workflow of these steps and give its id, which no other test uses."""
    workflow_id = settings.redis_key_prefix
    answer = await api.put(f"/workflows/{workflow_id}", json={"name": "Messages", "steps": list(steps)})
    assert answer.status_code == 201, answer.text
    return workflow_id


def step_url(execution_id: str, path: str, action: str) -> str:
    return f"/executions/{execution_id}/steps/{quote(path, safe='')}/{action}"


async def awaiting(api: httpx2.AsyncClient, execution_id: str, detail: str) -> None:
    assert (await until_status(api, execution_id, "awaiting"))["detail"] == detail


@pytest.mark.parametrize("payload", [{"amount": 12}, {"amount": 11, "note": "ü"}])
async def test_a_signal_reaches_the_step_that_waits_for_it(
    api: httpx2.AsyncClient, isolated_settings: Settings, payload: Any
) -> None:
    workflow_id = await stored(api, isolated_settings, SIGNAL)
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "signal")
        answer = await api.post(f"/executions/{execution_id}/signals/paid", json=payload)
        assert answer.status_code == 202
        assert answer.json()["execution_id"] == execution_id
        found = await until_status(api, execution_id, "completed")
    assert found["output"] == {"paid": payload}


async def test_a_signal_is_kept_for_later_and_needs_no_worker(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    loose = {"step_id": "go", "step_type": "wait_for_signal", "signal": "go on"}
    workflow_id = await stored(api, isolated_settings, loose)
    execution_id = await started(api, workflow_id)
    # No body at all is the payload null.
    assert (await api.post(f"/executions/{execution_id}/signals/go%20on")).status_code == 202
    async with working(isolated_settings):
        assert (await until_status(api, execution_id, "completed"))["output"] == {"go": None}
    problem = problem_in(await api.post(f"/executions/{execution_id}/signals/go%20on"), 409, "wrong-state")
    assert problem["execution_status"] == "completed"
    problem_in(await api.post("/executions/ex-nobody/signals/go"), 404, "execution-not-found")


async def test_a_signal_that_would_be_lost_is_refused(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, {**SIGNAL, "accept_when": "result == 'last'"})
    execution_id = await started(api, workflow_id)
    client = await connect(isolated_settings)
    handle = client.get_workflow_handle(execution_id)
    for _ in range(SIGNALS_BUFFERED // 50):
        await asyncio.gather(*(handle.signal("signal", {"name": "other", "payload": 1}) for _ in range(50)))
    async with working(isolated_settings):
        await awaiting(api, execution_id, "signal")
        found = (await api.get(f"/executions/{execution_id}")).json()
        assert found["signals"] == {"awaited": ["paid"], "buffered": SIGNALS_BUFFERED, "dropped": 0}
        refused = await api.post(f"/executions/{execution_id}/signals/other", json=1)
        problem_in(refused, 429, "signals-full")
        assert int(refused.headers["retry-after"]) >= 1
        assert (await api.post(f"/executions/{execution_id}/signals/paid", json="last")).status_code == 202
        await until_status(api, execution_id, "completed")


async def test_a_large_signal_arrives_whole(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    loose = {"step_id": "go", "step_type": "wait_for_signal", "signal": "go"}
    workflow_id = await stored(api, isolated_settings, loose)
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        body: dict[str, Any] = {"text": "x" * 900_000}
        assert (await api.post(f"/executions/{execution_id}/signals/go", json=body)).status_code == 202
        assert (await until_status(api, execution_id, "completed"))["output"] == {"go": body}


async def test_an_approval_is_decided_once_by_who_may_with_a_valid_form(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, APPROVAL)
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
        url = f"/executions/{execution_id}/approvals/ok"
        good = {"decision": "approved", "by": "kim", "form": {"amount": 5}}
        problem = problem_in(await api.post(url, json={**good, "form": {"amount": "five"}}), 422, "invalid-form")
        assert [issue["pointer"] for issue in problem["errors"]] == ["/form/amount"]
        problem = problem_in(await api.post(url, json={**good, "by": "eve"}), 409, "wrong-state")
        assert "'eve'" in problem["detail"]
        problem = problem_in(await api.post(f"{url}2", json=good), 409, "wrong-state")
        assert "'ok2'" in problem["detail"]
        faulty_bodies: list[Any] = [{}, {"decision": "maybe"}, {**good, "by": ""}, {**good, "extra": 1}, []]
        for faulty in faulty_bodies:
            problem_in(await api.post(url, json=faulty), 422, "invalid-request")
        answer = await api.post(url, json=good)
        assert (answer.status_code, answer.json()["execution_id"]) == (200, execution_id)
        found = await until_status(api, execution_id, "completed")
        assert {key: found["output"]["ok"][key] for key in ("decision", "by", "form")} == {
            "decision": "approved",
            "by": "kim",
            "form": {"amount": 5},
        }
        problem_in(await api.post(url, json=good), 409, "wrong-state")


async def test_a_rejection_needs_no_form_and_its_reason_is_told(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, APPROVAL)
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
        body = {"decision": "rejected", "by": "ada", "reason": "over budget"}
        assert (await api.post(f"/executions/{execution_id}/approvals/ok", json=body)).status_code == 200
        found = await until_status(api, execution_id, "failed")
    assert found["error"]["type"] == "approval-rejected"
    assert found["error"]["message"].endswith("rejected by ada: over budget")


async def test_a_decision_sent_again_with_its_key_is_taken_once_even_after_the_end(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    two = {**APPROVAL, "form_schema": None, "quorum": 2}
    workflow_id = await stored(api, isolated_settings, {k: v for k, v in two.items() if v is not None})
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
        url = f"/executions/{execution_id}/approvals/ok"

        async def approve(by: str, key: str) -> httpx2.Response:
            return await api.post(url, json={"decision": "approved", "by": by}, headers={"Idempotency-Key": key})

        assert [(await approve("kim", "k1")).status_code for _ in range(3)] == [200, 200, 200]
        # Another key is another decision, and kim has decided.
        problem_in(await approve("kim", "k2"), 409, "wrong-state")
        assert (await document(api, execution_id))["status"] == "awaiting"
        assert (await approve("ada", "a1")).status_code == 200
        await until_status(api, execution_id, "completed")
        assert (await approve("ada", "a1")).json()["status"] == "completed"
        problem_in(await approve("ada", "a2"), 409, "wrong-state")


async def test_a_parked_step_in_an_item_is_retried_skipped_or_given_an_output(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    paths = [f"enrich[{index}].call" for index in range(4)]
    scripts: Scripts = {
        paths[0]: [*FAILING, {"result": "again"}],
        paths[1]: FAILING,
        paths[2]: FAILING,
        paths[3]: [{"result": "well"}],
    }
    workflow_id = await stored(api, isolated_settings, NESTED)
    async with working(isolated_settings, scripts):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "operator")

        async def listed(**query: str) -> list[str]:
            answer = await api.get("/executions/", params={"workflow_id": workflow_id, **query})
            assert answer.status_code == 200, answer.text
            return [item["execution_id"] for item in answer.json()["items"]]

        async def shown() -> bool:
            return await listed(status="awaiting", detail="operator") == [execution_id]

        await eventually(shown)
        assert await listed(status="awaiting", detail="approval") == []
        assert await listed(detail="operator") == [execution_id]
        problem_in(await api.get("/executions/", params={"detail": "nobody"}), 422, "invalid-request")

        problem = problem_in(await api.post(step_url(execution_id, paths[3], "retry")), 409, "wrong-state")
        assert f"'{paths[3]}'" in problem["detail"]
        problem_in(await api.post(step_url(execution_id, "nothing", "skip")), 409, "wrong-state")
        problem_in(await api.post(step_url(execution_id, paths[2], "output"), json={}), 422, "invalid-request")
        reason = {"reason": "the far end is back"}
        assert (await api.post(step_url(execution_id, paths[0], "retry"), json=reason)).status_code == 200
        assert (await api.post(step_url(execution_id, paths[1], "skip"))).status_code == 200
        by_hand = {"output": {"by": "hand"}, "reason": "known"}
        answer = await api.post(step_url(execution_id, paths[2], "output"), json=by_hand)
        assert answer.status_code == 200
        found = await until_status(api, execution_id, "completed")
    inner = [item["call"] for item in found["output"]["enrich"]]
    assert inner == ["again", None, {"by": "hand"}, "well"]


async def test_without_a_worker_an_update_is_a_503_after_five_seconds(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, {**APPROVAL, "step_id": "ok"})
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
    began, awake = time.monotonic(), awake_seconds()
    body = {"decision": "approved", "by": "kim", "form": {"amount": 1}}
    answer = await api.post(f"/executions/{execution_id}/approvals/ok", json=body)
    problem_in(answer, 503, "no-worker")
    assert answer.headers["retry-after"] == "5"
    assert time.monotonic() - began > 4
    assert awake_seconds() - awake < 12
