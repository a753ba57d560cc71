"""Who may run under a concurrency key: the places, the queue, and what a gate is asked and answers."""

from __future__ import annotations

import hashlib
from bisect import insort
from typing import Any, Literal

from pydantic import BaseModel, Field

from orchestrator.definition.canonical import canonical_json
from orchestrator.definition.compiled import CompiledDefinition
from orchestrator.execution.messages import ErrorInfo
from orchestrator.expressions import ExpressionError, Meter

LONGEST_KEY = 256
"""Characters; a longer key is known by its hash."""
MOST_KEY_BYTES = 900
"""Temporal takes 1,000 bytes as an id."""
LONGEST_QUEUE = 10_000
SHOWN_HOLDERS = 20
LIMIT_ERROR = "concurrency-limit"

OnConflict = Literal["reject", "enqueue", "cancel_running"]


class AcquireSlot(BaseModel):
    """One execution asks for a place."""

    workflow_id: str
    key: str
    execution_id: str
    max: int = 1
    on_conflict: OnConflict = "enqueue"
    started_at: str = ""
    """When the execution started, ISO 8601: the order of the queue, whoever asks first."""


class SlotAnswer(BaseModel):
    """What the gate says: a place, a place in the queue, or neither."""

    granted: bool = False
    queued: bool = False
    holders: list[str] = Field(default_factory=list)
    """Who has the places, at most 20; told where the answer is no."""


class Holder(BaseModel):
    """An execution that has a place."""

    execution_id: str
    since: str
    started_at: str = ""
    cancelling: bool = False
    """It was asked to end in favour of another."""


class Waiter(BaseModel):
    """An execution that queues."""

    execution_id: str
    started_at: str
    max: int


class Places(BaseModel):
    """The places under one key. Methods change it and return whom to tell."""

    holders: list[Holder] = Field(default_factory=list)
    queue: list[Waiter] = Field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nobody runs and nobody waits."""
        return not self.holders and not self.queue

    def acquire(self, request: AcquireSlot, now: str) -> tuple[SlotAnswer, list[str]]:
        """Give a place, queue, or refuse; asking again changes nothing.

        Args:
            request: who asks.
            now: the time, ISO 8601.

        Returns:
            The answer, and the executions that shall be cancelled to make room.
        """
        if self._has(request.execution_id):
            return SlotAnswer(granted=True), []
        if self._waits(request.execution_id):
            return self._no(queued=True), []
        if len(self.holders) < request.max and not self.queue:
            holder = Holder(execution_id=request.execution_id, since=now, started_at=request.started_at)
            self.holders.append(holder)
            return SlotAnswer(granted=True), []
        if request.on_conflict == "reject" or len(self.queue) >= LONGEST_QUEUE:
            return self._no(queued=False), []
        waiter = Waiter(execution_id=request.execution_id, started_at=request.started_at, max=request.max)
        insort(self.queue, waiter, key=lambda item: item.started_at)
        displaced = self._displace(request) if request.on_conflict == "cancel_running" else []
        return self._no(queued=True), displaced

    def release(self, execution_id: str) -> None:
        """Take an execution out, whether it has a place or waits for one."""
        self.holders = [item for item in self.holders if item.execution_id != execution_id]
        self.queue = [item for item in self.queue if item.execution_id != execution_id]

    def grant(self, now: str) -> list[str]:
        """Give free places to the head of the queue, first come first served; return who has one now."""
        granted = []
        while self.queue and len(self.holders) < self.queue[0].max:
            waiter = self.queue.pop(0)
            holder = Holder(execution_id=waiter.execution_id, since=now, started_at=waiter.started_at)
            self.holders.append(holder)
            granted.append(waiter.execution_id)
        return granted

    def held_since_before(self, moment: str) -> list[str]:
        """Return who has held a place since before a moment, ISO 8601."""
        return [item.execution_id for item in self.holders if item.since <= moment]

    def _displace(self, request: AcquireSlot) -> list[str]:
        """Choose who makes room: those that started first, be it who has a place, who waits, or who asks."""
        running = [item for item in self.holders if not item.cancelling]
        excess = max(0, len(running) + len(self.queue) - request.max)
        everybody: list[Holder | Waiter] = [*running, *self.queue]
        oldest = sorted(everybody, key=lambda item: item.started_at)[:excess]
        chosen = [item.execution_id for item in oldest]
        for holder in running:
            holder.cancelling = holder.execution_id in chosen
        self.queue = [item for item in self.queue if item.execution_id not in chosen]
        return chosen

    def _has(self, execution_id: str) -> bool:
        return any(item.execution_id == execution_id for item in self.holders)

    def _waits(self, execution_id: str) -> bool:
        return any(item.execution_id == execution_id for item in self.queue)

    def _no(self, *, queued: bool) -> SlotAnswer:
        return SlotAnswer(queued=queued, holders=[item.execution_id for item in self.holders[:SHOWN_HOLDERS]])


class GateStart(BaseModel):
    """The input of a gate; `places` is carried from run to run."""

    workflow_id: str
    key: str
    check_seconds: float = 300.0
    check_at: str | None = None
    places: Places = Field(default_factory=Places)
    history_events: int | None = None
    """Continue as new from this many events (tests; None: when Temporal suggests it)."""


def concurrency_key(definition: CompiledDefinition, value: Any) -> str:
    """Return the key of an execution with this input; empty where the definition names none.

    A key that is no text counts as its canonical JSON; one over 256 characters as its SHA-256.

    Raises:
        ExpressionError: the key's expression failed.
    """
    template = definition.concurrency_key
    if template is None:
        return ""
    found = template.render({"input": value}, meter=Meter())
    try:
        text = found if isinstance(found, str) else canonical_json(found).decode()
        data = text.encode()
    except ValueError as error:
        message = f"the concurrency key has no canonical form: {error}"
        raise ExpressionError("E_TYPE", message, pointer="/concurrency/key") from error
    if len(text) <= LONGEST_KEY and len(data) <= MOST_KEY_BYTES and text.isprintable():
        return text
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def gate_id(workflow_id: str, key: str) -> str:
    """Return the Temporal workflow id of the gate of a key; no execution id holds a slash."""
    return f"concurrency/{workflow_id}/{key}" if key else f"concurrency/{workflow_id}"


def limit_error(request: AcquireSlot, answer: SlotAnswer) -> ErrorInfo:
    """Return the error of an execution that got no place."""
    return ErrorInfo(
        type=LIMIT_ERROR,
        message=limit_message(request, answer),
        details={"key": request.key, "max": request.max, "holders": answer.holders},
    )


def limit_message(request: AcquireSlot, answer: SlotAnswer) -> str:
    """Return the sentence that names who has the places."""
    under = f" under the key '{request.key}'" if request.key else ""
    names = ", ".join(answer.holders)
    return (
        f"workflow '{request.workflow_id}' runs at most {request.max} at a time{under}; the places are held by {names}"
    )
