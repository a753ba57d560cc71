"""Executions over HTTP: start, wait, read, list, pause, resume, cancel, with a real Temporal and a real worker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from temporalio.client import Client

from activities.control import ControlActivities
from activities.definitions import DefinitionActivities
from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.event_streams import EventStreams
from orchestrator.stores.redis import connect_redis
from orchestrator.worker import published_events
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.clock import awake_seconds
from tests.support.pace import within
from tests.support.polling import eventually
from tests.support.stubs import Stubs

TWO_STEPS: dict[str, Any] = {
    "name": "Two",
    "steps": [
        {"step_id": "first", "name": "First", "step_type": "agent_task", "agent_type": "sales", "task": "t"},
        {
            "step_id": "second",
            "name": "Second",
            "step_type": "agent_task",
            "agent_type": "sales",
            "task": "t",
            "depends_on": ["first"],
            "retry": {"max_attempts": 2, "initial_interval_seconds": 0.05},
        },
    ],
}
Scripts = Mapping[str, Sequence[Mapping[str, Any]]]

CLOSED = {"completed", "failed", "cancelled", "terminated", "timed_out"}


@asynccontextmanager
async def working(settings: Settings, scripts: Scripts | None = None) -> AsyncIterator[Stubs]:
    """A worker whose agents play scripts; its client shares the API's claim store."""
    client = await connect(settings)
    stubs = Stubs(scripts)
    redis = connect_redis(settings)
    quick = settings.model_copy(update={"worker_graceful_shutdown_seconds": 0.5})
    definitions = [*DefinitionActivities(DefinitionStore(redis, settings.redis_key_prefix)).all()]
    real = [item for item in definitions if "validate_json" not in item.__name__]
    activities = [*ControlActivities(client).all(), *real, *stubs.all()]
    async with published_events(settings) as events, leased_worker(client, quick, activities, [events]):
        yield stubs
    await redis.aclose()
    await disconnect(client)


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    with_ui = isolated_settings.model_copy(update={"temporal_ui_url": "http://127.0.0.1:8233"})
    async with running_api(with_ui) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        assert (await client.put("/workflows/two", json=TWO_STEPS)).status_code == 201
        yield client


@pytest.fixture
async def own_workflow(api: httpx2.AsyncClient, isolated_settings: Settings) -> str:
    """The id of a workflow that no other test of the session starts: lists span the whole namespace."""
    workflow_id = isolated_settings.redis_key_prefix
    assert (await api.put(f"/workflows/{workflow_id}", json=TWO_STEPS)).status_code == 201
    return workflow_id


async def started(api: httpx2.AsyncClient, workflow_id: str = "two", **body: Any) -> str:
    answer = await api.post(f"/workflows/{workflow_id}/execute", json=body)
    assert answer.status_code == 202, answer.text
    execution_id: str = answer.json()["execution_id"]
    return execution_id


async def document(api: httpx2.AsyncClient, execution_id: str) -> dict[str, Any]:
    answer = await api.get(f"/executions/{execution_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def until_status(
    api: httpx2.AsyncClient, execution_id: str, *statuses: str, seconds: float = 10
) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def reached() -> bool:
        nonlocal found
        found = await document(api, execution_id)
        return found["status"] in statuses

    await eventually(reached, seconds)
    return found


def states(found: dict[str, Any]) -> dict[str, str]:
    return {step["path"]: step["state"] for step in found["steps"]}


async def test_a_synchronous_start_answers_with_the_result(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    lead = {"lead": {"name": "Acme Corp", "budget": 50000}}
    scripts: Scripts = {
        "first": [{"result": {"score": 9}}],
        "second": [{"error": {"type": "boom"}}, {"result": {"size": 40}}],
    }
    async with working(isolated_settings, scripts):
        answer = await api.post("/workflows/two/execute", json={"input_data": lead, "async_execution": False})
        assert answer.status_code == 200, answer.text
        found = answer.json()
        execution_id = found["execution_id"]
        assert await document(api, execution_id) == found
    assert answer.headers["location"] == f"/api/v1/executions/{execution_id}"
    assert execution_id.startswith("ex-")
    assert len(execution_id) == 29
    assert {key: found[key] for key in ("workflow_id", "workflow_version", "name", "status", "input", "output")} == {
        "workflow_id": "two",
        "workflow_version": 1,
        "name": "Two",
        "status": "completed",
        "input": lead,
        "output": {"second": {"size": 40}},
    }
    assert found["error"] is None
    assert found["stale"] is False
    assert found["lineage"]["attempt"] == 1
    assert [(step["path"], step["name"], step["state"], step["attempts"]) for step in found["steps"]] == [
        ("first", "First", "completed", 1),
        ("second", "Second", "completed", 2),
    ]
    assert found["steps"][0]["started_at"] <= found["steps"][0]["finished_at"] <= found["closed_at"]
    assert found["links"]["workflow"] == "/api/v1/workflows/two?version=1"
    ui = f"http://127.0.0.1:8233/namespaces/default/workflows/{execution_id}/{found['run_id']}"
    assert found["links"]["temporal_ui"] == ui
    assert found["links"]["cancel"] is None


async def test_a_failed_execution_is_an_answer_of_200_that_names_step_and_cause(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    scripts = {"first": [{"error": {"type": "model-unavailable", "message": "no answer", "retryable": False}}]}
    async with working(isolated_settings, scripts):
        answer = await api.post("/workflows/two/execute", json={"input_data": {"n": 1}, "async_execution": False})
    assert answer.status_code == 200
    found = answer.json()
    assert found["status"] == "failed"
    assert (found["error"]["type"], found["error"]["step"]) == ("model-unavailable", "first")
    assert "no answer" in found["error"]["message"]
    assert found["input"] == {"n": 1}
    assert states(found) == {"first": "failed", "second": "cancelled"}
    # The envelope is in the failure: no worker is needed to read it.
    assert await document(api, found["execution_id"]) == found


async def test_an_asynchronous_start_answers_at_once_and_can_be_read(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    answer = await api.post("/workflows/two/execute", json={"input_data": [1, None]})
    assert answer.status_code == 202
    first = answer.json()
    assert (first["status"], first["input"], states(first)) == (
        "running",
        [1, None],
        {"first": "pending", "second": "pending"},
    )
    assert first["links"]["self"] == answer.headers["location"]
    async with working(isolated_settings):
        found = await until_status(api, first["execution_id"], "completed")
    assert found["run_id"] == first["run_id"]


@pytest.mark.parametrize("body", [None, {}, {"async_execution": True}])
async def test_a_start_needs_no_body_and_its_input_defaults_to_an_empty_object(
    api: httpx2.AsyncClient, body: dict[str, Any] | None
) -> None:
    send = api.build_request("POST", "/workflows/two/execute", json=body)
    answer = await api.send(send)
    assert answer.status_code == 202
    assert answer.json()["input"] == {}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": {}}, "/input"),
        ({"async_execution": "false"}, "/async_execution"),
        ({"async_execution": 0}, "/async_execution"),
        ({"wait_seconds": 301}, "/wait_seconds"),
        ({"wait_seconds": 0}, "/wait_seconds"),
        ({"wait_seconds": "60"}, "/wait_seconds"),
        ({"version": 0}, "/version"),
        ({"version": 1.5}, "/version"),
        ({"tags": {"a": 1}}, "/tags/a"),
        ({"tags": ["a"]}, "/tags"),
        ({"tags": {"a": "x" * 257}}, "/tags/a"),
        ({"tags": {str(number): "😀" * 256 for number in range(2)}}, "/tags"),
        ([], ""),
    ],
)
async def test_a_faulty_start_is_refused_and_starts_nothing(
    api: httpx2.AsyncClient, own_workflow: str, body: Any, pointer: str
) -> None:
    problem = problem_in(await api.post(f"/workflows/{own_workflow}/execute", json=body), 422, "invalid-request")
    assert [issue["pointer"] for issue in problem["errors"]] == [pointer]
    assert (await api.get("/executions/", params={"workflow_id": own_workflow})).json()["items"] == []


async def test_input_that_breaks_the_input_schema_is_refused_with_pointers(api: httpx2.AsyncClient) -> None:
    schema = {
        "type": "object",
        "required": ["lead"],
        "properties": {"lead": {"type": "object", "properties": {"budget": {"type": "integer"}}}},
    }
    await api.put("/workflows/strict", json={**TWO_STEPS, "name": "Strict", "input_schema": schema})
    wrong = await api.post("/workflows/strict/execute", json={"input_data": {"lead": {"budget": "much"}}})
    assert [issue["pointer"] for issue in problem_in(wrong, 422, "invalid-input")["errors"]] == [
        "/input_data/lead/budget"
    ]
    problem_in(await api.post("/workflows/strict/execute", json={}), 422, "invalid-input")
    await started(api, "strict", input_data={"lead": {"budget": 1}})


async def test_a_start_may_name_a_version(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    changed = {**TWO_STEPS, "description": "changed"}
    assert (await api.put("/workflows/two", json=changed)).json()["version"] == 2
    old = await api.post("/workflows/two/execute", json={"version": 1})
    new = await api.post("/workflows/two/execute", json={})
    assert (old.json()["workflow_version"], new.json()["workflow_version"]) == (1, 2)
    problem_in(await api.post("/workflows/two/execute", json={"version": 3}), 404, "workflow-not-found")


async def test_a_definition_whose_agent_was_retired_still_starts(api: httpx2.AsyncClient) -> None:
    await api.delete("/agents/sales")
    await started(api)


async def test_a_wait_that_ends_first_is_202_and_the_execution_goes_on(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, {"second": [{"sleep": 2.0, "result": 1}]}) as stubs:
        began = awake_seconds()
        answer = await api.post("/workflows/two/execute", json={"async_execution": False, "wait_seconds": 0.4})
        assert within(awake_seconds() - began, 1.0)
        assert answer.status_code == 202
        assert answer.json()["status"] == "running"
        await until_status(api, answer.json()["execution_id"], "completed")
        assert stubs.calls == {"first": 1, "second": 1}


async def test_a_client_that_goes_away_stops_nothing(
    api: httpx2.AsyncClient, isolated_settings: Settings, own_workflow: str
) -> None:
    async with working(isolated_settings, {"second": [{"sleep": 0.6, "result": 1}]}) as stubs:
        asking = asyncio.create_task(api.post(f"/workflows/{own_workflow}/execute", json={"async_execution": False}))
        await eventually(lambda: stubs.calls["second"] == 1)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

        async def completed() -> bool:
            items = (await api.get("/executions/", params={"workflow_id": own_workflow})).json()["items"]
            return [item["status"] for item in items] == ["completed"]

        await eventually(completed)


async def test_attempts_and_the_last_failure_show_while_a_step_waits_for_its_next_try(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    step = {**TWO_STEPS["steps"][0], "retry": {"max_attempts": 5, "initial_interval_seconds": 60}}
    await api.put("/workflows/slow", json={"name": "Slow", "steps": [step]})
    scripts = {"first": [{"error": {"type": "model-rate-limited", "message": "too many"}}]}
    async with working(isolated_settings, scripts):
        execution_id = await started(api, "slow")

        async def waits() -> bool:
            return (await document(api, execution_id))["steps"][0]["next_attempt_at"] is not None

        await eventually(waits)
        row = (await document(api, execution_id))["steps"][0]
        assert (row["state"], row["attempts"], row["last_failure"]["type"]) == ("running", 1, "model-rate-limited")
        assert row["error"] is None
        await api.post(f"/executions/{execution_id}/cancel")
        await until_status(api, execution_id, "cancelled", seconds=5)


async def test_pause_holds_the_second_step_and_resume_runs_it(
    api: httpx2.AsyncClient, isolated_settings: Settings, own_workflow: str
) -> None:
    async with working(isolated_settings, {"first": [{"sleep": 0.4, "result": 1}]}) as stubs:
        execution_id = await started(api, own_workflow)
        await eventually(lambda: stubs.calls["first"] == 1)
        paused = await api.post(f"/executions/{execution_id}/pause", json={"reason": "prices change"})
        assert paused.status_code == 202, paused.text
        assert (paused.json()["status"], paused.json()["holds"]) == ("paused", {"operator": "prices change"})
        again = problem_in(await api.post(f"/executions/{execution_id}/pause"), 409, "wrong-state")
        assert "paused already" in again["detail"]

        async def first_done() -> bool:
            return states(await document(api, execution_id))["first"] == "completed"

        await eventually(first_done)
        found = await document(api, execution_id)
        assert (found["status"], states(found)["second"]) == ("paused", "pending")
        assert "prices change" in found["detail"]

        async def listed_as_paused() -> bool:
            query = {"workflow_id": own_workflow, "status": "paused"}
            items = (await api.get("/executions/", params=query)).json()["items"]
            return [(item["execution_id"], item["status"]) for item in items] == [(execution_id, "paused")]

        await eventually(listed_as_paused)
        assert stubs.calls["second"] == 0
        resumed = await api.post(f"/executions/{execution_id}/resume")
        assert resumed.status_code == 202
        await until_status(api, execution_id, "completed")
        assert stubs.calls == {"first": 1, "second": 1}
        for action in ("pause", "resume", "cancel"):
            closed = problem_in(await api.post(f"/executions/{execution_id}/{action}"), 409, "wrong-state")
            assert closed["execution_status"] == "completed"


async def test_resume_without_a_pause_is_a_wrong_state(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    async with working(isolated_settings, {"first": [{"hang": True}]}):
        execution_id = await started(api)
        problem = problem_in(await api.post(f"/executions/{execution_id}/resume"), 409, "wrong-state")
        assert problem["execution_status"] == "running"
        await api.post(f"/executions/{execution_id}/cancel")
        await until_status(api, execution_id, "cancelled", seconds=5)


@pytest.mark.parametrize("paused_first", [False, True])
async def test_cancel_ends_in_cancelled_within_five_seconds(
    api: httpx2.AsyncClient, isolated_settings: Settings, paused_first: bool
) -> None:
    async with working(isolated_settings, {"second": [{"hang": True}]}) as stubs:
        execution_id = await started(api, input_data={"kept": True})
        await eventually(lambda: stubs.calls["second"] == 1)
        if paused_first:
            assert (await api.post(f"/executions/{execution_id}/pause", json={})).json()["status"] == "paused"
        answer = await api.post(f"/executions/{execution_id}/cancel", json={"reason": "a mistake"})
        assert answer.status_code == 202
        found = await until_status(api, execution_id, "cancelled", seconds=5)
        assert found["input"] == {"kept": True}
        assert states(found) == {"first": "completed", "second": "cancelled"}
        problem_in(await api.post(f"/executions/{execution_id}/cancel"), 409, "wrong-state")


@pytest.mark.parametrize("store", ["redis", "none"])
async def test_a_cancelled_execution_is_read_without_a_worker(isolated_settings: Settings, store: str) -> None:
    settings = isolated_settings.model_copy(update={"claim_store": store})
    async with running_api(settings) as api:
        await api.post("/agents/", json={"agent_type": "sales"})
        await api.put("/workflows/two", json=TWO_STEPS)
        async with working(settings, {"second": [{"hang": True}]}) as stubs:
            execution_id = await started(api, input_data={"kept": True})
            await eventually(lambda: stubs.calls["second"] == 1)
            await api.post(f"/executions/{execution_id}/cancel", json={"reason": "a mistake"})
            await until_status(api, execution_id, "cancelled")
        found = await document(api, execution_id)
    assert (found["status"], found["input"]) == ("cancelled", {"kept": True})
    assert states(found) == {"first": "completed", "second": "cancelled"}
    # Without a claim store only a worker knows why.
    assert found["stale"] == (store == "none")
    assert (found["error"] is not None and "a mistake" in found["error"]["message"]) == (store == "redis")


async def test_a_terminated_execution_keeps_its_input_steps_and_reason(
    api: httpx2.AsyncClient, temporal_client: Client, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, {"second": [{"hang": True}]}) as stubs:
        execution_id = await started(api, input_data={"kept": True})
        await eventually(lambda: stubs.calls["second"] == 1)
        await temporal_client.get_workflow_handle(execution_id).terminate(reason="the operator said so")
        found = await until_status(api, execution_id, "terminated")
    assert found["input"] == {"kept": True}
    assert found["error"] == {
        "type": "terminated",
        "message": "the operator said so",
        "step": None,
        "via": None,
        "details": {},
        "cause": None,
        "outcome_unknown": False,
    }
    assert states(found) == {"first": "completed", "second": "cancelled"}


async def test_without_a_worker_a_read_is_stale_and_still_tells_what_was_done(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    async with working(isolated_settings, {"second": [{"hang": True}]}) as stubs:
        execution_id = await started(api, input_data={"n": 1})
        await eventually(lambda: stubs.calls["second"] == 1)
    began = awake_seconds()
    found = await document(api, execution_id)
    # No worker holds a lease: nobody waits for one.
    assert within(awake_seconds() - began, 2)
    assert found["stale"] is True
    assert (found["status"], found["input"], found["name"]) == ("running", {"n": 1}, "Two")
    assert states(found) == {"first": "completed", "second": "running"}
    # A message is durable: it is taken now and acted upon when a worker is back.
    assert (await api.post(f"/executions/{execution_id}/cancel")).status_code == 202
    async with working(isolated_settings, {"second": [{"hang": True}]}):
        found = await until_status(api, execution_id, "cancelled")
        assert found["stale"] is False


async def test_a_stale_read_knows_the_loaded_definition_and_takes_no_item_for_its_block(
    api: httpx2.AsyncClient, temporal_client: Client, isolated_settings: Settings
) -> None:
    call = {"step_id": "call", "step_type": "agent_task", "agent_type": "sales", "task": "t"}
    each = {"step_id": "each", "step_type": "foreach", "items": [1, 2], "steps": [call]}
    assert (await api.put("/workflows/block", json={"name": "Block", "steps": [each]})).status_code == 201
    execution_id = f"stale-{isolated_settings.redis_key_prefix}"
    async with working(isolated_settings, {"each[1].call": [{"hang": True}]}) as stubs:
        await temporal_client.start_workflow(
            "AgentWorkflow",
            {"workflow_id": "block", "input": {"n": 2}},
            id=execution_id,
            task_queue=isolated_settings.temporal_task_queue,
        )
        await eventually(lambda: stubs.calls["each[1].call"] == 1)
    found = await document(api, execution_id)
    assert (found["stale"], found["name"], found["workflow_version"]) == (True, "Block", 1)
    assert states(found) == {"each": "running"}
    await temporal_client.get_workflow_handle(execution_id).terminate()


async def test_executions_are_listed_newest_first_in_pages_by_workflow_and_status(
    api: httpx2.AsyncClient, isolated_settings: Settings, own_workflow: str
) -> None:
    name = own_workflow
    failing: Scripts = {"first": [{"result": 1}, {"result": 1}, {"error": {"type": "boom", "retryable": False}}]}
    async with working(isolated_settings, failing):
        ids = []
        for number in range(3):
            body = {"async_execution": False, "tags": {"number": str(number)}}
            ids.append((await api.post(f"/workflows/{name}/execute", json=body)).json()["execution_id"])

    async def page(**query: Any) -> dict[str, Any]:
        found: dict[str, Any] = (await api.get("/executions/", params={"workflow_id": name, **query})).json()
        return found

    async def all_shown() -> bool:
        return {item["status"] for item in (await page())["items"]} == {"completed", "failed"}

    await eventually(all_shown)
    assert {item["execution_id"] for item in (await page())["items"]} == set(ids)
    assert [item["execution_id"] for item in (await page(status="failed"))["items"]] == [ids[2]]
    assert (await page(status="failed"))["items"][0]["error_type"] == "boom"
    assert {item["execution_id"] for item in (await page(status="completed"))["items"]} == set(ids[:2])
    for status in ("queued", "running", "paused", "awaiting", "cancelled", "terminated", "timed_out"):
        assert (await page(status=status))["items"] == []
    first = await page(limit=2)
    second = await page(limit=2, cursor=first["next_cursor"])
    assert second["next_cursor"] is None
    seen = [item["execution_id"] for item in (*first["items"], *second["items"])]
    assert len(seen) == 3
    assert set(seen) == set(ids)
    exact = await page(limit=3)
    assert exact["next_cursor"] is None
    other = await api.get("/executions/", params={"cursor": first["next_cursor"]})
    problem_in(other, 422, "invalid-request")
    assert first["items"][0]["tags"]["number"] in {"0", "1", "2"}


async def test_an_execution_that_temporal_no_longer_keeps_is_called_expired(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    redis = connect_redis(isolated_settings)
    streams = EventStreams(redis, isolated_settings.redis_key_prefix)
    async with working(isolated_settings):
        kept = await until_status(api, await started(api), "completed")
    ended_at = await streams.ended_at(kept["execution_id"])
    assert ended_at is not None
    assert kept["started_at"] < ended_at
    # The test server takes half a minute to delete one: this end is of one that it never had.
    await streams.append([("ex-old", {"type": "end", "status": "completed", "at": ended_at})])
    await redis.aclose()
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/graph"), ("POST", "/retry"), ("POST", "/pause")):
        problem = problem_in(await api.request(method, f"/executions/ex-old{path}"), 404, "execution-expired")
        assert (problem["execution_id"], problem["ended_at"]) == ("ex-old", ended_at)
    problem_in(await api.get("/executions/ex-never"), 404, "execution-not-found")


async def test_another_programs_workflow_is_no_execution(
    api: httpx2.AsyncClient, temporal_client: Client, isolated_settings: Settings
) -> None:
    foreign = f"foreign-{isolated_settings.redis_key_prefix}"
    queue = isolated_settings.temporal_task_queue
    await temporal_client.start_workflow("SomethingElse", id=foreign, task_queue=queue)
    for method, path in (("GET", ""), ("POST", "/pause"), ("POST", "/cancel")):
        problem_in(await api.request(method, f"/executions/{foreign}{path}"), 404, "execution-not-found")
    await temporal_client.get_workflow_handle(foreign).terminate()


async def test_what_temporal_finds_too_large_is_refused(isolated_settings: Settings) -> None:
    step = {"step_id": "only", "step_type": "transform", "value": 1}
    large = {"name": "Large", "vars": {"text": "x" * 900_000}, "steps": [step]}
    # Without a claim store, definition and input travel to Temporal in one piece.
    async with running_api(isolated_settings.model_copy(update={"claim_store": "none"})) as api:
        assert (await api.put("/workflows/large", json=large)).status_code == 201
        answer = await api.post("/workflows/large/execute", json={"input_data": "y" * 1_900_000})
        problem_in(answer, 413, "payload-too-large")


async def test_a_start_by_reference_is_shown_like_any_other(
    api: httpx2.AsyncClient, temporal_client: Client, isolated_settings: Settings
) -> None:
    """Schedules and children start without a definition; `load_definition` pins it."""
    execution_id = f"ref-{isolated_settings.redis_key_prefix}"
    async with working(isolated_settings):
        await temporal_client.start_workflow(
            "AgentWorkflow",
            {"workflow_id": "two", "input": {"n": 2}},
            id=execution_id,
            task_queue=isolated_settings.temporal_task_queue,
            task_timeout=timedelta(seconds=10),
        )
        found = await until_status(api, execution_id, *CLOSED)
    assert (found["status"], found["workflow_version"], found["input"]) == ("completed", 1, {"n": 2})


async def test_fifty_starts_at_once_are_fifty_executions(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    async with working(isolated_settings):
        answers = await asyncio.gather(
            *(api.post("/workflows/two/execute", json={"input_data": n, "async_execution": False}) for n in range(50))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["input"] for answer in answers) == list(range(50))
    assert len({answer.json()["execution_id"] for answer in answers}) == 50


async def test_large_input_and_output_travel_whole(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    large = {"text": "y" * 1_500_000}
    async with working(isolated_settings, {"second": [{"result": "z" * 700_000}]}):
        body = {"input_data": large, "async_execution": False}
        found = (await api.post("/workflows/two/execute", json=body)).json()
        assert found["status"] == "completed", found["error"]
        assert found["input"] == large
        assert len(found["output"]["second"]) == 700_000
        assert await document(api, found["execution_id"]) == found
    # Read without a worker, the start's input comes from the history.
    waiting = await started(api, input_data=large)
    stale = await document(api, waiting)
    assert (stale["stale"], stale["input"]) == (True, large)


async def test_an_execution_of_a_deleted_workflow_runs_on_and_stays_readable(
    api: httpx2.AsyncClient, own_workflow: str, isolated_settings: Settings
) -> None:
    async with working(isolated_settings):
        execution_id = await started(api, own_workflow)
        await api.post(f"/executions/{execution_id}/pause")
        assert (await api.delete(f"/workflows/{own_workflow}")).status_code == 204
        problem_in(await api.post(f"/workflows/{own_workflow}/execute"), 410, "workflow-deleted")
        await api.post(f"/executions/{execution_id}/resume")
        found = await until_status(api, execution_id, "completed")
    assert states(found) == {"first": "completed", "second": "completed"}
    assert found["name"] == "Two"
