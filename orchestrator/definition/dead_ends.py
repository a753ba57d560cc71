"""Steps that can never complete: what waits for them can never run.

Only what is written counts: a condition that is an expression may be true, items that are one may be none.
"""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep, Condition
from orchestrator.definition.graph import in_order
from orchestrator.definition.models import AtLeast, Fail, Finish, Foreach, Loop, Parallel, Switch
from orchestrator.expressions import Expression


def constant(condition: Condition) -> bool | None:
    """Return what a condition always is; None where that is not written in it."""
    if isinstance(condition, Expression):
        written = condition.source.strip().removeprefix("{{").removesuffix("}}").strip()
        return {"true": True, "false": False}.get(written)
    return condition


def is_endless(step: CompiledStep) -> bool:
    """Whether a loop's condition never ends it: after `max_iterations` it fails."""
    if not isinstance(step.model, Loop):
        return False
    if step.model.while_ is not None:
        return constant(step.conditions["while"]) is True
    return step.model.until is not None and constant(step.scopes["body"].conditions["until"]) is False


class DeadEnds:
    """Knows the dead ends of one document.

    Args:
        definition: compiled, faulty or not.
    """

    def __init__(self, definition: CompiledDefinition) -> None:
        self._late = cleaning_scopes(definition)
        self._dead: dict[str, bool] = {}

    def never_completes(self, scope: CompiledScope, step: CompiledStep) -> bool:
        """Whether a step is skipped, fails or finishes the execution, whatever happens."""
        if step.handlers:
            return False
        if isinstance(step.model, Fail):
            return True
        if isinstance(step.model, Finish):
            return scope.pointer not in self._late
        return is_endless(step) or self._holds_one(step)

    def ends_for_sure(self, scope: CompiledScope) -> set[str]:
        """Return the steps that nothing can skip and that never complete: they end their scope."""
        return {name for name in self._sure(scope) if self.never_completes(scope, scope.steps[name])}

    def _is_dead(self, scope: CompiledScope) -> bool:
        """Whether a scope always ends early."""
        known = self._dead.get(scope.pointer)
        if known is None:
            known = self._dead[scope.pointer] = bool(self.ends_for_sure(scope))
        return known

    def _holds_one(self, step: CompiledStep) -> bool:
        model, scopes = step.model, step.scopes
        if isinstance(model, Loop):
            return model.while_ is None and self._is_dead(scopes["body"])
        if isinstance(model, Foreach):
            some = isinstance(model.items, list) and bool(model.items)
            return some and model.tolerate is None and self._is_dead(scopes["body"])
        if isinstance(model, Switch):
            return self._ends_in_each_case(step, model)
        if isinstance(model, Parallel) and model.complete_when != "settled":
            alive = sum(not self._is_dead(scopes[f"branch:{name}"]) for name in model.branches)
            when = model.complete_when
            needed = when.at_least if isinstance(when, AtLeast) else 1 if when == "any" else len(model.branches)
            return alive < min(needed, len(model.branches))
        return False

    def _ends_in_each_case(self, step: CompiledStep, model: Switch) -> bool:
        for index in range(len(model.cases)):
            always = constant(step.conditions[f"case:{index}"])
            if always is not False and not self._is_dead(step.scopes[f"case:{index}"]):
                return False
            if always is True:
                return True
        return "default" in step.scopes and self._is_dead(step.scopes["default"])

    def _sure(self, scope: CompiledScope) -> list[str]:
        """Return the steps that begin unless their scope ends before; none where some wait for each other."""
        order = in_order({name: (*step.listed, *step.inferred) for name, step in scope.steps.items()})
        found: list[str] = []
        arriving: set[str] = set()
        for name in order or ():
            step = scope.steps[name]
            if constant(step.when) in (None, True) and not _is_open(step.when) and _begins(step, arriving):
                found.append(name)
                if not any(handler.action in ("continue", "park") for handler in step.handlers):
                    arriving.add(name)
        return found


def _is_open(condition: Condition) -> bool:
    return isinstance(condition, Expression) and constant(condition) is None


def _begins(step: CompiledStep, arriving: set[str]) -> bool:
    """Whether a step's join and its strict reads are met by steps that complete, or end the scope."""
    join = step.model.join
    needed = join.at_least if isinstance(join, AtLeast) else {"any": 1, "settled": 0}.get(join, len(step.listed))
    met = sum(name in arriving for name in step.listed) >= min(needed, len(step.listed))
    return met and all(name in arriving for name, strict in step.inferred.items() if strict)


def cleaning_scopes(definition: CompiledDefinition) -> set[str]:
    """Return the pointers of the scopes that run when the outcome is decided: a `finish` in them ends nothing."""
    found: set[str] = set()
    for top in definition.tops():
        late = top.part in ("on_failure", "on_cancel")
        starts: Iterable[CompiledScope] = [top] if late else [s for s in top.walk() if s.part == "compensate"]
        found |= {inner.pointer for start in starts for inner in start.walk()}
    return found
