"""Warnings about `vars`: reads and writes whose order nobody fixes, and writes that are lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from orchestrator.definition.compiled import CompiledScope, CompiledStep
from orchestrator.definition.issues import Issue, pointer_to
from orchestrator.definition.models import Assign, Foreach, Parallel
from orchestrator.expressions import Reference

Writes = dict[str, tuple[str, CompiledStep]]
"""Variable to the pointer and the step of its first assignment."""


def variable_issues(scope: CompiledScope, order: Sequence[str]) -> Iterator[Issue]:
    """Warn of the steps of one scope.

    Args:
        scope: without a cycle.
        order: its steps, each after those that it waits for.
    """
    writes = {step_id: found for step_id, step in scope.steps.items() if (found := _writes([step]))}
    if not writes:
        return
    yield from _unordered(scope, order, writes)
    for step_id in writes:
        step = scope.steps[step_id]
        if isinstance(step.model, Parallel):
            yield from _branches(step, step.model)
        elif isinstance(step.model, Foreach):
            yield from _items(step)


def _inner(step: CompiledStep) -> Iterator[CompiledStep]:
    """Give the steps inside a step but its compensation, which sees the variables as they were."""
    for part, scope in step.scopes.items():
        if part != "compensate":
            yield from scope.steps.values()


def _all_inside(steps: Iterable[CompiledStep]) -> Iterator[CompiledStep]:
    pending = list(steps)
    while pending:
        step = pending.pop()
        yield step
        pending.extend(_inner(step))


def _writes(steps: Iterable[CompiledStep]) -> Writes:
    found: Writes = {}
    for step in _all_inside(steps):
        if isinstance(step.model, Assign):
            for name in step.model.values:
                found.setdefault(name, (pointer_to(["values", name], step.pointer), step))
    return found


def _reads(steps: Iterable[CompiledStep]) -> Iterator[Reference]:
    for step in _all_inside(steps):
        groups = [*step.references, *(group for scope in step.scopes.values() for group in scope.references)]
        yield from (item for group in groups for item in group.items if item.root == "vars")


# --- siblings -----------------------------------------------------------------------------------------------------


def _unordered(scope: CompiledScope, order: Sequence[str], writes: Mapping[str, Writes]) -> Iterator[Issue]:
    """Warn where one step sets a variable that another reads or sets, and neither waits for the other."""
    bits = {step_id: 1 << position for position, step_id in enumerate(order)}
    ordered = _ordered(scope, order, bits)
    writers: dict[str, int] = {}
    for step_id, found in writes.items():
        for name in found:
            writers[name] = writers.get(name, 0) | bits[step_id]
    every = 0
    for mask in writers.values():
        every |= mask
    for step_id in order:
        told: set[str] = set()
        free = ~ordered[step_id]
        for item in _reads([scope.steps[step_id]]):
            # Who reads `vars` as a whole is told of one writer: there may be thousands.
            others = (every if item.field is None else writers.get(item.field, 0)) & free
            if others and (item.field or "") not in told:
                writer = order[_lowest(others)]
                told.add(item.field or "")
                yield _unordered_read(item, step_id, item.field or next(iter(writes[writer])), writer)
        for name, (pointer, _) in writes.get(step_id, {}).items():
            # Of two, the later one tells; a step with a condition is perhaps the other arm of an either/or.
            others = writers[name] & free & (bits[step_id] - 1)
            if others and name not in told and not _either_or(scope, step_id, order[_lowest(others)]):
                yield _unordered_write(step_id, name, order[_lowest(others)], pointer)


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _ordered(scope: CompiledScope, order: Sequence[str], bits: Mapping[str, int]) -> dict[str, int]:
    """Return for each step, as a mask, itself and the steps that end before it begins or begin after it ended."""
    before: dict[str, int] = {}
    for step_id in order:
        step, mask = scope.steps[step_id], bits[step_id]
        for name in (*step.listed, *step.inferred):
            mask |= before.get(name, 0)
        before[step_id] = mask
    after: dict[str, int] = {}
    for step_id in reversed(order):
        mask = bits[step_id]
        for name in scope.dependents[step_id]:
            mask |= after.get(name, 0)
        after[step_id] = mask
    return {step_id: before[step_id] | after[step_id] for step_id in order}


def _either_or(scope: CompiledScope, one: str, other: str) -> bool:
    return scope.steps[one].when is not None and scope.steps[other].when is not None


def _unordered_read(item: Reference, reader: str, name: str, writer: str) -> Issue:
    message = f"step '{reader}' reads vars.{name}, which step '{writer}' sets, and neither waits for the other"
    hint = f"let '{reader}' depend on '{writer}' (or the other way round); else it sees the value of before or after"
    return Issue("unordered-read", message, item.pointer, hint, item.expression, item.column)


def _unordered_write(step_id: str, name: str, other: str, pointer: str) -> Issue:
    message = f"steps '{other}' and '{step_id}' both set vars.{name}, and neither waits for the other"
    hint = f"let '{step_id}' depend on '{other}', or set two variables; else the one that ends last wins"
    return Issue("unordered-write", message, pointer, hint)


# --- branches and items -------------------------------------------------------------------------------------------


def _branches(step: CompiledStep, model: Parallel) -> Iterator[Issue]:
    """Branches have copies of the variables: the last in definition order wins, and none sees another's."""
    inside = {name: list(step.scopes[f"branch:{name}"].steps.values()) for name in model.branches}
    writes = {branch: _writes(steps) for branch, steps in inside.items()}
    first: dict[str, str] = {}
    for branch, found in writes.items():
        for name, (pointer, _) in found.items():
            other = first.setdefault(name, branch)
            if other != branch and model.complete_when != "any":
                message = (
                    f"branches '{other}' and '{branch}' of '{step.step_id}' both set vars.{name}: the later one wins"
                )
                yield Issue("lost-write", message, pointer, "set two variables, or use the branches' outputs")
    for branch, steps in inside.items():
        for item in _reads(steps):
            writer = next((b for b, w in writes.items() if b != branch and item.field in w), None)
            if writer is not None and item.field not in writes[branch]:
                message = f"vars.{item.field} is set in branch '{writer}': branch '{branch}' sees it as it was before"
                hint = f"read it after '{step.step_id}', or move both into one branch"
                yield Issue("unordered-read", message, item.pointer, hint, item.expression, item.column)


def _items(step: CompiledStep) -> Iterator[Issue]:
    """Items have copies of the variables: nothing adds up over them."""
    assigns = [found for found in _all_inside(_inner(step)) if isinstance(found.model, Assign)]
    adding: dict[str, CompiledStep] = {}
    for found in assigns:
        own = {item.field for item in _reads([found])}
        for name in found.model.values if isinstance(found.model, Assign) else ():
            if name in own:
                adding.setdefault(name, found)
    begun = {name for found in assigns for name in _writes([found]) if adding.get(name) is not found}
    for name, found in adding.items():
        if name not in begun:
            message = (
                f"each item of '{step.step_id}' has its own copy of vars.{name}: only the last item's value is kept"
            )
            hint = f"give the value as 'item_output', and add up steps.{step.step_id}.output afterwards"
            yield Issue("lost-write", message, pointer_to(["values", name], found.pointer), hint)
