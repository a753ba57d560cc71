"""Plays an execution to its end, or to where only somebody outside could bring it on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from orchestrator.execution.messages import StartExecution
from orchestrator.execution.views import status_of
from orchestrator.simulation.executing import SimulatedExecution
from orchestrator.simulation.library import Library, Pinned
from orchestrator.simulation.messages import Postman
from orchestrator.simulation.mocks import Scenario
from orchestrator.simulation.report import SimulationReport
from orchestrator.simulation.world import Bounds, World

EXECUTION_ID = "simulated"


def simulate(
    pinned: Pinned,
    workflow_id: str,
    value: Any,
    *,
    now: datetime,
    scenario: Scenario | None = None,
    library: Library | None = None,
    bounds: Bounds | None = None,
) -> SimulationReport:
    """Simulate one execution; nothing outside this process is touched, and no real time is waited for.

    Args:
        pinned: the definition.
        workflow_id: its id.
        value: the execution's input, which satisfies the definition's `input_schema`.
        now: when the execution starts.
        scenario: mocks and messages.
        library: what children run.
        bounds: how far it goes.
    """
    world = World(workflow_id, scenario or Scenario(), library or Library(), bounds or Bounds(), now)
    start = StartExecution(workflow_id=workflow_id, version=pinned.version, input=value)
    root = SimulatedExecution(world, pinned, start, EXECUTION_ID)
    postman = Postman(world, root)
    root.begin()
    postman.deliver()
    while not root.gone and not world.stopped() and world.step():
        postman.deliver()
    return _concluded(world, root)


def _concluded(world: World, root: SimulatedExecution) -> SimulationReport:
    report, view = world.conclude(), root.view()
    report.status, report.detail = status_of(root.machine.state), view.detail
    report.output, report.error, report.steps = view.output, view.error, view.steps
    report.ledger, report.approvals = view.ledger, view.approvals
    report.warnings += list(_warnings(world, root, report))
    return report


def _warnings(world: World, root: SimulatedExecution, report: SimulationReport) -> list[str]:
    found = [f"the mock of '{key}' was never used" for key in report.unused_mocks]
    if world.scenario.unmocked == "echo":
        found += [f"step '{path}' has no mock: it answered with what it was asked" for path in report.unmocked]
    for number, message in enumerate(report.messages):
        if message.at_seconds is None:
            why = f": {message.refused}" if message.refused else ""
            found.append(f"message {number} ({message.send}) was never taken{why}")
    if report.stopped is not None:
        found.append(f"the simulation was stopped before the end: it is bounded in {report.stopped}")
    elif not root.gone:
        waits = f" for {report.detail}" if report.detail else ""
        found.append(f"nothing more can happen: the execution is {report.status}{waits}")
    if root.definition.head.concurrency is not None:
        found.append("'concurrency' is not simulated: the execution has its place at once")
    return found
