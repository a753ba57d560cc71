"""What a worker tells of itself and of the parts that only it can reach."""

from __future__ import annotations

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from orchestrator.agents import AgentFactory
from orchestrator.background import beside
from orchestrator.execution.errors import OrchestratorError, Unavailable
from orchestrator.settings import Settings
from orchestrator.stores.claims import ClaimStore
from orchestrator.stores.leases import WorkerLease
from orchestrator.stores.vectors import VectorStore

LOOK_EVERY_SECONDS = 5.0


class WorkerReport:
    """The content of a worker's lease, kept fresh.

    Args:
        settings: the task queue and the default model.
        factory: knows the Python agents and the model's circuit.
        vectors: the store that this worker owns or reaches.
        claims: the store of its large values, or None.
    """

    def __init__(
        self, settings: Settings, factory: AgentFactory, vectors: VectorStore, claims: ClaimStore | None
    ) -> None:
        self._settings = settings
        self._factory = factory
        self._vectors = vectors
        self._claims = claims
        self.lease = WorkerLease(
            worker_id=uuid.uuid4().hex,
            pid=os.getpid(),
            task_queue=settings.temporal_task_queue,
            host=socket.gethostname(),
            started_at=datetime.now(UTC),
            agents=factory.python_types,
        )

    @asynccontextmanager
    async def kept_fresh(self) -> AsyncIterator[None]:
        """Look at the parts now, and every five seconds while the block runs."""
        await self._look()
        async with beside(self._keep_looking()):
            yield

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            await self._look()

    async def _look(self) -> None:
        update = {
            "vectors": await self._vector_report(),
            "model": await self._model_report(),
            "claims": await self._claim_report(),
        }
        self.lease = self.lease.model_copy(update=update)

    async def _claim_report(self) -> dict[str, Any]:
        if self._claims is None:
            return {"identity": "none"}
        try:
            return {"identity": await self._claims.identity()}
        except Unavailable:
            return {}

    async def _vector_report(self) -> dict[str, Any]:
        try:
            found = await self._vectors.describe()
        except OrchestratorError as error:
            return {"status": "down", "detail": error.message}
        if not found.healthy:
            return {"status": "down", "detail": found.error or f"{found.kind} store"}
        return {"status": "ok", "detail": f"{found.kind} store, {len(found.collections)} collections"}

    async def _model_report(self) -> dict[str, Any]:
        """Tell which model answers and whether its circuit is closed; no model is called for that."""
        model = self._settings.default_model
        try:
            breaker = await self._factory.breakers.state(f"model:{model}")
        except OrchestratorError as error:
            return {"status": "unknown", "detail": f"{model}: {error.message}"}
        return {"status": "down" if breaker.state == "open" else "ok", "detail": f"{model}, circuit {breaker.state}"}
