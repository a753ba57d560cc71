"""What comes back from activities and children: each result goes to the step that asked for it."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.definition.models import AgentTask, WaitForSignal
from orchestrator.execution import events as ev
from orchestrator.execution.agent_loops import AgentLoops
from orchestrator.execution.children import Children
from orchestrator.execution.ending import Ending
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.messages_vectors import VectorSearchResult, VectorUpsertResult
from orchestrator.execution.requests import OUTPUT_CHECK
from orchestrator.execution.steps import StepEnds
from orchestrator.execution.waiting import Waits


class Results:
    """Takes the ends of what is in flight.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
        waits: hears of checked signals.
        children: hears of child executions.
        agents: hears of model and tool calls.
        ending: hears of the checked output.
    """

    def __init__(
        self,
        engine: Engine,
        ends: StepEnds,
        waits: Waits,
        children: Children,
        agents: AgentLoops,
        ending: Ending,
    ) -> None:
        self._engine = engine
        self._ends = ends
        self._waits = waits
        self._children = children
        self._agents = agents
        self._ending = ending

    # --- activities -----------------------------------------------------------------------------------------------

    def activity_completed(self, event: ev.ActivityCompleted) -> None:
        """Go on with what an activity gave."""
        if event.activity_id == OUTPUT_CHECK:
            self._ending.output_checked(event.result, None, cancelled=False)
            return
        place = self._landed(event.activity_id)
        if isinstance(place.step.model, WaitForSignal):
            self._waits.signal_checked(place, valid=True)
            return
        if isinstance(place.step.model, AgentTask):
            self._agents.completed(place, event)
            return
        place.record.attempts = event.result.attempts
        if isinstance(event.result, VectorUpsertResult | VectorSearchResult):
            self._engine.state.ledger.model_calls(place.step.step_id, event.result.spent)
        self._ends.complete(place, event.result.output)

    def activity_failed(self, event: ev.ActivityFailed) -> None:
        """Go on after an activity's last attempt failed, or it was cancelled."""
        if event.activity_id == OUTPUT_CHECK:
            self._ending.output_checked(None, event.error, cancelled=event.cancelled)
            return
        place = self._landed(event.activity_id)
        event, record = event.naming(place.path), place.record
        if isinstance(place.step.model, AgentTask):
            self._agents.failed(place, event)
        elif record.cancelling:
            record.attempts = max(record.attempts, event.attempts)
            record.error = event.error.model_copy(update={"step": place.path, "outcome_unknown": True})
            self._engine.settle(place, "cancelled")
        elif isinstance(place.step.model, WaitForSignal) and event.error.type == "invalid-output":
            self._ends.guarded(place, lambda: self._waits.signal_checked(place, valid=False))
        else:
            record.attempts = max(record.attempts, event.attempts)
            self._ends.fail(place, event.error.model_copy(update={"step": place.path}))

    def _landed(self, identifier: str) -> Place:
        place = self._engine.place(*self._engine.in_flight.pop(identifier))
        if place.record.activity_id == identifier:
            place.record.activity_id = None
        return place

    # --- children -------------------------------------------------------------------------------------------------

    def child_started(self, child_id: str, run_id: str) -> None:
        """Take note of a child's run."""
        self._of(child_id, lambda place: self._noted(place, child_id, run_id))

    def child_ended(self, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        """Go on after a child's end."""
        self._of(event.child_id, lambda place: self._settled(place, event))

    def _of(self, identifier: str, act: Callable[[Place], None]) -> None:
        place = self._engine.place(*self._engine.in_flight[identifier])
        self._ends.guarded(place, lambda: act(place))

    def _noted(self, place: Place, child_id: str, run_id: str) -> None:
        if self._children.started(place, child_id, run_id):
            self._agents.affordable()

    def _settled(self, place: Place, event: ev.ChildCompleted | ev.ChildFailed) -> None:
        self._children.settle(place, event)
        self._agents.affordable()
        if place.record.agent is not None:
            self._agents.child_ended(place, event)
        else:
            self._children.ended(place, event)
