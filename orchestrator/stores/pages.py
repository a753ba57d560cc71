"""Pages of a list: an opaque cursor that only its own list accepts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError

LARGEST_PAGE = 200
LONGEST_CURSOR = 400

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items in order; `next_cursor` is None on the last page."""

    items: Sequence[Item]
    next_cursor: str | None = None


def encode_cursor(kind: str, last_id: str) -> str:
    """Return the cursor that continues the list `kind` after `last_id`."""
    return base64.urlsafe_b64encode(f"{kind}\n{last_id}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str | None) -> str:
    """Return the id after which the list goes on, '' for its start.

    Raises:
        RequestError: the cursor was not given by this list.
    """
    if not cursor:
        return ""
    if len(cursor) > LONGEST_CURSOR:
        _refuse_cursor()
    try:
        text = base64.b64decode(
            cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True
        ).decode()
    except (binascii.Error, ValueError):
        _refuse_cursor()
    found_kind, separator, last_id = text.partition("\n")
    if not separator or found_kind != kind or not last_id or encode_cursor(kind, last_id) != cursor:
        _refuse_cursor()
    return last_id


def check_limit(limit: int) -> int:
    """Return the page size if it is one.

    Raises:
        RequestError: not between 1 and 200.
    """
    if not 1 <= limit <= LARGEST_PAGE:
        message = f"limit {limit} is not between 1 and {LARGEST_PAGE}"
        raise RequestError(message, issues=[Issue("invalid-limit", message, "/limit")])
    return limit


def _refuse_cursor() -> NoReturn:
    message = "the cursor was not given by this list"
    hint = "pass next_cursor of the previous page unchanged, or leave it out to start again"
    raise RequestError(message, hint=hint, issues=[Issue("invalid-cursor", message, "/cursor", hint=hint)])
