"""Reads the steps of an execution beyond its root: pages of all scopes, one step, the graph with live states."""

from __future__ import annotations

import base64
import binascii

from api.execution_graph import graph_of
from api.executions import ExecutionReader
from api.schemas.executions import StepRow
from api.schemas.steps import ExecutionGraph, StepDocument, StepPage
from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError, StepNotFound, WorkflowNotFound
from orchestrator.execution.messages_steps import StepDetail, StepsAnswer, StepsAsked
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
        """Return a page of steps; without a worker the root steps alone, `stale`.

        Raises:
            ExecutionNotFound: no such execution.
            RequestError: the cursor is none of ours.
        """
        asked = StepsAsked(after=_decoded(cursor), limit=limit)
        answer = await self._asked(execution_id, asked)
        if answer is None:
            rows = (await self._executions.read(execution_id)).steps
            return StepPage(items=[_document(row) for row in rows] if asked.after is None else [], stale=True)
        items = [_document(step) for step in answer.steps]
        return StepPage(items=items, next_cursor=_encoded(items[-1].path) if answer.more and items else None)

    async def step(self, execution_id: str, path: str) -> StepDocument:
        """Return one step with its output; without a worker a root step without it, `stale`.

        Raises:
            ExecutionNotFound: no such execution.
            StepNotFound: it has no step at this path, or its scope closed long ago.
        """
        answer = await self._asked(execution_id, StepsAsked(path=path))
        found: list[StepDocument]
        if answer is not None:
            found = [_document(step) for step in answer.steps]
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
        answer = await self._asked(execution_id, StepsAsked(tally=True))
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

    async def _asked(self, execution_id: str, asked: StepsAsked) -> StepsAnswer | None:
        description = await self._executions.describe(execution_id)
        return await self._executions.query_steps(self._executions.handle(execution_id, description.run_id), asked)


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
