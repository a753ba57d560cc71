"""Simulates small definitions in one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.definition import Issue, validate_definition
from orchestrator.simulation import Bounds, Library, SimulationReport, read_scenario, simulate
from orchestrator.simulation.library import Pinned

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pinned(definition: Mapping[str, Any]) -> Pinned:
    """Return a valid definition, ready to run."""
    found = validate_definition({"name": "simulated", **definition})
    assert found.compiled is not None, [issue.to_dict() for issue in found.errors]
    return Pinned(found.compiled, found.document, None)


def library(definitions: Mapping[str, Any]) -> Library:
    """Return definitions that children can run."""
    found = Library()
    for workflow_id, document in definitions.items():
        validation = validate_definition({"workflow_id": workflow_id, **document})
        assert validation.valid
        found.add((workflow_id, None), validation.document, 1, validation.sha256 or "")
    return found


def played(
    *steps: Mapping[str, Any],
    mocks: Mapping[str, Any] | None = None,
    messages: list[Any] | None = None,
    value: Any = None,
    children: Mapping[str, Any] | None = None,
    unmocked: str = "echo",
    bounds: Bounds | None = None,
    **head: Any,
) -> SimulationReport:
    """Simulate a definition of these steps."""
    definition, stored = pinned({"steps": list(steps), **head}), library(children or {})
    scenario, issues = read_scenario(definition.compiled, stored, mocks or {}, messages or [], unmocked)
    assert issues == [], [issue.to_dict() for issue in issues]
    start = {} if value is None else value
    return simulate(definition, "simulated", start, now=NOW, scenario=scenario, library=stored, bounds=bounds)


def issues_of(definition: Mapping[str, Any], mocks: Any, messages: Any = (), **more: Any) -> list[Issue]:
    """Return what is wrong with a scenario."""
    stored = library(more.pop("children", {}))
    return read_scenario(pinned(definition).compiled, stored, mocks, messages, **more)[1]


def expired_after(asked: int) -> Callable[[], bool]:
    """Return a clock whose time is over once it was asked so often."""
    times = iter(range(asked))
    return lambda: next(times, None) is None
