"""The invariant of every suite: no execution whose workflow task fails over and over."""

from __future__ import annotations

from temporalio.client import Client

HEALTHY_ATTEMPTS = 3
"""From this attempt on, a workflow task is not the victim of a restart but of a bug."""


async def stuck_executions(client: Client) -> dict[str, int]:
    """Return the open executions whose workflow task is at its third attempt or later, with the attempt."""
    found: dict[str, int] = {}
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        description = await client.get_workflow_handle(execution.id, run_id=execution.run_id).describe()
        attempt = description.raw_description.pending_workflow_task.attempt
        if attempt >= HEALTHY_ATTEMPTS:
            found[execution.id] = attempt
    return found
