"""Bounds of what an error holds: it is copied into states, envelopes and histories, and Temporal refuses large ones."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

TYPE_CHARACTERS = 128
"""What `on_error.errors` can name; Temporal ends an execution whose search attribute has over 2 KiB."""
MESSAGE_BYTES = 2048
DETAILS_BYTES = 16 * 1024
OWN_MESSAGE_CHARACTERS = 10_000
"""Of a `fail` step: what its field may hold before it is rendered."""
OWN_DETAILS_BYTES = 128 * 1024


def clean_text(text: str, limit: int = MESSAGE_BYTES) -> str:
    """Return text that UTF-8 can carry (lone surrogates replaced), cut to `limit` bytes."""
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode("utf-8")
    return data[: limit - 3].decode("utf-8", "ignore") + "…"


def cut_text(text: str, most: int = OWN_MESSAGE_CHARACTERS) -> str:
    """Return text of at most so many characters, as it is where it is no longer."""
    return text if len(text) <= most else text[: most - 1] + "…"


def bounded_details(details: dict[str, Any], limit: int = DETAILS_BYTES) -> dict[str, Any]:
    """Return details that serialise to at most `limit` bytes, replaced by a cut text where they do not."""
    try:
        text = to_json(details, fallback=repr)
    except ValueError:
        text = repr(details).encode("utf-8", "replace")
        return {"truncated": clean_text(text.decode("utf-8", "replace"), DETAILS_BYTES // 4)}
    if len(text) <= limit:
        return details
    return {"truncated": clean_text(text.decode("utf-8", "replace"), DETAILS_BYTES // 4)}
