"""Next attempts of executions that ended: finds out where they ended, and says what goes on from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.messages import PositionPart, StartExecution
from orchestrator.execution.recovery import retried
from orchestrator.execution.state import ExecutionState
from orchestrator.run_beginnings import RunBeginning
from orchestrator.workflows.carrying import load
from orchestrator.workflows.definition_cache import compiled
from orchestrator.workflows.search_attributes import TAGS

REQUEST_SHA256 = "request_sha256"
"""Memo of a start with an idempotency key: says which request made the execution."""


@dataclass(frozen=True, slots=True)
class EndedPosition:
    """What an execution left: how it was started, and where it ended; None before its first step."""

    start: StartExecution
    state: ExecutionState | None


async def ended_position(
    ask: Callable[[int], Awaitable[PositionPart]], look: Callable[[], Awaitable[RunBeginning | None]]
) -> EndedPosition | None:
    """Return where a closed run ended; None where nothing is known of it.

    Args:
        ask: asks a worker for a part of what the query `position` tells.
        look: looks in the history for what the run would have begun with, as `unbegun` does.

    Raises:
        temporalio.service.RPCError: Temporal refused the question, and the run did begin.
    """
    try:
        return await _told_position(ask)
    except RPCError as error:
        if error.status != RPCStatusCode.FAILED_PRECONDITION:
            raise
        beginning = await look()
        if beginning is None:
            raise
    return EndedPosition(beginning.start, beginning.state)


async def _told_position(ask: Callable[[int], Awaitable[PositionPart]]) -> EndedPosition | None:
    first = await ask(0)
    if first.start is None:
        return None
    if not first.parts:
        return EndedPosition(first.start, None)
    chunks = [first.state]
    for number in range(1, first.parts):
        chunks.append((await ask(number)).state)
    return EndedPosition(first.start, await asyncio.to_thread(load, chunks))


async def next_attempt(ended: EndedPosition, run_id: str | None) -> EndedPosition:
    """Return what the next attempt is started with.

    Args:
        ended: how the attempt before ended.
        run_id: its run.
    """
    start, state = ended.start, ended.state
    if state is not None:
        definition = await compiled_start(start)
        state = await asyncio.to_thread(retried, definition, state, run_id)
        lineage, start.input = state.lineage, state.input
    else:
        lineage = start.lineage.model_copy(update={"retry_of": run_id, "attempt": start.lineage.attempt + 1})
    start.lineage, start.holds, start.deadline_at, start.slot = lineage, {}, None, None
    return EndedPosition(start, state)


async def compiled_start(start: StartExecution) -> CompiledDefinition:
    """Return the definition that a start is pinned to."""
    definition = start.definition or {}
    return await asyncio.to_thread(lambda: compiled(definition, start.sha256 or ""))


def tags_of_run(description: WorkflowExecutionDescription) -> dict[str, str]:
    """Return the tags that the next run shall have too."""
    return dict(tag.partition("=")[::2] for tag in description.typed_search_attributes.get(TAGS) or ())


def priority_of_run(description: WorkflowExecutionDescription) -> int | None:
    """Return the priority that the next run shall have too; None: the server's own."""
    return description.raw_description.workflow_execution_info.priority.priority_key or None


async def kept_memo(description: WorkflowExecutionDescription, reason: str) -> dict[str, Any]:
    """Return the next attempt's memo: what says which start made the execution, since it may be sent again."""
    memo = await description.memo()
    kept = {REQUEST_SHA256: memo[REQUEST_SHA256]} if REQUEST_SHA256 in memo else {}
    return kept | reason_memo(reason)


def reason_memo(reason: str) -> dict[str, Any]:
    """Return the memo that keeps why an operator acted."""
    return {"reason": reason} if reason else {}
