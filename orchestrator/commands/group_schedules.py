"""`orchestrator schedules`: when executions start by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.commands.options import Api, Form, Most, Reason
from orchestrator.commands.outcome import out

app = typer.Typer(no_args_is_help=True, help="Start executions at certain times.")

ScheduleId = Annotated[str, typer.Argument(help="The schedule's id.")]
ScheduleFile = Annotated[Path, typer.Argument(help="A schedule (JSON); `-` reads standard input.")]


@app.command("list")
def list_schedules(
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow only.")] = None,
    limit: Most = 50,
    api: Api = None,
    output: Form = "table",
) -> None:
    """List schedules."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show_rows

    with connect(api) as client:
        found = client.iter_schedules(workflow_id=workflow, limit=min(limit, 200))
        show_rows(found, ("schedule_id", "workflow_id", "paused", "note", "next_runs"), output, limit)


@app.command()
def get(schedule_id: ScheduleId, api: Api = None, output: Form = "table") -> None:
    """Show a schedule with its next and latest runs."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.get_schedule(schedule_id), output)


@app.command()
def create(file: ScheduleFile, api: Api = None, output: Form = "table") -> None:
    """Create a schedule."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    schedule = read_json(file, "schedule")
    with connect(api) as client:
        show(client.create_schedule(schedule), output)


@app.command()
def update(schedule_id: ScheduleId, file: ScheduleFile, api: Api = None, output: Form = "table") -> None:
    """Replace all of a schedule."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    schedule = read_json(file, "schedule")
    with connect(api) as client:
        show(client.put_schedule(schedule_id, schedule), output)


@app.command()
def pause(schedule_id: ScheduleId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Start nothing until it is resumed."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.pause_schedule(schedule_id, reason), output)


@app.command()
def resume(schedule_id: ScheduleId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Start executions again."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.resume_schedule(schedule_id, reason), output)


@app.command()
def trigger(schedule_id: ScheduleId, api: Api = None, output: Form = "table") -> None:
    """Start a run now."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.trigger_schedule(schedule_id), output)


@app.command()
def delete(schedule_id: ScheduleId, api: Api = None) -> None:
    """Start nothing any more; executions that run go on."""
    from orchestrator.commands.address import connect

    with connect(api) as client:
        client.delete_schedule(schedule_id)
    out.print(f"{escape(schedule_id)} is deleted.")
