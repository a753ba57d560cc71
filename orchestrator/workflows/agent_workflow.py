"""The one generic workflow: performs the machine's commands with Temporal's own activities and timers."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from orchestrator.execution import events as ev
from orchestrator.execution.commands import CancelActivity, CancelTimer, Command, ScheduleActivity, StartTimer
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import (
    WORKFLOW_TYPE,
    ExecutionView,
    LoadDefinitionInput,
    LoadDefinitionResult,
    RequestCancelInput,
    StartExecution,
)
from orchestrator.execution.views import markdown_table, status_of, view_of
from orchestrator.expressions import ExpressionError
from orchestrator.workflows.definition_cache import compiled
from orchestrator.workflows.failures import activity_failed, error_info, execution_failure
from orchestrator.workflows.search_attributes import ERROR_TYPE, STATUS

SUMMARY_BYTES = 300
"""Temporal refuses summaries over 400 bytes by failing the workflow task for ever."""


@workflow.defn(name=WORKFLOW_TYPE)
class AgentWorkflow:
    """Interprets any workflow definition.

    Signals: `pause(reason)`, `resume`, `cancel(reason)`. Query: `state`. Temporal's native cancel ends the execution
    as cancelled.
    """

    def __init__(self) -> None:
        self._machine: Machine | None = None
        self._start: StartExecution | None = None
        self._inbox: deque[ev.Event] = deque()
        self._activities: dict[str, workflow.ActivityHandle[Any]] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._history_length = 0
        self._shown_status = "running"

    @workflow.run
    async def run(self, start: Any) -> ExecutionView:
        """Run one execution to its end.

        Args:
            start: a `StartExecution`, as plain JSON: an invalid one shall fail the execution, not its task.

        Raises:
            ApplicationError: the execution failed; type and message are its error's, details hold an `ExecutionView`.
        """
        self._start = _parse(start)
        machine = self._machine = await self._prepare(self._start)
        self._inbox.appendleft(ev.Started())
        self._drain(machine)
        while not machine.closed:
            try:
                await workflow.wait_condition(lambda: bool(self._inbox))
            except asyncio.CancelledError:
                self._inbox.append(ev.CancelRequested(workflow.cancellation_reason() or ""))
            self._drain(machine)
        return self._finish(machine)

    # --- messages -------------------------------------------------------------------------------------------------

    @workflow.signal(description="Hold the execution at its next step boundary; what is in flight finishes.")
    def pause(self, reason: Any = "") -> None:
        """Put the operator's hold on the execution."""
        self._inbox.append(ev.PauseRequested("operator", _text(reason)))

    @workflow.signal(description="Take the operator's hold away.")
    def resume(self, reason: Any = "") -> None:
        """Take the operator's hold away."""
        self._inbox.append(ev.ResumeRequested("operator"))

    @workflow.signal(description="Cancel the execution, like Temporal's own cancel.")
    async def cancel(self, reason: Any = "") -> None:
        """Ask Temporal to cancel this execution: only a native cancel closes it as Canceled."""
        info = workflow.info()
        await workflow.execute_activity(
            "request_cancel",
            RequestCancelInput(execution_id=info.workflow_id, run_id=info.run_id, reason=_text(reason)),
            start_to_close_timeout=timedelta(seconds=10),
            activity_id="~cancel",
            summary="cancel this execution",
        )

    @workflow.query(description="The execution's status, steps, output and error.")
    def state(self) -> ExecutionView:
        """Return the present view."""
        if self._machine is not None:
            return view_of(self._definition, self._machine.state)
        start = self._start
        return ExecutionView(
            workflow_id=start.workflow_id if start else "",
            workflow_version=start.version if start else None,
            status="running",
            input=start.input if start else None,
        )

    # --- beginning and end ----------------------------------------------------------------------------------------

    async def _prepare(self, start: StartExecution) -> Machine:
        document, version, sha256 = start.definition, start.version, start.sha256
        if document is None:
            loaded = await self._load(start)
            document, version, sha256 = loaded.definition, loaded.version, loaded.sha256
        try:
            self._definition = compiled(document, sha256 or workflow.info().run_id)
        except (ValidationError, ExpressionError) as error:
            raise ApplicationError(
                f"the definition of workflow '{start.workflow_id}' is invalid: {error}",
                type="invalid-definition",
                non_retryable=True,
            ) from error
        state = new_state(self._definition, start, workflow.info().workflow_id, version)
        return Machine(self._definition, state, lambda: str(workflow.uuid4()))

    async def _load(self, start: StartExecution) -> LoadDefinitionResult:
        try:
            loaded: LoadDefinitionResult = await workflow.execute_activity(
                "load_definition",
                LoadDefinitionInput(workflow_id=start.workflow_id, version=start.version, input=start.input),
                result_type=LoadDefinitionResult,
                start_to_close_timeout=timedelta(seconds=10),
                schedule_to_close_timeout=timedelta(hours=24),
                activity_id="~definition",
                summary=f"load definition {start.workflow_id}",
            )
        except ActivityError as error:
            info = error_info(error.cause, "~definition")
            raise ApplicationError(info.message, type=info.type, non_retryable=True) from error
        return loaded

    def _finish(self, machine: Machine) -> ExecutionView:
        view = view_of(self._definition, machine.state)
        if view.status == "cancelled":
            raise asyncio.CancelledError
        if view.status == "failed":
            workflow.upsert_search_attributes([ERROR_TYPE.value_set(view.error.type if view.error else "failed")])
            raise execution_failure(view)
        return view

    # --- the drive ------------------------------------------------------------------------------------------------

    def _drain(self, machine: Machine) -> None:
        length = workflow.info().get_current_history_length()
        if length != self._history_length:
            self._history_length = length
            machine.new_activation()
        while self._inbox:
            for command in machine.apply(self._inbox.popleft(), workflow.now()):
                self._perform(command)
        self._show(machine)

    def _show(self, machine: Machine) -> None:
        workflow.set_current_details(markdown_table(self._definition, machine.state))
        status = status_of(machine.state)
        if machine.closed or status == self._shown_status:
            return
        self._shown_status = status
        shown = STATUS.value_unset() if status == "running" else STATUS.value_set(status)
        workflow.upsert_search_attributes([shown])

    def _perform(self, command: Command) -> None:
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

    def _schedule(self, command: ScheduleActivity) -> None:
        timeouts, retry = command.timeouts, command.retry
        handle: workflow.ActivityHandle[Any] = workflow.start_activity(
            command.activity,
            args=command.arguments,
            result_type=command.result_type,
            task_queue=command.task_queue,
            activity_id=command.activity_id,
            start_to_close_timeout=timedelta(seconds=timeouts.start_to_close),
            schedule_to_close_timeout=timedelta(seconds=timeouts.schedule_to_close),
            schedule_to_start_timeout=_delta(timeouts.schedule_to_start),
            heartbeat_timeout=timedelta(seconds=timeouts.heartbeat),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(seconds=retry.initial_interval),
                backoff_coefficient=retry.backoff,
                maximum_interval=timedelta(seconds=max(retry.max_interval, retry.initial_interval)),
                non_retryable_error_types=list(retry.non_retryable) or None,
            ),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=_summary(command.summary),
            priority=Priority(priority_key=command.priority) if command.priority else Priority.default,
        )
        self._activities[command.activity_id] = handle
        handle.add_done_callback(partial(self._activity_done, command.activity_id))

    def _activity_done(self, activity_id: str, handle: asyncio.Future[Any]) -> None:
        self._activities.pop(activity_id, None)
        if handle.cancelled():
            self._inbox.append(activity_failed(activity_id, asyncio.CancelledError()))
            return
        error = handle.exception()
        if error is None:
            self._inbox.append(ev.ActivityCompleted(activity_id, handle.result()))
        else:
            self._inbox.append(activity_failed(activity_id, error))

    async def _timer(self, command: StartTimer) -> None:
        await workflow.sleep(command.seconds, summary=_summary(command.summary))
        self._timers.pop(command.timer_id, None)
        self._inbox.append(ev.TimerFired(command.timer_id))


def _parse(start: Any) -> StartExecution:
    try:
        return StartExecution.model_validate(start)
    except ValidationError as error:
        raise ApplicationError(
            f"the start input is no StartExecution: {error}", type="invalid-start", non_retryable=True
        ) from error


def _text(reason: Any) -> str:
    if isinstance(reason, dict):
        reason = reason.get("reason", "")
    return str(reason)[:2000]


def _delta(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _summary(text: str) -> str:
    return text.encode("utf-8", "replace")[:SUMMARY_BYTES].decode("utf-8", "ignore")
