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
from orchestrator.stores.vectors import open_vectors

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
