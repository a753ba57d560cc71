"""Tools: the declared ones, and a list of all that a worker can call."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response

from api.dependencies import Services, ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.parameters import Cursor, ExpectedVersion, Limit, VersionQuery, etag
from api.schemas.problems import WITH_BODY, problems
from api.schemas.tools import RATE, ToolDocument, ToolItem, ToolPage
from api.worker_calls import ask_worker
from orchestrator.agents.tools.records import ToolRecord, check_tool, tool_document, tool_sha256
from orchestrator.execution.errors_tools import ToolNotFound
from orchestrator.execution.messages_tools import DescribeToolsResult
from orchestrator.stores.pages import check_limit, decode_cursor, encode_cursor
from orchestrator.stores.tools import ToolStore
from orchestrator.stores.versioned import StoredVersion

router = APIRouter(prefix="/tools", tags=["tools"], route_class=StrictJsonRoute)

ToolName = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", examples=["exchange_rate"])]
Record = Annotated[
    Any,
    Body(
        description="A tool record",
        openapi_examples={"rate": {"summary": "An HTTP request as a tool", "value": RATE}},
        json_schema_extra={"type": "object"},
    ),
]


@router.get("/", operation_id="list_tools", summary="List tools", responses=problems(422, 503))
async def list_tools(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> ToolPage:
    """Return every tool that steps and agents may call: declared here, or known to the worker that answers."""
    check_limit(limit)
    after = decode_cursor("tools", cursor)
    store = _store(services)
    declared = set(await store.names())
    worker = await ask_worker(services, "describe_tools", DescribeToolsResult)
    # A built-in or Python tool hides a declared one of its name.
    known = {view.name: ToolItem(**view.model_dump()) for view in worker.tools}
    chosen = [name for name in sorted(declared | set(known)) if name > after][: limit + 1]
    found = [known.get(name) or await _item(store, name) for name in chosen[:limit]]
    more = len(chosen) > limit
    return ToolPage(
        items=[item for item in found if item is not None],
        mcp_servers=worker.mcp_servers,
        next_cursor=encode_cursor("tools", chosen[limit - 1]) if more else None,
    )


@router.post(
    "/",
    operation_id="create_tool",
    summary="Declare a tool",
    status_code=201,
    responses=problems(*WITH_BODY, 409, 503),
)
async def create_tool(services: ServicesDep, document: Record, response: Response) -> ToolDocument:
    """Store a record under its `name`."""
    data = tool_document(check_tool(document))
    return _written(await _store(services).create(data, tool_sha256(data)), response)


@router.get("/{name}", operation_id="get_tool", summary="Read a declared tool", responses=problems(404, 422, 503))
async def get_tool(
    services: ServicesDep, name: ToolName, response: Response, version: VersionQuery = None
) -> ToolDocument:
    """Return a declared tool, at its latest version by default."""
    stored = await _store(services).get(name, version)
    if stored.deleted and version is None:
        raise ToolNotFound(
            f"tool '{name}' was deleted (latest version {stored.version})",
            hint=f"its versions stay readable: GET {PREFIX}/tools/{name}?version={stored.version}",
        )
    response.headers["ETag"] = etag(stored.version)
    return ToolDocument.of(stored)


@router.put(
    "/{name}",
    operation_id="put_tool",
    summary="Declare a tool or store its next version",
    responses={201: {"model": ToolDocument, "description": "The tool is new"}, **problems(*WITH_BODY, 412, 503)},
)
async def put_tool(
    services: ServicesDep, name: ToolName, document: Record, expected: ExpectedVersion, response: Response
) -> ToolDocument:
    """Store a record's next version; the same content as the latest version makes no new one."""
    data = tool_document(check_tool(document, name=name))
    stored, created = await _store(services).put(data, tool_sha256(data), if_version=expected)
    if created:
        response.status_code = 201
    return _written(stored, response)


@router.delete(
    "/{name}",
    operation_id="delete_tool",
    summary="Take a declared tool out of use",
    status_code=204,
    responses=problems(404, 412, 422, 503),
)
async def delete_tool(services: ServicesDep, name: ToolName, expected: ExpectedVersion) -> None:
    """Take a tool out of use: it is offered and called no more, its versions stay readable."""
    await _store(services).delete(name, if_version=expected)


def _store(services: Services) -> ToolStore:
    return ToolStore(services.redis, services.settings.redis_key_prefix)


def _written(stored: StoredVersion, response: Response) -> ToolDocument:
    response.headers["ETag"] = etag(stored.version)
    response.headers["Location"] = f"{PREFIX}/tools/{stored.id}"
    return ToolDocument.of(stored)


async def _item(store: ToolStore, name: str) -> ToolItem | None:
    stored = await store.find(name)
    if stored is None:
        return None
    spec = ToolRecord.model_validate(stored.document).spec()
    return ToolItem(
        name=spec.name,
        source=spec.kind,
        description=spec.description,
        parameters=dict(spec.parameters),
        requires_approval=spec.requires_approval,
        sha256=spec.sha256,
        version=stored.version,
        workflow_id=spec.workflow_id,
        workflow_version=spec.version,
    )
