"""Warnings: what a definition may say and probably does not mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from orchestrator.definition.compiled import CompiledDefinition, CompiledScope, CompiledStep
from orchestrator.definition.dead_ends import DeadEnds, constant
from orchestrator.definition.graph import in_order
from orchestrator.definition.ignored_fields import ends_that_end_nothing, ignored_fields
from orchestrator.definition.issues import Issue
from orchestrator.definition.models import AtLeast
from orchestrator.definition.reachability import dead_blocks, dead_reads, never_run
from orchestrator.definition.shared_variables import variable_issues


def advise(definition: CompiledDefinition) -> list[Issue]:
    """Return every warning; a scope with a cycle has an error instead."""
    found: list[Issue] = []
    ends = DeadEnds(definition)
    for top in definition.tops():
        for scope in sorted(top.walk(), key=lambda item: item.pointer):
            order = in_order({step_id: (*step.listed, *step.inferred) for step_id, step in scope.steps.items()})
            if order is not None:
                found += _of_scope(scope, order, ends)
    return [*found, *ends_that_end_nothing(definition)]


def _of_scope(scope: CompiledScope, order: Sequence[str], ends: DeadEnds) -> Iterator[Issue]:
    never = never_run(scope, order, ends)
    yield from never.values()
    yield from dead_reads(scope, never)
    yield from dead_blocks(scope)
    yield from _skippable_reads(scope, order, never)
    yield from _exclusive_arms(scope, never)
    yield from variable_issues(scope, order)
    yield from ignored_fields(scope)


def _skippable_reads(scope: CompiledScope, order: Sequence[str], never: Collection[str]) -> Iterator[Issue]:
    conditional = {name: why for name, step in scope.steps.items() if name not in never and (why := _may_lack(step))}
    outward = [item for step in scope.steps.values() for item in step.outward]
    own = [item for group in scope.references for item in group.items if item.root == "steps"]
    # A step that reads a skipped one is skipped itself; a scope's output is evaluated whatever was skipped.
    lacking = _spread(scope, order, conditional) if own else conditional
    for reads, names in ((outward, conditional), (own, lacking)):
        for item in reads:
            if item.strict and item.step_id in names and item.step_id not in never:
                message = f"step '{item.step_id}' {names[item.step_id]}, and this reads it without a default"
                hint = "a strict read skips the reading step too; write `?.` or `?? …` to read null instead"
                yield Issue("skippable-read", message, item.pointer, hint, item.expression, item.column)


def _may_lack(step: CompiledStep) -> str | None:
    """Say why a step may end without an output."""
    if step.when is not None and constant(step.when) is not True:
        return "may be skipped"
    if any(handler.action == "continue" for handler in step.handlers):
        return "may fail and be tolerated"
    return None


def _spread(scope: CompiledScope, order: Sequence[str], conditional: dict[str, str]) -> dict[str, str]:
    """Add the steps that are skipped because of those that may lack an output."""
    found = dict(conditional)
    for step_id in order:
        step = scope.steps[step_id]
        join, lacking = step.model.join, sum(name in found for name in step.listed)
        needed = join.at_least if isinstance(join, AtLeast) else {"all": len(step.listed), "any": 1}.get(join, 0)
        unmet = len(step.listed) - lacking < needed
        if unmet or any(strict and name in found for name, strict in step.inferred.items()):
            found.setdefault(step_id, "may be skipped")
    return found


def _exclusive_arms(scope: CompiledScope, never: Collection[str]) -> Iterator[Issue]:
    for step in scope.steps.values():
        arms = [
            name
            for name in step.listed
            if name in scope.steps
            and name not in never
            and constant(scope.steps[name].when) is None
            and scope.steps[name].when is not None
        ]
        if step.model.join == "all" and len(arms) > 1:
            message = f"step '{step.step_id}' is skipped when any of {some(arms)} is skipped"
            hint = "where only one of them runs, join with 'any' or 'settled'"
            yield Issue("exclusive-join", message, f"{step.pointer}/depends_on", hint)


def some(names: Iterable[str]) -> str:
    """Return the first names of a list that may be long."""
    listed = list(names)
    return ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")
