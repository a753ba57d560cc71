"""Adds to running steps what only Temporal knows: attempts, the last failure, the next try."""

from __future__ import annotations

import re
from collections.abc import Sequence

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription
from temporalio.converter import DataConverter

from api.schemas.executions import StepRow
from api.times import text_of
from orchestrator.execution.messages import ErrorInfo

_AFTER_ROOT_STEP = re.compile(r"[.\[/#]")
_AFTER_STEP = re.compile(r"[/#]")


def root_step(activity_id: str) -> str:
    """Return the root step of an activity id (`enrich[3].call/m0#1` → `enrich`)."""
    return _AFTER_ROOT_STEP.split(activity_id, maxsplit=1)[0]


def is_inner(activity_id: str) -> bool:
    """Return whether an activity is of a step inside a block."""
    return activity_id[len(root_step(activity_id)) :].startswith((".", "["))


def step_path(activity_id: str) -> str:
    """Return the step of an activity id (`enrich[3].call/m0#1` → `enrich[3].call`)."""
    return _AFTER_STEP.split(activity_id, maxsplit=1)[0]


async def merge_pending(
    steps: Sequence[StepRow],
    description: WorkflowExecutionDescription,
    converter: DataConverter,
    *,
    all_scopes: bool = False,
) -> None:
    """Fill in the rows of steps whose activity is open.

    Args:
        steps: the rows.
        description: what Temporal says of the execution.
        converter: reads heartbeats.
        all_scopes: inner steps have rows of their own; else their block's row tells of them.
    """
    rows = {step.path: step for step in steps}
    row_of = step_path if all_scopes else root_step
    for activity in description.raw_description.pending_activities:
        row = rows.get(activity.activity_id) or rows.get(row_of(activity.activity_id))
        if row is None or row.state not in ("pending", "running"):
            continue
        row.state = "running"
        row.attempts = max(
            row.attempts, _begun_attempts(activity) - await _parked(activity.heartbeat_details, converter)
        )
        if row.started_at is None and activity.HasField("scheduled_time"):
            row.started_at = text_of(activity.scheduled_time)
        if activity.HasField("last_failure"):
            row.last_failure = failure_info(activity.last_failure)
        if activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and activity.attempt > 1:
            row.next_attempt_at = text_of(activity.next_attempt_schedule_time)


def failure_info(failure: Failure) -> ErrorInfo:
    """Return Temporal's record of a failed attempt in our shape."""
    kind = failure.WhichOneof("failure_info")
    if kind == "server_failure_info" and failure.HasField("cause"):
        # Temporal wraps a failure over 4 KB into one of its own, which says just that.
        return failure_info(failure.cause)
    if kind == "application_failure_info":
        return ErrorInfo(type=failure.application_failure_info.type or "internal-error", message=failure.message)
    return ErrorInfo(type="timeout" if kind == "timeout_failure_info" else "internal-error", message=failure.message)


def _begun_attempts(activity: PendingActivityInfo) -> int:
    """Return how many attempts have begun: a scheduled one is still to come."""
    waiting = activity.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return max(0, activity.attempt - 1) if waiting else activity.attempt


async def _parked(details: Payloads, converter: DataConverter) -> int:
    """Return how many attempts an open circuit parked: they do not count (see `activities/step_activity.py`)."""
    if not details.payloads:
        return 0
    try:
        values = await converter.decode(details.payloads)
    except Exception:
        # Heartbeats of foreign activities may hold anything.
        return 0
    return next((item["parked"] for item in values if isinstance(item, dict) and type(item.get("parked")) is int), 0)
