"""What a run began with: its history tells that also of runs about which no worker can be asked."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter

from orchestrator.execution.messages import StartExecution
from orchestrator.execution.state import ExecutionState
from orchestrator.workflows.carrying import load


@dataclass(frozen=True, slots=True)
class RunBeginning:
    """How a run was started, and the position that it went on from; None where it began anew."""

    start: StartExecution
    state: ExecutionState | None


async def beginning_in(event: HistoryEvent, converter: DataConverter) -> RunBeginning | None:
    """Return what a history's first event holds; None where it is no start of ours.

    Raises:
        ClaimMissing: it is large and lost.
        ValueError: it is no start that this version reads.
    """
    payloads = event.workflow_execution_started_event_attributes.input.payloads
    if not payloads:
        return None
    start, *chunks = await converter.decode(payloads, [StartExecution, *[str] * (len(payloads) - 1)])
    return RunBeginning(start, await asyncio.to_thread(load, chunks) if chunks else None)


async def unbegun(handle: WorkflowHandle[Any, Any], converter: DataConverter) -> RunBeginning | None:
    """Return what a run would have begun with; None where its workflow did begin.

    Temporal answers no query about a run that closed before its first workflow task completed: there is nothing that
    a worker could replay. So where it began is where it ended.

    Args:
        handle: of one closed run.
        converter: decodes the start's payloads.

    Raises:
        temporalio.service.RPCError: Temporal does not answer, or the history is gone.
        ClaimMissing: the start is large and lost.
        ValueError: it is no start that this version reads.
    """
    first: HistoryEvent | None = None
    async for event in handle.fetch_history_events():
        first = first or event
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
            return None
    return await beginning_in(first, converter) if first is not None else None
