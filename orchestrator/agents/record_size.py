"""What agent and tool records have in common: they are JSON of a bounded size."""

from __future__ import annotations

from typing import Any

import orjson

from orchestrator.definition.issues import Issue

RECORD_BYTES = 256 * 1024


def size_issues(record: dict[str, Any]) -> list[Issue]:
    """Return what is wrong with a record before its fields are looked at."""
    try:
        size = len(orjson.dumps(record))
    except (TypeError, ValueError, RecursionError) as error:
        return [Issue("invalid-json", f"the record is not JSON: {error}", "")]
    if size > RECORD_BYTES:
        return [Issue("record-too-large", f"the record has {size:,} bytes; {RECORD_BYTES:,} are allowed", "")]
    return []
