"""Fills the secrets into an activity's input, just before they are needed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_secrets import SecretName, SecretSlot
from orchestrator.secrets import Secrets


class SlottedRequest(Protocol):
    """A step's request that may have slots; nothing else of it can become a secret."""

    call: StepCall
    secret_slots: list[SecretSlot]


Request = TypeVar("Request", bound=SlottedRequest)


async def filled(request: Request, secrets: Secrets) -> Request:
    """Return a copy of the request with its slots filled; the request itself never holds a value.

    Raises:
        MissingSecret: a secret is not configured.
        Unavailable: a source of secrets failed.
    """
    if not request.secret_slots:
        return request
    names = [part.secret for slot in request.secret_slots for part in slot.parts if isinstance(part, SecretName)]
    values = await secrets.values(names, request.call.path)
    assert isinstance(request, BaseModel)
    fields = {slot.pointer.split("/")[1] for slot in request.secret_slots}
    holder: dict[str, Any] = {name: copy.deepcopy(getattr(request, name)) for name in sorted(fields)}
    for slot in request.secret_slots:
        _put(holder, slot.pointer, _joined(slot.parts, values))
    return request.model_copy(update=holder)


def _joined(parts: Sequence[str | SecretName], values: dict[str, str]) -> str:
    return "".join(values[part.secret] if isinstance(part, SecretName) else part for part in parts)


def _put(holder: Any, pointer: str, text: str) -> None:
    *way, last = [key.replace("~1", "/").replace("~0", "~") for key in pointer.split("/")[1:]]
    for key in way:
        holder = holder[int(key)] if isinstance(holder, list) else holder[key]
    holder[int(last) if isinstance(holder, list) else last] = text
