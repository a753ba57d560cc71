"""The vector store of a worker that has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from orchestrator.execution.errors import VectorsUnavailable
from orchestrator.stores.vectors.filters import VectorFilter
from orchestrator.stores.vectors.port import Distance, VectorMatch, VectorPoint, VectorsDescription


class NoVectors:
    """Refuses everything with the way out."""

    async def ensure_collection(self, name: str, dimensions: int, distance: Distance = "cosine") -> bool:
        """Refuse."""
        self._refuse()

    async def upsert(self, name: str, points: Sequence[VectorPoint]) -> int:
        """Refuse."""
        self._refuse()

    async def search(
        self,
        name: str,
        vector: Sequence[float],
        *,
        limit: int = 10,
        matching: VectorFilter | None = None,
        score_threshold: float | None = None,
    ) -> list[VectorMatch]:
        """Refuse."""
        self._refuse()

    async def delete(self, name: str, ids: Sequence[str | int]) -> None:
        """Refuse."""
        self._refuse()

    async def drop_collection(self, name: str) -> None:
        """Refuse."""
        self._refuse()

    async def describe(self) -> VectorsDescription:
        """Say that there is none."""
        return VectorsDescription("none", False, "no vector store is configured")

    async def aclose(self) -> None:
        """Nothing to release."""

    def _refuse(self) -> NoReturn:
        raise VectorsUnavailable(
            "This worker has no vector store.", hint="Set QDRANT_URL to a Qdrant server, or QDRANT_PATH to a folder."
        )
