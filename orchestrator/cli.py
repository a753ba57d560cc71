"""The `orchestrator` command."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.commands.outcome import FAILED, INTERRUPTED, err, explained, report

app = typer.Typer(
    name="orchestrator",
    help="Durable orchestration of AI-agent workflows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Output = Literal["text", "json"]
Api = Annotated[
    str | None,
    typer.Option("--api", envvar="ORCHESTRATOR_API", help="Address of the API; the local stack's by default."),
]
Form = Annotated[Output, typer.Option("--output", help="How the answer is printed.")]
ExecutionId = Annotated[str, typer.Argument(help="The execution's id, as `run` printed it.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Kept with the action.")]

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


def _act(
    action: Literal["pause", "resume", "cancel"], execution_id: str, reason: str | None, api: str | None, output: Output
) -> None:
    from orchestrator.commands.executions import act

    raise typer.Exit(act(action, execution_id, api=api, reason=reason, as_json=output == "json"))


def main() -> None:
    """Run the command of this process; every error ends as a sentence and an exit code."""
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
