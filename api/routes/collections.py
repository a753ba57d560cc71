"""The vector collections, reached through the worker: it alone owns the embedded store."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.dependencies import Services, ServicesDep
from api.execution_links import PREFIX
from api.json_body import StrictJsonRoute
from api.parameters import Cursor, Limit
from api.schemas.collections import CollectionPage, NewCollection
from api.schemas.problems import WITH_BODY, problems
from api.worker_calls import api_call, ask_worker
from orchestrator.execution.errors import CollectionExists, VectorsUnavailable
from orchestrator.execution.errors_steps import CollectionNotFound
from orchestrator.execution.messages_vectors import (
    ChangeCollectionResult,
    CollectionView,
    CreateCollectionInput,
    DescribeVectorsResult,
    DropCollectionInput,
)
from orchestrator.stores.pages import decode_cursor, page_of

router = APIRouter(prefix="/collections", tags=["vectors"], route_class=StrictJsonRoute)

CollectionName = Annotated[
    str, Path(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", examples=["handbook"], description="its name")
]


@router.get("/", operation_id="list_collections", summary="List the vector collections", responses=problems(422, 503))
async def list_collections(services: ServicesDep, limit: Limit = 50, cursor: Cursor = None) -> CollectionPage:
    """Ask a worker for its vector store's collections, by a standalone activity; 503 without a worker."""
    # A wrong cursor needs no worker to be refused.
    decode_cursor("collections", cursor)
    store = await ask_worker(services, "describe_vectors", DescribeVectorsResult)
    found = sorted(store.collections, key=_place_of)
    page = page_of("collections", found, _place_of, limit=limit, cursor=cursor)
    return CollectionPage(
        items=list(page.items), next_cursor=page.next_cursor, **store.model_dump(exclude={"collections"})
    )


def _place_of(view: CollectionView) -> str:
    return view.name


@router.post(
    "/",
    operation_id="create_collection",
    summary="Create a vector collection",
    status_code=201,
    responses=problems(*WITH_BODY, 409, 503),
)
async def create_collection(services: ServicesDep, body: NewCollection, response: Response) -> CollectionView:
    """Create an empty collection; the first `vector_upsert` step would do so, too."""
    argument = CreateCollectionInput(call=api_call("create_collection"), **body.model_dump())
    created = await ask_worker(services, "create_collection", ChangeCollectionResult, argument)
    if not created.output:
        raise CollectionExists(
            f"collection '{body.name}' exists with this dimension and distance",
            hint=f"use it, or delete it first: DELETE {PREFIX}/collections/{body.name}",
        )
    response.headers["Location"] = f"{PREFIX}/collections/{body.name}"
    return CollectionView(name=body.name, points=0, dimensions=body.dimensions, distance=body.distance)


@router.get(
    "/{name}", operation_id="get_collection", summary="Read a vector collection", responses=problems(404, 422, 503)
)
async def get_collection(services: ServicesDep, name: CollectionName) -> CollectionView:
    """Return a collection's dimension, distance and number of points."""
    return await _existing(services, name)


@router.delete(
    "/{name}",
    operation_id="delete_collection",
    summary="Delete a vector collection",
    status_code=204,
    responses=problems(404, 422, 503),
)
async def delete_collection(services: ServicesDep, name: CollectionName) -> None:
    """Remove a collection with all that it holds. This cannot be undone."""
    argument = DropCollectionInput(call=api_call("delete_collection"), name=name)
    await ask_worker(services, "drop_collection", ChangeCollectionResult, argument)


async def _existing(services: Services, name: str) -> CollectionView:
    found = await ask_worker(services, "describe_vectors", DescribeVectorsResult)
    if not found.healthy:
        raise VectorsUnavailable(found.error or "the vector store does not answer", retry_after_seconds=5)
    for collection in found.collections:
        if collection.name == name:
            return collection
    raise CollectionNotFound(
        f"there is no collection '{name}'", hint=f"GET {PREFIX}/collections/ lists them; the first upsert creates one"
    )
