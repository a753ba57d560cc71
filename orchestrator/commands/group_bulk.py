"""`orchestrator bulk`: jobs over many executions."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any, Literal

import typer

from orchestrator.commands.executions import read_tags
from orchestrator.commands.group import Group, only_given
from orchestrator.commands.options import Api, Form, Reason, Status
from orchestrator.commands.outcome import FAILED, INTERRUPTED, OK, err
from orchestrator.sdk import OrchestratorClient
from orchestrator.sdk.documents import BulkJob

group = Group("Act on many executions at once.")

Action = Literal["cancel", "terminate", "pause", "resume", "retry"]
JobId = Annotated[str, typer.Argument(help="The job's id, as `bulk start` printed it.")]
Moment = datetime | None
_POLL_SECONDS = 0.5


@group.shows()
def start(
    client: OrchestratorClient,
    action: Annotated[Action, typer.Argument(help="`retry` is for closed executions, the others for open ones.")],
    executions: Annotated[list[str] | None, typer.Argument(help="These executions, instead of a filter.")] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Those of this workflow.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="Those in this status.")] = None,
    detail: Annotated[str | None, typer.Option("--detail", help="Those that wait for this: `operator`.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="key=value; all that are given must fit.")] = None,
    error_type: Annotated[str | None, typer.Option("--error-type", help="Those that failed with this.")] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="Those that this schedule started.")] = None,
    after: Annotated[Moment, typer.Option("--started-after", help="Those that started then or later, UTC.")] = None,
    before: Annotated[Moment, typer.Option("--started-before", help="Those that started before then, UTC.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every execution, instead of a filter.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    reason: Reason = None,
) -> Any:
    """Cancel, terminate, pause, resume or retry what a filter finds, or named executions."""
    filters = {
        "workflow_id": workflow,
        "status": status,
        "detail": detail,
        "tags": read_tags(tags or []),
        "error_type": error_type,
        "schedule_id": schedule,
        "started_after": _utc(after),
        "started_before": _utc(before),
    }
    return client.start_bulk_job(
        action,
        only_given(filters),
        execution_ids=executions or None,
        all=everything or None,
        reason=reason,
        dry_run=dry_run or None,
    )


def _utc(moment: datetime | None) -> str | None:
    return f"{moment.isoformat()}Z" if moment else None


@group.shows()
def get(client: OrchestratorClient, job_id: JobId) -> Any:
    """Show how far a job has come."""
    return client.get_bulk_job(job_id)


@group.shows()
def stop(client: OrchestratorClient, job_id: JobId) -> Any:
    """Let a job begin with no further executions; what it did stays."""
    return client.stop_bulk_job(job_id)


@group.app.command()
def watch(job_id: JobId, api: Api = None, output: Form = "table") -> None:
    """Show a job's progress until its end; 1 where it did not succeed with all."""
    from orchestrator.commands.address import connect_patiently
    from orchestrator.commands.showing import show

    with connect_patiently(api) as client:
        try:
            job = _follow(client, job_id)
        except KeyboardInterrupt:
            err.print(f"Stopped watching; the job goes on. See it with: orchestrator bulk get {job_id}", markup=False)
            raise typer.Exit(INTERRUPTED) from None
    show(job, output)
    raise typer.Exit(OK if job["state"] == "completed" and not job["failed"] else FAILED)


def _follow(client: OrchestratorClient, job_id: str) -> BulkJob:
    """Read a job until it has ended; whoever looks at a terminal sees it come on."""
    with err.status("") as shown:
        while (job := client.get_bulk_job(job_id))["state"] == "running":
            done = job["done"] + job["failed"] + job["skipped"]
            shown.update(f"{job['action']}: {done} of {job['matched']}, {job['failed']} failed")
            time.sleep(_POLL_SECONDS)
    return job
