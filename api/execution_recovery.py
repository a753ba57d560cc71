"""Retries and reruns: a closed execution's position is asked of a worker, and another run goes on from it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionDescription, WorkflowQueryFailedError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Services
from api.execution_control import wrong_state
from api.idempotent_starts import REQUEST_SHA256
from api.schemas.executions import CLOSED, ExecutionDocument, RerunRequest
from api.starts import AlreadyThere, Launch, check_input, launch
from orchestrator.client import new_execution_id
from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.errors import NoWorker
from orchestrator.execution.messages import PositionPart, StartExecution
from orchestrator.execution.recovery import rerun, retried
from orchestrator.execution.state import ExecutionState
from orchestrator.stores.claims import claim_errors
from orchestrator.workflows.carrying import load
from orchestrator.workflows.definition_cache import compiled
from orchestrator.workflows.search_attributes import TAGS

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
        start, state = await self._position(document)
        lineage = start.lineage
        if state is not None:
            definition = await _compiled(start)
            state = await asyncio.to_thread(retried, definition, state, description.run_id)
            lineage, start.input = state.lineage, state.input
        else:
            lineage = lineage.model_copy(update={"retry_of": description.run_id, "attempt": lineage.attempt + 1})
        start.lineage, start.holds, start.deadline_at = lineage, {}, None
        how = Launch(
            execution_id,
            tags=_tags(description),
            memo=await _kept_memo(description) | _memo(reason),
            position=state,
            previous_run=description.run_id,
        )
        try:
            return await launch(self._services, start, how)
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
        start, ended = await self._position(document)
        if ended is None:
            raise wrong_state(document, f"execution '{execution_id}' ended before its first step", "retry it")
        if "input" in request.model_fields_set:
            check_input(start.definition or {}, request.input, "/input")
        definition = await _compiled(start)
        new_id = new_execution_id()
        state = await asyncio.to_thread(rerun, definition, ended, new_id, request.from_step, request.outputs)
        if "input" in request.model_fields_set:
            state.input = request.input
        start.input, start.lineage = state.input, state.lineage
        start.depth, start.holds, start.deadline_at, start.budget, start.places = 0, {}, None, None, []
        how = Launch(new_id, tags=_tags(description), memo=_memo(request.reason), fresh=True, position=state)
        return await launch(self._services, start, how)

    async def _closed(self, execution_id: str, what: str) -> tuple[ExecutionDocument, WorkflowExecutionDescription]:
        document = await self._services.executions.read(execution_id)
        if document.status not in CLOSED:
            message = f"execution '{execution_id}' is {document.status} and can be {what} only once it has ended"
            raise wrong_state(document, message, "cancel it first, or wait for its end")
        return document, await self._services.executions.describe(execution_id)

    async def _position(self, document: ExecutionDocument) -> tuple[StartExecution, ExecutionState | None]:
        first = await self._part(document, 0)
        if first.start is None:
            message = f"execution '{document.execution_id}' ended before anything was known of it"
            raise wrong_state(document, message, "start it again")
        if not first.parts:
            return first.start, None
        chunks = [first.state]
        for number in range(1, first.parts):
            chunks.append((await self._part(document, number)).state)
        return first.start, await asyncio.to_thread(load, chunks)

    async def _part(self, document: ExecutionDocument, number: int) -> PositionPart:
        """Return a part of the position.

        Raises:
            NoWorker: nobody answered, or nobody can replay the execution.
        """
        handle = self._services.executions.handle(document.execution_id, document.run_id)
        timeout = timedelta(seconds=POSITION_SECONDS)
        try:
            async with self._services.calls.bounded(POSITION_SECONDS + 0.5, patience_seconds=0):
                await self._services.calls.reach()
                with claim_errors():
                    part: PositionPart = await handle.query(
                        "position", number, result_type=PositionPart, rpc_timeout=timeout
                    )
        except (WorkflowQueryFailedError, ValidationError) as error:
            raise _untold(document) from error
        except RPCError as error:
            if error.status not in (RPCStatusCode.FAILED_PRECONDITION, RPCStatusCode.INVALID_ARGUMENT):
                raise
            raise _untold(document) from error
        return part


def _untold(document: ExecutionDocument) -> NoWorker:
    return NoWorker(
        f"no worker told the position of execution '{document.execution_id}'",
        hint="start a worker (`orchestrator worker`) of this version, and try again",
        retry_after_seconds=5,
    )


async def _compiled(start: StartExecution) -> CompiledDefinition:
    definition = start.definition or {}
    return await asyncio.to_thread(lambda: compiled(definition, start.sha256 or ""))


def _tags(description: WorkflowExecutionDescription) -> dict[str, str]:
    return dict(tag.partition("=")[::2] for tag in description.typed_search_attributes.get(TAGS) or ())


async def _kept_memo(description: WorkflowExecutionDescription) -> dict[str, Any]:
    """Return what says which start made the execution: a start that is sent again is compared with it."""
    memo = await description.memo()
    return {REQUEST_SHA256: memo[REQUEST_SHA256]} if REQUEST_SHA256 in memo else {}


def _memo(reason: str) -> dict[str, Any]:
    return {"reason": reason} if reason else {}
