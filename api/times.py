"""Times as the API writes them: ISO 8601, UTC, with `Z`."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def text_of(moment: datetime | Timestamp | None) -> str | None:
    """Return the text of an aware UTC time; None for an absent one."""
    if isinstance(moment, Timestamp):
        moment = moment.ToDatetime(UTC) if moment.seconds else None
    return moment.isoformat().replace("+00:00", "Z") if moment else None
