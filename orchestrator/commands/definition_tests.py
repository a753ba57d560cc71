"""Reads definition tests from files and runs them in the simulator."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.commands.expectations import differences, expect_issues
from orchestrator.commands.files import read_json
from orchestrator.commands.outcome import USAGE, CommandError
from orchestrator.definition import Issue, Validation, validate_definition
from orchestrator.definition.schemas import value_issues
from orchestrator.execution.clock import parse_iso
from orchestrator.expressions import suggest
from orchestrator.simulation import Bounds, Library, SimulationReport, read_scenario, simulate
from orchestrator.simulation.library import Pinned

SUFFIX = ".test.json"
NOW = "2026-01-01T00:00:00Z"
"""When executions start in tests that do not say: every run of a test is the same."""
LONGEST_SECONDS = 60.0
FIELDS = ("name", "workflow", "input", "input_file", "mocks", "messages", "unmocked", "now", "expect")


@dataclass
class TestResult:
    """How one test went."""

    name: str
    file: Path
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    report: SimulationReport | None = None

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.problems


class Definitions:
    """The workflow definitions below a folder, which tests and children name by id.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._read: dict[Path, Validation] = {}
        self._by_id: dict[str, Validation] = {}
        for path in sorted(folder.rglob("*.json")):
            if not path.name.endswith(SUFFIX):
                self._add(path)

    def _add(self, path: Path) -> None:
        try:
            document = read_json(path, "definition")
        except CommandError:
            # A test that names this file tells; others need not care.
            return
        if isinstance(document, dict) and isinstance(document.get("steps"), list):
            found = validate_definition(document)
            if found.workflow_id is not None:
                self._by_id.setdefault(found.workflow_id, found)

    def library(self) -> Library:
        """Return what children can run; a version that a step names is taken to be the file's."""
        library = Library()
        for workflow_id, found in self._by_id.items():
            if found.compiled is not None:
                library.stored[workflow_id, None] = Pinned(found.compiled, found.document, None)
        for found in list(self._by_id.values()):
            for step in found.compiled.steps.values() if found.compiled is not None else ():
                wanted = getattr(step.model, "workflow_id", None), getattr(step.model, "version", None)
                pinned = library.stored.get((wanted[0], None)) if wanted[0] is not None else None
                if pinned is not None:
                    library.stored[str(wanted[0]), wanted[1]] = pinned
        return library

    def find(self, name: str, beside: Path) -> Validation:
        """Return the definition that a test names, by id or by a path from its own folder.

        Raises:
            CommandError: there is none.
        """
        if not name.endswith(".json"):
            found = self._by_id.get(name)
            if found is None:
                near = suggest(name, self._by_id)
                hint = f"did you mean '{near}'?" if near else "name a file beside the test, or a workflow_id"
                raise CommandError(f"there is no workflow '{name}' below the folder; {hint}")
            return found
        path = (beside.parent / name).resolve()
        if path not in self._read:
            self._read[path] = validate_definition(read_json(path, "definition"))
        return self._read[path]


def test_files(folder: Path) -> list[Path]:
    """Return the test files at a path, by name.

    Raises:
        CommandError: there are none.
    """
    if not folder.exists():
        raise CommandError(f"there is no folder {str(folder)!r}; give the path of your tests", USAGE)
    found = sorted(folder.rglob(f"*{SUFFIX}")) if folder.is_dir() else [folder]
    if not found:
        raise CommandError(f"no file below {str(folder)!r} is named *{SUFFIX}", USAGE)
    return found


def run_tests(folder: Path, only: str = "") -> list[TestResult]:
    """Run every test below a folder, or of one file.

    Args:
        folder: a folder or a test file.
        only: a part of the names of the tests that are run.

    Raises:
        CommandError: there is no test.
    """
    files = test_files(folder)
    definitions = Definitions(folder if folder.is_dir() else folder.parent)
    results: list[TestResult] = []
    for path in files:
        results += _run_file(path, definitions, only)
    if not results:
        raise CommandError(f"no test below {str(folder)!r} has {only!r} in its name", USAGE)
    return results


def _run_file(path: Path, definitions: Definitions, only: str) -> list[TestResult]:
    base = path.name.removesuffix(SUFFIX)
    try:
        content = read_json(path, "test")
    except CommandError as error:
        return [TestResult(base, path, [str(error)])]
    results = []
    many = isinstance(content, list)
    for number, test in enumerate(content if many else [content]):
        given = test.get("name") if isinstance(test, dict) else None
        own = str(given) if given else str(number) if many else ""
        name = f"{base}: {own}" if own else base
        if only in name:
            results.append(_run(TestResult(name, path), test, definitions))
    return results


def _run(result: TestResult, test: Any, definitions: Definitions) -> TestResult:
    began = time.perf_counter()
    try:
        result.problems = _shape_problems(test) or _play(result, test, definitions)
    except CommandError as error:
        result.problems = [str(error), *error.details]
    result.seconds = time.perf_counter() - began
    return result


def _shape_problems(test: Any) -> list[str]:
    if not isinstance(test, dict):
        return ["a test is an object, or a list of them"]
    issues = expect_issues(test.get("expect", {}), "/expect")
    for key in test:
        if key not in FIELDS:
            near = suggest(key, FIELDS)
            hint = f"did you mean '{near}'?" if near else f"known are {', '.join(FIELDS)}"
            issues.append(Issue("unknown-field", f"unknown field '{key}'", f"/{key}", hint))
    if not isinstance(test.get("workflow"), str):
        issues.append(Issue("missing-field", "'workflow' is a path or a workflow_id", "/workflow"))
    return _lines(issues)


def _play(result: TestResult, test: Mapping[str, Any], definitions: Definitions) -> list[str]:
    found = definitions.find(test["workflow"], result.file)
    if found.compiled is None:
        return [f"workflow '{test['workflow']}' is not valid", *_lines(found.errors)]
    value, library = _input(test, result.file), definitions.library()
    schema = found.document.get("input_schema")
    issues = value_issues(schema, value, "/input") if schema is not None else []
    mocks, messages = test.get("mocks", {}), test.get("messages", [])
    scenario, faults = read_scenario(found.compiled, library, mocks, messages, test.get("unmocked", "echo"))
    if issues or faults:
        return _lines([*issues, *faults])
    end = time.monotonic() + LONGEST_SECONDS
    result.report = simulate(
        Pinned(found.compiled, found.document, None),
        found.workflow_id or "",
        value,
        now=_moment(test.get("now", NOW)),
        scenario=scenario,
        library=library,
        bounds=Bounds(events=100_000, executions=1_000, expired=lambda: time.monotonic() > end),
    )
    return differences(result.report, test.get("expect", {}))


def _moment(text: Any) -> Any:
    try:
        return parse_iso(text)
    except (TypeError, ValueError):
        raise CommandError(f"'now' is {text!r}; write an ISO 8601 date and time") from None


def _input(test: Mapping[str, Any], file: Path) -> Any:
    if "input_file" in test:
        return read_json(file.parent / str(test["input_file"]), "input")
    return test.get("input", {})


def _lines(issues: list[Issue]) -> list[str]:
    return [f"{issue.pointer or '/'}: {issue.message}" + (f" ({issue.hint})" if issue.hint else "") for issue in issues]
