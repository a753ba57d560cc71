"""What can happen to an execution: the inputs of the machine."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.execution.messages import ErrorInfo, StepResult


@dataclass(frozen=True, slots=True)
class Started:
    """The execution begins."""


@dataclass(frozen=True, slots=True)
class ActivityCompleted:
    """An activity returned."""

    activity_id: str
    result: StepResult


@dataclass(frozen=True, slots=True)
class ActivityFailed:
    """An activity failed for good: its attempts are used up, or another try cannot help."""

    activity_id: str
    error: ErrorInfo
    attempts: int
    cancelled: bool = False
    """It ended because it was cancelled."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer ended."""

    timer_id: str


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """Somebody puts a hold on the execution."""

    holder: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    """Somebody takes their hold away."""

    holder: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Temporal's native cancel arrived."""

    reason: str = ""


Event = Started | ActivityCompleted | ActivityFailed | TimerFired | PauseRequested | ResumeRequested | CancelRequested
