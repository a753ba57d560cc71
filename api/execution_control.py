"""Operators' actions on one execution: pause, resume, cancel; refused where the state does not allow them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from api.executions import ExecutionReader, Handle, not_found
from api.schemas.executions import CLOSED, ExecutionDocument
from api.temporal_calls import TemporalCalls
from orchestrator.execution.errors import WrongState

OPERATOR = "operator"
"""The hold that the API sets and removes; a parent's or the workflow's own stay."""


class ExecutionControl:
    """Sends operators' messages. Signals are durable: they also reach an execution whose worker is away."""

    def __init__(self, reader: ExecutionReader, calls: TemporalCalls) -> None:
        self._reader = reader
        self._calls = calls

    async def pause(self, execution_id: str, reason: str) -> ExecutionDocument:
        """Hold the execution at its next step boundary.

        Raises:
            WrongState: it is closed, or held by an operator already.
        """
        document = await self._open(execution_id, "paused")
        if OPERATOR in document.holds:
            raise wrong_state(document, f"execution '{execution_id}' is paused already", "resume it first")
        return await self._send(document, lambda handle: handle.signal("pause", reason))

    async def resume(self, execution_id: str, reason: str) -> ExecutionDocument:
        """Remove the operator's hold.

        Raises:
            WrongState: it is closed, or no operator holds it.
        """
        document = await self._open(execution_id, "resumed")
        if not document.stale and OPERATOR not in document.holds:
            others = ", ".join(sorted(document.holds))
            message = f"execution '{execution_id}' is not paused by an operator"
            raise wrong_state(document, message, f"it is held by: {others}" if others else None)
        return await self._send(document, lambda handle: handle.signal("resume", reason))

    async def cancel(self, execution_id: str, reason: str) -> ExecutionDocument:
        """Ask Temporal to cancel it; a second request changes nothing.

        Raises:
            WrongState: it is closed.
        """
        description = await self._reader.describe(execution_id)
        if description.status != WorkflowExecutionStatus.RUNNING:
            raise closed_error(await self._reader.read(execution_id), "cancelled")
        handle = self._reader.handle(execution_id, description.run_id)
        await self._call(execution_id, handle.cancel(reason=reason))
        return await self._reader.read(execution_id)

    async def terminate(self, execution_id: str, reason: str) -> ExecutionDocument:
        """End it at once.

        Raises:
            WrongState: it is closed.
        """
        description = await self._reader.describe(execution_id)
        if description.status != WorkflowExecutionStatus.RUNNING:
            raise closed_error(await self._reader.read(execution_id), "terminated")
        handle = self._reader.handle(execution_id, description.run_id)
        await self._call(execution_id, handle.terminate(reason=reason or None))
        return await self._reader.read(execution_id)

    async def _open(self, execution_id: str, what: str) -> ExecutionDocument:
        document = await self._reader.read(execution_id)
        if document.status in CLOSED:
            raise closed_error(document, what)
        return document

    async def _send(
        self, document: ExecutionDocument, message: Callable[[Handle], Awaitable[None]]
    ) -> ExecutionDocument:
        await self._call(document.execution_id, message(self._reader.handle(document.execution_id)))
        return await self._reader.read(document.execution_id)

    async def _call(self, execution_id: str, message: Awaitable[None]) -> None:
        try:
            async with self._calls.bounded():
                await message
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            # It closed since it was read, or its retention ended.
            if "completed" not in error.message:
                raise not_found(execution_id) from error
            raise closed_error(await self._reader.read(execution_id), "changed") from error


def closed_error(document: ExecutionDocument, what: str) -> WrongState:
    """Return the error for an execution that has ended."""
    message = f"execution '{document.execution_id}' is {document.status} and can no longer be {what}"
    return wrong_state(document, message, None)


def wrong_state(document: ExecutionDocument, message: str, hint: str | None) -> WrongState:
    """Return the error for a message that the execution's state does not allow."""
    details = {"execution_id": document.execution_id, "execution_status": document.status}
    return WrongState(message, hint=hint, details=details)
