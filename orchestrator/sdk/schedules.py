"""Schedules: when executions start by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.sdk.calls import Call, delete, fields, get, path, post, put
from orchestrator.sdk.documents import ScheduleDocument, SchedulePage, ScheduleSummary
from orchestrator.sdk.methods import Operation, items_of


class ScheduleOperations:
    """Schedules over Temporal's own."""

    @Operation
    def list_schedules(
        self, *, workflow_id: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Call[SchedulePage]:
        """A page of schedules."""
        return get("/schedules/", workflow_id=workflow_id, limit=limit, cursor=cursor)

    iter_schedules = items_of(list_schedules, ScheduleSummary)

    @Operation
    def create_schedule(self, schedule: Mapping[str, Any]) -> Call[ScheduleDocument]:
        """Create a schedule: `schedule_id`, `workflow_id`, `cron` and so on, as the API takes it."""
        return post("/schedules/", schedule)

    @Operation
    def get_schedule(self, schedule_id: str) -> Call[ScheduleDocument]:
        """A schedule with its next run times and its latest runs."""
        return get(path("schedules", schedule_id))

    @Operation
    def put_schedule(
        self, schedule_id: str, schedule: Mapping[str, Any], *, expected_version: int | None = None
    ) -> Call[ScheduleDocument]:
        """Replace all of a schedule; `expected_version` is the `revision` that the change rests on."""
        return put(path("schedules", schedule_id), schedule, expected_version=expected_version)

    @Operation
    def delete_schedule(self, schedule_id: str, *, expected_version: int | None = None) -> Call[None]:
        """Start nothing any more; executions that run go on."""
        return delete(path("schedules", schedule_id), expected_version=expected_version)

    @Operation
    def pause_schedule(self, schedule_id: str, reason: str | None = None) -> Call[ScheduleDocument]:
        """Start nothing until it is resumed."""
        return post(path("schedules", schedule_id, "pause"), fields(reason=reason), repeatable=True)

    @Operation
    def resume_schedule(self, schedule_id: str, reason: str | None = None) -> Call[ScheduleDocument]:
        """Start executions again."""
        return post(path("schedules", schedule_id, "resume"), fields(reason=reason), repeatable=True)

    @Operation
    def trigger_schedule(self, schedule_id: str, overlap: str | None = None) -> Call[ScheduleDocument]:
        """Start a run now."""
        return post(path("schedules", schedule_id, "trigger"), fields(overlap=overlap))
