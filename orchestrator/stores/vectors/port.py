"""What the service asks of a vector store, whichever it is."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from orchestrator.execution.errors_steps import CollectionNotFound, DimensionMismatch, VectorRejected
from orchestrator.stores.vectors.filters import VectorFilter

Distance = Literal["cosine", "dot", "euclid", "manhattan"]

OTHER_DIMENSION: Final = (
    "Embed with the model that filled the collection (EMBEDDING_MODEL), or use another collection, or delete this one "
    "(DELETE /api/v1/collections/NAME) and fill it anew."
)
MOST_RESULTS: Final = 1000
MOST_DIMENSIONS: Final = 65_536
_COLLECTION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_OWN_ID: Final = "_document_id"
_NAMESPACE: Final = uuid.UUID("6f0d3c52-6f6c-5b8e-9d0a-0c6a3d2f4b11")


@dataclass(frozen=True, slots=True)
class VectorPoint:
    """One stored vector. `id` is any text or a number of 64 bits; equal ids replace each other."""

    id: str | int
    vector: Sequence[float]
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VectorMatch:
    """One result of a search. `score` is the similarity, or the distance for euclid and manhattan."""

    id: str | int
    score: float
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection is and holds."""

    name: str
    points: int
    dimensions: int | None
    distance: str | None


@dataclass(frozen=True, slots=True)
class VectorsDescription:
    """Which store this is and how it does."""

    kind: Literal["embedded", "remote", "none"]
    healthy: bool
    error: str | None = None
    collections: tuple[CollectionInfo, ...] = ()


class VectorStore(Protocol):
    """Collections of vectors with JSON payloads.

    Every method but `describe` raises `VectorsUnavailable` when the store cannot be reached, and `VectorRejected` when
    it can and refuses.
    """

    async def ensure_collection(self, name: str, dimensions: int, distance: Distance = "cosine") -> bool:
        """Create the collection unless it exists; whether it was created. Another shape is refused."""

    async def upsert(self, name: str, points: Sequence[VectorPoint]) -> int:
        """Store points durably, replacing those with the same ids; how many."""

    async def search(
        self,
        name: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        matching: VectorFilter | None = None,
        score_threshold: float | None = None,
    ) -> list[VectorMatch]:
        """Return the nearest points that satisfy the filter, best first."""

    async def delete(self, name: str, ids: Sequence[str | int]) -> None:
        """Remove points; unknown ids are ignored."""

    async def drop_collection(self, name: str) -> None:
        """Remove a collection with all that it holds; one that does not exist is refused."""

    async def describe(self) -> VectorsDescription:
        """Say how the store does; never raises for a store that is away."""

    async def aclose(self) -> None:
        """Release connections, files and locks."""


def check_collection(name: str) -> str:
    """Return the name of a collection, which is also a folder's and a URL's part.

    Raises:
        VectorRejected: it is not 1-64 letters, digits, `_` and `-`.
    """
    if not _COLLECTION.fullmatch(name):
        raise VectorRejected(
            f"{name[:80]!r} is not a collection's name.",
            hint="Use 1 to 64 letters, digits, '_' and '-', beginning with a letter or a digit.",
        )
    return name


def check_vector(vector: Sequence[float], dimensions: int | None, name: str) -> list[float]:
    """Return the vector as floats.

    Raises:
        VectorRejected: it is empty, holds NaN or infinity, or has another dimension than the collection.
    """
    values = [float(value) for value in vector]
    if not values or len(values) > MOST_DIMENSIONS:
        raise VectorRejected(f"A vector of {len(values)} numbers; it takes 1 to {MOST_DIMENSIONS}.")
    if not all(map(math.isfinite, values)):
        raise VectorRejected("A vector holds NaN or infinity.")
    if dimensions is not None and len(values) != dimensions:
        raise DimensionMismatch(
            f"Collection {name!r} holds vectors of {dimensions} dimensions, this one has {len(values)}.",
            hint=OTHER_DIMENSION,
            details={"collection": name, "dimensions": dimensions, "given": len(values)},
        )
    return values


def stored_id(given: str | int) -> str | int:
    """Return what the store knows the point by: numbers and UUIDs as they are, other texts as a UUID made of them."""
    if isinstance(given, int):
        if not 0 <= given < 2**64:
            raise VectorRejected(f"{given} is not a point's id: numbers are 0 to 2^64 - 1.")
        return given
    try:
        return str(uuid.UUID(given))
    except ValueError:
        return str(uuid.uuid5(_NAMESPACE, given.encode("utf-8", "backslashreplace").decode()))


def stored_payload(point: VectorPoint) -> dict[str, Any]:
    """Return the payload with the id as it was given, where the store knows another."""
    if stored_id(point.id) == point.id:
        return point.payload
    return {**point.payload, _OWN_ID: point.id}


def match_of(known_id: object, score: float, payload: dict[str, Any] | None) -> VectorMatch:
    """Undo `stored_id` and `stored_payload`."""
    found = dict(payload or {})
    own: str | int | None = found.pop(_OWN_ID, None)
    if own is None:
        own = known_id if isinstance(known_id, int) else str(known_id)
    return VectorMatch(id=own, score=score, payload=found)


def other_shape(name: str, has: tuple[int | None, str | None], wanted: tuple[int, str]) -> DimensionMismatch:
    """Say that a collection exists in another shape."""
    return DimensionMismatch(
        f"Collection {name!r} holds {has[0]} dimensions by {has[1]}, not {wanted[0]} by {wanted[1]}.",
        hint=OTHER_DIMENSION,
        details={"collection": name, "dimensions": has[0], "distance": has[1], "given": wanted[0]},
    )


def unknown_collection(name: str) -> CollectionNotFound:
    """Say that a collection does not exist."""
    return CollectionNotFound(
        f"Collection {name!r} does not exist.", hint="The first upsert creates it, or POST /api/v1/collections/."
    )
