"""What the machine asks its driver to do: its outputs."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel

from orchestrator.definition.compiled import RetryRule, TimeoutRule
from orchestrator.execution.messages import StepResult


@dataclass(frozen=True, slots=True)
class ScheduleActivity:
    """Run an activity; answer with `ActivityCompleted` or `ActivityFailed`."""

    activity_id: str
    activity: str
    argument: BaseModel
    result_type: type[StepResult]
    retry: RetryRule
    timeouts: TimeoutRule
    summary: str
    task_queue: str | None = None
    priority: int | None = None


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


Command = ScheduleActivity | CancelActivity | StartTimer | CancelTimer
