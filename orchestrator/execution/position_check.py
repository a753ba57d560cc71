"""Whether a position that came from outside belongs to its definition; one that does not could never go on."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.state import ROOT, ExecutionState, ScopeState


def misfit(definition: CompiledDefinition, state: ExecutionState) -> str | None:
    """Say what of a position does not fit its definition, or itself; None where all does."""
    if ROOT not in state.scopes:
        return "it has no root scope"
    closed = frozenset(state.retained)
    if not closed <= set(state.scopes):
        return "it has lost closed scopes"
    for scope_id, scope in state.scopes.items():
        why = _of_scope(definition, state, scope_id, scope, closed=scope_id in closed)
        if why is not None:
            return why
    known = {(scope_id, step_id) for scope_id, scope in state.scopes.items() for step_id in scope.steps}
    lost = next((place for place in _named(state) if place not in known), None)
    if lost is not None:
        return f"there is no step '{lost[1]}' in a scope '{lost[0]}'"
    undone = (item for item in state.compensations if (item.step_id, "compensate") not in definition.scopes)
    return next((f"step '{item.step_id}' has nothing that undoes it" for item in undone), None)


def _of_scope(
    definition: CompiledDefinition, state: ExecutionState, scope_id: str, scope: ScopeState, *, closed: bool
) -> str | None:
    compiled = definition.scopes.get((scope.owner, scope.part))
    if compiled is None or scope.scope_id != scope_id:
        return f"the definition has no scope '{scope_id}'"
    if list(scope.steps) != list(compiled.steps):
        return f"scope '{scope_id}' has other steps than the definition"
    if closed:
        # It is only looked at; what held it may be gone.
        return None
    parent = state.scopes.get(scope.parent) if scope.parent is not None else None
    if scope.parent is not None and (parent is None or scope.owner not in parent.steps):
        return f"nothing holds scope '{scope_id}'"
    if scope.sees is not None and scope.sees not in state.scopes:
        return f"what scope '{scope_id}' sees is missing"
    lost = next((name for record in scope.steps.values() for name in record.scopes if name not in state.scopes), None)
    return None if lost is None else f"scope '{lost}' is missing"


def _named(state: ExecutionState) -> Iterator[tuple[str, str]]:
    """Give every step that something outside the scopes names."""
    yield from state.ready
    for timer in state.timers.values():
        yield timer.scope_id, timer.step_id
    for compensation in state.compensations:
        yield compensation.scope_id, compensation.step_id
