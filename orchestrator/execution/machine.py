"""The machine: moves an execution's state from event to event and says what its driver has to do.

It performs nothing, asks no clock and holds no position outside `ExecutionState`; every driver (the Temporal workflow,
a simulator, a test) feeds it events and carries out its commands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from orchestrator.definition.compiled import CompiledDefinition, CompiledStep
from orchestrator.definition.models import Transform, Wait
from orchestrator.execution import events as ev
from orchestrator.execution.clock import iso
from orchestrator.execution.commands import CancelActivity, CancelTimer, Command, ScheduleActivity, StartTimer
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.evaluation import Evaluator, expression_failure
from orchestrator.execution.joins import Joins
from orchestrator.execution.messages import ErrorInfo, StartExecution, StepCall, StepResult
from orchestrator.execution.paths import activity_id
from orchestrator.execution.requests import OUTPUT_CHECK, build_request, output_check
from orchestrator.execution.state import ExecutionState, ScopeState, StepRecord, StepState
from orchestrator.execution.waits import wait_seconds
from orchestrator.expressions import ExpressionError

DEADLINE_TIMER = "~deadline"
YIELD_TIMER = "~yield"
Outcome = Literal["completed", "failed", "cancelled"]


def new_state(
    definition: CompiledDefinition, start: StartExecution, execution_id: str, version: int | None
) -> ExecutionState:
    """Return the state of an execution that has not begun."""
    steps = {step_id: StepRecord() for step_id in definition.root.steps}
    return ExecutionState(
        execution_id=execution_id,
        workflow_id=start.workflow_id,
        workflow_version=version,
        input=start.input,
        vars=dict(definition.head.vars),
        lineage=start.lineage,
        scopes={"": ScopeState("", steps)},
    )


class Machine:
    """Drives one execution.

    Args:
        definition: the compiled definition.
        state: its position; changed in place.
        uuid: gives a fresh id, the same on every replay.
    """

    def __init__(self, definition: CompiledDefinition, state: ExecutionState, uuid: Callable[[], str]) -> None:
        self.state = state
        self._definition = definition
        self._scope = definition.root
        self._records = state.scopes[""].steps
        self._joins = Joins(self._scope, state.scopes[""])
        self._ready = deque(state.ready)
        self._queued = set(state.ready)
        self._in_flight = {record.activity_id: key for key, record in self._records.items() if record.activity_id}
        self._open = sum(not record.terminal for record in self._records.values())
        self._evaluator = Evaluator(state, uuid)
        self._now = datetime.min.replace(tzinfo=UTC)
        self._commands: list[Command] = []
        self._yielding = False

    @property
    def closed(self) -> bool:
        """Whether the outcome is final and nothing is in flight."""
        return self.state.phase == "closed"

    def new_activation(self) -> None:
        """Start a new budget of expression work; the driver says when (once for each workflow task)."""
        self._evaluator.new_activation()

    def apply(self, event: ev.Event, now: datetime) -> list[Command]:
        """Move the state by one event.

        Args:
            event: what happened.
            now: the time at which it is seen, in UTC.

        Returns:
            What the driver has to do, in order.
        """
        self._now = now
        self._commands = []
        if not self.closed:
            self._evaluator.at(now)
            self._take(event)
            self._advance()
        return self._commands

    def snapshot(self) -> ExecutionState:
        """Return the state with its queue written back, ready to be carried."""
        self.state.ready = list(self._ready)
        return self.state

    # --- events ---------------------------------------------------------------------------------------------------

    def _take(self, event: ev.Event) -> None:
        match event:
            case ev.Started():
                self._start()
            case ev.ActivityCompleted(identifier, result):
                self._activity_completed(identifier, result)
            case ev.ActivityFailed():
                self._activity_failed(event)
            case ev.TimerFired(timer_id):
                self._timer_fired(timer_id)
            case ev.PauseRequested(holder, reason):
                self.state.holds[holder] = reason
            case ev.ResumeRequested(holder):
                self._resume(holder)
            case ev.CancelRequested(reason):
                message = f"the execution was cancelled: {reason}" if reason else "the execution was cancelled"
                self._end("cancelled", ErrorInfo(type="cancelled", message=message))

    def _start(self) -> None:
        self.state.started_at = iso(self._now)
        self._evaluator.at(self._now)
        timeouts = self._definition.head.timeouts
        if timeouts and timeouts.execution_seconds:
            self.state.deadline_at = iso(self._now + timedelta(seconds=timeouts.execution_seconds))
            self._commands.append(StartTimer(DEADLINE_TIMER, timeouts.execution_seconds, "execution deadline"))
        self._consider(self._scope.steps)

    def _activity_completed(self, identifier: str, result: StepResult) -> None:
        if identifier == OUTPUT_CHECK:
            self._close("completed")
            return
        step_id = self._in_flight.pop(identifier)
        record = self._records[step_id]
        record.activity_id = None
        record.attempts = result.attempts
        self._complete(step_id, result.output)

    def _activity_failed(self, event: ev.ActivityFailed) -> None:
        if event.activity_id == OUTPUT_CHECK:
            self.state.error, self.state.output = event.error, None
            self._close("cancelled" if event.cancelled else "failed")
            return
        step_id = self._in_flight.pop(event.activity_id)
        record = self._records[step_id]
        record.activity_id = None
        record.attempts = max(record.attempts, event.attempts)
        if event.cancelled or self.state.phase == "ending":
            record.error = event.error.model_copy(update={"step": step_id, "outcome_unknown": True})
            self._settle(step_id, "cancelled")
        else:
            self._fail(step_id, event.error.model_copy(update={"step": step_id}))

    def _timer_fired(self, timer_id: str) -> None:
        if timer_id == YIELD_TIMER:
            self._yielding = False
        elif timer_id == DEADLINE_TIMER:
            message = (
                f"the execution did not end by its deadline, {self.state.deadline_at} (timeouts.execution_seconds)"
            )
            self._end("failed", ErrorInfo(type="execution-timeout", message=message))
        elif self.state.holds:
            self.state.fired.append(timer_id)
        else:
            self._wait_over(timer_id)

    def _wait_over(self, step_id: str) -> None:
        record = self._records[step_id]
        if record.due_at is not None:
            record.due_at = None
            self._complete(step_id, None)

    def _resume(self, holder: str) -> None:
        self.state.holds.pop(holder, None)
        if self.state.holds:
            return
        fired, self.state.fired = self.state.fired, []
        for timer_id in fired:
            self._wait_over(timer_id)

    # --- steps ----------------------------------------------------------------------------------------------------

    def _consider(self, step_ids: Any) -> None:
        """Queue the pending steps whose join is met; skip those whose join cannot be, and so on down the graph."""
        pending = deque(step_ids)
        while pending:
            step_id = pending.popleft()
            if self._records[step_id].state != "pending" or step_id in self._queued:
                continue
            verdict = self._joins.verdict(step_id)
            if verdict == "run":
                self._queued.add(step_id)
                self._ready.append(step_id)
            elif verdict == "skip":
                pending.extend(self._mark(step_id, "skipped"))

    def _mark(self, step_id: str, state: StepState) -> tuple[str, ...]:
        record = self._records[step_id]
        record.state = state
        record.finished_at = iso(self._now)
        self._open -= 1
        return self._joins.ended(step_id, state)

    def _settle(self, step_id: str, state: StepState) -> None:
        dependents = self._mark(step_id, state)
        if self.state.phase == "running":
            self._consider(dependents)

    def _advance(self) -> None:
        """Start what is ready, as far as pauses, the cap and the activation's budget allow; then see if all is over."""
        while self._ready and self.state.phase == "running" and not self.state.holds and not self._yielding:
            if self._evaluator.exhausted:
                self._yielding = True
                self._commands.append(StartTimer(YIELD_TIMER, 0.001, "yield"))
                return
            if len(self._in_flight) >= self._definition.max_parallel:
                return
            self._begin(self._ready.popleft())
        if self.state.phase == "ending" and not self._in_flight:
            self._close(self.state.outcome or "failed")
        elif self.state.phase == "running" and not self._open:
            self._conclude()

    def _begin(self, step_id: str) -> None:
        step, record = self._scope.steps[step_id], self._records[step_id]
        try:
            if not self._evaluator.condition(step.when):
                self._settle(step_id, "skipped")
                return
            record.state = "running"
            record.started_at = iso(self._now)
            self._run(step, record, {name: self._evaluator.render(field) for name, field in step.inputs.items()})
        except ExpressionError as error:
            self._fail(step_id, expression_failure(error, step_id))
        except OrchestratorError as error:
            self._fail(step_id, ErrorInfo(type=error.code, message=error.message, step=step_id, details=error.details))

    def _run(self, step: CompiledStep, record: StepRecord, fields: dict[str, Any]) -> None:
        if isinstance(step.model, Transform):
            self._complete(step.step_id, fields.get("value"))
        elif isinstance(step.model, Wait):
            self._wait(step, record, wait_seconds(step.step_id, fields, self._now))
        else:
            self._schedule(step, record, fields)

    def _wait(self, step: CompiledStep, record: StepRecord, seconds: float) -> None:
        if seconds <= 0:
            self._complete(step.step_id, None)
            return
        record.due_at = iso(self._now + timedelta(seconds=seconds))
        self._commands.append(StartTimer(step.step_id, seconds, step.model.label))

    def _schedule(self, step: CompiledStep, record: StepRecord, fields: dict[str, Any]) -> None:
        dependencies = {name: self._records[name].output for name in step.listed}
        request = build_request(step, self._call(step), fields, self.state.input, dependencies)
        record.activity_id = activity_id(step.step_id)
        self._in_flight[record.activity_id] = step.step_id
        self._commands.append(
            ScheduleActivity(
                activity_id=record.activity_id,
                activity=request.activity,
                argument=request.argument,
                result_type=request.result_type,
                retry=step.retry,
                timeouts=step.timeouts,
                summary=step.model.label,
                task_queue=step.task_queue,
                priority=step.model.priority,
            )
        )

    def _call(self, step: CompiledStep) -> StepCall:
        root = self.state.lineage.root or self.state.execution_id
        return StepCall(
            execution_id=self.state.execution_id,
            workflow_id=self.state.workflow_id,
            workflow_version=self.state.workflow_version,
            path=step.step_id,
            step_id=step.step_id,
            idempotency_key=f"{root}/{step.step_id}",
            max_attempts=step.retry.max_attempts,
            non_retryable_errors=list(step.retry.non_retryable),
        )

    def _complete(self, step_id: str, result: Any) -> None:
        """Complete a step by its own action: apply its `output`, then let its dependents go on."""
        step, record = self._scope.steps[step_id], self._records[step_id]
        if step.output is not None and self.state.phase == "running":
            try:
                result = self._evaluator.render(step.output, result=result)
            except ExpressionError as error:
                self._fail(step_id, expression_failure(error, step_id))
                return
        record.output = result
        self._settle(step_id, "completed")

    def _fail(self, step_id: str, error: ErrorInfo) -> None:
        """Fail a step and with it the execution: nobody handles the error."""
        self._records[step_id].error = error
        self._mark(step_id, "failed")
        self._end("failed", error)

    # --- the end --------------------------------------------------------------------------------------------------

    def _end(self, outcome: Outcome, error: ErrorInfo) -> None:
        """Stop scheduling, cancel what is in flight and wait for it; the first reason decides the outcome."""
        if self.state.phase == "closing" and outcome == "cancelled":
            self._commands.append(CancelActivity(OUTPUT_CHECK))
        if self.state.phase != "running":
            return
        self.state.phase = "ending"
        self.state.outcome = outcome
        self.state.error = error
        self._ready.clear()
        for step_id, record in self._records.items():
            if record.activity_id is not None:
                self._commands.append(CancelActivity(record.activity_id))
            elif not record.terminal:
                if record.due_at is not None:
                    self._commands.append(CancelTimer(step_id))
                    record.due_at = None
                self._mark(step_id, "cancelled")

    def _conclude(self) -> None:
        """All steps ended well: make the output, have it checked, close."""
        scope = self._scope
        try:
            if scope.output is not None:
                self.state.output = self._evaluator.render(scope.output)
            else:
                self.state.output = {step_id: self._records[step_id].output for step_id in scope.sinks}
        except ExpressionError as error:
            self.state.error = expression_failure(error, None)
            self._close("failed")
            return
        if self._definition.head.output_schema is None:
            self._close("completed")
            return
        self.state.phase = "closing"
        self._commands.append(output_check(self.state, self._definition.head.output_schema))

    def _close(self, outcome: Outcome) -> None:
        self.state.outcome = outcome
        self.state.phase = "closed"
        if self.state.deadline_at is not None:
            self._commands.append(CancelTimer(DEADLINE_TIMER))
