"""Carries an execution's state over continue-as-new, in chunks that Temporal and the claim store take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter

from orchestrator.execution.carried_text import joined, parted
from orchestrator.execution.state import ExecutionState, StepRecord

CHUNK_CHARACTERS = 256 * 1024
"""A chunk is one payload: at most 1 MiB even if every character takes four bytes."""
SOON_EVENTS, SOON_BYTES = 4_096, 4 * 1024 * 1024
"""From here the first quiet moment is taken."""
NOW_BYTES = 8 * 1024 * 1024
"""From here, and from twice the events, nothing new starts until there is one."""
PACKED_BYTES = 4 * 1024
"""Outputs of this size and more are carried beside the state and decoded when they are first read: all of them at once
may take longer than a workflow task may compute."""

_STATE: TypeAdapter[ExecutionState] = TypeAdapter(ExecutionState)
_VALUE: TypeAdapter[object] = TypeAdapter(object)


def dump(state: ExecutionState) -> list[str]:
    """Return the state as text in chunks."""
    packed = {place: _text(record) for place, record in _large(state)}
    text = joined(_without_outputs(state, packed), packed)
    return [text[start : start + CHUNK_CHARACTERS] for start in range(0, len(text), CHUNK_CHARACTERS)]


def load(chunks: Sequence[str]) -> ExecutionState:
    """Return the state that `dump` wrote.

    Raises:
        pydantic.ValidationError: it is none.
    """
    core, packed = parted("".join(chunks))
    state = _with_vars(_STATE.validate_json(core))
    for (scope_id, step_id), text in packed.items():
        state.scopes[scope_id].steps[step_id].packed = text
    return state


def _large(state: ExecutionState) -> Iterator[tuple[tuple[str, str], StepRecord]]:
    for scope_id, scope in state.scopes.items():
        for step_id, record in scope.steps.items():
            if record.packed is not None or (record.bytes >= PACKED_BYTES and record.output is not None):
                yield (scope_id, step_id), record


def _text(record: StepRecord) -> str:
    return record.packed if record.packed is not None else _VALUE.dump_json(record.output).decode()


def _without_outputs(state: ExecutionState, packed: dict[tuple[str, str], str]) -> str:
    """Return the state's JSON without these outputs; the state is the same before and after."""
    records = [state.scopes[scope_id].steps[step_id] for scope_id, step_id in packed]
    kept = [(record, record.output, record.packed) for record in records]
    same = [(later, later.vars) for earlier, later in pairwise(state.compensations) if _same(earlier.vars, later.vars)]
    try:
        for record in records:
            record.output = record.packed = None
        for compensation, _ in same:
            compensation.vars, compensation.same_vars = {}, True
        return _STATE.dump_json(state).decode()
    finally:
        for record, output, text in kept:
            record.output, record.packed = output, text
        for compensation, variables in same:
            compensation.vars, compensation.same_vars = variables, False


def _same(some: dict[str, Any], others: dict[str, Any]) -> bool:
    """Whether two copies of variables hold the very same values: equal ones may differ, as 1 and true do."""
    return list(some) == list(others) and all(others[name] is value for name, value in some.items())


def _with_vars(state: ExecutionState) -> ExecutionState:
    """Give each compensation its variables again; thousands of items may have seen the same."""
    for earlier, later in pairwise(state.compensations):
        if later.same_vars:
            later.vars, later.same_vars = dict(earlier.vars), False
    return state
