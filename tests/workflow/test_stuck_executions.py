"""The invariant of every suite sees what it is to see."""

from __future__ import annotations

import uuid

import pytest
from temporalio.client import Client

from orchestrator.settings import Settings
from tests.support import stuck_executions as invariant
from tests.support.executions import worker_with
from tests.support.polling import eventually
from tests.support.stubs import Stubs
from tests.support.stuck_executions import stuck_executions


async def test_an_execution_whose_task_fails_over_and_over_is_stuck(
    temporal_client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The third comes after ten seconds only.
    monkeypatch.setattr(invariant, "HEALTHY_ATTEMPTS", 2)
    async with worker_with(temporal_client, settings, Stubs().all()) as runner:
        handle = await temporal_client.start_workflow(
            "NoSuchWorkflow", id=f"stuck-{uuid.uuid4().hex}", task_queue=runner.settings.temporal_task_queue
        )
        try:

            async def stuck() -> bool:
                return handle.id in await stuck_executions(temporal_client)

            await eventually(stuck)
        finally:
            await handle.terminate()
    assert handle.id not in await stuck_executions(temporal_client)
