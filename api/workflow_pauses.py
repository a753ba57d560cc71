"""Pauses whole workflows: a flag beside the definition for what starts, a signal to each execution that runs."""

from __future__ import annotations

import asyncio

import structlog
from temporalio.client import WorkflowExecution, WorkflowExecutionAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Services
from api.schemas.workflows import WorkflowPause, WorkflowPauseAnswer
from orchestrator.execution.errors import TemporalUnavailable, Unavailable, WrongState
from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.stores.pauses import Pause, PauseTurn
from orchestrator.workflows.search_attributes import DEFINITION_ID

log = structlog.get_logger(__name__)

WORKFLOW = "workflow"
"""The holder of these holds: an operator's and a parent's are others."""
SIGNALS_AT_ONCE = 20
PAGE = 500
SETTLE_SECONDS = 1.0
"""Visibility shows an execution a little after its start: whoever sweeps looks a second time after this."""


def holds_of(pause: Pause | None) -> dict[str, str]:
    """Return the holds that an execution starts with while its workflow is paused."""
    return {WORKFLOW: pause.reason} if pause is not None else {}


async def follow_pause(services: Services, workflow_id: str, execution_id: str, *, held: bool) -> None:
    """Tell an execution that has just started of a pause or a resume that came while it started.

    The flag is read after the start, and again after each signal: whoever changes it later finds the execution running.
    An absent part is no failure, because the start was acknowledged.

    Args:
        services: the app's services.
        workflow_id: its workflow.
        execution_id: what started.
        held: whether it started held.
    """
    try:
        while held != ((pause := await services.definitions.pause(workflow_id)) is not None):
            await _tell(services, execution_id, pause)
            held = pause is not None
    except Unavailable as error:
        log.warning(
            "a start may have missed a pause or resume of its workflow", execution_id=execution_id, why=str(error)
        )


class WorkflowPauses:
    """Pauses and resumes every execution of a workflow."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def pause(self, workflow_id: str, reason: str, by: str) -> WorkflowPauseAnswer:
        """Hold every execution of a workflow.

        Raises:
            WorkflowNotFound: no such workflow.
            WrongState: it is paused.
            TemporalUnavailable: not every execution could be told; the same request goes on.
        """
        return await self._change(workflow_id, paused=True, reason=reason, by=by)

    async def resume(self, workflow_id: str, reason: str, by: str) -> WorkflowPauseAnswer:
        """Take the workflow's hold off every execution.

        Raises:
            WorkflowNotFound: no such workflow.
            WrongState: it is not paused.
            TemporalUnavailable: not every execution could be told; the same request goes on.
        """
        return await self._change(workflow_id, paused=False, reason=reason, by=by)

    async def _change(self, workflow_id: str, *, paused: bool, reason: str, by: str) -> WorkflowPauseAnswer:
        await self._services.calls.reach()
        definitions = self._services.definitions
        # The flag first: what starts from here on is held (or not) by itself; then what runs.
        turn = await definitions.set_pause(workflow_id, paused=paused, reason=reason, by=by)
        if not turn.changed:
            raise _as_it_is(workflow_id, turn)
        sweep = _Sweep(self._services, workflow_id)
        await sweep.tell(turn.pause)
        # Another change came meanwhile: its signals may have overtaken these, so the last to finish repeats the latest.
        while (latest := await definitions.close_turn(workflow_id, turn.number)).changed:
            turn = latest
            await sweep.tell(turn.pause)
        return WorkflowPauseAnswer(
            workflow_id=workflow_id,
            paused=WorkflowPause.model_validate(turn.pause) if turn.pause else None,
            signalled=sweep.told,
            closed=sweep.closed,
        )


class _Sweep:
    """Tells every running execution of a workflow of its latest pause or resume, each once."""

    def __init__(self, services: Services, workflow_id: str) -> None:
        self._services = services
        self._query = (
            f"WorkflowType = '{WORKFLOW_TYPE}' AND {DEFINITION_ID.name} = '{workflow_id}' "
            "AND ExecutionStatus = 'Running'"
        )
        self._turns = asyncio.Semaphore(SIGNALS_AT_ONCE)
        self._met: dict[str, bool] = {}

    @property
    def told(self) -> int:
        """How many executions took the signal."""
        return sum(self._met.values())

    @property
    def closed(self) -> int:
        """How many had closed when it came."""
        return len(self._met) - self.told

    async def tell(self, pause: Pause | None) -> None:
        """Tell those that run now, and those that visibility shows a little later."""
        self._met.clear()
        await self._pass(pause)
        await asyncio.sleep(SETTLE_SECONDS)
        await self._pass(pause)

    async def _pass(self, pause: Pause | None) -> None:
        pages = self._services.temporal.list_workflows(self._query, page_size=PAGE)
        following: bytes | None = b""
        while following is not None:
            found, following = await self._page(pages)
            fresh = {item.id for item in found} - self._met.keys()
            await asyncio.gather(*(self._tell(execution_id, pause) for execution_id in fresh))

    async def _page(self, pages: WorkflowExecutionAsyncIterator) -> tuple[list[WorkflowExecution], bytes | None]:
        try:
            async with self._services.calls.bounded():
                await pages.fetch_next_page()
        except RPCError as error:
            raise TemporalUnavailable(
                f"Temporal refused the list of executions: {error.message}",
                hint="check that its search attributes are registered, then send the request again: it goes on",
                retry_after_seconds=10,
            ) from error
        return list(pages.current_page or ()), pages.next_page_token or None

    async def _tell(self, execution_id: str, pause: Pause | None) -> None:
        async with self._turns:
            self._met[execution_id] = await _tell(self._services, execution_id, pause)


async def _tell(services: Services, execution_id: str, pause: Pause | None) -> bool:
    """Signal an execution; False where it had closed."""
    handle = services.temporal.get_workflow_handle(execution_id)
    message = {"holder": WORKFLOW, "reason": pause.reason if pause else ""}
    try:
        async with services.calls.bounded():
            await handle.signal("pause" if pause else "resume", message)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        return False
    return True


def _as_it_is(workflow_id: str, turn: PauseTurn) -> WrongState:
    if turn.pause is None:
        message = f"workflow '{workflow_id}' is not paused"
        hint = "an execution that an operator paused is resumed by itself: POST /api/v1/executions/{id}/resume"
    else:
        message, hint = f"workflow '{workflow_id}' is paused already, by '{turn.pause.by}'", "resume it first"
    return WrongState(message, hint=hint, details={"workflow_id": workflow_id})
