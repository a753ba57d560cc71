"""Tool calls in a model's answer: as a whole, or put together from the pieces of a stream."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from orchestrator.agents.prompts import sane

MOST_TOOL_CALLS = 128
"""In one answer; more is a model that does not stop."""
LONGEST_NAME = 64
LONGEST_ID = 64
LONGEST_REPEATED = 2_000
"""Letters of arguments that are no JSON object, which the model is shown again."""


@dataclass(frozen=True, slots=True)
class ModelToolCall:
    """A tool call as the model wrote it: nothing says that the tool exists or that the arguments are JSON."""

    call_id: str
    name: str
    arguments_text: str

    def as_function(self) -> dict[str, str]:
        """Return the call as a conversation repeats it: providers refuse names and arguments that are none."""
        arguments = self.arguments_text
        if not _is_object([arguments]):
            arguments = json.dumps({"not_an_object": arguments[:LONGEST_REPEATED]}, ensure_ascii=False)
        return {"name": re.sub(r"[^A-Za-z0-9_-]", "_", self.name)[:LONGEST_NAME], "arguments": arguments}


class MalformedToolCalls(Exception):
    """What stands under `tool_calls` does not speak the protocol."""


@dataclass(slots=True)
class _Pieces:
    call_id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def goes_on(self, call_id: str, name: str, arguments: str) -> bool:
        """Say whether a piece under the call's index or id belongs to it: a whole call is not gone on with."""
        if call_id and self.call_id and call_id != self.call_id:
            return False
        begins_another = self.name and name and arguments.strip()
        return not (begins_another and self.arguments[-1].rstrip().endswith("}") and _is_object(self.arguments))


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
            name = function["name"] if isinstance(function.get("name"), str) else ""
            arguments = _text(function.get("arguments"))
            pieces = self._pieces(item, name, arguments)
            pieces.name = pieces.name or name
            pieces.arguments.append(arguments)

    def calls(self) -> tuple[ModelToolCall, ...]:
        """Return the calls, each with an id of its own.

        Raises:
            MalformedToolCalls: a call names no tool.
        """
        found: dict[str, ModelToolCall] = {}
        for number, pieces in enumerate(self._calls):
            if not pieces.name:
                raise MalformedToolCalls("a tool call names no tool")
            call_id = pieces.call_id[:LONGEST_ID] or f"call_{number}"
            while call_id in found:
                call_id += "_"
            text = sane(joined(pieces.arguments)).strip()
            found[call_id] = ModelToolCall(call_id, sane(pieces.name), text or "{}")
        return tuple(found.values())

    def _pieces(self, item: dict[str, Any], name: str, arguments: str) -> _Pieces:
        """Return the call that a piece belongs to: by index, though some servers leave it out or always send 0."""
        call_id = sane(item["id"]) if isinstance(item.get("id"), str) else ""
        index = item.get("index")
        known = self._by_index.get(index) if isinstance(index, int) else self._unnumbered(call_id, name)
        if known is not None and known.goes_on(call_id, name, arguments):
            known.call_id = known.call_id or call_id
            return known
        if len(self._calls) >= MOST_TOOL_CALLS:
            raise MalformedToolCalls(f"there are over {MOST_TOOL_CALLS} tool calls in one answer")
        pieces = _Pieces(call_id)
        self._calls.append(pieces)
        if isinstance(index, int):
            self._by_index[index] = pieces
        return pieces

    def _unnumbered(self, call_id: str, name: str) -> _Pieces | None:
        """Return the call that a piece without an index goes on with; one with neither id nor name: the last."""
        if call_id:
            return next((pieces for pieces in self._calls if pieces.call_id == call_id), None)
        return self._calls[-1] if self._calls and not name else None


def joined(pieces: list[str]) -> str:
    """Return the pieces as one text; a surrogate pair that was cut apart becomes one character again."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def no_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python takes for JSON."""
    raise ValueError(f"{name} is no JSON number")


def _is_object(pieces: list[str]) -> bool:
    try:
        return isinstance(json.loads("".join(pieces), parse_constant=no_constant), dict)
    except (ValueError, RecursionError):
        return False


def _text(arguments: Any) -> str:
    """Return the arguments as text: some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments)
