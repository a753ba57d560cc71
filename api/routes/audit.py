"""Who wrote what."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from api.dependencies import ServicesDep
from api.parameters import Cursor, Limit
from api.schemas.audit import AuditDocument, AuditPage
from api.schemas.problems import problems

router = APIRouter(prefix="/audit", tags=["access"])


@router.get("/", operation_id="list_audit_entries", summary="Read the audit log", responses=problems(422, 503))
async def list_audit_entries(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> AuditPage:
    """Return writes, newest first: who, what, with which outcome and why. Refusals of known keys are among them."""
    page = await services.audit.read(limit, cursor)
    items = [AuditDocument(entry_id=one.entry_id, at=one.at, **asdict(one.entry)) for one in page.items]
    return AuditPage(items=items, next_cursor=page.next_cursor)
