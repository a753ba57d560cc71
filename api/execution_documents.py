"""The document of an execution, made of what Temporal knows and of the view that its workflow gave."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError, TerminatedError

from api.execution_links import links_of
from api.schemas.executions import ExecutionDocument, ExecutionStatus, StepRow
from api.times import text_of
from orchestrator.execution.messages import ErrorInfo, ExecutionView
from orchestrator.settings import Settings

CLOSED_STATUS: dict[WorkflowExecutionStatus, ExecutionStatus] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
}


def document_of(
    settings: Settings, description: WorkflowExecutionDescription, view: ExecutionView, *, stale: bool
) -> ExecutionDocument:
    """Return the document.

    Args:
        settings: for links.
        description: of the run.
        view: of the same run.
        stale: no worker gave it.
    """
    closed = description.status in CLOSED_STATUS
    return ExecutionDocument.model_construct(
        execution_id=description.id,
        workflow_id=view.workflow_id or None,
        workflow_version=view.workflow_version,
        name=view.workflow_name,
        run_id=description.run_id,
        status=cast("ExecutionStatus", view.status),
        detail=view.detail,
        stale=stale,
        started_at=text_of(description.start_time),
        closed_at=text_of(description.close_time),
        input=view.input,
        output=view.output,
        error=view.error,
        holds=view.holds,
        signals=view.signals,
        approvals=view.approvals,
        ledger=view.ledger.total if view.ledger is not None else None,
        steps=[StepRow.model_validate(step.model_dump()) for step in view.steps],
        lineage=view.lineage,
        links=links_of(
            settings,
            description.id,
            description.run_id,
            view.workflow_id or None,
            view.workflow_version,
            closed=closed,
        ),
    )


def closed_status(description: WorkflowExecutionDescription, error: ErrorInfo | None) -> ExecutionStatus:
    """Return the status of a run that ended."""
    status = CLOSED_STATUS[description.status or WorkflowExecutionStatus.FAILED]
    # The interpreter's own deadline closes the execution as Failed.
    return "timed_out" if status == "failed" and error and error.type == "execution-timeout" else status


def error_of(status: str, failure: BaseException | None) -> ErrorInfo | None:
    """Return the error of a run that left none itself."""
    if isinstance(failure, ApplicationError):
        return ErrorInfo(type=failure.type or "internal-error", message=failure.message)
    if status == "terminated":
        reason = failure.message if isinstance(failure, TerminatedError) else ""
        return ErrorInfo(type="terminated", message=reason or "the execution was terminated")
    if status == "timed_out":
        return ErrorInfo(type="execution-timeout", message="Temporal's own execution timeout was reached")
    if status == "failed":
        return ErrorInfo(type="internal-error", message="the execution failed without an envelope")
    return None


def close_steps(steps: list[StepRow], closed_at: datetime | None) -> None:
    """Show what was open at the end as cancelled: a terminated workflow had no time to say so itself."""
    for step in steps:
        if step.state == "running":
            step.finished_at = step.finished_at or text_of(closed_at)
        if step.state in ("pending", "running"):
            step.state = "cancelled"
