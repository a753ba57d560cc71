"""Texts to vectors, by the model that `EMBEDDING_MODEL` names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Protocol

from orchestrator.agents.embeddings.minilm_model import MODEL_NAME, MiniLM
from orchestrator.agents.embeddings.port import Embedded, check_texts, sum_usage
from orchestrator.agents.embeddings.provider import TEXTS_A_CALL, embed_batch
from orchestrator.agents.providers import ModelProviders
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import AttemptTimeout, ModelRejected
from orchestrator.execution.messages import TokenUsage
from orchestrator.stores.breakers import CircuitBreakers


class TextEmbedder(Protocol):
    """Whatever turns texts into vectors."""

    async def embed(self, texts: Sequence[str], *, timeout_seconds: float) -> Embedded:
        """Return one vector for each text; see `Embedder`."""


class Embedder:
    """Embeds by a provider, behind its circuit, or by the embedded model."""

    def __init__(self, model: str, providers: ModelProviders, breakers: CircuitBreakers) -> None:
        """Args: `model` is `provider/model`, or `embedded/minilm`."""
        self._model = model
        self._providers = providers
        self._breakers = breakers
        self._local: MiniLM | None = None

    async def embed(self, texts: Sequence[str], *, timeout_seconds: float) -> Embedded:
        """Return one vector for each text, in order.

        Args:
            texts: at most 1,000, of at most 100,000 characters. The embedded model reads the first 256 tokens of each.
            timeout_seconds: for all of them together.

        Raises:
            VectorRejected: a text cannot be embedded.
            StepFailure: what the call ended in, classified; its `usage` is what earlier calls cost.
            CircuitOpen: the provider failed too often lately.
        """
        sound = check_texts(texts)
        if not self._model.startswith("embedded/"):
            return await self._ask(sound, timeout_seconds)
        return Embedded(await self._embedded().embed(sound), self._model)

    def close(self) -> None:
        """Release the embedded model's thread."""
        if self._local is not None:
            self._local.close()
            self._local = None

    def _embedded(self) -> MiniLM:
        if self._model != MODEL_NAME:
            raise ModelRejected(
                f"There is no embedded model '{self._model}'.",
                hint=f"Set EMBEDDING_MODEL to {MODEL_NAME}, or to a provider's, such as openai/text-embedding-3-small.",
            )
        if self._local is None:
            self._local = MiniLM()
        return self._local

    async def _ask(self, texts: Sequence[str], timeout_seconds: float) -> Embedded:
        ends_at = time.monotonic() + timeout_seconds
        vectors: list[list[float]] = []
        costs: list[TokenUsage] = []
        for start in range(0, len(texts), TEXTS_A_CALL):
            try:
                found, cost = await self._call(texts[start : start + TEXTS_A_CALL], ends_at)
            except OrchestratorError as error:
                if costs:
                    error.usage = sum_usage(costs)
                raise
            vectors += found
            costs.append(cost)
        return Embedded(vectors, self._model, tuple(costs))

    async def _call(self, texts: Sequence[str], ends_at: float) -> tuple[list[list[float]], TokenUsage]:
        left = ends_at - time.monotonic()
        if left <= 0:
            raise AttemptTimeout(
                f"embedding model '{self._model}': the attempt's time is over",
                hint="raise the step's timeouts.start_to_close_seconds, or store fewer documents in one step",
                details={"kind": "start_to_close"},
            )
        async with self._breakers.guard(f"model:{self._model}", lease_seconds=left):
            return await embed_batch(self._providers, self._model, texts, left)
