"""Retries and reruns: a closed execution's position is asked of a worker, and another run goes on from it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionDescription, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Services
from api.execution_control import wrong_state
from api.executions import Handle
from api.idempotent_starts import AlreadyThere
from api.schemas.executions import CLOSED, ExecutionDocument, RerunRequest
from api.starts import Launch, check_input, launch
from orchestrator.client import new_execution_id
from orchestrator.execution.carried_text import NewerFormat
from orchestrator.execution.errors import NoWorker, TemporalUnavailable
from orchestrator.execution.messages import PositionPart
from orchestrator.execution.recovery import rerun
from orchestrator.next_attempts import (
    EndedPosition,
    compiled_start,
    ended_position,
    kept_memo,
    next_attempt,
    priority_of_run,
    reason_memo,
    tags_of_run,
)
from orchestrator.stores.claims import claim_errors

POSITION_SECONDS = 20.0
"""A worker replays the whole history for the first part; 10,000 events take about three seconds."""


class ExecutionRecovery:
    """Starts what goes on from executions that ended."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def retry(self, execution_id: str, reason: str) -> ExecutionDocument:
        """Start the next attempt: completed steps are kept, the others go on.

        Raises:
            WrongState: it runs, or it completed.
            NoWorker: nobody told its position.
        """
        document, description = await self._closed(execution_id, "retried")
        if document.status == "completed":
            message = f"execution '{execution_id}' completed: there is nothing to retry"
            raise wrong_state(document, message, "rerun it from a step")
        following = await next_attempt(await self._position(document), description.run_id)
        how = Launch(
            execution_id,
            tags=tags_of_run(description),
            priority=priority_of_run(description),
            memo=await kept_memo(description, reason),
            position=following.state,
            previous_run=description.run_id,
        )
        try:
            return await launch(self._services, following.start, how)
        except AlreadyThere:
            document = await self._services.executions.read(execution_id)
            raise wrong_state(document, f"execution '{execution_id}' was retried just now", None) from None

    async def rerun(self, execution_id: str, request: RerunRequest) -> ExecutionDocument:
        """Start a new execution that runs a step of this one, and all that depends on it, again.

        Raises:
            WrongState: it runs, or no step of it ever did.
            RequestError: the step, an output's path or the input is wrong.
            NoWorker: nobody told its position.
        """
        document, description = await self._closed(execution_id, "rerun")
        position = await self._position(document)
        start, ended = position.start, position.state
        if ended is None:
            raise wrong_state(document, f"execution '{execution_id}' ended before its first step", "retry it")
        if "input" in request.model_fields_set:
            check_input(start.definition or {}, request.input, "/input")
        definition = await compiled_start(start)
        new_id = new_execution_id()
        state = await asyncio.to_thread(rerun, definition, ended, new_id, request.from_step, request.outputs)
        if "input" in request.model_fields_set:
            state.input = request.input
        start.input, start.lineage = state.input, state.lineage
        start.depth, start.holds, start.deadline_at, start.budget, start.places = 0, {}, None, None, []
        how = Launch(
            new_id,
            tags=tags_of_run(description),
            priority=priority_of_run(description),
            memo=reason_memo(request.reason),
            fresh=True,
            position=state,
        )
        return await launch(self._services, start, how)

    async def _closed(self, execution_id: str, what: str) -> tuple[ExecutionDocument, WorkflowExecutionDescription]:
        document = await self._services.executions.read(execution_id)
        if document.status not in CLOSED:
            message = f"execution '{execution_id}' is {document.status} and can be {what} only once it has ended"
            raise wrong_state(document, message, "cancel it first, or wait for its end")
        return document, await self._services.executions.describe(execution_id)

    async def _position(self, document: ExecutionDocument) -> EndedPosition:
        """Return where the execution ended.

        Raises:
            WrongState: nothing is known of it.
            NoWorker: nobody answered, or nobody can replay the execution.
        """
        handle = self._services.executions.handle(document.execution_id, document.run_id)
        try:
            found = await ended_position(
                lambda number: self._part(document, handle, number), lambda: self._services.executions.unbegun(handle)
            )
        except (WorkflowQueryFailedError, ValidationError, NewerFormat) as error:
            raise _untold(document) from error
        except RPCError as error:
            if error.status not in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT):
                raise
            raise _untold(document) from error
        if found is None:
            message = f"execution '{document.execution_id}' ended before anything was known of it"
            raise wrong_state(document, message, "start it again")
        return found

    async def _part(self, document: ExecutionDocument, handle: Handle, number: int) -> PositionPart:
        part = await self._services.executions.promptly(self._ask(handle, number))
        if part is None:
            raise _untold(document)
        return part

    async def _ask(self, handle: Handle, number: int) -> PositionPart | None:
        """Return a part; None where a worker took too long."""
        timeout = timedelta(seconds=POSITION_SECONDS)
        await self._services.calls.reach()
        try:
            async with self._services.calls.bounded(POSITION_SECONDS + 0.5, patience_seconds=0):
                with claim_errors():
                    part: PositionPart = await handle.query(
                        "position", number, result_type=PositionPart, rpc_timeout=timeout
                    )
        except TemporalUnavailable:
            await self._services.calls.reach()
            return None
        return part


def _untold(document: ExecutionDocument) -> NoWorker:
    return NoWorker(
        f"no worker told the position of execution '{document.execution_id}'",
        hint="start a worker (`orchestrator worker`) of this version, and try again",
        retry_after_seconds=5,
    )
