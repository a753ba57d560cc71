"""Starts with an idempotency key: key and sender give the execution's id, so that a second start finds the first."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from api.dependencies import Services
from api.schemas.executions import ExecuteRequest, ExecutionDocument
from orchestrator.client import keyed_execution_id
from orchestrator.execution.errors import IdempotencyMismatch
from orchestrator.next_attempts import REQUEST_SHA256


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


def keyed_start(caller: str, workflow_id: str, key: str, request: ExecuteRequest) -> Keyed:
    """Return the id and the fingerprint of a start; how long its caller waits for the end is no part of either."""
    what = request.model_dump(include={"input_data", "version", "tags", "options", "callback"})
    sha256 = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    return Keyed(key, keyed_execution_id(caller, workflow_id, key), sha256)


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


class StartsUnderWay:
    """Equal starts that one process is asked for at once: the first is made, the others wait for it."""

    def __init__(self) -> None:
        self._tasks: dict[Keyed, asyncio.Task[tuple[ExecutionDocument, bool]]] = {}

    async def once(
        self, keyed: Keyed, make: Callable[[], Coroutine[Any, Any, tuple[ExecutionDocument, bool]]]
    ) -> tuple[ExecutionDocument, bool]:
        """Make a start, or share the one that is under way; tell whether the execution is new."""
        task = self._tasks.get(keyed)
        if task is not None:
            document, _ = await asyncio.shield(task)
            return document.model_copy(), False
        task = self._tasks[keyed] = asyncio.create_task(make())
        task.add_done_callback(lambda _: self._tasks.pop(keyed, None))
        # A client that goes away stops nothing.
        return await asyncio.shield(task)
