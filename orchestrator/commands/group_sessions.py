"""`orchestrator sessions`: conversations that agents remember."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.commands.group import Group
from orchestrator.sdk import OrchestratorClient

group = Group("Conversations that agents remember.")

SessionId = Annotated[str, typer.Argument(help="The session's id.")]


@group.prints()
def get(client: OrchestratorClient, session_id: SessionId) -> Any:
    """Print all that is kept of a conversation (JSON)."""
    return client.get_session(session_id)


@group.tells()
def delete(client: OrchestratorClient, session_id: SessionId) -> str:
    """Forget a conversation."""
    client.delete_session(session_id)
    return f"{session_id} is forgotten."
