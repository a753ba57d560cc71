"""Jobs over many executions, over HTTP, with a real Temporal and a real worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

from activities.bulk import BulkActivities
from activities.control import ControlActivities
from orchestrator.client import connect, disconnect
from orchestrator.execution.messages_bulk import BulkProgress, BulkRetryStart, FoundRun, RetryClosed
from orchestrator.settings import Settings
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.redis import connect_redis
from orchestrator.workflows.bulk_retry import BulkRetry
from tests.integration.test_api_executions import document, started, until_status
from tests.integration.test_api_recovery import CHAIN, FAILURE, step, stored
from tests.support.api_server import leased_worker, problem_in, running_api
from tests.support.polling import eventually
from tests.support.stubs import Stubs

APPROVAL = {"step_id": "ok", "step_type": "approval", "title": "Go on?"}
EVERY_FAILURE = [FAILURE]


@pytest.fixture
async def api(isolated_settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with running_api(isolated_settings) as client:
        await client.post("/agents/", json={"agent_type": "sales"})
        yield client


@asynccontextmanager
async def retrying(settings: Settings, scripts: dict[str, Any] | None = None) -> AsyncIterator[Stubs]:
    """A worker with the activities of bulk jobs."""
    client = await connect(settings)
    stubs = Stubs(scripts)
    quick = settings.model_copy(update={"worker_graceful_shutdown_seconds": 0.5})
    async with bulk_activities(settings) as bulk:
        activities = [*ControlActivities(client).all(), *bulk.all(), *stubs.all()]
        async with leased_worker(client, quick, activities):
            yield stubs
    await disconnect(client)


@asynccontextmanager
async def bulk_activities(settings: Settings) -> AsyncIterator[BulkActivities]:
    client, redis = await connect(settings), connect_redis(settings)
    yield BulkActivities(client, settings, DefinitionStore(redis, settings.redis_key_prefix))
    await redis.aclose()
    await disconnect(client)


async def counted(api: httpx2.AsyncClient, number: int, action: str, **which: Any) -> None:
    """Wait until visibility has these executions: it is a moment behind."""

    async def there() -> bool:
        answer = await api.post("/executions/bulk", json={"action": action, "dry_run": True, **which})
        assert answer.status_code == 200, answer.text
        assert answer.json()["job_id"] is None
        return bool(answer.json()["matched"] == number)

    await eventually(there, 15)


async def job_started(api: httpx2.AsyncClient, action: str, **body: Any) -> dict[str, Any]:
    """Start a job; Temporal runs one batch operation at a time, and other tests have theirs."""
    found: dict[str, Any] = {}

    async def accepted() -> bool:
        nonlocal found
        answer = await api.post("/executions/bulk", json={"action": action, **body})
        if answer.status_code == 429:
            problem_in(answer, 429, "too-many-bulk-jobs")
            return False
        assert answer.status_code == 202, answer.text
        found = answer.json()
        assert answer.headers["Location"] == f"/api/v1/executions/bulk/{found['job_id']}"
        return True

    await eventually(accepted, 20)
    return found


async def job_ended(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    async def over() -> bool:
        nonlocal found
        answer = await api.get(f"/executions/bulk/{job_id}")
        assert answer.status_code == 200, answer.text
        found = answer.json()
        return bool(found["state"] != "running")

    await eventually(over, 30)
    return found


@pytest.mark.parametrize(("action", "status"), [("cancel", "cancelled"), ("terminate", "terminated")])
async def test_what_a_filter_finds_is_ended_and_nothing_else(
    api: httpx2.AsyncClient, isolated_settings: Settings, action: str, status: str
) -> None:
    workflow_id = await stored(api, isolated_settings, APPROVAL)
    async with retrying(isolated_settings):
        chosen = [await started(api, workflow_id, tags={"lot": "a", "team": "x"}) for _ in range(3)]
        other = await started(api, workflow_id, tags={"lot": "b", "team": "x"})
        for execution_id in (*chosen, other):
            await until_status(api, execution_id, "awaiting")
        wanted = {"workflow_id": workflow_id, "tags": {"lot": "a", "team": "x"}, "status": "awaiting"}
        await counted(api, 3, action, filter=wanted)
        job = await job_started(api, action, filter=wanted, reason="wrong prices")
        assert (job["state"], job["matched"], job["action"], job["reason"]) == ("running", 3, action, "wrong prices")
        found = await job_ended(api, job["job_id"])
        for execution_id in chosen:
            await until_status(api, execution_id, status)
        assert (await document(api, other))["status"] == "awaiting"
    assert (found["state"], found["matched"], found["done"], found["failed"]) == ("completed", 3, 3, 0)
    assert (found["reason"], found["action"]) == ("wrong prices", action)
    assert found["by"] == job["by"] != ""
    assert found["started_at"] <= found["ended_at"]
    problem_in(await api.delete(f"/executions/bulk/{job['job_id']}"), 409, "wrong-state")


async def test_executions_named_by_id_are_paused_and_resumed_by_the_operator(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, APPROVAL)
    async with retrying(isolated_settings):
        chosen = [await started(api, workflow_id) for _ in range(2)]
        other = await started(api, workflow_id)
        for execution_id in (*chosen, other):
            await until_status(api, execution_id, "awaiting")
        ids = [*chosen, "ex-nobody"]
        await counted(api, 2, "pause", execution_ids=ids)
        job = await job_started(api, "pause", execution_ids=ids, reason="a look")
        await job_ended(api, job["job_id"])
        for execution_id in chosen:
            held = await until_status(api, execution_id, "paused")
            assert list(held["holds"]) == ["operator"]
        assert (await document(api, other))["status"] == "awaiting"
        paused = {"workflow_id": workflow_id, "status": "paused"}
        await counted(api, 2, "resume", filter=paused)
        job = await job_started(api, "resume", filter=paused)
        assert (await job_ended(api, job["job_id"]))["done"] == 2
        for execution_id in chosen:
            assert (await until_status(api, execution_id, "awaiting"))["holds"] == {}


async def test_failed_executions_are_retried_once_each_and_those_that_went_on_are_skipped(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    script = {"b": [*[FAILURE] * 4, {"result": 2}]}
    async with retrying(isolated_settings, script) as stubs:
        failed = [await started(api, workflow_id) for _ in range(3)]
        for execution_id in failed:
            await until_status(api, execution_id, "failed")
        # It failed twice: visibility has a row for each attempt, and only the last can go on.
        assert (await api.post(f"/executions/{failed[0]}/retry")).status_code == 202
        await eventually(lambda: stubs.calls["b"] == 4)
        await until_status(api, failed[0], "failed")
        wanted = {"workflow_id": workflow_id, "status": "failed", "error_type": "boom"}
        await counted(api, 4, "retry", filter=wanted)
        job = await job_started(api, "retry", filter=wanted, reason="mended")
        found = await job_ended(api, job["job_id"])
        for execution_id in failed:
            again = await until_status(api, execution_id, "completed")
            assert again["lineage"]["attempt"] == (3 if execution_id == failed[0] else 2)
        assert stubs.calls == {"a": 3, "b": 7, "c": 3}
    assert (found["state"], found["matched"], found["reason"]) == ("completed", 4, "mended")
    assert (found["done"], found["skipped"], found["failed"], found["failures"]) == (3, 1, 0, [])


async def test_a_retry_that_was_started_and_not_counted_is_found_when_the_activity_runs_again(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, *CHAIN)
    script = {"b": [FAILURE, {"result": 2}]}
    async with bulk_activities(isolated_settings) as activities, retrying(isolated_settings, script) as stubs:
        execution_id = await started(api, workflow_id)
        ended = await until_status(api, execution_id, "failed")
        run = FoundRun(execution_id=execution_id, run_id=ended["run_id"])
        first = await activities.retry_closed(RetryClosed(job_id="bulk-retry-a", run=run))
        second = await activities.retry_closed(RetryClosed(job_id="bulk-retry-a", run=run))
        other = await activities.retry_closed(RetryClosed(job_id="bulk-retry-b", run=run))
        await until_status(api, execution_id, "completed")
    assert [found.outcome for found in (first, second, other)] == ["retried", "retried", "skipped"]
    assert stubs.calls == {"a": 1, "b": 2, "c": 1}


async def test_what_ended_before_a_worker_took_it_is_retried_too(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, step("a"))
    execution_id = await started(api, workflow_id)
    ended = (await api.post(f"/executions/{execution_id}/terminate")).json()
    run = FoundRun(execution_id=execution_id, run_id=ended["run_id"])
    async with bulk_activities(isolated_settings) as activities, retrying(isolated_settings) as stubs:
        retried = await activities.retry_closed(RetryClosed(job_id="bulk-retry-a", run=run))
        found = await until_status(api, execution_id, "completed")
    assert (retried.outcome, found["lineage"]["attempt"], stubs.calls) == ("retried", 2, {"a": 1})


async def test_a_long_job_goes_on_in_new_runs_and_keeps_its_counts(
    api: httpx2.AsyncClient, isolated_settings: Settings
) -> None:
    workflow_id = await stored(api, isolated_settings, step("a"))
    client = await connect(isolated_settings)
    async with retrying(isolated_settings, {"a": [*[FAILURE] * 5, {"result": 1}]}) as stubs:
        failed = [await started(api, workflow_id) for _ in range(5)]
        for execution_id in failed:
            await until_status(api, execution_id, "failed")
        wanted = {"workflow_id": workflow_id}
        await counted(api, 5, "retry", filter=wanted)
        query = f"WorkflowDefinitionId = '{workflow_id}' AND ExecutionStatus = 'Failed'"
        start = BulkRetryStart(query=query, progress=BulkProgress(matched=5), page_size=2, history_events=10)
        job_id = f"bulk-retry-5-{isolated_settings.redis_key_prefix.removeprefix('test-')}"
        handle = await client.start_workflow(
            "BulkRetry", start, id=job_id, task_queue=isolated_settings.temporal_task_queue
        )
        found = await job_ended(api, job_id)
        for execution_id in failed:
            await until_status(api, execution_id, "completed")
        last = await handle.describe()
        assert last.run_id != handle.first_execution_run_id
        replayer = Replayer(
            workflows=[BulkRetry],
            workflow_runner=UnsandboxedWorkflowRunner(),
            data_converter=client.data_converter,
        )
        for run_id in (handle.first_execution_run_id, last.run_id):
            history = await client.get_workflow_handle(job_id, run_id=run_id).fetch_history()
            await replayer.replay_workflow(history)
    await disconnect(client)
    assert (found["state"], found["done"], found["matched"]) == ("completed", 5, 5)
    assert stubs.calls == {"a": 10}


async def test_retries_of_a_paused_workflow_start_held(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    workflow_id = await stored(api, isolated_settings, step("a"))
    async with retrying(isolated_settings, {"a": [FAILURE, {"result": 1}]}) as stubs:
        execution_id = await started(api, workflow_id)
        await until_status(api, execution_id, "failed")
        assert (await api.post(f"/workflows/{workflow_id}/pause", json={"reason": "broken"})).is_success
        await counted(api, 1, "retry", filter={"workflow_id": workflow_id})
        job = await job_started(api, "retry", filter={"workflow_id": workflow_id})
        assert (await job_ended(api, job["job_id"]))["done"] == 1
        held = await until_status(api, execution_id, "paused")
        assert (list(held["holds"]), stubs.calls["a"]) == (["workflow"], 1)
        assert (await api.post(f"/workflows/{workflow_id}/resume")).is_success
        await until_status(api, execution_id, "completed")


@pytest.mark.parametrize("action", ["retry", "cancel"])
async def test_a_job_that_is_stopped_says_so(api: httpx2.AsyncClient, isolated_settings: Settings, action: str) -> None:
    workflow_id = await stored(api, isolated_settings, step("a") if action == "retry" else APPROVAL)
    async with retrying(isolated_settings, {"a": EVERY_FAILURE}):
        ids = [await started(api, workflow_id) for _ in range(3)]
        for execution_id in ids:
            await until_status(api, execution_id, "failed" if action == "retry" else "awaiting")
        await counted(api, 3, action, filter={"workflow_id": workflow_id})
    # Without a worker a retry cannot end, and stays readable.
    job = await job_started(api, action, filter={"workflow_id": workflow_id})
    answer = await api.delete(f"/executions/bulk/{job['job_id']}")
    if action == "cancel" and answer.status_code == 409:
        # Temporal's own job needs no worker and was faster.
        assert (await job_ended(api, job["job_id"]))["state"] == "completed"
        return
    assert answer.status_code == 202, answer.text
    async with retrying(isolated_settings, {"a": EVERY_FAILURE}):
        found = await job_ended(api, job["job_id"])
    assert (found["state"], found["matched"]) == ("cancelled", 3)
    assert found["ended_at"] is not None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "cancel"}, ""),
        ({"action": "cancel", "filter": {}}, "/filter"),
        ({"action": "cancel", "filter": {"tags": {}}}, "/filter"),
        ({"action": "cancel", "all": True, "filter": {"status": "running"}}, ""),
        ({"action": "cancel", "all": True, "execution_ids": ["ex-a"]}, ""),
        ({"action": "cancel", "execution_ids": []}, "/execution_ids"),
        ({"action": "cancel", "execution_ids": ["a' OR 'x' = 'x"]}, "/execution_ids/0"),
        ({"action": "cancel", "filter": {"tags": {"a": "b' OR 'x' = 'x"}}}, "/filter/tags/a"),
        ({"action": "cancel", "filter": {"workflow_id": "A'"}}, "/filter/workflow_id"),
        ({"action": "cancel", "filter": {"started_after": "soon"}}, "/filter/started_after"),
        ({"action": "cancel", "filter": {"started_after": "2026"}}, "/filter/started_after"),
        ({"action": "cancel", "filter": {"started_before": "1790000000"}}, "/filter/started_before"),
        ({"action": "erase", "all": True}, "/action"),
    ],
)
async def test_a_body_that_does_not_say_which_executions_is_refused(
    api: httpx2.AsyncClient, body: dict[str, Any], pointer: str
) -> None:
    problem = problem_in(await api.post("/executions/bulk", json=body), 422, "invalid-request")
    assert pointer in [issue["pointer"] for issue in problem["errors"]]


async def test_all_must_be_asked_for_and_times_bound_it(api: httpx2.AsyncClient, isolated_settings: Settings) -> None:
    answer = await api.post("/executions/bulk", json={"action": "cancel", "all": True, "dry_run": True})
    assert (answer.status_code, answer.json()["state"]) == (200, None)
    workflow_id = await stored(api, isolated_settings, APPROVAL)
    await started(api, workflow_id)
    mine = {"workflow_id": workflow_id}
    await counted(api, 1, "cancel", filter={**mine, "started_after": "2020-01-01T00:00:00Z"})
    await counted(api, 0, "cancel", filter={**mine, "started_before": "2020-01-01T00:00:00Z"})
    await counted(api, 0, "retry", filter=mine)


@pytest.mark.parametrize(
    "job_id", ["bulk-retry-1-0123456789abcdef", "bulk-cancel-1-0123456789abcdef", "nonsense", "bulk-x-1"]
)
async def test_a_job_that_nobody_started_is_not_found(api: httpx2.AsyncClient, job_id: str) -> None:
    problem_in(await api.get(f"/executions/bulk/{job_id}"), 404, "bulk-job-not-found")
    problem_in(await api.delete(f"/executions/bulk/{job_id}"), 404, "bulk-job-not-found")
