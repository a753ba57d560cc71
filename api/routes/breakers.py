"""Circuit breakers: what the fleet leaves alone for now, and the way to end that."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import Services, ServicesDep
from api.parameters import Cursor, Limit
from api.schemas.breakers import BreakerDocument, BreakerList
from api.schemas.problems import problems
from orchestrator.execution.errors import BreakerNotFound

router = APIRouter(prefix="/breakers", tags=["breakers"])

Name = Annotated[
    str,
    Path(
        min_length=1,
        max_length=500,
        description="`model:<provider/model>`, `http:<host:port>`, `agent:<type>` or `mcp:<server>`",
        examples=["model:openai/gpt-5-mini"],
    ),
]


@router.get("/", operation_id="list_breakers", summary="List the circuit breakers", responses=problems(422, 503))
async def list_breakers(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> BreakerList:
    """Return the circuit of every dependency that was called lately: models, HTTP hosts, Python agents, MCP servers."""
    page = await services.agents.breakers.states(limit=limit, cursor=cursor)
    items = [BreakerDocument.model_validate(state) for state in page.items]
    return BreakerList(items=items, next_cursor=page.next_cursor)


@router.get(
    "/{name:path}", operation_id="get_breaker", summary="Read a circuit breaker", responses=problems(404, 422, 503)
)
async def get_breaker(services: ServicesDep, name: Name) -> BreakerDocument:
    """Return one circuit as it is now."""
    await _require(services, name)
    return BreakerDocument.model_validate(await services.agents.breakers.state(name))


@router.post(
    "/{name:path}/reset",
    operation_id="reset_breaker",
    summary="Close a circuit",
    responses=problems(404, 422, 503),
)
async def reset_breaker(services: ServicesDep, name: Name) -> BreakerDocument:
    """Close a circuit and forget its failures: the next call goes through. Parked attempts come back in their time."""
    await _require(services, name)
    await services.agents.breakers.reset(name)
    return BreakerDocument.model_validate(await services.agents.breakers.state(name))


async def _require(services: Services, name: str) -> None:
    if not await services.agents.breakers.known(name):
        raise BreakerNotFound(f"no circuit '{name[:200]}' was used lately", hint="GET /api/v1/breakers/ lists them")
