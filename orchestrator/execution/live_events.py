"""What those who watch an execution are told: upserts of steps, statuses, snapshots, its end."""

from __future__ import annotations

from typing import Any

from orchestrator.execution.engine import Place
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.paths import join_path
from orchestrator.execution.state import ExecutionState, ScopeState, StepRecord
from orchestrator.execution.views import detail_of

Event = dict[str, Any]

MOST_SNAPSHOT_STEPS = 2_000
"""Then a snapshot is `truncated`: it goes to every reader whole."""
LONGEST_MESSAGE = 500


def step_event(place: Place, at: str, seq: int) -> Event:
    """Return the upsert of one step."""
    record = place.record
    event = {"type": "step", "path": place.path, **_standing(place.run.state, record)}
    return {**event, **_why(record.error), "at": record.finished_at or at, "seq": seq}


def standing_of(place: Place) -> tuple[Any, ...]:
    """Return what a step's upsert would tell: the same again is no news."""
    return (*_standing(place.run.state, place.record).values(), place.record.error)


UNTOUCHED: tuple[Any, ...] = (0, "pending", 0, None)


def status_event(status: str, detail: str | None, at: str, seq: int) -> Event:
    """Return the upsert of the execution's own status."""
    return {"type": "execution", "status": status, "detail": detail, "at": at, "seq": seq}


def snapshot_event(state: ExecutionState, status: str, at: str, run_id: str) -> Event:
    """Return everything that is known of the steps, root steps first."""
    rows: list[Event] = []
    for scope in state.scopes.values():
        for step_id, record in scope.steps.items():
            if len(rows) == MOST_SNAPSHOT_STEPS:
                return _snapshot(rows, status, detail_of(state), at, state.event_seq, run_id, truncated=True)
            rows.append({"path": join_path(scope.prefix, step_id), **_standing(scope, record)})
    return _snapshot(rows, status, detail_of(state), at, state.event_seq, run_id, truncated=False)


def end_event(status: str, error: ErrorInfo | None, at: str | None, seq: int | None, run_id: str | None) -> Event:
    """Return the last event of a run."""
    if status == "failed" and error is not None and error.type == "execution-timeout":
        status = "timed_out"
    return {"type": "end", "status": status, **_why(error), "at": at, "seq": seq, "run_id": run_id}


def _snapshot(
    rows: list[Event], status: str, detail: str | None, at: str, seq: int, run_id: str, *, truncated: bool
) -> Event:
    head = {"type": "snapshot", "status": status, "detail": detail, "steps": rows, "truncated": truncated}
    return {**head, "at": at, "seq": seq, "run_id": run_id}


def _standing(scope: ScopeState, record: StepRecord) -> Event:
    begun = record.state != "pending"
    found: Event = {
        "epoch": scope.tries + record.retried,
        "state": record.state,
        # Temporal alone knows of the attempts of what is in flight; activities tell of them themselves.
        "attempt": max(record.attempts, 1) if begun and record.state != "skipped" else record.attempts,
    }
    if record.awaits is not None:
        found["awaits"] = record.awaits
    return found


def _why(error: ErrorInfo | None) -> Event:
    return {} if error is None else {"error": {"type": error.type, "message": error.message[:LONGEST_MESSAGE]}}
