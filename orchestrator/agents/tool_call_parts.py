"""Tool calls in a model's answer: as a whole, or put together from the pieces of a stream."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator.agents.prompts import sane

MOST_TOOL_CALLS = 128
"""In one answer; more is a model that does not stop."""


@dataclass(frozen=True, slots=True)
class ModelToolCall:
    """A tool call as the model wrote it: nothing says that the tool exists or that the arguments are JSON."""

    call_id: str
    name: str
    arguments_text: str


class MalformedToolCalls(Exception):
    """What stands under `tool_calls` does not speak the protocol."""


@dataclass(slots=True)
class _Pieces:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)


class ToolCallParts:
    """Puts tool calls together; a whole answer is the case of one piece per call."""

    def __init__(self) -> None:
        self._calls: list[_Pieces] = []
        self._by_index: dict[int, _Pieces] = {}

    def add(self, found: Any) -> None:
        """Take the `tool_calls` of a message or of one delta.

        Raises:
            MalformedToolCalls: it is not a list of calls, or there are too many.
        """
        if found is None:
            return
        if not isinstance(found, list):
            raise MalformedToolCalls("tool_calls is not a list")
        for item in found:
            function = item.get("function") if isinstance(item, dict) else None
            if not isinstance(function, dict):
                raise MalformedToolCalls("a tool call has no function")
            pieces = self._pieces(item)
            if not pieces.name and isinstance(function.get("name"), str):
                pieces.name = function["name"]
            pieces.arguments.append(_text(function.get("arguments")))

    def calls(self) -> tuple[ModelToolCall, ...]:
        """Return the calls, each with an id of its own.

        Raises:
            MalformedToolCalls: a call names no tool.
        """
        found: dict[str, ModelToolCall] = {}
        for number, pieces in enumerate(self._calls):
            if not pieces.name:
                raise MalformedToolCalls("a tool call names no tool")
            call_id = pieces.call_id or f"call_{number}"
            while call_id in found:
                call_id += "_"
            text = sane(joined(pieces.arguments)).strip()
            found[call_id] = ModelToolCall(call_id, sane(pieces.name), text or "{}")
        return tuple(found.values())

    def _pieces(self, item: dict[str, Any]) -> _Pieces:
        """Return the call that a piece belongs to: by index, though some servers leave it out or always send 0."""
        call_id = sane(item["id"]) if isinstance(item.get("id"), str) else ""
        index = item.get("index")
        known = self._by_index.get(index) if isinstance(index, int) else self._last_of(call_id)
        if known is not None and (not call_id or not known.call_id or known.call_id == call_id):
            known.call_id = known.call_id or call_id
            return known
        if len(self._calls) >= MOST_TOOL_CALLS:
            raise MalformedToolCalls(f"there are over {MOST_TOOL_CALLS} tool calls in one answer")
        pieces = _Pieces(call_id)
        self._calls.append(pieces)
        if isinstance(index, int):
            self._by_index[index] = pieces
        return pieces

    def _last_of(self, call_id: str) -> _Pieces | None:
        return None if not self._calls or self._calls[-1].call_id != call_id or not call_id else self._calls[-1]


def joined(pieces: list[str]) -> str:
    """Return the pieces as one text; a surrogate pair that was cut apart becomes one character again."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _text(arguments: Any) -> str:
    """Return the arguments as text: some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments)
