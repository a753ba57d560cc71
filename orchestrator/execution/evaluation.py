"""Evaluates a definition's expressions against an execution's state, metered per activation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator.execution.clock import iso
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.state import ExecutionState
from orchestrator.execution.views import StepsContext, error_context
from orchestrator.expressions import Expression, ExpressionError, Meter, Template

WORK_PER_ACTIVATION = 1_000_000
"""Work units before the machine yields: Temporal ends a workflow task that computes for 2 s."""


class Evaluator:
    """Knows the names that expressions see, the time, and what this activation has spent.

    Args:
        state: the execution.
        uuid: gives a fresh id, the same on every replay.
    """

    def __init__(self, state: ExecutionState, uuid: Callable[[], str]) -> None:
        self._state = state
        self._uuid = uuid
        self._now = ""
        self._meter = Meter()
        self._context: dict[str, Any] = {}

    def at(self, now: datetime) -> None:
        """Set the time of the present event, and let expressions see the state as it now is."""
        self._now = iso(now)
        state = self._state
        self._context = {
            "input": state.input,
            "vars": state.vars,
            "steps": StepsContext(state.scopes[""]),
            "run": {
                "id": state.execution_id,
                "workflow_id": state.workflow_id,
                "version": state.workflow_version,
                "attempt": state.lineage.attempt,
                "started_at": state.started_at,
                "error": error_context(state.error),
            },
        }

    def new_activation(self) -> None:
        """Start a new budget of work units."""
        self._meter = Meter()

    @property
    def exhausted(self) -> bool:
        """Whether this activation has spent its work units."""
        return self._meter.work >= WORK_PER_ACTIVATION

    def now(self) -> str:
        """Return the time of the present event, ISO 8601 in UTC (the expression host's `now()`)."""
        return self._now

    def uuid(self) -> str:
        """Return a fresh id, the same on every replay (the expression host's `uuid()`)."""
        return self._uuid()

    def render(self, template: Template, **names: Any) -> Any:
        """Return the template's value; `names` are seen beside the common ones.

        Raises:
            ExpressionError: an expression failed.
        """
        context = {**self._context, **names} if names else self._context
        return template.render(context, host=self, meter=self._meter)

    def condition(self, condition: Expression | bool | None) -> bool:
        """Return whether a condition holds; an absent one does.

        Raises:
            ExpressionError: it failed, or gave no boolean.
        """
        if isinstance(condition, Expression):
            return condition.evaluate_condition(self._context, host=self, meter=self._meter)
        return condition is not False


def expression_failure(error: ExpressionError, step_path: str | None) -> ErrorInfo:
    """Return the error of a step, or of the document's `output`, whose expression failed."""
    where = f"step '{step_path}'" if step_path else "the document"
    message = f"{where}, {error.pointer}: {error.message}"
    return ErrorInfo(type=error.code, message=message, step=step_path, details=error.to_dict())
