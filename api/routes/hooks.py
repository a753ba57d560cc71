"""Hooks: other services' signed webhooks start executions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request, Response

from api.access import address_of
from api.dependencies import ServicesDep, services_of
from api.hooks import HookMessage, input_of, message_id_of, verify
from api.idempotent_starts import AlreadyThere, keyed_start
from api.json_body import StrictJsonRoute
from api.parameters import ExistingWorkflowId, existing_workflow_id
from api.schemas.executions import ExecuteRequest, ExecutionDocument
from api.schemas.problems import WITH_BODY, problems
from api.start_answers import answer_start
from api.starts import check_input, pin_definition, start
from orchestrator.execution.errors_schedules import InvalidSignature


class SignedRoute(StrictJsonRoute):
    """A route whose bodies are signed: who sent one is judged by its bytes, before they are parsed."""

    async def admit(self, request: Request, body: bytes) -> None:
        """Keep the message for the handler if it is genuine, and if its hook takes one more now.

        Raises:
            WorkflowNotFound: no such workflow.
            WorkflowDeleted: it starts no more executions.
            InvalidSignature: it is not genuine; whatever else is wrong with it is not told.
            TooManyRequests: the hook has had its share, or the address sent it too much that was not genuine.
        """
        services, workflow_id = services_of(request), existing_workflow_id(request.path_params["workflow_id"])
        await services.hook_failures.check(
            address_of(request),
            workflow_id,
            f"too many messages from this address to the hook of workflow '{workflow_id}' were not genuine",
            "correct the secret or the sender's clock; API_FAILURES_PER_MINUTE is the limit",
        )
        stored = await pin_definition(services, workflow_id, None)
        try:
            webhook = await verify(services, stored, request.headers, body)
        except InvalidSignature:
            await services.hook_failures.note(address_of(request), workflow_id)
            raise
        # Only what is genuine counts: nobody else can use up the sender's share.
        await services.hook_rates.take(
            workflow_id,
            f"the hook of workflow '{workflow_id}' has had its messages for now",
            "API_HOOKS_PER_MINUTE is the limit",
        )
        request.state.message = HookMessage(stored, webhook, message_id_of(webhook, request.headers, body))


def _message(request: Request) -> HookMessage:
    message: HookMessage = request.state.message
    return message


router = APIRouter(tags=["hooks"], route_class=SignedRoute)

Message = Annotated[HookMessage, Depends(_message)]
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
        **problems(*WITH_BODY, 401, 404, 409, 410, 429, 503),
        401: _UNSIGNED,
    },
)
async def receive_webhook(
    services: ServicesDep,
    workflow_id: ExistingWorkflowId,
    request: Request,
    response: Response,
    payload: Payload,
    message: Message,
) -> ExecutionDocument:
    """Start an execution of a workflow whose definition has a `webhook`; the same message starts one execution.

    The signature is by Standard Webhooks or GitHub's; it stands for the API key.
    """
    value = input_of(message.webhook, request.headers, payload)
    check_input(message.stored.definition, value)
    starting = ExecuteRequest(input_data=value)
    keyed = keyed_start("~hook", workflow_id, message.message_id, starting)
    try:
        document, new = await start(services, message.stored, starting, keyed), True
    except AlreadyThere:
        document, new = await services.executions.read(keyed.execution_id), False
    return await answer_start(services, document, request, response, wait_seconds=None, new=new)
