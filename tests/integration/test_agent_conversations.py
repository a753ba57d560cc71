"""Agents' conversations between turns: kept outside the history, prolonged, small however long they grow."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.client import Client, WorkflowHandle

from orchestrator.client import connect, disconnect
from orchestrator.execution.messages import WORKFLOW_TYPE, ApprovalDecision, ExecutionView
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimKeeper, claim_driver
from tests.fakes.model_behaviours import text, tool_calls
from tests.fakes.model_server import FakeModelServer
from tests.support.executions import outcome, worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs
from tests.support.whole_worker import WholeWorker, whole_worker

LARGE = {"text": "x" * 300_000}
ONE = {"steps": [{"step_id": "first", "step_type": "agent_task", "agent_type": "a", "task": "t"}]}


@pytest.fixture
async def client(isolated_settings: Settings) -> AsyncIterator[Client]:
    """A client whose claims are this test's own."""
    found = await connect(isolated_settings)
    yield found
    await disconnect(found)


def turn(call: dict[str, Any], data: bytes) -> dict[str, Any]:
    """A turn that asks for one tool call and added `data` to the conversation."""
    return {"turn": {"tool_calls": [call], "part": {"claim": hashlib.sha256(data).hexdigest()}}}


@pytest.mark.parametrize("history_events", [None, 10], ids=["in one run", "carried"])
async def test_the_parts_of_an_open_agents_conversation_are_prolonged(
    isolated_settings: Settings, client: Client, history_events: int | None
) -> None:
    driver = claim_driver(client.data_converter)
    assert driver is not None
    parts = {hashlib.sha256(data).hexdigest(): data for data in (b"[1]", b"[2]")}
    for sha256, data in parts.items():
        await driver.claims.put(sha256, data)
    call = {"call_id": "c", "tool": "pay"}
    # The second result is so large that it is a claim itself, and the carried state is several.
    asks = {**call, "requires_approval": True, "arguments": LARGE}
    stubs = Stubs({"first": [turn(call, b"[1]"), turn(asks, b"[2]")]})
    async with worker_with(client, isolated_settings, stubs.all()) as runner:
        handle = await runner.start(ONE, history_events=history_events)

        async def waits() -> bool:
            view: ExecutionView = await handle.query("state", result_type=ExecutionView)
            return view.status == "awaiting"

        await eventually(waits)
        first_run = handle.first_execution_run_id
        assert ((await handle.describe()).run_id == first_run) == (history_events is None)
    store = Redis.from_url(isolated_settings.redis_url)
    keys = [f"{isolated_settings.redis_key_prefix}:claim:{sha256}" for sha256 in parts]
    for key in keys:
        assert await store.expire(key, 60)
    keeper = ClaimKeeper(client, driver)
    # Whatever a stranger starts, the others are looked through.
    name = isolated_settings.temporal_task_queue
    stranger = await client.start_workflow(
        WORKFLOW_TYPE, args=["{", "["], id=f"{name}-stranger", task_queue=f"{name}-none"
    )

    async def prolonged() -> bool:
        await keeper.round(open_for=timedelta(0))
        return min([int(await store.ttl(key)) for key in keys]) > 36 * 24 * 3600

    # Lists of executions lag a little behind.
    await eventually(prolonged)
    await handle.terminate()
    await stranger.terminate()
    await store.aclose()


SAYS = "I have looked at the clock, and now I must look again. " * 20
"""What the model says in each turn: it would show in the history if the conversation went through it."""


def stored(settings: Settings, store: str, folder: Path) -> Settings:
    """Settings with this claim store."""
    return settings.model_copy(update={"claim_store": store, "claim_store_path": folder / "claims"})


async def loop_of(
    worker: WholeWorker, model: FakeModelServer, turns: int, history_events: int | None = None
) -> WorkflowHandle[object, ExecutionView]:
    """Run a loop of so many turns to its end, and check what its last turn was told."""
    model.forget()
    model.then(*[tool_calls(("get_time", {}), words=f"{number}: {SAYS}") for number in range(turns - 1)], text("done"))
    step = {"step_id": "a", "step_type": "agent_task", "agent_type": "clock", "task": "t", "max_turns": turns}
    handle = await worker.start({"steps": [step]}, history_events=history_events)
    view = await outcome(handle)
    assert (view.status, view.output) == ("completed", {"a": "done"}), view.error
    told = [message["content"] for message in model.calls()[-1].body["messages"] if message["role"] == "assistant"]
    assert told == [f"{number}: {SAYS}" for number in range(turns - 1)]
    assert len(model.calls()) == turns
    return handle


async def history_bytes(handle: WorkflowHandle[object, ExecutionView]) -> int:
    return sum([event.ByteSize() async for event in handle.fetch_history_events()])


@pytest.mark.parametrize("store", ["redis", "file", "none"])
async def test_a_loop_goes_through_with_any_claim_store_in_one_run_and_in_several(
    isolated_settings: Settings, model_server: FakeModelServer, tmp_path: Path, store: str
) -> None:
    settings = stored(isolated_settings, store, tmp_path)
    settings = settings.model_copy(update={"openai_base_url": model_server.url, "default_model": "openai/tiny"})
    async with whole_worker(settings) as worker:
        await worker.factory.put("clock", {"tools": ["get_time"]})
        handle = await loop_of(worker, model_server, 6)
        assert (await handle.describe()).run_id == handle.first_execution_run_id
        carried = await loop_of(worker, model_server, 6, history_events=12)
        assert (await carried.describe()).run_id != carried.first_execution_run_id


async def test_a_history_grows_in_step_with_the_turns_and_holds_no_conversation(
    isolated_settings: Settings, model_server: FakeModelServer, tmp_path: Path
) -> None:
    settings = stored(isolated_settings, "redis", tmp_path)
    settings = settings.model_copy(update={"openai_base_url": model_server.url, "default_model": "openai/tiny"})
    async with whole_worker(settings) as worker:
        await worker.factory.put("clock", {"tools": ["get_time"]})
        sizes = {turns: await history_bytes(await loop_of(worker, model_server, turns)) for turns in (10, 20, 30)}
    # A turn's input names the earlier parts, 77 bytes each; nothing else may grow from turn to turn.
    first, second = sizes[20] - sizes[10], sizes[30] - sizes[20]
    assert second - first < 77 * 10 * 10 * 1.3
    # The conversation alone would be over a kilobyte a turn, told again in every turn.
    assert sizes[30] < 30 * 7_000
    print(sizes)
    assert sizes[30] / sizes[10] < 4


async def test_a_loop_waits_for_a_part_of_its_conversation_that_is_lost(
    isolated_settings: Settings, model_server: FakeModelServer, tmp_path: Path
) -> None:
    """More than its attempts, which are not used up; it goes on once the part is put back."""
    settings = stored(isolated_settings, "file", tmp_path)
    settings = settings.model_copy(update={"openai_base_url": model_server.url, "default_model": "openai/tiny"})
    async with whole_worker(settings) as worker:
        record = {"tools": ["get_time"], "tool_policy": {"requires_approval": ["*"]}}
        await worker.factory.put("clock", {**record, "fallback_models": ["openai/other"]})
        model_server.then(tool_calls(("get_time", {})), text("done"))
        step = {"step_id": "a", "step_type": "agent_task", "agent_type": "clock", "task": "t"}
        handle = await worker.start({"steps": [{**step, "retry": {"max_attempts": 1}}]})

        async def awaits() -> bool:
            view: ExecutionView = await handle.query("state", result_type=ExecutionView)
            return bool(view.approvals)

        await eventually(awaits)
        parts = {path: path.read_bytes() for path in (tmp_path / "claims").rglob("?" * 64)}
        assert parts
        for path in parts:
            path.unlink()
        decision = ApprovalDecision(path="a:t0.0", decision="approved", by="ann")
        await handle.execute_update("approve", decision)

        async def parked() -> bool:
            described = await handle.describe()
            pending = described.raw_description.pending_activities
            return any(item.last_failure.application_failure_info.type == "claim-missing" for item in pending)

        await eventually(parked)
        for path, data in parts.items():
            path.write_bytes(data)
        view = await outcome(handle)
    assert (view.status, view.output, view.steps[0].attempts) == ("completed", {"a": "done"}, 1), view.error
    assert [call.body["model"] for call in model_server.calls()] == ["tiny", "tiny"]
