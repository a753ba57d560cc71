"""The vector collections over REST, through a worker that owns the embedded store."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client
from temporalio.worker import Worker

from activities.vectors import VectorActivities
from orchestrator.settings import Settings
from orchestrator.stores.vectors import open_vectors
from tests.support.api_server import problem_in, running_api


async def test_collections_are_listed_through_the_worker(
    temporal_client: Client, isolated_settings: Settings, tmp_path: Path
) -> None:
    store = open_vectors(isolated_settings.model_copy(update={"qdrant_path": tmp_path / "vectors"}))
    await store.ensure_collection("notes", 3)
    queue = isolated_settings.temporal_task_queue
    async with (
        Worker(temporal_client, task_queue=queue, activities=VectorActivities(store).all()),
        running_api(isolated_settings) as client,
    ):
        answer = await client.get("/collections/")
    await store.aclose()
    assert answer.status_code == 200, answer.text
    assert [item["name"] for item in answer.json()["collections"]] == ["notes"]


async def test_without_a_worker_the_answer_is_a_problem(isolated_settings: Settings) -> None:
    async with running_api(isolated_settings) as client:
        problem_in(await client.get("/collections/"), 503, "no-worker")
