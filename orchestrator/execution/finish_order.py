"""Which of several `finish` steps decides: the first in definition order, then in the order of the items."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.definition.compiled import CompiledStep
from orchestrator.definition.models import Finish
from orchestrator.execution.engine import Engine, Place
from orchestrator.execution.ready_queue import Entry

FINISH_IN_ORDER = "finish-in-order"
"""Patch: before, the first of several `finish` steps in the queue decided."""


def before_finish(engine: Engine, taken: tuple[int, Entry], patched: Callable[[str], bool]) -> tuple[int, Entry]:
    """Return what begins now: before a `finish` what may finish the execution too and stands before it.

    Args:
        engine: the shared core.
        taken: the next step of the queue; it goes back where another one is returned.
        patched: whether this execution follows a rule that came later.
    """
    entry = taken[1]
    if entry[0] not in engine.runs or not isinstance(_step(engine, entry).model, Finish):
        return taken
    limit = _order(engine, entry)
    rivals = [item for item in engine.ready if item[0] in engine.runs and _may_finish(_step(engine, item))]
    before = [item for item in rivals if _order(engine, item) < limit]
    if not before or not patched(FINISH_IN_ORDER):
        return taken
    return engine.ready.take_instead(taken, min(before, key=lambda item: _order(engine, item)))


def _step(engine: Engine, item: Entry) -> CompiledStep:
    return engine.definition.steps[item[1]]


def _may_finish(step: CompiledStep) -> bool:
    if isinstance(step.model, Finish):
        return True
    return step.is_block and any(
        _may_finish(inner)
        for part, scope in step.scopes.items()
        if part != "compensate" and not part.startswith("handler:")
        for inner in scope.steps.values()
    )


def _order(engine: Engine, item: Entry) -> tuple[int, ...]:
    """Return a key that sorts steps as the document has them, and items by their numbers."""
    place: Place | None = engine.place(*item)
    key: list[int] = []
    while place is not None:
        owner = engine.owner_of(place.run)
        key.append(list(place.run.compiled.steps).index(place.step.step_id))
        if owner is not None:
            key.append(owner.record.scopes.index(place.run.scope_id))
        place = owner
    return tuple(reversed(key))
