"""The vector collections over REST, through a worker that owns the embedded store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities.vectors import VectorActivities
from orchestrator.settings import Settings
from orchestrator.stores.vectors import EmbeddedVectors, VectorPoint, VectorStore, open_vectors
from tests.support.api_server import problem_in, running_api


@pytest.fixture
async def store(isolated_settings: Settings, tmp_path: Path) -> AsyncIterator[VectorStore]:
    found = open_vectors(isolated_settings.model_copy(update={"qdrant_path": tmp_path / "vectors"}))
    yield found
    await found.aclose()


@pytest.fixture
async def api(
    temporal_client: Client, isolated_settings: Settings, store: VectorStore
) -> AsyncIterator[httpx2.AsyncClient]:
    """The API, with a worker that owns the store."""
    queue = isolated_settings.temporal_task_queue
    async with (
        Worker(temporal_client, task_queue=queue, activities=VectorActivities(store).all()),
        running_api(isolated_settings) as client,
    ):
        yield client


async def test_a_collection_is_created_listed_read_and_deleted(api: httpx2.AsyncClient, store: VectorStore) -> None:
    created = await api.post("/collections/", json={"name": "notes", "dimensions": 3})
    assert created.status_code == 201, created.text
    assert created.headers["Location"] == "/api/v1/collections/notes"
    assert created.json() == {"name": "notes", "points": 0, "dimensions": 3, "distance": "cosine"}
    await store.upsert("notes", [VectorPoint("a", [1.0, 0.0, 0.0])])

    listed = (await api.get("/collections/")).json()
    assert [item["name"] for item in listed["items"]] == ["notes"]
    assert (await api.get("/collections/notes")).json() == {**created.json(), "points": 1}

    assert (await api.delete("/collections/notes")).status_code == 204
    problem_in(await api.get("/collections/notes"), 404, "collection-not-found")
    problem_in(await api.delete("/collections/notes"), 404, "collection-not-found")
    again = await api.post("/collections/", json={"name": "notes", "dimensions": 2, "distance": "dot"})
    assert (again.status_code, again.json()["points"]) == (201, 0)


async def test_collections_are_paged_by_name(api: httpx2.AsyncClient) -> None:
    for name in ("c", "a", "e", "b", "d"):
        assert (await api.post("/collections/", json={"name": name, "dimensions": 3})).status_code == 201
    pages: list[list[str]] = []
    cursor = None
    while cursor is not None or not pages:
        query = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await api.get("/collections/", params=query)).json()
        assert (page["healthy"], page["kind"], page["error"]) == (True, "embedded", None)
        pages.append([item["name"] for item in page["items"]])
        cursor = page["next_cursor"]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]
    problem_in(await api.get("/collections/?limit=0"), 422, "invalid-request")
    foreign = (await api.get("/workflows/?limit=1")).json()["next_cursor"] or "YWJj"
    problem_in(await api.get("/collections/", params={"cursor": foreign}), 422, "invalid-request")


async def test_an_existing_collection_is_not_created_again(api: httpx2.AsyncClient) -> None:
    body = {"name": "notes", "dimensions": 3}
    await api.post("/collections/", json=body)
    problem_in(await api.post("/collections/", json=body), 409, "collection-exists")
    other = problem_in(await api.post("/collections/", json={**body, "dimensions": 4}), 409, "dimension-mismatch")
    assert "3 dimensions" in other["detail"]
    assert "DELETE" in other["hint"]


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a/b", "dimensions": 3},
        {"name": "a", "dimensions": 0},
        {"name": "a", "dimensions": "3"},
        {"name": "a"},
        {"name": "a", "dimensions": 3, "distance": "far"},
        {"name": "a", "dimensions": 3, "colour": 1},
    ],
)
async def test_a_collection_that_cannot_be_is_refused(api: httpx2.AsyncClient, body: object) -> None:
    problem_in(await api.post("/collections/", json=body), 422, "invalid-request")


async def test_a_store_that_another_process_owns_is_a_problem_with_the_way_out(
    api: httpx2.AsyncClient, tmp_path: Path
) -> None:
    owner = EmbeddedVectors(tmp_path / "vectors")
    await owner.ensure_collection("notes", 3)
    locked = problem_in(await api.post("/collections/", json={"name": "a", "dimensions": 3}), 503, "vectors-locked")
    assert "QDRANT_URL" in locked["hint"]
    problem_in(await api.delete("/collections/notes"), 503, "vectors-locked")
    problem_in(await api.get("/collections/notes"), 503, "vectors-unavailable")
    assert (await api.get("/collections/")).json()["healthy"] is False
    await owner.aclose()
    assert (await api.get("/collections/notes")).status_code == 200


async def test_without_a_worker_the_answer_is_a_problem(isolated_settings: Settings) -> None:
    async with running_api(isolated_settings) as client:
        # Its connection to Temporal is made by the first call, which a busy machine may take for an absent server.
        await client.get("/executions/")
        problem_in(await client.get("/collections/"), 503, "no-worker")
