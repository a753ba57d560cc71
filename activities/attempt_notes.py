"""What an attempt leaves to the next one in its heartbeats: the model calls that it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pydantic import TypeAdapter, ValidationError

from orchestrator.execution.messages_ledger import LedgerCall

_CALLS = TypeAdapter(list[LedgerCall])


class AttemptNotes:
    """Model calls of an activity, over all of its attempts.

    Args:
        details: those of the last heartbeat of the attempt before.
        tell: sends a heartbeat. A model call is noted before it leaves: a worker that dies in its first seconds
            would else leave no trace of it.
    """

    def __init__(self, details: Any = None, tell: Callable[[], None] | None = None) -> None:
        self._tell = tell
        found = details if isinstance(details, dict) else {}
        self.spent = _calls(found.get("spent"))
        self._open: LedgerCall | None = None
        for lost in _calls([found["calling"]] if "calling" in found else []):
            self.spent.append(lost.model_copy(update={"outcome": "lost", "presumed": True}))

    def add(self, call: LedgerCall) -> None:
        """Note a call that ended."""
        self._open = None
        self.spent.append(call)

    def add_nothing(self) -> None:
        """Note that the call under way never left: its attempt was parked."""
        self._open = None

    def add_presumed(self) -> None:
        """Note that the call under way was answered, and nobody said what it cost."""
        if self._open is not None:
            self.add(self._open.model_copy(update={"outcome": "ok", "presumed": True}))

    @contextmanager
    def calling(self, presumed: LedgerCall) -> Iterator[None]:
        """Note a call under way: one that is lost with its worker counts as presumed."""
        self._open = presumed
        if self._tell is not None:
            self._tell()
        try:
            yield
        except BaseException:
            if self._open is not None:
                # Cancelled, or its time was up: the provider may have worked on it.
                self.add(presumed.model_copy(update={"outcome": "interrupted", "presumed": True}))
            raise

    def details(self) -> dict[str, Any]:
        """Return what a heartbeat carries; empty without model calls."""
        found: dict[str, Any] = {}
        if self.spent:
            found["spent"] = _CALLS.dump_python(self.spent, mode="json")
        if self._open is not None:
            found["calling"] = self._open.model_dump(mode="json")
        return found


attempt_notes: ContextVar[AttemptNotes] = ContextVar("attempt_notes")
"""The notes of the attempt that runs; set by the wrapper of every step's activity."""


def current_notes() -> AttemptNotes:
    """Return the notes of the attempt that runs; fresh ones outside of one."""
    return attempt_notes.get(None) or AttemptNotes()


def _calls(found: Any) -> list[LedgerCall]:
    try:
        return _CALLS.validate_python(found or [])
    except ValidationError:
        return []
