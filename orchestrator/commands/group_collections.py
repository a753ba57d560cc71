"""`orchestrator collections`: vectors by collection, as a worker sees them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from orchestrator.commands.group import Group
from orchestrator.commands.options import Most
from orchestrator.sdk import OrchestratorClient

group = Group("Collections of vectors.")

CollectionName = Annotated[str, typer.Argument(help="The collection's name, such as `handbook`.")]


@group.rows("name", "points", "dimensions", "distance", name="list")
def list_collections(client: OrchestratorClient, limit: Most = 1000) -> Any:
    """List the collections of the worker's vector store."""
    return client.iter_collections(limit=limit)


@group.shows()
def get(client: OrchestratorClient, name: CollectionName) -> Any:
    """Show a collection's dimension, distance and number of points."""
    return client.get_collection(name)


@group.shows()
def create(
    client: OrchestratorClient,
    name: CollectionName,
    dimensions: Annotated[int, typer.Argument(min=1, help="Numbers in a vector, such as 384.")],
    distance: Annotated[
        Literal["cosine", "dot", "euclid", "manhattan"], typer.Option("--distance", help="How vectors are compared.")
    ] = "cosine",
) -> Any:
    """Create an empty collection."""
    return client.create_collection(name, dimensions, distance=distance)


@group.tells()
def delete(client: OrchestratorClient, name: CollectionName) -> str:
    """Remove a collection with all that it holds; this cannot be undone."""
    client.delete_collection(name)
    return f"{name} is deleted."
