"""Qdrant inside this process; one process owns the folder: the worker."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.execution.errors import VectorsLocked, VectorsUnavailable
from orchestrator.execution.errors_steps import VectorRejected
from orchestrator.stores.vectors.filters import Condition, IsEmpty, IsNull, VectorFilter
from orchestrator.stores.vectors.port import (
    MOST_RESULTS,
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

Result = TypeVar("Result")


class _Shard:
    """An open collection."""

    def __init__(self, edge: Any, dimensions: int, distance: str) -> None:
        self.edge = edge
        self.dimensions = dimensions
        self.distance = distance


class EmbeddedVectors:
    """A folder with one sub-folder per collection: `collection.json` and the shard.

    The folder is opened and locked at the first use; the library releases the GIL, so calls run in threads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opening = threading.RLock()
        self._owner: int | None = None
        self._shards: dict[str, _Shard] = {}

    async def ensure_collection(self, name: str, dimensions: int, distance: Distance = "cosine") -> bool:
        """Create the collection unless it exists; see `VectorStore`."""
        check_collection(name)
        return await self._run(lambda: self._ensure(name, dimensions, distance))

    async def upsert(self, name: str, points: Sequence[VectorPoint]) -> int:
        """Store points and flush them to the disk; see `VectorStore`."""
        check_collection(name)
        return await self._run(lambda: self._upsert(name, points))

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
        return await self._run(lambda: self._search(name, vector, limit, matching, score_threshold))

    async def delete(self, name: str, ids: Sequence[str | int]) -> None:
        """Remove points; see `VectorStore`."""
        check_collection(name)
        await self._run(lambda: self._delete(name, ids))

    async def drop_collection(self, name: str) -> None:
        """Remove a collection; see `VectorStore`."""
        check_collection(name)
        await self._run(lambda: self._drop(name))

    async def describe(self) -> VectorsDescription:
        """Say how the store does; see `VectorStore`."""
        try:
            return VectorsDescription("embedded", True, collections=await self._run(self._collections))
        except VectorsUnavailable as error:
            return VectorsDescription("embedded", False, error.message)

    async def aclose(self) -> None:
        """Flush, close and unlock."""
        await asyncio.to_thread(self._close)

    async def _run(self, work: Callable[[], Result]) -> Result:
        def guarded() -> Result:
            self._own()
            try:
                return work()
            except (VectorRejected, VectorsUnavailable):
                raise
            except (ValueError, TypeError) as error:
                raise VectorRejected(f"The vector store refuses the request: {str(error)[:300]}") from error
            except Exception as error:  # the library raises bare Exception for everything else
                raise VectorsUnavailable(f"The embedded vector store failed: {str(error)[:300]}") from error

        return await asyncio.to_thread(guarded)

    def _own(self) -> None:
        """Take the folder for this process."""
        with self._opening:
            if self._owner is not None:
                return
            try:
                self._path.mkdir(parents=True, exist_ok=True)
                handle = os.open(self._path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise VectorsUnavailable(
                    f"The folder of the embedded vector store cannot be used: {error.strerror}.",
                    hint="Point QDRANT_PATH to a folder that the worker may write, or set QDRANT_URL.",
                ) from error
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(handle)
                raise VectorsLocked(
                    "Another process owns the embedded vector store.",
                    hint="Run one worker per QDRANT_PATH, or share a Qdrant server through QDRANT_URL.",
                ) from error
            self._owner = handle

    def _shard(self, name: str) -> _Shard | None:
        with self._opening:
            if name in self._shards:
                return self._shards[name]
            try:
                shape = json.loads((self._path / name / "collection.json").read_text(encoding="utf-8"))
            except FileNotFoundError:
                return None
            edge = _library().EdgeShard.load(str(self._path / name / "shard"))
            return self._shards.setdefault(name, _Shard(edge, shape["dimensions"], shape["distance"]))

    def _existing(self, name: str) -> _Shard:
        shard = self._shard(name)
        if shard is None:
            raise unknown_collection(name)
        return shard

    def _ensure(self, name: str, dimensions: int, distance: str) -> bool:
        with self._opening:
            shard = self._shard(name)
            if shard is None:
                self._create(name, dimensions, distance)
                return True
            if (shard.dimensions, shard.distance) != (dimensions, distance):
                raise other_shape(name, (shard.dimensions, shard.distance), (dimensions, distance))
            return False

    def _create(self, name: str, dimensions: int, distance: str) -> None:
        library = _library()
        # Made aside and renamed: a crash in between leaves no half collection under the name.
        fresh = self._path / f".new-{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        (fresh / "shard").mkdir(parents=True)
        measure = getattr(library.Distance, distance.capitalize())
        config = library.EdgeConfig(vectors=library.EdgeVectorParams(size=dimensions, distance=measure))
        library.EdgeShard.create(str(fresh / "shard"), config).close()
        shape = json.dumps({"dimensions": dimensions, "distance": distance})
        (fresh / "collection.json").write_text(shape, encoding="utf-8")
        fresh.rename(self._path / name)

    def _upsert(self, name: str, points: Sequence[VectorPoint]) -> int:
        shard = self._existing(name)
        library = _library()
        made = [
            library.Point(
                stored_id(point.id), check_vector(point.vector, shard.dimensions, name), stored_payload(point)
            )
            for point in points
        ]
        if made:
            shard.edge.update(library.UpdateOperation.upsert_points(made))
            shard.edge.flush()
        return len(made)

    def _search(
        self,
        name: str,
        vector: Sequence[float],
        limit: int,
        matching: VectorFilter | None,
        score_threshold: float | None,
    ) -> list[VectorMatch]:
        shard = self._existing(name)
        library = _library()
        request = library.QueryRequest(
            query=library.Query.Nearest(check_vector(vector, shard.dimensions, name)),
            limit=max(1, min(limit, MOST_RESULTS)),
            filter=_edge_filter(matching) if matching else None,
            score_threshold=score_threshold,
            with_payload=True,
        )
        return [match_of(point.id, point.score, point.payload) for point in shard.edge.query(request)]

    def _delete(self, name: str, ids: Sequence[str | int]) -> None:
        shard = self._existing(name)
        shard.edge.update(_library().UpdateOperation.delete_points([stored_id(given) for given in ids]))
        shard.edge.flush()

    def _drop(self, name: str) -> None:
        with self._opening:
            self._existing(name).edge.close()
            del self._shards[name]
            # Renamed first: a crash in between leaves no half collection under the name.
            gone = self._path / f".gone-{name}"
            shutil.rmtree(gone, ignore_errors=True)
            (self._path / name).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _collections(self) -> tuple[CollectionInfo, ...]:
        # Held: none of them is dropped between its listing and its count.
        with self._opening:
            names = sorted(entry.parent.name for entry in self._path.glob("*/collection.json"))
            found = [(name, self._existing(name)) for name in names if not name.startswith(".")]
            return tuple(
                CollectionInfo(name, shard.edge.info().points_count, shard.dimensions, shard.distance)
                for name, shard in found
            )

    def _close(self) -> None:
        with self._opening:
            for shard in self._shards.values():
                shard.edge.close()
            self._shards.clear()
            if self._owner is not None:
                os.close(self._owner)
                self._owner = None


def _library() -> Any:
    try:
        import qdrant_edge
    except ImportError as error:
        raise VectorsUnavailable(
            "The embedded vector store is not installed.",
            hint="Install the extra 'local', or set QDRANT_URL to a Qdrant server.",
        ) from error
    return qdrant_edge


def _edge_filter(matching: VectorFilter) -> Any:
    return _library().Filter(
        must=[_edge_clause(clause) for clause in matching.must] or None,
        should=[_edge_clause(clause) for clause in matching.should] or None,
        must_not=[_edge_clause(clause) for clause in matching.must_not] or None,
    )


def _edge_clause(clause: Condition | IsEmpty | IsNull | VectorFilter) -> Any:
    library = _library()
    if isinstance(clause, VectorFilter):
        return _edge_filter(clause)
    if isinstance(clause, IsEmpty):
        return library.IsEmptyCondition(clause.is_empty.key)
    if isinstance(clause, IsNull):
        return library.IsNullCondition(clause.is_null.key)
    if clause.range is not None:
        return library.FieldCondition(clause.key, range=library.RangeFloat(**clause.range.model_dump()))
    assert clause.match is not None
    if clause.match.any is not None:
        return library.FieldCondition(clause.key, match=library.MatchAny(clause.match.any))
    if clause.match.except_ is not None:
        return library.FieldCondition(clause.key, match=library.MatchExcept(clause.match.except_))
    return library.FieldCondition(clause.key, match=library.MatchValue(clause.match.value))
