"""What travels between an execution and the activity that awaits its children. Fields are only ever added (replay)."""

from __future__ import annotations

from pydantic import BaseModel

from orchestrator.execution.messages import ErrorInfo, ExecutionView, StepCall, StepResult
from orchestrator.execution.messages_ledger import SpendTotals


class AwaitExecutionInput(BaseModel):
    """Wait for the end of an execution."""

    call: StepCall
    execution_id: str
    run_id: str | None = None
    """Its first run: one that was started under the same id later is another execution."""


class AwaitExecutionResult(StepResult):
    """How it ended: with a view where it completed, else with an error."""

    view: ExecutionView | None = None
    error: ErrorInfo | None = None
    cancelled: bool = False
    spent: SpendTotals | None = None
    """What one that failed had spent, where it told."""
