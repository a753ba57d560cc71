"""Workflows: definitions with immutable versions."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Response

from api.access import AccessDep
from api.dependencies import ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.parameters import (
    Cursor,
    ExistingWorkflowId,
    ExpectedVersion,
    Limit,
    NewWorkflowId,
    VersionPath,
    VersionQuery,
    etag,
)
from api.schedules import ScheduleService
from api.schemas.executions import ReasonRequest
from api.schemas.problems import WITH_BODY, problems
from api.schemas.workflows import (
    LEAD_PROCESSING,
    ValidationReport,
    WorkflowDiff,
    WorkflowDocument,
    WorkflowPage,
    WorkflowPauseAnswer,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowVersions,
    WorkflowWritten,
)
from api.validation import checked, require_valid, shown
from api.workflow_pauses import WorkflowPauses
from orchestrator.definition import Validation
from orchestrator.definition.changes import changes
from orchestrator.execution.errors import WorkflowNotFound
from orchestrator.stores.definitions import StoredDefinition

router = APIRouter(prefix="/workflows", tags=["workflows"], route_class=StrictJsonRoute)

Definition = Annotated[
    Any,
    Body(
        description="A workflow definition; its JSON Schema is at /api/v1/schemas/workflow.json",
        openapi_examples={"lead-processing": {"summary": "Qualify a lead, then enrich it", "value": LEAD_PROCESSING}},
        json_schema_extra={"type": "object"},
    ),
]
AnyDocument = Annotated[
    Any,
    Body(
        description="What may be a workflow definition; any JSON value is told what it lacks",
        openapi_examples={"lead-processing": {"summary": "Qualify a lead, then enrich it", "value": LEAD_PROCESSING}},
    ),
]


@router.post(
    "/",
    operation_id="create_workflow",
    summary="Create a workflow",
    status_code=201,
    responses=problems(*WITH_BODY, 409, 503),
)
async def create_workflow(services: ServicesDep, document: Definition, response: Response) -> WorkflowWritten:
    """Validate and store a definition. `workflow_id` is derived from `name` where it is absent."""
    found = await checked(services, document)
    require_valid(found)
    stored = await services.definitions.create(found.document, found.sha256 or "")
    return _written(stored, found, response)


@router.get("/", operation_id="list_workflows", summary="List workflows", responses=problems(422, 503))
async def list_workflows(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    tag: Annotated[str | None, Query(max_length=300, description="`key=value`", examples=["team=sales"])] = None,
    text: Annotated[str | None, Query(max_length=200, description="in id, name and description")] = None,
) -> WorkflowPage:
    """Return the latest versions, in the order of their ids."""
    page = await services.definitions.list(limit=limit, cursor=cursor, tag=tag, text=text)
    return WorkflowPage(items=[_summary(item) for item in page.items], next_cursor=page.next_cursor)


@router.post(
    "/validate",
    operation_id="validate_workflow",
    summary="Check a definition without storing it",
    responses=problems(*WITH_BODY, 503),
)
async def validate_workflow(services: ServicesDep, document: AnyDocument) -> ValidationReport:
    """Return all errors and warnings at once; 200 also for an invalid definition."""
    found = await checked(services, document)
    return ValidationReport(
        valid=found.valid,
        workflow_id=found.workflow_id,
        sha256=found.sha256,
        errors=shown(found.errors),
        warnings=shown(found.warnings),
        inferred_dependencies=found.inferred_dependencies,
    )


@router.get("/{workflow_id}", operation_id="get_workflow", summary="Read a workflow", responses=problems(404, 422, 503))
async def get_workflow(
    services: ServicesDep, workflow_id: ExistingWorkflowId, response: Response, version: VersionQuery = None
) -> WorkflowDocument:
    """Return a version, the latest by default. Of a deleted workflow only named versions are left."""
    stored = await services.definitions.get(workflow_id, version)
    if stored.deleted and version is None:
        raise WorkflowNotFound(
            f"workflow '{workflow_id}' was deleted (latest version {stored.version})",
            hint=f"its versions stay readable: GET {PREFIX}/workflows/{workflow_id}?version={stored.version}",
            details={"workflow_id": workflow_id, "version": stored.version, "deleted": True},
        )
    response.headers["ETag"] = etag(stored.version)
    return WorkflowDocument.model_validate(stored, from_attributes=True)


@router.put(
    "/{workflow_id}",
    operation_id="put_workflow",
    summary="Create a workflow or store its next version",
    responses={
        201: {"model": WorkflowWritten, "description": "The workflow is new"},
        **problems(*WITH_BODY, 412, 503),
    },
)
async def put_workflow(
    services: ServicesDep,
    workflow_id: NewWorkflowId,
    document: Definition,
    expected: ExpectedVersion,
    response: Response,
) -> WorkflowWritten:
    """Store the next immutable version; the same content as the latest version makes no new one."""
    found = await checked(services, document, workflow_id=workflow_id)
    require_valid(found)
    stored, created = await services.definitions.put(
        workflow_id, found.document, found.sha256 or "", if_version=expected
    )
    if created:
        response.status_code = 201
    return _written(stored, found, response)


@router.delete(
    "/{workflow_id}",
    operation_id="delete_workflow",
    summary="Delete a workflow",
    status_code=204,
    responses=problems(404, 412, 422, 503),
)
async def delete_workflow(services: ServicesDep, workflow_id: ExistingWorkflowId, expected: ExpectedVersion) -> None:
    """Take the workflow out of lists and refuse new starts (410).

    Executions run on, schedules pause, versions stay readable.
    """
    await services.definitions.delete(workflow_id, if_version=expected)
    await ScheduleService(services).pause_all_of(workflow_id)


@router.post(
    "/{workflow_id}/pause",
    operation_id="pause_workflow",
    summary="Pause every execution of a workflow",
    status_code=202,
    responses=problems(*WITH_BODY, 404, 409, 503),
)
async def pause_workflow(
    services: ServicesDep,
    access: AccessDep,
    workflow_id: ExistingWorkflowId,
    body: Annotated[ReasonRequest | None, Body()] = None,
) -> WorkflowPauseAnswer:
    """Hold what runs at its next step boundary, and what starts from its beginning, until the workflow is resumed.

    Answers when every running execution was told. 409 if it is paused; a pause that was cut short may be sent again.
    """
    return await WorkflowPauses(services).pause(workflow_id, (body or ReasonRequest()).reason, access.name)


@router.post(
    "/{workflow_id}/resume",
    operation_id="resume_workflow",
    summary="Let the executions of a workflow go on",
    status_code=202,
    responses=problems(*WITH_BODY, 404, 409, 503),
)
async def resume_workflow(
    services: ServicesDep,
    access: AccessDep,
    workflow_id: ExistingWorkflowId,
    body: Annotated[ReasonRequest | None, Body()] = None,
) -> WorkflowPauseAnswer:
    """Take the workflow's hold away; executions that an operator or a parent holds stay paused."""
    return await WorkflowPauses(services).resume(workflow_id, (body or ReasonRequest()).reason, access.name)


@router.get(
    "/{workflow_id}/versions",
    operation_id="list_workflow_versions",
    summary="List a workflow's versions",
    responses=problems(404, 422, 503),
)
async def list_workflow_versions(
    services: ServicesDep, workflow_id: ExistingWorkflowId, limit: Limit = 50, cursor: Cursor = None
) -> WorkflowVersions:
    """Return versions, newest first, those of a deleted workflow too."""
    page = await services.definitions.versions(workflow_id, limit=limit, cursor=cursor)
    items = [WorkflowVersion.model_validate(item, from_attributes=True) for item in page.items]
    return WorkflowVersions(items=items, next_cursor=page.next_cursor)


@router.post(
    "/{workflow_id}/versions/{version}/restore",
    operation_id="restore_workflow_version",
    summary="Make an earlier version the latest",
    responses=problems(404, 412, 422, 503),
)
async def restore_workflow_version(
    services: ServicesDep,
    workflow_id: ExistingWorkflowId,
    version: VersionPath,
    expected: ExpectedVersion,
    response: Response,
) -> WorkflowWritten:
    """Store an earlier version's content as the next version; a deleted workflow comes back."""
    earlier = await services.definitions.get(workflow_id, version)
    found = await checked(services, earlier.definition, workflow_id=workflow_id)
    require_valid(found)
    stored, _ = await services.definitions.put(workflow_id, earlier.definition, earlier.sha256, if_version=expected)
    return _written(stored, found, response)


@router.get(
    "/{workflow_id}/versions/{version}/diff/{other}",
    operation_id="diff_workflow_versions",
    summary="Compare two versions of a workflow",
    responses=problems(404, 422, 503),
)
async def diff_workflow_versions(
    services: ServicesDep, workflow_id: ExistingWorkflowId, version: VersionPath, other: VersionPath
) -> WorkflowDiff:
    """Return what makes version `other` of `version`, as a JSON Patch and in words; steps go by their `step_id`."""
    before = await services.definitions.get(workflow_id, version)
    after = await services.definitions.get(workflow_id, other)
    found = await asyncio.to_thread(changes, before.definition, after.definition)
    return WorkflowDiff(
        workflow_id=workflow_id,
        from_version=version,
        to_version=other,
        patch=found.patch,
        text="\n".join(found.sentences),
    )


def _written(stored: StoredDefinition, found: Validation, response: Response) -> WorkflowWritten:
    response.headers["ETag"] = etag(stored.version)
    response.headers["Location"] = f"{PREFIX}/workflows/{stored.workflow_id}"
    return WorkflowWritten(
        workflow_id=stored.workflow_id,
        version=stored.version,
        sha256=stored.sha256,
        warnings=shown(found.warnings),
        inferred_dependencies=found.inferred_dependencies,
    )


def _summary(stored: StoredDefinition) -> WorkflowSummary:
    definition = stored.definition
    return WorkflowSummary(
        workflow_id=stored.workflow_id,
        name=definition.get("name"),
        description=definition.get("description"),
        tags=definition.get("tags") or {},
        version=stored.version,
        sha256=stored.sha256,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )
