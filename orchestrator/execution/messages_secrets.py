"""Where an activity puts secrets into its input: names only, the values never travel."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from orchestrator.expressions import SecretRef
from orchestrator.expressions import SecretSlot as RenderedSlot


class SecretName(BaseModel):
    """A secret by name."""

    secret: str


class SecretSlot(BaseModel):
    """One text of the input, null until the activity fills it.

    What a workflow rendered is a plain text among `parts`, whatever it looks like: data cannot name a secret.
    """

    pointer: str
    """JSON pointer inside the input: `/headers/Authorization`."""
    parts: list[str | SecretName]
    """What to join."""


def slots_of(field: str, rendered: Iterable[RenderedSlot]) -> list[SecretSlot]:
    """Return the slots of a rendered field of the input."""
    return [
        SecretSlot(
            pointer=f"/{field}{slot.pointer}",
            parts=[SecretName(secret=part.name) if isinstance(part, SecretRef) else part for part in slot.parts],
        )
        for slot in rendered
    ]
