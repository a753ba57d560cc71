"""How steps end: completed, failed and perhaps handled, retried, parked, repaired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from orchestrator.definition.compiled import CompiledHandler, CompiledStep
from orchestrator.definition.models import ChildWorkflow
from orchestrator.execution.context import chain, variables
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.evaluation import expression_failure, failure_of
from orchestrator.execution.live_data import held_bytes, json_bytes
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.policies import backoff_seconds, matches_error
from orchestrator.execution.state import Compensation
from orchestrator.expressions import ExpressionError

CHILDREN_TRIED = "children-tried-again"
"""Patch: `retry` and `schedule_to_close_seconds` of a step that awaits a child; before, they were not heard."""


class StepEnds:
    """Completes and fails steps.

    Args:
        engine: the shared core.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- completed ------------------------------------------------------------------------------------------------

    def complete(self, place: Place, result: Any, size: int | None = None) -> None:
        """Complete a step by its own action: apply its `output`, remember how to undo it, go on.

        Args:
            place: the step.
            result: what it gave.
            size: of the result as JSON, where that is known.
        """
        if place.step.output is not None and not place.record.cancelling:
            try:
                output = self._engine.evaluator.render(place.step.output, place.run.state, result=result)
            except ExpressionError as error:
                self.fail(place, expression_failure(error, place.path))
                return
            size = None
        else:
            output = result
        size = json_bytes(output) if size is None else size
        try:
            self._engine.data.require_room(place.path, size - place.record.bytes)
        except OrchestratorError as problem:
            self.fail(place, failure_of(problem, place.path), again=False)
            return
        self._engine.data.note(place.run.state, place.record, size)
        self._leave_block(place)
        self._engine.cancel_timers(place)
        place.record.output = output
        if "compensate" in place.step.scopes and self._engine.state.phase != "cleaning":
            self._remember(place, result)
        self._engine.settle(place, "completed")

    def complete_handled(self, place: Place, output: Any) -> None:
        """Complete a step whose failure was handled; its `output` template is not applied."""
        self._engine.cancel_timers(place)
        place.record.handled = True
        self._leave_block(place)
        self._engine.data.note(place.run.state, place.record, json_bytes(output))
        place.record.output = output
        self._engine.settle(place, "completed")

    def _leave_block(self, place: Place) -> None:
        """Let a block's position go, where it is one; the errors that it contains stay."""
        record = place.record
        if place.step.is_block:
            record.cursor = None
            self._engine.data.hold(place.run.state, record, held_bytes(None, record.errors))

    def _remember(self, place: Place, result: Any) -> None:
        state, scope = self._engine.state, place.run.state
        names: dict[str, Any] = {}
        for found in reversed(list(chain(state, scope))):
            names.update(found.names)
        names["result"] = result
        seen = Compensation(scope.scope_id, place.step.step_id, names, dict(variables(state, scope)))
        self._engine.data.remember(seen)
        state.compensations.append(seen)

    def assign(self, place: Place, values: dict[str, Any]) -> None:
        """Set variables as seen by the step's scope: in its branch or item, else in the run."""
        state, data = self._engine.state, self._engine.data
        for found in chain(state, place.run.state):
            if found.vars is not None:
                data.assign(found, found.vars, values)
                found.vars.update(values)
                break
        else:
            data.assign(None, state.vars, values)
            state.vars.update(values)
            record = self._engine.root_of(place).record
            record.assigned = {**(record.assigned or {}), **values}
        self._engine.evaluator.forget()

    # --- failed ---------------------------------------------------------------------------------------------------

    def fail(self, place: Place, error: ErrorInfo, *, again: bool = True) -> None:
        """Fail a step: run its block again, or let a handler see to it, or fail its scope.

        Args:
            place: the step.
            error: why.
            again: whether the `retry` of a block or a child applies; `schedule_to_close_seconds` bounds all tries.
        """
        record = place.record
        record.error = error
        if record.state == "pending":
            # Its condition failed: it waits for nothing any more, and an end of a dependency must not begin it again.
            record.state = "running"
        if again and not record.cancelling and self._runs_again(place, error):
            return
        self._engine.cancel_timers(place)
        if record.cancelling:
            self._engine.settle(place, "cancelled")
            return
        try:
            handler = self._handler_for(place, error)
            if handler is None:
                self._fail_scope(place, error)
            else:
                self._handle(place, *handler)
        except ExpressionError as problem:
            found = expression_failure(problem, place.path).model_copy(update={"cause": error})
            record.error = found
            self._fail_scope(place, found)

    def guarded(self, place: Place | None, act: Callable[[], None]) -> None:
        """Run a part of a step; what goes wrong in it fails the step, never the workflow task."""
        try:
            act()
        except (ExpressionError, OrchestratorError) as error:
            if place is not None:
                self.fail(place, failure_of(error, place.path), again=False)

    def _fail_scope(self, place: Place, error: ErrorInfo) -> None:
        """Nobody handles the error: the step fails, and its scope with it."""
        place.record.error = error
        self._engine.settle_only(place, "failed")
        self._engine.end_scope(place.run, error)

    def _runs_again(self, place: Place, error: ErrorInfo) -> bool:
        """Whether a block's own `retry` begins its scope again, or a child's another child, after a durable delay."""
        record, step = place.record, place.step
        if step.model.retry is None or not (step.is_block or self._is_child_tried_again(step)):
            return False
        # A child's end counts by itself.
        record.attempts += step.is_block
        rule = step.retry
        if rule.max_attempts and record.attempts >= rule.max_attempts:
            return False
        if any(matches_error(error.type, pattern) for pattern in rule.non_retryable):
            return False
        self._engine.start_timer("retry", place, backoff_seconds(rule, record.attempts), f"{step.model.label}: retry")
        return True

    def _is_child_tried_again(self, step: CompiledStep) -> bool:
        return isinstance(step.model, ChildWorkflow) and self._engine.patched(CHILDREN_TRIED)

    def _handler_for(self, place: Place, error: ErrorInfo) -> tuple[int, CompiledHandler] | None:
        seen = error.model_dump(exclude_none=True)
        for index, handler in enumerate(place.step.handlers):
            if not any(matches_error(error.type, pattern) for pattern in handler.errors):
                continue
            if self._engine.evaluator.condition(handler.when, place.run.state, error=seen):
                return index, handler
        return None

    def _handle(self, place: Place, index: int, handler: CompiledHandler) -> None:
        record = place.record
        seen = record.error.model_dump(exclude_none=True) if record.error else None
        if handler.scope is not None:
            prefix = place.path
            self._engine.open_scope(
                handler.scope, f"{prefix}:handler:{index}", prefix, owner=place, names={"error": seen}
            )
        elif handler.action == "continue":
            record.tolerated = True
            record.cursor = None
            self._leave_block(place)
            self._engine.settle(place, "failed")
        elif handler.action == "park":
            record.awaits = "operator"
        elif handler.output is not None:
            self.complete_handled(place, self._engine.evaluator.render(handler.output, place.run.state, error=seen))
        else:
            self.complete_handled(place, None)

    def handler_closed(self, place: Place, output: Any, error: ErrorInfo | None) -> None:
        """Go on after a handler's steps: the step is handled, or fails with the handler's error."""
        if error is None:
            self.complete_handled(place, output)
        else:
            self._fail_scope(place, error.model_copy(update={"cause": place.record.error, "via": place.path}))

    # --- repaired by an operator ----------------------------------------------------------------------------------

    def repair(self, path: str, action: str, output: Any) -> None:
        """Bring a parked step on; a step that is not parked any more is left alone."""
        place = self._engine.find(path)
        if place is None or place.record.awaits != "operator":
            return
        place.record.awaits = None
        if action == "retry":
            if place.step.is_block or isinstance(place.step.model, ChildWorkflow):
                # Its own `retry` counts anew; attempts of activities do by themselves.
                place.record.attempts = 0
            self._engine.begin_again(place, new_keys=False)
        elif action == "skip":
            self._engine.settle(place, "skipped")
        else:
            self.complete_handled(place, output)
