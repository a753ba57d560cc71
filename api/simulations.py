"""Runs simulations beside the requests: one at a time in a thread, each for a few seconds at most."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from api.dependencies import Services
from api.schemas.simulations import SimulateRequest, SimulationDocument
from api.starts import check_input
from orchestrator.definition.issues import Issue
from orchestrator.execution.clock import parse_iso
from orchestrator.execution.errors import RequestError, WorkflowNotFound
from orchestrator.execution.errors_simulation import InvalidScenario, SimulatorBusy
from orchestrator.execution.messages import ErrorInfo
from orchestrator.simulation import Bounds, Library, SimulationReport, children_of, read_scenario, simulate
from orchestrator.simulation.library import Key, Pinned

LONGEST_SECONDS = 5.0
"""Of one simulation: expressions and schemas of anybody's definition compute in this process."""
PATIENCE_SECONDS = 10.0
MOST_DEFINITIONS = 100


class Simulator:
    """Simulates for the API."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(
        self, services: Services, pinned: Pinned, workflow_id: str, request: SimulateRequest
    ) -> SimulationDocument:
        """Return the report of a simulation.

        Raises:
            InvalidScenario: mocks or messages do not fit; with every issue.
            InvalidInput: the input does not satisfy the definition's `input_schema`.
            SimulatorBusy: others are simulated.
        """
        now = _moment(request.now)
        check_input(dict(pinned.document), request.input_data)
        library = await _library(services, pinned, request.mocks)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._turn.acquire()
        except TimeoutError:
            raise SimulatorBusy(
                "other simulations are under way", hint="try again in a few seconds", retry_after_seconds=5
            ) from None
        # A thread cannot be stopped: a caller who goes away meanwhile must not let the next one in.
        report = await asyncio.shield(self._played(pinned, workflow_id, request, library, now))
        return SimulationDocument(workflow_id=workflow_id, workflow_version=pinned.version, **dict(report))

    async def _played(
        self, pinned: Pinned, workflow_id: str, request: SimulateRequest, library: Library, now: datetime
    ) -> SimulationReport:
        try:
            return await asyncio.to_thread(_simulated, pinned, workflow_id, request, library, now)
        finally:
            self._turn.release()


def _simulated(
    pinned: Pinned, workflow_id: str, request: SimulateRequest, library: Library, now: datetime
) -> SimulationReport:
    compiled, given = pinned.compiled, request
    scenario, issues = read_scenario(compiled, library, given.mocks, given.messages, given.unmocked)
    if issues:
        count = len(issues)
        summary = issues[0].message if count == 1 else f"{count} errors; the first: {issues[0].message}"
        raise InvalidScenario(f"the scenario does not fit workflow '{workflow_id}': {summary}", issues=issues)
    end = time.monotonic() + LONGEST_SECONDS
    bounds = Bounds(expired=lambda: time.monotonic() > end)
    return simulate(pinned, workflow_id, given.input_data, now=now, scenario=scenario, library=library, bounds=bounds)


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        found = parse_iso(text)
    except (ValueError, OverflowError):
        found = None
    if found is None or not 1970 <= found.year <= 9000:
        message = f"'{text}' is no date and time between 1970 and 9000"
        raise RequestError(message, issues=[Issue("invalid-value", message, "/now", "send ISO 8601, UTC")])
    return found


async def _library(services: Services, pinned: Pinned, mocks: Mapping[str, Any]) -> Library:
    """Load what children may run: what `workflow` steps name, and the workflow tools in agents' mocked turns."""
    library, pending = Library(), [*children_of(pinned.compiled), *_tools(mocks)]
    while pending and len(library.stored) + len(library.refused) < MOST_DEFINITIONS:
        key = pending.pop()
        if key in library.stored or key in library.refused:
            continue
        try:
            stored = await services.definitions.get(*key)
        except WorkflowNotFound as error:
            library.refused[key] = ErrorInfo(type=error.code, message=error.message)
            continue
        if stored.deleted:
            message = f"workflow '{key[0]}' was deleted; it starts no more executions"
            library.refused[key] = ErrorInfo(type="workflow-deleted", message=message)
            continue
        compiled = await asyncio.to_thread(library.add, key, stored.definition, stored.version, stored.sha256)
        pending += children_of(compiled) if compiled is not None else []
    return library


def _tools(mocks: Mapping[str, Any]) -> list[Key]:
    found: list[Key] = []
    for entries in mocks.values():
        for entry in entries if isinstance(entries, list) else [entries]:
            turn = entry.get("turn") if isinstance(entry, dict) else None
            calls = turn.get("tool_calls") if isinstance(turn, dict) else None
            for call in calls if isinstance(calls, list) else []:
                if isinstance(call, dict) and isinstance(call.get("workflow_id"), str):
                    version = call.get("version")
                    found.append((call["workflow_id"], version if isinstance(version, int) else None))
    return found
