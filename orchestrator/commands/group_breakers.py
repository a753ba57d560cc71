"""`orchestrator breakers`: what the workers leave alone for now."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.commands.group import Group
from orchestrator.commands.options import Most
from orchestrator.sdk import OrchestratorClient

group = Group("The circuits of models, hosts, agents and MCP servers.")

BreakerName = Annotated[str, typer.Argument(help="The circuit's name, such as `model:openai/gpt-5-mini`.")]


@group.rows("name", "state", "calls", "failures", "open_until", "last_error", name="list")
def list_breakers(client: OrchestratorClient, limit: Most = 1000) -> Any:
    """List the circuits of what was called lately."""
    return client.iter_breakers(limit=limit)


@group.shows()
def get(client: OrchestratorClient, name: BreakerName) -> Any:
    """Show one circuit."""
    return client.get_breaker(name)


@group.shows()
def reset(client: OrchestratorClient, name: BreakerName) -> Any:
    """Close a circuit and forget its failures: the next call goes through."""
    return client.reset_breaker(name)
