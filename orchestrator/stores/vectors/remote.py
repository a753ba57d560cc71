"""A Qdrant server, over its REST interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from orchestrator.execution.errors import VectorsUnavailable
from orchestrator.execution.errors_steps import DimensionMismatch, VectorRejected
from orchestrator.stores.vectors.filters import VectorFilter
from orchestrator.stores.vectors.port import (
    MOST_RESULTS,
    OTHER_DIMENSION,
    CollectionInfo,
    Distance,
    VectorMatch,
    VectorPoint,
    VectorsDescription,
    check_collection,
    check_vector,
    match_of,
    other_shape,
    stored_id,
    stored_payload,
    unknown_collection,
)

_MOST_DESCRIBED: Final = 100


class RemoteVectors:
    """Collections with one unnamed vector on a Qdrant server."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client

    async def ensure_collection(self, name: str, dimensions: int, distance: Distance = "cosine") -> bool:
        """Create the collection unless it exists; see `VectorStore`."""
        check_collection(name)
        async with _translated(name):
            created = False
            if not await self._client.collection_exists(name):
                created = await self._create(name, dimensions, distance)
            found = await self._info(name)
        if (found.dimensions, found.distance) != (dimensions, distance):
            raise other_shape(name, (found.dimensions, found.distance), (dimensions, distance))
        return created

    async def _create(self, name: str, dimensions: int, distance: str) -> bool:
        measure = models.Distance(distance.capitalize())
        try:
            shape = models.VectorParams(size=dimensions, distance=measure)
            return await self._client.create_collection(name, vectors_config=shape)
        except UnexpectedResponse as error:
            # 409: another worker was faster.
            if error.status_code == 409:
                return False
            raise

    async def upsert(self, name: str, points: Sequence[VectorPoint]) -> int:
        """Store points and wait until they are applied; see `VectorStore`."""
        check_collection(name)
        made = [
            models.PointStruct(
                id=stored_id(point.id), vector=check_vector(point.vector, None, name), payload=stored_payload(point)
            )
            for point in points
        ]
        async with _translated(name):
            if made:
                await self._client.upsert(name, points=made, wait=True)
        return len(made)

    async def search(
        self,
        name: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        matching: VectorFilter | None = None,
        score_threshold: float | None = None,
    ) -> list[VectorMatch]:
        """Find the nearest points; see `VectorStore`."""
        check_collection(name)
        async with _translated(name):
            found = await self._client.query_points(
                name,
                query=check_vector(vector, None, name),
                query_filter=_server_filter(matching),
                limit=max(1, min(limit, MOST_RESULTS)),
                score_threshold=score_threshold,
                with_payload=True,
            )
        return [match_of(point.id, point.score, point.payload) for point in found.points]

    async def delete(self, name: str, ids: Sequence[str | int]) -> None:
        """Remove points; see `VectorStore`."""
        check_collection(name)
        selected = models.PointIdsList(points=[stored_id(given) for given in ids])
        async with _translated(name):
            await self._client.delete(name, points_selector=selected, wait=True)

    async def drop_collection(self, name: str) -> None:
        """Remove a collection; see `VectorStore`."""
        check_collection(name)
        async with _translated(name):
            if not await self._client.collection_exists(name):
                raise unknown_collection(name)
            await self._client.delete_collection(name)

    async def describe(self) -> VectorsDescription:
        """Say how the store does, with its first 100 collections; see `VectorStore`."""
        try:
            async with _translated("*"):
                listed = await self._client.get_collections()
                names = sorted(entry.name for entry in listed.collections)[:_MOST_DESCRIBED]
                found = tuple([info for name in names if (info := await self._info_if_there(name)) is not None])
        except (VectorsUnavailable, VectorRejected) as error:
            return VectorsDescription("remote", False, error.message)
        return VectorsDescription("remote", True, collections=found)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _info_if_there(self, name: str) -> CollectionInfo | None:
        try:
            return await self._info(name)
        except UnexpectedResponse as error:
            # 404: dropped since it was listed.
            if error.status_code == 404:
                return None
            raise

    async def _info(self, name: str) -> CollectionInfo:
        found = await self._client.get_collection(name)
        shape = found.config.params.vectors
        plain = shape if isinstance(shape, models.VectorParams) else None
        return CollectionInfo(
            name,
            found.points_count or 0,
            plain.size if plain else None,
            plain.distance.value.lower() if plain else None,
        )


def _server_filter(matching: VectorFilter | None) -> models.Filter | None:
    if matching is None:
        return None
    # Ours is a part of theirs, so the JSON form is the translation.
    return models.Filter.model_validate(matching.model_dump(by_alias=True, exclude_unset=True))


@asynccontextmanager
async def _translated(name: str) -> AsyncIterator[None]:
    try:
        yield
    except UnexpectedResponse as error:
        raise _refusal(error, name) from error
    except (ResponseHandlingException, OSError) as error:
        raise VectorsUnavailable(
            "The Qdrant server does not answer.", hint="Check QDRANT_URL and that the server runs."
        ) from error


def _refusal(error: UnexpectedResponse, name: str) -> VectorRejected | VectorsUnavailable:
    status = error.status_code or 0
    if status == 404:
        return unknown_collection(name)
    if status in (401, 403):
        return VectorRejected(f"The Qdrant server answered {status}: check QDRANT_API_KEY.")
    text = error.content.decode("utf-8", "replace")[:300]
    if status in (408, 429) or status >= 500:
        return VectorsUnavailable(f"The Qdrant server answered {status}: {text}")
    if "dimension error" in text.lower():
        return DimensionMismatch(f"Collection {name!r} holds other vectors: {text}", hint=OTHER_DIMENSION)
    return VectorRejected(f"The Qdrant server refuses the request for collection {name!r}: {text}")
