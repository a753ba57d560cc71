"""The activities over the worker's vector store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from temporalio import activity

from activities.models import attempt_seconds
from activities.step_activity import step_activity
from orchestrator.agents.embeddings import Embedded, TextEmbedder
from orchestrator.agents.semantic_memory import with_text
from orchestrator.agents.turn_costs import Price, TurnCosts
from orchestrator.execution.errors_steps import DimensionMismatch, ModelRejected, VectorRejected
from orchestrator.execution.messages import StepCall
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.execution.messages_vectors import (
    ChangeCollectionResult,
    CollectionView,
    CreateCollectionInput,
    DescribeVectorsResult,
    DropCollectionInput,
    VectorDocument,
    VectorSearchInput,
    VectorSearchResult,
    VectorUpsertInput,
    VectorUpsertResult,
)
from orchestrator.stores.vectors import VectorPoint, VectorStore, parse_filter
from orchestrator.stores.vectors.port import check_collection

POINTS_A_WRITE: Final = 256


class VectorActivities:
    """Storing and finding vectors; the only way to them for the API and for steps.

    Texts are embedded inside the step's own activity, not by one before it: their vectors, of kilobytes each, then
    never travel through a history, and an attempt that is made again has the same ids to replace.
    """

    def __init__(self, store: VectorStore, embedder: TextEmbedder | None = None, price: Price | None = None) -> None:
        """Args: without an `embedder` texts are refused; `price` tells what embedding costs."""
        self._store = store
        self._embedder = embedder
        self._costs = TurnCosts(price)

    @step_activity("vector_upsert")
    async def vector_upsert(self, request: VectorUpsertInput) -> VectorUpsertResult:
        """Store documents, creating the collection when it is not there yet.

        Raises:
            VectorRejected: a vector, an id or the collection's shape does not fit.
            VectorsUnavailable: the store cannot be reached.
            StepFailure: the texts cannot be embedded.
        """
        check_collection(request.collection)
        texts = [document.text for document in request.documents if document.text is not None]
        embedded = await self._embed(texts)
        made = iter(embedded.vectors if embedded else ())
        points = [_point(request, index, document, made) for index, document in enumerate(request.documents)]
        if points:
            # Created by a batch that is then refused, a collection would keep a wrong dimension.
            for point in points:
                _same_dimension(point, len(points[0].vector))
            await self._store.ensure_collection(request.collection, len(points[0].vector), request.distance)
            for batch in _batches(points):
                await self._store.upsert(request.collection, batch)
        ids = [point.id for point in points]
        output = {"collection": request.collection, "upserted": len(ids), "ids": ids}
        return VectorUpsertResult(output=output, spent=self._spent(request.call, embedded))

    @step_activity("vector_search")
    async def vector_search(self, request: VectorSearchInput) -> VectorSearchResult:
        """Find the nearest documents.

        Raises:
            VectorRejected: the collection, the vector or the filter does not fit.
            VectorsUnavailable: the store cannot be reached.
            StepFailure: the query cannot be embedded.
        """
        check_collection(request.collection)
        # Judged first: a filter that is wrong costs no call.
        matching = parse_filter(request.filter)
        embedded, vector = None, request.vector
        if vector is None:
            if request.query is None:
                raise VectorRejected("A search takes a query or a vector.")
            embedded = await self._embed([request.query])
            vector = embedded.vectors[0] if embedded else []
        found = await self._store.search(
            request.collection,
            vector,
            limit=request.limit,
            matching=matching,
            score_threshold=request.score_threshold,
        )
        return VectorSearchResult(output=[asdict(match) for match in found], spent=self._spent(request.call, embedded))

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

    @step_activity("create_collection")
    async def create_collection(self, request: CreateCollectionInput) -> ChangeCollectionResult:
        """Create a collection for the API; `output` says whether it was not there before.

        Raises:
            VectorRejected: the name or the dimension does not fit, or it exists in another shape.
            VectorsUnavailable: the store cannot be reached.
        """
        created = await self._store.ensure_collection(request.name, request.dimensions, request.distance)
        return ChangeCollectionResult(output=created)

    @step_activity("drop_collection")
    async def drop_collection(self, request: DropCollectionInput) -> ChangeCollectionResult:
        """Remove a collection for the API.

        Raises:
            CollectionNotFound: there is none.
            VectorsUnavailable: the store cannot be reached.
        """
        await self._store.drop_collection(request.name)
        return ChangeCollectionResult(output=True)

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities for the worker."""
        return [
            self.vector_upsert,
            self.vector_search,
            self.describe_vectors,
            self.create_collection,
            self.drop_collection,
        ]

    async def _embed(self, texts: Sequence[str]) -> Embedded | None:
        if not texts:
            return None
        if self._embedder is None:
            raise ModelRejected("This worker embeds no texts.", hint="Give vectors, or set EMBEDDING_MODEL.")
        return await self._embedder.embed(texts, timeout_seconds=attempt_seconds())

    def _spent(self, call: StepCall, embedded: Embedded | None) -> list[LedgerCall]:
        if embedded is None:
            return []
        return [
            LedgerCall(
                path=call.path,
                attempt=activity.info().attempt,
                model=embedded.model,
                input_tokens=usage.input_tokens,
                cost_usd=self._costs.price(embedded.model, usage),
            )
            for usage in embedded.calls
        ]


def _point(request: VectorUpsertInput, index: int, document: VectorDocument, made: Any) -> VectorPoint:
    own = document.id if document.id is not None else f"{request.call.idempotency_key}/{index}"
    if document.text is not None:
        return VectorPoint(own, next(made), with_text(document.payload, document.text))
    return VectorPoint(own, document.vector or [], document.payload)


def _batches(points: Sequence[VectorPoint]) -> list[Sequence[VectorPoint]]:
    return [points[start : start + POINTS_A_WRITE] for start in range(0, len(points), POINTS_A_WRITE)]


def _same_dimension(point: VectorPoint, dimensions: int) -> None:
    if not point.vector or len(point.vector) != dimensions:
        raise DimensionMismatch(
            f"Document {point.id!r} has {len(point.vector)} dimensions, the first one has {dimensions}.",
        )
