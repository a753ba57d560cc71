"""A schedule's times in Temporal's form."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.client import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec

from api.schemas.schedules import CalendarTimes, ScheduleTimes, moment_of
from orchestrator.definition.cron import Calendar, read_cron, read_field


def spec_of(times: ScheduleTimes) -> ScheduleSpec:
    """Return Temporal's form of a schedule's times: cron expressions become calendars."""
    calendars = [calendar for text in times.cron for calendar in read_cron(text)]
    calendars += [_fields_of(item) for item in times.calendars]
    return ScheduleSpec(
        calendars=[_calendar(item) for item in calendars],
        intervals=[
            ScheduleIntervalSpec(timedelta(seconds=item.every_seconds), timedelta(seconds=item.offset_seconds))
            for item in times.intervals
        ],
        skip=[_calendar(_fields_of(item)) for item in times.skip],
        start_at=moment_of(times.start_at) if times.start_at else None,
        end_at=moment_of(times.end_at) if times.end_at else None,
        jitter=timedelta(seconds=times.jitter_seconds) if times.jitter_seconds else None,
        time_zone_name=times.time_zone,
    )


def _fields_of(times: CalendarTimes) -> Calendar:
    every = {"second": "0-59", "minute": "0-59", "hour": "0-23"}
    return {
        # Temporal reads an absent one of these as 0.
        name: read_field(name, every.get(name, text) if text.strip() == "*" else text)
        for name, text in times.model_dump().items()
    }


def _calendar(fields: Calendar) -> ScheduleCalendarSpec:
    given: dict[str, Any] = {
        name: [ScheduleRange(span.first, span.last, span.step) for span in spans]
        for name, spans in fields.items()
        if spans
    }
    return ScheduleCalendarSpec(**given)
