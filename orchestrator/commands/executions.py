"""`orchestrator run`, `status`, `pause`, `resume`, `cancel`: executions over REST."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.markup import escape

from orchestrator.commands.address import connect
from orchestrator.commands.definitions import load_definition
from orchestrator.commands.files import read_json
from orchestrator.commands.outcome import INTERRUPTED, OK, USAGE, CommandError, err, out
from orchestrator.commands.watching import coloured, exit_code, follow, print_outcome, step_table, ways_on
from orchestrator.sdk import OrchestratorClient
from orchestrator.sdk.documents import ExecutionDocument

MOST_WAYS = 20
"""Parked steps for which a way on is shown."""

Action = Literal["pause", "resume", "cancel", "terminate", "retry"]


def run(path: Path, input_path: Path | None, *, api: str | None, wait: bool, as_json: bool) -> int:
    """Store the definition in a file, execute it, and show how it goes; gives the exit code."""
    workflow_id, definition = load_definition(path)
    input_data = read_json(input_path, "input") if input_path else {}
    with connect(api) as client:
        stored = client.put_workflow(workflow_id, definition)
        document = client.execute_workflow(workflow_id, input_data)
        execution_id = document["execution_id"]
        if not as_json:
            out.print(f"{escape(workflow_id)} version {stored['version']} runs as [bold]{escape(execution_id)}[/].")
        if wait:
            return wait_for(client, execution_id, as_json=as_json)
    return show_document(document, as_json=as_json)


def execute(
    workflow_id: str,
    input_path: Path | None,
    starting: Mapping[str, Any],
    *,
    api: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Start an execution of a stored workflow, and show how it goes; gives the exit code."""
    input_data = read_json(input_path, "input") if input_path else {}
    with connect(api) as client:
        document = client.execute_workflow(workflow_id, input_data, **starting)
        execution_id = document["execution_id"]
        if not as_json:
            at = f"{escape(workflow_id)} version {document['workflow_version']}"
            out.print(f"{at} runs as [bold]{escape(execution_id)}[/].")
        if wait:
            return wait_for(client, execution_id, as_json=as_json)
    return show_document(document, as_json=as_json)


def read_tags(given: Sequence[str]) -> dict[str, str]:
    """Read tags as they are given on the command line.

    Raises:
        CommandError: one is not `key=value`.
    """
    pairs = [tag.partition("=") for tag in given]
    wrong = [key for key, equals, _ in pairs if not (key and equals)]
    if wrong:
        raise CommandError(f"a tag is key=value, not {wrong[0]!r}", USAGE)
    return {key: value for key, _, value in pairs}


def show_document(document: ExecutionDocument, *, as_json: bool) -> int:
    """Print what has just started; gives the exit code."""
    if as_json:
        _print_json(document)
    else:
        out.print(f"See how it goes with: orchestrator status {escape(document['execution_id'])}")
    return OK


def wait_for(client: OrchestratorClient, execution_id: str, *, as_json: bool) -> int:
    """Show an execution until its end; gives the exit code."""
    try:
        document = follow(client, execution_id, err if as_json else out)
    except KeyboardInterrupt:
        err.print(f"Stopped watching; the execution goes on. See it with: orchestrator status {escape(execution_id)}")
        return INTERRUPTED
    if as_json:
        _print_json(document)
        return exit_code(document)
    return print_outcome(document, out)


def status(execution_id: str, *, api: str | None, as_json: bool) -> int:
    """Show one execution; gives 1 when it ended other than completed."""
    with connect(api) as client:
        document = client.get_execution(execution_id)
        return show_whole(client, document, as_json=as_json)


def show_whole(client: OrchestratorClient, document: ExecutionDocument, *, as_json: bool) -> int:
    """Print an execution, its steps and its outcome; gives 1 when it ended other than completed, or has not ended."""
    if as_json:
        _print_json(document)
    else:
        out.print(step_table(document))
        for line in ways_on(document, _parked(client, document)):
            out.print(escape(line))
        if document["status"] == "completed" or document.get("error"):
            print_outcome(document, out)
    return exit_code(document)


def _parked(client: OrchestratorClient, document: ExecutionDocument) -> list[str]:
    """Return some of the steps that wait for an operator, those inside blocks too."""
    if document.get("detail") != "operator" or document["status"] != "awaiting":
        return []
    # Root steps are in the document, also where no worker tells of others.
    if root := [step["path"] for step in document["steps"] if step["state"] == "running" and step.get("error")]:
        return root[:MOST_WAYS]
    steps = client.iter_steps(document["execution_id"])
    return list(islice((step["path"] for step in steps if step.get("awaits") == "operator"), MOST_WAYS))


def act(
    action: Action,
    execution_id: str,
    *,
    api: str | None,
    reason: str | None,
    as_json: bool,
) -> int:
    """Pause, resume, cancel, terminate or retry an execution; the request is accepted, its effect follows."""
    with connect(api) as client:
        perform = {
            "pause": client.pause_execution,
            "resume": client.resume_execution,
            "cancel": client.cancel_execution,
            "terminate": client.terminate_execution,
            "retry": client.retry_execution,
        }[action]
        document = perform(execution_id, reason)
    if as_json:
        _print_json(document)
        return OK
    state = f"; it is {coloured(document['status'])} now" if document.get("status") else ""
    out.print(f"{action} of {escape(execution_id)} is accepted{state}.")
    return OK


def _print_json(document: Mapping[str, Any]) -> None:
    out.print_json(json.dumps(dict(document)))
