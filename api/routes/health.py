"""Is the process alive; can executions run."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from api.access import AccessDep
from api.dependencies import ServicesDep
from api.problems import RETRY_AFTER_SECONDS, problem
from api.readiness import REQUIRED, check_parts
from api.schemas.health import Live, PartHealth, Ready
from api.schemas.problems import problems

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", operation_id="get_liveness", summary="Whether this process serves")
async def get_liveness() -> Live:
    """Answer 200 whatever else is away."""
    return Live()


@router.get(
    "/ready",
    operation_id="get_readiness",
    summary="Whether executions can run",
    response_model=Ready,
    responses=problems(503),
)
async def get_readiness(services: ServicesDep, request: Request, access: AccessDep) -> Ready | Response:
    """Answer 200 once Temporal, Redis and one polling worker are there; 503 with the same parts otherwise.

    Without an API key, where keys are needed, each part's status is all that is told.
    """
    parts = await check_parts(services)
    if access.key is None and services.settings.api_auth == "on":
        parts = {name: PartHealth(status=part.status, detail="") for name, part in parts.items()}
    missing = [name for name in REQUIRED if parts[name].status != "ok"]
    if not missing:
        return Ready(status="ready", parts=parts)
    detail = "; ".join(f"{name}: {parts[name].detail or parts[name].status}" for name in missing)
    return problem(
        request,
        503,
        "not-ready",
        "Not ready",
        f"executions cannot run yet: {detail}",
        hint="`make up` starts every part",
        extensions={"parts": {name: part.model_dump(exclude_none=True) for name, part in parts.items()}},
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )
