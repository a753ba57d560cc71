"""`orchestrator agents invoke` and `orchestrator ledger`: one agent asked, what was spent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from orchestrator.commands.address import connect
from orchestrator.commands.executions import show_document, wait_for
from orchestrator.commands.files import read_json
from orchestrator.commands.outcome import OK, out


def invoke_agent(
    agent_type: str,
    task: str,
    *,
    parameters_path: Path | None,
    input_path: Path | None,
    key: str | None,
    api: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Ask one agent, and show how it goes; gives the exit code."""
    parameters = read_json(parameters_path, "parameters") if parameters_path else None
    input_data = read_json(input_path, "input") if input_path else None
    with connect(api) as client:
        document = client.invoke_agent(
            agent_type,
            task,
            parameters=parameters,
            input_data=input_data,
            async_execution=True,
            idempotency_key=key,
        )
        execution_id = document["execution_id"]
        if not as_json:
            out.print(f"{escape(agent_type)} works on it as [bold]{escape(execution_id)}[/].")
        if wait:
            return wait_for(client, execution_id, as_json=as_json)
    return show_document(document, as_json=as_json)


def ledger(execution_id: str, *, api: str | None, as_json: bool) -> int:
    """Show what an execution has spent; gives the exit code."""
    with connect(api) as client:
        found = client.get_execution_ledger(execution_id)
    if as_json:
        out.print_json(json.dumps(found))
        return OK
    table = Table("of", "model calls", "tool calls", "input tokens", "output tokens", "US dollars")
    # Steps and models are for copying; the numbers' heads may be wrapped.
    table.columns[0].overflow = "fold"
    table.columns[0].min_width = 20
    for name, totals in [*found["by_step"].items(), *found["by_model"].items(), ("in total", found["total"])]:
        table.add_row(escape(name), *_amounts(totals))
    out.print(table)
    if found["total"]["unpriced_calls"]:
        out.print(f"Calls whose model has no price in MODEL_PRICES: {found['total']['unpriced_calls']}.")
    return OK


def _amounts(totals: Mapping[str, Any]) -> list[str]:
    counts = [f"{totals[name]:,}" for name in ("model_calls", "tool_calls", "input_tokens", "output_tokens")]
    return [*counts, f"{totals['cost_usd']:.4f}"]
