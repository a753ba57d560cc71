"""Calls of the API as data: what is sent, and whether it may be sent again."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote

T = TypeVar("T")

NOTHING: Any = object()
"""No body, as opposed to a body that is null."""


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request.

    Attributes:
        method: the HTTP method.
        path: below `/api/v1`, quoted.
        query: parameters that are sent.
        body: any JSON value, JSON as bytes where they are signed, or `NOTHING`.
        headers: beside the client's own.
        repeatable: a second one does no more than the first: it is sent again when nobody knows what became of it.
        wait_seconds: how long the service may take beyond the time of other answers.
        form: `document`: a JSON object is expected, `text`: text, `events`: Server-Sent Events.
    """

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = NOTHING
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    wait_seconds: float = 0.0
    form: str = "document"

    def at(self, cursor: str) -> Call[T]:
        """The same call for another page."""
        return replace(self, query={**self.query, "cursor": cursor})


def path(*segments: str | int) -> str:
    """The path of these segments, each quoted.

    Raises:
        ValueError: a segment that would name another resource.
    """
    for segment in segments:
        if str(segment) in {"", ".", ".."}:
            raise ValueError(f"{segment!r} names no resource of the API")
    return "".join(f"/{quote(str(segment), safe='')}" for segment in segments)


def get(where: str, *, form: str = "document", **query: Any) -> Call[Any]:
    """A read."""
    return Call("GET", where, query=_given(query), repeatable=True, form=form)


def put(where: str, body: Any, *, expected_version: int | None = None) -> Call[Any]:
    """A write of a whole resource: the same content a second time is no second version."""
    return Call("PUT", where, body=body, headers=_expecting(expected_version), repeatable=True)


def delete(where: str, *, expected_version: int | None = None) -> Call[Any]:
    """A removal."""
    return Call("DELETE", where, headers=_expecting(expected_version), repeatable=True)


def post(
    where: str, body: Any = NOTHING, *, repeatable: bool = False, wait_seconds: float = 0.0, **query: Any
) -> Call[Any]:
    """An action; not repeated unless a second one does no more than the first."""
    return Call("POST", where, _given(query), body, repeatable=repeatable, wait_seconds=wait_seconds)


def keyed(where: str, body: Any, key: str | None, *, wait_seconds: float = 0.0) -> Call[Any]:
    """An action that the service takes once for each `Idempotency-Key`; a key of its own where none is given."""
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return Call("POST", where, body=body, headers=headers, repeatable=True, wait_seconds=wait_seconds)


def expecting(call: Call[T], version: int | None) -> Call[T]:
    """The same call, refused with 412 unless this version is the latest; 0: unless there is none yet."""
    return replace(call, headers={**call.headers, **_expecting(version)})


def fields(**given: Any) -> dict[str, Any]:
    """A body of the fields that are not None."""
    return {name: value for name, value in given.items() if value is not None}


def _expecting(version: int | None) -> dict[str, str]:
    if version is None:
        return {}
    return {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}


def _given(query: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in query.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else value
