"""Reads Temporal's failures into our errors, and writes an execution's end back."""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)

from orchestrator.execution.error_bounds import TYPE_CHARACTERS, bounded_details, clean_text
from orchestrator.execution.events import ActivityFailed, ChildFailed
from orchestrator.execution.messages import ErrorInfo, ExecutionView
from orchestrator.execution.messages_agents import AgentReport
from orchestrator.execution.messages_ledger import LedgerView, SpendTotals

LARGEST_DETAILS_BYTES = 1024 * 1024
"""Temporal refuses inline failure details over 2 MiB by failing the workflow task for ever."""

_KINDS: dict[TimeoutType | None, str] = {
    TimeoutType.START_TO_CLOSE: "start_to_close",
    TimeoutType.SCHEDULE_TO_START: "schedule_to_start",
    TimeoutType.SCHEDULE_TO_CLOSE: "schedule_to_close",
    TimeoutType.HEARTBEAT: "heartbeat",
}


def activity_failed(activity_id: str, error: BaseException) -> ActivityFailed:
    """Return the machine's event for an activity that ended with an exception.

    Args:
        activity_id: which activity.
        error: what its handle raised.
    """
    cause: BaseException | None = error
    if isinstance(error, ActivityError):
        cause = error.cause
    if isinstance(cause, CancelledError | asyncio.CancelledError):
        return ActivityFailed(activity_id, ErrorInfo(type="cancelled", message="cancelled"), 0, cancelled=True)
    return ActivityFailed(activity_id, error_info(cause, activity_id), _attempts(cause), report=_report(cause))


def child_failed(child_id: str, error: BaseException) -> ChildFailed:
    """Return the machine's event for a child execution that did not complete.

    Args:
        child_id: which child.
        error: what its handle raised.
    """
    cause: BaseException | None = error.cause if isinstance(error, ChildWorkflowError) else error
    if isinstance(cause, CancelledError | asyncio.CancelledError):
        message = f"the child execution '{child_id}' was cancelled"
        return ChildFailed(child_id, ErrorInfo(type="cancelled", message=message), cancelled=True)
    if isinstance(cause, TerminatedError):
        message = f"the child execution '{child_id}' was terminated"
        return ChildFailed(child_id, ErrorInfo(type="child-terminated", message=message))
    if isinstance(cause, ApplicationError):
        view = cause.details[0] if cause.details else None
        inner = view.get("error") if isinstance(view, dict) else None
        own = ErrorInfo.model_validate(inner) if isinstance(inner, dict) else None
        found = ErrorInfo(type=_type(cause), message=cause.message, cause=own)
        return ChildFailed(child_id, found, spent=_spent(view))
    return ChildFailed(child_id, error_info(cause, child_id))


def _spent(view: Any) -> SpendTotals | None:
    ledger = view.get("ledger") if isinstance(view, dict) else None
    try:
        return LedgerView.model_validate(ledger).total if ledger is not None else None
    except ValidationError:
        return None


def _report(cause: BaseException | None) -> AgentReport | None:
    report = _told(cause).get("report") if isinstance(cause, ApplicationError) else None
    try:
        return AgentReport.model_validate(report) if report is not None else None
    except ValidationError:
        return None


def error_info(error: BaseException | None, path: str) -> ErrorInfo:
    """Return our shape of a Temporal failure; its message names the step."""
    if isinstance(error, TimeoutError):
        kind = _KINDS.get(error.type, "unknown")
        earlier = error_info(error.__cause__, path) if isinstance(error.__cause__, ApplicationError) else None
        message = f"step '{path}': its {kind} timeout passed"
        return ErrorInfo(type="timeout", message=message, details={"kind": kind}, cause=earlier)
    if isinstance(error, ApplicationError):
        told = _told(error)
        details = told.get("details", {})
        hint = {"hint": clean_text(str(told["hint"]))} if "hint" in told else {}
        # Activities that are not ours bound nothing.
        bounded = {**bounded_details(details), **hint}
        return ErrorInfo(type=_type(error), message=clean_text(_naming(path, error.message)), details=bounded)
    return ErrorInfo(type="internal-error", message=clean_text(_naming(path, str(error))))


def _type(error: ApplicationError) -> str:
    return (error.type or "internal-error")[:TYPE_CHARACTERS]


def _naming(path: str, message: str) -> str:
    return message if f"'{path}'" in message else f"step '{path}': {message}"


def _told(error: ApplicationError) -> dict[str, Any]:
    first = error.details[0] if error.details else None
    if not isinstance(first, dict):
        return {}
    if not isinstance(first.get("details", {}), dict):
        return {}
    return first


def _attempts(error: BaseException | None) -> int:
    attempts = _told(error).get("attempts", 1) if isinstance(error, ApplicationError) else 1
    return attempts if isinstance(attempts, int) else 1


def execution_failure(view: ExecutionView) -> ApplicationError:
    """Return what closes an execution as failed: its error's type and message, the envelope as details."""
    error = view.error or ErrorInfo(type="internal-error", message="the execution failed")
    details = view.model_dump(mode="json")
    if len(to_json(details)) > LARGEST_DETAILS_BYTES:
        details["input"] = None
        details["detail"] = "the input is left out here: the envelope was over 1 MiB"
    return ApplicationError(error.message, details, type=error.type, non_retryable=True)
