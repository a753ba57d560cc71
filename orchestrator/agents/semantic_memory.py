"""Semantic memory: texts found by meaning, in a collection of the worker's vector store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from orchestrator.agents.embeddings import Embedded, TextEmbedder
from orchestrator.stores.vectors import VectorPoint, VectorStore, parse_filter

TEXT_FIELD: Final = "text"
"""The payload's field that holds the text that was embedded."""
EMBEDDING_SECONDS: Final = 60.0


class SemanticMemory:
    """What agents remember and look up; the tools of the toolbox call it."""

    def __init__(self, store: VectorStore, embedder: TextEmbedder) -> None:
        self._store = store
        self._embedder = embedder

    async def search_texts(
        self,
        collection: str,
        query: str,
        limit: int = 5,
        filter: Mapping[str, Any] | None = None,
        *,
        score_threshold: float | None = None,
        timeout_seconds: float = EMBEDDING_SECONDS,
    ) -> list[dict[str, Any]]:
        """Return what a collection holds that is nearest to a question: `{id, score, payload}`, best first.

        Args:
            collection: its name.
            query: the question, any text.
            limit: at most so many.
            filter: `must`, `should` and `must_not` over the payload.
            score_threshold: leave out what is less similar.
            timeout_seconds: for embedding the question.

        Raises:
            VectorRejected: the collection, its dimension or the filter does not fit.
            VectorsUnavailable: the store cannot be reached.
            StepFailure: the question cannot be embedded.
        """
        # Judged first: a filter that is wrong costs no call.
        matching = parse_filter(dict(filter) if filter else None)
        embedded = await self._embedder.embed([query], timeout_seconds=timeout_seconds)
        found = await self._store.search(
            collection, embedded.vectors[0], limit=limit, matching=matching, score_threshold=score_threshold
        )
        return [asdict(match) for match in found]

    async def remember(
        self,
        collection: str,
        text: str,
        payload: Mapping[str, Any] | None = None,
        *,
        key: str,
        timeout_seconds: float = EMBEDDING_SECONDS,
    ) -> str:
        """Store a text, creating the collection where there is none; returns its id, which is the key.

        Args:
            collection: its name.
            text: what is embedded, and kept in the payload as `text`.
            payload: what else to keep beside it.
            key: the call's idempotency key: the same call again replaces what it stored.
            timeout_seconds: for embedding the text.

        Raises:
            VectorRejected: the collection holds vectors of another dimension.
            VectorsUnavailable: the store cannot be reached.
            StepFailure: the text cannot be embedded.
        """
        embedded = await self._embedder.embed([text], timeout_seconds=timeout_seconds)
        (vector,) = embedded.vectors
        await self._store.ensure_collection(collection, len(vector))
        await self._store.upsert(collection, [VectorPoint(key, vector, with_text(payload, text))])
        return key

    async def embed(self, texts: Sequence[str], *, timeout_seconds: float) -> Embedded:
        """Embed texts without storing them."""
        return await self._embedder.embed(texts, timeout_seconds=timeout_seconds)


def with_text(payload: Mapping[str, Any] | None, text: str) -> dict[str, Any]:
    """Return a payload with the text that was embedded; a `text` of its own stays."""
    return {TEXT_FIELD: text, **(payload or {})}
