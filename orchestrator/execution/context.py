"""What expressions see at a place of the execution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.state import ROOT, ExecutionState, ScopeState, StepRecord


def chain(state: ExecutionState, scope: ScopeState) -> Iterator[ScopeState]:
    """Give a scope and those around it, innermost first; the document's end scopes see the root."""
    current: ScopeState | None = scope
    while current is not None:
        yield current
        around = current.parent if current.parent is not None else current.sees
        if around is not None:
            current = state.scopes.get(around)
        elif current.scope_id != ROOT:
            current = state.scopes.get(ROOT)
        else:
            current = None


def variables(state: ExecutionState, scope: ScopeState) -> dict[str, Any]:
    """Return `vars` as a scope sees them: the run's, with what its branch or item assigned over them."""
    layers = [found.vars for found in chain(state, scope) if found.vars]
    if not layers:
        return state.vars
    merged = dict(state.vars)
    for layer in reversed(layers):
        merged.update(layer)
    return merged


def context_of(state: ExecutionState, scope: ScopeState) -> dict[str, Any]:
    """Return every name that expressions of a scope see."""
    scopes = list(chain(state, scope))
    context: dict[str, Any] = {
        "input": state.input,
        "vars": variables(state, scope),
        "steps": StepsContext(scopes, lenient=_ends(scopes)),
        "run": {
            "id": state.execution_id,
            "workflow_id": state.workflow_id,
            "version": state.workflow_version,
            "attempt": state.lineage.attempt,
            "started_at": state.started_at,
            "error": error_context(state.error),
        },
    }
    for found in reversed(scopes):
        context.update(found.names)
    return context


def _ends(scopes: list[ScopeState]) -> bool:
    """Whether a chain of scopes leads through `on_failure` or `on_cancel`: one beside the root that sees it."""
    return len(scopes) > 1 and scopes[-2].parent is None and scopes[-2].sees is None


class StepsContext(Mapping[str, Mapping[str, Any]]):
    """`steps` as expressions see it: by id, in this scope or those around it, made when it is read.

    Args:
        scopes: innermost first.
        lenient: whether steps of the last scope are read leniently.
    """

    def __init__(self, scopes: list[ScopeState], *, lenient: bool = False) -> None:
        self._scopes = scopes
        self._lenient = scopes[-1] if lenient else None

    def passes_null(self, step_id: str) -> bool:
        """Whether a path on from a field of this step that is null is null: in an end scope, of a root step."""
        return self._lenient is not None and step_id in self._lenient.steps

    def __getitem__(self, step_id: str) -> Mapping[str, Any]:
        for scope in self._scopes:
            record = scope.steps.get(step_id)
            if record is not None:
                return step_context(record)
        raise KeyError(step_id)

    def __iter__(self) -> Iterator[str]:
        return (step_id for scope in self._scopes for step_id in scope.steps)

    def __len__(self) -> int:
        return sum(len(scope.steps) for scope in self._scopes)


def step_context(record: StepRecord) -> dict[str, Any]:
    """Return one step as expressions see it; output and error are null until there is one."""
    return {
        "output": record.value,
        "status": record.state,
        "error": error_context(record.error),
        "errors": record.errors,
        "attempts": record.attempts,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
    }


def error_context(error: ErrorInfo | None) -> dict[str, Any] | None:
    """Return an error as expressions see it."""
    return error.model_dump(exclude_none=True) if error else None
