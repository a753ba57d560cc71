"""Vector collections as the API takes them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.execution.messages_vectors import CollectionView


class NewCollection(BaseModel):
    """A collection to be created."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"name": "handbook", "dimensions": 384, "distance": "cosine"}]},
    )

    name: str = Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    dimensions: int = Field(ge=1, le=65_536, description="numbers in a vector; 384 for the embedded model")
    distance: Literal["cosine", "dot", "euclid", "manhattan"] = "cosine"


class CollectionPage(BaseModel):
    """Collections in the order of their names, and how the worker's vector store does."""

    items: list[CollectionView]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null on the last")
    kind: Literal["embedded", "remote", "none"] = Field(description="of the vector store")
    healthy: bool
    error: str | None = Field(None, description="why it is not healthy")
