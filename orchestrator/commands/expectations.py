"""Compares a simulation's report with what a definition test expects of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.definition.issues import Issue
from orchestrator.expressions import suggest
from orchestrator.simulation import SimulationReport
from orchestrator.simulation.scenario_check import without_positions

SHOWN = 400
"""Characters of a value in a difference."""


def differences(report: SimulationReport, expect: Mapping[str, Any]) -> list[str]:
    """Return every way in which a report is not what is expected; a message that nobody took is one too."""
    found = [line for key, wanted in expect.items() for line in _CHECKS[key](report, wanted)]
    if "status" not in expect:
        found = [*_same("status", report.status, "completed"), *found]
    for number, message in enumerate(report.messages):
        if message.at_seconds is None:
            why = f": {message.refused}" if message.refused else ""
            found.append(f"messages[{number}] ({message.send}) was never taken{why}")
    if report.stopped is not None:
        found.append(f"the simulation was stopped before the end: it is bounded in {report.stopped}")
    if found and report.error is not None and "error" not in expect:
        found.append(f"the execution's error: {report.error.type}: {report.error.message}")
    return found


def expect_issues(expect: Any, pointer: str) -> list[Issue]:
    """Return what is wrong with the `expect` of a test."""
    if not isinstance(expect, dict):
        return [Issue("wrong-type", "'expect' is an object", pointer)]
    found = []
    for key, value in expect.items():
        if key not in _CHECKS:
            near = suggest(key, _CHECKS)
            hint = f"did you mean '{near}'?" if near else f"known are {', '.join(_CHECKS)}"
            found.append(Issue("unknown-field", f"unknown field '{key}'", f"{pointer}/{key}", hint))
        elif key in _KINDS and not isinstance(value, _KINDS[key]):
            kind = "an object" if _KINDS[key] is dict else "a list" if _KINDS[key] is list else "a number"
            found.append(Issue("wrong-type", f"'{key}' is {kind}", f"{pointer}/{key}"))
    return found


def _same(what: str, found: Any, wanted: Any) -> list[str]:
    return [] if found == wanted else [f"{what}: expected {_shown(wanted)}, got {_shown(found)}"]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _error(report: SimulationReport, wanted: Mapping[str, Any]) -> list[str]:
    if report.error is None:
        return [f"error: expected {_shown(wanted)}, got none"]
    error = report.error.model_dump(mode="json")
    found: list[str] = []
    for key, value in wanted.items():
        if key == "message_has":
            if str(value) not in report.error.message:
                found.append(f"error.message: expected it to hold {_shown(value)}, got {_shown(report.error.message)}")
        elif key == "cause_type":
            found += _same("error.cause.type", report.error.cause.type if report.error.cause else None, value)
        else:
            found += _same(f"error.{key}", error.get(key), value)
    return found


def _part(what: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in wanted.items():
        near = suggest(key, found) or _same_step(key, found) if key not in found else None
        meant = f" (there is no '{key}'; did you mean '{near}'?)" if near else ""
        lines += [f"{line}{meant}" for line in _same(f"{what}.{key}", found.get(key), value)]
    return lines


def _same_step(path: str, found: Iterable[str]) -> str | None:
    """Return another path of the step to which a path leads."""
    return next((other for other in found if _step_id(other) == _step_id(path)), None)


def _step_id(path: str) -> str:
    return without_positions(path).rpartition("/")[2].rpartition(".")[2]


def _attempts(report: SimulationReport, wanted: Mapping[str, int]) -> list[str]:
    """Compare attempts by path; the steps of closed items and iterations are known by their calls alone."""
    found: dict[str, int] = {}
    for call in report.calls:
        found[call.path] = max(call.attempt, found.get(call.path, 0))
    return _part("attempts", found | {step.path: step.attempts for step in report.steps}, wanted)


def _calls(report: SimulationReport, wanted: Mapping[str, int]) -> list[str]:
    """Compare how often steps were called, by the names that mocks have: the path, without positions, the id."""
    found: dict[str, int] = {}
    for path, count in report.call_counts.items():
        names = (path, without_positions(path), _step_id(path))
        name = next((name for name in names if name in wanted), path)
        found[name] = found.get(name, 0) + count
    return _same("calls", found, wanted)


def _states(report: SimulationReport, wanted: Mapping[str, str]) -> list[str]:
    """Compare states by path: those of inner steps too, as far as they began or were skipped."""
    found = {item.path: "skipped" for item in report.skipped}
    found |= {entry.path: entry.state for entry in report.path}
    found |= {step.path: step.state for step in report.steps}
    return _part("states", found, wanted)


def _order(report: SimulationReport, wanted: list[list[str]]) -> list[str]:
    called = [call.path for call in report.calls]
    found = []
    for before, after in wanted:
        if before not in called or after not in called or called.index(before) > called.index(after):
            found.append(f"order: expected '{before}' to be called before '{after}', got {_shown(called)}")
    return found


def _ledger(report: SimulationReport, wanted: Mapping[str, Any]) -> list[str]:
    return _part("ledger", report.ledger.total.model_dump() if report.ledger is not None else {}, wanted)


def _at_most(what: str, found: float, wanted: float) -> list[str]:
    return [] if found <= wanted else [f"{what}: expected at most {wanted:g}, got {found:g}"]


_CHECKS: dict[str, Callable[[SimulationReport, Any], list[str]]] = {
    "status": lambda report, wanted: _same("status", report.status, wanted),
    "output": lambda report, wanted: _same("output", report.output, wanted),
    "error": _error,
    "states": _states,
    "path": lambda report, wanted: _same("path", [entry.path for entry in report.path], wanted),
    "skipped": lambda report, wanted: _same("skipped", sorted(item.path for item in report.skipped), sorted(wanted)),
    "calls": _calls,
    "attempts": _attempts,
    "order": _order,
    "asked": lambda report, wanted: _part("asked", {call.path: call.asked for call in report.calls}, wanted),
    "cancelled": lambda report, wanted: _same("cancelled", sorted(report.cancelled_calls), sorted(wanted)),
    "unmocked": lambda report, wanted: _same("unmocked", sorted(report.unmocked), sorted(wanted)),
    "most_in_flight": lambda report, wanted: _at_most("most_in_flight", report.most_in_flight, wanted),
    "virtual_seconds": lambda report, wanted: _at_most("virtual_seconds", report.virtual_seconds, wanted),
    "ledger": _ledger,
}
_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("error", "states", "calls", "attempts", "asked", "ledger"), dict),
    **dict.fromkeys(("path", "skipped", "order", "cancelled", "unmocked"), list),
    **dict.fromkeys(("most_in_flight", "virtual_seconds"), (int, float)),
}
