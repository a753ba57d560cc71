"""Executions with large values: what goes through, what is refused, and what an outage of the claim store does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

import orchestrator.worker
from orchestrator.client import connect, disconnect, start_execution
from orchestrator.execution.errors import PayloadTooLarge, RedisUnavailable
from orchestrator.execution.messages import ExecutionView, StartExecution
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimKeeper, claim_driver
from orchestrator.stores.claims.redis_claims import RedisClaims
from orchestrator.stores.leases import WorkerLease, WorkerLeases
from orchestrator.stores.redis import connect_redis
from orchestrator.workflows.agent_workflow import AgentWorkflow
from tests.support.api_server import problem_in, running_api
from tests.support.executions import outcome, states, worker_with
from tests.support.killable_redis import KillableRedis, killable_redis
from tests.support.polling import eventually
from tests.support.ports import free_port
from tests.support.stubs import Stubs

MEGABYTE = 1_000_000
LARGE = {"text": "x" * 300_000}
Connect = Callable[[Settings], Awaitable[Client]]


def agent(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "agent_task", "agent_type": "a", "task": "t", **fields}


TWO = {"name": "Two", "steps": [agent("first"), agent("second", depends_on=["first"])]}


@pytest.fixture
async def connected() -> AsyncIterator[Connect]:
    """Connects clients of their own to any settings: none finds in memory what another one kept."""
    clients: list[Client] = []

    async def one(settings: Settings) -> Client:
        clients.append(await connect(settings))
        return clients[-1]

    yield one
    for client in clients:
        await disconnect(client)


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[KillableRedis]:
    async with killable_redis(tmp_path) as server:
        yield server


@pytest.fixture
def own_settings(isolated_settings: Settings, redis: KillableRedis) -> Settings:
    return isolated_settings.model_copy(update={"redis_url": redis.url})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator.worker, "CLAIM_PATIENCE_SECONDS", 0.2)


async def history_bytes(handle: WorkflowHandle[Any, Any]) -> int:
    described = await handle.describe()
    return described.raw_description.workflow_execution_info.history_size_bytes


async def task_failures(handle: WorkflowHandle[Any, Any]) -> list[str]:
    """Return the types of the failures of workflow tasks."""
    kind = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
    return [
        event.workflow_task_failed_event_attributes.failure.application_failure_info.type
        async for event in handle.fetch_history_events()
        if event.event_type == kind
    ]


async def test_a_large_input_passes_five_steps_and_the_history_stays_small(
    own_settings: Settings, connected: Connect
) -> None:
    names = [f"s{number}" for number in range(5)]
    reads = ["{{ input.text }}", *(f"{{{{ steps.{name}.output.parameters.text }}}}" for name in names)]
    chain = {
        "name": "Chain",
        "steps": [agent(name, parameters={"text": read}) for name, read in zip(names, reads, strict=False)],
        "output": {"text": reads[-1]},
    }
    text = "x" * 1_900_000
    client = await connected(own_settings)
    async with worker_with(client, own_settings, Stubs().all()) as runner:
        handle = await runner.start(chain, {"text": text})
        view = await outcome(handle)
        assert (view.status, view.output) == ("completed", {"text": text})
        assert (await handle.query("state", result_type=ExecutionView)).output == {"text": text}
    assert await history_bytes(handle) < 64 * 1024
    other = await connected(own_settings)
    replayer = Replayer(
        workflows=[AgentWorkflow],
        data_converter=other.data_converter,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    assert (await replayer.replay_workflow(await handle.fetch_history())).replay_failure is None


async def test_without_the_cache_every_task_reads_its_claims_again(own_settings: Settings, connected: Connect) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"first": [{"result": LARGE}]})
    async with worker_with(client, own_settings, stubs.all(), worker_max_cached_workflows=0) as runner:
        view = await runner.run(TWO, LARGE)
    assert view.status == "completed"
    assert stubs.inputs["second"].dependencies == {"first": LARGE}


async def test_a_result_of_five_megabytes_passes_and_one_over_ten_fails_its_step(
    own_settings: Settings, connected: Connect
) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"first": [{"result": "x" * 5 * MEGABYTE}], "second": [{"result": "x" * 11 * MEGABYTE}]})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start(TWO)
        view = await outcome(handle)
        assert (view.status, states(view)) == ("failed", {"first": "completed", "second": "failed"})
        assert view.error is not None
        assert (view.error.type, view.error.step) == ("payload-too-large", "second")
        assert "the result of step 'second' takes 11,0" in view.error.message
        assert stubs.calls == {"first": 1, "second": 1}
        assert await task_failures(handle) == []


async def test_inputs_of_a_step_over_ten_megabytes_fail_it(own_settings: Settings, connected: Connect) -> None:
    client = await connected(own_settings)
    first = agent("first")
    parts = {"a": "{{ steps.first.output }}", "b": "{{ steps.first.output }}"}
    stubs = Stubs({"first": [{"result": "x" * 6 * MEGABYTE}]})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start({"name": "Wide", "steps": [first, agent("second", parameters=parts)]})
        view = await outcome(handle)
    assert view.error is not None
    assert (view.status, view.error.type, view.error.step) == ("failed", "payload-too-large", "second")
    assert "the input of step 'second' takes 12,0" in view.error.message
    assert stubs.calls == {"first": 1}


async def test_a_failed_execution_keeps_its_large_envelope_outside(own_settings: Settings, connected: Connect) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"first": [{"error": {"type": "boom", "retryable": False}}]})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start(TWO, LARGE)
        view = await outcome(handle)
    assert (view.status, view.input) == ("failed", LARGE)
    assert await history_bytes(handle) < 32 * 1024


async def test_a_start_over_the_limit_is_refused_and_starts_nothing(own_settings: Settings, connected: Connect) -> None:
    client = await connected(own_settings)
    start = StartExecution(workflow_id="huge", definition=TWO, input="x" * 11 * MEGABYTE)
    with pytest.raises(PayloadTooLarge, match="the start of workflow 'huge'"):
        await start_execution(client, own_settings, start)
    larger = own_settings.model_copy(update={"api_body_limit_bytes": 20 * MEGABYTE})
    async with running_api(larger) as api:
        await api.post("/agents/", json={"agent_type": "a"})
        assert (await api.put("/workflows/two", json=TWO)).status_code == 201
        answer = await api.post("/workflows/two/execute", json={"input_data": "x" * 11 * MEGABYTE})
        assert problem_in(answer, 413, "payload-too-large")["limit_bytes"] == own_settings.claim_max_bytes
        accepted = await api.post("/workflows/two/execute", json={"input_data": "x" * 9 * MEGABYTE})
        assert accepted.status_code == 202
        shown = await api.get(f"/executions/{accepted.json()['execution_id']}")
        assert shown.json()["input"] == "x" * 9 * MEGABYTE


async def test_small_values_need_no_redis(isolated_settings: Settings, connected: Connect) -> None:
    away = isolated_settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{free_port()}"})
    client = await connected(away)
    async with worker_with(client, away, Stubs().all()) as runner:
        assert (await runner.run(TWO, {"n": 1})).status == "completed"
        with pytest.raises(RedisUnavailable):
            await runner.start(TWO, LARGE)


async def test_a_result_waits_for_redis_and_its_step_is_not_repeated(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"first": [{"sleep": 0.5, "result": LARGE}]})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start(TWO, {"n": 1})
        await eventually(lambda: stubs.in_flight == 1)
        redis.kill()
        await eventually(lambda: stubs.in_flight == 0)
        await redis.start()
        view = await outcome(handle)
    assert view.status == "completed"
    assert stubs.calls == {"first": 1, "second": 1}
    assert stubs.inputs["second"].dependencies == {"first": LARGE}
    assert [step.attempts for step in view.steps] == [1, 1]


@pytest.mark.usefixtures("impatient")
async def test_a_result_that_redis_does_not_take_in_time_costs_no_attempt(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"first": [{"sleep": 0.3, "result": LARGE}]})
    quick = agent("first", retry={"max_attempts": 1}, timeouts={"start_to_close_seconds": 1})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start({"name": "One", "steps": [quick]}, {"n": 1})
        await eventually(lambda: stubs.in_flight == 1)
        redis.kill()
        await eventually(lambda: stubs.calls["first"] == 3)
        await redis.start()
        view = await outcome(handle)
    assert (view.status, view.output) == ("completed", {"first": LARGE})
    assert view.steps[0].attempts == 1


@pytest.mark.usefixtures("impatient")
async def test_attempts_that_cannot_read_their_input_are_not_counted(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    client = await connected(own_settings)
    stubs = Stubs({"only": [{"error": {"type": "flaky", "retry_after_seconds": 0.5}}, {"result": 1}]})
    only = agent("only", parameters="{{ input }}", retry={"max_attempts": 2, "initial_interval_seconds": 0.1})
    async with worker_with(client, own_settings, stubs.all()) as runner:
        handle = await runner.start({"name": "One", "steps": [only]}, LARGE)
        await eventually(lambda: stubs.calls["only"] == 1)
        redis.kill()

        async def tried_often() -> bool:
            [pending] = (await handle.describe()).raw_description.pending_activities
            return pending.attempt >= 5

        await eventually(tried_often, seconds=20)
        await redis.start()
        view = await outcome(handle)
    assert (view.status, view.steps[0].attempts, stubs.calls["only"]) == ("completed", 2, 2)


@pytest.mark.usefixtures("impatient")
async def test_workflow_tasks_wait_for_redis(own_settings: Settings, connected: Connect, redis: KillableRedis) -> None:
    client = await connected(own_settings)
    async with worker_with(client, own_settings, Stubs().all()) as runner:
        settings = runner.settings
    handle = await runner.start(TWO, LARGE)
    redis.kill()
    worker_client = await connected(settings)
    async with worker_with(worker_client, settings, Stubs().all(), temporal_task_queue=settings.temporal_task_queue):

        async def failing() -> bool:
            return "redis-unavailable" in await task_failures(handle)

        await eventually(failing)
        await redis.start()
        assert (await outcome(handle)).status == "completed"


@pytest.mark.usefixtures("impatient")
async def test_a_missing_claim_fails_the_task_and_not_the_execution(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    client = await connected(own_settings)
    async with worker_with(client, own_settings, Stubs().all()) as runner:
        settings = runner.settings
    handle = await runner.start(TWO, LARGE)
    store = Redis.from_url(redis.url)
    [key] = [key async for key in store.scan_iter(f"{settings.redis_key_prefix}:claim:*")]
    await store.rename(key, "elsewhere")
    async with worker_with(client, settings, Stubs().all(), temporal_task_queue=settings.temporal_task_queue):

        async def failed() -> bool:
            return "claim-missing" in await task_failures(handle)

        await eventually(failed)
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
        await store.rename("elsewhere", key)
        assert (await outcome(handle)).status == "completed"
    await store.aclose()


async def test_the_api_names_a_result_that_it_cannot_read(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    settings = own_settings
    client = await connected(settings)
    stubs = Stubs({"first": [{"result": LARGE}]})
    queue = settings.temporal_task_queue
    async with worker_with(client, settings, stubs.all(), temporal_task_queue=queue) as runner:
        handle = await runner.start(TWO)
        await outcome(handle)
    store = Redis.from_url(redis.url)
    keys = [key async for key in store.scan_iter(f"{settings.redis_key_prefix}:claim:*")]
    await store.delete(*keys)
    await store.aclose()
    async with running_api(settings) as api:
        problem = problem_in(await api.get(f"/executions/{handle.id}"), 503, "claim-missing")
        assert problem["store"] == "redis"
        redis.kill()
        problem_in(await api.get(f"/executions/{handle.id}"), 503, "redis-unavailable")


async def test_claims_of_open_executions_are_prolonged_once_a_day(
    own_settings: Settings, connected: Connect, redis: KillableRedis
) -> None:
    client = await connected(own_settings)
    driver = claim_driver(client.data_converter)
    assert driver is not None
    start = StartExecution(workflow_id="waits", definition=TWO, input={"text": own_settings.redis_key_prefix * 20_000})
    handle = await start_execution(client, own_settings, start)
    store = Redis.from_url(redis.url)
    [key] = [key async for key in store.scan_iter(f"{own_settings.redis_key_prefix}:claim:*")]
    await store.expire(key, 60)
    keeper = ClaimKeeper(client, driver)

    async def prolonged() -> bool:
        await keeper.round(open_for=timedelta(0))
        return await store.ttl(key) > 36 * 24 * 3600

    # Lists of executions lag a little behind.
    await eventually(prolonged)
    await store.expire(key, 60)
    await keeper.round(open_for=timedelta(days=1))
    assert await store.ttl(key) <= 60
    await store.delete(key)
    with structlog.testing.capture_logs() as logs:
        await keeper.round(open_for=timedelta(0))
    told = [entry for entry in logs if entry.get("execution_id") == handle.id]
    assert [(entry["event"], entry["missing"]) for entry in told] == [
        ("an open execution lacks claims", [key.decode().rpartition(":")[2]])
    ]
    assert [await driver.claims.take_turn(60) for _ in range(2)] == [True, False]
    await driver.claims.give_turn_back()
    assert await driver.claims.take_turn(60)
    await handle.terminate()
    await store.aclose()


async def test_the_api_is_not_ready_beside_a_worker_with_another_store(own_settings: Settings) -> None:
    redis = connect_redis(own_settings)
    leases = WorkerLeases(redis, own_settings.redis_key_prefix)
    ours = RedisClaims(own_settings)
    queue = own_settings.temporal_task_queue
    lease = WorkerLease(worker_id="w1", pid=1, task_queue=queue, host="here", started_at=datetime.now(UTC))
    async with running_api(own_settings) as api:
        for identity, status in ((await ours.identity(), 200), ("redis:another", 503), ("none", 503)):
            await leases.refresh(lease.model_copy(update={"claims": {"identity": identity}}))
            answer = await api.get("/health/ready")
            assert answer.status_code == status, answer.text
            part = answer.json()["parts"]["claims"]
            assert part["status"] == ("ok" if status == 200 else "down")
            assert ("worker w1 uses another claim store" in part["detail"]) == (status == 503)
    await ours.aclose()
    await redis.aclose()
