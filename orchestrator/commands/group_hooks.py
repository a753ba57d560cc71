"""`orchestrator hooks`: what other services send, sent by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.commands.files import read_json
from orchestrator.commands.group import Group
from orchestrator.commands.options import WorkflowId
from orchestrator.commands.outcome import USAGE, CommandError
from orchestrator.sdk import OrchestratorClient

group = Group("Webhooks that start executions.")


@group.shows()
def send(
    client: OrchestratorClient,
    workflow_id: WorkflowId,
    payload: Annotated[Path, typer.Argument(help="The message (JSON); `-` reads standard input.")],
    # Not the secret itself: everybody on the machine can read a command's arguments.
    secret_env: Annotated[
        str, typer.Option("--secret-env", help="The environment variable that holds the hook's secret, `whsec_…`.")
    ],
    message_id: Annotated[str | None, typer.Option("--message-id", help="The same message starts once.")] = None,
) -> Any:
    """Start an execution by a message that is signed by Standard Webhooks, as another service would."""
    secret = os.environ.get(secret_env)
    if not secret:
        raise CommandError(f"the environment variable {secret_env!r} is not set; it holds the hook's secret", USAGE)
    return client.receive_webhook(workflow_id, read_json(payload, "message"), secret=secret, message_id=message_id)
