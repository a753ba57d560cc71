"""Reconstructs an execution's view from its history, for reads while no worker answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter

from api.pending_activities import failure_info, is_inner, root_step
from api.times import text_of
from orchestrator.execution.messages import ExecutionView, LoadDefinitionResult, StartExecution, StepView
from orchestrator.execution.views import view_of
from orchestrator.next_attempts import compiled_start
from orchestrator.run_beginnings import RunBeginning, beginning_in

MOST_EVENTS = 2000
"""A longer history is read in part; the view is marked stale anyway."""
DEFINITION_ACTIVITY = "~definition"
"""Id of the activity that pins the definition of a start by reference."""
_PASSING = ("status", "detail", "holds", "signals", "approvals")
"""What people's messages change, which no history of activities tells."""


@dataclass(frozen=True, slots=True)
class HistoryView:
    """What a history tells.

    Attributes:
        view: as far as it is known.
        whole: nothing more happened: the workflow did not begin.
    """

    view: ExecutionView
    whole: bool = False


async def view_from_history(
    handle: WorkflowHandle[Any, Any], converter: DataConverter, fallback: ExecutionView
) -> HistoryView:
    """Return what the run began with, with the steps' states as far as activities tell them since.

    Steps without an activity (transforms, waits) stay as they were.

    Args:
        handle: of one run.
        converter: decodes the start's payloads.
        fallback: what search attributes say; its status and detail are kept.
    """
    progress: _Progress | None = None
    beginning: RunBeginning | None = None
    count = 0
    async for event in handle.fetch_history_events(page_size=500):
        if progress is None:
            beginning = await _readable_beginning(event, converter)
            if beginning is None:
                return HistoryView(fallback)
            progress = _Progress(await beginning_view(beginning, fallback))
        if beginning is not None and progress.pins(event):
            start = await _pinned(event, beginning.start, converter)
            progress.show(initial_view(start, fallback))
        progress.apply(event)
        count += 1
        if count >= MOST_EVENTS:
            break
    return HistoryView(progress.view, whole=not progress.begun) if progress else HistoryView(fallback)


async def start_of(handle: WorkflowHandle[Any, Any], converter: DataConverter) -> StartExecution | None:
    """Return what an execution was started with; None where that is no start of ours."""
    async for event in handle.fetch_history_events(page_size=1):
        beginning = await _readable_beginning(event, converter)
        return beginning.start if beginning is not None else None
    return None


async def beginning_view(beginning: RunBeginning, fallback: ExecutionView) -> ExecutionView:
    """Return the view of a run at its beginning.

    Args:
        beginning: what it began with.
        fallback: its status and detail are kept, and all that passes.
    """
    if beginning.state is None:
        return initial_view(beginning.start, fallback)
    view = view_of(await compiled_start(beginning.start), beginning.state)
    return view.model_copy(update={name: getattr(fallback, name) for name in _PASSING})


def initial_view(start: StartExecution, fallback: ExecutionView) -> ExecutionView:
    """Return the view of an execution of which nothing has run: every root step is pending."""
    definition = start.definition or {}
    return fallback.model_copy(
        update={
            "workflow_id": start.workflow_id,
            "workflow_version": start.version or fallback.workflow_version,
            "workflow_name": definition.get("name"),
            "input": start.input,
            "lineage": start.lineage,
            "steps": [_pending(step) for step in definition.get("steps", [])],
        }
    )


def _pending(step: dict[str, Any]) -> StepView:
    step_id = step["step_id"]
    return StepView(
        path=step_id,
        step_id=step_id,
        name=step.get("name") or step_id,
        step_type=step["step_type"],
        state="pending",
    )


async def _readable_beginning(event: HistoryEvent, converter: DataConverter) -> RunBeginning | None:
    try:
        return await beginning_in(event, converter)
    except Exception:
        # Whatever cannot be read as a start of ours is shown by its search attributes alone.
        return None


async def _pinned(event: HistoryEvent, start: StartExecution, converter: DataConverter) -> StartExecution:
    """Return a start by reference with the definition that its first activity loaded."""
    payloads = event.activity_task_completed_event_attributes.result.payloads
    try:
        (loaded,) = await converter.decode(payloads, [LoadDefinitionResult])
    except Exception:
        # As with a start that cannot be read.
        return start
    return start.model_copy(update={"definition": loaded.definition, "version": loaded.version})


class _Progress:
    """The step table as the activity events tell it."""

    def __init__(self, view: ExecutionView) -> None:
        self.begun = False
        self._scheduled: dict[int, tuple[StepView, bool]] = {}
        self._loading: int | None = None
        self.show(view)

    def show(self, view: ExecutionView) -> None:
        """Take another table, before any step of it began."""
        self.view = view
        self._rows = {step.path: step for step in view.steps}

    def pins(self, event: HistoryEvent) -> bool:
        """Whether the event ends the activity that loads the definition of a start by reference."""
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            if event.activity_task_scheduled_event_attributes.activity_id == DEFINITION_ACTIVITY:
                self._loading = event.event_id
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            return event.activity_task_completed_event_attributes.scheduled_event_id == self._loading
        return False

    def apply(self, event: HistoryEvent) -> None:
        kind = event.event_type
        if kind == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            self.begun = True
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            activity_id = event.activity_task_scheduled_event_attributes.activity_id
            row = self._rows.get(root_step(activity_id))
            if row is not None:
                self._scheduled[event.event_id] = row, is_inner(activity_id)
                row.state, row.started_at = "running", row.started_at or text_of(event.event_time)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            started = event.activity_task_started_event_attributes
            row, inner = self._scheduled.get(started.scheduled_event_id, (None, False))
            if row is not None and not inner:
                row.attempts = started.attempt
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            self._finish(event, event.activity_task_completed_event_attributes.scheduled_event_id, "completed")
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
            self._finish(event, event.activity_task_canceled_event_attributes.scheduled_event_id, "cancelled")
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
            timed_out = event.activity_task_timed_out_event_attributes
            self._finish(event, timed_out.scheduled_event_id, "failed", timed_out.failure)
        elif kind == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            failed = event.activity_task_failed_event_attributes
            self._finish(event, failed.scheduled_event_id, "failed", failed.failure)

    def _finish(self, event: HistoryEvent, scheduled_event_id: int, state: str, failure: Any = None) -> None:
        row, inner = self._scheduled.get(scheduled_event_id, (None, False))
        # What ends inside a block does not end the block.
        if row is None or inner:
            return
        row.state, row.finished_at = state, text_of(event.event_time)
        if failure is not None:
            row.error = failure_info(failure).model_copy(update={"step": row.path})
