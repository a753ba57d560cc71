"""How long a `wait` step waits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from orchestrator.definition.limits import LONGEST_SECONDS
from orchestrator.execution.clock import parse_iso
from orchestrator.execution.errors_steps import StepFailure


def wait_seconds(path: str, fields: Mapping[str, Any], now: datetime) -> float:
    """Return the seconds from `now` until a wait is over; none or fewer when its moment has passed.

    Args:
        path: the step, for the error.
        fields: `seconds` or `until`, rendered.
        now: the present moment.

    Raises:
        StepFailure: the field is no number or no date, or over ten years away (`invalid-step-input`).
    """
    seconds = _until(path, fields["until"], now) if "until" in fields else _number(path, fields["seconds"])
    if seconds > LONGEST_SECONDS:
        raise StepFailure(f"step '{path}': a wait lasts ten years at most", code="invalid-step-input")
    return seconds


def _until(path: str, until: Any, now: datetime) -> float:
    try:
        return (parse_iso(until) - now).total_seconds()
    except (ValueError, TypeError, OverflowError) as error:
        message = f"step '{path}': 'until' is {until!r}, which is no ISO 8601 date and time"
        raise StepFailure(message, code="invalid-step-input") from error


def _number(path: str, seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0:
        raise StepFailure(
            f"step '{path}': 'seconds' is {seconds!r}, which is no number of seconds", code="invalid-step-input"
        )
    return float(seconds)
