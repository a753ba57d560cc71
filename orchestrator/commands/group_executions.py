"""`orchestrator executions`: look at executions and steer them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group
from orchestrator.commands.options import Api, ExecutionId, Form, Most, Reason, Status, StepPath
from orchestrator.sdk import OrchestratorClient

group = Group("Look at executions and steer them.")


@group.rows("execution_id", "workflow_id", "status", "detail", "started_at", "closed_at", name="list")
def list_executions(
    client: OrchestratorClient,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Of this workflow only.")] = None,
    status: Annotated[Status | None, typer.Option("--status", help="In this status only.")] = None,
    detail: Annotated[str | None, typer.Option("--detail", help="What they wait for, such as `operator`.")] = None,
    limit: Most = 50,
) -> Any:
    """List executions, newest first."""
    return client.iter_executions(workflow_id=workflow, status=status, detail=detail, limit=limit)


@group.app.command()
def get(execution_id: ExecutionId, api: Api = None, output: Form = "table") -> None:
    """Show an execution, its steps and its result; 1 where it ended other than completed."""
    from orchestrator.commands.executions import status

    raise typer.Exit(status(execution_id, api=api, as_json=output == "json"))


@group.rows("path", "step_type", "state", "attempts", "started_at", "finished_at")
def steps(client: OrchestratorClient, execution_id: ExecutionId, limit: Most = 1000) -> Any:
    """List an execution's steps, those of blocks too."""
    return client.iter_steps(execution_id, limit=limit)


@group.prints()
def step(client: OrchestratorClient, execution_id: ExecutionId, path: StepPath) -> Any:
    """Print one step with its output (JSON)."""
    return client.get_step(execution_id, path)


@group.app.command()
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


@group.app.command()
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


@group.app.command()
def ledger(execution_id: ExecutionId, api: Api = None, output: Form = "table") -> None:
    """Show what an execution has spent on models and tools."""
    from orchestrator.commands.agents import ledger

    raise typer.Exit(ledger(execution_id, api=api, as_json=output == "json"))


@group.app.command()
def wait(
    execution_id: ExecutionId,
    timeout: Annotated[float | None, typer.Option("--timeout", min=0, help="Seconds; for ever by default.")] = None,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Wait for an execution's end; 1 where it ended other than completed or still runs."""
    from orchestrator.commands.address import connect_patiently
    from orchestrator.commands.executions import show_whole

    with connect_patiently(api) as client:
        document = client.wait_for_execution(execution_id, timeout_seconds=timeout)
        raise typer.Exit(show_whole(client, document, as_json=output == "json"))


@group.app.command()
def pause(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Let no further step of an execution start."""
    _act("pause", execution_id, reason, api, output)


@group.app.command()
def resume(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Let a paused execution go on."""
    _act("resume", execution_id, reason, api, output)


@group.app.command()
def cancel(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Ask an execution to end gracefully."""
    _act("cancel", execution_id, reason, api, output)


@group.app.command()
def terminate(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """End an execution at once: nothing is undone."""
    _act("terminate", execution_id, reason, api, output)


@group.app.command()
def retry(execution_id: ExecutionId, reason: Reason = None, api: Api = None, output: Form = "table") -> None:
    """Go on from what failed; completed steps are kept."""
    _act("retry", execution_id, reason, api, output)


@group.shows()
def rerun(
    client: OrchestratorClient,
    execution_id: ExecutionId,
    step: StepPath,
    input_file: Annotated[Path | None, typer.Option("--input", help="Another input (JSON).")] = None,
    outputs_file: Annotated[Path | None, typer.Option("--outputs", help="Other outputs of kept steps (JSON).")] = None,
    reason: Reason = None,
) -> Any:
    """Run a step, and all that depends on it, again as a new execution."""
    edited: dict[str, Any] = {"input_data": read_json(input_file, "input")} if input_file else {}
    outputs = read_json(outputs_file, "outputs") if outputs_file else None
    return client.rerun_execution(execution_id, step, outputs=outputs, reason=reason, **edited)


@group.shows()
def approve(
    client: OrchestratorClient,
    execution_id: ExecutionId,
    step: StepPath,
    reject: Annotated[bool, typer.Option("--reject", help="Reject it.")] = False,
    by: Annotated[str | None, typer.Option("--by", help="Who decides; the key's owner where keys are used.")] = None,
    form: Annotated[Path | None, typer.Option("--form", help="The form's values (JSON).")] = None,
    reason: Reason = None,
) -> Any:
    """Approve what waits for it, or reject it."""
    values = read_json(form, "form") if form else None
    decision = "rejected" if reject else "approved"
    return client.decide_approval(execution_id, step, decision, by=by, form=values, reason=reason)


@group.shows()
def signal(
    client: OrchestratorClient,
    execution_id: ExecutionId,
    name: Annotated[str, typer.Argument(help="The signal's name.")],
    payload: Annotated[Path | None, typer.Option("--payload", help="The message (JSON); null without it.")] = None,
) -> Any:
    """Leave a message for the step that waits for this signal."""
    return client.signal_execution(execution_id, name, read_json(payload, "payload") if payload else None)


@group.shows("retry-step")
def retry_step(client: OrchestratorClient, execution_id: ExecutionId, step: StepPath, reason: Reason = None) -> Any:
    """Run a parked step again, with fresh attempts."""
    return client.retry_step(execution_id, step, reason=reason)


@group.shows("skip-step")
def skip_step(client: OrchestratorClient, execution_id: ExecutionId, step: StepPath, reason: Reason = None) -> Any:
    """Give a parked step up; the steps that need it are skipped, too."""
    return client.skip_step(execution_id, step, reason=reason)


@group.shows("set-output")
def set_output(
    client: OrchestratorClient,
    execution_id: ExecutionId,
    step: StepPath,
    value: Annotated[Path, typer.Argument(help="The output (JSON); `-` reads standard input.")],
    reason: Reason = None,
) -> Any:
    """Complete a parked step with an output of your own."""
    return client.set_step_output(execution_id, step, read_json(value, "output"), reason=reason)


@group.shows("raise-budget")
def raise_budget(
    client: OrchestratorClient,
    execution_id: ExecutionId,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1, help="Tokens to add.")] = None,
    cost_usd: Annotated[float | None, typer.Option("--cost-usd", min=0, help="US dollars to add.")] = None,
    model_calls: Annotated[int | None, typer.Option("--model-calls", min=1, help="Model calls to add.")] = None,
    tool_calls: Annotated[int | None, typer.Option("--tool-calls", min=1, help="Tool calls to add.")] = None,
    reason: Reason = None,
) -> Any:
    """Raise the bounds that an execution's budget has, by these amounts."""
    return client.raise_budget(
        execution_id,
        tokens=tokens,
        cost_usd=cost_usd,
        model_calls=model_calls,
        tool_calls=tool_calls,
        reason=reason,
    )


def _act(action: Any, execution_id: str, reason: str | None, api: str | None, output: Any) -> None:
    from orchestrator.commands.executions import act

    raise typer.Exit(act(action, execution_id, api=api, reason=reason, as_json=output == "json"))
