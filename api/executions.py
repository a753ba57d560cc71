"""Reads one execution: what its workflow says, merged with what Temporal alone knows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from api.execution_documents import CLOSED_STATUS, close_steps, closed_status, document_of, error_of
from api.execution_history import HistoryView, start_of, view_from_history
from api.pending_activities import merge_pending
from api.schemas.executions import ExecutionDocument
from api.temporal_calls import TemporalCalls, is_connect_failure
from orchestrator.execution.errors import (
    ExecutionExpired,
    ExecutionNotFound,
    NoWorker,
    RedisUnavailable,
    TemporalUnavailable,
    Unavailable,
)
from orchestrator.execution.messages import ENVELOPE_MEMO, WORKFLOW_TYPE, ExecutionView
from orchestrator.execution.messages_ledger import LedgerView
from orchestrator.execution.messages_steps import StepsAnswer, StepsAsked
from orchestrator.run_beginnings import RunBeginning, unbegun
from orchestrator.settings import Settings
from orchestrator.stores.claims import claim_errors, fetch_envelope
from orchestrator.stores.event_streams import EventStreams
from orchestrator.stores.leases import WorkerLeases
from orchestrator.workflows.search_attributes import DEFINITION_ID, DEFINITION_VERSION, DETAIL, RERUN_OF, STATUS

PROMPT_SECONDS = 1.0
"""A worker answers a query in milliseconds; after this time we ask whether there is one."""
QUERY_SECONDS = 3.0
"""A busy worker, or one that must replay a long history, gets this long; then Temporal alone is asked."""
LONGEST_EXECUTION_ID = 128
MOST_RERUNS = 100
_PLAIN_ID = re.compile(r"[A-Za-z0-9._~:/ -]+")
"""What needs no quotation in a visibility query."""

Answer = TypeVar("Answer")
Handle = WorkflowHandle[object, ExecutionView]

_OPEN_STATUS: frozenset[str] = frozenset({"queued", "running", "paused", "awaiting"})


class Outcome:
    """How an execution ended: the view that it left, or the failure that Temporal recorded."""

    def __init__(self, view: ExecutionView | None, failure: BaseException | None = None) -> None:
        self.view = view
        self.failure = failure


class ExecutionReader:
    """Reads executions of one namespace.

    Args:
        client: connected to it.
        calls: bounds the calls.
        leases: tell whether a worker lives.
        streams: tell of executions that Temporal no longer keeps.
        settings: for links and the task queue.
    """

    def __init__(
        self, client: Client, calls: TemporalCalls, leases: WorkerLeases, streams: EventStreams, settings: Settings
    ) -> None:
        self._client = client
        self._streams = streams
        self._calls = calls
        self._leases = leases
        self._settings = settings

    @property
    def data_converter(self) -> DataConverter:
        """The client's: it knows the claim store."""
        return self._client.data_converter

    def handle(self, execution_id: str, run_id: str | None = None) -> Handle:
        """Return Temporal's handle, typed with our result."""
        return self._client.get_workflow_handle(execution_id, run_id=run_id, result_type=ExecutionView)

    async def describe(self, execution_id: str) -> WorkflowExecutionDescription:
        """Return what Temporal knows.

        Raises:
            ExecutionNotFound: no such execution, or it is not one of ours.
            ExecutionExpired: it ended, and Temporal no longer keeps it.
            TemporalUnavailable: no answer.
        """
        found = await self.find(execution_id)
        if found is None:
            raise await self._absent(execution_id)
        return found

    async def find(self, execution_id: str) -> WorkflowExecutionDescription | None:
        """Return what Temporal knows; None where it knows no such execution, or it is not one of ours.

        Raises:
            TemporalUnavailable: no answer.
        """
        if not _possible(execution_id):
            return None
        try:
            async with self._calls.bounded():
                found = await self.handle(execution_id).describe()
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                return None
            raise
        return found if found.workflow_type == WORKFLOW_TYPE else None

    async def _absent(self, execution_id: str) -> ExecutionNotFound:
        ended_at: str | None = None
        if _possible(execution_id):
            with suppress(RedisUnavailable):
                ended_at = await self._streams.ended_at(execution_id)
        if ended_at is None:
            return not_found(execution_id)
        return ExecutionExpired(
            f"execution '{execution_id}' ended at {ended_at} and is no longer kept",
            hint="Temporal keeps closed executions for the namespace's retention, unless somebody deletes them",
            details={"execution_id": execution_id, "ended_at": ended_at},
        )

    async def read(self, execution_id: str, outcome: Outcome | None = None, *, new: bool = False) -> ExecutionDocument:
        """Return the execution's document.

        Args:
            execution_id: its id.
            outcome: how it ended, where the caller waited for it; looked up otherwise.
            new: the caller has just started it, so that nobody can have rerun it.

        Raises:
            ExecutionNotFound: no such execution.
            TemporalUnavailable: no answer.
        """
        return (await self._read(execution_id, outcome, new=new))[0]

    async def ledger(self, execution_id: str) -> LedgerView:
        """Return what an execution has spent, open or closed.

        Raises:
            ExecutionNotFound: no such execution.
            NoWorker: only a worker could say.
            TemporalUnavailable: no answer.
        """
        document, view = await self._read(execution_id)
        if document.stale:
            raise NoWorker(
                f"no worker answered about the ledger of execution '{execution_id}'",
                hint="start a worker (`orchestrator worker`), or try again",
                retry_after_seconds=5,
            )
        return view.ledger or LedgerView()

    async def _read(
        self, execution_id: str, outcome: Outcome | None = None, *, new: bool = False
    ) -> tuple[ExecutionDocument, ExecutionView]:
        description = await self.describe(execution_id)
        handle = self.handle(execution_id, description.run_id)
        view: ExecutionView | None = None
        if description.status not in CLOSED_STATUS:
            view = await self.query(handle)
            if view is not None and view.status not in _OPEN_STATUS:
                # The workflow has ended since; Temporal records its end with the same step.
                description = await self.describe(execution_id)
        if description.status in CLOSED_STATUS:
            reading = self._read_closed(description, handle, outcome)
            if new:
                closed = await reading
                closed[0].reruns = []
            else:
                closed, reruns = await asyncio.gather(reading, self._reruns(description.id))
                closed[0].reruns = reruns
            return closed
        return await self._read_open(description, handle, view)

    async def query(self, handle: Handle) -> ExecutionView | None:
        """Return the answer of the query `state`, or None where no worker gives one."""
        return await self.promptly(self._ask(handle, "state", [], ExecutionView))

    async def query_steps(self, handle: Handle, asked: StepsAsked) -> StepsAnswer | None:
        """Return the answer of the query `steps`, or None where no worker gives one."""
        return await self.promptly(self._ask(handle, "steps", [asked], StepsAnswer))

    async def definition(self, execution_id: str) -> dict[str, Any] | None:
        """Return the definition that the start pinned; None where a worker pins it.

        Raises:
            TemporalUnavailable: no answer.
        """
        async with self._calls.bounded():
            start = await start_of(self.handle(execution_id), self._client.data_converter)
        return start.definition if start is not None else None

    async def unbegun(self, handle: Handle) -> RunBeginning | None:
        """Return what a closed run would have begun with; None where its workflow did begin.

        Raises:
            TemporalUnavailable: no answer.
            Unavailable: the start is large, and the claim store does not answer.
        """
        async with self._calls.bounded():
            with claim_errors():
                return await unbegun(handle, self._client.data_converter)

    async def promptly(self, question: Coroutine[Any, Any, Answer | None]) -> Answer | None:
        """Return a worker's answer; None, soon, where no worker lives."""
        asking = asyncio.create_task(question)
        try:
            answered, _ = await asyncio.wait({asking}, timeout=PROMPT_SECONDS)
            if not answered and not await self._has_worker():
                return None
            return await asking
        finally:
            asking.cancel()

    async def _ask(self, handle: Handle, query: str, arguments: Sequence[Any], answers: type[Answer]) -> Answer | None:
        timeout = timedelta(seconds=QUERY_SECONDS)
        try:
            async with self._calls.bounded(QUERY_SECONDS + 0.2, patience_seconds=0):
                with claim_errors():
                    answer: Answer = await handle.query(query, args=arguments, result_type=answers, rpc_timeout=timeout)
        except (Unavailable, RPCError, WorkflowQueryFailedError, ValidationError):
            return None
        return answer

    async def _has_worker(self) -> bool:
        """Whether a worker lives on our task queue; True where nobody can say."""
        try:
            leases = await self._leases.live()
        except RedisUnavailable:
            return True
        return any(lease.task_queue == self._settings.temporal_task_queue for lease in leases)

    async def outcome(self, handle: Handle) -> Outcome:
        """Wait for the end and return it.

        Raises:
            RPCError: Temporal went away.
            ClaimMissing: the result is large and lost.
            Unavailable: the result is large, and the claim store does not answer.
        """
        try:
            with claim_errors():
                return Outcome(await handle.result(follow_runs=True))
        except WorkflowFailureError as error:
            return Outcome(_view_in(error.cause), error.cause)
        except (ValueError, TypeError, RuntimeError) as error:
            if is_connect_failure(error):
                raise
            # A result that is no envelope: another program's, or a future version's.
            return Outcome(None, error)

    async def _read_open(
        self, description: WorkflowExecutionDescription, handle: Handle, view: ExecutionView | None
    ) -> tuple[ExecutionDocument, ExecutionView]:
        stale = view is None
        if view is None:
            view = (await self._view_without_worker(description, handle)).view
        document = document_of(self._settings, description, view, stale=stale)
        if document.status not in _OPEN_STATUS:
            document.status = "running"
        await merge_pending(document.steps, description, self._client.data_converter)
        return document, view

    async def _read_closed(
        self, description: WorkflowExecutionDescription, handle: Handle, outcome: Outcome | None
    ) -> tuple[ExecutionDocument, ExecutionView]:
        if outcome is None:
            try:
                async with self._calls.bounded():
                    outcome = await self.outcome(handle)
            except (TemporalUnavailable, RPCError):
                outcome = Outcome(None)
        view, stale = outcome.view, False
        if view is not None and view.detail and view.input is None:
            # A failure's details leave a large input out; the start still has it.
            view.input = (await self._view_without_worker(description, handle)).view.input
        if view is None:
            view = await self._kept_envelope(description) or await self.query(handle)
        if view is None:
            found = await self._view_without_worker(description, handle)
            # A closed run that never began is known without a worker.
            view, stale = found.view, not found.whole
        document = document_of(self._settings, description, view, stale=stale)
        document.status = closed_status(description, view.error)
        document.detail = None
        document.error = view.error or error_of(document.status, outcome.failure)
        document.approvals = []
        close_steps(document.steps, description.close_time)
        return document, view

    async def _kept_envelope(self, description: WorkflowExecutionDescription) -> ExecutionView | None:
        """Return what a cancelled execution left in the claim store; None where it left nothing, or it is away."""
        reference = (await description.memo()).get(ENVELOPE_MEMO)
        try:
            with claim_errors():
                return await fetch_envelope(self._client.data_converter, reference, ExecutionView)
        except (Unavailable, ApplicationError, ValidationError):
            return None

    async def _reruns(self, execution_id: str) -> list[str] | None:
        """Return the executions that run this one again; None where visibility does not tell."""
        if not _PLAIN_ID.fullmatch(execution_id):
            return []
        query = f"{RERUN_OF.name} = '{execution_id}'"
        try:
            async with self._calls.bounded():
                found = [item.id async for item in self._client.list_workflows(query, limit=MOST_RERUNS)]
        except (TemporalUnavailable, RPCError):
            return None
        # A run that was continued, and another attempt, have the id too.
        return list(dict.fromkeys(found))

    async def _view_without_worker(self, description: WorkflowExecutionDescription, handle: Handle) -> HistoryView:
        attributes = description.typed_search_attributes
        fallback = ExecutionView(
            workflow_id=attributes.get(DEFINITION_ID) or "",
            workflow_version=attributes.get(DEFINITION_VERSION),
            status=attributes.get(STATUS) or "running",
            detail=attributes.get(DETAIL) or None,
        )
        try:
            async with self._calls.bounded():
                return await view_from_history(handle, self._client.data_converter, fallback)
        except (TemporalUnavailable, RPCError):
            return HistoryView(fallback)


def _possible(execution_id: str) -> bool:
    return 0 < len(execution_id) <= LONGEST_EXECUTION_ID and execution_id.isprintable()


def not_found(execution_id: str) -> ExecutionNotFound:
    """Return the error for an id that nothing has."""
    return ExecutionNotFound(
        f"there is no execution '{execution_id[:LONGEST_EXECUTION_ID]}'",
        hint="GET /api/v1/executions/ lists the executions; closed ones are kept for the namespace's retention",
    )


def _view_in(failure: BaseException | None) -> ExecutionView | None:
    if not isinstance(failure, ApplicationError) or not failure.details:
        return None
    try:
        return ExecutionView.model_validate(failure.details[0])
    except ValidationError:
        return None
