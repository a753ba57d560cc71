"""Schedules as the API takes and shows them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from api.schemas.executions import Body, TagKey, TagValue
from orchestrator.definition.cron import checked, read_cron, read_field
from orchestrator.expressions import suggest

Overlap = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow_all"]
MOST_TIMES = 20
LONGEST_SECONDS = 315_360_000

NIGHTLY: dict[str, Any] = {
    "schedule_id": "nightly-report",
    "workflow_id": "report",
    "input_data": {"kind": "sales"},
    "cron": ["30 2 * * MON-FRI"],
    "time_zone": "Europe/Berlin",
    "overlap": "skip",
}
HOURLY: dict[str, Any] = {
    "schedule_id": "sync",
    "workflow_id": "sync-stock",
    "version": 3,
    "intervals": [{"every_seconds": 3600, "offset_seconds": 300}],
    "jitter_seconds": 30,
    "start_at": "2027-01-01T00:00:00Z",
}


def _check_cron(text: str) -> str:
    read_cron(text)
    return text


def _check_zone(text: str) -> str:
    # The machine's own zone would be another one in the API and in Temporal.
    known = available_timezones() - {"localtime"}
    if text not in known:
        near = suggest(text, known)
        raise ValueError(f"there is no time zone '{text}'" + (f"; did you mean '{near}'?" if near else ""))
    return text


def _check_moment(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError("write a time as 2027-01-31T08:00:00Z, with its offset from UTC")
    try:
        moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is outside of the calendar") from error
    return text


Cron = Annotated[str, Field(max_length=200), AfterValidator(_check_cron)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_check_zone)]
Moment = Annotated[str, Field(max_length=40), AfterValidator(_check_moment)]
CalendarField = Annotated[str, Field(max_length=200)]


class Interval(Body):
    """Every so often, counted from 1970."""

    every_seconds: int = Field(ge=1, le=LONGEST_SECONDS)
    offset_seconds: int = Field(0, ge=0, le=LONGEST_SECONDS, description="shifts every run; less than `every_seconds`")

    @model_validator(mode="after")
    def _shift_within(self) -> Interval:
        if self.offset_seconds >= self.every_seconds:
            raise ValueError("offset_seconds must be less than every_seconds")
        return self


class CalendarTimes(Body):
    """Times that match every field; each is written as in cron: `*`, `9`, `MON-FRI`, `*/15`, `1,15`."""

    second: CalendarField = "0"
    minute: CalendarField = "0"
    hour: CalendarField = "0"
    day_of_month: CalendarField = "*"
    month: CalendarField = "*"
    year: CalendarField = "*"
    day_of_week: CalendarField = Field("*", description="0 is Sunday")

    @model_validator(mode="after")
    def _readable(self) -> CalendarTimes:
        checked({name: read_field(name, text) for name, text in self.model_dump().items()})
        return self


class ScheduleTimes(Body):
    """When a schedule starts executions: at every time that one of `cron`, `intervals` and `calendars` names."""

    cron: list[Cron] = Field(
        default_factory=list,
        max_length=MOST_TIMES,
        description="five fields as in crontab(5), or @hourly, @daily, @weekly, @monthly, @yearly",
        examples=[["30 2 * * MON-FRI"]],
    )
    intervals: list[Interval] = Field(default_factory=list, max_length=MOST_TIMES)
    calendars: list[CalendarTimes] = Field(default_factory=list, max_length=MOST_TIMES)
    skip: list[CalendarTimes] = Field(default_factory=list, max_length=MOST_TIMES, description="times left out")
    time_zone: Zone = Field("UTC", description="IANA name; of `cron`, `calendars` and `skip`")
    jitter_seconds: int = Field(0, ge=0, le=86_400, description="every run is late by a random time up to this")
    start_at: Moment | None = Field(None, description="no run before")
    end_at: Moment | None = Field(None, description="no run after")

    @model_validator(mode="after")
    def _some_time(self) -> ScheduleTimes:
        if not (self.cron or self.intervals or self.calendars):
            raise ValueError("give at least one of 'cron', 'intervals', 'calendars'")
        if self.start_at and self.end_at and moment_of(self.end_at) <= moment_of(self.start_at):
            raise ValueError("end_at must be after start_at")
        return self


class ScheduleBody(ScheduleTimes):
    """What a schedule starts, when, and what happens when it cannot."""

    workflow_id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="null: the latest at each run")
    input_data: Any = Field(default_factory=dict, description="any JSON value; `input_schema` may restrict it")
    tags: dict[TagKey, TagValue] = Field(default_factory=dict, max_length=50)
    overlap: Overlap = Field("skip", description="what happens when the run before has not ended")
    catch_up_window_seconds: int = Field(
        3600, ge=10, le=LONGEST_SECONDS, description="how late a run may be after Temporal was away"
    )
    pause_on_failure: bool = Field(False, description="pause the schedule when a run fails or times out")
    paused: bool | None = Field(None, description="null: as it is; of a new schedule false")
    note: str = Field("", max_length=1000, description="for people; a pause writes its reason here")


class NewSchedule(ScheduleBody):
    """A schedule under an id."""

    model_config = ConfigDict(json_schema_extra={"examples": [NIGHTLY, HOURLY]})

    schedule_id: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")


class ScheduleChange(ScheduleBody):
    """A schedule in full; its id is the path's."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{key: value for key, value in NIGHTLY.items() if key != "schedule_id"}]}
    )


class TriggerRequest(Body):
    """How to start a run now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap": "allow_all"}]})

    overlap: Overlap | None = Field(None, description="instead of the schedule's own")


class ScheduledRun(BaseModel):
    """One execution that a schedule started."""

    execution_id: str
    scheduled_at: str | None
    started_at: str | None


class ScheduleSummary(BaseModel):
    """One schedule in a list, as Temporal's visibility knows it."""

    schedule_id: str
    workflow_id: str | None
    version: int | None
    tags: dict[str, str] = Field(default_factory=dict)
    paused: bool
    note: str
    next_runs: list[str] = Field(description="the next run times, jitter included")
    recent_runs: list[ScheduledRun] = Field(description="the latest runs, oldest first")


class SchedulePage(BaseModel):
    """Schedules, in Temporal's order."""

    items: list[ScheduleSummary]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")


class ScheduleDocument(ScheduleSummary):
    """One schedule."""

    revision: int = Field(description="counts changes and pauses, not runs; the `ETag` for `If-Match`")
    input_data: Any
    cron: list[str]
    intervals: list[Interval]
    calendars: list[CalendarTimes]
    skip: list[CalendarTimes]
    time_zone: str
    jitter_seconds: int
    start_at: str | None
    end_at: str | None
    overlap: Overlap
    catch_up_window_seconds: int
    pause_on_failure: bool
    running: list[str] = Field(description="ids of executions that have not ended")
    runs: int = Field(description="how many executions it started")
    missed_runs: int = Field(description="runs that were too late for the catch-up window")
    skipped_runs: int = Field(description="runs left out because of `overlap`")
    created_at: str | None
    updated_at: str | None


def moment_of(text: str) -> datetime:
    """Return the aware time that a checked text names."""
    return datetime.fromisoformat(text).astimezone(UTC)
