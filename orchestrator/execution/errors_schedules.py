"""The leaves of the error tree that speak of schedules and inbound webhooks: what starts executions by itself."""

from __future__ import annotations

from orchestrator.execution.errors import Conflict, NotFound, OrchestratorError


class ScheduleNotFound(NotFound):
    """No schedule has this id."""

    code = "schedule-not-found"
    title = "Schedule not found"


class ScheduleExists(Conflict):
    """A schedule with this id exists."""

    code = "schedule-exists"
    title = "Schedule exists"


class HookNotFound(NotFound):
    """The workflow's definition takes no webhooks."""

    code = "hook-not-found"
    title = "Hook not found"


class InvalidSignature(OrchestratorError):
    """A webhook's signature is absent, wrong or too old."""

    code = "invalid-signature"
    title = "Invalid signature"
