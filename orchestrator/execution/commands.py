"""What the machine asks its driver to do: its outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.definition.compiled import RetryRule, TimeoutRule
from orchestrator.execution.messages import StartExecution, StepResult
from orchestrator.execution.messages_children import AwaitExecutionInput


@dataclass(frozen=True, slots=True)
class ScheduleActivity:
    """Run an activity; answer with `ActivityCompleted` or `ActivityFailed`."""

    activity_id: str
    activity: str
    arguments: tuple[Any, ...]
    result_type: type[StepResult] | None
    """None: a foreign activity, whose result is the step's as it is and whose attempts Temporal counts."""
    retry: RetryRule
    timeouts: TimeoutRule
    summary: str
    task_queue: str | None = None
    priority: int | None = None
    heartbeat: float | None = None
    """Seconds; of a foreign activity whose step gives it. Ours always have one, by their policy."""


@dataclass(frozen=True, slots=True)
class CancelActivity:
    """Ask a running activity to end; its end is still reported."""

    activity_id: str


@dataclass(frozen=True, slots=True)
class StartTimer:
    """Answer with `TimerFired` after `seconds`."""

    timer_id: str
    seconds: float
    summary: str


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget a timer; nothing is reported."""

    timer_id: str


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start a child execution; answer with `ChildStarted`, then, if awaited, with its end."""

    child_id: str
    start: StartExecution
    summary: str
    awaited: bool
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AwaitChild:
    """Await a child that an earlier run started; answer with its end, as after `StartChild`."""

    child_id: str
    request: AwaitExecutionInput
    summary: str


@dataclass(frozen=True, slots=True)
class CancelChild:
    """Ask an awaited child to end; its end is still reported."""

    child_id: str


@dataclass(frozen=True, slots=True)
class SignalChild:
    """Pause or resume a child."""

    child_id: str
    signal: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CloseChild:
    """The execution ends: deal with a child that is not awaited (`cancel` or `terminate`)."""

    child_id: str
    policy: str


Command = (
    ScheduleActivity
    | CancelActivity
    | StartTimer
    | CancelTimer
    | StartChild
    | AwaitChild
    | CancelChild
    | SignalChild
    | CloseChild
)
