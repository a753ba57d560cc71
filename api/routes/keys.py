"""API keys: made, listed, revoked."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.access import AccessDep
from api.dependencies import ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.parameters import Cursor, Limit
from api.schemas.keys import CreatedKey, KeyDocument, KeyList, NewKey
from api.schemas.problems import WITH_BODY, problems
from orchestrator.stores.api_keys import place_of
from orchestrator.stores.pages import page_of

router = APIRouter(prefix="/keys", tags=["access"], route_class=StrictJsonRoute)

KeyId = Annotated[
    str, Path(max_length=64, pattern=r"^[0-9a-f]+$", description="`key_id`, not the key", examples=["3f9a2b1c04de"])
]


@router.get("/", operation_id="list_keys", summary="List the API keys", responses=problems(422, 503))
async def list_keys(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> KeyList:
    """Return keys without their secrets, in the order of their creation; revoked ones stay in the list."""
    page = page_of("keys", await services.keys.list(), place_of, limit=limit, cursor=cursor)
    return KeyList(items=[KeyDocument.model_validate(key) for key in page.items], next_cursor=page.next_cursor)


@router.post(
    "/",
    operation_id="create_key",
    summary="Create an API key",
    status_code=201,
    responses=problems(*WITH_BODY, 409, 503),
)
async def create_key(services: ServicesDep, access: AccessDep, body: NewKey, response: Response) -> CreatedKey:
    """Make a key and show it, this once: what is kept does not open anything. 409 where an active key has the name."""
    lifetime = timedelta(days=body.expires_in_days) if body.expires_in_days else None
    key, token = await services.keys.create(body.name, body.role, created_by=access.name, lifetime=lifetime)
    response.headers["Location"] = f"{PREFIX}/keys/{key.key_id}"
    return CreatedKey.model_validate(key).model_copy(update={"key": token})


@router.delete(
    "/{key_id}",
    operation_id="revoke_key",
    summary="Revoke an API key",
    responses=problems(404, 422, 503),
)
async def revoke_key(services: ServicesDep, key_id: KeyId) -> KeyDocument:
    """Revoke a key for ever, in every process from the next request on. A second time changes nothing."""
    return KeyDocument.model_validate(await services.keys.revoke(key_id))
