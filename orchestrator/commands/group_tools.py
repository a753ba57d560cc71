"""`orchestrator tools`: what steps and agents may call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group
from orchestrator.commands.options import Expected, Most, Version
from orchestrator.sdk import OrchestratorClient

group = Group("Declare tools, and see what steps and agents may call.")

ToolName = Annotated[str, typer.Argument(help="The tool's name.")]
ToolFile = Annotated[Path, typer.Argument(help="A tool (JSON); `-` reads standard input.")]


@group.rows("name", "source", "version", "requires_approval", "description", name="list")
def list_tools(client: OrchestratorClient, limit: Most = 1000) -> Any:
    """List tools: the worker's own, declared ones, those of MCP servers."""
    return client.iter_tools(limit=limit)


@group.prints()
def get(client: OrchestratorClient, name: ToolName, version: Version = None) -> Any:
    """Print a declared tool with its version (JSON)."""
    return client.get_tool(name, version=version)


@group.shows()
def create(client: OrchestratorClient, file: ToolFile) -> Any:
    """Declare a tool under a name that is free."""
    return client.create_tool(read_json(file, "tool"))


@group.shows()
def update(client: OrchestratorClient, name: ToolName, file: ToolFile, expected_version: Expected = None) -> Any:
    """Store a tool's next version; the same content makes none."""
    return client.put_tool(name, read_json(file, "tool"), expected_version=expected_version)


@group.tells()
def delete(client: OrchestratorClient, name: ToolName, expected_version: Expected = None) -> str:
    """Take a declared tool out of use."""
    client.delete_tool(name, expected_version=expected_version)
    return f"{name} is deleted."
