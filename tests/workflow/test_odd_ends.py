"""Cancels at odd moments and errors of odd sizes: each execution still ends, and as it should."""

from __future__ import annotations

import asyncio

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import ExecutionView, StepResult, ValidateJsonInput
from orchestrator.execution.messages_agents import InvokeModelInput, InvokeModelResult
from orchestrator.settings import Settings
from tests.support.executions import outcome, worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs

REQUESTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED


async def until(handle: WorkflowHandle[object, ExecutionView], wanted: str) -> None:
    """Wait until the execution has a status."""

    async def reached() -> bool:
        view: ExecutionView = await handle.query("state", result_type=ExecutionView)
        return view.status == wanted

    await eventually(reached)


async def cancel_heard(handle: WorkflowHandle[object, ExecutionView]) -> None:
    """Wait until a workflow task has seen the cancel request."""

    async def heard() -> bool:
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        return EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in kinds[kinds.index(REQUESTED) :]

    await eventually(heard)


async def test_cancel_signals_that_come_together_ask_once(temporal_client: Client, settings: Settings) -> None:
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await runner.start({"steps": [{"step_id": "w", "step_type": "wait", "seconds": 600}]})
        for number in range(5):
            await handle.signal("cancel", f"because {number}")
        view = await asyncio.wait_for(outcome(handle), 60)
    assert view.status == "cancelled"


async def test_errors_of_any_size_fail_the_execution_not_its_task(temporal_client: Client, settings: Settings) -> None:
    @activity.defn(name="shout")
    async def shout() -> None:
        details = {"details": {"all": "d" * 300_000}, "hint": "h" * 300_000}
        raise ApplicationError("m" * 1_500_000, details, type="t" * 5_000, non_retryable=True)

    fail = {"step_id": "f", "step_type": "fail", "error_type": "mine", "message": "{{ repeat('x', 3900000) }}"}
    asks = {"step_id": "a", "step_type": "approval", "title": "t", "approvers": "{{ {a: repeat('x', 3900000)} }}"}
    shouts = {"step_id": "s", "step_type": "activity", "activity": "shout"}
    async with worker_with(temporal_client, settings, [shout, *Stubs().all()]) as runner:
        for step, kind, most in ((shouts, "t" * 128, 2048), (fail, "mine", 10_000), (asks, "invalid-step-input", 2048)):
            view = await asyncio.wait_for(outcome(await runner.start({"steps": [step]})), 60)
            assert view.status == "failed"
            assert view.error is not None
            assert view.error.type == kind
            assert 1_000 < len(view.error.message) <= most
            assert len(str(view.error.details)) < 20_000


@pytest.mark.parametrize("kind", [StepFailure, ValueError])
async def test_an_error_whose_text_cannot_be_sent_is_told_without_what_is_wrong_in_it(
    temporal_client: Client, settings: Settings, kind: type[Exception]
) -> None:
    class Halves(Stubs):
        async def play_model(self, request: InvokeModelInput) -> InvokeModelResult:
            raise kind("half of \ud83d a pair")

    once = {"step_id": "a", "step_type": "agent_task", "agent_type": "x", "task": "t", "retry": {"max_attempts": 1}}
    async with worker_with(temporal_client, settings, Halves().all()) as runner:
        view = await asyncio.wait_for(outcome(await runner.start({"steps": [once]})), 60)
    assert view.status == "failed"
    assert view.error is not None
    assert "half of ? a pair" in view.error.message


async def test_a_cancel_after_the_outcome_is_decided_changes_nothing(
    temporal_client: Client, settings: Settings
) -> None:
    checking, go_on = asyncio.Event(), asyncio.Event()

    @activity.defn(name="validate_json")
    async def validate_json(request: ValidateJsonInput) -> StepResult:
        checking.set()
        await go_on.wait()
        return StepResult(output=True)

    definition = {
        "steps": [
            {"step_id": "ok", "step_type": "approval", "title": "t", "form_schema": {"type": "object"}},
            {"step_id": "s", "step_type": "wait_for_signal", "signal": "s"},
            {"step_id": "end", "step_type": "finish", "value": 7, "depends_on": ["s"]},
        ]
    }
    async with worker_with(temporal_client, settings, [validate_json]) as runner:
        handle = await runner.start(definition)
        await until(handle, "awaiting")
        decision = {"path": "ok", "decision": "approved", "by": "ann", "form": {}}
        deciding = asyncio.create_task(handle.execute_update("approve", decision))
        await asyncio.wait_for(checking.wait(), 60)
        await handle.signal("signal", {"name": "s"})
        await until(handle, "completed")
        # The form is still being checked, so the execution is still open.
        await handle.cancel()
        await cancel_heard(handle)
        go_on.set()
        view = await asyncio.wait_for(outcome(handle), 60)
        with pytest.raises(WorkflowUpdateFailedError):
            await deciding
    assert (view.status, view.output) == ("completed", 7)
