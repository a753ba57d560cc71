"""Vectors: one port, a Qdrant server or an embedded one behind it."""

import warnings

from orchestrator.settings import Settings
from orchestrator.stores.vectors.embedded import EmbeddedVectors
from orchestrator.stores.vectors.filters import VectorFilter, parse_filter
from orchestrator.stores.vectors.port import (
    CollectionInfo,
    Distance,
    VectorMatch,
    VectorPoint,
    VectorsDescription,
    VectorStore,
)
from orchestrator.stores.vectors.unconfigured import NoVectors

__all__ = [
    "CollectionInfo",
    "Distance",
    "EmbeddedVectors",
    "NoVectors",
    "VectorFilter",
    "VectorMatch",
    "VectorPoint",
    "VectorStore",
    "VectorsDescription",
    "open_vectors",
    "parse_filter",
]


def open_vectors(settings: Settings) -> VectorStore:
    """Build the worker's vector store: `QDRANT_URL`, else the folder `QDRANT_PATH`, else none.

    Nothing is connected or locked before the first use. Only the worker calls this; the API reaches vectors through
    activities, because the embedded store has one owner.
    """
    if settings.qdrant_url:
        # Imported here: loading the client takes longer than the rest of a worker that does not need it.
        from qdrant_client import AsyncQdrantClient

        from orchestrator.stores.vectors.remote import RemoteVectors

        key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
        with warnings.catch_warnings():
            # A key over plain http is the operator's choice, on a private network as in compose.
            warnings.filterwarnings("ignore", "Api key is used with an insecure connection")
            client = AsyncQdrantClient(settings.qdrant_url, api_key=key, timeout=10, check_compatibility=False)
        return RemoteVectors(client)
    if settings.qdrant_path:
        return EmbeddedVectors(settings.qdrant_path)
    return NoVectors()
