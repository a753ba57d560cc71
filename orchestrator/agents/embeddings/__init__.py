"""Embeddings: texts to vectors, by a provider or by the model that ships with the extra `local`."""

from orchestrator.agents.embeddings.embedder import Embedder, TextEmbedder
from orchestrator.agents.embeddings.port import Embedded, check_texts

__all__ = ["Embedded", "Embedder", "TextEmbedder", "check_texts"]
