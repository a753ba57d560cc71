"""Carries an execution's state over continue-as-new, in chunks that Temporal and the claim store take."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from orchestrator.execution.state import ExecutionState

CHUNK_CHARACTERS = 256 * 1024
"""A chunk is one payload: at most 1 MiB even if every character takes four bytes."""
SOON_EVENTS, SOON_BYTES = 4_096, 4 * 1024 * 1024
"""From here the first quiet moment is taken."""
NOW_BYTES = 8 * 1024 * 1024
"""From here, and from twice the events, nothing new starts until there is one."""

_STATE: TypeAdapter[ExecutionState] = TypeAdapter(ExecutionState)


def dump(state: ExecutionState) -> list[str]:
    """Return the state as JSON text in chunks."""
    text = _STATE.dump_json(state).decode()
    return [text[start : start + CHUNK_CHARACTERS] for start in range(0, len(text), CHUNK_CHARACTERS)]


def load(chunks: Sequence[str]) -> ExecutionState:
    """Return the state that `dump` wrote.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _STATE.validate_json("".join(chunks))
