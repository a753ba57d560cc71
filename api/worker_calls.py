"""Asks a worker by a standalone activity: it alone owns the embedded vector store."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import BaseModel
from temporalio.client import ActivityFailureError
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from api.dependencies import Services
from orchestrator.execution import errors, errors_steps
from orchestrator.execution.errors import NoWorker, OrchestratorError
from orchestrator.execution.messages import StepCall

WORKER_SECONDS = 5
"""How long the API waits for a worker."""
Result = TypeVar("Result", bound=BaseModel)

_LEAVES: Mapping[str, type[OrchestratorError]] = {
    leaf.code: leaf
    for leaf in (
        errors_steps.VectorRejected,
        errors_steps.DimensionMismatch,
        errors_steps.CollectionNotFound,
        errors.VectorsUnavailable,
        errors.VectorsLocked,
    )
}


def api_call(what: str) -> StepCall:
    """Return who asks, where no execution does."""
    key = f"api/{what}/{uuid.uuid4().hex}"
    return StepCall(execution_id="api", workflow_id="api", path=what, step_id=what, idempotency_key=key, max_attempts=1)


async def ask_worker(services: Services, activity: str, result_type: type[Result], *arguments: Any) -> Result:
    """Run an activity once.

    Raises:
        NoWorker: none took it in time, or it did not end in time.
        OrchestratorError: what the vector store said.
        TemporalUnavailable: Temporal does not answer.
    """
    try:
        async with services.calls.bounded(patience_seconds=WORKER_SECONDS + 2):
            found: Result = await services.temporal.execute_activity(
                activity,
                args=list(arguments),
                id=f"{activity}-{uuid.uuid4().hex}",
                task_queue=services.settings.temporal_task_queue,
                result_type=result_type,
                schedule_to_start_timeout=timedelta(seconds=WORKER_SECONDS),
                start_to_close_timeout=timedelta(seconds=WORKER_SECONDS),
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
    except ActivityFailureError as error:
        raise _leaf(error.cause) from error
    return found


def _leaf(cause: BaseException | None) -> OrchestratorError:
    leaf = _LEAVES.get(cause.type or "") if isinstance(cause, ApplicationError) else None
    if isinstance(cause, ApplicationError) and leaf is not None:
        said = cause.details[0] if cause.details and isinstance(cause.details[0], dict) else {}
        message = cause.message.removeprefix(f"{cause.type}: ")
        return leaf(message, hint=said.get("hint"), details=said.get("details"))
    return NoWorker(
        f"no worker answered within {WORKER_SECONDS} s: {cause}",
        hint="start one with `orchestrator worker`",
        retry_after_seconds=WORKER_SECONDS,
    )
