"""Cron expressions: what is read, what is refused, and which times come out."""

from __future__ import annotations

import pytest

from orchestrator.definition.cron import MACROS, CronError, Span, numbers, read_cron, read_field


def test_a_cron_expression_is_a_calendar() -> None:
    (found,) = read_cron("*/15 9-17/2 1,15 jan-MAR *")
    assert numbers(found["minute"]) == [0, 15, 30, 45]
    assert numbers(found["hour"]) == [9, 11, 13, 15, 17]
    assert numbers(found["day_of_month"]) == [1, 15]
    assert numbers(found["month"]) == [1, 2, 3]
    assert found["day_of_week"] == ()


def test_a_star_is_every_minute_and_hour() -> None:
    (found,) = read_cron("* * * * *")
    assert (found["minute"], found["hour"]) == ((Span(0, 59),), (Span(0, 23),))


def test_a_day_of_the_month_and_one_of_the_week_mean_either() -> None:
    by_month, by_week = read_cron("0 8 13 * FRI")
    assert (numbers(by_month["day_of_month"]), by_month["day_of_week"]) == ([13], ())
    assert (by_week["day_of_month"], numbers(by_week["day_of_week"])) == ((), [5])


@pytest.mark.parametrize(("text", "days"), [("7", [0]), ("5-7", [0, 5, 6]), ("SUN", [0]), ("*/2", [0, 2, 4, 6])])
def test_seven_is_sunday_too(text: str, days: list[int]) -> None:
    assert numbers(read_field("day_of_week", text)) == days


@pytest.mark.parametrize("macro", MACROS)
def test_every_macro_is_readable(macro: str) -> None:
    assert len(read_cron(macro)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "five"),
        ("0 0 * *", "4 fields"),
        ("0 0 0 * * *", "6 fields"),
        ("60 * * * *", "minute '60'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * FEBR *", "month 'FEBR'"),
        ("* * * * 8", "day of week '8'"),
        ("5-1 * * * *", "before it begins"),
        ("*/0 * * * *", "is 0"),
        ("1,,2 * * * *", "is no minute"),
        ("0 0 31 2,4 *", "never run"),
        ("0 0 30 2 *", "never run"),
        ("@reboot", "none of"),
        ("CRON_TZ=Europe/Berlin 0 0 * * *", "time_zone"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(CronError, match=said):
        read_cron(text)
