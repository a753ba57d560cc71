"""Parameters that several operations share, with their bounds."""

from __future__ import annotations

import re
from typing import Annotated, NoReturn

from fastapi import Depends, Header, Path, Query

from orchestrator.definition.issues import Issue
from orchestrator.execution.errors import RequestError, WorkflowNotFound

MOST_VERSIONS = 2**31 - 1
_WORKFLOW_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_SLUG = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_ETAG = re.compile(r'(?:W/)?"(\d{1,9})"')

Limit = Annotated[int, Query(ge=1, le=200, description="items per page", examples=[50])]
Cursor = Annotated[str | None, Query(max_length=2000, description="`next_cursor` of the page before")]
VersionQuery = Annotated[int | None, Query(ge=1, le=MOST_VERSIONS, description="the latest by default", examples=[1])]
VersionPath = Annotated[int, Path(ge=1, le=MOST_VERSIONS, examples=[1])]
WorkflowIdQuery = Annotated[
    str | None,
    Query(
        pattern=_SLUG,
        description="only executions of this workflow",
        examples=["lead-processing"],
    ),
]
ScheduleIdQuery = Annotated[
    str | None,
    Query(
        pattern=_SLUG,
        description="only executions that this schedule started",
        examples=["nightly-report"],
    ),
]
ScheduleId = Annotated[str, Path(pattern=_SLUG, examples=["nightly-report"])]
AgentType = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$", examples=["sales"])]
StepPath = Annotated[
    str,
    Path(
        min_length=1,
        max_length=4000,
        description="path of the step, URL-encoded: `enrich[3].call` is `enrich%5B3%5D.call`",
        examples=["enrich[3].call"],
    ),
]
SignalName = Annotated[str, Path(min_length=1, max_length=200, description="the step's `signal`", examples=["paid"])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="a message that is sent again with the same key is taken once",
        examples=["decision-4711"],
    ),
]
StartKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description="the same start sent again with the same key is the same execution",
        examples=["order-4711"],
    ),
]
ExecutionId = Annotated[
    str, Path(description="`execution_id`, Temporal's workflow id", examples=["ex-k3v7q2mzt4ahb6wnc5xdyrpejs"])
]


def existing_workflow_id(workflow_id: Annotated[str, Path(examples=["lead-processing"])]) -> str:
    """Return the path's id; one that cannot exist does not exist.

    Raises:
        WorkflowNotFound: no workflow can have this id.
    """
    if not _WORKFLOW_ID.fullmatch(workflow_id):
        raise WorkflowNotFound(
            f"there is no workflow '{workflow_id[:100]}'", hint="ids are made of a-z, 0-9, '-' and '_', at most 63"
        )
    return workflow_id


def new_workflow_id(workflow_id: Annotated[str, Path(examples=["lead-processing"])]) -> str:
    """Return the path's id if a workflow may be stored under it.

    Raises:
        RequestError: it breaks the rule for ids.
    """
    if not _WORKFLOW_ID.fullmatch(workflow_id):
        message = f"'{workflow_id[:100]}' is no workflow_id: a-z, 0-9, '-' and '_', at most 63, not '-' or '_' first"
        raise RequestError(message, issues=[Issue("invalid-id", message, "/workflow_id")])
    return workflow_id


ExistingWorkflowId = Annotated[str, Depends(existing_workflow_id)]
NewWorkflowId = Annotated[str, Depends(new_workflow_id)]


def expected_version(
    if_match: Annotated[
        str | None,
        Header(
            description='ETag of the version that the change rests on, `"3"`',
            json_schema_extra={"pattern": '^(W/)?"[0-9]{1,9}"$'},
        ),
    ] = None,
    if_none_match: Annotated[
        str | None, Header(description="`*`: only if there is none yet", json_schema_extra={"pattern": r"^\*$"})
    ] = None,
) -> int | None:
    """Return the version that a write insists on; 0 for none yet, None for any.

    Raises:
        RequestError: a header that is neither an ETag of ours nor `*`, or both headers.
    """
    found = _ETAG.fullmatch(if_match.strip()) if if_match is not None else None
    if if_match is not None and found is None:
        _refuse("If-Match", if_match, '"3"')
    if if_none_match is not None and if_none_match.strip() != "*":
        _refuse("If-None-Match", if_none_match, "*")
    if found is not None and if_none_match is not None:
        message = "If-Match and If-None-Match contradict each other"
        hint = "send If-Match to change what is there, If-None-Match: * to create what is not"
        raise RequestError(message, hint=hint, issues=[Issue("invalid-header", message, "/If-None-Match", hint)])
    if if_none_match is not None:
        return 0
    return int(found.group(1)) if found is not None else None


ExpectedVersion = Annotated[int | None, Depends(expected_version)]


def _refuse(header: str, value: str, example: str) -> NoReturn:
    message = f"{header} '{value[:100]}' is no ETag of this resource"
    hint = f"send the ETag of GET, such as {header}: {example}"
    raise RequestError(message, hint=hint, issues=[Issue("invalid-header", message, f"/{header}", hint)])


def etag(version: int) -> str:
    """Return the ETag of a version."""
    return f'"{version}"'
