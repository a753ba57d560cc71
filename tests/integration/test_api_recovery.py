"""Retry, rerun, terminate and idempotent starts over HTTP, with a real Temporal and a real worker; effects counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from temporalio.client import Client

from orchestrator.next_attempts import tags_of_run
from orchestrator.settings import Settings
from tests.integration.test_api_executions import document, started, states, until_status, working
from tests.support.api_server import problem_in, running_api
from tests.support.polling import eventually
from tests.support.stubs import Stubs

FAILURE = {"error": {"type": "boom", "message": "it broke", "retryable": False}}


def step(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "sales", "task": "t", **fields}


CHAIN = [step("a"), step("b", depends_on=["a"]), step("c", depends_on=["b"])]


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        yield client


async def stored(api: httpx2.AsyncClient, settings: Settings, *steps: dict[str, Any], **fields: Any) -> str:
    workflow_id = settings.redis_key_prefix
    answer = await api.put(f"/workflows/{workflow_id}", json={"name": "Recovery", "steps": list(steps), **fields})
    assert answer.is_success, answer.text
    return workflow_id


async def ended(api: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    return await until_status(api, execution_id, "completed", "failed", "cancelled", "terminated", "timed_out")


async def accepted(api: httpx2.AsyncClient, execution_id: str, action: str, **body: Any) -> dict[str, Any]:
    answer = await api.post(f"/executions/{execution_id}/{action}", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    return found


def key_of(stubs: Stubs, path: str) -> str:
    """The idempotency key of the step's last call, without the agent's turn."""
    key: str = stubs.inputs[path].call.idempotency_key
    return key.replace("/m0", "")


async def test_a_retry_goes_on_from_what_failed(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    async with working(isolated_settings, {"b": [FAILURE, {"result": 2}]}) as stubs:
        execution_id = await started(api, workflow_id, input_data={"x": 1})
        failed = await ended(api, execution_id)
        assert failed["status"] == "failed"
        # The definition that was recorded counts, whatever is stored now.
        await stored(api, isolated_settings, step("other"), name="Other")
        answer = await accepted(api, execution_id, "retry", reason="the agent was fixed")
        assert (answer["execution_id"], answer["lineage"]["attempt"]) == (execution_id, 2)
        found = await ended(api, execution_id)
        problem = problem_in(await api.post(f"/executions/{execution_id}/retry"), 409, "wrong-state")
        assert "nothing to retry" in problem["detail"]
    assert (found["status"], found["input"]) == ("completed", {"x": 1})
    assert (found["lineage"]["retry_of"], found["lineage"]["attempt"]) == (failed["run_id"], 2)
    assert found["workflow_version"] == 1
    assert stubs.calls == {"a": 1, "b": 2, "c": 1}
    assert [key_of(stubs, path) for path in "abc"] == [f"{execution_id}/{path}" for path in "abc"]


async def test_what_goes_on_keeps_the_priority_and_the_tags_of_the_start(
    api: httpx2.AsyncClient, isolated_settings: Settings, temporal_client: Client
) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    async with working(isolated_settings, {"b": [FAILURE]}):
        first = await started(api, workflow_id, options={"priority": 2}, tags={"team": "sales"})
        await ended(api, first)
        await accepted(api, first, "retry")
        await ended(api, first)
        second = (await accepted(api, first, "rerun", from_step="a"))["execution_id"]
        await ended(api, second)
    for execution_id in (first, second):
        found = await temporal_client.get_workflow_handle(execution_id).describe()
        assert found.raw_description.workflow_execution_info.priority.priority_key == 2
        assert tags_of_run(found) == {"team": "sales"}


async def test_only_one_of_many_retries_at_once_is_taken(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    url, headers = f"/workflows/{workflow_id}/execute", {"Idempotency-Key": "once"}
    async with working(isolated_settings, {"b": [FAILURE, {"result": 2}]}) as stubs:
        execution_id = (await api.post(url, headers=headers)).json()["execution_id"]
        await ended(api, execution_id)
        answers = await asyncio.gather(*(api.post(f"/executions/{execution_id}/retry") for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
        assert (await ended(api, execution_id))["status"] == "completed"
        # The start that is sent again still finds it.
        again = await api.post(url, headers=headers)
        assert (again.status_code, again.json()["execution_id"]) == (200, execution_id)
    assert stubs.calls == {"a": 1, "b": 2, "c": 1}


async def test_a_terminated_execution_is_retried_and_an_open_one_is_not(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    approval = {"step_id": "ok", "step_type": "approval", "title": "Go on?", "depends_on": ["a"]}
    workflow_id = await stored(api, isolated_settings, step("a"), approval, step("z", depends_on=["ok"]))
    async with working(isolated_settings) as stubs:
        execution_id = await started(api, workflow_id)
        await until_status(api, execution_id, "awaiting")
        for action, body in (("retry", {}), ("rerun", {"from_step": "a"})):
            problem = problem_in(await api.post(f"/executions/{execution_id}/{action}", json=body), 409, "wrong-state")
            assert problem["execution_status"] == "awaiting"
        terminated = await accepted(api, execution_id, "terminate", reason="by hand")
        assert (terminated["status"], terminated["error"]["message"]) == ("terminated", "by hand")
        problem_in(await api.post(f"/executions/{execution_id}/terminate"), 409, "wrong-state")
        await accepted(api, execution_id, "retry")
        await until_status(api, execution_id, "awaiting")
        decided = await api.post(f"/executions/{execution_id}/approvals/ok", json={"decision": "approved"})
        assert decided.status_code == 200, decided.text
        assert (await ended(api, execution_id))["status"] == "completed"
    assert stubs.calls == {"a": 1, "z": 1}


async def test_a_retry_runs_again_what_was_undone(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    reserve = step("reserve", compensate=step("release"))
    workflow_id = await stored(api, isolated_settings, reserve, step("pay", depends_on=["reserve"]))
    async with working(isolated_settings, {"pay": [FAILURE, {"result": 2}]}) as stubs:
        execution_id = await started(api, workflow_id)
        assert (await ended(api, execution_id))["status"] == "failed"
        await accepted(api, execution_id, "retry")
        assert (await ended(api, execution_id))["status"] == "completed"
    assert stubs.calls == {"reserve": 2, "pay": 2, "release": 1}


async def test_items_that_completed_are_not_repeated_over_continued_runs(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    block = {
        "step_id": "f",
        "step_type": "foreach",
        "items": list(range(12)),
        "max_concurrency": 3,
        "steps": [step("x"), step("y", depends_on=["x"])],
    }
    workflow_id = await stored(api, isolated_settings, block)
    async with working(isolated_settings, {"f[7].y": [FAILURE, {"result": "late"}]}) as stubs:
        execution_id = await started(api, workflow_id)
        assert (await ended(api, execution_id))["status"] == "failed"
        completed = [path for path, count in stubs.calls.items() if count == 1 and not path.startswith("f[7]")]
        await accepted(api, execution_id, "retry")
        found = await ended(api, execution_id)
    assert found["status"] == "completed"
    assert found["output"]["f"][7] == {"y": "late"}
    counted = stubs.calls
    assert counted["f[7].x"] == 1
    assert counted["f[7].y"] == 2
    assert all(counted[f"f[{item}].{name}"] >= 1 for item in range(12) for name in "xy")
    # What was in flight when the item failed may have been cancelled, and then runs again.
    assert sum(counted[path] - 1 for path in completed) <= 2


async def test_a_rerun_is_a_new_execution_linked_both_ways(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    join = {"step_id": "out", "step_type": "transform", "value": "{{ [steps.a.output, steps.c.output, input.x] }}"}
    workflow_id = await stored(api, isolated_settings, *CHAIN, join, input_schema=schema)
    async with working(isolated_settings, {"c": [{"result": 3}, {"result": 33}]}) as stubs:
        first = await started(api, workflow_id, input_data={"x": 1}, tags={"team": "sales"})
        assert (await ended(api, first))["status"] == "completed"
        url = f"/executions/{first}/rerun"
        problem = problem_in(await api.post(url, json={"from_step": "bb"}), 422, "invalid-request")
        assert [issue["pointer"] for issue in problem["errors"]] == ["/from_step"]
        assert problem["hint"] == "did you mean 'b'?"
        bad = {"from_step": "b", "input": {"x": "one"}}
        problem = problem_in(await api.post(url, json=bad), 422, "invalid-input")
        assert [issue["pointer"] for issue in problem["errors"]] == ["/input/x"]
        problem_in(await api.post(url, json={"from_step": "b", "outputs": {"c": 1}}), 422, "invalid-request")
        answer = await accepted(api, first, "rerun", from_step="c", input={"x": 2}, outputs={"a": "edited"})
        second = answer["execution_id"]
        assert second != first
        found = await ended(api, second)
        assert (found["status"], found["output"]["out"]) == ("completed", ["edited", 33, 2])
        assert (found["lineage"]["rerun_of"], found["lineage"]["root"]) == (first, first)

        async def linked() -> bool:
            return bool((await document(api, first))["reruns"] == [second])

        await eventually(linked)
        assert second in {item["execution_id"] for item in (await api.get("/executions/")).json()["items"]}
        assert (await document(api, first))["output"]["out"][1] == 3
    assert stubs.calls == {"a": 1, "b": 1, "c": 2}
    assert key_of(stubs, "c") == f"{first}/{second}/c#1"
    assert states(found) == {"a": "completed", "b": "completed", "c": "completed", "out": "completed"}


async def test_without_a_worker_nobody_tells_the_position(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    async with working(isolated_settings, {"b": [FAILURE]}):
        execution_id = await started(api, workflow_id)
        await ended(api, execution_id)
    for action, body in (("retry", {}), ("rerun", {"from_step": "a"})):
        problem_in(await api.post(f"/executions/{execution_id}/{action}", json=body), 503, "no-worker")


async def test_what_ended_before_a_worker_took_it_is_retried_from_where_it_began(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    """Temporal answers no query about a run that closed before its first workflow task completed."""
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    execution_id = await started(api, workflow_id, input_data={"x": 1}, tags={"team": "sales"})
    terminated = await accepted(api, execution_id, "terminate")
    assert (terminated["stale"], terminated["input"], set(states(terminated).values())) == (
        False,
        {"x": 1},
        {"cancelled"},
    )
    refused = await api.post(f"/executions/{execution_id}/rerun", json={"from_step": "a"})
    problem = problem_in(refused, 409, "wrong-state")
    assert problem["hint"] == "retry it"
    retried = await accepted(api, execution_id, "retry")
    assert (retried["lineage"]["attempt"], retried["lineage"]["retry_of"]) == (2, terminated["run_id"])
    async with working(isolated_settings) as stubs:
        found = await ended(api, execution_id)
    assert (found["status"], found["input"], found["lineage"]["attempt"]) == ("completed", {"x": 1}, 2)
    assert stubs.calls == {"a": 1, "b": 1, "c": 1}


async def test_a_retry_that_ended_before_a_worker_took_it_keeps_what_had_completed(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    nobodys = isolated_settings.model_copy(update={"temporal_task_queue": f"{workflow_id}-nobody"})
    async with (
        running_api(nobodys) as without_worker,
        working(isolated_settings, {"b": [FAILURE, {"result": 2}]}) as stubs,
    ):
        execution_id = await started(api, workflow_id, input_data={"x": 1})
        await ended(api, execution_id)
        await accepted(without_worker, execution_id, "retry")
        waiting = await document(without_worker, execution_id)
        assert (waiting["status"], waiting["stale"], waiting["input"]) == ("running", True, {"x": 1})
        assert states(waiting) == {"a": "completed", "b": "pending", "c": "pending"}
        terminated = await accepted(without_worker, execution_id, "terminate")
        assert (terminated["stale"], states(terminated)["a"]) == (False, "completed")
        await accepted(api, execution_id, "retry")
        found = await ended(api, execution_id)
    assert (found["status"], found["lineage"]["attempt"]) == ("completed", 3)
    assert stubs.calls == {"a": 1, "b": 2, "c": 1}


async def test_equal_starts_at_once_are_one_execution(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, step("a"))
    url, body = f"/workflows/{workflow_id}/execute", {"input_data": {"x": 1}, "tags": {"k": "v"}}
    headers = {"Idempotency-Key": "order 4711"}
    async with working(isolated_settings) as stubs:
        answers = await asyncio.gather(*(api.post(url, json=body, headers=headers) for _ in range(200)))
        assert Counter(answer.status_code for answer in answers) == {202: 1, 200: 199}
        (execution_id,) = {answer.json()["execution_id"] for answer in answers}
        assert (await ended(api, execution_id))["status"] == "completed"
        again = await api.post(url, json={**body, "async_execution": False}, headers=headers)
        assert (again.status_code, again.json()["output"]) == (200, (await document(api, execution_id))["output"])
        for other in ({"input_data": {"x": 2}}, {**body, "tags": {}}, {**body, "options": {"priority": 1}}):
            problem = problem_in(await api.post(url, json=other, headers=headers), 409, "idempotency-mismatch")
            assert problem["execution_id"] == execution_id
        different = await api.post(url, json=body, headers={"Idempotency-Key": "order 4712"})
        assert different.status_code == 202
        assert different.json()["execution_id"] != execution_id
        await ended(api, different.json()["execution_id"])
    assert stubs.calls == {"a": 2}


async def test_options_bound_one_execution(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    waiting = {"step_id": "w", "step_type": "wait", "seconds": 600}
    workflow_id = await stored(api, isolated_settings, waiting, timeouts={"execution_seconds": 300})
    url = f"/workflows/{workflow_id}/execute"
    faulty: tuple[dict[str, Any], ...] = ({"execution_seconds": 301}, {"priority": 6}, {"execution_seconds": 0})
    for options in faulty:
        problem = problem_in(await api.post(url, json={"options": options}), 422, "invalid-request")
        assert [issue["pointer"] for issue in problem["errors"]] == [f"/options/{next(iter(options))}"]
    async with working(isolated_settings):
        execution_id = await started(api, workflow_id, options={"execution_seconds": 1, "priority": 2})
        assert (await ended(api, execution_id))["status"] == "timed_out"
