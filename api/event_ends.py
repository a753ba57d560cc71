"""Tells the end of executions that could not tell it themselves: terminated, timed out, or their worker was killed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from api.executions import ExecutionReader
from api.schemas.executions import ExecutionDocument
from orchestrator.execution.clock import iso
from orchestrator.execution.live_events import Event, end_event
from orchestrator.stores.event_streams import EventStreams

OWN_WORD = timedelta(seconds=2)
"""How long after its end an execution may still tell it itself."""


class EventEnds:
    """Looks at executions for event streams.

    Args:
        executions: reads them.
        streams: where ends are told.
    """

    def __init__(self, executions: ExecutionReader, streams: EventStreams) -> None:
        self._executions = executions
        self._streams = streams

    async def told(self, execution_id: str) -> bool:
        """Whether an execution is closed; sees to it that its stream says so.

        Raises:
            ExecutionNotFound: no such execution.
            Unavailable: Redis or Temporal is away.
        """
        found = await self._executions.describe(execution_id)
        if found.close_time is None:
            return False
        if datetime.now(UTC) - found.close_time < OWN_WORD:
            return True
        extent = await self._streams.extent(execution_id)
        if extent.ended_run != found.run_id:
            document = await self._executions.read(execution_id)
            end = end_event(document.status, document.error, document.closed_at, None, document.run_id)
            await self._streams.end(execution_id, _snapshot(document), end)
        return True

    async def snapshot(self, execution_id: str) -> Event:
        """Return what is known of the execution now.

        Raises:
            ExecutionNotFound: no such execution.
            Unavailable: Temporal is away.
        """
        return _snapshot(await self._executions.read(execution_id))


def _snapshot(document: ExecutionDocument) -> Event:
    # Epochs are known to the workflow alone; without a worker so are steps that had no activity.
    known = [step for step in document.steps if not document.stale or step.started_at is not None]
    steps = [{"path": step.path, "state": step.state, "attempt": step.attempts} for step in known]
    return {
        "type": "snapshot",
        "status": document.status,
        "detail": document.detail,
        "steps": steps,
        "truncated": len(known) < len(document.steps),
        "at": iso(datetime.now(UTC)),
        "seq": None,
        "run_id": document.run_id,
    }
