"""Warnings about what can never run, never end or never be set, each with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from orchestrator.definition.compiled import CompiledScope, CompiledStep
from orchestrator.definition.dead_ends import DeadEnds, constant, is_endless
from orchestrator.definition.issues import Issue
from orchestrator.definition.models import AtLeast, Loop, Switch


def never_run(scope: CompiledScope, order: Iterable[str], ends: DeadEnds) -> dict[str, Issue]:
    """Return a warning for every step that can never run.

    Args:
        scope: without a cycle.
        order: its steps, each after those that it waits for.
        ends: of its document.
    """
    lost = {name for name, step in scope.steps.items() if ends.never_completes(scope, step)}
    final = ends.ends_for_sure(scope)
    found: dict[str, Issue] = {}
    for step_id in order:
        step = scope.steps[step_id]
        reason = _own_reason(step) or _join_reason(step, found, lost, final) or _read_reason(step, found, lost, final)
        if reason is not None:
            why, pointer = reason
            found[step_id] = Issue("unreachable-step", f"step '{step_id}' never runs: {why}", pointer)
    return found


def _own_reason(step: CompiledStep) -> tuple[str, str] | None:
    return ("its 'when' is false", f"{step.pointer}/when") if constant(step.when) is False else None


def _join_reason(
    step: CompiledStep, never: Mapping[str, Issue], lost: Set[str], final: Set[str]
) -> tuple[str, str] | None:
    join = step.model.join
    if join == "settled":
        blocked = [name for name in step.listed if name in final]
        open_enough = not blocked
    else:
        blocked = [name for name in step.listed if name in never or name in lost]
        needed = join.at_least if isinstance(join, AtLeast) else 1 if join == "any" else len(step.listed)
        # More than there are is an error of its own.
        open_enough = not blocked or len(step.listed) - len(blocked) >= needed
    if open_enough:
        return None
    why = _blocking(blocked[0], never, final)
    if join != "all" and len(step.listed) > 1:
        why = f"its join can never be met; {why}"
    return why, f"{step.pointer}/depends_on/{step.model.depends_on.index(blocked[0])}"


def _read_reason(
    step: CompiledStep, never: Mapping[str, Issue], lost: Set[str], final: Set[str]
) -> tuple[str, str] | None:
    for name, strict in step.inferred.items():
        if (strict and (name in never or name in lost)) or name in final:
            place = next(item.pointer for item in step.outward if item.step_id == name)
            return f"it reads '{name}', and {_blocking(name, never, final)}", place
    return None


def _blocking(name: str, never: Mapping[str, Issue], final: Set[str]) -> str:
    if name in never:
        return f"'{name}' never runs"
    return f"'{name}' always ends the scope" if name in final else f"'{name}' never completes"


def dead_reads(scope: CompiledScope, never: dict[str, Issue]) -> Iterator[Issue]:
    """Warn of reads that always give null, because the step never runs."""
    outward = [item for name, step in scope.steps.items() if name not in never for item in step.outward]
    own = [item for group in scope.references for item in group.items if item.root == "steps"]
    for item in (*outward, *own):
        if item.step_id in never:
            message = f"step '{item.step_id}' never runs, so this is always the same"
            yield Issue("dead-read", message, item.pointer, "read a step that can run", item.expression, item.column)


def dead_blocks(scope: CompiledScope) -> Iterator[Issue]:
    """Warn of loops that cannot end well, and of cases and bodies that cannot run."""
    for step in scope.steps.values():
        if isinstance(step.model, Loop):
            yield from _loop(step, step.model)
        elif isinstance(step.model, Switch):
            yield from _switch(step, step.model)


def _loop(step: CompiledStep, model: Loop) -> Iterator[Issue]:
    name = "while" if model.while_ is not None else "until"
    if model.while_ is not None and constant(step.conditions["while"]) is False:
        message = f"the steps of loop '{step.step_id}' never run: its 'while' is false"
        yield Issue("unreachable-step", message, f"{step.pointer}/while")
    elif is_endless(step):
        message = (
            f"loop '{step.step_id}' never ends by its '{name}': after {model.max_iterations:,} iterations it fails"
        )
        hint = "write a condition that changes; for a fixed number of rounds use foreach over range(n)"
        yield Issue("endless-loop", message, f"{step.pointer}/{name}", hint)


def _switch(step: CompiledStep, model: Switch) -> Iterator[Issue]:
    taken: int | None = None
    for index in range(len(model.cases)):
        always = constant(step.conditions[f"case:{index}"])
        where = f"{step.pointer}/cases/{index}"
        if taken is not None:
            yield _shadowed(step, f"case {index}", taken, where)
        elif always is False:
            message = f"case {index} of switch '{step.step_id}' never runs: its 'when' is false"
            yield Issue("unreachable-step", message, f"{where}/when")
        elif always is True:
            taken = index
    if taken is not None and model.default is not None:
        yield _shadowed(step, "the default", taken, f"{step.pointer}/default")


def _shadowed(step: CompiledStep, what: str, taken: int, pointer: str) -> Issue:
    message = f"{what} of switch '{step.step_id}' never runs: case {taken} is always true"
    return Issue("unreachable-step", message, pointer, "put the case that is always true last, as 'default'")
