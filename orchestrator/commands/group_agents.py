"""`orchestrator agents`: the registry, one agent asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group
from orchestrator.commands.options import Api, Expected, Form, InputFile, Most, Text, Version
from orchestrator.sdk import OrchestratorClient

group = Group("Register, read and ask agents.")

AgentType = Annotated[str, typer.Argument(help="The agent's type, such as `sales`.")]
AgentFile = Annotated[Path, typer.Argument(help="An agent's record (JSON); `-` reads standard input.")]


@group.rows("agent_type", "kind", "version", "description", name="list")
def list_agents(client: OrchestratorClient, text: Text = None, limit: Most = 1000) -> Any:
    """List the agents in use."""
    return client.iter_agents(text=text, limit=limit)


@group.prints()
def get(client: OrchestratorClient, agent_type: AgentType, version: Version = None) -> Any:
    """Print an agent's record with its version (JSON)."""
    return client.get_agent(agent_type, version=version)


@group.shows()
def create(client: OrchestratorClient, file: AgentFile) -> Any:
    """Register an agent under a type that is free."""
    return client.create_agent(read_json(file, "agent"))


@group.shows()
def update(
    client: OrchestratorClient, agent_type: AgentType, file: AgentFile, expected_version: Expected = None
) -> Any:
    """Store the next version of an agent's record; the same content makes none."""
    return client.put_agent(agent_type, read_json(file, "agent"), expected_version=expected_version)


@group.rows("version", "sha256", "updated_at")
def versions(client: OrchestratorClient, agent_type: AgentType, limit: Most = 200) -> Any:
    """List the versions of an agent's record, newest first."""
    return client.iter_agent_versions(agent_type, limit=limit)


@group.shows()
def health(client: OrchestratorClient, agent_type: AgentType) -> Any:
    """Show how an agent is: calls, circuit, workers."""
    return client.get_agent_health(agent_type)


@group.tells()
def delete(client: OrchestratorClient, agent_type: AgentType, expected_version: Expected = None) -> str:
    """Take an agent out of use."""
    client.delete_agent(agent_type, expected_version=expected_version)
    return f"{agent_type} is deleted."


@group.app.command()
def invoke(
    agent_type: AgentType,
    task: Annotated[str, typer.Argument(help="One of its tasks, or what it shall do.")],
    parameters_file: Annotated[Path | None, typer.Option("--parameters", help="The task's parameters (JSON).")] = None,
    input_file: InputFile = None,
    key: Annotated[str | None, typer.Option("--idempotency-key", help="The same key asks once.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show progress, print the answer.")] = False,
    api: Api = None,
    output: Form = "table",
) -> None:
    """Ask one agent without a workflow; a durable execution all the same."""
    from orchestrator.commands.agents import invoke_agent

    code = invoke_agent(
        agent_type,
        task,
        parameters_path=parameters_file,
        input_path=input_file,
        key=key,
        api=api,
        wait=wait,
        as_json=output == "json",
    )
    raise typer.Exit(code)
