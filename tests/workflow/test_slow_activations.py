"""Workflow tasks that a stalling machine holds up: the execution goes on, and the worker's slot is free again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from temporalio.client import Client

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.machine import Machine
from orchestrator.settings import Settings
from orchestrator.workflows.showing import Showing
from tests.support.executions import states, worker_with
from tests.support.stubs import Stubs

STALL_SECONDS = 3.0
"""The SDK takes two for a deadlock, and evicts the execution."""


@pytest.mark.parametrize("heeded", [True, False], ids=["heeded", "unheeded"])
async def test_a_workflow_task_that_stalls_costs_neither_the_execution_nor_the_slot(
    temporal_client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, heeded: bool
) -> None:
    """The SDK's interrupt ends the task, or comes where nothing heeds it."""
    show, stalls = Showing.show, [STALL_SECONDS]

    def stalling(self: Showing, definition: CompiledDefinition, machine: Machine) -> None:
        show(self, definition, machine)
        if stalls:
            with suppress(*([] if heeded else [BaseException])):
                time.sleep(stalls.pop())
                time.sleep(0)

    monkeypatch.setattr(Showing, "show", stalling)
    step = {"step_type": "agent_task", "agent_type": "x", "task": "t"}
    async with worker_with(temporal_client, settings, Stubs().all(), worker_max_concurrent_workflow_tasks=2) as runner:
        view = await asyncio.wait_for(runner.run({"steps": [{"step_id": "a", **step}, {"step_id": "b", **step}]}), 60)
    assert not stalls
    assert states(view) == {"a": "completed", "b": "completed"}
