"""What a simulation found out."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages import ErrorInfo, OpenApproval, StepView
from orchestrator.execution.messages_ledger import LedgerView

MOST_ROWS = 2_000
"""Rows of one list of a report; what is left out is counted."""


class PathEntry(BaseModel):
    """A step that began, in the order in which steps began."""

    path: str
    """Steps of children as `<workflow_id>/<path>`."""
    step_type: str
    state: str
    began_at_seconds: float
    ended_at_seconds: float | None = None


class SkippedStep(BaseModel):
    """A step that was skipped, and why."""

    path: str
    reason: Literal["condition", "dependencies", "operator"]
    message: str


class SimulatedCall(BaseModel):
    """One attempt of an activity, or the start of a child, that the scenario answered."""

    path: str
    activity: str
    attempt: int
    at_seconds: float
    mocked: bool
    """False: it was answered with what it was asked, or is a child that ran from its definition."""
    asked: Any = None
    """Parameters of an agent, arguments of a tool or an activity, body of a request, input of a child."""
    outcome: Literal["completed", "failed", "cancelled", "running"] = "running"
    error_type: str | None = None


class SentMessage(BaseModel):
    """What became of a message."""

    send: str
    at_seconds: float | None = None
    """When it was taken, or refused as expected; None: never."""
    refused: str | None = None


class SimulationReport(BaseModel):
    """The outcome of a simulated execution, and how it came about. Times are virtual, from its start."""

    status: str
    detail: str | None = None
    """What an open execution waits for."""
    output: Any = None
    error: ErrorInfo | None = None
    steps: list[StepView] = Field(default_factory=list)
    path: list[PathEntry] = Field(default_factory=list)
    skipped: list[SkippedStep] = Field(default_factory=list)
    calls: list[SimulatedCall] = Field(default_factory=list)
    call_counts: dict[str, int] = Field(default_factory=dict)
    cancelled_calls: list[str] = Field(default_factory=list)
    most_in_flight: int = 0
    messages: list[SentMessage] = Field(default_factory=list)
    approvals: list[OpenApproval] = Field(default_factory=list)
    """Decisions that are waited for still."""
    unmocked: list[str] = Field(default_factory=list)
    """Steps that were called and had no mock."""
    unused_mocks: list[str] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    virtual_seconds: float = 0.0
    executions: int = 1
    """The execution and the children that ran."""
    events: int = 0
    left_out: int = 0
    """Rows over the bounds of the lists."""
    stopped: Literal["events", "time", "data", "executions"] | None = None
    """Which bound of simulations ended it before its end."""
    ledger: LedgerView | None = None
