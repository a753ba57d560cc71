"""People's messages to one execution: signals, decisions, and what is done about parked steps."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio.client import (
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.concurrency import UPDATE_SECONDS, no_worker
from api.execution_control import closed_error, wrong_state
from api.executions import ExecutionReader, Handle, not_found
from api.schemas.executions import CLOSED, ExecutionDocument
from api.temporal_calls import TemporalCalls
from orchestrator.definition.issues import Issue
from orchestrator.definition.limits import SIGNALS_BUFFERED
from orchestrator.execution.errors import InvalidForm, OrchestratorError, RequestError, SignalsFull
from orchestrator.execution.messages import ExecutionView, SignalMessage
from orchestrator.stores.claims import claim_errors, keep_ahead

KNOWN_OUTCOME_SECONDS = 1.0


class ExecutionMessages:
    """Sends messages. A signal is durable; an update is answered by a worker."""

    def __init__(self, reader: ExecutionReader, calls: TemporalCalls) -> None:
        self._reader = reader
        self._calls = calls

    async def signal(self, execution_id: str, message: SignalMessage) -> ExecutionDocument:
        """Leave a message for a `wait_for_signal` step; it is kept until a step takes it.

        Raises:
            WrongState: the execution is closed.
            SignalsFull: it keeps as many as it can, and waits for none of this name.
            PayloadTooLarge: the payload is over the limit.
        """
        document = await self._reader.read(execution_id)
        if document.status in CLOSED:
            raise closed_error(document, "signalled")
        if document.signals.buffered >= SIGNALS_BUFFERED and message.name not in document.signals.awaited:
            raise SignalsFull(
                f"execution '{execution_id}' keeps {document.signals.buffered:,} signals that no step has taken",
                hint=f"send '{message.name}' when a step waits for it, or cancel the execution",
            )
        handle = self._reader.handle(execution_id)
        await keep_ahead(self._reader.data_converter, message, f"the signal '{message.name}'")
        try:
            async with self._calls.bounded():
                await handle.signal("signal", message)
        except RPCError as error:
            raise await self._gone(execution_id, error, "signalled") from error
        return await self._reader.read(execution_id)

    async def update(
        self, execution_id: str, name: str, argument: BaseModel, idempotency_key: str | None
    ) -> ExecutionDocument:
        """Send an update and return the execution as it is then.

        Args:
            execution_id: whom.
            name: of the update.
            argument: its argument.
            idempotency_key: the same update with the same key is taken once.

        Raises:
            WrongState: the execution is closed, or the step does not wait for this.
            InvalidForm: the form breaks the step's `form_schema`.
            NoWorker: nobody answered.
        """
        update_id = _update_id(name, argument, idempotency_key) if idempotency_key else None
        document = await self._reader.read(execution_id)
        handle = self._reader.handle(execution_id, document.run_id)
        if document.status in CLOSED:
            if update_id is not None and await self._was_taken(handle, update_id):
                return document
            raise closed_error(document, "changed")
        await keep_ahead(self._reader.data_converter, argument, f"the argument of '{name}'")
        await self._send(self._reader.handle(execution_id), document, name, argument, update_id)
        return await self._reader.read(execution_id)

    async def _send(
        self, handle: Handle, document: ExecutionDocument, name: str, argument: BaseModel, update_id: str | None
    ) -> None:
        timeout = timedelta(seconds=UPDATE_SECONDS + 1)
        try:
            async with self._calls.bounded(UPDATE_SECONDS + 1.5, patience_seconds=0):
                async with asyncio.timeout(UPDATE_SECONDS):
                    with claim_errors():
                        await handle.execute_update(
                            name, argument, id=update_id, result_type=ExecutionView, rpc_timeout=timeout
                        )
        except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
            raise no_worker(f"execution '{document.execution_id}'") from error
        except WorkflowUpdateFailedError as error:
            raise _refusal(document, error.cause) from error
        except RPCError as error:
            raise await self._gone(document.execution_id, error, "changed") from error

    async def _was_taken(self, handle: Handle, update_id: str) -> bool:
        """Whether an execution that has closed since had taken this very update."""
        timeout = timedelta(seconds=KNOWN_OUTCOME_SECONDS)
        try:
            async with self._calls.bounded():
                await handle.get_update_handle(update_id, result_type=ExecutionView).result(rpc_timeout=timeout)
        except (WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError, RPCError):
            return False
        return True

    async def _gone(self, execution_id: str, error: RPCError, what: str) -> Exception:
        """Say why Temporal refused a message to an execution that was there a moment ago."""
        if error.status != RPCStatusCode.NOT_FOUND:
            return error
        document = await self._reader.read(execution_id)
        return closed_error(document, what) if document.status in CLOSED else not_found(execution_id)


def _update_id(name: str, argument: BaseModel, idempotency_key: str) -> str:
    path = getattr(argument, "path", "")
    return hashlib.sha256(f"{name}\n{path}\n{idempotency_key}".encode()).hexdigest()


def _refusal(document: ExecutionDocument, cause: BaseException) -> OrchestratorError:
    if not isinstance(cause, ApplicationError):
        return wrong_state(document, f"execution '{document.execution_id}' did not take the message: {cause}", None)
    if cause.type == "invalid-form":
        return InvalidForm(cause.message, hint="the step's form_schema says what is expected", issues=_issues(cause))
    if cause.type == "wrong-state":
        return wrong_state(document, cause.message, "read the execution: its `detail` says what it waits for")
    return RequestError(f"execution '{document.execution_id}' did not take the message: {cause.message}")


def _issues(cause: ApplicationError) -> list[Issue]:
    details: Any = cause.details[0] if cause.details else None
    found = details.get("errors") if isinstance(details, dict) else None
    return [
        Issue(str(item.get("code", "invalid-value")), str(item.get("message", "")), f"/form{item.get('pointer', '')}")
        for item in (found if isinstance(found, list) else [])
        if isinstance(item, dict)
    ]
