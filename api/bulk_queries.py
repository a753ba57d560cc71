"""Which executions a job is about, as one query of Temporal's visibility."""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from api.execution_lists import ListFilters, visibility_query
from api.schemas.bulk import BulkFilter, BulkRequest
from orchestrator.definition.issues import Issue
from orchestrator.execution.clock import iso
from orchestrator.execution.errors import RequestError

_OPEN = "ExecutionStatus = 'Running'"
_RETRIABLE = "ExecutionStatus IN ('Failed', 'Canceled', 'Terminated', 'TimedOut')"


def bulk_query(request: BulkRequest, now: datetime) -> str:
    """Return the query of what the action can apply to.

    Args:
        request: the body.
        now: a retry concerns what had ended by now: not the attempts that it makes itself.

    Raises:
        RequestError: it says nothing of which executions are meant, or more than one thing.
    """
    given = [name for name in ("filter", "execution_ids", "all") if getattr(request, name)]
    if request.filter is not None and not request.filter.model_dump(exclude_defaults=True):
        _refuse("empty-filter", "an empty filter matches every execution", "/filter", 'say so: "all": true')
    if len(given) != 1:
        found = " and ".join(f"`{name}`" for name in given) or "none"
        _refuse("which-executions", f"the body has {found} of `filter`, `execution_ids` and `all`", "", "give one")
    query = _filtered(request.filter or BulkFilter())
    if request.execution_ids is not None:
        ids = ", ".join(f"'{execution_id}'" for execution_id in dict.fromkeys(request.execution_ids))
        query += f" AND WorkflowId IN ({ids})"
    if request.action == "retry":
        return f"{query} AND {_RETRIABLE} AND CloseTime <= '{iso(now)}'"
    return f"{query} AND {_OPEN}"


def _filtered(wanted: BulkFilter) -> str:
    more = ListFilters(
        error_type=wanted.error_type,
        started_after=wanted.started_after,
        started_before=wanted.started_before,
        tags=tuple(f"{key}={value}" for key, value in wanted.tags.items()),
    )
    return visibility_query(wanted.workflow_id, wanted.status, wanted.detail, wanted.schedule_id, more)


def _refuse(code: str, message: str, pointer: str, hint: str) -> NoReturn:
    raise RequestError(message, hint=hint, issues=[Issue(code, message, pointer, hint)])
