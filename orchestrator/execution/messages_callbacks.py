"""What callbacks at the end of executions carry. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

CALLBACK_TYPE = "CallbackDelivery"
"""Temporal's workflow type of deliveries."""
CALLBACK_MEMO = "callback"
"""Memo of an execution whose end somebody wants to know: its target, readable whatever became of the start."""


def delivery_id(execution_id: str, run_id: str) -> str:
    """Return the id of the delivery about a run; every run has its own, because a run's end may be no execution's."""
    return f"{execution_id}.callback.{run_id[-12:]}"


class CallbackTarget(BaseModel):
    """Who wants to know of an execution's end."""

    url: str
    secret: str | None = None
    """Name of the secret that signs; None: the one of the settings."""


class DeliverCallback(BaseModel):
    """Tell a target of the end of one run of an execution."""

    execution_id: str
    run_id: str
    target: CallbackTarget
    closed: bool = False
    """It has ended already, before it could start a delivery of its own."""


class CallbackOutcome(BaseModel):
    """What a delivery found or did; `continued`: the execution went on in a new run, which has its own delivery."""

    outcome: Literal["delivered", "open", "continued"]
    status: int | None = None
    """The receiver's HTTP status."""
