"""`orchestrator schedules`: when executions start by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group
from orchestrator.commands.options import Most, Reason
from orchestrator.sdk import OrchestratorClient

group = Group("Start executions at certain times.")

ScheduleId = Annotated[str, typer.Argument(help="The schedule's id.")]
ScheduleFile = Annotated[Path, typer.Argument(help="A schedule (JSON); `-` reads standard input.")]
Revision = Annotated[
    int | None, typer.Option("--expected-version", min=0, help="Refuse unless this is the schedule's revision.")
]
Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]


@group.rows("schedule_id", "workflow_id", "paused", "note", "next_runs", name="list")
def list_schedules(
    client: OrchestratorClient,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow only.")] = None,
    limit: Most = 50,
) -> Any:
    """List schedules."""
    return client.iter_schedules(workflow_id=workflow, limit=limit)


@group.shows()
def get(client: OrchestratorClient, schedule_id: ScheduleId) -> Any:
    """Show a schedule with its next and latest runs."""
    return client.get_schedule(schedule_id)


@group.shows()
def create(client: OrchestratorClient, file: ScheduleFile) -> Any:
    """Create a schedule."""
    return client.create_schedule(read_json(file, "schedule"))


@group.shows()
def update(
    client: OrchestratorClient, schedule_id: ScheduleId, file: ScheduleFile, expected_version: Revision = None
) -> Any:
    """Replace all of a schedule."""
    return client.put_schedule(schedule_id, read_json(file, "schedule"), expected_version=expected_version)


@group.shows()
def pause(client: OrchestratorClient, schedule_id: ScheduleId, reason: Reason = None) -> Any:
    """Start nothing until it is resumed."""
    return client.pause_schedule(schedule_id, reason)


@group.shows()
def resume(client: OrchestratorClient, schedule_id: ScheduleId, reason: Reason = None) -> Any:
    """Start executions again."""
    return client.resume_schedule(schedule_id, reason)


@group.shows()
def trigger(
    client: OrchestratorClient,
    schedule_id: ScheduleId,
    overlap: Annotated[Overlap | None, typer.Option("--overlap", help="Other than the schedule's.")] = None,
) -> Any:
    """Start a run now."""
    return client.trigger_schedule(schedule_id, overlap)


@group.tells()
def delete(client: OrchestratorClient, schedule_id: ScheduleId, expected_version: Revision = None) -> str:
    """Start nothing any more; executions that run go on."""
    client.delete_schedule(schedule_id, expected_version=expected_version)
    return f"{schedule_id} is deleted."
