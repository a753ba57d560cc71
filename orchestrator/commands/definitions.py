"""`orchestrator validate`: every error of a definition at once, without a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.markup import escape

from orchestrator.commands.files import read_json
from orchestrator.commands.outcome import FAILED, OK, CommandError, err, out
from orchestrator.definition import Issue, Validation, validate_definition


def validate(path: Path, *, as_json: bool) -> int:
    """Check the definition in a file and print what is wrong with it; gives the exit code."""
    validation = validate_definition(read_json(path, "definition"))
    if as_json:
        out.print_json(json.dumps(_document(validation)))
        return FAILED if validation.errors else OK
    for issue in validation.warnings:
        err.print(describe(issue, "[yellow]warning[/]"))
    for issue in validation.errors:
        err.print(describe(issue, "[red]error[/]"))
    if validation.errors:
        count = len(validation.errors)
        err.print(f"{escape(str(path))} is not valid: {count} error{'s' if count > 1 else ''}.")
        return FAILED
    out.print(f"{escape(str(path))} is valid: workflow [bold]{escape(validation.workflow_id or '')}[/].")
    return OK


def load_definition(path: Path) -> tuple[str, dict[str, Any]]:
    """The id and the document of the definition in a file.

    Raises:
        CommandError: it cannot be read or breaks a rule; every error is told.
    """
    document = read_json(path, "definition")
    validation = validate_definition(document)
    if validation.errors:
        details = tuple(_plain(issue) for issue in validation.errors)
        raise CommandError(f"{str(path)!r} is not a valid definition; `orchestrator validate` shows where", 1, details)
    return str(validation.workflow_id), document


def describe(issue: Issue, severity: str) -> str:
    """An issue for people: its place, what is wrong, a caret under the expression's column, the way out."""
    return f"{severity} at [bold]{escape(issue.pointer or '/')}[/]: {escape(issue.text)}"


def _plain(issue: Issue) -> str:
    return f"{issue.pointer or '/'}: {issue.message}" + (f" ({issue.hint})" if issue.hint else "")


def _document(validation: Validation) -> dict[str, Any]:
    return {
        "valid": not validation.errors,
        "workflow_id": validation.workflow_id,
        "sha256": validation.sha256,
        "errors": [issue.to_dict() for issue in validation.errors],
        "warnings": [issue.to_dict() for issue in validation.warnings],
    }
