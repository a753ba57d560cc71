"""Tells a URL of an execution's end: a child that sleeps until Temporal says that its parent has closed."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

from orchestrator.execution import events as ev
from orchestrator.execution.messages import StartExecution
from orchestrator.execution.messages_callbacks import CALLBACK_TYPE, CallbackOutcome, DeliverCallback, delivery_id

LOOK_AGAIN = timedelta(minutes=1)
GIVE_UP = timedelta(days=3)


@workflow.defn(name=CALLBACK_TYPE)
class CallbackDelivery:
    """Delivers one callback.

    Its parent close policy is to be cancelled: Temporal does that however the parent ends, terminated too, and the
    parent's end waits for nothing.
    """

    @workflow.run
    async def run(self, request: DeliverCallback) -> CallbackOutcome:
        """Wait for the parent's end, then deliver, for days where the receiver is away."""
        try:
            await workflow.wait_condition(lambda: request.closed)
            found = await self._deliver(request)
        except asyncio.CancelledError:
            found = await self._deliver(request)
        while found.outcome == "open":
            # Somebody cancelled the delivery itself, and Temporal does not cancel twice.
            await workflow.sleep(LOOK_AGAIN, summary="the execution is open")
            found = await self._deliver(request)
        return found

    async def _deliver(self, request: DeliverCallback) -> CallbackOutcome:
        outcome: CallbackOutcome = await workflow.execute_activity(
            "deliver_callback",
            request,
            result_type=CallbackOutcome,
            start_to_close_timeout=timedelta(seconds=60),
            schedule_to_close_timeout=GIVE_UP,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=2), maximum_interval=timedelta(hours=1)),
            summary="deliver the callback",
        )
        return outcome


async def await_callback_child(start: StartExecution, inbox: deque[ev.Event]) -> None:
    """Start the delivery of a run that wants one, before anything can end it.

    Args:
        start: what the execution was started with.
        inbox: takes a cancel that comes meanwhile.
    """
    if start.callback is None:
        return
    info = workflow.info()
    request = DeliverCallback(execution_id=info.workflow_id, run_id=info.run_id, target=start.callback)
    starting = asyncio.create_task(
        workflow.start_child_workflow(
            CALLBACK_TYPE,
            request,
            # Every run has its own: the close policy also strikes when a run is continued as new.
            id=delivery_id(info.workflow_id, info.run_id),
            parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
            cancellation_type=workflow.ChildWorkflowCancellationType.ABANDON,
            static_summary="tells a URL of the execution's end",
        )
    )
    while not starting.done():
        try:
            await workflow.wait_condition(starting.done)
        except asyncio.CancelledError:
            inbox.append(ev.CancelRequested(workflow.cancellation_reason() or ""))
    starting.result()
