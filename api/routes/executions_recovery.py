"""Recovery of executions that ended: retry and rerun."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Response

from api.dependencies import ServicesDep
from api.execution_links import PREFIX
from api.execution_recovery import ExecutionRecovery
from api.json_body import StrictJsonRoute
from api.parameters import ExecutionId
from api.schemas.executions import ExecutionDocument, ReasonRequest, RerunRequest
from api.schemas.problems import WITH_BODY, problems

router = APIRouter(prefix="/executions/{execution_id}", tags=["executions"], route_class=StrictJsonRoute)

_RECOVERY = problems(*WITH_BODY, 404, 409, 503)


@router.post(
    "/retry", operation_id="retry_execution", summary="Retry an execution", status_code=202, responses=_RECOVERY
)
async def retry_execution(
    services: ServicesDep, execution_id: ExecutionId, body: Annotated[ReasonRequest | None, Body()] = None
) -> ExecutionDocument:
    """Go on from what failed, as the next attempt of the same execution; completed steps are kept.

    For executions that failed, timed out, were cancelled or terminated. Steps that were undone run again.
    """
    return await ExecutionRecovery(services).retry(execution_id, body.reason if body else "")


@router.post(
    "/rerun", operation_id="rerun_execution", summary="Rerun from a step", status_code=202, responses=_RECOVERY
)
async def rerun_execution(
    services: ServicesDep, execution_id: ExecutionId, body: RerunRequest, response: Response
) -> ExecutionDocument:
    """Run a step of a closed execution, and all that depends on it, again, as a new execution.

    The other steps keep their outputs, recorded or edited. Inside a block, the whole block runs again.
    """
    document = await ExecutionRecovery(services).rerun(execution_id, body)
    response.headers["Location"] = f"{PREFIX}/executions/{document.execution_id}"
    return document
