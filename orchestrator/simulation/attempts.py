"""One activity in virtual time: its attempts, counted and spaced as on a worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.execution import events as ev
from orchestrator.execution.commands import ScheduleActivity
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.messages import ErrorInfo, StepCall, StepResult, ValidateJsonInput
from orchestrator.execution.messages_agents import (
    AgentReport,
    CallToolInput,
    InvokeModelResult,
    SummariseSessionInput,
    SummariseSessionResult,
)
from orchestrator.execution.messages_ledger import LedgerCall
from orchestrator.execution.policies import backoff_seconds, delay_in_time, matches_error
from orchestrator.execution.value_checks import check_value
from orchestrator.simulation.echoes import asked, echo
from orchestrator.simulation.mocks import Mock, MockError
from orchestrator.simulation.report import SimulatedCall
from orchestrator.simulation.world import Due, World

PARKED_SECONDS = 5.0
"""The least pause of a parked attempt that names none."""
_LEDGER_CALLS = TypeAdapter(list[LedgerCall])
_UNMOCKED = MockError(type="unmocked-step", message="the scenario has no mock for it", retryable=False)


class ActivityRun:
    """One activity, from its schedule to its end.

    Args:
        world: what the simulation shares.
        workflow_id: of the execution.
        command: what the machine asked for.
        done: hears of the end.
    """

    def __init__(
        self, world: World, workflow_id: str, command: ScheduleActivity, done: Callable[[ev.Event], None]
    ) -> None:
        self._world, self._workflow_id = world, workflow_id
        self._command, self._done = command, done
        self._foreign = command.result_type is None
        request: Any = command.arguments[0] if command.arguments else None
        call: StepCall | None = None if self._foreign else request.call
        self._path = command.activity_id.partition("#")[0] if call is None else call.path
        self._step_id = self._path.rpartition(".")[2] if call is None else call.step_id
        self._tool = _tool_of(request)
        self._max_attempts = command.retry.max_attempts if call is None else call.max_attempts
        self._refused = command.retry.non_retryable if call is None else tuple(call.non_retryable_errors)
        self._deadline = world.now + min(timedelta(seconds=command.timeouts.schedule_to_close), timedelta(days=36_500))
        self._tried = 0
        self._rounds = 0
        self._last: ErrorInfo | None = None
        self._due: Due | None = None
        self._call: SimulatedCall | None = None

    def begin(self) -> None:
        """Make the first attempt."""
        request = self._command.arguments[0] if self._command.arguments else None
        if isinstance(request, ValidateJsonInput):
            self._due = self._world.later(0.0, lambda: self._check(request))
        else:
            self._attempt()

    def cancel(self) -> None:
        """End it; its end is still reported."""
        if self._due is not None:
            self._due.dropped = True
        if self._call is not None:
            self._world.call_ends(self._call, "cancelled", "cancelled")
            self._call = None
        info = ErrorInfo(type="cancelled", message="cancelled")
        failed = ev.ActivityFailed(self._command.activity_id, info, 0, cancelled=True)
        self._due = self._world.later(0.0, lambda: self._done(failed))

    # --- attempts -------------------------------------------------------------------------------------------------

    def _attempt(self) -> None:
        world, limits = self._world, self._command.timeouts
        self._tried += 1
        self._rounds += 1
        mock = world.answer(self._workflow_id, self._path, self._step_id, self._tool)
        name = world.named(self._workflow_id, self._path) + (f":{self._tool}" if self._tool else "")
        self._call = SimulatedCall(
            path=name,
            activity=self._command.activity,
            attempt=self._tried,
            at_seconds=world.seconds,
            mocked=mock is not None,
            asked=asked(self._command),
        )
        world.call_begins(self._call)
        if mock is None:
            mock = Mock(output=echo(self._command)) if world.scenario.unmocked == "echo" else Mock(error=_UNMOCKED)
        # Ours are ended a little earlier by their wrapper, so that they report the time-out themselves.
        most = limits.start_to_close - (0.0 if self._foreign else min(0.5, limits.start_to_close * 0.1))
        left = (self._deadline - world.now).total_seconds()
        wanted = float("inf") if mock.hang else mock.delay_seconds
        if min(wanted, most) > left:
            self._due = world.later(max(left, 0.0), self._too_late)
        elif wanted > most:
            self._due = world.later(most, self._timed_out)
        else:
            self._due = world.later(wanted, lambda: self._ended(mock))

    def _ended(self, mock: Mock) -> None:
        if mock.park_seconds is not None:
            self._parked(mock.park_seconds)
        elif mock.error is not None:
            self._failed(mock.error)
        else:
            self._end_call("completed")
            self._done(ev.ActivityCompleted(self._command.activity_id, self._result(mock)))

    def _result(self, mock: Mock) -> StepResult:
        if mock.turn is not None and self._command.result_type is InvokeModelResult:
            return InvokeModelResult.model_validate({**mock.turn, "attempts": self._tried})
        if self._command.result_type is SummariseSessionResult:
            return SummariseSessionResult(summarised=True, spent=_spent(mock.output), attempts=self._tried)
        kind = self._command.result_type or StepResult
        # A foreign activity's attempts are Temporal's, and nobody tells them.
        return kind(output=mock.output, attempts=1 if self._foreign else self._tried)

    def _parked(self, seconds: float) -> None:
        self._end_call("failed", "circuit-open")
        self._tried -= 1
        failure = MockError(type="circuit-open", message="the circuit is open")
        self._again_or_give_up(failure, self._in_time(seconds or PARKED_SECONDS), counted=False)

    def _failed(self, error: MockError) -> None:
        self._end_call("failed", error.type)
        wanted = error.retry_after_seconds
        delay = backoff_seconds(self._command.retry, self._rounds) if wanted is None else self._in_time(wanted)
        self._again_or_give_up(error, delay)

    def _in_time(self, delay: float) -> float:
        return delay_in_time(delay, (self._deadline - self._world.now).total_seconds())

    def _timed_out(self) -> None:
        seconds = self._command.timeouts.start_to_close
        if self._foreign:
            text = f"step '{self._path}': its start_to_close timeout passed"
            hint = {}
        else:
            text = f"step '{self._path}': no result within start_to_close_seconds = {seconds:g}"
            hint = {"hint": "raise the step's timeouts.start_to_close_seconds, or find out why the far end is slow"}
        self._failed(MockError(type="timeout", message=text, details={"kind": "start_to_close", **hint}))

    def _too_late(self) -> None:
        self._end_call("failed", "timeout")
        message = f"step '{self._command.activity_id}': its schedule_to_close timeout passed"
        details = {"kind": "schedule_to_close"}
        self._give_up(ErrorInfo(type="timeout", message=message, details=details, cause=self._last), None, 1)

    def _again_or_give_up(self, error: MockError, delay: float, *, counted: bool = True) -> None:
        info = self._info(error)
        used_up = counted and bool(self._max_attempts) and self._tried >= self._max_attempts
        refused = any(matches_error(error.type, pattern) for pattern in self._refused)
        late = self._world.now + timedelta(seconds=min(delay, 10**10)) >= self._deadline
        if not error.retryable or used_up or refused:
            self._give_up(info, error.report, 1 if self._foreign else self._tried)
            return
        self._last = info
        if late:
            # Temporal sees at once that there is no time for another attempt.
            self._too_late()
            return
        self._due = self._world.later(delay, self._attempt)

    def _info(self, error: MockError) -> ErrorInfo:
        named = self._command.activity_id
        message = error.message if f"'{named}'" in error.message else f"step '{named}': {error.message}"
        return ErrorInfo(type=error.type, message=message, details=error.details)

    def _give_up(self, info: ErrorInfo, report: AgentReport | None, attempts: int) -> None:
        self._done(ev.ActivityFailed(self._command.activity_id, info, attempts, report=report))

    def _end_call(self, outcome: str, error_type: str | None = None) -> None:
        if self._call is not None:
            self._world.call_ends(self._call, outcome, error_type)
            self._call = None

    # --- checks, which are real -----------------------------------------------------------------------------------

    def _check(self, request: ValidateJsonInput) -> None:
        identifier = self._command.activity_id
        try:
            self._done(ev.ActivityCompleted(identifier, check_value(request)))
        except StepFailure as failure:
            error = MockError(type=failure.code, message=failure.message, details=dict[str, Any](failure.details))
            self._done(ev.ActivityFailed(identifier, self._info(error), 1))


def _tool_of(request: Any) -> str:
    """Return what an agent's step is followed by in the names of its mocks; empty for the step itself."""
    if isinstance(request, SummariseSessionInput):
        return "summary"
    return request.tool if isinstance(request, CallToolInput) and request.agent_type is not None else ""


def _spent(output: Any) -> list[LedgerCall]:
    """Return the model calls that the mock of a session's summary tells; none where it tells something else."""
    try:
        return _LEDGER_CALLS.validate_python(output)
    except ValidationError:
        return []
