"""Interpreter cases played by the simulator: their stubs become mocks, their messages a script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.definition import validate_definition
from orchestrator.execution.messages import ExecutionView
from orchestrator.simulation import Library, SimulationReport, read_scenario, simulate
from orchestrator.simulation.library import Pinned
from tests.support.cases import Case, Played, check
from tests.support.stubs import Stubs

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def play_simulated(case: Case) -> SimulationReport:
    """Simulate a case and compare the outcome with what its file expects."""
    report = simulated(case)
    played = _played(case, report)
    # What the messages to activities hold beside what they are asked is no part of a report.
    expect = {key: value for key, value in case.data["expect"].items() if key != "requests"}
    check(Case(case.name, {**case.data, "expect": expect}), played)
    return report


def simulated(case: Case) -> SimulationReport:
    """Simulate a case; a case names no step that there is not."""
    library = Library()
    for workflow_id, document in case.data.get("definitions", {}).items():
        found = validate_definition({"workflow_id": workflow_id, **document})
        assert found.valid
        for version in (None, 1):
            library.add((workflow_id, version), found.document, 1, found.sha256 or "")
    validation = validate_definition({"name": "case", **case.definition})
    assert validation.compiled is not None, validation.errors
    pinned = Pinned(validation.compiled, validation.document, None)
    mocks = {path: [_mock(entry) for entry in entries] for path, entries in case.data.get("stubs", {}).items()}
    scenario, issues = read_scenario(validation.compiled, library, mocks, _messages(case))
    assert issues == [], [issue.to_dict() for issue in issues]
    value = case.data.get("input")
    return simulate(pinned, case.name, {} if value is None else value, now=NOW, scenario=scenario, library=library)


def _mock(entry: Mapping[str, Any]) -> dict[str, Any]:
    names = {"result": "output", "sleep": "delay_seconds", "park": "park_seconds"}
    return {names.get(key, key): value for key, value in entry.items()}


def _messages(case: Case) -> list[dict[str, Any]]:
    found, waited = [], 0.0
    for message in case.data.get("messages", []):
        waited += message.get("after_seconds", 0)
        if "not_called_yet" in message:
            continue
        found.append({**_message(message), "after_seconds": float(waited)})
        waited = 0.0
    return found


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a case's message as a scenario's: updates and signals are sent alike."""
    argument = message.get("argument", "")
    found = {key: message[key] for key in ("once_called", "refused") if key in message}
    send = message.get("update") or message["send"]
    if send == "raise_budget":
        reason = argument.get("reason", "")
        return {**found, "send": send, "budget": {k: v for k, v in argument.items() if k != "reason"}, "reason": reason}
    fields = argument if isinstance(argument, dict) else {"reason": argument}
    return {**found, "send": "cancel" if send == "native_cancel" else send, **fields}


def _played(case: Case, report: SimulationReport) -> Played:
    """Return a report in the shape in which a run on Temporal is compared."""
    stubs = Stubs(case.data.get("stubs"))
    stubs.calls = Counter(report.call_counts)
    stubs.order = [call.path for call in report.calls]
    stubs.cancelled = list(report.cancelled_calls)
    stubs.most_in_flight = report.most_in_flight
    asked = {call.path: call.asked for call in report.calls}
    stubs.asked = lambda path: asked[path]  # type: ignore[method-assign]
    view = ExecutionView(
        workflow_id=case.name,
        status=report.status,
        output=report.output,
        error=report.error,
        steps=report.steps,
        ledger=report.ledger,
    )
    return Played(view, stubs)
