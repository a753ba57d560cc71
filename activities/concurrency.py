"""Activities of concurrency keys: ask a gate for a place, find out which of its holders have closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from orchestrator.client import ConcurrencyGates
from orchestrator.execution.concurrency import AcquireSlot, SlotAnswer

AT_ONCE = 10
"""Executions that are looked up at the same time."""


class ConcurrencyActivities:
    """What executions and gates ask of Temporal.

    Args:
        client: connected to the executions' namespace.
        check_seconds: how often a gate looks for holders that have closed.
    """

    def __init__(self, client: Client, check_seconds: float) -> None:
        self._client = client
        self._gates = ConcurrencyGates(client, check_seconds)

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, for the worker."""
        return [self.acquire_slot, self.find_closed_executions]

    @activity.defn(name="acquire_slot")
    async def acquire_slot(self, request: AcquireSlot) -> SlotAnswer:
        """Ask the key's gate for a place, starting the gate where there is none."""
        return await self._gates.acquire(request, task_queue=activity.info().task_queue)

    @activity.defn(name="find_closed_executions")
    async def find_closed_executions(self, execution_ids: list[str]) -> list[str]:
        """Return those that have closed, or that Temporal does not know."""
        limit = asyncio.Semaphore(AT_ONCE)

        async def closed(execution_id: str) -> bool:
            async with limit:
                return await self._has_closed(execution_id)

        found = await asyncio.gather(*(closed(execution_id) for execution_id in execution_ids))
        return [execution_id for execution_id, is_closed in zip(execution_ids, found, strict=True) if is_closed]

    async def _has_closed(self, execution_id: str) -> bool:
        try:
            description = await self._client.get_workflow_handle(execution_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return True
            raise
        return description.status != WorkflowExecutionStatus.RUNNING
