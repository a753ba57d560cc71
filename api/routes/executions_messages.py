"""Messages to executions: signals, approvals, parked steps, budgets."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from api.access import deciding_name
from api.dependencies import ServicesDep
from api.execution_messages import ExecutionMessages
from api.json_body import StrictJsonRoute
from api.parameters import ExecutionId, IdempotencyKey, SignalName, StepPath
from api.schemas.executions import (
    ApprovalRequest,
    BudgetRequest,
    ExecutionDocument,
    ReasonRequest,
    StepOutputRequest,
)
from api.schemas.problems import WITH_BODY, problems
from orchestrator.execution.messages import ApprovalDecision, BudgetRaise, SignalMessage, StepRepair

router = APIRouter(prefix="/executions/{execution_id}", tags=["executions"], route_class=StrictJsonRoute)

Reason = Annotated[ReasonRequest | None, Body()]
_MESSAGE = problems(*WITH_BODY, 404, 409, 503)
_PAYLOAD = Body(
    description="the message's payload, any JSON value; null without a body",
    openapi_examples={"paid": {"summary": "An invoice was paid", "value": {"invoice": "4711", "amount": 1200}}},
)


@router.post(
    "/signals/{name}",
    operation_id="signal_execution",
    summary="Send a signal",
    status_code=202,
    responses=problems(*WITH_BODY, 404, 409, 429, 503),
)
async def signal_execution(
    services: ServicesDep, execution_id: ExecutionId, name: SignalName, payload: Annotated[Any, _PAYLOAD] = None
) -> ExecutionDocument:
    """Leave a message for the `wait_for_signal` step of this name; it is kept until a step takes it.

    A payload that breaks the step's `schema` is dropped when the step sees it. 429 where 1,000 are kept already.
    """
    return await _messages(services).signal(execution_id, SignalMessage(name=name, payload=payload))


@router.post(
    "/approvals/{path}",
    operation_id="decide_approval",
    summary="Decide an approval",
    responses=_MESSAGE,
)
async def decide_approval(
    services: ServicesDep,
    request: Request,
    execution_id: ExecutionId,
    path: StepPath,
    body: ApprovalRequest,
    idempotency_key: IdempotencyKey = None,
) -> ExecutionDocument:
    """Approve or reject; 409 where no such approval is open or `by` may not decide, 422 where the form is invalid.

    An agent's tool call is decided at `<step path>:t<turn>.<n>`, and `#<try>` where the step was begun again, as the
    execution's `approvals` show it.
    Who decides is the API key's name; another `by` is 403. Without authentication it is `by`.
    """
    by = deciding_name(request, body.by if "by" in body.model_fields_set else None) or body.by
    decision = ApprovalDecision(path=path, decision=body.decision, by=by, form=body.form, reason=body.reason)
    return await _messages(services).update(execution_id, "approve", decision, idempotency_key)


@router.post(
    "/steps/{path}/retry",
    operation_id="retry_step",
    summary="Run a parked step again",
    responses=_MESSAGE,
)
async def retry_step(
    services: ServicesDep,
    execution_id: ExecutionId,
    path: StepPath,
    body: Reason = None,
    idempotency_key: IdempotencyKey = None,
) -> ExecutionDocument:
    """Run a parked step again, with the same idempotency key and a fresh count of attempts."""
    repair = StepRepair(path=path, reason=body.reason if body else "")
    return await _messages(services).update(execution_id, "retry_step", repair, idempotency_key)


@router.post(
    "/steps/{path}/skip",
    operation_id="skip_step",
    summary="Skip a parked step",
    responses=_MESSAGE,
)
async def skip_step(
    services: ServicesDep,
    execution_id: ExecutionId,
    path: StepPath,
    body: Reason = None,
    idempotency_key: IdempotencyKey = None,
) -> ExecutionDocument:
    """Give a parked step up: it counts as skipped, and so do the steps that need it."""
    repair = StepRepair(path=path, reason=body.reason if body else "")
    return await _messages(services).update(execution_id, "skip_step", repair, idempotency_key)


@router.post(
    "/steps/{path}/output",
    operation_id="set_step_output",
    summary="Complete a parked step",
    responses=_MESSAGE,
)
async def set_step_output(
    services: ServicesDep,
    execution_id: ExecutionId,
    path: StepPath,
    body: StepOutputRequest,
    idempotency_key: IdempotencyKey = None,
) -> ExecutionDocument:
    """Complete a parked step with an output of one's own."""
    repair = StepRepair(path=path, output=body.output, reason=body.reason)
    return await _messages(services).update(execution_id, "set_step_output", repair, idempotency_key)


@router.post(
    "/budget",
    operation_id="raise_budget",
    summary="Raise an execution's budget",
    status_code=202,
    responses=_MESSAGE,
)
async def raise_budget(
    services: ServicesDep, execution_id: ExecutionId, body: BudgetRequest, idempotency_key: IdempotencyKey = None
) -> ExecutionDocument:
    """Raise the bounds that the budget has, and let the agents that are parked for want of it go on.

    A bound that the budget does not have stays absent. 409 where the execution has no budget at all.
    """
    more = BudgetRaise.model_validate(body.model_dump())
    return await _messages(services).update(execution_id, "raise_budget", more, idempotency_key)


def _messages(services: ServicesDep) -> ExecutionMessages:
    return ExecutionMessages(services.executions, services.calls)
