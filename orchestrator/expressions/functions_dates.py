"""Dates: ISO 8601 in, UTC out, without locale, time zone database or clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction

from orchestrator.expressions.errors import ExpressionError
from orchestrator.expressions.functions import Function, need_text
from orchestrator.expressions.meter import Evaluation, Host, Json
from orchestrator.expressions.values import mismatch

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.,]([0-9]{1,9}))?)?\s?([Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_SHORT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|[wdhms])\s*")
_ISO = re.compile(
    r"P(?:([0-9.]+)Y)?(?:([0-9.]+)M)?(?:([0-9.]+)W)?(?:([0-9.]+)D)?"
    r"(?:T(?:([0-9.]+)H)?(?:([0-9.]+)M)?(?:([0-9.]+)S)?)?"
)
_SECONDS: dict[str, int | Fraction] = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": Fraction(1, 1_000)}
_UNITS = {
    "weeks": "w",
    "days": "d",
    "hours": "h",
    "minutes": "m",
    "seconds": "s",
    "milliseconds": "ms",
} | {unit: unit for unit in _SECONDS}
_LONGEST = 64
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)


def parse_date(function: str, value: Json) -> datetime:
    """Return the aware UTC datetime of an ISO 8601 text; without an offset it is UTC, without a time midnight."""
    text = need_text(function, value)
    found = _DATE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ExpressionError(
            "E_DATE", f"'{_short(text)}' is not a date", hint="dates look like 2026-03-01 or 2026-03-01T09:30:00Z"
        )
    year, month, day, hour, minute, second, fraction, zone = found.groups(default="")
    try:
        local = datetime(
            int(year),
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int(f"{fraction:0<6}"[:6] or 0),
            tzinfo=UTC,
        )
        if zone in ("", "Z", "z"):
            return local
        hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
        if hours > 23 or minutes > 59:
            raise ValueError
        offset = timedelta(hours=hours, minutes=minutes)
        return local + offset if zone[0] == "-" else local - offset
    except (ValueError, OverflowError):
        raise ExpressionError("E_DATE", f"'{_short(text)}' is not a date that exists") from None


def render_date(date: datetime) -> str:
    """Return ISO 8601 with `Z`, with a fraction of a second only where there is one."""
    text = date.isoformat(timespec="microseconds").removesuffix("+00:00")
    return text.rstrip("0").removesuffix(".") + "Z" if "." in text else text + "Z"


def _parse_duration(text: str) -> tuple[int, Fraction]:
    """Return the calendar months and the seconds of `7d`, `2h30m`, `-90s`, `PT1H` or `P1M`."""
    body = text.strip()
    sign = -1 if body.startswith("-") else 1
    body = body.lstrip("+-") if body[:1] in ("+", "-") and body[1:2] not in ("+", "-") else body
    if len(text) <= _LONGEST and body:
        if body[0] in "Pp":
            found = _ISO.fullmatch(body.upper())
            if found and any(found.groups()) and body[-1] not in "Tt":
                numbers = [_decimal(text, part) for part in found.groups(default="0")]
                months = numbers[0] * 12 + numbers[1]
                if months.denominator == 1:
                    units = (604_800, 86_400, 3_600, 60, 1)
                    seconds = sum((n * u for n, u in zip(numbers[2:], units, strict=True)), Fraction(0))
                    return sign * int(months), sign * seconds
        else:
            position, seconds = 0, Fraction(0)
            while found := _SHORT.match(body, position):
                seconds += _decimal(text, found[1]) * _SECONDS[found[2]]
                position = found.end()
            if position == len(body):
                return 0, sign * seconds
    raise _no_duration(text)


def _decimal(text: str, digits: str) -> Fraction:
    if digits.count(".") > 1 or not digits[0].isdigit() or not digits[-1].isdigit():
        raise _no_duration(text)
    return Fraction(digits)


def _no_duration(text: str) -> ExpressionError:
    return ExpressionError(
        "E_DATE", f"'{_short(text)}' is not a duration", hint="durations look like 7d, 2h30m, -90s, 250ms, PT1H or P1M"
    )


def _date_add(state: Evaluation, value: Json, duration: Json) -> str:
    date = parse_date("date_add", value)
    if type(duration) is int or type(duration) is float:
        months, seconds = 0, Fraction(duration)
    elif type(duration) is str:
        months, seconds = _parse_duration(duration)
    else:
        mismatch("date_add needs a duration", duration, hint="durations look like 7d, 2h30m or PT1H")
    try:
        if months:
            place = date.year * 12 + date.month - 1 + months
            year, month = place // 12, place % 12 + 1
            date = date.replace(year=year, month=month, day=min(date.day, _days_in(year, month)))
        return render_date(date + timedelta(microseconds=round(seconds * 1_000_000)))
    except (OverflowError, ValueError):
        raise ExpressionError("E_DATE", "the date is out of range: years go from 1 to 9999") from None


def _days_in(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


def _date_diff(state: Evaluation, value: Json, other: Json, unit: Json = "seconds") -> int | float:
    name = need_text("date_diff", unit)
    if name not in _UNITS and name + "s" not in _UNITS:
        raise ExpressionError(
            "E_DATE", f"unknown unit '{_short(name)}'", hint="the units are weeks, days, hours, minutes, seconds, ms"
        )
    difference = parse_date("date_diff", value) - parse_date("date_diff", other)
    micros = (difference.days * 86_400 + difference.seconds) * 1_000_000 + difference.microseconds
    amount = Fraction(micros, 1_000_000) / _SECONDS[_UNITS.get(name) or _UNITS[name + "s"]]
    return amount.numerator if amount.denominator == 1 else float(amount)


def _date_format(state: Evaluation, value: Json, pattern: Json) -> str:
    date = parse_date("date_format", value)
    state.text(4 * len(need_text("date_format", pattern)) + 32)
    state.charge(len(pattern) >> 2)
    directives = _directives(date)
    parts: list[str] = []
    position = 0
    while (at := pattern.find("%", position)) >= 0:
        parts.append(pattern[position:at])
        letter = pattern[at + 1 : at + 2]
        if letter not in directives:
            known = " ".join("%" + directive for directive in directives)
            raise ExpressionError("E_DATE", f"unknown directive '%{letter}'", hint=f"the directives are {known}")
        parts.append(directives[letter])
        position = at + 2
    if not parts:
        raise ExpressionError(
            "E_DATE", f"'{_short(pattern)}' has no date in it", hint="formats look like %Y-%m-%d %H:%M:%S"
        )
    return "".join(parts) + str(pattern[position:])


def _directives(date: datetime) -> dict[str, str]:
    day, month = _DAYS[date.weekday()], _MONTHS[date.month - 1]
    return {
        "Y": f"{date.year:04}",
        "y": f"{date.year % 100:02}",
        "m": f"{date.month:02}",
        "d": f"{date.day:02}",
        "e": str(date.day),
        "H": f"{date.hour:02}",
        "I": f"{(date.hour - 1) % 12 + 1:02}",
        "p": "AM" if date.hour < 12 else "PM",
        "M": f"{date.minute:02}",
        "S": f"{date.second:02}",
        "f": f"{date.microsecond:06}",
        "j": f"{date.timetuple().tm_yday:03}",
        "a": day[:3],
        "A": day,
        "u": str(date.isoweekday()),
        "V": f"{date.isocalendar().week:02}",
        "G": f"{date.isocalendar().year:04}",
        "b": month[:3],
        "B": month,
        "F": f"{date.year:04}-{date.month:02}-{date.day:02}",
        "T": f"{date.hour:02}:{date.minute:02}:{date.second:02}",
        "s": str((date - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)),
        "z": "+0000",
        "Z": "UTC",
        "%": "%",
    }


def _now(state: Evaluation) -> str:
    return render_date(parse_date("now", _host(state, "now").now()))


def _uuid(state: Evaluation) -> str:
    state.allocate(36)
    return _host(state, "uuid").uuid()


def _host(state: Evaluation, function: str) -> Host:
    if state.host is None:
        raise ExpressionError(
            "E_NAME", f"{function}() is not available here", hint="only the steps of a running workflow have it"
        )
    return state.host


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"


DATE_FUNCTIONS = {
    "now": Function("now()", _now, 0, 0, cost=10),
    "uuid": Function("uuid()", _uuid, 0, 0, cost=10),
    "date_add": Function("date_add(date, '7d')", _date_add, 2, 2, cost=16),
    "date_diff": Function("date_diff(later, earlier, 'days'?)", _date_diff, 2, 3, cost=16),
    "date_format": Function("date_format(date, '%Y-%m-%d')", _date_format, 2, 2, cost=10),
}
