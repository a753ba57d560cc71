"""Agents that loop over a tool, set up by REST, and model behaviours that know which turn they are in."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.fakes.model_behaviours import Behaviour, Gate, text, tool_calls
from tests.fakes.model_server import FakeModelServer, ModelCall
from tests.support.rest import Rest
from tests.support.tool_endpoint import ToolEndpoint

NOTED = {"type": "object", "properties": {"mark": {"type": "string"}, "turn": {"type": "integer"}, "number": {}}}


def turn_of(body: Mapping[str, Any]) -> int:
    """Which turn of a conversation a request is for, from 0."""
    return sum(message.get("role") == "assistant" for message in body["messages"])


def looping(mark: str, tool: str, turns: int, *, held: int | None = None, gate: Gate | None = None) -> Behaviour:
    """Ask for the tool in every turn but the last, which answers; the turn `held` waits for the gate first."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        turn = turn_of(body)
        if gate is not None and turn == held:
            await gate.passed()
        last = turn >= turns - 1
        then = text(f"done {mark}") if last else tool_calls((tool, {"mark": mark, "turn": turn}))
        return await then(request, body)

    return respond


class LoopingAgent:
    """One agent with one tool, under names that no other test uses.

    Attributes:
        tool: the tool's name.
        model: the agent's model; circuits are per model.
    """

    def __init__(self, rest: Rest, endpoint: ToolEndpoint | None = None, **record: Any) -> None:
        name = uuid.uuid4().hex[:8]
        self._rest = rest
        self.agent_type, self.tool = f"looper-{name}", f"note_{name}"
        if endpoint is not None:
            http = {"method": "POST", "url": endpoint.url, "json": "{{ arguments }}"}
            declared = {"name": self.tool, "description": "Notes a turn.", "parameters": NOTED, "http": http}
            rest.expect(201, "POST", "/tools/", json=declared)
            record = {"tools": [self.tool], **record}
        self.model = str(record.get("model", f"openai/{name}"))
        rest.expect(201, "POST", "/agents/", json={"agent_type": self.agent_type, "model": self.model, **record})

    def step(self, mark: str, step_id: str = "loop", **fields: Any) -> dict[str, Any]:
        """A step of this agent whose prompt holds `mark-<mark>.`."""
        parameters = {"priority": word(mark)}
        step = {"step_id": step_id, "step_type": "agent_task", "agent_type": self.agent_type, "task": "work"}
        return {**step, "parameters": parameters, **fields}

    def start(self, mark: str, **fields: Any) -> str:
        """Start an execution of one step; `fields` are the definition's."""
        return self._rest.start({"name": f"Loop {uuid.uuid4().hex[:8]}", "steps": [self.step(mark)], **fields})


def word(mark: str) -> str:
    """The word of a mark, by which the fake model server knows its calls."""
    return f"mark-{mark}."


def turns_seen(model: FakeModelServer, mark: str) -> Counter[int]:
    """How often the model server was asked for each turn of a marked conversation."""
    return Counter(turn_of(call.body) for call in model.calls(word(mark)))


def key_of(call: ModelCall) -> str:
    """The idempotency key of a model call."""
    return next(value for name, value in call.headers.items() if name.lower() == "idempotency-key")
