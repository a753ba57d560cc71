"""Schedules: when executions start by themselves."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.dependencies import Services, ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.parameters import Cursor, ExpectedVersion, Limit, ScheduleId, WorkflowIdQuery, etag
from api.schedules import ScheduleService
from api.schemas.executions import ReasonRequest
from api.schemas.problems import WITH_BODY, problems
from api.schemas.schedules import NewSchedule, ScheduleChange, ScheduleDocument, SchedulePage, TriggerRequest

router = APIRouter(prefix="/schedules", tags=["schedules"], route_class=StrictJsonRoute)

Reason = Annotated[ReasonRequest | None, Body()]


@router.get("/", operation_id="list_schedules", summary="List schedules", responses=problems(422, 503))
async def list_schedules(
    services: ServicesDep, limit: Limit = 50, cursor: Cursor = None, workflow_id: WorkflowIdQuery = None
) -> SchedulePage:
    """Return schedules from Temporal's visibility; a new one shows up there within about a second."""
    return await _schedules(services).list(limit=limit, cursor=cursor, workflow_id=workflow_id)


@router.post(
    "/",
    operation_id="create_schedule",
    summary="Create a schedule",
    status_code=201,
    responses=problems(*WITH_BODY, 404, 409, 410, 503),
)
async def create_schedule(services: ServicesDep, body: NewSchedule, response: Response) -> ScheduleDocument:
    """Start executions of a workflow at the times that `cron`, `intervals` and `calendars` name.

    In `cron` a day of the month and a day of the week mean either of them, as in crontab(5); in `calendars` both.
    The input is checked now; without `version` a later version may refuse it, and then the run fails.
    """
    found = await _schedules(services).create(body)
    response.headers["Location"] = f"{PREFIX}/schedules/{body.schedule_id}"
    return _answer(found, response)


@router.get("/{schedule_id}", operation_id="get_schedule", summary="Read a schedule", responses=problems(404, 422, 503))
async def get_schedule(services: ServicesDep, schedule_id: ScheduleId, response: Response) -> ScheduleDocument:
    """Return a schedule with its next run times, its latest runs and those that have not ended."""
    return _answer(await _schedules(services).read(schedule_id), response)


@router.put(
    "/{schedule_id}",
    operation_id="put_schedule",
    summary="Change a schedule",
    responses=problems(*WITH_BODY, 404, 410, 412, 503),
)
async def put_schedule(
    services: ServicesDep,
    schedule_id: ScheduleId,
    body: ScheduleChange,
    expected: ExpectedVersion,
    response: Response,
) -> ScheduleDocument:
    """Replace all of a schedule; its runs and counts stay, and so does a pause unless `paused` says otherwise.

    The `ETag` counts changes and pauses, not runs.
    """
    return _answer(await _schedules(services).replace(schedule_id, body, if_revision=expected), response)


@router.delete(
    "/{schedule_id}",
    operation_id="delete_schedule",
    summary="Delete a schedule",
    status_code=204,
    responses=problems(404, 412, 422, 503),
)
async def delete_schedule(services: ServicesDep, schedule_id: ScheduleId, expected: ExpectedVersion) -> None:
    """Start nothing any more; executions that it started run on."""
    await _schedules(services).delete(schedule_id, if_revision=expected)


@router.post(
    "/{schedule_id}/pause",
    operation_id="pause_schedule",
    summary="Pause a schedule",
    responses=problems(*WITH_BODY, 404, 503),
)
async def pause_schedule(
    services: ServicesDep, schedule_id: ScheduleId, response: Response, body: Reason = None
) -> ScheduleDocument:
    """Start nothing until `resume`; executions that run go on. What falls into the pause is not caught up."""
    found = await _schedules(services).pause(schedule_id, body.reason if body else "")
    return _answer(found, response)


@router.post(
    "/{schedule_id}/resume",
    operation_id="resume_schedule",
    summary="Resume a schedule",
    responses=problems(*WITH_BODY, 404, 410, 503),
)
async def resume_schedule(
    services: ServicesDep, schedule_id: ScheduleId, response: Response, body: Reason = None
) -> ScheduleDocument:
    """Start executions again; 410 where the workflow was deleted."""
    found = await _schedules(services).resume(schedule_id, body.reason if body else "")
    return _answer(found, response)


@router.post(
    "/{schedule_id}/trigger",
    operation_id="trigger_schedule",
    summary="Start a run of a schedule now",
    status_code=202,
    responses=problems(*WITH_BODY, 404, 410, 503),
)
async def trigger_schedule(
    services: ServicesDep,
    schedule_id: ScheduleId,
    response: Response,
    body: Annotated[TriggerRequest | None, Body()] = None,
) -> ScheduleDocument:
    """Start a run now, also while the schedule is paused; the overlap policy holds.

    The run shows up in `recent_runs` once Temporal has started it.
    """
    return _answer(await _schedules(services).trigger(schedule_id, body.overlap if body else None), response)


def _schedules(services: Services) -> ScheduleService:
    return ScheduleService(services)


def _answer(document: ScheduleDocument, response: Response) -> ScheduleDocument:
    response.headers["ETag"] = etag(document.revision)
    return document
