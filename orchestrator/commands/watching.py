"""Shows an execution: a live table of its steps, its result, where to look further."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from shlex import quote

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from orchestrator.commands.outcome import FAILED, OK, UNREACHABLE
from orchestrator.sdk import CLOSED_STATUSES, ApiProblem, OrchestratorClient, ServiceUnreachable
from orchestrator.sdk.documents import ExecutionDocument, StepRow

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 30.0

COLOURS = {
    "completed": "green",
    "running": "cyan",
    "failed": "red",
    "timed_out": "red",
    "cancelled": "yellow",
    "terminated": "yellow",
    "paused": "magenta",
    "awaiting": "magenta",
}


class Interrupted(Exception):
    """Whoever watched went away; the execution goes on."""


def follow(
    client: OrchestratorClient, execution_id: str, console: Console, stop: threading.Event | None = None
) -> ExecutionDocument:
    """Show the execution's steps until it is closed; gives its last document.

    Args:
        client: of the API that runs it.
        execution_id: which one.
        console: where the table lives; one that is no terminal gets its last state only.
        stop: ends the watching early.

    Raises:
        Interrupted: `stop` was set.
        ServiceUnreachable: the API was away for over 30 s; shorter absences are waited out.
    """
    stop = stop or threading.Event()
    document = client.get_execution(execution_id)
    with Live(step_table(document), console=console, refresh_per_second=8) as live:
        while document["status"] not in CLOSED_STATUSES:
            if stop.wait(POLL_SECONDS):
                raise Interrupted
            document = _read_patiently(client, execution_id, stop)
            live.update(step_table(document))
    if not console.is_terminal:
        console.line()
    return document


def _read_patiently(client: OrchestratorClient, execution_id: str, stop: threading.Event) -> ExecutionDocument:
    """Read the execution; a service that restarts meanwhile is waited for."""
    waited = 0.0
    while True:
        try:
            return client.get_execution(execution_id)
        except (ApiProblem, ServiceUnreachable) as error:
            if (isinstance(error, ApiProblem) and error.status != 503) or waited >= PATIENCE_SECONDS:
                raise
        waited += 1
        if stop.wait(1):
            raise Interrupted


def step_table(document: ExecutionDocument) -> RenderableType:
    """The execution and its steps, one row each."""
    table = Table(title=f"{document['workflow_id']} · {document['execution_id']}", title_justify="left")
    for column in ("step", "state", "attempts", "seconds", "note"):
        table.add_column(column, justify="right" if column in {"attempts", "seconds"} else "left")
    for step in document.get("steps") or ():
        table.add_row(
            escape(step.get("name") or step["path"]),
            coloured(step["state"]),
            str(step.get("attempts") or ""),
            _seconds(step.get("started_at"), step.get("finished_at")),
            escape(_note(step)),
        )
    detail = f" ({document['detail']})" if document.get("detail") else ""
    return Group(table, f"execution: {coloured(document['status'])}{escape(detail)}")


def _note(step: StepRow) -> str:
    """Why a step failed, or why its last attempt did and when there will be another."""
    if error := step.get("error"):
        return str(error["message"])
    failure = step.get("last_failure")
    if failure is None:
        return ""
    at = step.get("next_attempt_at")
    return f"{f'again at {at[11:19]} UTC' if at else 'tried again'}: {failure['message']}"


def ways_on(document: ExecutionDocument, parked: Iterable[str]) -> Iterator[str]:
    """Yield a line for each thing that the execution waits for people to do, with the command that does it.

    Args:
        document: of the execution.
        parked: paths of the steps that wait for an operator.
    """
    command, execution_id = "orchestrator executions", document["execution_id"]
    for approval in document.get("approvals") or ():
        yield f"waits for a decision: {command} approve {execution_id} {quote(approval['path'])} (or --reject)"
    for path in parked:
        yield f"waits for a repair: {command} retry-step|skip-step {execution_id} {quote(path)}"
    for name in (document.get("signals") or {}).get("awaited") or ():
        yield f"waits for a message: {command} signal {execution_id} {quote(name)} --payload FILE"


def coloured(status: str) -> str:
    """The status as rich markup."""
    colour = COLOURS.get(status)
    return f"[{colour}]{status}[/]" if colour else escape(status)


def print_outcome(document: ExecutionDocument, console: Console) -> int:
    """Print the result as JSON, or the error as a sentence; gives the exit code."""
    if document["status"] == "completed":
        console.print("[bold]result[/]")
        console.print_json(json.dumps(document.get("output")))
        return OK
    error = document.get("error")
    where = f" at step {error['step']!r}" if error and error.get("step") else ""
    reason = f": {error.get('type')}: {error.get('message')}" if error else ""
    console.print(f"The execution ended as {coloured(document['status'])}{escape(where + reason)}")
    return FAILED


def exit_code(document: ExecutionDocument) -> int:
    """0 for an execution that completed or is still open, 1 for one that ended otherwise."""
    closed_badly = document["status"] in CLOSED_STATUSES and document["status"] != "completed"
    return FAILED if closed_badly else OK


def wait_ready(client: OrchestratorClient, seconds: float) -> int:
    """Wait until the API says that executions can run; gives an exit code."""
    pause = threading.Event()
    for _ in range(max(1, int(seconds / POLL_SECONDS))):
        if client.is_ready():
            return OK
        pause.wait(POLL_SECONDS)
    return UNREACHABLE


def _seconds(started: str | None, finished: str | None) -> str:
    if not started:
        return ""
    begin = datetime.fromisoformat(started)
    end = datetime.fromisoformat(finished) if finished else datetime.now(begin.tzinfo)
    return f"{(end - begin).total_seconds():.1f}"
