"""Pages of a list: an opaque cursor that only its own list accepts."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError

LARGEST_PAGE = 200
LONGEST_CURSOR = 2000
MOST_DIGITS = 10

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


def decode_number(kind: str, cursor: str | None) -> int | None:
    """Return the number after which a list of numbered items goes on, None for its start.

    Raises:
        RequestError: the cursor was not given by this list.
    """
    last_id = decode_cursor(kind, cursor)
    if not last_id:
        return None
    if not (last_id.isascii() and last_id.isdigit() and len(last_id) <= MOST_DIGITS):
        _refuse_cursor()
    return int(last_id)


def page_of(
    kind: str, items: Sequence[Item], place_of: Callable[[Item], str], *, limit: int, cursor: str | None
) -> Page[Item]:
    """Return a page of a list that is at hand as a whole.

    Args:
        kind: names the list in cursors.
        items: the whole list, in the order of their places.
        place_of: gives an item's place, which no other item has.
        limit: items per page.
        cursor: `next_cursor` of the page before; the item it ends with may be gone.

    Raises:
        RequestError: bad limit or cursor.
    """
    check_limit(limit)
    after = decode_cursor(kind, cursor)
    start = bisect_right(items, after, key=place_of) if after else 0
    found = items[start : start + limit]
    more = start + limit < len(items)
    return Page(found, encode_cursor(kind, place_of(found[-1])) if more else None)


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
