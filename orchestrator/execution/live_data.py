"""How much data an execution holds: sizes as JSON, added up as values come and go, each measured once.

A value counts wherever its history keeps it: claims bound the history, this bounds the memory of workers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json

from orchestrator.definition.compiled import CompiledScope
from orchestrator.definition.limits import COLLECTED_BYTES, LIVE_BYTES
from orchestrator.execution.errors_data import CollectedOutputTooLarge, LiveDataTooLarge
from orchestrator.execution.state import Compensation, ExecutionState, ScopeState, StepRecord

DATA_BOUNDS = "data-bounds"
"""The rule that came later: executions that were over the bounds before it go on."""


def json_bytes(value: Any) -> int:
    """Return the size of a value as JSON."""
    try:
        return len(to_json(value))
    except ValueError:
        # Halves of surrogate pairs have no UTF-8.
        return len(json.dumps(value, default=str))


class LiveData:
    """Accounts for the outputs of open scopes, what blocks collect and hold, variables, names, and kept messages.

    Args:
        state: the execution; its totals are kept in it.
        patched: whether this execution follows a later rule; asked only where a bound is passed.
    """

    def __init__(self, state: ExecutionState, patched: Callable[[str], bool]) -> None:
        self._state = state
        self._patched = patched

    def note(self, scope: ScopeState, record: StepRecord, size: int) -> None:
        """Take note of the size of a step's output, or of what it has collected so far."""
        more, record.bytes = size - record.bytes, size
        scope.bytes += more
        self._state.live_bytes += more

    def hold(self, scope: ScopeState, record: StepRecord, size: int) -> None:
        """Take note of the size of what a block holds beside what it has collected."""
        more, record.held = size - record.held, size
        scope.bytes += more
        self._state.live_bytes += more

    def opened(self, scope: ScopeState) -> None:
        """Take note of a new scope's names."""
        scope.bytes = json_bytes(scope.names) if scope.names else 0
        self._state.live_bytes += scope.bytes

    def forget(self, scope: ScopeState) -> None:
        """Take note that a scope closed: what it leaves is its block's; it stays for inspection while there is room."""
        self._state.live_bytes -= scope.bytes
        self._state.retained_bytes += scope.bytes

    def drop(self, scope: ScopeState) -> None:
        """Take note that a closed scope is gone."""
        self._state.retained_bytes -= scope.bytes

    def remember(self, found: Compensation) -> None:
        """Take note of what a compensation will see."""
        before = self._state.compensations[-1].vars if self._state.compensations else {}
        found.bytes = json_bytes(found.names)
        # Restored from JSON, the same variables are other objects.
        if before != found.vars:
            found.bytes += json_bytes(found.vars)
        self._state.live_bytes += found.bytes

    def keep(self, name: str, payload: Any) -> bool:
        """Take note of a message that nobody has taken yet; False where there is no room to keep it."""
        size = len(name) + json_bytes(payload)
        if not self._has_room(size):
            return False
        self._state.signals_bytes += size
        self._state.live_bytes += size
        return True

    def taken(self, name: str, payload: Any) -> None:
        """Take note that a kept message was taken."""
        # Those of a position that was carried from before they were counted have no size.
        size = min(len(name) + json_bytes(payload), self._state.signals_bytes)
        self._state.signals_bytes -= size
        self._state.live_bytes -= size

    def assign(self, scope: ScopeState | None, old: dict[str, Any], values: dict[str, Any]) -> None:
        """Take note of variables, before they are set in a branch's or item's copy (None: in the run's)."""
        more = json_bytes(values) - json_bytes({name: old[name] for name in values if name in old})
        if scope is not None:
            scope.bytes += more
        self._state.live_bytes += more

    def require_room(self, path: str, more: int) -> None:
        """Refuse what would be too much.

        Raises:
            LiveDataTooLarge: it would; cleaning up is never held back.
        """
        if not self._has_room(more):
            total = self._state.live_bytes + more
            raise LiveDataTooLarge(
                f"step '{path}': the execution's data would be {total:,} bytes; {LIVE_BYTES:,} are allowed",
                hint="keep large values elsewhere and pass references, or reduce them with the steps' 'output'",
                details={"bytes": total, "limit": LIVE_BYTES},
            )

    def _has_room(self, more: int) -> bool:
        fits = self._state.live_bytes + more <= LIVE_BYTES or self._state.phase == "cleaning"
        return fits or not self._patched(DATA_BOUNDS)

    def require_collectable(self, what: str, size: int) -> None:
        """Refuse what is too much for one collected output.

        Raises:
            CollectedOutputTooLarge: it is.
        """
        if size > COLLECTED_BYTES and self._patched(DATA_BOUNDS):
            raise CollectedOutputTooLarge(
                f"{what}: what its steps give is together {size:,} bytes; {COLLECTED_BYTES:,} are allowed",
                hint="give less of each: item_output, iteration_output, or the output of the branch or case",
                details={"bytes": size, "limit": COLLECTED_BYTES},
            )


def scope_bytes(compiled: CompiledScope, state: ScopeState, output: Any) -> int:
    """Return the size of a closed scope's output; a map of its sinks is not walked, since its parts are known."""
    if compiled.output is not None or state.error is not None:
        return json_bytes(output)
    return 2 + sum(len(name) + 4 + max(state.steps[name].bytes, 4) for name in compiled.sinks)


def held_bytes(cursor: Mapping[str, Any] | None, errors: Any) -> int:
    """Return the size of what a block's position holds beside what it has collected."""
    found = cursor or {}
    parts = [found[name] for name in ("items", "vars", "errors") if found.get(name)]
    return sum(json_bytes(part) for part in (*parts, *([errors] if errors else [])))
