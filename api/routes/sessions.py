"""Sessions: the conversations that agents remember."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path

from api.dependencies import Services, ServicesDep
from api.schemas.problems import problems
from api.schemas.sessions import SessionDocument
from orchestrator.definition.limits import SESSION_ID_PATTERN
from orchestrator.stores.sessions import SessionStore

router = APIRouter(prefix="/sessions", tags=["sessions"])

SessionId = Annotated[
    str, Path(pattern=SESSION_ID_PATTERN, description="the `session_id` of an `agent_task`", examples=["customer-42"])
]


@router.get("/{session_id}", operation_id="get_session", summary="Read a session", responses=problems(404, 422, 503))
async def get_session(services: ServicesDep, session_id: SessionId) -> SessionDocument:
    """Return all that is kept of a conversation, oldest message first; models are shown a window of it."""
    return SessionDocument.model_validate(asdict(await _store(services).get(session_id)))


@router.delete(
    "/{session_id}",
    operation_id="delete_session",
    summary="Forget a session",
    status_code=204,
    responses=problems(404, 422, 503),
)
async def delete_session(services: ServicesDep, session_id: SessionId) -> None:
    """Forget a conversation at once; the next message under this id begins a new one."""
    await _store(services).delete(session_id)


def _store(services: Services) -> SessionStore:
    return SessionStore(services.redis, services.settings.redis_key_prefix)
