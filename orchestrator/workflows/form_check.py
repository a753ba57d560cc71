"""Checks the form of an approval, in an activity."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

from orchestrator.execution.messages import ApprovalDecision
from orchestrator.execution.requests import schema_check
from orchestrator.execution.state import ExecutionState
from orchestrator.workflows.failures import error_info


async def check_form(state: ExecutionState, decision: ApprovalDecision, schema: dict[str, Any] | bool) -> None:
    """Check a decision's form against its schema.

    Raises:
        ApplicationError: it does not match (`invalid-form`); its details say where.
    """
    suffix = f"/form {decision.by}"[:60]
    check = schema_check(state, decision.path, suffix, schema, decision.form, "the form")
    try:
        await workflow.execute_activity(
            check.activity,
            args=check.arguments,
            activity_id=f"{check.activity_id} {workflow.uuid4().hex[:8]}",
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=timedelta(seconds=60),
            summary=check.summary,
        )
    except ActivityError as error:
        info = error_info(error.cause, decision.path)
        raise ApplicationError(info.message, info.details, type="invalid-form", non_retryable=True) from error
