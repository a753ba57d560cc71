"""Keeps updates idempotent over continue-as-new: Temporal tells a repeated one only within the run that took it."""

from __future__ import annotations

from temporalio import workflow

from orchestrator.execution.state import ExecutionState

MOST_IDS = 500
"""Ids that are carried; the oldest are forgotten first."""


def was_taken(state: ExecutionState) -> bool:
    """Whether the update that is being handled was taken before, by this run or an earlier one."""
    update = workflow.current_update_info()
    return update is not None and update.id in state.updates


def remember(state: ExecutionState) -> None:
    """Take note of the update that is being handled."""
    update = workflow.current_update_info()
    if update is not None:
        state.updates.append(update.id)
        del state.updates[:-MOST_IDS]
