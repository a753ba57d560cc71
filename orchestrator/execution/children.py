"""Steps that are child executions."""

from __future__ import annotations

import hashlib
from typing import Any

from orchestrator.definition.limits import CHILD_DEPTH
from orchestrator.definition.models import ChildWorkflow
from orchestrator.execution import events as ev
from orchestrator.execution.commands import SignalChild, StartChild
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors import StepFailure
from orchestrator.execution.messages import ErrorInfo, Lineage, StartExecution
from orchestrator.execution.steps import StepEnds

LONGEST_EXECUTION_ID = 128


class Children:
    """Starts children and hears of their ends.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
    """

    def __init__(self, engine: Engine, ends: StepEnds) -> None:
        self._engine = engine
        self._ends = ends

    def begin(self, place: Place, model: ChildWorkflow, fields: dict[str, Any]) -> None:
        """Start a child.

        Raises:
            StepFailure: workflows call each other too deep (`child-too-deep`).
        """
        state = self._engine.state
        if state.depth >= CHILD_DEPTH:
            message = f"step '{place.path}': children are nested {CHILD_DEPTH} deep already"
            raise StepFailure(
                message, code="child-too-deep", hint="use a loop, or on_parent_close and a detached start"
            )
        child_id = self._child_id(place)
        place.record.child_id = child_id
        self._engine.in_flight[child_id] = (place.run.scope_id, place.step.step_id)
        root = state.lineage.root or state.execution_id
        start = StartExecution(
            workflow_id=model.workflow_id,
            version=model.version,
            input=fields.get("input", {}),
            lineage=Lineage(root=root, parent=state.execution_id),
            depth=state.depth + 1,
            deadline_at=state.deadline_at,
            holds={"parent": "its parent is paused"} if state.holds else {},
        )
        self._engine.commands.append(StartChild(child_id, start, place.step.model.label, awaited=model.wait))

    def _child_id(self, place: Place) -> str:
        state = self._engine.state
        tries = place.run.state.tries + place.record.retried
        digest = hashlib.sha256(f"{state.execution_id}/{place.path}#{tries}".encode()).hexdigest()[:16]
        child_id = f"{state.execution_id}.{digest}"
        if len(child_id) <= LONGEST_EXECUTION_ID:
            return child_id
        return f"{(state.lineage.root or state.execution_id)[:100]}.{digest}"

    def started(self, place: Place, child_id: str) -> None:
        """Complete a step that does not wait for its child."""
        model = place.step.model
        if not isinstance(model, ChildWorkflow) or model.wait:
            return
        del self._engine.in_flight[child_id]
        place.record.child_id = None
        self._engine.state.detached.append((child_id, model.on_parent_close))
        self._ends.complete(place, {"execution_id": child_id})

    def ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after an awaited child ended, or could not start."""
        del self._engine.in_flight[event.child_id]
        place.record.child_id = None
        place.record.attempts += 1
        if isinstance(event, ev.ChildCompleted):
            self._ends.complete(place, event.view.output)
            return
        details = {**event.error.details, "execution_id": event.child_id}
        error = event.error.model_copy(update={"step": place.path, "details": details})
        if event.cancelled or place.record.cancelling:
            place.record.error = ErrorInfo(type="cancelled", message=error.message, step=place.path, details=details)
            if place.record.cancelling:
                self._engine.settle(place, "cancelled")
            else:
                self._ends.fail(place, error.model_copy(update={"type": "child-cancelled"}))
        else:
            self._ends.fail(place, error)

    @property
    def open(self) -> bool:
        """Whether a child is awaited."""
        return any(
            record.child_id is not None for run in self._engine.runs.values() for record in run.state.steps.values()
        )

    def pass_on(self, signal: str, reason: str = "") -> None:
        """Pause or resume the awaited children with their parent."""
        for run in self._engine.runs.values():
            for record in run.state.steps.values():
                if record.child_id is not None:
                    self._engine.commands.append(SignalChild(record.child_id, signal, reason))
