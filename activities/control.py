"""Activities that act on executions themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from activities.step_activity import step_activity
from orchestrator.execution.errors import ExecutionNotFound
from orchestrator.execution.messages import ErrorInfo, ExecutionView, RequestCancelInput
from orchestrator.execution.messages_children import AwaitExecutionInput, AwaitExecutionResult
from orchestrator.stores.claims import claim_errors, keep_envelope
from orchestrator.workflows.failures import child_failed


class ControlActivities:
    """What an execution asks of Temporal about itself.

    Args:
        client: connected to the executions' namespace.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.request_cancel, self.request_terminate, self.await_execution, self.save_envelope]

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

    @activity.defn(name="save_envelope")
    async def save_envelope(self, view: ExecutionView) -> dict[str, str] | None:
        """Keep what a cancelled execution leaves; returns its reference, None where there is no claim store."""
        return await keep_envelope(self._client.data_converter, view)

    @step_activity("await_execution")
    async def await_execution(self, request: AwaitExecutionInput) -> AwaitExecutionResult:
        """Wait for an execution's end, however long it takes, and tell it as Temporal tells a parent."""
        handle = self._client.get_workflow_handle(
            request.execution_id, run_id=request.run_id, result_type=ExecutionView
        )
        try:
            with claim_errors():
                return AwaitExecutionResult(view=await handle.result(follow_runs=True))
        except WorkflowFailureError as error:
            end = child_failed(request.execution_id, error.cause)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            message = f"the child execution '{request.execution_id}' was deleted"
            return AwaitExecutionResult(error=ErrorInfo(type=ExecutionNotFound.code, message=message))
        return AwaitExecutionResult(error=end.error, cancelled=end.cancelled, spent=end.spent)
