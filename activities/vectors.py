"""The activities over the worker's vector store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from temporalio import activity

from activities.step_activity import step_activity
from orchestrator.execution.errors import DimensionMismatch
from orchestrator.execution.messages_vectors import (
    CollectionView,
    DescribeVectorsResult,
    VectorSearchInput,
    VectorSearchResult,
    VectorUpsertInput,
    VectorUpsertResult,
)
from orchestrator.stores.vectors import VectorPoint, VectorStore, parse_filter


class VectorActivities:
    """Storing and finding vectors; the only way to them for the API and for steps."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    @step_activity("vector_upsert")
    async def vector_upsert(self, request: VectorUpsertInput) -> VectorUpsertResult:
        """Store documents, creating the collection when it is not there yet.

        Raises:
            VectorRejected: a vector, an id or the collection's shape does not fit.
            VectorsUnavailable: the store cannot be reached.
        """
        points = [
            VectorPoint(
                document.id if document.id is not None else f"{request.call.idempotency_key}/{index}",
                document.vector,
                document.payload,
            )
            for index, document in enumerate(request.documents)
        ]
        if points:
            # Created by a batch that is then refused, a collection would keep a wrong dimension.
            for point in points:
                _same_dimension(point, len(points[0].vector))
            await self._store.ensure_collection(request.collection, len(points[0].vector), request.distance)
            await self._store.upsert(request.collection, points)
        ids = [point.id for point in points]
        return VectorUpsertResult(output={"collection": request.collection, "upserted": len(ids), "ids": ids})

    @step_activity("vector_search")
    async def vector_search(self, request: VectorSearchInput) -> VectorSearchResult:
        """Find the nearest documents.

        Raises:
            VectorRejected: the collection, the vector or the filter does not fit.
            VectorsUnavailable: the store cannot be reached.
        """
        found = await self._store.search(
            request.collection,
            request.vector,
            limit=request.limit,
            matching=parse_filter(request.filter),
            score_threshold=request.score_threshold,
        )
        return VectorSearchResult(output=[asdict(match) for match in found])

    @activity.defn(name="describe_vectors")
    async def describe_vectors(self) -> DescribeVectorsResult:
        """Say how the store does; not a step, so without the step wrapper."""
        found = await self._store.describe()
        return DescribeVectorsResult(
            kind=found.kind,
            healthy=found.healthy,
            error=found.error,
            collections=[CollectionView(**asdict(entry)) for entry in found.collections],
        )

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [self.vector_upsert, self.vector_search, self.describe_vectors]


def _same_dimension(point: VectorPoint, dimensions: int) -> None:
    if not point.vector or len(point.vector) != dimensions:
        raise DimensionMismatch(
            f"Document {point.id!r} has {len(point.vector)} dimensions, the first one has {dimensions}.",
        )
