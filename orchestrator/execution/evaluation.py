"""Evaluates a definition's expressions against an execution's state, metered per activation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from orchestrator.execution.clock import iso
from orchestrator.execution.context import context_of
from orchestrator.execution.error_bounds import clean_text
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.messages_secrets import SecretSlot, slots_of
from orchestrator.execution.state import ExecutionState, ScopeState
from orchestrator.expressions import Expression, ExpressionError, Meter, Template

WORK_PER_ACTIVATION = 1_000_000
"""Work units before the machine yields: Temporal ends a workflow task that computes for 2 s."""
WORK_PER_STEP = 2_000_000
"""Work units of all expressions with which one step begins or ends: a switch may have any number of conditions."""
EVENTS_METERED = "events-metered"
"""Before this rule all events of an activation were taken at once, whatever their expressions cost."""


class Evaluator:
    """Knows the names that expressions see, the time, and what this activation has spent.

    Args:
        state: the execution.
        uuid: gives a fresh id, the same on every replay.
        patched: whether this execution follows a rule that came later.
    """

    def __init__(self, state: ExecutionState, uuid: Callable[[], str], patched: Callable[[str], bool]) -> None:
        self._state = state
        self._uuid = uuid
        self._now = ""
        self._meter = Meter()
        self._begun = 0
        self._patched = patched
        self._contexts: dict[str, dict[str, Any]] = {}

    def at(self, now: datetime) -> None:
        """Set the time of the present event, and let expressions see the state as it now is."""
        self._now = iso(now)
        self.begin()
        self.forget()

    def begin(self) -> None:
        """Start a new budget for what begins or ends now."""
        self._begun = self._meter.work

    def forget(self) -> None:
        """Let expressions see variables, and names of scopes, as they now are."""
        self._contexts.clear()

    def new_activation(self) -> None:
        """Start a new budget of work units."""
        self._meter, self._begun = Meter(), 0

    @property
    def exhausted(self) -> bool:
        """Whether this activation has spent its work units."""
        return self._meter.work >= WORK_PER_ACTIVATION

    @property
    def spent(self) -> bool:
        """Whether what an event leaves to do has to wait for the next activation; steps that are ready always do."""
        return self.exhausted and self._patched(EVENTS_METERED)

    def now(self) -> str:
        """Return the time of the present event, ISO 8601 in UTC (the expression host's `now()`)."""
        return self._now

    def uuid(self) -> str:
        """Return a fresh id, the same on every replay (the expression host's `uuid()`)."""
        return self._uuid()

    def render(self, template: Template, scope: ScopeState, **names: Any) -> Any:
        """Return the template's value in a scope; `names` are seen beside the scope's own.

        Raises:
            ExpressionError: an expression failed.
        """
        self._require_budget()
        return template.render(self._context(scope, names), host=self, meter=self._meter)

    def render_field(self, name: str, template: Template, scope: ScopeState) -> tuple[Any, list[SecretSlot]]:
        """Return the value of a step's field, and where in it the activity puts secrets.

        Raises:
            ExpressionError: an expression failed.
        """
        if not template.has_secrets:
            return self.render(template, scope), []
        self._require_budget()
        value, slots = template.render_with_secrets(self._context(scope, {}), host=self, meter=self._meter)
        return value, slots_of(name, slots)

    def value(self, expression: Expression, scope: ScopeState, **names: Any) -> Any:
        """Return a bare expression's value in a scope.

        Raises:
            ExpressionError: it failed.
        """
        self._require_budget()
        return expression.evaluate(self._context(scope, names), host=self, meter=self._meter)

    def condition(self, condition: Expression | bool | None, scope: ScopeState, **names: Any) -> bool:
        """Return whether a condition holds in a scope; an absent one does.

        Raises:
            ExpressionError: it failed, or gave no boolean.
        """
        if isinstance(condition, Expression):
            self._require_budget()
            return condition.evaluate_condition(self._context(scope, names), host=self, meter=self._meter)
        return condition is not False

    def _require_budget(self) -> None:
        if self._meter.work - self._begun >= WORK_PER_STEP and self._patched(EVENTS_METERED):
            raise ExpressionError(
                "E_LIMIT",
                f"the expressions with which a step begins or ends need over {WORK_PER_STEP:,} units of work together",
                hint="compute a part of them in steps of their own",
            )

    def _context(self, scope: ScopeState, names: dict[str, Any]) -> dict[str, Any]:
        context = self._contexts.get(scope.scope_id)
        if context is None:
            context = self._contexts[scope.scope_id] = context_of(self._state, scope)
        return {**context, **names} if names else context


def failure_of(error: OrchestratorError | ExpressionError, path: str | None) -> ErrorInfo:
    """Return one of our errors as the error of a step, or of the execution."""
    if isinstance(error, ExpressionError):
        return expression_failure(error, path)
    return ErrorInfo(type=error.code, message=clean_text(error.message), step=path, details=error.details)


def expression_failure(error: ExpressionError, path: str | None) -> ErrorInfo:
    """Return the error of a step, or of the document's `output`, whose expression failed."""
    where = f"step '{path}'" if path else "the document"
    message = f"{where}, {error.pointer}: {error.message}"
    return ErrorInfo(type=error.code, message=message, step=path, details=error.to_dict())
