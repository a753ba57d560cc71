"""How an execution ends: what is undone, what runs afterwards, what is left."""

from __future__ import annotations

from datetime import timedelta

from orchestrator.definition.compiled import CompiledScope
from orchestrator.execution.clock import iso, parse_iso
from orchestrator.execution.commands import CancelTimer, CloseChild, StartTimer
from orchestrator.execution.engine import Engine, ScopeRun
from orchestrator.execution.errors_data import CollectedOutputTooLarge
from orchestrator.execution.evaluation import failure_of
from orchestrator.execution.live_data import scope_bytes
from orchestrator.execution.messages import ErrorInfo, StepResult
from orchestrator.execution.paths import join_path
from orchestrator.execution.requests import OUTPUT_CHECK, output_check
from orchestrator.execution.state import ROOT, Outcome, ScopeState
from orchestrator.expressions import ExpressionError

DEADLINE_TIMER = "~deadline"
CLEANUP_TIMER = "~cleanup"
SHOWN_ERRORS = 100
"""Failed compensations that an error lists."""


class Ending:
    """Brings an execution to its end.

    Args:
        engine: the shared core.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def end(self, outcome: Outcome, error: ErrorInfo | None) -> None:
        """Decide the outcome and end the root scope; the first reason wins."""
        state, root = self._engine.state, self._engine.runs.get(ROOT)
        if state.phase != "running" or (root is not None and root.state.ending):
            return
        state.phase, state.outcome, state.error = "ending", outcome, error
        self._engine.ready.clear()
        self._engine.evaluator.forget()
        why = error or ErrorInfo(type="finished", message="the execution finished")
        if root is not None:
            self._engine.end_scope(root, why)

    def finish(self, value: object) -> None:
        """End the execution now, completed, with this output."""
        self._engine.state.output = value
        self._engine.state.finishing = True
        self.end("completed", None)

    def deadline(self) -> None:
        """End the execution because its time is over."""
        when = self._engine.state.deadline_at
        message = f"the execution did not end by its deadline, {when} (timeouts.execution_seconds)"
        self.end("failed", ErrorInfo(type="execution-timeout", message=message))

    # --- scopes of the document -----------------------------------------------------------------------------------

    def root_closed(self, run: ScopeRun) -> None:
        """Go on when the root's steps are all terminal."""
        state = self._engine.state
        if state.phase not in ("running", "ending"):
            return
        if state.phase == "running" and run.state.error is not None:
            # The scope failed by itself: nobody called `end`.
            state.outcome, state.error = "failed", run.state.error
            self._engine.evaluator.forget()
        if state.outcome in ("failed", "cancelled"):
            self._begin_cleaning()
        elif state.finishing:
            self._check_output()
        else:
            self._conclude(run.state, run.compiled)

    def cleanup_closed(self, run: ScopeRun) -> None:
        """Go on after a compensation or an end scope closed."""
        state = self._engine.state
        if run.state.part == "compensate" and run.state.error is not None:
            state.compensation_errors.append(run.state.error)
        self._engine.forget_scope(run)
        if run.state.part == "compensate":
            self._next_compensation()
        else:
            self._close_cleaned()

    # --- cleaning -------------------------------------------------------------------------------------------------

    def _begin_cleaning(self) -> None:
        engine = self._engine
        engine.state.phase = "cleaning"
        if engine.state.compensations or self._end_scope() is not None:
            self._start_cleanup_timer()
        self._next_compensation()

    def _start_cleanup_timer(self) -> None:
        engine = self._engine
        seconds = engine.definition.cleanup_seconds
        engine.state.cleanup_at = iso(engine.now + timedelta(seconds=seconds))
        engine.commands.append(StartTimer(CLEANUP_TIMER, seconds, "cleanup deadline"))

    def resumed(self) -> None:
        """Give the cleanup its time again where it passed during a pause."""
        state = self._engine.state
        late = state.cleanup_at is not None and parse_iso(state.cleanup_at) <= self._engine.now
        if state.phase == "cleaning" and late:
            self._start_cleanup_timer()

    def _next_compensation(self) -> None:
        engine, state = self._engine, self._engine.state
        if not state.compensations:
            self._run_end_scope()
            return
        found = state.compensations.pop()
        around = state.scopes[found.scope_id]
        compiled = engine.definition.scopes[found.step_id, "compensate"]
        prefix = around.prefix
        state.undone.append(join_path(prefix, found.step_id))
        engine.open_scope(
            compiled,
            f"{prefix}:{found.step_id}:compensate",
            prefix,
            sees=around,
            names=found.names,
            variables=found.vars,
        )

    def _end_scope(self) -> CompiledScope | None:
        definition = self._engine.definition
        return definition.on_cancel if self._engine.state.outcome == "cancelled" else definition.on_failure

    def _run_end_scope(self) -> None:
        compiled = self._end_scope()
        if compiled is None or self._engine.state.cleanup_at is None:
            self._close_cleaned()
        else:
            self._engine.open_scope(compiled, f":{compiled.part}", "")

    def cleanup_late(self) -> None:
        """Give up what is left of compensation and end scopes; a pause is not held against them."""
        engine = self._engine
        if engine.state.holds:
            return
        engine.state.cleanup_at = None
        message = f"cleanup did not end within timeouts.cleanup_seconds = {engine.definition.cleanup_seconds:g}"
        error = ErrorInfo(type="cleanup-timeout", message=message)
        if engine.state.compensations:
            engine.state.compensations.clear()
            engine.state.compensation_errors.append(error)
        for run in list(engine.runs.values()):
            engine.end_scope(run, error)

    def _close_cleaned(self) -> None:
        state = self._engine.state
        if state.compensation_errors:
            first = state.compensation_errors[0]
            message = f"compensation failed: {first.message}"
            shown = state.compensation_errors[:SHOWN_ERRORS]
            errors = [error.model_dump(exclude_none=True) for error in shown]
            state.error = ErrorInfo(
                type="compensation-failed",
                message=message,
                step=first.step,
                details={"errors": errors},
                cause=state.error,
            )
            state.outcome = "failed"
        self._close()

    # --- completed ------------------------------------------------------------------------------------------------

    def _conclude(self, scope: ScopeState, compiled: CompiledScope) -> None:
        """All steps ended well: make the output, have it checked, close."""
        state = self._engine.state
        try:
            if compiled.output is not None:
                state.output = self._engine.evaluator.render(compiled.output, scope)
            else:
                self._engine.data.require_collectable("the execution", scope_bytes(compiled, scope, None))
                state.output = {step_id: scope.steps[step_id].value for step_id in compiled.sinks}
        except (ExpressionError, CollectedOutputTooLarge) as error:
            self._fail_late(failure_of(error, None))
            return
        state.outcome = "completed"
        self._check_output()

    def _check_output(self) -> None:
        schema = self._engine.definition.head.output_schema
        if schema is None:
            self._close()
            return
        self._engine.state.phase = "closing"
        self._engine.commands.append(output_check(self._engine.state, schema))

    def output_checked(self, result: StepResult | None, error: ErrorInfo | None, *, cancelled: bool) -> None:
        """Go on after the output was checked against `output_schema`."""
        if result is not None:
            self._close()
        elif cancelled:
            self._engine.state.outcome, self._engine.state.output = "cancelled", None
            self._engine.state.error = error
            self._begin_cleaning()
        else:
            self._fail_late(error or ErrorInfo(type="invalid-output", message="the output is invalid"))

    def _fail_late(self, error: ErrorInfo) -> None:
        """Fail after every step completed: what was done is undone."""
        state = self._engine.state
        state.outcome, state.error, state.output = "failed", error, None
        self._engine.evaluator.forget()
        self._begin_cleaning()

    def _close(self) -> None:
        state, commands = self._engine.state, self._engine.commands
        state.phase = "closed"
        for child_id, policy in state.detached:
            if policy != "abandon":
                commands.append(CloseChild(child_id, policy))
        for timer_id in (DEADLINE_TIMER, CLEANUP_TIMER):
            commands.append(CancelTimer(timer_id))

    def start_deadline(self) -> None:
        """Start the execution's deadline: its own, or what is left of its parent's time where that is less."""
        engine, timeouts = self._engine, self._engine.definition.head.timeouts
        own = timeouts.execution_seconds if timeouts else None
        bounds = [seconds for seconds in (own, engine.state.execution_seconds) if seconds]
        if engine.state.deadline_at is not None:
            bounds.append(max((parse_iso(engine.state.deadline_at) - engine.now).total_seconds(), 0.001))
        if bounds:
            seconds = min(bounds)
            engine.state.deadline_at = iso(engine.now + timedelta(seconds=seconds))
            engine.commands.append(StartTimer(DEADLINE_TIMER, seconds, "execution deadline"))


__all__ = ["CLEANUP_TIMER", "DEADLINE_TIMER", "OUTPUT_CHECK", "Ending"]
