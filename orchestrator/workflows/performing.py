"""Performs the machine's commands with Temporal's activities, timers and child workflows."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.common import Priority, RawValue, RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from orchestrator.execution import events as ev
from orchestrator.execution.commands import (
    AwaitChild,
    CancelActivity,
    CancelChild,
    CancelTimer,
    CloseChild,
    Command,
    ScheduleActivity,
    SignalChild,
    StartChild,
    StartTimer,
)
from orchestrator.execution.messages import (
    WORKFLOW_TYPE,
    ErrorInfo,
    ExecutionView,
    RequestCancelInput,
    StepResult,
)
from orchestrator.execution.messages_children import AwaitExecutionResult
from orchestrator.workflows.failures import activity_failed, child_failed
from orchestrator.workflows.foreign_values import UnreadableValue, read_foreign, unreadable_output
from orchestrator.workflows.search_attributes import at_start

TOLD_IN_ORDER = "children-told-in-order"
"""Patch: a pause or resume waits for the child's start, and for the message before it."""
LONGEST_AWAIT = timedelta(days=1)
"""One attempt of awaiting a child; then another begins."""
SUMMARY_BYTES = 300
"""Temporal refuses summaries over 400 bytes by failing the workflow task for ever."""


class Performer:
    """Carries out commands and puts what comes of them into the inbox.

    Args:
        inbox: the machine's events, in the order in which they happened.
    """

    def __init__(self, inbox: deque[ev.Event]) -> None:
        self._inbox = inbox
        self._activities: dict[str, workflow.ActivityHandle[Any]] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._children: dict[str, asyncio.Task[None]] = {}
        """Of this run."""
        self._starting: dict[str, asyncio.Event] = {}
        """Children that are not known to run yet; set when they are, or will never be."""
        self._awaited: dict[str, workflow.ActivityHandle[AwaitExecutionResult]] = {}
        """Children of an earlier run."""
        self._told: dict[str, asyncio.Task[None]] = {}
        """The last message to each child: pause and resume shall not overtake each other."""
        self._closing: list[asyncio.Task[None]] = []
        self.history_events: int | None = None
        """What children are given, where it is not the built-in bound."""

    def perform(self, command: Command) -> None:
        """Carry out one command."""
        match command:
            case ScheduleActivity():
                self._schedule(command)
            case CancelActivity(activity_id):
                handle = self._activities.get(activity_id)
                if handle is not None:
                    handle.cancel()
            case StartTimer():
                self._timers[command.timer_id] = asyncio.create_task(self._timer(command))
            case CancelTimer(timer_id):
                timer = self._timers.pop(timer_id, None)
                if timer is not None:
                    timer.cancel()
            case StartChild():
                self._starting[command.child_id] = asyncio.Event()
                self._children[command.child_id] = asyncio.create_task(self._child(command))
            case AwaitChild():
                self._await_child(command)
            case CancelChild(child_id):
                self._cancel_child(child_id)
            case SignalChild():
                self._tell_child(command)
            case CloseChild():
                self._closing.append(asyncio.create_task(_close_child(command)))

    @property
    def idle(self) -> bool:
        """Whether no activity, no start of a child and no message to a child is under way."""
        return not (self._activities or self._starting or any(not task.done() for task in self._closing))

    async def settled(self) -> None:
        """Wait until messages to children have left."""
        for task in self._closing:
            await task
        self._closing.clear()

    def _schedule(self, command: ScheduleActivity) -> None:
        timeouts, retry = command.timeouts, command.retry
        foreign = command.result_type is None
        handle: workflow.ActivityHandle[Any] = workflow.start_activity(
            command.activity,
            args=command.arguments,
            result_type=RawValue if foreign else command.result_type,
            task_queue=command.task_queue,
            activity_id=command.activity_id,
            start_to_close_timeout=timedelta(seconds=timeouts.start_to_close),
            schedule_to_close_timeout=timedelta(seconds=timeouts.schedule_to_close),
            schedule_to_start_timeout=_delta(timeouts.schedule_to_start),
            # A foreign activity heartbeats only where its step says so; ours do by their wrapper.
            heartbeat_timeout=_delta(command.heartbeat) if foreign else timedelta(seconds=timeouts.heartbeat),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=retry.initial_interval),
                backoff_coefficient=retry.backoff,
                maximum_interval=timedelta(seconds=max(retry.max_interval, retry.initial_interval)),
                # Ours count their attempts themselves, so that parked ones are left out.
                maximum_attempts=retry.max_attempts if foreign else 0,
                non_retryable_error_types=list(retry.non_retryable) or None,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=summary_text(command.summary),
            priority=Priority(priority_key=command.priority) if command.priority else Priority.default,
        )
        self._activities[command.activity_id] = handle
        handle.add_done_callback(partial(self._activity_done, command.activity_id, foreign))

    def _activity_done(self, activity_id: str, foreign: bool, handle: asyncio.Future[Any]) -> None:
        self._activities.pop(activity_id, None)
        if handle.cancelled():
            self._inbox.append(activity_failed(activity_id, asyncio.CancelledError()))
            return
        error = handle.exception()
        if error is not None:
            self._inbox.append(activity_failed(activity_id, error))
        elif foreign:
            self._inbox.append(_foreign_end(activity_id, handle.result()))
        else:
            self._inbox.append(ev.ActivityCompleted(activity_id, handle.result()))

    async def _timer(self, command: StartTimer) -> None:
        await workflow.sleep(command.seconds, summary=summary_text(command.summary))
        self._timers.pop(command.timer_id, None)
        self._inbox.append(ev.TimerFired(command.timer_id))

    async def _child(self, command: StartChild) -> None:
        child_id, start = command.child_id, command.start.model_copy(update={"history_events": self.history_events})
        try:
            handle = await workflow.start_child_workflow(
                WORKFLOW_TYPE,
                start,
                id=child_id,
                result_type=ExecutionView,
                # Continue-as-new applies the close policy too: the interpreter deals with children itself.
                parent_close_policy=workflow.ParentClosePolicy.ABANDON,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=at_start(start.workflow_id, start.version, command.tags),
                static_summary=summary_text(command.summary),
            )
            self._inbox.append(ev.ChildStarted(child_id, handle.first_execution_run_id or ""))
            self._known(child_id)
            if command.awaited:
                self._inbox.append(ev.ChildCompleted(child_id, await handle))
        except WorkflowAlreadyStartedError:
            message = f"an execution '{child_id}' exists already"
            self._inbox.append(ev.ChildFailed(child_id, ErrorInfo(type="child-exists", message=message)))
        except BaseException as error:
            self._inbox.append(child_failed(child_id, error))
        finally:
            self._children.pop(child_id, None)
            self._known(child_id)

    def _known(self, child_id: str) -> None:
        starting = self._starting.pop(child_id, None)
        if starting is not None:
            starting.set()

    def _await_child(self, command: AwaitChild) -> None:
        child_id = command.child_id
        handle: workflow.ActivityHandle[AwaitExecutionResult] = workflow.start_activity(
            "await_execution",
            command.request,
            result_type=AwaitExecutionResult,
            activity_id=f"~await {child_id}",
            start_to_close_timeout=LONGEST_AWAIT,
            heartbeat_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=10)),
            summary=summary_text(command.summary),
        )
        self._awaited[child_id] = handle
        handle.add_done_callback(partial(self._awaited_done, child_id))

    def _awaited_done(self, child_id: str, handle: asyncio.Future[AwaitExecutionResult]) -> None:
        self._awaited.pop(child_id, None)
        error = None if handle.cancelled() else handle.exception()
        if handle.cancelled() or error is not None:
            failed = activity_failed(child_id, error or asyncio.CancelledError())
            self._inbox.append(ev.ChildFailed(child_id, failed.error, cancelled=failed.cancelled))
            return
        end = handle.result()
        if end.view is not None:
            self._inbox.append(ev.ChildCompleted(child_id, end.view))
        else:
            lost = ErrorInfo(type="internal-error", message=f"the end of the child execution '{child_id}' is unknown")
            self._inbox.append(ev.ChildFailed(child_id, end.error or lost, cancelled=end.cancelled, spent=end.spent))

    def _cancel_child(self, child_id: str) -> None:
        child = self._children.get(child_id)
        if child is not None:
            child.cancel()
        elif child_id in self._awaited:
            # Its end is still awaited.
            self._closing.append(asyncio.create_task(_close_child(CloseChild(child_id, "cancel"))))

    def _tell_child(self, command: SignalChild) -> None:
        if workflow.patched(TOLD_IN_ORDER):
            task = asyncio.create_task(self._tell_in_order(command, self._told.get(command.child_id)))
            self._told[command.child_id] = task
        else:
            task = asyncio.create_task(_signal_child(command))
        self._closing.append(task)

    async def _tell_in_order(self, command: SignalChild, earlier: asyncio.Task[None] | None) -> None:
        """Tell a child once it runs and has heard what came before: Temporal drops what is sent before its start."""
        child_id = command.child_id
        if earlier is not None:
            await earlier
        if child_id in self._starting:
            await self._starting[child_id].wait()
        if child_id in self._children or child_id in self._awaited:
            await _signal_child(command)


def _foreign_end(activity_id: str, raw: RawValue | None) -> ev.Event:
    try:
        return ev.ActivityCompleted(activity_id, StepResult(output=read_foreign(raw)))
    except UnreadableValue as error:
        return ev.ActivityFailed(activity_id, unreadable_output(activity_id, error), 1)


async def _signal_child(command: SignalChild) -> None:
    handle = workflow.get_external_workflow_handle(command.child_id)
    await _unless_gone(handle.signal(command.signal, {"holder": "parent", "reason": command.reason}))


async def _close_child(command: CloseChild) -> None:
    if command.policy == "cancel":
        await _unless_gone(workflow.get_external_workflow_handle(command.child_id).cancel())
        return
    await _unless_gone(
        workflow.execute_activity(
            "request_terminate",
            RequestCancelInput(execution_id=command.child_id, reason="its parent ended"),
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(maximum_attempts=5),
            activity_id=f"~terminate {command.child_id}"[:200],
            summary="terminate a child",
        )
    )


async def _unless_gone(call: Any) -> None:
    try:
        await call
    except Exception as error:  # The child has closed, or its history is gone: nothing is left to tell it.
        if not workflow.is_failure_exception(error):
            raise


def _delta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def summary_text(text: str) -> str:
    """Return a text cut to what Temporal takes as a summary."""
    return text.encode("utf-8", "replace")[:SUMMARY_BYTES].decode("utf-8", "ignore")
