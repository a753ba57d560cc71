"""The whole position of an execution, as data: it can be serialised, carried and inspected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator.execution.messages import ErrorInfo, Lineage

StepState = Literal["pending", "running", "skipped", "completed", "failed", "cancelled"]
TERMINAL: frozenset[str] = frozenset({"skipped", "completed", "failed", "cancelled"})

Phase = Literal["running", "ending", "closing", "closed"]
"""`ending`: nothing new starts, what is in flight is cancelled and awaited; `closing`: the output is being checked."""


@dataclass(slots=True)
class StepRecord:
    """What is known of one step. Times are ISO 8601 in UTC."""

    state: StepState = "pending"
    output: Any = None
    error: ErrorInfo | None = None
    attempts: int = 0
    started_at: str | None = None
    finished_at: str | None = None
    activity_id: str | None = None
    """Set while an activity of the step is in flight."""
    due_at: str | None = None
    """Set while the step waits for a timer."""

    @property
    def terminal(self) -> bool:
        """Whether the step's state is final."""
        return self.state in TERMINAL


@dataclass(slots=True)
class ScopeState:
    """The steps of one scope, by id, in definition order. The root's path is empty."""

    path: str
    steps: dict[str, StepRecord]


@dataclass(slots=True)
class ExecutionState:
    """The position of one execution."""

    execution_id: str
    workflow_id: str
    workflow_version: int | None
    input: Any
    vars: dict[str, Any]
    lineage: Lineage
    scopes: dict[str, ScopeState]
    phase: Phase = "running"
    started_at: str | None = None
    deadline_at: str | None = None
    holds: dict[str, str] = field(default_factory=dict)
    """Who paused the execution, and why."""
    ready: list[str] = field(default_factory=list)
    """Paths of steps whose join is met and that have not started: held by a pause or by the cap."""
    fired: list[str] = field(default_factory=list)
    """Timers that fired during a pause; judged at resume."""
    outcome: Literal["completed", "failed", "cancelled"] | None = None
    """Decided at the first failure, cancel or end; final once the phase is `closed`."""
    output: Any = None
    error: ErrorInfo | None = None
