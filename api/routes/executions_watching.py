"""Executions, watched: their events as they happen, their steps, their graph."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response

from api.access import AccessDep
from api.dependencies import ServicesDep
from api.event_frames import PLACE_PATTERN, place_of
from api.event_response import EventResponse
from api.execution_graph import mermaid_of
from api.execution_steps import StepReader
from api.parameters import Cursor, ExecutionId, Limit, StepPath
from api.schemas.problems import problems
from api.schemas.steps import ExecutionGraph, StepDocument, StepPage

router = APIRouter(tags=["executions"])

_EXAMPLE = """id: 1795355998120-0
event: step
data: {"type":"step","path":"qualify_lead","epoch":0,"state":"running","attempt":1,"at":"2026-11-22T14:02:50Z","seq":1}

"""
_EVENT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["event", "data"],
}
_STREAM: dict[str, Any] = {
    "description": "Server-Sent Events: `step`, `attempt`, `execution`, `snapshot`, `token`, and last `end`",
    "content": {"text/event-stream": {"schema": _EVENT, "example": _EXAMPLE}},
}


@router.get(
    "/executions/{execution_id}/events",
    operation_id="watch_execution",
    summary="Watch an execution",
    response_class=EventResponse,
    responses={
        200: _STREAM,
        204: {"description": "The execution is closed and `Last-Event-ID` is its last event: do not come back"},
        **problems(404, 422, 503),
    },
)
async def watch_execution(
    services: ServicesDep,
    access: AccessDep,
    execution_id: ExecutionId,
    tokens: Annotated[bool, Query(description="the text of running model calls too, as `token` events")] = False,
    last_event_id: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=100,
            description="go on after this event",
            json_schema_extra={"pattern": PLACE_PATTERN},
        ),
    ] = None,
) -> Response:
    """Stream the execution's events from its first, or from the one after `Last-Event-ID`, until its `end`.

    Every reader gets the same events in the same order, byte for byte. A comment keeps a quiet connection alive.
    """
    place = place_of(last_event_id)
    if await services.events.finished(execution_id, place):
        return Response(status_code=204)
    watching = services.key_watch.watching(access.key)
    return EventResponse(services.events.frames(execution_id, place, tokens=tokens), watching)


@router.get(
    "/executions/{execution_id}/steps",
    operation_id="list_steps",
    summary="List an execution's steps",
    responses=problems(404, 422, 503),
)
async def list_steps(
    services: ServicesDep, execution_id: ExecutionId, limit: Limit = 50, cursor: Cursor = None
) -> StepPage:
    """Return the steps of all scopes in the order of their paths; of closed inner scopes the latest 200 are kept."""
    return await _steps(services).page(execution_id, limit, cursor)


@router.get(
    "/executions/{execution_id}/steps/{path}",
    operation_id="get_step",
    summary="Read a step",
    responses=problems(404, 422, 503),
)
async def get_step(services: ServicesDep, execution_id: ExecutionId, path: StepPath) -> StepDocument:
    """Return one step of any scope with its output and error."""
    return await _steps(services).step(execution_id, path)


@router.get(
    "/executions/{execution_id}/graph",
    operation_id="get_execution_graph",
    summary="Read an execution's graph",
    response_model=ExecutionGraph,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "JSON, or Mermaid as text"},
        **problems(404, 422, 503),
    },
)
async def get_execution_graph(
    services: ServicesDep,
    execution_id: ExecutionId,
    form: Annotated[Literal["json", "mermaid"], Query(alias="format", description="of the answer")] = "json",
) -> ExecutionGraph | Response:
    """Return the graph of the definition that the execution is pinned to, with the live state of every step."""
    graph = await _steps(services).graph(execution_id)
    return graph if form == "json" else Response(mermaid_of(graph), media_type="text/plain")


def _steps(services: ServicesDep) -> StepReader:
    return StepReader(services.executions, services.definitions)
