"""Executions: start, list, read, pause, resume, cancel."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response
from pydantic import BeforeValidator

from api.access import access_of
from api.dependencies import ServicesDep
from api.execution_control import ExecutionControl
from api.execution_lists import ListFilters, list_executions
from api.idempotent_starts import keyed_start, start_once
from api.json_body import StrictJsonRoute
from api.parameters import Cursor, ExecutionId, ExistingWorkflowId, Limit, ScheduleIdQuery, StartKey, WorkflowIdQuery
from api.schemas.executions import (
    AwaitedDetail,
    ExecuteRequest,
    ExecutionDocument,
    ExecutionPage,
    ExecutionStatus,
    ReasonRequest,
)
from api.schemas.problems import WITH_BODY, problems
from api.start_answers import answer_start
from api.starts import check_input, pin_definition, start
from api.times import no_number
from orchestrator.execution.messages_ledger import LedgerView

router = APIRouter(tags=["executions"], route_class=StrictJsonRoute)

Reason = Annotated[ReasonRequest | None, Body()]
TagQuery = Annotated[
    str | None, Query(pattern=r"^[^'\"\\=]{1,64}=[^'\"\\]{0,256}$", description="only with this tag, `key=value`")
]
ErrorTypeQuery = Annotated[
    str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,128}$", description="only failures of this type")
]


Moment = Annotated[
    datetime | None, BeforeValidator(no_number), Query(description="ISO 8601; UTC where it has no offset")
]
_ACTION = problems(*WITH_BODY, 404, 409, 503)


@router.post(
    "/workflows/{workflow_id}/execute",
    operation_id="execute_workflow",
    summary="Start an execution",
    responses={
        200: {
            "model": ExecutionDocument,
            "description": "Synchronous: the execution is closed, failed ones too; or the same start was made before",
        },
        202: {"model": ExecutionDocument, "description": "Started; read it at `Location`"},
        **problems(*WITH_BODY, 404, 409, 410, 503),
    },
)
async def execute_workflow(
    services: ServicesDep,
    workflow_id: ExistingWorkflowId,
    request: Request,
    response: Response,
    body: Annotated[ExecuteRequest | None, Body()] = None,
    idempotency_key: StartKey = None,
) -> ExecutionDocument:
    """Start an execution pinned to a version; answer at once (202), or wait for its end (200, or 202 after the wait).

    A client that goes away stops nothing. With an `Idempotency-Key`, the same start sent again answers 200 with the
    execution that it made the first time; with another body it is 409.
    """
    body = body or ExecuteRequest()
    keyed = keyed_start(access_of(request).name, workflow_id, idempotency_key, body) if idempotency_key else None

    async def make() -> ExecutionDocument:
        stored = await pin_definition(services, workflow_id, body.version)
        check_input(stored.definition, body.input_data)
        return await start(services, stored, body, keyed)

    document, new = await start_once(services, request.app.state.starts, keyed, make)
    wait_seconds = None if body.async_execution else body.wait_seconds
    return await answer_start(services, document, request, response, wait_seconds=wait_seconds, new=new)


@router.get("/executions/", operation_id="list_executions", summary="List executions", responses=problems(422, 503))
async def get_executions(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    workflow_id: WorkflowIdQuery = None,
    status: Annotated[ExecutionStatus | None, Query(description="only executions in this status")] = None,
    detail: Annotated[
        AwaitedDetail | None,
        Query(description="what they wait for: with `status=awaiting`, `operator` lists the parked ones"),
    ] = None,
    schedule_id: ScheduleIdQuery = None,
    tag: TagQuery = None,
    error_type: ErrorTypeQuery = None,
    started_after: Moment = None,
    started_before: Moment = None,
    closed_after: Moment = None,
    closed_before: Moment = None,
) -> ExecutionPage:
    """Return executions from Temporal's visibility, newest first; a start shows up there within about a second."""
    return await list_executions(
        services,
        limit=limit,
        cursor=cursor,
        workflow_id=workflow_id,
        status=status,
        detail=detail,
        schedule_id=schedule_id,
        more=ListFilters(tag, error_type, started_after, started_before, closed_after, closed_before),
    )


@router.get(
    "/executions/{execution_id}",
    operation_id="get_execution",
    summary="Read an execution",
    responses=problems(404, 503),
)
async def get_execution(services: ServicesDep, execution_id: ExecutionId) -> ExecutionDocument:
    """Return status, output or error, and every root step; `stale` where no worker answered."""
    return await services.executions.read(execution_id)


@router.get(
    "/executions/{execution_id}/ledger",
    operation_id="get_execution_ledger",
    summary="What an execution has spent",
    responses=problems(404, 503),
)
async def get_execution_ledger(services: ServicesDep, execution_id: ExecutionId) -> LedgerView:
    """Return tokens and cost: in total, by step, by model, of children, and of each model call.

    Sums count every call; of the calls themselves the latest 500 are listed. `cost_usd` is by the price table of the
    settings, `unpriced_calls` counts what it lacks. `presumed` amounts are of calls that nobody reported.
    """
    return await services.executions.ledger(execution_id)


@router.post(
    "/executions/{execution_id}/pause",
    operation_id="pause_execution",
    summary="Pause an execution",
    status_code=202,
    responses=_ACTION,
)
async def pause_execution(services: ServicesDep, execution_id: ExecutionId, body: Reason = None) -> ExecutionDocument:
    """Start no further step until `resume`; attempts in flight finish."""
    return await _control(services).pause(execution_id, body.reason if body else "")


@router.post(
    "/executions/{execution_id}/resume",
    operation_id="resume_execution",
    summary="Resume an execution",
    status_code=202,
    responses=_ACTION,
)
async def resume_execution(services: ServicesDep, execution_id: ExecutionId, body: Reason = None) -> ExecutionDocument:
    """Take the operator's hold away."""
    return await _control(services).resume(execution_id, body.reason if body else "")


@router.post(
    "/executions/{execution_id}/cancel",
    operation_id="cancel_execution",
    summary="Cancel an execution",
    status_code=202,
    responses=_ACTION,
)
async def cancel_execution(services: ServicesDep, execution_id: ExecutionId, body: Reason = None) -> ExecutionDocument:
    """Ask Temporal to cancel it: activities in flight are cancelled and awaited, the status becomes `cancelled`."""
    return await _control(services).cancel(execution_id, body.reason if body else "")


@router.post(
    "/executions/{execution_id}/terminate",
    operation_id="terminate_execution",
    summary="Terminate an execution",
    status_code=202,
    responses=_ACTION,
)
async def terminate_execution(
    services: ServicesDep, execution_id: ExecutionId, body: Reason = None
) -> ExecutionDocument:
    """End it at once: nothing is undone, `on_cancel` does not run, children go on by themselves."""
    return await _control(services).terminate(execution_id, body.reason if body else "")


def _control(services: ServicesDep) -> ExecutionControl:
    return ExecutionControl(services.executions, services.calls)
