"""The links of an execution."""

from __future__ import annotations

from urllib.parse import quote

from api.schemas.executions import Links
from orchestrator.settings import Settings

PREFIX = "/api/v1"


def links_of(
    settings: Settings,
    execution_id: str,
    run_id: str | None,
    workflow_id: str | None,
    workflow_version: int | None,
    *,
    closed: bool,
) -> Links:
    """Return the links, below `API_PUBLIC_URL` where that is set."""
    base = (settings.api_public_url or "").rstrip("/") + PREFIX
    own = f"{base}/executions/{quote(execution_id, safe='')}"
    return Links(
        self=own,
        workflow=None
        if workflow_version is None
        else f"{base}/workflows/{quote(workflow_id or '', safe='')}?version={workflow_version}",
        temporal_ui=_temporal_ui(settings, execution_id, run_id),
        pause=None if closed else f"{own}/pause",
        resume=None if closed else f"{own}/resume",
        cancel=None if closed else f"{own}/cancel",
    )


def _temporal_ui(settings: Settings, execution_id: str, run_id: str | None) -> str | None:
    if not settings.temporal_ui_url:
        return None
    names = [settings.temporal_namespace, "workflows", execution_id, *([run_id] if run_id else [])]
    path = "/".join(quote(name, safe="") for name in names)
    return f"{settings.temporal_ui_url.rstrip('/')}/namespaces/{path}"
