"""Reads the steps of an execution beyond its root: pages of all scopes, one step, the graph with live states."""

from __future__ import annotations

import base64
import binascii

from temporalio.client import WorkflowExecutionDescription
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from api.execution_documents import CLOSED_STATUS
from api.execution_graph import graph_of
from api.executions import ExecutionReader
from api.pending_activities import merge_pending
from api.schemas.executions import StepRow
from api.schemas.steps import ExecutionGraph, StepDocument, StepPage
from api.times import text_of
from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import OrchestratorError, RequestError, StepNotFound, WorkflowNotFound
from orchestrator.execution.machine import new_state
from orchestrator.execution.messages_steps import StepDetail, StepsAnswer, StepsAsked
from orchestrator.execution.step_pages import steps_answer
from orchestrator.next_attempts import compiled_start
from orchestrator.run_beginnings import RunBeginning
from orchestrator.stores.definitions import DefinitionStore


class StepReader:
    """Reads steps.

    Args:
        executions: reads executions.
        definitions: for executions that were started by reference.
    """

    def __init__(self, executions: ExecutionReader, definitions: DefinitionStore) -> None:
        self._executions = executions
        self._definitions = definitions

    async def page(self, execution_id: str, limit: int, cursor: str | None) -> StepPage:
        """Return a page of steps; without a worker the root steps alone, `stale` unless nothing had begun.

        Raises:
            ExecutionNotFound: no such execution.
            RequestError: the cursor is none of ours.
        """
        asked = StepsAsked(after=_decoded(cursor), limit=limit)
        answer, description = await self._asked(execution_id, asked)
        if answer is None:
            rows = (await self._executions.read(execution_id)).steps
            return StepPage(items=[_document(row) for row in rows] if asked.after is None else [], stale=True)
        items = [_document(step) for step in answer.steps]
        await self._merge(items, description)
        return StepPage(items=items, next_cursor=_encoded(items[-1].path) if answer.more and items else None)

    async def step(self, execution_id: str, path: str) -> StepDocument:
        """Return one step with its output; without a worker a root step without it, `stale`.

        Raises:
            ExecutionNotFound: no such execution.
            StepNotFound: it has no step at this path, or its scope closed long ago.
        """
        answer, description = await self._asked(execution_id, StepsAsked(path=path))
        found: list[StepDocument]
        if answer is not None:
            found = [_document(step) for step in answer.steps]
            await self._merge(found, description)
        else:
            rows = (await self._executions.read(execution_id)).steps
            found = [_document(row, stale=True) for row in rows if row.path == path]
        if not found:
            raise StepNotFound(
                f"execution '{execution_id}' has no step at '{path[:200]}'",
                hint="GET /executions/{execution_id}/steps lists them; of inner scopes the latest 200 are kept",
            )
        return found[0]

    async def graph(self, execution_id: str) -> ExecutionGraph:
        """Return the definition's graph with the steps' states.

        Raises:
            ExecutionNotFound: no such execution.
            WorkflowNotFound: the definition is not known any more.
        """
        document = await self._executions.read(execution_id)
        answer, _ = await self._asked(execution_id, StepsAsked(tally=True))
        definition = await self._executions.definition(execution_id)
        if definition is None:
            if document.workflow_id is None:
                raise WorkflowNotFound(f"the workflow of execution '{execution_id}' is not known")
            stored = await self._definitions.get(document.workflow_id, document.workflow_version)
            definition = stored.definition
        tally = answer.tally if answer is not None else {row.step_id: {row.state: 1} for row in document.steps}
        if document.closed_at is not None:
            states = {row.step_id: {row.state: 1} for row in document.steps}
            tally = {**tally, **states}
        return graph_of(definition, execution_id, document.status, tally, stale=answer is None)

    async def _merge(self, rows: list[StepDocument], description: WorkflowExecutionDescription) -> None:
        await merge_pending(rows, description, self._executions.data_converter, all_scopes=True)

    async def _asked(
        self, execution_id: str, asked: StepsAsked
    ) -> tuple[StepsAnswer | None, WorkflowExecutionDescription]:
        description = await self._executions.describe(execution_id)
        handle = self._executions.handle(execution_id, description.run_id)
        answer = await self._executions.query_steps(handle, asked)
        if answer is not None or description.status not in CLOSED_STATUS:
            return answer, description
        try:
            beginning = await self._executions.unbegun(handle)
        except (OrchestratorError, RPCError, ApplicationError, ValueError):
            # What cannot be read is told as far as the document tells it.
            return None, description
        if beginning is None or beginning.start.definition is None:
            return None, description
        return _never_begun(await compiled_start(beginning.start), beginning, description, asked), description


def _never_begun(
    definition: CompiledDefinition,
    beginning: RunBeginning,
    description: WorkflowExecutionDescription,
    asked: StepsAsked,
) -> StepsAnswer:
    """Return what a worker would say of a run that ended before it began: what was open is cancelled."""
    start = beginning.start
    state = beginning.state or new_state(definition, start, description.id, start.version)
    for scope in state.scopes.values():
        for record in scope.steps.values():
            if record.state == "running":
                record.finished_at = record.finished_at or text_of(description.close_time)
            if record.state in ("pending", "running"):
                record.state = "cancelled"
    return steps_answer(definition, state, asked)


def _document(row: StepDetail | StepRow, *, stale: bool = False) -> StepDocument:
    return StepDocument.model_validate({**row.model_dump(), "stale": stale})


def _encoded(path: str) -> str:
    return base64.urlsafe_b64encode(path.encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return data.decode("utf-8")
    except (binascii.Error, ValueError) as error:
        message = "the cursor was not given by this list"
        hint = "pass next_cursor of the previous page unchanged, or leave it out to start again"
        raise RequestError(
            message, hint=hint, issues=[Issue("invalid-cursor", message, "/cursor", hint=hint)]
        ) from error
