"""What travels to and from the vector activities. Fields are only ever added (replay)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.execution.messages import StepCall, StepResult
from orchestrator.execution.messages_ledger import LedgerCall


class VectorDocument(BaseModel):
    """A text or a vector with its payload; without an id it gets one that every attempt of the step repeats.

    A text is embedded, and kept in the payload as `text` unless that has a `text` of its own.
    """

    id: str | int | None = None
    vector: list[float] | None = None
    text: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)


class VectorUpsertInput(BaseModel):
    """Store documents; the first upsert creates the collection with their dimension."""

    call: StepCall
    collection: str
    documents: list[VectorDocument]
    distance: Literal["cosine", "dot", "euclid", "manhattan"] = "cosine"


class VectorUpsertResult(StepResult):
    """`output` is `{collection, upserted, ids}`."""

    spent: list[LedgerCall] = Field(default_factory=list)
    """The provider's calls for embedding."""


class VectorSearchInput(BaseModel):
    """Find the nearest documents; `filter` is a Qdrant filter of `must`, `should` and `must_not`."""

    call: StepCall
    collection: str
    vector: list[float] | None = None
    query: str | None = None
    """In the place of `vector`: a text to embed."""
    limit: int = Field(default=10, ge=1, le=1000)
    filter: dict[str, Any] | None = None
    score_threshold: float | None = None


class VectorSearchResult(StepResult):
    """`output` is a list of `{id, score, payload}`, best first."""

    spent: list[LedgerCall] = Field(default_factory=list)
    """The provider's calls for embedding."""


class CollectionView(BaseModel):
    """A collection and what it holds."""

    name: str
    points: int
    dimensions: int | None = None
    distance: str | None = None


class DescribeVectorsResult(BaseModel):
    """The worker's vector store as the API shows it."""

    kind: Literal["embedded", "remote", "none"]
    healthy: bool
    error: str | None = None
    collections: list[CollectionView] = Field(default_factory=list)


class CreateCollectionInput(BaseModel):
    """Make an empty collection, for the API."""

    call: StepCall
    name: str
    dimensions: int
    distance: Literal["cosine", "dot", "euclid", "manhattan"] = "cosine"


class DropCollectionInput(BaseModel):
    """Remove a collection with all that it holds, for the API."""

    call: StepCall
    name: str


class ChangeCollectionResult(StepResult):
    """`output` says whether anything was changed."""
