"""The one translation from our errors to Temporal's `ApplicationError`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

from orchestrator.execution.error_bounds import bounded_details, clean_text
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.messages import StepCall
from orchestrator.execution.policies import matches_error
from orchestrator.expressions import ExpressionError


def as_orchestrator_error(error: Exception) -> OrchestratorError:
    """Return the leaf for any exception of an activity; what nobody classified is a retryable `internal-error`."""
    if isinstance(error, OrchestratorError):
        return error
    if isinstance(error, ExpressionError):
        return OrchestratorError(error.message, code=error.code, hint=error.hint, details=error.to_dict())
    return OrchestratorError(f"{type(error).__name__}: {error}", code="internal-error", retryable=True)


def application_error(error: OrchestratorError, call: StepCall, *, attempt: int) -> ApplicationError:
    """Return what Temporal is told about a failed attempt.

    Args:
        error: the classified failure.
        call: the step's call; its `max_attempts` and `non_retryable_errors` decide whether Temporal tries again.
        attempt: the attempt's number, parked ones left out.
    """
    parked = error.parks
    used_up = bool(call.max_attempts) and attempt >= call.max_attempts and not parked
    refused = any(matches_error(error.code, pattern) for pattern in call.non_retryable_errors)
    details: dict[str, Any] = {"attempts": attempt, "details": bounded_details(error.details)}
    if error.report:
        details["report"] = error.report
    if error.hint:
        details["hint"] = clean_text(error.hint)
    delay = error.retry_after_seconds
    return ApplicationError(
        clean_text(error.message),
        details,
        type=error.code,
        non_retryable=not error.retryable or used_up or refused,
        next_retry_delay=timedelta(seconds=delay) if delay is not None else None,
    )
