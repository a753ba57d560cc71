"""Runs definitions on a real Temporal server with a worker in this process."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.worker import Worker

from activities.control import ControlActivities
from orchestrator.client import closed_view, start_execution
from orchestrator.definition import validate_definition
from orchestrator.execution.messages import ExecutionView, StartExecution
from orchestrator.settings import Settings
from orchestrator.worker import build_worker, published_events


class Runner:
    """Starts executions on one task queue.

    Args:
        client: connected.
        settings: its task queue is the worker's.
    """

    def __init__(self, client: Client, settings: Settings) -> None:
        self.client = client
        self.settings = settings

    async def start(
        self, definition: Mapping[str, Any], value: Any = None, execution_id: str | None = None, **fields: Any
    ) -> WorkflowHandle[object, ExecutionView]:
        """Start one execution of a valid definition; `fields` are further ones of `StartExecution`."""
        validation = validate_definition({"name": "case", **definition})
        assert validation.valid, [issue.to_dict() for issue in validation.errors]
        start = StartExecution(
            workflow_id=validation.document["workflow_id"],
            definition=validation.document,
            sha256=validation.sha256,
            input={} if value is None else value,
            **fields,
        )
        return await start_execution(self.client, self.settings, start, execution_id=execution_id)

    async def run(self, definition: Mapping[str, Any], value: Any = None) -> ExecutionView:
        """Run one execution to its end."""
        return await outcome(await self.start(definition, value))


async def outcome(handle: WorkflowHandle[object, ExecutionView]) -> ExecutionView:
    """Return the envelope of an execution, however it ends."""
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        return await closed_view(handle, error)


def states(view: ExecutionView) -> dict[str, str]:
    """Return each step's state."""
    return {step.path: step.state for step in view.steps}


@asynccontextmanager
async def worker_with(
    client: Client, settings: Settings, activities: Sequence[Callable[..., Any]], **changes: Any
) -> AsyncIterator[Runner]:
    """Run a worker on a task queue of its own while the block runs.

    Args:
        client: connected.
        settings: changed by `changes` and given a fresh task queue.
        activities: what a step may run.
        **changes: settings fields, such as `worker_max_cached_workflows=0`.
    """
    own = settings.model_copy(
        update={
            "temporal_task_queue": f"test-{uuid.uuid4().hex[:12]}",
            "worker_graceful_shutdown_seconds": 1.0,
            **changes,
        }
    )
    async with published_events(own) as events:
        worker: Worker = build_worker(client, own, [*ControlActivities(client).all(), *activities], [events])
        async with worker:
            yield Runner(client, own)
