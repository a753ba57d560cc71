"""Steps that hold scopes: switch, parallel, foreach, loop."""

from __future__ import annotations

import math
from typing import Any

from orchestrator.definition.models import AtLeast, Foreach, Loop, Parallel, Switch
from orchestrator.execution.engine import Engine, Place, ScopeRun
from orchestrator.execution.errors_steps import StepFailure
from orchestrator.execution.evaluation import failure_of
from orchestrator.execution.live_data import json_bytes, scope_bytes
from orchestrator.execution.messages import ErrorInfo
from orchestrator.execution.steps import StepEnds
from orchestrator.expressions import Expression


class Blocks:
    """Moves the cursors of blocks.

    Args:
        engine: the shared core.
        ends: completes and fails steps.
    """

    def __init__(self, engine: Engine, ends: StepEnds) -> None:
        self._engine = engine
        self._ends = ends

    def begin(self, place: Place, fields: dict[str, Any]) -> None:
        """Begin a block.

        Raises:
            ExpressionError: a condition or the items failed.
            StepFailure: the items are no list.
        """
        model = place.step.model
        if isinstance(model, Switch):
            self._begin_switch(place, model)
        elif isinstance(model, Parallel):
            self._engine.data.note(place.run.state, place.record, 2)
            self._engine.data.hold(place.run.state, place.record, 0)
            place.record.cursor = {"waiting": list(model.branches), "outputs": {}, "errors": [], "vars": []}
            self._more_branches(place, model)
        elif isinstance(model, Foreach):
            self._begin_foreach(place, model, fields)
        elif isinstance(model, Loop):
            place.record.cursor = {"iteration": 0, "previous": None}
            self._next_iteration(place, model)

    def closed(self, place: Place, run: ScopeRun, output: Any, error: ErrorInfo | None) -> None:
        """Go on after one of a block's scopes closed, with its output or its error."""
        model = place.step.model
        if isinstance(model, Parallel):
            self._branch_closed(place, model, run, output, error)
        elif isinstance(model, Foreach):
            self._item_closed(place, model, run, output, error)
        elif error is not None:
            self._ends.fail(place, carried(error, place))
        elif isinstance(model, Loop):
            self._engine.data.note(place.run.state, place.record, scope_bytes(run.compiled, run.state, output))
            self._iteration_closed(place, model, run, output)
        else:
            self._ends.complete(place, output, scope_bytes(run.compiled, run.state, output))

    def go_on(self, place: Place) -> None:
        """Go on with a block of a recovered position: its open scopes do by themselves."""
        model, cursor = place.step.model, _cursor(place)
        if isinstance(model, Parallel):
            self._more_branches(place, model)
            if not place.record.scopes and "concluded" not in cursor:
                self._conclude_parallel(place, model)
        elif isinstance(model, Foreach):
            self._more_items(place, model)
            if not place.record.scopes and "concluded" not in cursor:
                self._conclude_foreach(place)
        elif isinstance(model, Loop) and not place.record.scopes and not self._waits_between(place):
            self._next_iteration(place, model)

    def _waits_between(self, place: Place) -> bool:
        """Whether the pause before a loop's next iteration runs: the one before has just closed."""
        return f"{place.path}~delay" in self._engine.state.timers

    def delay_over(self, place: Place) -> None:
        """Go on with a loop after the pause between two iterations."""
        if isinstance(place.step.model, Loop):
            self._next_iteration(place, place.step.model)

    def _open(self, place: Place, part: str, prefix: str, *, isolated: bool = False, **names: Any) -> None:
        """Open one of the block's scopes; assignments in an isolated one stay inside until the block ends."""
        self._engine.open_scope(
            place.step.scopes[part], f"{prefix}:{part}", prefix, owner=place, names=names, isolated=isolated
        )

    # --- switch ---------------------------------------------------------------------------------------------------

    def _begin_switch(self, place: Place, model: Switch) -> None:
        place.record.cursor = {}
        for index in range(len(model.cases)):
            part = f"case:{index}"
            if self._engine.evaluator.condition(place.step.conditions[part], place.run.state):
                self._open(place, part, place.path)
                return
        if "default" in place.step.scopes:
            self._open(place, "default", place.path)
        else:
            self._ends.complete(place, None)

    # --- parallel -------------------------------------------------------------------------------------------------

    def _more_branches(self, place: Place, model: Parallel) -> None:
        cursor = _cursor(place)
        most = model.max_concurrency or len(model.branches)
        while cursor["waiting"] and len(place.record.scopes) < most and "decided" not in cursor:
            self._open(place, f"branch:{cursor['waiting'].pop(0)}", place.path, isolated=True)

    def _branch_closed(
        self, place: Place, model: Parallel, run: ScopeRun, output: Any, error: ErrorInfo | None
    ) -> None:
        cursor, name = _cursor(place), run.state.part.removeprefix("branch:")
        if error is None:
            cursor["outputs"][name] = output
            self._collect(place, run, output, len(name) + 4)
            self._note_vars(place, cursor, name, run)
        else:
            self._note_error(place, cursor, name, error)
        if "decided" not in cursor:
            self._judge(place, model, error)
        if "concluded" in cursor:
            return
        self._more_branches(place, model)
        if not place.record.scopes and ("decided" in cursor or not cursor["waiting"]):
            self._conclude_parallel(place, model)

    def _judge(self, place: Place, model: Parallel, error: ErrorInfo | None) -> None:
        """Decide a parallel early: enough branches completed, or enough can no longer complete."""
        cursor = _cursor(place)
        done, failed, total = len(cursor["outputs"]), len(cursor["errors"]), len(model.branches)
        when = model.complete_when
        if when == "settled":
            return
        if when == "all":
            if error is not None:
                self._decide(place, carried(error, place))
            return
        needed = when.at_least if isinstance(when, AtLeast) else 1
        if done >= needed:
            self._decide(place, None)
        elif total - failed < needed:
            message = f"step '{place.path}': {done} of {total} branches completed, {needed} were needed"
            cause = ErrorInfo.model_validate(cursor["errors"][0][1])
            self._decide(place, ErrorInfo(type="join-unmet", message=message, step=place.path, cause=cause))

    def _decide(self, place: Place, error: ErrorInfo | None) -> None:
        _cursor(place)["decided"] = error.model_dump(exclude_none=True) if error is not None else None
        why = ErrorInfo(type="cancelled", message=f"step '{place.path}' was decided without this branch")
        for scope_id in list(place.record.scopes):
            self._engine.end_scope(self._engine.runs[scope_id], why)

    def _conclude_parallel(self, place: Place, model: Parallel) -> None:
        cursor, order = _cursor(place), list(model.branches)
        # Losers without anything in flight close while the winner's end is dealt with.
        cursor["concluded"] = True
        errors = dict(cursor["errors"])
        place.record.errors = {name: errors[name] for name in order if name in errors}
        if not self._failed(place, cursor):
            self._merge_vars(place, sorted(cursor["vars"], key=lambda pair: order.index(pair[0])))
            output = {name: cursor["outputs"].get(name) for name in order}
            self._ends.complete(place, output, place.record.bytes)

    def _failed(self, place: Place, cursor: dict[str, Any]) -> bool:
        if not cursor.get("decided"):
            return False
        self._ends.fail(place, ErrorInfo.model_validate(cursor["decided"]))
        return True

    def _collect(self, place: Place, run: ScopeRun, output: Any, around: int) -> None:
        """Take note of one more output; where they are too much together, the block ends early."""
        size = place.record.bytes + scope_bytes(run.compiled, run.state, output) + around
        self._engine.data.note(place.run.state, place.record, size)
        try:
            self._engine.data.require_collectable(f"step '{place.path}'", size)
        except StepFailure as error:
            if "decided" not in _cursor(place):
                self._decide(place, failure_of(error, place.path))

    def _note_vars(self, place: Place, cursor: dict[str, Any], key: str | int, run: ScopeRun) -> None:
        if run.state.vars:
            cursor["vars"].append([key, run.state.vars])
            self._hold_more(place, run.state.vars)

    def _note_error(self, place: Place, cursor: dict[str, Any], key: str | int, error: ErrorInfo) -> None:
        shown = error.model_dump(exclude_none=True)
        cursor["errors"].append([key, shown])
        self._hold_more(place, shown)

    def _hold_more(self, place: Place, value: Any) -> None:
        self._engine.data.hold(place.run.state, place.record, place.record.held + json_bytes(value))

    # --- foreach --------------------------------------------------------------------------------------------------

    def _begin_foreach(self, place: Place, model: Foreach, fields: dict[str, Any]) -> None:
        expression = place.step.conditions.get("items")
        if isinstance(expression, Expression):
            items = self._engine.evaluator.value(expression, place.run.state)
        else:
            items = fields.get("items", [])
        if not isinstance(items, list):
            raise StepFailure(f"step '{place.path}': 'items' is no list", code="invalid-step-input")
        size = json_bytes(items)
        self._engine.data.require_room(place.path, size)
        self._engine.data.note(place.run.state, place.record, 2)
        self._engine.data.hold(place.run.state, place.record, size)
        place.record.cursor = {"items": items, "next": 0, "outputs": [None] * len(items), "errors": [], "vars": []}
        self._more_items(place, model)
        if not items:
            self._conclude_foreach(place)

    def _more_items(self, place: Place, model: Foreach) -> None:
        cursor = _cursor(place)
        items = cursor["items"]
        again: list[int] = cursor.get("again", [])
        while again or cursor["next"] < len(items):
            if "decided" in cursor or len(place.record.scopes) >= model.max_concurrency:
                return
            if again:
                index = again.pop(0)
            else:
                index = cursor["next"]
                cursor["next"] = index + 1
            cursor.setdefault("open", []).append(index)
            names = {"item": items[index], "index": index}
            if model.as_:
                names[model.as_] = items[index]
            self._open(place, "body", f"{place.path}[{index}]", isolated=True, **names)

    def _item_closed(self, place: Place, model: Foreach, run: ScopeRun, output: Any, error: ErrorInfo | None) -> None:
        cursor, index = _cursor(place), run.state.names["index"]
        if error is None or "decided" not in cursor:
            _no_longer_open(cursor, index)
        if error is None:
            cursor["outputs"][index] = output
            self._collect(place, run, output, 1)
            self._note_vars(place, cursor, index, run)
        elif "decided" not in cursor:
            self._note_error(place, cursor, index, error)
            if len(cursor["errors"]) > _tolerated(model, len(cursor["items"])):
                self._decide(place, carried(error, place))
        if "concluded" in cursor:
            return
        self._more_items(place, model)
        over = "decided" in cursor or (cursor["next"] >= len(cursor["items"]) and not cursor.get("again"))
        if not place.record.scopes and over:
            self._conclude_foreach(place)

    def _conclude_foreach(self, place: Place) -> None:
        cursor = _cursor(place)
        cursor["concluded"] = True
        errors = sorted(cursor["errors"], key=lambda pair: int(pair[0]))
        place.record.errors = [{"index": index, "error": error} for index, error in errors]
        if not self._failed(place, cursor):
            self._merge_vars(place, sorted(cursor["vars"], key=lambda pair: int(pair[0])))
            self._ends.complete(place, cursor["outputs"], place.record.bytes)

    # --- loop -----------------------------------------------------------------------------------------------------

    def _next_iteration(self, place: Place, model: Loop) -> None:
        cursor = _cursor(place)
        loop = {"iteration": cursor["iteration"], "previous": cursor["previous"]}
        condition = place.step.conditions["while"]
        if model.while_ is not None:
            if not self._engine.evaluator.condition(condition, place.run.state, loop=loop):
                self._ends.complete(place, cursor["previous"])
                return
            if cursor["iteration"] >= model.max_iterations:
                self._exhausted(place, model)
                return
        self._open(place, "body", f"{place.path}[{cursor['iteration']}]", loop=loop)

    def _iteration_closed(self, place: Place, model: Loop, run: ScopeRun, output: Any) -> None:
        cursor = _cursor(place)
        cursor["previous"] = output
        cursor["iteration"] += 1
        if model.until is not None:
            if self._engine.evaluator.condition(run.compiled.conditions["until"], run.state):
                self._ends.complete(place, output)
                return
            if cursor["iteration"] >= model.max_iterations:
                self._exhausted(place, model)
                return
        if model.delay_seconds:
            self._engine.start_timer("delay", place, model.delay_seconds, f"{place.step.model.label}: next iteration")
        else:
            self._next_iteration(place, model)

    def _exhausted(self, place: Place, model: Loop) -> None:
        message = f"step '{place.path}': the condition was not met after {model.max_iterations} iterations"
        self._ends.fail(place, ErrorInfo(type="loop-exhausted", message=message, step=place.path))

    # --- variables ------------------------------------------------------------------------------------------------

    def _merge_vars(self, place: Place, layers: list[list[Any]]) -> None:
        for _, layer in layers:
            self._ends.assign(place, layer)


def _no_longer_open(cursor: dict[str, Any], index: int) -> None:
    # A position carried from before items were noted has none.
    if index in cursor.get("open", []):
        cursor["open"].remove(index)


def _cursor(place: Place) -> dict[str, Any]:
    cursor = place.record.cursor
    if cursor is None:
        cursor = place.record.cursor = {}
    return cursor


def _tolerated(model: Foreach, total: int) -> int:
    """Return how many items may fail; both bounds of `tolerate` must be kept where both are given."""
    if model.tolerate is None:
        return 0
    bounds = [model.tolerate.count] if model.tolerate.count is not None else []
    if model.tolerate.percent is not None:
        bounds.append(math.floor(total * model.tolerate.percent / 100))
    return min(bounds, default=0)


def carried(error: ErrorInfo, block: Place) -> ErrorInfo:
    """Return an inner step's error as its block's: the same type, step and message, and who carried it."""
    return error.model_copy(update={"via": block.path})
