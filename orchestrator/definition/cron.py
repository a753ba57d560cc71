"""Reads the fields of cron expressions and calendars: ranges with steps, names of months and days."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MACROS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTH_NAMES: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS: Final = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS: Final = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_PIECE: Final = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[0-9A-Z]{1,4})(?:-(?P<last>[0-9A-Z]{1,4}))?)(?:/(?P<step>[0-9]{1,4}))?"
)
_LONGEST_MONTHS: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class CronError(ValueError):
    """An expression or a field breaks a rule; the text says which."""


@dataclass(frozen=True, slots=True)
class Span:
    """Every `step`th number from `first` to `last`."""

    first: int
    last: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Field:
    """What a field may hold."""

    name: str
    least: int
    most: int
    names: Mapping[str, int]

    def number(self, text: str) -> int:
        """Return a number or a name's number.

        Raises:
            CronError: it is neither, or out of bounds.
        """
        found = self.names.get(text, int(text) if text.isdigit() else None)
        if found is None or not self.least <= found <= self.most:
            names = f" or {next(iter(self.names))}…" if self.names else ""
            raise CronError(f"{self.name} '{text}' is not between {self.least} and {self.most}{names}")
        return found


FIELDS: Final[Mapping[str, Field]] = {
    "second": Field("second", 0, 59, {}),
    "minute": Field("minute", 0, 59, {}),
    "hour": Field("hour", 0, 23, {}),
    "day_of_month": Field("day of month", 1, 31, {}),
    "month": Field("month", 1, 12, _MONTHS),
    "year": Field("year", 2000, 9999, {}),
    # 7 is Sunday too.
    "day_of_week": Field("day of week", 0, 7, _DAYS),
}
_CRON_FIELDS: Final = ("minute", "hour", "day_of_month", "month", "day_of_week")

Calendar = Mapping[str, Sequence[Span]]
"""Times that match every field; an absent day, month or year matches all."""


def read_field(name: str, text: str) -> tuple[Span, ...]:
    """Return the spans of one field; empty for all.

    Args:
        name: one of `FIELDS`.
        text: `*`, `*/5`, `1,15`, `MON-FRI`, `9-17/2`.

    Raises:
        CronError: it breaks the grammar or the field's bounds.
    """
    field = FIELDS[name]
    if text.strip() == "*":
        return ()
    spans: list[Span] = []
    for piece in text.strip().upper().split(","):
        spans.extend(_spans(field, piece))
    return tuple(spans)


def _spans(field: Field, piece: str) -> list[Span]:
    found = _PIECE.fullmatch(piece)
    if found is None:
        raise CronError(f"'{piece[:40]}' is no {field.name}: write *, 5, 1-5, */5, 1,15" + _names_of(field))
    step = int(found["step"] or 1)
    if step < 1:
        raise CronError(f"the step of {field.name} '{piece}' is 0")
    first = field.least if found["all"] else field.number(found["first"])
    last = first
    if found["last"]:
        last = field.number(found["last"])
    elif found["all"] or found["step"]:
        last = 6 if field.names is _DAYS else field.most
    if last < first:
        raise CronError(f"{field.name} '{piece}' ends before it begins")
    if field.names is _DAYS and last == 7:
        return _with_sunday(first, step)
    return [Span(first, last, step)]


def _with_sunday(first: int, step: int) -> list[Span]:
    days = [day % 7 for day in range(first, 8, step)]
    return [Span(day, day) for day in sorted(days)]


def _names_of(field: Field) -> str:
    return f" or names such as {next(iter(field.names))}" if field.names else ""


def read_cron(expression: str) -> list[Calendar]:
    """Return the calendars of a cron expression: two, where days of the month and of the week are both named.

    As in crontab(5) such an expression means either of them.

    Args:
        expression: five fields, or one of `MACROS`.

    Raises:
        CronError: it breaks the grammar, or names no day that exists.
    """
    text = expression.strip()
    if text.upper().startswith(("CRON_TZ=", "TZ=")):
        raise CronError("the time zone does not belong into the expression: give it as time_zone")
    if text.startswith("@") and text.lower() not in MACROS:
        raise CronError(f"'{text[:40]}' is none of {', '.join(MACROS)}")
    parts = MACROS.get(text.lower(), text).split()
    if len(parts) != len(_CRON_FIELDS):
        raise CronError(f"'{text[:80]}' has {len(parts)} fields, not five: minute hour day-of-month month day-of-week")
    fields = {name: read_field(name, part) for name, part in zip(_CRON_FIELDS, parts, strict=True)}
    # An absent minute or hour of a calendar is 0; in cron `*` is every one.
    fields["minute"] = fields["minute"] or (Span(0, 59),)
    fields["hour"] = fields["hour"] or (Span(0, 23),)
    if fields["day_of_month"] and fields["day_of_week"]:
        return [checked({**fields, "day_of_week": ()}), {**fields, "day_of_month": ()}]
    return [checked(fields)]


def checked(calendar: Calendar) -> Calendar:
    """Return a calendar that names a day which exists.

    Raises:
        CronError: none of its months has any of its days.
    """
    days = numbers(calendar.get("day_of_month", ())) or range(1, 32)
    months = numbers(calendar.get("month", ())) or range(1, 13)
    if not any(day <= _LONGEST_MONTHS.get(month, 31) for month in months for day in days):
        raise CronError("no month that it names has a day that it names: it would never run")
    return calendar


def numbers(spans: Sequence[Span]) -> list[int]:
    """Return the numbers in spans, sorted."""
    return sorted({number for span in spans for number in range(span.first, span.last + 1, span.step)})
