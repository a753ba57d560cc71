"""What an attempt leaves to the next one in its heartbeats: the model calls that it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.execution.messages_ledger import LedgerCall

_CALLS = TypeAdapter(list[LedgerCall])


class OpenCall:
    """A model call under way, which ends in one of three ways.

    Args:
        notes: whose call it is.
        presumed: what counts where nobody says what it cost.
    """

    def __init__(self, notes: AttemptNotes, presumed: LedgerCall) -> None:
        self._notes = notes
        self.presumed = presumed

    def add(self, call: LedgerCall) -> None:
        """Note how it ended."""
        self.add_nothing()
        self._notes.spent.append(call)

    def add_nothing(self) -> None:
        """Note that it never left: its attempt was parked."""
        if self in self._notes.under_way:
            self._notes.under_way.remove(self)

    def add_presumed(self, outcome: str = "ok") -> None:
        """Note that it was answered, and nobody said what it cost."""
        self.add(self.presumed.model_copy(update={"outcome": outcome, "presumed": True}))


class AttemptNotes:
    """Model calls of an activity, over all of its attempts.

    Attributes:
        spent: calls that ended.
        under_way: calls that did not yet; a Python agent may make several at once.

    Args:
        details: those of the last heartbeat of the attempt before.
        tell: sends a heartbeat. A model call is noted before it leaves: a worker that dies in its first seconds
            would else leave no trace of it.
    """

    def __init__(self, details: Any = None, tell: Callable[[], None] | None = None) -> None:
        self._tell = tell
        found = details if isinstance(details, dict) else {}
        self.spent = _calls(found.get("spent"))
        self.under_way: list[OpenCall] = []
        for lost in _calls(found.get("calling")):
            self.spent.append(lost.model_copy(update={"outcome": "lost", "presumed": True}))

    @contextmanager
    def calling(self, presumed: LedgerCall) -> Iterator[OpenCall]:
        """Note a call under way: one that is lost with its worker counts as presumed."""
        call = OpenCall(self, presumed)
        self.under_way.append(call)
        if self._tell is not None:
            self._tell()
        try:
            yield call
        except BaseException:
            if call in self.under_way:
                # Cancelled, or its time was up: the provider may have worked on it.
                call.add_presumed("interrupted")
            raise

    def details(self) -> dict[str, Any]:
        """Return what a heartbeat carries; empty without model calls."""
        found: dict[str, Any] = {}
        if self.spent:
            found["spent"] = _CALLS.dump_python(self.spent, mode="json")
        if self.under_way:
            found["calling"] = _CALLS.dump_python([call.presumed for call in self.under_way], mode="json")
        return found


attempt_notes: ContextVar[AttemptNotes] = ContextVar("attempt_notes")
"""The notes of the attempt that runs; set by the wrapper of every step's activity."""


def current_notes() -> AttemptNotes:
    """Return the notes of the attempt that runs; fresh ones outside of one."""
    return attempt_notes.get(None) or AttemptNotes()


def _calls(found: Any) -> list[LedgerCall]:
    try:
        return _CALLS.validate_python([found] if isinstance(found, dict) else found or [])
    except ValidationError:
        return []
