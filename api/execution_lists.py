"""Lists executions from Temporal's visibility, newest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCError

from api.dependencies import Services
from api.execution_links import links_of
from api.schemas.executions import AwaitedDetail, ExecutionPage, ExecutionStatus, ExecutionSummary
from api.temporal_pages import page_cursor, page_token
from api.times import text_of
from orchestrator.execution.clock import iso
from orchestrator.execution.errors import TemporalUnavailable
from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.workflows.search_attributes import (
    DEFINITION_ID,
    DEFINITION_VERSION,
    DETAIL,
    ERROR_TYPE,
    STATUS,
    TAGS,
)

DEADLINE_ERROR = "execution-timeout"
SCHEDULED_BY = "TemporalScheduledById"
"""Search attribute that Temporal itself gives to what a schedule starts."""

EARLIEST, LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

_TEMPORAL_STATUS: dict[WorkflowExecutionStatus, ExecutionStatus] = {
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
    WorkflowExecutionStatus.TERMINATED: "terminated",
    WorkflowExecutionStatus.TIMED_OUT: "timed_out",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
}

# Temporal's status is its system attribute ExecutionStatus; ours says what a running one waits for.
_NO_STATUS = f"({STATUS.name} IS NULL OR {STATUS.name} = '')"
_WHERE: dict[ExecutionStatus, str] = {
    "queued": f"ExecutionStatus = 'Running' AND {STATUS.name} = 'queued'",
    "running": f"ExecutionStatus = 'Running' AND {_NO_STATUS}",
    "paused": f"ExecutionStatus = 'Running' AND {STATUS.name} = 'paused'",
    "awaiting": f"ExecutionStatus = 'Running' AND {STATUS.name} = 'awaiting'",
    "completed": "ExecutionStatus = 'Completed'",
    "failed": (
        f"ExecutionStatus = 'Failed' AND ({ERROR_TYPE.name} IS NULL OR {ERROR_TYPE.name} != '{DEADLINE_ERROR}')"
    ),
    "cancelled": "ExecutionStatus = 'Canceled'",
    "terminated": "ExecutionStatus = 'Terminated'",
    "timed_out": (
        f"(ExecutionStatus = 'TimedOut' OR (ExecutionStatus = 'Failed' AND {ERROR_TYPE.name} = '{DEADLINE_ERROR}'))"
    ),
}


@dataclass(frozen=True, slots=True)
class ListFilters:
    """Further bounds of a list; texts hold no quotation marks."""

    tag: str | None = None
    error_type: str | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    closed_after: datetime | None = None
    closed_before: datetime | None = None
    tags: tuple[str, ...] = ()
    """All of these, each `key=value`."""


async def list_executions(
    services: Services,
    *,
    limit: int,
    cursor: str | None,
    workflow_id: str | None = None,
    status: ExecutionStatus | None = None,
    detail: AwaitedDetail | None = None,
    schedule_id: str | None = None,
    more: ListFilters | None = None,
) -> ExecutionPage:
    """Return a page of executions.

    Args:
        services: the app's services.
        limit: items per page.
        cursor: `next_cursor` of the page before, asked for with the same filters.
        workflow_id: only executions of this workflow; an id by its pattern, so that it cannot end the quotation.
        status: only executions in this status.
        detail: only executions that wait for this.
        schedule_id: only executions that this schedule started; an id by its pattern.
        more: by tag, error and time.

    Raises:
        RequestError: the cursor was not given by this list.
        TemporalUnavailable: no answer.
    """
    query = visibility_query(workflow_id, status, detail, schedule_id, more)
    token = page_token(query, cursor)
    try:
        async with services.calls.bounded():
            pages = services.temporal.list_workflows(query, page_size=limit, next_page_token=token)
            await pages.fetch_next_page()
            items, following = list(pages.current_page or ()), pages.next_page_token
            if following:
                # Temporal gives a token with every full page, also with the last.
                await pages.fetch_next_page(page_size=1)
                following = following if pages.current_page else None
    except RPCError as error:
        raise TemporalUnavailable(
            f"Temporal refused the list: {error.message}",
            hint="check the namespace and that its search attributes are registered",
            retry_after_seconds=10,
        ) from error
    return ExecutionPage(
        items=[_summary(services, found) for found in items],
        next_cursor=page_cursor(query, following) if following else None,
    )


def visibility_query(
    workflow_id: str | None = None,
    status: ExecutionStatus | None = None,
    detail: AwaitedDetail | None = None,
    schedule_id: str | None = None,
    more: ListFilters | None = None,
) -> str:
    """Return Temporal's query for these executions; every text must lack quotation marks."""
    more = more or ListFilters()
    # A continued run is part of the same execution; its last run stands for it.
    terms = [f"WorkflowType = '{WORKFLOW_TYPE}'", "ExecutionStatus != 'ContinuedAsNew'"]
    if workflow_id is not None:
        terms.append(f"{DEFINITION_ID.name} = '{workflow_id}'")
    if status is not None:
        terms.append(_WHERE[status])
    if detail is not None:
        terms.append(f"ExecutionStatus = 'Running' AND {DETAIL.name} = '{detail}'")
    if schedule_id is not None:
        terms.append(f"{SCHEDULED_BY} = '{schedule_id}'")
    for tag in (*more.tags, *([more.tag] if more.tag is not None else [])):
        terms.append(f"{TAGS.name} = '{tag}'")
    if more.error_type is not None:
        terms.append(f"{ERROR_TYPE.name} = '{more.error_type}'")
    for attribute, relation, moment in (
        ("StartTime", ">=", more.started_after),
        ("StartTime", "<", more.started_before),
        ("CloseTime", ">=", more.closed_after),
        ("CloseTime", "<", more.closed_before),
    ):
        if moment is not None:
            terms.append(f"{attribute} {relation} '{_moment(moment)}'")
    return " AND ".join(terms)


def _moment(moment: datetime) -> str:
    # Without an offset it is UTC; years that the server cannot reckon with are moved to what it can.
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return iso(min(max(aware, EARLIEST), LATEST))


def _summary(services: Services, found: WorkflowExecution) -> ExecutionSummary:
    attributes = found.typed_search_attributes
    workflow_id, version = attributes.get(DEFINITION_ID), attributes.get(DEFINITION_VERSION)
    error_type = attributes.get(ERROR_TYPE) or None
    status = _TEMPORAL_STATUS[found.status or WorkflowExecutionStatus.RUNNING]
    open_status = attributes.get(STATUS)
    if status == "running" and open_status in ("queued", "paused", "awaiting"):
        status = cast("ExecutionStatus", open_status)
    elif status == "failed" and error_type == DEADLINE_ERROR:
        status = "timed_out"
    closed = found.close_time is not None
    return ExecutionSummary(
        execution_id=found.id,
        workflow_id=workflow_id,
        workflow_version=version,
        run_id=found.run_id,
        status=status,
        detail=None if closed else attributes.get(DETAIL) or None,
        error_type=error_type,
        tags=tags_of(attributes),
        started_at=text_of(found.start_time),
        closed_at=text_of(found.close_time),
        links=links_of(services.settings, found.id, found.run_id, workflow_id, version, closed=closed),
    )


def tags_of(attributes: TypedSearchAttributes) -> dict[str, str]:
    """Return the tags among search attributes."""
    return dict(tag.partition("=")[::2] for tag in attributes.get(TAGS) or ())
