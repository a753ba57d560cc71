"""Budgets, ledgers and agents' tool calls over HTTP, with a real Temporal and a real worker."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from orchestrator.settings import Settings
from tests.integration.test_api_executions import Scripts, document, started, until_status, working
from tests.integration.test_api_messages import api, awaiting, stored
from tests.support.api_server import problem_in
from tests.support.clock import awake_seconds
from tests.support.pace import within

__all__ = ["api"]

ASK = {"step_id": "a", "step_type": "agent_task", "agent_type": "sales", "task": "t"}
SPENT = {"path": "a", "model": "m", "input_tokens": 10, "output_tokens": 5, "cost_usd": 0.01}
UNPRICED = {"path": "a", "model": "free", "input_tokens": 1, "output_tokens": 2, "turn": 1}


def tool_turn(*calls: dict[str, Any], **fields: Any) -> dict[str, Any]:
    numbered = [{"call_id": f"c{number}", "arguments": {"n": number}, **call} for number, call in enumerate(calls)]
    return {"turn": {"tool_calls": numbered, **fields}}


GATED: Scripts = {
    "a": [
        tool_turn({"tool": "pay", "requires_approval": True}, {"tool": "look"}, approvers=["kim"], spent=[SPENT]),
        {"turn": {"output": "paid", "spent": [UNPRICED]}},
    ]
}


@pytest.mark.parametrize(("decision", "called"), [("approved", 1), ("rejected", 0)])
async def test_a_gated_tool_is_called_when_its_approver_says_so(
    api: httpx2.AsyncClient, isolated_settings: Settings, decision: str, called: int
) -> None:
    workflow_id = await stored(api, isolated_settings, ASK)
    async with working(isolated_settings, GATED) as stubs:
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
        [shown] = (await document(api, execution_id))["approvals"]
        assert (shown["path"], shown["tool"], shown["arguments"]) == ("a:t0.0", "pay", {"n": 0})
        assert shown["approvers"] == ["kim"]
        url = f"/executions/{execution_id}/approvals/{shown['path']}"
        body = {"decision": decision, "by": "kim", "reason": "seen"}
        problem_in(await api.post(url, json={**body, "by": "eve"}), 409, "wrong-state")
        for elsewhere in ("a:t0.1", "a:t1.0", "a", "b:t0.0"):
            other = f"/executions/{execution_id}/approvals/{elsewhere}"
            problem_in(await api.post(other, json=body), 409, "wrong-state")
        key = {"Idempotency-Key": "once"}
        assert (await api.post(url.replace(":", "%3A"), json=body, headers=key)).status_code == 200
        found = await until_status(api, execution_id, "completed")
        assert (await api.post(url, json=body, headers=key)).status_code == 200
        problem_in(await api.post(url, json=body), 409, "wrong-state")
    assert (found["output"], found["approvals"]) == ({"a": "paid"}, [])
    assert stubs.calls["a:pay"] == called


async def test_an_approval_step_is_shown_with_its_title(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    step = {"step_id": "ok", "step_type": "approval", "title": "Pay {{ input.sum }}?", "approvers": ["kim"]}
    workflow_id = await stored(api, isolated_settings, step)
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id, input_data={"sum": 12})
        await awaiting(api, execution_id, "approval")
        [shown] = (await document(api, execution_id))["approvals"]
    assert shown == {"path": "ok", "title": "Pay 12?", "approvers": ["kim"], "tool": None, "arguments": None}


async def test_the_ledger_tells_of_every_call_and_stays_after_the_end(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    script: Scripts = {"a": [tool_turn({"tool": "look"}, spent=[SPENT]), {"turn": {"output": 1, "spent": [UNPRICED]}}]}
    workflow_id = await stored(api, isolated_settings, ASK)
    async with working(isolated_settings, script):
        execution_id = await started(api, workflow_id)
        found = await until_status(api, execution_id, "completed")
    # No worker is left: the envelope has it.
    answer = await api.get(f"/executions/{execution_id}/ledger")
    assert answer.status_code == 200, answer.text
    ledger = answer.json()
    totals = {"input_tokens": 11, "output_tokens": 7, "model_calls": 2, "tool_calls": 1, "cost_usd": 0.01}
    assert totals.items() <= ledger["total"].items()
    assert ledger["total"]["unpriced_calls"] == 1
    assert ledger["by_step"] == {"a": ledger["total"]}
    assert {model: sums["input_tokens"] for model, sums in ledger["by_model"].items()} == {"m": 10, "free": 1}
    assert [(call["model"], call["turn"], call["cost_usd"]) for call in ledger["calls"]] == [
        ("m", 0, 0.01),
        ("free", 1, None),
    ]
    assert (ledger["children"]["model_calls"], ledger["calls_left_out"]) == (0, 0)
    assert found["ledger"] == ledger["total"]


async def test_a_failed_execution_has_its_ledger_and_one_that_spent_nothing_an_empty_one(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    failing = {"step_id": "no", "step_type": "fail", "error_type": "no", "message": "no", "depends_on": ["a"]}
    workflow_id = await stored(api, isolated_settings, ASK, failing)
    async with working(isolated_settings, {"a": [{"turn": {"output": 1, "spent": [SPENT]}}]}):
        execution_id = await started(api, workflow_id)
        await until_status(api, execution_id, "failed")
        assert (await api.get(f"/executions/{execution_id}/ledger")).json()["total"]["input_tokens"] == 10
        free = {"name": "Free", "steps": [{"step_id": "t", "step_type": "transform", "value": 1}]}
        assert (await api.put(f"/workflows/{workflow_id}", json=free)).status_code == 200
        execution_id = await started(api, workflow_id)
        found = await until_status(api, execution_id, "completed")
        ledger = (await api.get(f"/executions/{execution_id}/ledger")).json()
    assert (found["ledger"], ledger["total"]["model_calls"], ledger["calls"]) == (None, 0, [])
    problem_in(await api.get("/executions/ex-nobody/ledger"), 404, "execution-not-found")


async def test_a_raised_budget_brings_a_parked_agent_on(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    script: Scripts = {
        "a": [tool_turn({"tool": "look"}, spent=[SPENT]), {"turn": {"output": "done", "spent": [SPENT]}}]
    }
    limits = {"budget": {"model_calls": 1, "on_exhausted": "park"}}
    definition = {"name": "Bounded", "steps": [ASK], "limits": limits}
    workflow_id = isolated_settings.redis_key_prefix
    assert (await api.put(f"/workflows/{workflow_id}", json=definition)).status_code == 201
    async with working(isolated_settings, script) as stubs:
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "operator")
        url = f"/executions/{execution_id}/budget"
        faulty_bodies: list[Any] = [{}, {"reason": "why"}, {"model_calls": 0}, {"cost_usd": -1}, {"tokens": "9"}, []]
        for faulty in faulty_bodies:
            problem_in(await api.post(url, json=faulty), 422, "invalid-request")
        # Another dimension has no bound that could be raised.
        assert (await api.post(url, json={"tokens": 5})).status_code == 202
        assert (await document(api, execution_id))["detail"] == "operator"
        answer = await api.post(url, json={"model_calls": 1, "reason": "worth it"}, headers={"Idempotency-Key": "r1"})
        assert (answer.status_code, answer.json()["execution_id"]) == (202, execution_id)
        found = await until_status(api, execution_id, "completed")
        problem_in(await api.post(url, json={"model_calls": 1}), 409, "wrong-state")
    assert (found["output"], stubs.calls["a"]) == ({"a": "done"}, 2)


async def test_there_is_no_raising_without_a_budget_nor_without_a_worker(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, {"step_id": "ok", "step_type": "approval", "title": "?"})
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id)
        await awaiting(api, execution_id, "approval")
        problem = problem_in(
            await api.post(f"/executions/{execution_id}/budget", json={"tokens": 1}), 409, "wrong-state"
        )
        assert "has no budget" in problem["detail"]
    began = awake_seconds()
    problem_in(await api.post(f"/executions/{execution_id}/budget", json={"tokens": 1}), 503, "no-worker")
    problem_in(await api.get(f"/executions/{execution_id}/ledger"), 503, "no-worker")
    assert within(awake_seconds() - began, 20)
