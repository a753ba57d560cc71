"""Steps that are child executions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from orchestrator.definition.limits import CHILD_DEPTH
from orchestrator.definition.models import ChildWorkflow
from orchestrator.execution import events as ev
from orchestrator.execution.commands import AwaitChild, SignalChild, StartChild
from orchestrator.execution.engine import TIMED_OUT, Engine, Place
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import ErrorInfo, Lineage, StartExecution, StepCall
from orchestrator.execution.messages_children import AwaitExecutionInput
from orchestrator.execution.steps import StepEnds

LONGEST_EXECUTION_ID = 128
SHARES_GIVEN_AWAY = "shares-given-away"
"""Before this rule the share of a detached child stayed reserved, and agents waited for it for ever."""


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
        start = self._start(child_id, model.workflow_id, model.version, fields.get("input", {}), awaited=model.wait)
        self._engine.commands.append(StartChild(child_id, start, place.step.model.label, awaited=model.wait))

    def tool_start(
        self, place: Place, suffix: str, workflow_id: str, version: int | None, value: Any
    ) -> StartChild | None:
        """Return the command that starts the execution of an agent's workflow tool; None: nested too deep."""
        if self._engine.state.depth >= CHILD_DEPTH:
            return None
        child_id = self._child_id(place, suffix)
        summary = f"{place.step.model.label}: {workflow_id}"
        return StartChild(child_id, self._start(child_id, workflow_id, version, value), summary, awaited=True)

    def _start(
        self, child_id: str, workflow_id: str, version: int | None, value: Any, *, awaited: bool = True
    ) -> StartExecution:
        state = self._engine.state
        share = state.budget.share(state.ledger.total) if state.budget is not None else None
        if state.budget is not None and share is not None:
            state.budget.reserved[child_id] = share.model_dump(exclude_none=True)
        root = state.lineage.root or state.execution_id
        self._engine.in_flight.children.add(child_id)
        return StartExecution(
            workflow_id=workflow_id,
            version=version,
            input=value,
            lineage=Lineage(root=root, parent=state.execution_id),
            depth=state.depth + 1,
            # Who waits for a child cannot give it their place: it runs within theirs.
            places=[*state.places, *([state.slot] if state.slot else [])] if awaited else [],
            # What cleans up after the deadline has the time that cleaning up has.
            deadline_at=state.cleanup_at if state.phase == "cleaning" else state.deadline_at,
            budget=share,
            holds={"parent": "its parent is paused"} if state.holds else {},
        )

    def _child_id(self, place: Place, suffix: str = "") -> str:
        state = self._engine.state
        tries = place.run.state.tries + place.record.retried
        digest = hashlib.sha256(f"{state.execution_id}/{place.path}{suffix}#{tries}".encode()).hexdigest()[:16]
        child_id = f"{state.execution_id}.{digest}"
        if len(child_id) <= LONGEST_EXECUTION_ID:
            return child_id
        return f"{(state.lineage.root or state.execution_id)[:100]}.{digest}"

    def started(self, place: Place, child_id: str, run_id: str) -> bool:
        """Take note of a child's run; complete a step that does not wait for it.

        Returns:
            Whether the budget is divided anew: a child that nobody waits for keeps its share.
        """
        model = place.step.model
        if not isinstance(model, ChildWorkflow) or model.wait:
            self._engine.state.child_runs[child_id] = run_id
            return False
        del self._engine.in_flight[child_id]
        place.record.child_id = None
        self._engine.state.detached.append((child_id, model.on_parent_close))
        budget = self._engine.state.budget
        divided = budget is not None and self._engine.patched(SHARES_GIVEN_AWAY)
        if budget is not None and divided:
            budget.give_away(child_id)
        self._ends.complete(place, {"execution_id": child_id})
        return divided

    def settle(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Enter what an awaited child spent, and give back the rest of its share."""
        state = self._engine.state
        state.child_runs.pop(event.child_id, None)
        if state.budget is not None:
            state.budget.reserved.pop(event.child_id, None)
        if isinstance(event, ev.ChildFailed):
            spent = event.spent
        else:
            spent = event.view.ledger.total if event.view.ledger is not None else None
        if spent is not None:
            state.ledger.child(place.step.step_id, spent)

    def ended(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after an awaited child ended, or could not start."""
        del self._engine.in_flight[event.child_id]
        place.record.child_id = None
        place.record.attempts += 1
        if isinstance(event, ev.ChildCompleted):
            self._ends.complete(place, event.view.output)
            return
        late, place.record.cursor = (place.record.cursor or {}).get(TIMED_OUT), None
        if late is not None and not place.record.cancelling:
            self._ends.fail(place, ErrorInfo.model_validate(late), again=False)
            return
        details = {**event.error.details, "execution_id": event.child_id}
        error = event.error.model_copy(update={"step": place.path, "details": details})
        if event.cancelled or place.record.cancelling:
            place.record.error = ErrorInfo(type="cancelled", message=error.message, step=place.path, details=details)
            if place.record.cancelling:
                self._engine.settle(place, "cancelled")
            else:
                self._ends.fail(place, error.model_copy(update={"type": "child-cancelled"}), again=False)
        else:
            # Somebody wanted its end: that is no failure to try again after.
            self._ends.fail(place, error, again=error.type != "child-terminated")

    def time_out(self, place: Place, error: ErrorInfo) -> None:
        """End a child whose step's time is over; the step fails when it has ended."""
        place.record.cursor = {TIMED_OUT: error.model_dump(exclude_none=True)}
        self._engine.cancel_flights(place.record)

    @property
    def open(self) -> bool:
        """Whether a child is awaited."""
        return next(self._open(), None) is not None

    def _open(self) -> Iterator[tuple[Place, str]]:
        """Go through the awaited children, in the order in which their scopes opened."""
        for run in list(self._engine.runs.values()):
            for step_id, record in run.state.steps.items():
                for child_id in record.children:
                    yield self._engine.place(run.scope_id, step_id), child_id

    @property
    def only_carriable(self) -> bool:
        """Whether what is in flight are children that another run can await: started, and not being cancelled."""
        started, engine = self._engine.state.child_runs, self._engine
        return all(
            identifier in started and not engine.place(*found).record.cancelling
            for identifier, found in engine.in_flight.items()
        )

    def await_again(self) -> list[AwaitChild]:
        """Return the commands that await the children of a carried state."""
        return [self._await(place, child_id) for place, child_id in self._open()]

    def _await(self, place: Place, child_id: str) -> AwaitChild:
        state = self._engine.state
        call = StepCall(
            execution_id=state.execution_id,
            workflow_id=state.workflow_id,
            workflow_version=state.workflow_version,
            path=place.path,
            step_id=place.step.step_id,
            idempotency_key=child_id,
            max_attempts=0,
        )
        request = AwaitExecutionInput(call=call, execution_id=child_id, run_id=state.child_runs.get(child_id) or None)
        return AwaitChild(child_id, request, f"{place.step.model.label}: its child")

    def pass_on(self, signal: str, reason: str = "") -> None:
        """Pause or resume the awaited children with their parent."""
        for _, child_id in self._open():
            self._engine.commands.append(SignalChild(child_id, signal, reason))
