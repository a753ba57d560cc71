"""Positions to go on from: what a retry and a rerun begin with, made from the position of an execution that ended."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import pairwise
from typing import Any

from orchestrator.definition.compiled import CompiledDefinition, CompiledStep
from orchestrator.definition.issues import Issue
from orchestrator.definition.models import Foreach, Loop, Parallel, Switch
from orchestrator.execution.budgets import Ledger, budget_of
from orchestrator.execution.errors import RequestError
from orchestrator.execution.live_data import held_bytes, json_bytes
from orchestrator.execution.messages import ErrorInfo, Lineage
from orchestrator.execution.paths import join_path
from orchestrator.execution.state import ROOT, ExecutionState, ScopeState, StepRecord
from orchestrator.expressions.suggestions import did_you_mean

_INDEX = re.compile(r"\[\d+\]")


def retried(definition: CompiledDefinition, ended: ExecutionState, previous_run: str | None) -> ExecutionState:
    """Return the position of the next attempt: what completed is kept, what did not goes on with the same keys.

    Completed steps that were undone run again, and so does what depends on them, with new keys: the effect under the
    old key is gone.

    Args:
        definition: the recorded one.
        ended: how the execution ended; left as it is.
        previous_run: the run that ended.
    """
    state = _running(ended)
    state.lineage = ended.lineage.model_copy(
        update={"retry_of": previous_run, "attempt": max(ended.lineage.attempt, 1) + 1}
    )
    if state.budget is not None:
        state.budget.reserved.clear()
    undone = {_root_id(path) for path in ended.undone} & set(definition.root.steps)
    _Recovery(definition, state).go_on(_with_dependents(definition, undone))
    known = set(state.scopes)
    state.compensations = [item for item in state.compensations if item.scope_id in known]
    return state


def rerun(
    definition: CompiledDefinition,
    ended: ExecutionState,
    execution_id: str,
    from_step: str,
    outputs: Mapping[str, Any] | None = None,
) -> ExecutionState:
    """Return the position of a new execution that runs a step and all that depends on it again.

    Args:
        definition: the recorded one.
        ended: how the execution ended; left as it is.
        execution_id: of the new execution.
        from_step: a step's path; inside a block, the whole block runs again.
        outputs: other outputs for steps that are kept, by path.

    Raises:
        RequestError: a path names no step, one that never ran, or one whose output cannot be set.
    """
    first = _known(definition, from_step, "/from_step")
    if not _ran(ended.scopes[ROOT].steps[first]):
        message = f"step '{first}' never ran in execution '{ended.execution_id}'"
        ran = [step_id for step_id, record in ended.scopes[ROOT].steps.items() if _ran(record)]
        hint = "steps that ran: " + ", ".join(ran[:20]) if ran else "retry the execution, or start a new one"
        raise RequestError(message, hint=hint, issues=[Issue("step-never-ran", message, "/from_step", hint)])
    undone = {_root_id(path) for path in ended.undone} & set(definition.root.steps)
    again = _with_dependents(definition, {first} | undone)
    given = {_given(definition, path, again): value for path, value in (outputs or {}).items()}
    state = _running(ended)
    state.execution_id, state.depth = execution_id, 0
    root = ended.lineage.root or ended.execution_id
    state.lineage = Lineage(root=root, rerun_of=ended.execution_id)
    state.compensations, state.detached, state.signals, state.signals_dropped = [], [], [], 0
    state.ledger, state.budget = Ledger(), budget_of(definition.head, None)
    recovery = _Recovery(definition, state, new_keys=True)
    for step_id, value in given.items():
        recovery.set_output(step_id, value)
    recovery.go_on(again)
    _assign_again(definition, state)
    recovery.measure()
    return state


def _running(ended: ExecutionState) -> ExecutionState:
    """Return a copy that has not ended, with nothing in flight and nobody holding it."""
    state = deepcopy(ended)
    state.recovered, state.phase, state.outcome, state.finishing = True, "running", None, False
    state.output = state.error = state.deadline_at = state.cleanup_at = state.slot = None
    # Nobody awaits it any more, so it has a place of its own.
    state.queued, state.places = False, []
    for holder in (state.holds, state.timers, state.child_runs):
        holder.clear()
    lists: tuple[list[Any], ...] = (
        state.ready,
        state.fired,
        state.unaffordable,
        state.compensation_errors,
        state.undone,
        state.updates,
    )
    for entries in lists:
        entries.clear()
    return state


class _Recovery:
    """Brings the steps of a position back to where they can go on.

    Args:
        definition: the recorded one.
        state: changed in place.
        new_keys: whatever runs takes new idempotency keys.
    """

    def __init__(self, definition: CompiledDefinition, state: ExecutionState, *, new_keys: bool = False) -> None:
        self._definition = definition
        self._state = state
        self._new_keys = new_keys
        self._open: list[ScopeState] = []

    def go_on(self, again: Iterable[str]) -> None:
        """Let root steps run again from their beginning, and the others go on where they did not complete."""
        root = self._state.scopes[ROOT]
        for step_id in again:
            self._fresh([root], step_id, new_keys=True)
        self._reopen([root])
        kept = {scope.scope_id for scope in self._open}
        # What was open and is not reached any more: end scopes, compensations, tries that were given up.
        self._state.retained = [
            scope_id for scope_id in self._state.retained if scope_id not in kept and self._in_root(scope_id)
        ]
        closed = {scope_id: self._state.scopes[scope_id] for scope_id in self._state.retained}
        # Outer scopes come first: they are restored in this order.
        self._state.scopes = {scope.scope_id: scope for scope in self._open} | closed
        self._state.compensations = [
            item for item in self._state.compensations if self._completed(item.scope_id, item.step_id)
        ]
        self.measure()

    def _in_root(self, scope_id: str) -> bool:
        """Whether a closed scope is inside the root scope; the ids of end scopes and compensations are used again."""
        scope = self._state.scopes.get(scope_id)
        while scope is not None and scope.parent is not None:
            scope = self._state.scopes.get(scope.parent)
        return scope is not None and scope.scope_id == ROOT

    def _completed(self, scope_id: str, step_id: str) -> bool:
        scope = self._state.scopes.get(scope_id)
        return scope is not None and scope.steps[step_id].state == "completed"

    def set_output(self, step_id: str, value: Any) -> None:
        """Give a root step that is kept another output."""
        record = self._state.scopes[ROOT].steps[step_id]
        kept = StepRecord(state="completed", output=value, handled=record.state != "completed" or record.handled)
        kept.started_at, kept.finished_at, kept.attempts = record.started_at, record.finished_at, record.attempts
        kept.retried, kept.epoch, kept.inside = record.retried, record.epoch, record.inside
        kept.bytes, kept.assigned = json_bytes(value), record.assigned
        self._state.scopes[ROOT].steps[step_id] = kept

    def measure(self) -> None:
        """Add up anew what the open scopes and the variables hold."""
        state, found = self._state, self._state.signals
        state.signals_bytes = sum(len(name) + json_bytes(payload) for name, payload in found)
        total = json_bytes(state.vars) + state.signals_bytes
        total += sum(compensation.bytes for compensation in state.compensations)
        for scope in self._open:
            scope.bytes = sum(json_bytes(part) for part in (scope.vars, scope.names) if part)
            for record in scope.steps.values():
                record.held = held_bytes(record.cursor, record.errors) if record.held else 0
                scope.bytes += record.bytes + record.held
            total += scope.bytes
        state.live_bytes = total
        state.needed_bytes = 0
        state.retained_bytes = sum(state.scopes[scope_id].bytes for scope_id in state.retained)

    # --- steps ----------------------------------------------------------------------------------------------------

    def _reopen(self, around: list[ScopeState]) -> None:
        """Go on with a scope; `around` ends with it and begins with the root."""
        scope = around[-1]
        scope.ending, scope.error = False, None
        scope.epoch += self._new_keys
        self._open.append(scope)
        compiled = self._definition.scopes[scope.owner, scope.part]
        for step_id in list(scope.steps):
            record = scope.steps[step_id]
            unfinished = record.state in ("failed", "cancelled", "running") or record.scopes
            if not unfinished or record.tolerated or self._handler(around, step_id, record):
                continue
            if not self._block(around, compiled.steps[step_id], record):
                self._fresh(around, step_id, new_keys=compiled.steps[step_id].is_block)

    def _handler(self, around: list[ScopeState], step_id: str, record: StepRecord) -> bool:
        """Go on inside the handler that a step had come to; False where it had come to none.

        The step's own failure is decided then, and steps of the handler that completed are not repeated.
        """
        tries = around[-1].tries + record.retried
        scope = next((scope for scope in self._held_by(around[-1], step_id, tries) if scope.is_handler), None)
        if scope is None:
            return False
        record.state, record.cancelling, record.finished_at, record.awaits = "running", False, None, None
        record.error = ErrorInfo.model_validate(scope.names["error"])
        record.scopes = [scope.scope_id]
        self._reopen([*around, scope])
        return True

    def _held_by(self, around: ScopeState, step_id: str, tries: int) -> list[ScopeState]:
        """Return the scopes that are known of one try of a step."""
        return [
            scope
            for scope in self._state.scopes.values()
            if scope.parent == around.scope_id and scope.owner == step_id and scope.tries == tries
        ]

    def _fresh(self, around: list[ScopeState], step_id: str, *, new_keys: bool) -> None:
        """Let a step begin anew, under ids (and keys) that nothing inside it has had."""
        old = around[-1].steps[step_id]
        more = 1 + old.inside if _ran(old) else 0
        # In a rerun the scope's own epoch is raised already.
        raised = more if new_keys and not self._new_keys else 0
        around[-1].steps[step_id] = StepRecord(retried=old.retried + more, epoch=old.epoch + raised)
        for scope, inner in pairwise(around):
            scope.steps[inner.owner].inside += more

    # --- blocks ---------------------------------------------------------------------------------------------------

    def _block(self, around: list[ScopeState], step: CompiledStep, record: StepRecord) -> bool:
        """Go on inside a block; False where it begins anew."""
        cursor, model, path = record.cursor, step.model, join_path(around[-1].prefix, step.step_id)
        if not step.is_block or cursor is None:
            return False
        found = self._scopes_of(around[-1], step, record)
        reopened: list[ScopeState] = []
        if isinstance(model, Switch):
            reopened = list(found.values())
        elif isinstance(model, Loop):
            prefix = f"{path}[{cursor['iteration']}]"
            reopened = [scope for scope in found.values() if scope.prefix == prefix]
        elif isinstance(model, Foreach):
            reopened = self._items(path, record, cursor, found)
        elif isinstance(model, Parallel):
            reopened = self._branches(model, record, cursor, found)
        between_iterations = isinstance(model, Loop) and record.state != "failed"
        if not reopened and not between_iterations and isinstance(model, Switch | Loop):
            return False
        record.state, record.cancelling, record.attempts = "running", False, 0
        record.error = record.errors = record.finished_at = record.awaits = None
        record.scopes = [scope.scope_id for scope in reopened]
        for scope in reopened:
            self._reopen([*around, scope])
        return True

    def _scopes_of(self, around: ScopeState, step: CompiledStep, record: StepRecord) -> dict[str, ScopeState]:
        """Return the scopes that are known of a block's last try, by part and prefix."""
        held = self._held_by(around, step.step_id, around.tries + record.retried)
        return {f"{scope.prefix}:{scope.part}": scope for scope in held if not scope.is_handler}

    def _items(
        self, path: str, record: StepRecord, cursor: dict[str, Any], found: dict[str, ScopeState]
    ) -> list[ScopeState]:
        failed = record.state == "failed" or "decided" in cursor
        due = set(cursor.pop("open", [])) | set(cursor.pop("again", []))
        if failed:
            due |= {index for index, _ in cursor["errors"]}
            cursor["errors"] = []
        cursor.pop("decided", None)
        cursor.pop("concluded", None)
        reopened = {index: scope for index in sorted(due) if (scope := found.get(f"{path}[{index}]:body")) is not None}
        cursor["open"] = list(reopened)
        cursor["again"] = [index for index in sorted(due) if index not in reopened]
        return list(reopened.values())

    def _branches(
        self, model: Parallel, record: StepRecord, cursor: dict[str, Any], found: dict[str, ScopeState]
    ) -> list[ScopeState]:
        won = "decided" in cursor and cursor["decided"] is None
        failed = record.state == "failed" or ("decided" in cursor and not won)
        if failed:
            cursor["errors"] = []
        cursor.pop("decided", None)
        cursor.pop("concluded", None)
        contained = {name for name, _ in cursor["errors"]}
        due = [name for name in model.branches if name not in cursor["outputs"] and name not in contained and not won]
        by_name = {scope.part.removeprefix("branch:"): scope for scope in found.values()}
        waiting = set(cursor["waiting"])
        reopened = [by_name[name] for name in due if name in by_name and name not in waiting]
        cursor["waiting"] = [name for name in due if name not in by_name or name in waiting]
        return reopened


def _ran(record: StepRecord) -> bool:
    """Whether a step did anything; one whose condition failed never started, but may have come to a handler."""
    return record.started_at is not None or record.error is not None


def _with_dependents(definition: CompiledDefinition, first: set[str]) -> list[str]:
    """Return root steps with all that depend on them, in definition order."""
    found, pending = set(first), sorted(first)
    while pending:
        for step_id in definition.root.dependents[pending.pop()]:
            if step_id not in found:
                found.add(step_id)
                pending.append(step_id)
    return [step_id for step_id in definition.root.steps if step_id in found]


def _assign_again(definition: CompiledDefinition, state: ExecutionState) -> None:
    """Make the variables anew from what the kept steps set, in the order in which they finished."""
    records = state.scopes[ROOT].steps
    setting = [record for record in records.values() if record.assigned]
    state.vars = dict(definition.head.vars)
    # Equal times keep the order of the definition.
    for record in sorted(setting, key=lambda record: record.finished_at or "~"):
        state.vars.update(record.assigned or {})


def _root_id(path: str) -> str:
    return path.split(".", 1)[0].split("[", 1)[0]


def _known(definition: CompiledDefinition, path: str, pointer: str) -> str:
    """Return the root step of a path.

    Raises:
        RequestError: it names no step.
    """
    scopes = [definition.root]
    for part in path.split("."):
        segment = _INDEX.sub("", part)
        step = next((scope.steps[segment] for scope in scopes if segment in scope.steps), None)
        if step is None or (segment != part and not step.scopes):
            message = f"there is no step '{path[:200]}' in workflow '{definition.head.workflow_id or ''}'"
            names = [name for scope in scopes for name in scope.steps]
            hint = did_you_mean(segment, names) or "GET the execution to see its steps"
            raise RequestError(message, hint=hint, issues=[Issue("unknown-step", message, pointer, hint)])
        scopes = list(step.scopes.values())
    return _root_id(path)


def _given(definition: CompiledDefinition, path: str, again: list[str]) -> str:
    pointer = "/outputs/" + path.replace("~", "~0").replace("/", "~1")
    step_id = _known(definition, path, pointer)
    if step_id != path:
        message = f"the output of '{path[:200]}' cannot be set: only a root step's can"
    elif step_id in again:
        message = f"the output of '{path}' cannot be set: the step runs again"
    else:
        return step_id
    raise RequestError(message, issues=[Issue("invalid-output-path", message, pointer)])
