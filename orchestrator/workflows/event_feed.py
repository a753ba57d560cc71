"""Tells those who watch what an execution does: through a function of the worker, never through the history."""

from __future__ import annotations

from temporalio import workflow

from orchestrator.execution.clock import iso
from orchestrator.execution.live_events import (
    UNTOUCHED,
    Event,
    end_event,
    snapshot_event,
    standing_of,
    status_event,
    step_event,
)
from orchestrator.execution.machine import Machine
from orchestrator.execution.messages import ExecutionView
from orchestrator.execution.state import TERMINAL

PUBLISH = "publish_execution_events"
"""Name of the worker's function `(execution_id, events)`; where there is none (a replayer), nobody watches."""


class EventFeed:
    """Publishes what changed, while the execution is not replayed. Nothing here can influence the execution."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], object] = {}
        """What was told of steps that are not terminal."""
        self._status: tuple[str, str | None] | None = None
        self._behind = False
        """Whether a replay went before: what was told then may be lost or undone."""

    def show(self, machine: Machine, status: str, detail: str | None) -> None:
        """Tell what changed since the last call; the first live one after a replay tells everything again."""
        events = self._news(machine, status, detail)
        if workflow.unsafe.is_replaying():
            self._behind = True
            return
        if self._behind:
            self._behind = False
            info = workflow.info()
            events.append(snapshot_event(machine.state, status, iso(workflow.now()), info.run_id))
        _publish(events)

    def finish(self, machine: Machine, view: ExecutionView) -> None:
        """Tell the end, and everything before it."""
        if workflow.unsafe.is_replaying():
            return
        at, run_id, seq = iso(workflow.now()), workflow.info().run_id, machine.state.event_seq
        end = end_event(view.status, view.error, at, seq + 1, run_id)
        _publish([{**end, "snapshot": snapshot_event(machine.state, end["status"], at, run_id)}])

    def _news(self, machine: Machine, status: str, detail: str | None) -> list[Event]:
        state, at = machine.state, iso(workflow.now())
        events: list[Event] = []
        for place in machine.changes():
            key, standing = (place.run.scope_id, place.step.step_id), standing_of(place)
            if self._open.get(key, UNTOUCHED) == standing:
                continue
            if place.record.state in TERMINAL:
                self._open.pop(key, None)
            else:
                self._open[key] = standing
            state.event_seq += 1
            events.append(step_event(place, at, state.event_seq))
        if self._status != (status, detail):
            self._status = (status, detail)
            state.event_seq += 1
            events.append(status_event(status, detail, at, state.event_seq))
        return events


def _publish(events: list[Event]) -> None:
    publish = workflow.extern_functions().get(PUBLISH)
    if publish is not None and events:
        publish(workflow.info().workflow_id, events)
