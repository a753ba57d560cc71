"""`orchestrator workflows`: definitions and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from orchestrator.commands.options import Api, DefinitionFile, Form, InputFile, Most, Reason, WorkflowId
from orchestrator.commands.outcome import FAILED, OK, out

app = typer.Typer(no_args_is_help=True, help="Store and read definitions and their versions.")

Version = Annotated[int | None, typer.Option("--version", min=1, help="The latest by default.")]
Expected = Annotated[
    int | None, typer.Option("--expected-version", min=0, help="Refuse unless this version is the latest.")
]
Number = Annotated[int, typer.Argument(min=1, help="A version.")]


@app.command("list")
def list_workflows(
    tag: Annotated[str | None, typer.Option("--tag", help="key=value.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="In id, name and description.")] = None,
    limit: Most = 50,
    api: Api = None,
    output: Form = "table",
) -> None:
    """List workflows at their latest versions."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show_rows

    with connect(api) as client:
        found = client.iter_workflows(tag=tag, text=text, limit=min(limit, 200))
        show_rows(found, ("workflow_id", "name", "version", "updated_at"), output, limit)


@app.command()
def get(workflow_id: WorkflowId, version: Version = None, api: Api = None) -> None:
    """Print a definition with its version (JSON)."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.get_workflow(workflow_id, version=version), "json")


@app.command()
def create(file: DefinitionFile, api: Api = None, output: Form = "table") -> None:
    """Store a definition under an id that is free."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    definition = read_json(file, "definition")
    with connect(api) as client:
        show(client.create_workflow(definition), output)


@app.command()
def update(
    workflow_id: WorkflowId,
    file: DefinitionFile,
    expected_version: Expected = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Store a definition's next version; the same content makes none."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    definition = read_json(file, "definition")
    with connect(api) as client:
        show(client.put_workflow(workflow_id, definition, expected_version=expected_version), output)


@app.command()
def validate(file: DefinitionFile, api: Api = None, output: Form = "table") -> None:
    """Check a definition with what the service knows: its agents, tools and other workflows."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    definition = read_json(file, "definition")
    with connect(api) as client:
        report = client.validate_workflow(definition)
    show(report, output)
    raise typer.Exit(OK if report["valid"] else FAILED)


@app.command()
def execute(
    workflow_id: WorkflowId,
    input_file: InputFile = None,
    version: Version = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="key=value; may be given again.")] = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key starts once.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, print the result.")] = False,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Start an execution of a stored workflow."""
    from orchestrator.commands.executions import execute

    code = execute(
        workflow_id, input_file, version=version, tags=tags or [], key=key, api=api, wait=wait, as_json=output == "json"
    )
    raise typer.Exit(code)


@app.command()
def pause(workflow_id: WorkflowId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Hold every execution of a workflow, those that start meanwhile, too."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.pause_workflow(workflow_id, reason), output)


@app.command()
def resume(workflow_id: WorkflowId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Let the executions of a paused workflow go on."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.resume_workflow(workflow_id, reason), output)


@app.command()
def versions(workflow_id: WorkflowId, api: Api = None, output: Form = "table") -> None:
    """List a workflow's versions, newest first."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show_rows

    with connect(api) as client:
        show_rows(client.iter_workflow_versions(workflow_id, limit=200), ("version", "sha256", "updated_at"), output)


@app.command()
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


@app.command()
def restore(
    workflow_id: WorkflowId,
    version: Number,
    expected_version: Expected = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Store an earlier version's content as the next version."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.restore_workflow_version(workflow_id, version, expected_version=expected_version), output)


@app.command()
def delete(workflow_id: WorkflowId, expected_version: Expected = None, api: Api = None) -> None:
    """Refuse new starts; executions run on and versions stay readable."""
    from orchestrator.commands.address import connect

    with connect(api) as client:
        client.delete_workflow(workflow_id, expected_version=expected_version)
    out.print(f"{escape(workflow_id)} is deleted; `workflows restore` brings it back.")


@app.command()
def simulate(
    workflow_id: WorkflowId,
    scenario: Annotated[Path | None, typer.Option("--scenario", help="Input, mocks, messages (JSON).")] = None,
    version: Version = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Show what a workflow would do, with mocks and time skipped; 1 where it would not complete."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    given = read_json(scenario, "scenario") if scenario else None
    with connect(api) as client:
        report = client.simulate_workflow(workflow_id, given, version=version)
    show(report, output)
    raise typer.Exit(OK if report["status"] == "completed" else FAILED)
