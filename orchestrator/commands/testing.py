"""`orchestrator test`: definition tests for people, for programs, and for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from rich.markup import escape

from orchestrator.commands.definition_tests import TestResult, run_tests
from orchestrator.commands.outcome import FAILED, OK, USAGE, CommandError, out


def test(folder: Path, *, only: str, as_json: bool, junit: Path | None) -> int:
    """Run the tests below a folder and show how they went; gives the exit code."""
    results = run_tests(folder, only)
    if junit is not None:
        _write_junit(results, junit)
    if as_json:
        out.print_json(json.dumps(_document(results)))
    else:
        _show(results)
    return OK if all(result.passed for result in results) else FAILED


def _show(results: list[TestResult]) -> None:
    for result in results:
        mark = "[green]passed[/]" if result.passed else "[red]failed[/]"
        skipped = result.report.virtual_seconds if result.report is not None else 0.0
        virtual = f" [dim]{skipped:g} s skipped[/]" if skipped >= 1 else ""
        out.print(f"{mark} {escape(result.name)}{virtual}")
        for line in result.problems:
            out.print(f"       {escape(line)}")
        if not result.passed and result.report is not None and result.report.path:
            path = " → ".join(entry.path for entry in result.report.path[:30])
            out.print(f"       [dim]path: {escape(path)}[/]")
    failed = sum(not result.passed for result in results)
    seconds = sum(result.seconds for result in results)
    colour = "red" if failed else "green"
    out.print(f"[{colour}]{len(results) - failed} passed, {failed} failed[/] in {seconds:.2f} s")


def _document(results: list[TestResult]) -> dict[str, Any]:
    return {
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "tests": [
            {
                "name": result.name,
                "file": str(result.file),
                "passed": result.passed,
                "problems": result.problems,
                "seconds": round(result.seconds, 4),
                "report": result.report.model_dump(mode="json") if result.report is not None else None,
            }
            for result in results
        ],
    }


def _write_junit(results: list[TestResult], path: Path) -> None:
    failed = sum(not result.passed for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name="orchestrator test",
        tests=str(len(results)),
        failures=str(failed),
        errors="0",
        time=f"{sum(result.seconds for result in results):.4f}",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            name=_printable(result.name),
            classname=str(result.file),
            file=str(result.file),
            time=f"{result.seconds:.4f}",
        )
        if not result.passed:
            failure = ElementTree.SubElement(case, "failure", message=_printable(result.problems[0]))
            failure.text = _printable("\n".join(result.problems))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    try:
        ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise CommandError(f"cannot write {str(path)!r}: {error.strerror}", USAGE) from error


def _printable(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return "".join(
        sign if sign in "\n\t" or " " <= sign < "\ud800" or "\ue000" <= sign <= "\ufffd" else "?" for sign in text
    )
