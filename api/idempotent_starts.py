"""Starts with an idempotency key: key and sender give the execution's id, so that a second start finds the first."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services
from api.schemas.agents import InvokeRequest
from api.schemas.executions import ExecuteRequest, ExecutionDocument
from orchestrator.client import keyed_execution_id
from orchestrator.execution.errors import IdempotencyMismatch
from orchestrator.next_attempts import REQUEST_SHA256

Started = tuple[ExecutionDocument, bool]
"""An execution, and whether this start made it."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """What an idempotency key gives a start."""

    key: str
    execution_id: str
    request_sha256: str

    @property
    def memo(self) -> dict[str, Any]:
        """What is kept beside the execution."""
        return {REQUEST_SHA256: self.request_sha256}


class AlreadyThere(Exception):
    """An execution has this id already."""


def keyed_start(caller: str, scope: str, key: str, request: ExecuteRequest | InvokeRequest) -> Keyed:
    """Return the id and the fingerprint of a start; how long its caller waits for the end is no part of either.

    Args:
        caller: whose key it is.
        scope: what is started: a workflow's id, or another name that no workflow has.
        key: the idempotency key.
        request: the start's body.
    """
    what = request.model_dump(mode="json", exclude={"async_execution", "wait_seconds"})
    sha256 = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return Keyed(key, keyed_execution_id(caller, scope, key), sha256)


async def started_before(services: Services, keyed: Keyed) -> bool:
    """Whether this very start was made already.

    Raises:
        IdempotencyMismatch: another one was, with this key.
        TemporalUnavailable: no answer.
    """
    found = await services.executions.find(keyed.execution_id)
    if found is None:
        return False
    if (await found.memo()).get(REQUEST_SHA256) != keyed.request_sha256:
        raise IdempotencyMismatch(
            f"the Idempotency-Key '{keyed.key}' belongs to another start, execution '{keyed.execution_id}'",
            hint="give each start a key of its own, and send a start again with the same body",
            details={"execution_id": keyed.execution_id},
        )
    return True


Make = Callable[[], Awaitable[ExecutionDocument]]


async def start_once(services: Services, under_way: StartsUnderWay, keyed: Keyed | None, make: Make) -> Started:
    """Make a start, or find the execution that the same start made before; tell whether it is new.

    Args:
        services: the app's services.
        under_way: the starts of this process.
        keyed: what the idempotency key gives the start; None: it has none, and is made.
        make: makes it.

    Raises:
        IdempotencyMismatch: another start was made with this key.
        OrchestratorError: as `make`.
    """
    if keyed is None:
        return await make(), True
    return await under_way.once(keyed, lambda: _made_or_found(services, keyed, make))


async def _made_or_found(services: Services, keyed: Keyed, make: Make) -> Started:
    if await started_before(services, keyed):
        return await services.executions.read(keyed.execution_id), False
    try:
        return await make(), True
    except AlreadyThere:
        # The same start came twice at the same time.
        if not await started_before(services, keyed):
            raise
        return await services.executions.read(keyed.execution_id), False


class StartsUnderWay:
    """Equal starts that one process is asked for at once: the first is made, the others wait for it."""

    def __init__(self) -> None:
        self._tasks: dict[Keyed, asyncio.Task[Started]] = {}

    async def once(self, keyed: Keyed, make: Callable[[], Coroutine[Any, Any, Started]]) -> Started:
        """Make a start, or share the one that is under way; tell whether the execution is new."""
        task = self._tasks.get(keyed)
        if task is not None:
            document, _ = await asyncio.shield(task)
            return document.model_copy(), False
        task = self._tasks[keyed] = asyncio.create_task(make())
        task.add_done_callback(lambda _: self._tasks.pop(keyed, None))
        # A client that goes away stops nothing.
        return await asyncio.shield(task)
