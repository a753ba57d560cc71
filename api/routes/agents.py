"""Agents: the registry, their health, and asking one of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request, Response

from api.access import access_of
from api.agent_invocations import invocation
from api.dependencies import ServicesDep
from api.execution_links import PREFIX
from api.idempotent_starts import keyed_start, start_once
from api.json_body import StrictJsonRoute
from api.parameters import AgentType, Cursor, ExpectedVersion, Limit, StartKey, VersionQuery, etag
from api.schemas.agents import (
    SALES,
    AgentDocument,
    AgentHealthReport,
    AgentPage,
    AgentVersion,
    AgentVersions,
    InvokeRequest,
)
from api.schemas.executions import ExecuteRequest, ExecutionDocument
from api.schemas.problems import WITH_BODY, problems
from api.start_answers import answer_start
from api.starts import start
from orchestrator.agents import AgentEntry, check_record
from orchestrator.execution.errors import AgentNotFound

router = APIRouter(prefix="/agents", tags=["agents"], route_class=StrictJsonRoute)

Record = Annotated[
    Any,
    Body(
        description="An agent record",
        openapi_examples={"sales": {"summary": "An agent with one task", "value": SALES}},
        json_schema_extra={"type": "object"},
    ),
]


@router.get("/", operation_id="list_agents", summary="List agents", responses=problems(422, 503))
async def list_agents(
    services: ServicesDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    text: Annotated[str | None, Query(max_length=200, description="in type and description")] = None,
) -> AgentPage:
    """Return the agents in use, records and Python agents alike."""
    page = await services.agents.list(limit=limit, cursor=cursor, text=text)
    return AgentPage(items=[_document(item) for item in page.items], next_cursor=page.next_cursor)


@router.post(
    "/",
    operation_id="create_agent",
    summary="Register an agent",
    status_code=201,
    responses=problems(*WITH_BODY, 409, 503),
)
async def create_agent(services: ServicesDep, document: Record, response: Response) -> AgentDocument:
    """Store a record under its `agent_type`."""
    return _written(await services.agents.register(check_record(document)), response)


@router.get("/{agent_type}", operation_id="get_agent", summary="Read an agent", responses=problems(404, 422, 503))
async def get_agent(
    services: ServicesDep, agent_type: AgentType, response: Response, version: VersionQuery = None
) -> AgentDocument:
    """Return an agent, a record at its latest version by default."""
    entry = await services.agents.get(agent_type, version)
    if entry.retired and version is None:
        raise AgentNotFound(
            f"agent '{agent_type}' was retired (latest version {entry.version})",
            hint=f"its versions stay readable: GET {PREFIX}/agents/{agent_type}?version={entry.version}",
        )
    if entry.version is not None:
        response.headers["ETag"] = etag(entry.version)
    return _document(entry)


@router.put(
    "/{agent_type}",
    operation_id="put_agent",
    summary="Register an agent or store its next version",
    responses={
        201: {"model": AgentDocument, "description": "The agent is new"},
        **problems(*WITH_BODY, 409, 412, 503),
    },
)
async def put_agent(
    services: ServicesDep, agent_type: AgentType, document: Record, expected: ExpectedVersion, response: Response
) -> AgentDocument:
    """Store a record's next version; the same content as the latest version makes no new one."""
    # Checked here first: the factory takes JSON objects.
    check_record(document, agent_type=agent_type)
    entry, created = await services.agents.put(agent_type, document, if_version=expected)
    if created:
        response.status_code = 201
    return _written(entry, response)


@router.delete(
    "/{agent_type}",
    operation_id="delete_agent",
    summary="Retire an agent",
    status_code=204,
    responses=problems(404, 412, 422, 503),
)
async def delete_agent(services: ServicesDep, agent_type: AgentType, expected: ExpectedVersion) -> None:
    """Take an agent out of use: new steps cannot call it, its versions stay readable."""
    await services.agents.retire(agent_type, if_version=expected)


@router.get(
    "/{agent_type}/health",
    operation_id="get_agent_health",
    summary="How an agent is",
    responses=problems(404, 422, 503),
)
async def get_agent_health(services: ServicesDep, agent_type: AgentType) -> AgentHealthReport:
    """Return `healthy`, `degraded` or `unavailable` with the reason: workers, circuit, success rate, latency."""
    health = await services.agents.health(agent_type)
    return AgentHealthReport.model_validate(health.to_dict())


@router.get(
    "/{agent_type}/versions",
    operation_id="list_agent_versions",
    summary="List an agent's versions",
    responses=problems(404, 422, 503),
)
async def list_agent_versions(
    services: ServicesDep, agent_type: AgentType, limit: Limit = 50, cursor: Cursor = None
) -> AgentVersions:
    """Return versions of a record, newest first, those of a retired one too; `?version=` reads one."""
    page = await services.agents.versions(agent_type, limit=limit, cursor=cursor)
    items = [
        AgentVersion(version=row.version, sha256=row.sha256, updated_at=row.updated_at.isoformat())
        for row in page.items
    ]
    return AgentVersions(items=items, next_cursor=page.next_cursor)


@router.post(
    "/{agent_type}/invoke",
    operation_id="invoke_agent",
    summary="Ask one agent",
    responses={
        200: {
            "model": ExecutionDocument,
            "description": "Synchronous: the execution is closed, failed ones too; or the same start was made before",
        },
        202: {"model": ExecutionDocument, "description": "Started; read it at `Location`"},
        **problems(*WITH_BODY, 404, 409, 503),
    },
)
async def invoke_agent(
    services: ServicesDep,
    agent_type: AgentType,
    body: InvokeRequest,
    request: Request,
    response: Response,
    idempotency_key: StartKey = None,
) -> ExecutionDocument:
    """Ask an agent for one task without a workflow: still a durable execution, listed under `agent-<type>`.

    Its `output` is the agent's answer. Answer at once (202), or wait for the end (200, or 202 after the wait). With an
    `Idempotency-Key`, the same question sent again is the same execution and answers 200; another one is 409.
    """
    # No workflow has this name: the keys of its starts are others.
    scope = f"~agent:{agent_type}"
    keyed = keyed_start(access_of(request).name, scope, idempotency_key, body) if idempotency_key else None

    async def make() -> ExecutionDocument:
        pinned = await invocation(await services.agents.get(agent_type), body)
        return await start(services, pinned, ExecuteRequest(input_data=body.input), keyed)

    document, new = await start_once(services, request.app.state.starts, keyed, make)
    wait_seconds = None if body.async_execution else body.wait_seconds
    return await answer_start(services, document, request, response, wait_seconds=wait_seconds, new=new)


def _written(entry: AgentEntry, response: Response) -> AgentDocument:
    if entry.version is not None:
        response.headers["ETag"] = etag(entry.version)
    response.headers["Location"] = f"{PREFIX}/agents/{entry.agent_type}"
    return _document(entry)


def _document(entry: AgentEntry) -> AgentDocument:
    return AgentDocument.model_validate(entry.to_dict())
