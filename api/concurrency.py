"""The place of a start under its definition's concurrency key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError, RPCStatusCode

from api.dependencies import Services
from api.pinned import Pinned
from api.temporal_calls import PATIENCE_SECONDS
from orchestrator.definition.models import Concurrency
from orchestrator.execution.concurrency import AcquireSlot, SlotAnswer, concurrency_key, gate_id, limit_message
from orchestrator.execution.errors import ConcurrencyLimit, NoWorker, OrchestratorError, TemporalUnavailable
from orchestrator.workflows.definition_cache import compiled

UPDATE_SECONDS = 5.0
"""An update needs a worker: after this time there is none, or none that has time."""
START_UNKNOWN = "start-unknown"
_MOMENT = 0.05
"""A gate takes ten updates at a time, and answers in milliseconds."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a start asks for."""

    request: AcquireSlot

    @property
    def at_once(self) -> bool:
        """Whether the caller is told at once; otherwise the execution starts, asks by itself and queues."""
        return self.request.on_conflict == "reject"

    @property
    def slot(self) -> str:
        """Id of the gate."""
        return gate_id(self.request.workflow_id, self.request.key)

    @asynccontextmanager
    async def held(self, services: Services) -> AsyncIterator[None]:
        """Have the place while the block starts the execution; it is given back where the start failed for certain.

        Where that cannot be known, or fails, the gate takes the place back by itself.

        Raises:
            ConcurrencyLimit: every place is taken.
            NoWorker: nobody runs the gate.
            TemporalUnavailable: no answer.
        """
        answer = await self._acquire(services)
        if not answer.granted:
            raise ConcurrencyLimit(
                limit_message(self.request, answer),
                hint="start it again when one of them has closed, or store the workflow with on_conflict: enqueue",
                details={"key": self.request.key, "max": self.request.max, "holders": answer.holders},
            )
        try:
            yield
        except OrchestratorError as error:
            if error.code != START_UNKNOWN:
                await self._give_back(services)
            raise

    async def _acquire(self, services: Services) -> SlotAnswer:
        async with services.calls.bounded(UPDATE_SECONDS + 0.5, patience_seconds=0):
            # Without it, an absent server would take as long as an absent worker.
            await services.calls.reach()
            try:
                async with asyncio.timeout(UPDATE_SECONDS):
                    while True:
                        with suppress(GateBusy):
                            return await _ask(services, self.request)
                        await asyncio.sleep(_MOMENT)
            except (TimeoutError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
                raise no_worker(f"the place of workflow '{self.request.workflow_id}'") from error

    async def _give_back(self, services: Services) -> None:
        with suppress(RPCError, TemporalUnavailable):
            async with services.calls.bounded():
                await services.gates.release(self.slot, self.request.execution_id)


class GateBusy(Exception):
    """The gate takes no update at this moment: it has ten, or it is closing."""


async def _ask(services: Services, request: AcquireSlot) -> SlotAnswer:
    try:
        queue, timeout = services.settings.temporal_task_queue, timedelta(seconds=PATIENCE_SECONDS)
        return await services.gates.acquire(request, task_queue=queue, rpc_timeout=timeout)
    except WorkflowUpdateFailedError as error:
        raise GateBusy from error
    except RPCError as error:
        if error.status in (RPCStatusCode.RESOURCE_EXHAUSTED, RPCStatusCode.UNAVAILABLE, RPCStatusCode.NOT_FOUND):
            raise GateBusy from error
        raise


async def find_place(stored: Pinned, value: object, execution_id: str) -> Place | None:
    """Return what a start asks for; None where its definition lets any number run.

    Raises:
        ExpressionError: the key's expression fails on this input.
    """
    raw = stored.definition.get("concurrency")
    if raw is None:
        return None
    rule = Concurrency.model_validate(raw)
    key = await asyncio.to_thread(lambda: concurrency_key(compiled(stored.definition, stored.sha256), value))
    request = AcquireSlot(
        workflow_id=stored.workflow_id,
        key=key,
        execution_id=execution_id,
        max=rule.max,
        on_conflict=rule.on_conflict,
    )
    return Place(request)


def no_worker(what: str) -> NoWorker:
    """Return the error for an update that nobody took."""
    return NoWorker(
        f"no worker answered within {UPDATE_SECONDS:g} s about {what}",
        hint="start a worker (`orchestrator worker`), or try again; a message that was left may still arrive",
        retry_after_seconds=5,
    )
