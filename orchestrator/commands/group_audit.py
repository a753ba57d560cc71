"""`orchestrator audit`: who wrote what."""

from __future__ import annotations

from typing import Any

from orchestrator.commands.group import Group
from orchestrator.commands.options import Most
from orchestrator.sdk import OrchestratorClient

group = Group("Who wrote what.")


@group.rows("at", "who", "role", "operation", "target", "status", "reason", name="list")
def list_entries(client: OrchestratorClient, limit: Most = 50) -> Any:
    """List the writes that were asked for, newest first."""
    return client.iter_audit_entries(limit=limit)
