"""The `orchestrator` command."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.commands import (
    group_agents,
    group_audit,
    group_breakers,
    group_bulk,
    group_collections,
    group_executions,
    group_hooks,
    group_schedules,
    group_sessions,
    group_tools,
    group_workflows,
)
from orchestrator.commands.options import Api, ExecutionId, Form, Output, Reason
from orchestrator.commands.outcome import FAILED, INTERRUPTED, err, explained, report

app = typer.Typer(
    name="orchestrator",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
GROUPS = {
    "executions": group_executions.group,
    "bulk": group_bulk.group,
    "workflows": group_workflows.group,
    "schedules": group_schedules.group,
    "hooks": group_hooks.group,
    "agents": group_agents.group,
    "tools": group_tools.group,
    "sessions": group_sessions.group,
    "collections": group_collections.group,
    "breakers": group_breakers.group,
    "audit": group_audit.group,
}
for group_name, group in GROUPS.items():
    app.add_typer(group.app, name=group_name)

Direct = Annotated[bool, typer.Option("--direct", help="In Redis, without the API: how the first key is made.")]
KeyRole = Literal["viewer", "operator", "editor", "admin"]


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"orchestrator {version('agent-orchestrator')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Durable orchestration of AI-agent workflows."""


# Commands import what they need when they run: a worker must not wait for the stack's modules, nor `--help` for any.


@app.command()
def up() -> None:
    """Run the whole stack on this machine until ctrl-C; its state stays in .orchestrator/."""
    from orchestrator.commands.stack import up

    raise typer.Exit(up())


@app.command()
def demo() -> None:
    """Run the lead-processing example on the local stack and show it."""
    from orchestrator.commands.demo import demo

    raise typer.Exit(demo())


@app.command()
def worker() -> None:
    """Run one worker in this process."""
    from orchestrator.commands.services import worker

    raise typer.Exit(worker())


@app.command()
def api() -> None:
    """Serve the REST API in this process."""
    from orchestrator.commands.services import api

    raise typer.Exit(api())


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="A workflow definition (JSON); `-` reads standard input.")],
    input_file: Annotated[Path | None, typer.Option("--input", help="The execution's input (JSON).")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, print the result.")] = False,
    api: Api = None,
    output: Form = "text",
) -> None:
    """Store a definition and execute it."""
    from orchestrator.commands.executions import run

    raise typer.Exit(run(file, input_file, api=api, wait=wait, as_json=output == "json"))


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(help="A workflow definition (JSON); `-` reads standard input.")],
    output: Form = "text",
) -> None:
    """Check a definition without a server; prints every error."""
    from orchestrator.commands.definitions import validate

    raise typer.Exit(validate(file, as_json=output == "json"))


@app.command()
def test(
    folder: Annotated[Path, typer.Argument(help="A folder with *.test.json files, or one such file.")],
    only: Annotated[str, typer.Option("--only", help="Run the tests with this in their name.")] = "",
    junit: Annotated[Path | None, typer.Option("--junit-xml", help="Write a JUnit report here, for CI.")] = None,
    output: Form = "text",
) -> None:
    """Test definitions in the simulator: no server, nothing outside is touched, time is skipped."""
    from orchestrator.commands.testing import test

    raise typer.Exit(test(folder, only=only, as_json=output == "json", junit=junit))


@app.command()
def status(execution_id: ExecutionId, api: Api = None, output: Form = "text") -> None:
    """Show an execution and its steps."""
    from orchestrator.commands.executions import status

    raise typer.Exit(status(execution_id, api=api, as_json=output == "json"))


@app.command()
def pause(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "text") -> None:
    """Let no further step of an execution start."""
    _act("pause", execution_id, reason, api, output)


@app.command()
def resume(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "text") -> None:
    """Let a paused execution go on."""
    _act("resume", execution_id, reason, api, output)


@app.command()
def cancel(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "text") -> None:
    """Ask an execution to end gracefully."""
    _act("cancel", execution_id, reason, api, output)


@app.command()
def ledger(execution_id: ExecutionId, api: Api = None, output: Form = "text") -> None:
    """Show what an execution has spent on models and tools."""
    from orchestrator.commands.agents import ledger

    raise typer.Exit(ledger(execution_id, api=api, as_json=output == "json"))


keys = typer.Typer(help="API keys: make, list, revoke.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Who has it: the audit log and approvals speak of this name.")],
    role: Annotated[KeyRole, typer.Option("--role", help="Each may do what those before it may.")] = "viewer",
    days: Annotated[int | None, typer.Option("--expires-in-days", min=1, max=3650, help="Never by default.")] = None,
    direct: Direct = False,
    api: Api = None,
    output: Form = "text",
) -> None:
    """Make an API key; it is shown this once."""
    from orchestrator.commands.keys import create

    raise typer.Exit(create(name, role, days, api=api, direct=direct, as_json=output == "json"))


@keys.command("list")
def keys_list(direct: Direct = False, api: Api = None, output: Form = "text") -> None:
    """List the API keys, revoked ones too."""
    from orchestrator.commands.keys import show

    raise typer.Exit(show(api=api, direct=direct, as_json=output == "json"))


@keys.command("revoke")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, as `keys list` shows it.")],
    direct: Direct = False,
    api: Api = None,
    output: Form = "text",
) -> None:
    """Revoke an API key for ever, everywhere, at once."""
    from orchestrator.commands.keys import revoke

    raise typer.Exit(revoke(key_id, api=api, direct=direct, as_json=output == "json"))


@app.command()
def schema() -> None:
    """Print the JSON Schema of definitions, for editors."""
    import json

    from orchestrator.definition import workflow_json_schema

    typer.echo(json.dumps(workflow_json_schema(), indent=2))


@app.command()
def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="The shell that completes.")],
) -> None:
    """Print the script that lets a shell complete commands and options.

    For bash: `source <(orchestrator completion bash)`; in zsh the same with zsh; for fish:
    `orchestrator completion fish | source`.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # in use, not in its __all__

    script = get_completion_script(prog_name="orchestrator", complete_var="_ORCHESTRATOR_COMPLETE", shell=shell)
    typer.echo(script)


def _act(
    action: Literal["pause", "resume", "cancel"], execution_id: str, reason: str | None, api: str | None, output: Output
) -> None:
    from orchestrator.commands.executions import act

    raise typer.Exit(act(action, execution_id, api=api, reason=reason, as_json=output == "json"))


def main() -> None:
    """Run the command of this process; every error ends as a sentence and an exit code."""
    if "_ORCHESTRATOR_COMPLETE" in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]  # in use, not in its __all__

        completion_init()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        known = explained(error)
        if known is not None:
            sys.exit(report(known))
        sys.exit(_unforeseen(error))


def _unforeseen(error: Exception) -> int:
    # The services' output is their log, where the place of a defect belongs.
    if os.environ.get("ORCHESTRATOR_DEBUG") or sys.argv[1:2] in (["worker"], ["api"]):
        traceback.print_exception(error)
    err.print(
        f"Error: {type(error).__name__}: {error}. This is a defect of ours or an unusual environment; "
        "ORCHESTRATOR_DEBUG=1 shows where it happened.",
        markup=False,
    )
    return FAILED


if __name__ == "__main__":
    main()
