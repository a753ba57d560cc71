"""Activities that act on executions themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import Client

from orchestrator.execution.messages import RequestCancelInput


class ControlActivities:
    """What an execution asks of Temporal about itself.

    Args:
        client: connected to the executions' namespace.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.request_cancel, self.request_terminate]

    @activity.defn(name="request_cancel")
    async def request_cancel(self, request: RequestCancelInput) -> None:
        """Cancel an execution natively: workflow code that cancels by itself would close as Failed."""
        handle = self._client.get_workflow_handle(request.execution_id, run_id=request.run_id)
        await handle.cancel(reason=request.reason)

    @activity.defn(name="request_terminate")
    async def request_terminate(self, request: RequestCancelInput) -> None:
        """Terminate an execution at once."""
        handle = self._client.get_workflow_handle(request.execution_id, run_id=request.run_id)
        await handle.terminate(reason=request.reason)
