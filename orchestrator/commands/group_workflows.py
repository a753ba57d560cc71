"""`orchestrator workflows`: definitions and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group, only_given
from orchestrator.commands.options import (
    Api,
    DefinitionFile,
    Expected,
    Form,
    InputFile,
    Most,
    Reason,
    Text,
    Version,
    WorkflowId,
)
from orchestrator.commands.outcome import out
from orchestrator.sdk import OrchestratorClient

group = Group("Store and read definitions and their versions.")

Number = Annotated[int, typer.Argument(min=1, help="A version.")]


@group.rows("workflow_id", "name", "version", "updated_at", name="list")
def list_workflows(
    client: OrchestratorClient,
    tag: Annotated[str | None, typer.Option("--tag", help="key=value.")] = None,
    text: Text = None,
    limit: Most = 50,
) -> Any:
    """List workflows at their latest versions."""
    return client.iter_workflows(tag=tag, text=text, limit=limit)


@group.prints()
def get(client: OrchestratorClient, workflow_id: WorkflowId, version: Version = None) -> Any:
    """Print a definition with its version (JSON)."""
    return client.get_workflow(workflow_id, version=version)


@group.shows()
def create(client: OrchestratorClient, file: DefinitionFile) -> Any:
    """Store a definition under an id that is free."""
    return client.create_workflow(read_json(file, "definition"))


@group.shows()
def update(
    client: OrchestratorClient, workflow_id: WorkflowId, file: DefinitionFile, expected_version: Expected = None
) -> Any:
    """Store a definition's next version; the same content makes none."""
    return client.put_workflow(workflow_id, read_json(file, "definition"), expected_version=expected_version)


@group.shows(good=lambda report: bool(report["valid"]))
def validate(client: OrchestratorClient, file: DefinitionFile) -> Any:
    """Check a definition with what the service knows: its agents, tools and other workflows."""
    return client.validate_workflow(read_json(file, "definition"))


@group.app.command()
def execute(
    workflow_id: WorkflowId,
    input_file: InputFile = None,
    version: Version = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="key=value; may be given again.")] = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key starts once.")] = None,
    priority: Annotated[int | None, typer.Option("--priority", min=1, max=5, help="1 is first.")] = None,
    seconds: Annotated[float | None, typer.Option("--execution-seconds", help="A sooner deadline.")] = None,
    callback_url: Annotated[str | None, typer.Option("--callback-url", help="Who is told of the end.")] = None,
    callback_secret: Annotated[str | None, typer.Option("--callback-secret", help="Name of what signs it.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, print the result.")] = False,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Start an execution of a stored workflow."""
    from orchestrator.commands.executions import execute, read_tags

    starting = {
        "version": version,
        "tags": read_tags(tags or []) or None,
        "options": only_given({"priority": priority, "execution_seconds": seconds}),
        "callback": only_given({"url": callback_url, "secret": callback_secret}),
        "idempotency_key": key,
    }
    code = execute(workflow_id, input_file, starting, api=api, wait=wait, as_json=output == "json")
    raise typer.Exit(code)


@group.shows()
def pause(client: OrchestratorClient, workflow_id: WorkflowId, reason: Reason = None) -> Any:
    """Hold every execution of a workflow, those that start meanwhile, too."""
    return client.pause_workflow(workflow_id, reason)


@group.shows()
def resume(client: OrchestratorClient, workflow_id: WorkflowId, reason: Reason = None) -> Any:
    """Let the executions of a paused workflow go on."""
    return client.resume_workflow(workflow_id, reason)


@group.rows("version", "sha256", "updated_at")
def versions(client: OrchestratorClient, workflow_id: WorkflowId, limit: Most = 200) -> Any:
    """List a workflow's versions, newest first."""
    return client.iter_workflow_versions(workflow_id, limit=limit)


@group.app.command()
def diff(workflow_id: WorkflowId, version: Number, other: Number, api: Api = None, output: Form = "table") -> None:
    """Show what makes one version of another."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        found = client.diff_workflow_versions(workflow_id, version, other)
    if output == "json":
        show(found, output)
    else:
        out.print(escape(found["text"]))


@group.shows()
def restore(
    client: OrchestratorClient, workflow_id: WorkflowId, version: Number, expected_version: Expected = None
) -> Any:
    """Store an earlier version's content as the next version."""
    return client.restore_workflow_version(workflow_id, version, expected_version=expected_version)


@group.tells()
def delete(client: OrchestratorClient, workflow_id: WorkflowId, expected_version: Expected = None) -> str:
    """Refuse new starts; executions run on and versions stay readable."""
    client.delete_workflow(workflow_id, expected_version=expected_version)
    return f"{workflow_id} is deleted; `workflows restore` brings it back."


@group.shows(good=lambda report: bool(report["status"] == "completed"))
def simulate(
    client: OrchestratorClient,
    workflow_id: WorkflowId,
    scenario: Annotated[Path | None, typer.Option("--scenario", help="Input, mocks, messages (JSON).")] = None,
    version: Version = None,
) -> Any:
    """Show what a workflow would do, with mocks and time skipped; 1 where it would not complete."""
    given = read_json(scenario, "scenario") if scenario else None
    return client.simulate_workflow(workflow_id, given, version=version)
