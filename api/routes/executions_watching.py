"""Executions, watched: their events as they happen."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response

from api.dependencies import ServicesDep
from api.event_frames import place_of
from api.event_response import EventResponse
from api.parameters import ExecutionId
from api.schemas.problems import problems

router = APIRouter(tags=["executions"])

_EXAMPLE = """id: 1795355998120-0
event: step
data: {"type":"step","path":"qualify_lead","epoch":0,"state":"running","attempt":1,"at":"2026-11-22T14:02:50Z","seq":1}

"""
_STREAM: dict[str, Any] = {
    "description": "Server-Sent Events: `step`, `attempt`, `execution`, `snapshot`, `token`, and last `end`",
    "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
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
    execution_id: ExecutionId,
    tokens: Annotated[bool, Query(description="the text of running model calls too, as `token` events")] = False,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=100, description="go on after this event")
    ] = None,
) -> Response:
    """Stream the execution's events from its first, or from the one after `Last-Event-ID`, until its `end`.

    Every reader gets the same events in the same order, byte for byte. A comment keeps a quiet connection alive.
    """
    place = place_of(last_event_id)
    if await services.events.finished(execution_id, place):
        return Response(status_code=204)
    return EventResponse(services.events.frames(execution_id, place, tokens=tokens))
