"""The invariant of every suite: no execution whose workflow task fails over and over."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle

HEALTHY_ATTEMPTS = 3
"""From this attempt on, a workflow task is not the victim of a restart but of a bug."""
ATTEMPTS_OF_A_STALL = 6
"""That of one that timed out, or was taken for a deadlock: a machine that stalls does that more than once."""
DEADLOCK = "TMPRL1101"


async def stuck_executions(client: Client) -> dict[str, int]:
    """Return the open executions whose workflow task is at its third attempt or later, with the attempt.

    One that a machine which stalls may have held up counts from the sixth on.
    """
    found: dict[str, int] = {}
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
        attempt = (await handle.describe()).raw_description.pending_workflow_task.attempt
        if attempt >= HEALTHY_ATTEMPTS and (attempt >= ATTEMPTS_OF_A_STALL or await _failed(handle)):
            found[execution.id] = attempt
    return found


async def _failed(handle: WorkflowHandle[object, object]) -> bool:
    """Whether the task failed by what it did; the history tells how the first attempt ended."""
    failed = False
    async for event in handle.fetch_history_events():
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failed = DEADLOCK not in event.workflow_task_failed_event_attributes.failure.message
        elif event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
            failed = False
    return failed
