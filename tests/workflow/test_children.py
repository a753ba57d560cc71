"""Children whose parents continue as new, and what passes between both."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError, RPCStatusCode

from activities.concurrency import ConcurrencyActivities
from activities.control import ControlActivities
from activities.definitions import DefinitionActivities
from orchestrator.execution.messages import ExecutionView
from orchestrator.settings import Settings
from orchestrator.worker import build_worker
from orchestrator.workflows.search_attributes import DEFINITION_ID, DEFINITION_VERSION, TAGS
from tests.support.cases import Case, CaseDefinitions
from tests.support.executions import Runner, outcome, worker_with
from tests.support.polling import eventually

Handle = WorkflowHandle[object, ExecutionView]

LISTENING = {"steps": [{"step_id": "w", "step_type": "wait_for_signal", "signal": "go"}]}
ONE_CHILD = {"step_id": "c", "step_type": "workflow", "workflow_id": "kid"}
NOISE = [
    {"step_id": f"n{number}", "step_type": "wait_for_signal", "signal": "noise", "depends_on": before}
    for number, before in enumerate([[], ["n0"], ["n1"]])
]


@asynccontextmanager
async def serving(client: Client, settings: Settings, **definitions: Any) -> AsyncIterator[Runner]:
    """A worker that knows these stored definitions."""
    stored = DefinitionActivities(CaseDefinitions(Case("children", {"definitions": definitions})))
    async with worker_with(client, settings, [*stored.all(), *ConcurrencyActivities(client, 300).all()]) as runner:
        yield runner


def child_of(runner: Runner, parent: Handle, path: str = "c") -> Handle:
    """Return the child of a step's first try."""
    digest = hashlib.sha256(f"{parent.id}/{path}#0".encode()).hexdigest()[:16]
    return runner.client.get_workflow_handle(f"{parent.id}.{digest}", result_type=ExecutionView)


async def there(handle: Handle) -> None:
    """Wait until an execution has started."""

    async def started() -> bool:
        try:
            await handle.describe()
        except RPCError as error:
            assert error.status == RPCStatusCode.NOT_FOUND
            return False
        return True

    await eventually(started)


async def awaited_again(parent: Handle) -> None:
    """Wait until a later run of the parent awaits its child by an activity."""

    async def waits() -> bool:
        pending = (await parent.describe()).raw_description.pending_activities
        return [item.activity_type.name for item in pending] == ["await_execution"]

    await eventually(waits, 20)


async def carried(runner: Runner, **fields: Any) -> tuple[Handle, Handle]:
    """Start a parent, let it continue as new while its child waits, and return both."""
    definition = {"steps": [{**ONE_CHILD, **fields}, *NOISE], "output": "{{ steps.c.output }}"}
    parent = await runner.start(definition, history_events=8)
    child = child_of(runner, parent)
    for _ in NOISE:
        await parent.signal("signal", {"name": "noise", "payload": 1})
    await awaited_again(parent)
    return parent, child


async def status(handle: Handle) -> str:
    view: ExecutionView = await handle.query("state", result_type=ExecutionView)
    return view.status


async def until(handle: Handle, wanted: str) -> None:
    async def reached() -> bool:
        return await status(handle) == wanted

    await eventually(reached)


async def test_a_parent_continues_as_new_while_its_child_waits_and_takes_its_output(
    temporal_client: Client, settings: Settings
) -> None:
    async with serving(temporal_client, settings, kid=LISTENING) as runner:
        parent, child = await carried(runner)
        first = (await parent.describe()).run_id
        assert first != parent.first_execution_run_id
        await child.signal("signal", {"name": "go", "payload": {"n": 7}})
        view = await outcome(parent)
    assert (view.status, view.output) == ("completed", {"w": {"n": 7}})
    assert {step.path: step.attempts for step in view.steps}["c"] == 1


@pytest.mark.parametrize(
    ("ending", "wanted"), [("fail", "too-bad"), ("cancel", "child-cancelled"), ("terminate", "child-terminated")]
)
async def test_each_end_of_a_carried_child_is_told_apart(
    temporal_client: Client, settings: Settings, ending: str, wanted: str
) -> None:
    fail = {"step_id": "f", "step_type": "fail", "error_type": "too-bad", "message": "no", "depends_on": ["w"]}
    async with serving(temporal_client, settings, kid={"steps": [*LISTENING["steps"], fail]}) as runner:
        parent, child = await carried(runner)
        if ending == "fail":
            await child.signal("signal", {"name": "go", "payload": None})
        else:
            await getattr(child, ending)()
        view = await outcome(parent)
    assert view.status == "failed"
    assert view.error is not None
    assert (view.error.type, view.error.step) == (wanted, "c")
    assert view.error.details["execution_id"] == child.id


async def test_a_cancel_reaches_a_carried_child_and_waits_for_its_end(
    temporal_client: Client, settings: Settings
) -> None:
    cleanup = [{"step_id": "bye", "step_type": "wait", "seconds": 1}]
    async with serving(temporal_client, settings, kid={**LISTENING, "on_cancel": cleanup}) as runner:
        parent, child = await carried(runner)
        await parent.cancel()
        view = await outcome(parent)
        described = await child.describe()
    assert view.status == "cancelled"
    assert described.status == WorkflowExecutionStatus.CANCELED


async def test_pause_and_resume_reach_a_carried_child(temporal_client: Client, settings: Settings) -> None:
    async with serving(temporal_client, settings, kid=LISTENING) as runner:
        parent, child = await carried(runner)
        await parent.signal("pause", "look")
        await until(child, "paused")
        await parent.signal("resume")
        await until(child, "awaiting")
        await child.signal("signal", {"name": "go", "payload": 1})
        assert (await outcome(parent)).status == "completed"


async def test_a_child_of_a_child_outlives_two_generations_of_runs(temporal_client: Client, settings: Settings) -> None:
    between = {"steps": [{"step_id": "g", "step_type": "workflow", "workflow_id": "grandkid"}, *NOISE]}
    async with serving(temporal_client, settings, kid=between, grandkid=LISTENING) as runner:
        parent = await runner.start(
            {"steps": [ONE_CHILD, *NOISE], "output": "{{ steps.c.output.g }}"}, history_events=8
        )
        child = child_of(runner, parent)
        grandchild = child_of(runner, child, "g")
        await there(grandchild)
        for handle in (child, parent):
            for _ in NOISE:
                await handle.signal("signal", {"name": "noise", "payload": 1})
            await awaited_again(handle)
        await grandchild.signal("signal", {"name": "go", "payload": 5})
        view = await outcome(parent)
    assert (view.status, view.output) == ("completed", {"w": 5})


async def test_a_carried_child_survives_the_loss_of_the_worker(temporal_client: Client, settings: Settings) -> None:
    async with serving(temporal_client, settings, kid=LISTENING) as runner:
        parent, child = await carried(runner)
    await child.signal("signal", {"name": "go", "payload": 2})
    async with back_again(runner):
        view = await outcome(parent)
    assert (view.status, view.output) == ("completed", {"w": 2})


@asynccontextmanager
async def back_again(runner: Runner) -> AsyncIterator[None]:
    """Another worker on the queue of one that has gone."""
    async with build_worker(runner.client, runner.settings, ControlActivities(runner.client).all()):
        yield


@pytest.mark.parametrize("messages", [["pause"], ["pause", "resume"], ["pause", "resume", "pause"]])
async def test_a_pause_in_the_very_task_that_starts_a_child_is_not_lost(
    temporal_client: Client, settings: Settings, messages: list[str]
) -> None:
    steps = [{"step_id": "s", "step_type": "wait_for_signal", "signal": "start"}, {**ONE_CHILD, "depends_on": ["s"]}]
    async with serving(temporal_client, settings, kid=LISTENING) as runner:
        queue = runner.settings.temporal_task_queue
        absent = Runner(temporal_client, settings.model_copy(update={"temporal_task_queue": f"{queue}-late"}))
        parent = await absent.start({"steps": steps})
        # No worker is there: all of it is in the execution's first task.
        await parent.signal("signal", {"name": "start", "payload": 1})
        for message in messages:
            await parent.signal(message, "look")
        stored = DefinitionActivities(CaseDefinitions(Case("children", {"definitions": {"kid": LISTENING}})))
        activities = [*ControlActivities(temporal_client).all(), *stored.all()]
        async with build_worker(temporal_client, absent.settings, activities):
            child = child_of(runner, parent)
            await there(child)
            if messages[-1] == "pause":
                await until(child, "paused")
                await parent.signal("resume")
            await until(child, "awaiting")
            await child.signal("signal", {"name": "go", "payload": 1})
            assert (await outcome(parent)).status == "completed"


async def test_an_update_sent_again_after_a_new_run_is_taken_once(temporal_client: Client, settings: Settings) -> None:
    asks = {"step_id": "ok", "step_type": "approval", "title": "t", "quorum": 2}
    async with serving(temporal_client, settings) as runner:
        handle = await runner.start({"steps": [asks, *NOISE]}, history_events=8)
        await until(handle, "awaiting")
        decision = {"path": "ok", "decision": "approved", "by": "ann"}
        await handle.execute_update("approve", decision, id="once")
        first = (await handle.describe()).run_id
        for _ in NOISE:
            await handle.signal("signal", {"name": "noise", "payload": 1})

        async def moved() -> bool:
            return (await handle.describe()).run_id != first

        await eventually(moved)
        # Taken before: no refusal, and no second voice.
        await handle.execute_update("approve", decision, id="once")
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("approve", decision, id="another")
        assert await status(handle) == "awaiting"
        await handle.execute_update("approve", {**decision, "by": "bob"}, id="second")
        assert (await outcome(handle)).status == "completed"


@pytest.mark.parametrize("on_conflict", ["enqueue", "reject", "cancel_running"])
async def test_a_child_under_the_key_of_who_awaits_it_shares_their_place(
    temporal_client: Client, settings: Settings, on_conflict: str
) -> None:
    name = f"again-{uuid.uuid4().hex[:12]}"
    again = {"step_id": "c", "step_type": "workflow", "workflow_id": name, "input": {"n": "{{ input.n - 1 }}"}}
    definition = {
        "workflow_id": name,
        "concurrency": {"max": 1, "on_conflict": on_conflict},
        "steps": [{**again, "when": "input.n > 0"}],
        "output": "{{ input.n }}",
    }
    async with serving(temporal_client, settings, **{name: definition}) as runner:
        view = await asyncio.wait_for(outcome(await runner.start(definition, {"n": 2})), 20)
    assert (view.status, view.output) == ("completed", 2)


async def test_a_child_is_found_by_the_version_and_the_tags_of_the_definition_that_it_loaded(
    temporal_client: Client, settings: Settings
) -> None:
    kid = {**LISTENING, "tags": {"team": "sales"}}
    async with serving(temporal_client, settings, kid=kid) as runner:
        parent = await runner.start({"steps": [ONE_CHILD]})
        child = child_of(runner, parent)
        await there(child)
        await until(child, "awaiting")
        found = (await child.describe()).typed_search_attributes
        await child.signal("signal", {"name": "go", "payload": 1})
        assert (await outcome(parent)).status == "completed"
    assert (found.get(DEFINITION_ID), found.get(DEFINITION_VERSION)) == ("kid", 1)
    assert found.get(TAGS) == ["team=sales"]
