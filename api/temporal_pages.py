"""Cursors of lists that Temporal pages: its page token, bound to the list and its filters."""

from __future__ import annotations

import base64
import binascii
import hashlib

from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError

_CHECK_BYTES = 8


def _check_of(query: str, token: bytes) -> bytes:
    return hashlib.sha256(query.encode() + b"\n" + token).digest()[:_CHECK_BYTES]


def page_cursor(query: str, token: bytes) -> str:
    """Return the cursor of a page token that Temporal gave for a query."""
    return base64.urlsafe_b64encode(_check_of(query, token) + token).decode().rstrip("=")


def page_token(query: str, cursor: str | None) -> bytes | None:
    """Return Temporal's page token; it is checked here because the server answers a broken one with retries.

    Raises:
        RequestError: the cursor was not given for this query.
    """
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        data = b""
    check, token = data[:_CHECK_BYTES], data[_CHECK_BYTES:]
    if not token or check != _check_of(query, token):
        message = "the cursor was not given by this list with these filters"
        hint = "pass next_cursor of the previous page unchanged, or leave it out to start again"
        raise RequestError(message, hint=hint, issues=[Issue("invalid-cursor", message, "/cursor", hint=hint)])
    return token
