"""Tells of executions that were terminated before they could start the delivery of their callback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog
from temporalio.client import Client, WorkflowExecution
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from orchestrator.background import beside
from orchestrator.execution.messages import WORKFLOW_TYPE
from orchestrator.execution.messages_callbacks import (
    CALLBACK_MEMO,
    CALLBACK_TYPE,
    CallbackTarget,
    DeliverCallback,
    delivery_id,
)

log = structlog.get_logger(__name__)

LOOK_EVERY_SECONDS = 20.0
LOOK_BACK = timedelta(days=3)
"""How long no worker may have run: as long as a delivery is tried."""
OVERLAP = timedelta(minutes=5)
"""Visibility is behind: each look goes back so far behind the one before."""
MOST_REMEMBERED = 100_000


class UntoldEnds:
    """Looks for terminated executions that nobody tells of.

    Nothing of an execution runs any more once it is terminated, by whatever hand: over REST, as a bulk job, in the Web
    UI. Where it had begun, its own delivery is under way, under the very id that is tried here: nobody is told twice.

    Args:
        client: lists executions and starts deliveries.
        task_queue: of the executions that this deployment runs.
    """

    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue
        self._known: set[str] = set()

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look now and then while the block runs."""
        async with beside(self._keep_on()):
            yield

    async def look(self, since: datetime) -> int:
        """Start the deliveries that are lacking; returns how many.

        Args:
            since: only of what has closed since then.

        Raises:
            RPCError: Temporal does not answer.
        """
        query = (
            f"WorkflowType = '{WORKFLOW_TYPE}' AND ExecutionStatus = 'Terminated' "
            f"AND TaskQueue = '{self._task_queue}' AND CloseTime >= '{since.isoformat()}'"
        )
        count = 0
        async for execution in self._client.list_workflows(query):
            if execution.run_id not in self._known:
                count += await self._tell(execution)
                self._remember(execution.run_id)
        return count

    async def _tell(self, execution: WorkflowExecution) -> bool:
        try:
            target = await execution.memo_value(CALLBACK_MEMO, None, type_hint=CallbackTarget)
        except Exception as error:  # whatever a stranger, or a later version, has put there
            log.warning("whom to tell of an end cannot be read", execution_id=execution.id, error=str(error))
            return False
        if target is None:
            return False
        request = DeliverCallback(execution_id=execution.id, run_id=execution.run_id, target=target, closed=True)
        try:
            await self._client.start_workflow(
                CALLBACK_TYPE,
                request,
                id=delivery_id(execution.id, execution.run_id),
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary="tells a URL of the execution's end",
            )
        except WorkflowAlreadyStartedError:
            return False
        return True

    def _remember(self, run_id: str) -> None:
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known.add(run_id)

    async def _keep_on(self) -> None:
        since = datetime.now(UTC) - LOOK_BACK
        while True:
            began = datetime.now(UTC)
            try:
                if told := await self.look(since):
                    log.info("executions that were terminated before they began are told of", executions=told)
                since = began - OVERLAP
            except RPCError as error:
                log.warning("terminated executions are not looked for", error=str(error))
            await asyncio.sleep(LOOK_EVERY_SECONDS)
