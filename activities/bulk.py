"""Activities of jobs that retry many executions: find them, retry one."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.client import start_execution
from orchestrator.execution.errors import OrchestratorError, Unavailable
from orchestrator.execution.messages import PositionPart
from orchestrator.execution.messages_bulk import (
    JOB_MEMO,
    FindClosed,
    FoundRun,
    FoundRuns,
    RetryClosed,
    RetryOutcome,
)
from orchestrator.next_attempts import (
    EndedPosition,
    ended_position,
    kept_memo,
    next_attempt,
    priority_of_run,
    tags_of_run,
)
from orchestrator.run_beginnings import RunBeginning, unbegun
from orchestrator.settings import Settings
from orchestrator.stores.claims import claim_errors, keep_ahead
from orchestrator.stores.definitions import DefinitionStore
from orchestrator.stores.pauses import Pause
from orchestrator.workflows.carrying import dump
from orchestrator.workflows.search_attributes import DEFINITION_ID

QUERY_SECONDS = 30.0
WORKFLOW = "workflow"
"""The holder of the holds of paused workflows."""
_FINAL = (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.FAILED_PRECONDITION)


class BulkActivities:
    """What a job asks of Temporal.

    Args:
        client: connected to the executions' namespace.
        settings: for the task queue of what is started.
        definitions: tells which workflows are paused.
    """

    def __init__(self, client: Client, settings: Settings, definitions: DefinitionStore) -> None:
        self._client = client
        self._settings = settings
        self._definitions = definitions

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.find_closed_runs, self.retry_closed]

    @activity.defn(name="find_closed_runs")
    async def find_closed_runs(self, request: FindClosed) -> FoundRuns:
        """Return a page of what Temporal's visibility finds."""
        token = base64.b64decode(request.page_token) if request.page_token else None
        pages = self._client.list_workflows(request.query, page_size=request.page_size, next_page_token=token)
        await pages.fetch_next_page()
        runs = [FoundRun(execution_id=found.id, run_id=found.run_id) for found in pages.current_page or ()]
        following = pages.next_page_token
        return FoundRuns(runs=runs, page_token=base64.b64encode(following).decode() if following else None)

    @activity.defn(name="retry_closed")
    async def retry_closed(self, request: RetryClosed) -> RetryOutcome:
        """Start the next attempt, as a single retry does; a second time it finds what the first one started.

        Raises:
            temporalio.service.RPCError: Temporal does not answer; tried again.
            Unavailable: Redis or the claim store does not; tried again.
        """
        description = await self._client.get_workflow_handle(request.run.execution_id).describe()
        judged = await self._judge(description, request)
        if judged is not None:
            return judged
        try:
            return await self._start_next(description, request)
        except WorkflowAlreadyStartedError:
            latest = await self._client.get_workflow_handle(request.run.execution_id).describe()
            return await self._judge(latest, request) or RetryOutcome(outcome="skipped")
        except WorkflowQueryFailedError as error:
            return RetryOutcome(outcome="failed", message=f"no worker told its position: {error.message}")
        except Unavailable:
            raise
        except (OrchestratorError, ValueError) as error:
            return RetryOutcome(outcome="failed", message=str(error))
        except RPCError as error:
            if error.status not in _FINAL:
                raise
            return RetryOutcome(outcome="failed", message=error.message)

    async def _start_next(self, description: WorkflowExecutionDescription, request: RetryClosed) -> RetryOutcome:
        ended = await self._position(request.run)
        if ended is None:
            return RetryOutcome(outcome="failed", message="it ended before anything was known of it")
        following = await next_attempt(ended, request.run.run_id)
        pause = await self._definitions.pause(following.start.workflow_id)
        following.start.holds = _holds(pause)
        if following.state is not None:
            following.state.holds |= following.start.holds
        carried = dump(following.state) if following.state is not None else []
        for chunk in carried:
            await keep_ahead(self._client.data_converter, chunk, "the position that it goes on from")
        await start_execution(
            self._client,
            self._settings,
            following.start,
            execution_id=request.run.execution_id,
            tags=tags_of_run(description),
            carried=carried,
            again=True,
            priority=priority_of_run(description),
            memo=await kept_memo(description, request.reason) | {JOB_MEMO: _mark(request)},
        )
        await self._follow_pause(following.start.workflow_id, request.run.execution_id, held=pause is not None)
        return RetryOutcome(outcome="retried")

    async def _follow_pause(self, workflow_id: str, execution_id: str, *, held: bool | None) -> None:
        """Tell the attempt of a pause or resume of its workflow that came while it started; None: not known if held."""
        handle = self._client.get_workflow_handle(execution_id)
        while held != ((pause := await self._definitions.pause(workflow_id)) is not None):
            message = {"holder": WORKFLOW, "reason": pause.reason if pause else ""}
            try:
                await handle.signal("pause" if pause else "resume", message)
            except RPCError as error:
                if error.status != RPCStatusCode.NOT_FOUND:
                    raise
                return
            held = pause is not None

    async def _position(self, run: FoundRun) -> EndedPosition | None:
        handle = self._client.get_workflow_handle(run.execution_id, run_id=run.run_id)

        async def part(number: int) -> PositionPart:
            with claim_errors():
                found: PositionPart = await handle.query(
                    "position", number, result_type=PositionPart, rpc_timeout=timedelta(seconds=QUERY_SECONDS)
                )
            return found

        async def look() -> RunBeginning | None:
            with claim_errors():
                return await unbegun(handle, self._client.data_converter)

        return await ended_position(part, look)

    async def _judge(self, description: WorkflowExecutionDescription, request: RetryClosed) -> RetryOutcome | None:
        """Return what is known without trying; None where a retry is due."""
        if description.run_id != request.run.run_id:
            if (await description.memo()).get(JOB_MEMO) != _mark(request):
                return RetryOutcome(outcome="skipped")
            # An earlier try of this activity started it, and may have got no further.
            workflow_id = description.typed_search_attributes.get(DEFINITION_ID) or ""
            await self._follow_pause(workflow_id, request.run.execution_id, held=None)
            return RetryOutcome(outcome="retried")
        if description.status in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED):
            return RetryOutcome(outcome="skipped")
        return None


def _mark(request: RetryClosed) -> str:
    # With the run: of an execution's earlier attempts each has a row of its own in visibility.
    return f"{request.job_id} {request.run.run_id}"


def _holds(pause: Pause | None) -> dict[str, str]:
    return {WORKFLOW: pause.reason} if pause is not None else {}
