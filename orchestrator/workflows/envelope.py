"""Leaves the envelope of a cancelled execution: Temporal records no result of one."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from orchestrator.execution.messages import ENVELOPE_MEMO, ExecutionView
from orchestrator.workflows.cancel_shield import despite_cancel

ENVELOPE_KEPT = "cancelled-envelope-kept"
"""Patch: a cancelled execution saves its envelope before it closes."""


async def leave_envelope(view: ExecutionView) -> None:
    """Save the envelope and name it in the memo; a further cancel does not stop it, a claim store that is away does.

    Args:
        view: what is left; without a claim store it is read by a query, as before.
    """
    if not workflow.patched(ENVELOPE_KEPT):
        return
    reference = await despite_cancel(_save(view))
    if reference is not None:
        workflow.upsert_memo({ENVELOPE_MEMO: reference})


async def _save(view: ExecutionView) -> dict[str, str] | None:
    try:
        saved: dict[str, str] | None = await workflow.execute_activity(
            "save_envelope",
            view,
            result_type=dict[str, str] | None,  # type: ignore[arg-type]  # a union is a type form
            activity_id="~envelope",
            start_to_close_timeout=timedelta(seconds=10),
            schedule_to_close_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=5)),
            summary="save the envelope",
        )
    except ActivityError as error:
        workflow.logger.warning("the envelope is not saved, a query will tell it: %s", error.cause)
        return None
    return saved
