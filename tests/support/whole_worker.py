"""The worker with all its real activities, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio.client import Client

from orchestrator.agents import AgentFactory
from orchestrator.agents.tools.opening import load_tools
from orchestrator.client import connect, disconnect
from orchestrator.settings import Settings
from orchestrator.stores.vectors import open_vectors
from orchestrator.worker import step_activities
from tests.support.api_server import leased_worker
from tests.support.executions import Runner


class WholeWorker(Runner):
    """Starts executions that the whole worker runs.

    Attributes:
        factory: the agents, for tests to add to.
    """

    def __init__(self, client: Client, settings: Settings, factory: AgentFactory) -> None:
        super().__init__(client, settings)
        self.factory = factory


@asynccontextmanager
async def whole_worker(
    settings: Settings,
) -> AsyncIterator[WholeWorker]:
    """Run it on the settings' task queue while the block runs."""
    client, factory, vectors = await connect(settings), AgentFactory(settings), open_vectors(settings)
    await load_tools(settings)
    async with (
        step_activities(client, settings, factory, vectors) as activities,
        leased_worker(client, settings, activities),
    ):
        yield WholeWorker(client, settings, factory)
    await vectors.aclose()
    await factory.aclose()
    await disconnect(client)
