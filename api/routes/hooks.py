"""Hooks: other services' signed webhooks start executions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from api.dependencies import ServicesDep
from api.hooks import input_of, message_id_of, verify
from api.idempotent_starts import keyed_start
from api.json_body import StrictJsonRoute
from api.parameters import ExistingWorkflowId
from api.schemas.executions import ExecuteRequest, ExecutionDocument
from api.schemas.problems import WITH_BODY, problems
from api.start_answers import answer_start
from api.starts import AlreadyThere, check_input, pin_definition, start

router = APIRouter(tags=["hooks"], route_class=StrictJsonRoute)

Payload = Annotated[
    Any,
    Body(
        description="any JSON value: it becomes the input",
        openapi_examples={"order": {"summary": "An order", "value": {"type": "order.paid", "data": {"id": 42}}}},
    ),
]

_UNSIGNED = {**problems(401)[401], "description": "The signature is absent, wrong or too old"}


@router.post(
    "/hooks/{workflow_id}",
    operation_id="receive_webhook",
    summary="Start an execution by a signed webhook",
    status_code=202,
    responses={
        200: {"model": ExecutionDocument, "description": "The message came before"},
        **problems(*WITH_BODY, 401, 404, 409, 410, 503),
        401: _UNSIGNED,
    },
)
async def receive_webhook(
    services: ServicesDep, workflow_id: ExistingWorkflowId, request: Request, response: Response, payload: Payload
) -> ExecutionDocument:
    """Start an execution of a workflow whose definition has a `webhook`; the same message starts one execution.

    The signature is by Standard Webhooks or GitHub's; it stands for the API key.
    """
    stored = await pin_definition(services, workflow_id, None)
    body = await request.body()
    webhook = await verify(services, stored, request.headers, body)
    value = input_of(webhook, request.headers, payload)
    check_input(stored.definition, value)
    starting = ExecuteRequest(input_data=value)
    keyed = keyed_start("~hook", workflow_id, message_id_of(webhook, request.headers, body), starting)
    try:
        document, new = await start(services, stored, starting, keyed), True
    except AlreadyThere:
        document, new = await services.executions.read(keyed.execution_id), False
    return await answer_start(services, document, request, response, wait_seconds=None, new=new)
