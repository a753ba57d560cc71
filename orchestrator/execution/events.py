"""What can happen to an execution: the inputs of the machine."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from orchestrator.execution.messages import BudgetRaise, ErrorInfo, ExecutionView, StepResult
from orchestrator.execution.messages_agents import AgentReport
from orchestrator.execution.messages_ledger import SpendTotals


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
    report: AgentReport | None = None
    """What a model activity told beside its error."""

    def naming(self, path: str) -> ActivityFailed:
        """Return the event with a message that names the step where it named the activity: nobody else knows its id."""
        message = self.error.message.replace(f"step '{self.activity_id}'", f"step '{path}'", 1)
        return replace(self, error=self.error.model_copy(update={"message": message}))


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A child execution runs."""

    child_id: str
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class ChildCompleted:
    """A child execution completed."""

    child_id: str
    view: ExecutionView


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A child execution could not start, or ended otherwise than completed."""

    child_id: str
    error: ErrorInfo
    cancelled: bool = False
    spent: SpendTotals | None = None
    """What it had spent, where it told."""


@dataclass(frozen=True, slots=True)
class TimerFired:
    """A timer ended."""

    timer_id: str


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A message for a `wait_for_signal` step."""

    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class ApprovalGiven:
    """Somebody decided an approval; `form` was checked before."""

    path: str
    decision: Literal["approved", "rejected"]
    by: str
    form: Any = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ParkedStepRepaired:
    """An operator brings a parked step on."""

    path: str
    action: Literal["retry", "skip", "set_output"]
    output: Any = None


@dataclass(frozen=True, slots=True)
class BudgetRaised:
    """An operator raised the execution's budget."""

    more: BudgetRaise


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


Event = (
    Started
    | ActivityCompleted
    | ActivityFailed
    | ChildStarted
    | ChildCompleted
    | ChildFailed
    | TimerFired
    | SignalReceived
    | ApprovalGiven
    | ParkedStepRepaired
    | BudgetRaised
    | PauseRequested
    | ResumeRequested
    | CancelRequested
)
