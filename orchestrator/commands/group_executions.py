"""`orchestrator executions`: look at executions and steer them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.commands.options import Api, ExecutionId, Form, Most, Reason, StepPath

app = typer.Typer(no_args_is_help=True, help="Look at executions and steer them.")

Status = Literal[
    "queued", "running", "paused", "awaiting", "completed", "failed", "cancelled", "terminated", "timed_out"
]


@app.command("list")
def list_executions(
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow only.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="In this status only.")] = None,
    detail: Annotated[str | None, typer.Option("--detail", help="What they wait for, such as `operator`.")] = None,
    limit: Most = 50,
    api: Api = None,
    output: Form = "table",
) -> None:
    """List executions, newest first."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show_rows

    with connect(api) as client:
        found = client.iter_executions(workflow_id=workflow, status=status, detail=detail, limit=min(limit, 200))
        show_rows(found, ("execution_id", "workflow_id", "status", "detail", "started_at", "closed_at"), output, limit)


@app.command()
def get(execution_id: ExecutionId, api: Api = None, output: Form = "table") -> None:
    """Show an execution, its steps and its result; 1 where it ended other than completed."""
    from orchestrator.commands.executions import status

    raise typer.Exit(status(execution_id, api=api, as_json=output == "json"))


@app.command()
def steps(execution_id: ExecutionId, limit: Most = 1000, api: Api = None, output: Form = "table") -> None:
    """List an execution's steps, those of blocks too."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show_rows

    with connect(api) as client:
        found = client.iter_steps(execution_id, limit=200)
        show_rows(found, ("path", "step_type", "state", "attempts", "started_at", "finished_at"), output, limit)


@app.command()
def graph(
    execution_id: ExecutionId,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid diagram.")] = False,
    api: Api = None,
) -> None:
    """Print the graph of an execution with the states of its steps (JSON)."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        if mermaid:
            typer.echo(client.get_execution_mermaid(execution_id))
        else:
            show(client.get_execution_graph(execution_id), "json")


@app.command()
def events(
    execution_id: ExecutionId,
    tokens: Annotated[bool, typer.Option("--tokens", help="The text of running model calls, too.")] = False,
    after: Annotated[str | None, typer.Option("--after", help="Go on behind this event.")] = None,
    api: Api = None,
) -> None:
    """Follow an execution's events until its end, one JSON document a line."""
    from orchestrator.commands.address import connect_patiently
    from orchestrator.commands.showing import show_line

    with connect_patiently(api) as client:
        for event in client.events(execution_id, after=after, tokens=tokens):
            show_line({"id": event.id, "type": event.type, "data": event.data})
            sys.stdout.flush()


@app.command()
def ledger(execution_id: ExecutionId, api: Api = None, output: Form = "table") -> None:
    """Show what an execution has spent on models and tools."""
    from orchestrator.commands.agents import ledger

    raise typer.Exit(ledger(execution_id, api=api, as_json=output == "json"))


@app.command()
def wait(
    execution_id: ExecutionId,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds; for ever by default.")] = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Wait for an execution's end; 1 where it ended other than completed or still runs."""
    from orchestrator.commands.address import connect_patiently
    from orchestrator.commands.showing import show
    from orchestrator.commands.watching import exit_code

    with connect_patiently(api) as client:
        document = client.wait_for_execution(execution_id, timeout_seconds=timeout)
    show(document, output)
    raise typer.Exit(exit_code(document))


@app.command()
def pause(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Let no further step of an execution start."""
    _act("pause", execution_id, reason, api, output)


@app.command()
def resume(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Let a paused execution go on."""
    _act("resume", execution_id, reason, api, output)


@app.command()
def cancel(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Ask an execution to end gracefully."""
    _act("cancel", execution_id, reason, api, output)


@app.command()
def terminate(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """End an execution at once: nothing is undone."""
    _act("terminate", execution_id, reason, api, output)


@app.command()
def retry(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Go on from what failed; completed steps are kept."""
    _act("retry", execution_id, reason, api, output)


@app.command()
def rerun(
    execution_id: ExecutionId,
    step: StepPath,
    input_file: Annotated[Path | None, typer.Option("--input", help="Another input (JSON).")] = None,
    outputs_file: Annotated[Path | None, typer.Option("--outputs", help="Other outputs of kept steps (JSON).")] = None,
    reason: Reason = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Run a step, and all that depends on it, again as a new execution."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    edited: dict[str, Any] = {"input_data": read_json(input_file, "input")} if input_file else {}
    outputs = read_json(outputs_file, "outputs") if outputs_file else None
    with connect(api) as client:
        show(client.rerun_execution(execution_id, step, outputs=outputs, reason=reason, **edited), output)


@app.command()
def approve(
    execution_id: ExecutionId,
    step: StepPath,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who decides; the key's owner where keys are used.")] = None,
    form: Annotated[Path | None, typer.Option("--form", help="The form's values (JSON).")] = None,
    reason: Reason = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Approve what waits for it, or reject it."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    values = read_json(form, "form") if form else None
    decision = "rejected" if reject else "approved"
    with connect(api) as client:
        show(client.decide_approval(execution_id, step, decision, by=by, form=values, reason=reason), output)


@app.command()
def signal(
    execution_id: ExecutionId,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    payload: Annotated[Path | None, typer.Option("--payload", help="The message (JSON); null without it.")] = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Leave a message for the step that waits for this signal."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    value = read_json(payload, "payload") if payload else None
    with connect(api) as client:
        show(client.signal_execution(execution_id, name, value), output)


@app.command("retry-step")
def retry_step(
    execution_id: ExecutionId, step: StepPath, reason: Reason = None, api: Api = None, output: Form = "table"
) -> None:
    """Run a parked step again, with fresh attempts."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.retry_step(execution_id, step, reason=reason), output)


@app.command("skip-step")
def skip_step(
    execution_id: ExecutionId, step: StepPath, reason: Reason = None, api: Api = None, output: Form = "table"
) -> None:
    """Give a parked step up; the steps that need it are skipped, too."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        show(client.skip_step(execution_id, step, reason=reason), output)


@app.command("set-output")
def set_output(
    execution_id: ExecutionId,
    step: StepPath,
    value: Annotated[Path, typer.Argument(help="The output (JSON); `-` reads standard input.")],
    reason: Reason = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Complete a parked step with an output of your own."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.files import read_json
    from orchestrator.commands.showing import show

    given = read_json(value, "output")
    with connect(api) as client:
        show(client.set_step_output(execution_id, step, given, reason=reason), output)


@app.command("raise-budget")
def raise_budget(
    execution_id: ExecutionId,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="Tokens to add.")] = None,
    cost_usd: Annotated[float | None, typer.Option("--cost-usd", min=0, help="US dollars to add.")] = None,
    model_calls: Annotated[int | None, typer.Option("--model-calls", min=1, help="Model calls to add.")] = None,
    tool_calls: Annotated[int | None, typer.Option("--tool-calls", min=1, help="Tool calls to add.")] = None,
    reason: Reason = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Raise the bounds that an execution's budget has, by these amounts."""
    from orchestrator.commands.address import connect
    from orchestrator.commands.showing import show

    with connect(api) as client:
        raised = client.raise_budget(
            execution_id,
            tokens=tokens,
            cost_usd=cost_usd,
            model_calls=model_calls,
            tool_calls=tool_calls,
            reason=reason,
        )
    show(raised, output)


def _act(action: Any, execution_id: str, reason: str | None, api: str | None, output: Any) -> None:
    from orchestrator.commands.executions import act

    raise typer.Exit(act(action, execution_id, api=api, reason=reason, as_json=output == "json"))
