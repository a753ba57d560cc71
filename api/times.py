"""Times as the API takes and writes them: ISO 8601; what it writes is UTC, with `Z`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp


def text_of(moment: datetime | Timestamp | None) -> str | None:
    """Return the text of an aware UTC time; None for an absent one."""
    if isinstance(moment, Timestamp):
        moment = moment.ToDatetime(UTC) if moment.seconds else None
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def no_number(value: Any) -> Any:
    """Refuse the seconds that a datetime would be read from, too: `2026` is no year there, but half an hour of 1970."""
    if isinstance(value, str) and re.fullmatch(r"[\s+-]*[0-9.eE+_]*\s*", value):
        raise ValueError("a time is written by ISO 8601, such as 2026-11-22T14:00:00Z")
    return value
