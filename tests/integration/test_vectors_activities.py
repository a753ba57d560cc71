"""The vector activities on a real Temporal server, called the way the API and steps call them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import ActivityFailureError, Client
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities.vectors import VectorActivities
from orchestrator.agents.connections import model_breakers
from orchestrator.agents.embeddings import Embedder
from orchestrator.agents.providers import ModelProviders
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_vectors import (
    DescribeVectorsResult,
    VectorDocument,
    VectorSearchInput,
    VectorSearchResult,
    VectorUpsertInput,
    VectorUpsertResult,
)
from orchestrator.settings import Settings
from orchestrator.stores.redis import connect_redis
from orchestrator.stores.vectors import EmbeddedVectors, open_vectors

CALL = StepCall(execution_id="ex-1", workflow_id="w", path="store", step_id="store", idempotency_key="ex-1/store")


class Caller:
    """Runs activities as standalone activities of one task queue."""

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def run(self, name: str, result_type: type[Any], *arguments: Any) -> Any:
        """Run one activity by name, without a second attempt."""
        return await self._client.execute_activity(
            name,
            args=list(arguments),
            id=f"vectors-{uuid.uuid4().hex}",
            task_queue=self._task_queue,
            result_type=result_type,
            start_to_close_timeout=timedelta(seconds=20),
            schedule_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(maximum_attempts=1),
        )


@pytest.fixture
async def caller(temporal_client: Client, isolated_settings: Settings, tmp_path: Path) -> AsyncIterator[Caller]:
    """A worker that owns an embedded store, and a caller of its activities."""
    store = open_vectors(isolated_settings.model_copy(update={"qdrant_path": tmp_path / "vectors"}))
    queue = isolated_settings.temporal_task_queue
    async with Worker(temporal_client, task_queue=queue, activities=VectorActivities(store).all()):
        yield Caller(temporal_client, queue)
    await store.aclose()


async def test_documents_are_stored_found_and_described_through_activities(caller: Caller) -> None:
    documents = [
        VectorDocument(id="a", vector=[1.0, 0.0], payload={"kind": "x"}),
        VectorDocument(vector=[0.0, 1.0], payload={"kind": "y"}),
    ]
    upsert = VectorUpsertInput(call=CALL, collection="notes", documents=documents)
    for _ in range(2):
        stored = await caller.run("vector_upsert", VectorUpsertResult, upsert)
    assert stored.output == {"collection": "notes", "upserted": 2, "ids": ["a", "ex-1/store/1"]}

    search = VectorSearchInput(
        call=CALL, collection="notes", vector=[0.1, 1.0], filter={"must": [{"key": "kind", "match": {"value": "y"}}]}
    )
    (found,) = (await caller.run("vector_search", VectorSearchResult, search)).output
    assert (found["id"], found["payload"]) == ("ex-1/store/1", {"kind": "y"})
    assert found["score"] > 0.9

    described = await caller.run("describe_vectors", DescribeVectorsResult)
    assert (described.kind, described.healthy) == ("embedded", True)
    assert [(entry.name, entry.points, entry.dimensions) for entry in described.collections] == [("notes", 2, 2)]


@pytest.mark.parametrize(
    ("name", "code", "request_"),
    [
        ("vector_search", "collection-not-found", VectorSearchInput(call=CALL, collection="nothing", vector=[1.0])),
        ("vector_search", "vector-rejected", VectorSearchInput(call=CALL, collection="a/b", vector=[1.0])),
        (
            "vector_search",
            "vector-rejected",
            VectorSearchInput(call=CALL, collection="x", vector=[1.0], filter={"must": 1}),
        ),
        (
            "vector_upsert",
            "dimension-mismatch",
            VectorUpsertInput(
                call=CALL, collection="x", documents=[VectorDocument(vector=[1.0]), VectorDocument(vector=[1.0, 2.0])]
            ),
        ),
    ],
)
async def test_a_request_that_the_store_refuses_is_not_tried_again(
    caller: Caller, name: str, code: str, request_: Any
) -> None:
    with pytest.raises(ActivityFailureError) as caught:
        await caller.run(name, dict, request_)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == (code, True)
    assert (await caller.run("describe_vectors", DescribeVectorsResult)).collections == []


def note(text: str, **fields: Any) -> VectorDocument:
    return VectorDocument(text=text, **fields)


@pytest.fixture
async def reader(temporal_client: Client, isolated_settings: Settings, tmp_path: Path) -> AsyncIterator[Caller]:
    """As `caller`, with the embedded model behind it."""
    store = open_vectors(isolated_settings.model_copy(update={"qdrant_path": tmp_path / "vectors"}))
    redis = connect_redis(isolated_settings)
    providers = ModelProviders(isolated_settings)
    embedder = Embedder("embedded/minilm", providers, model_breakers(isolated_settings, redis))
    queue = isolated_settings.temporal_task_queue
    async with Worker(temporal_client, task_queue=queue, activities=VectorActivities(store, embedder).all()):
        yield Caller(temporal_client, queue)
    embedder.close()
    await store.aclose()
    await providers.aclose()
    await redis.aclose()


async def test_texts_are_embedded_stored_once_and_found_by_meaning(reader: Caller) -> None:
    documents = [
        note("The office dog is called Bruno.", payload={"page": 1}),
        note("The printer is out of order.", id="printer", payload={"text": "own words"}),
    ]
    upsert = VectorUpsertInput(call=CALL, collection="notes", documents=documents)
    for _ in range(2):
        stored = await reader.run("vector_upsert", VectorUpsertResult, upsert)
    assert stored.output == {"collection": "notes", "upserted": 2, "ids": ["ex-1/store/0", "printer"]}
    search = VectorSearchInput(call=CALL, collection="notes", query="What is our pet's name?", limit=5)
    found = (await reader.run("vector_search", VectorSearchResult, search)).output
    assert [hit["id"] for hit in found] == ["ex-1/store/0", "printer"]
    assert [hit["payload"] for hit in found] == [
        {"text": "The office dog is called Bruno.", "page": 1},
        {"text": "own words"},
    ]
    described = await reader.run("describe_vectors", DescribeVectorsResult)
    assert [(entry.points, entry.dimensions) for entry in described.collections] == [(2, 384)]


async def test_many_documents_are_stored_in_batches(reader: Caller) -> None:
    documents = [VectorDocument(vector=[1.0, float(number)]) for number in range(1_000)]
    upsert = VectorUpsertInput(call=CALL, collection="many", documents=documents)
    assert (await reader.run("vector_upsert", VectorUpsertResult, upsert)).output["upserted"] == 1_000
    described = await reader.run("describe_vectors", DescribeVectorsResult)
    assert described.collections[0].points == 1_000


async def test_a_wrong_dimension_says_the_way_out_and_stores_nothing(reader: Caller) -> None:
    vectors = VectorUpsertInput(call=CALL, collection="old", documents=[VectorDocument(vector=[1.0, 0.0])])
    await reader.run("vector_upsert", VectorUpsertResult, vectors)
    for name, request_ in (
        ("vector_upsert", VectorUpsertInput(call=CALL, collection="old", documents=[note("a text")])),
        ("vector_search", VectorSearchInput(call=CALL, collection="old", query="a text")),
    ):
        with pytest.raises(ActivityFailureError) as caught:
            await reader.run(name, dict, request_)
        cause = caught.value.cause
        assert isinstance(cause, ApplicationError)
        assert (cause.type, cause.non_retryable) == ("dimension-mismatch", True)
        assert "EMBEDDING_MODEL" in cause.details[0]["hint"]
    described = await reader.run("describe_vectors", DescribeVectorsResult)
    assert [(entry.points, entry.dimensions) for entry in described.collections] == [(1, 2)]


async def test_a_store_that_another_process_owns_is_tried_again_and_says_the_way_out(
    caller: Caller, temporal_client: Client, tmp_path: Path
) -> None:
    await caller.run(
        "vector_upsert",
        VectorUpsertResult,
        VectorUpsertInput(call=CALL, collection="notes", documents=[VectorDocument(vector=[1.0])]),
    )
    second = EmbeddedVectors(tmp_path / "vectors")
    queue = f"second-{uuid.uuid4().hex}"
    async with Worker(temporal_client, task_queue=queue, activities=VectorActivities(second).all()):
        with pytest.raises(ActivityFailureError) as caught:
            await Caller(temporal_client, queue).run(
                "vector_search", dict, VectorSearchInput(call=CALL, collection="notes", vector=[1.0])
            )
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.non_retryable) == ("vectors-locked", False)
    assert "QDRANT_URL" in cause.details[0]["hint"]
