"""The leaves of the error tree that speak of schedules."""

from __future__ import annotations

from orchestrator.execution.errors import Conflict, NotFound


class ScheduleNotFound(NotFound):
    """No schedule has this id."""

    code = "schedule-not-found"
    title = "Schedule not found"


class ScheduleExists(Conflict):
    """A schedule with this id exists."""

    code = "schedule-exists"
    title = "Schedule exists"
