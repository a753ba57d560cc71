"""Who asks: what every activity of ours is told about the step that it works for."""

from __future__ import annotations

from orchestrator.execution.engine import Place
from orchestrator.execution.messages import StepCall
from orchestrator.execution.state import ExecutionState


def step_call(state: ExecutionState, place: Place, suffix: str = "") -> StepCall:
    """Return the call of a step's activity.

    Args:
        state: the execution.
        place: the step.
        suffix: what tells an agent's turns and tool calls apart in the idempotency key.
    """
    step, root = place.step, state.lineage.root or state.execution_id
    epoch = place.run.state.epoch + place.record.epoch
    path = place.path + suffix
    key = f"{root}/{path}" if root == state.execution_id else f"{root}/{state.execution_id}/{path}"
    return StepCall(
        execution_id=state.execution_id,
        workflow_id=state.workflow_id,
        workflow_version=state.workflow_version,
        path=place.path,
        step_id=step.step_id,
        idempotency_key=f"{key}#{epoch}" if epoch else key,
        max_attempts=step.retry.max_attempts,
        non_retryable_errors=list(step.retry.non_retryable),
    )
