"""Models that answer nonsense in the middle of a loop: each ends in its documented class, and none loops for ever."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from orchestrator.client import connect
from tests.fakes.model_behaviours import (
    Behaviour,
    answer,
    completion,
    empty_choices,
    garbage,
    huge,
    lone_surrogates,
    ok,
    raw,
    status,
    text,
    truncated_json,
)
from tests.fakes.model_server import FakeModelServer
from tests.support.looping_agents import LoopingAgent, word
from tests.support.rest import Rest, attempts
from tests.support.service_processes import Services
from tests.support.stuck_executions import stuck_executions
from tests.support.tool_endpoint import ToolEndpoint, tool_endpoint

RETRY = {"max_attempts": 3, "initial_interval_seconds": 0.05, "backoff_coefficient": 1}
SCHEMA = {"type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}}}
NOTE = "«note»"
"""Stands for the tool's name, which each test makes anew."""


def asks(*calls: tuple[str, Any], words: str | None = None, ids: list[str | None] | None = None) -> Behaviour:
    """Ask for tools by calls as they stand, ids included."""

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        names = [tool["function"]["name"] for tool in body["tools"]]
        document = completion(words, body, finish_reason="tool_calls")
        document["choices"][0]["message"]["tool_calls"] = [
            {
                "id": f"c{number}" if ids is None else ids[number],
                "type": "function",
                "function": {
                    "name": names[0] if name == NOTE else name,
                    "arguments": given if isinstance(given, str) else json.dumps(given),
                },
            }
            for number, (name, given) in enumerate(calls)
        ]
        return await answer(request, body, document)

    return respond


def nested(depth: int) -> str:
    return '{"mark":' * depth + "1" + "}" * depth


@dataclass(frozen=True)
class Trouble:
    """What the model answers, one behaviour a call, the last one again and again; and what shall come of it.

    Attributes:
        error: type of the execution's error; None: the agent finds its way.
        calls: of the model.
        noted: calls that reached the tool.
        told: what the model is told in its last call.
    """

    answers: list[Behaviour]
    error: str | None = None
    calls: int = 2
    noted: int = 0
    told: str = ""
    step: dict[str, Any] = field(default_factory=dict)
    attempts: int = 1


DONE = text("done")
GOOD = (NOTE, {"mark": "m", "turn": 0})
TROUBLES = {
    # Told to the model, which goes on.
    "unknown tool": Trouble([asks(("nope", {})), DONE], told="there is no tool 'nope'"),
    "tool name of 10 kB": Trouble([asks(("n" * 10_000, {})), DONE], told="there is no tool 'nnn"),
    "tool name with surrogates": Trouble([asks(("a\ud800", {})), DONE], told="there is no tool"),
    "wrong arguments": Trouble([asks((NOTE, {"turn": "one"})), DONE], told="do not satisfy the tool's schema"),
    "arguments that are a list": Trouble([asks((NOTE, [])), DONE], told="do not satisfy the tool's schema"),
    "arguments cut off": Trouble([asks((NOTE, '{"mark": "m')), DONE], told="the arguments are not JSON"),
    "arguments nested too deep": Trouble([asks((NOTE, nested(200_000))), DONE], told="the arguments"),
    "arguments nested deep": Trouble([asks((NOTE, nested(900))), DONE], told="the arguments"),
    "arguments with surrogates": Trouble([asks((NOTE, '{"mark": "\\ud800"}')), DONE], noted=1, told="?"),
    "arguments with NaN": Trouble([asks((NOTE, '{"mark": "m", "number": NaN}')), DONE], told="the arguments"),
    "arguments with a huge number": Trouble([asks((NOTE, '{"number": 1e999}')), DONE], told="the arguments"),
    "a huge integer": Trouble([asks((NOTE, f'{{"number": {"9" * 6000}}}')), DONE], told="the arguments"),
    "duplicate ids": Trouble([asks(GOOD, (NOTE, {"mark": "m", "turn": 1}), ids=["c", "c"]), DONE], noted=2),
    "no ids": Trouble([asks(GOOD, (NOTE, {"mark": "m", "turn": 1}), ids=[None, ""]), DONE], noted=2),
    "text and a call together": Trouble([asks(GOOD, words="I am going to call it."), DONE], noted=1, told="going to"),
    "128 calls": Trouble([asks(*[GOOD] * 128), DONE], noted=128),
    "good and bad calls": Trouble([asks(GOOD, ("nope", {}), (NOTE, "[")), DONE], noted=1, told="not JSON"),
    # Ends the loop.
    "endless calls": Trouble([asks(GOOD)], "max-turns-exceeded", calls=4, noted=3, step={"max_turns": 4}),
    "endless unknown tools": Trouble([asks(("nope", {}))], "max-turns-exceeded", calls=4, step={"max_turns": 4}),
    "wrong json for ever": Trouble([asks(GOOD), ok({"ok": 1})], "invalid-output", 3, 1, step={"output_schema": SCHEMA}),
    "json in prose": Trouble([asks(GOOD), text("Sure!")], "invalid-output", 3, 1, step={"output_schema": SCHEMA}),
    "json nested too deep": Trouble([text("[" * 100_000)], "invalid-output", 2, step={"output_schema": {}}),
    "a refused request": Trouble([asks(GOOD), status(400)], "model-rejected", calls=2, noted=1),
    # Does not speak the protocol: the attempt fails.
    "129 calls": Trouble([asks(*[GOOD] * 129)], "model-bad-response", calls=3, attempts=3),
    "empty tool name": Trouble([asks(("", {}))], "model-bad-response", calls=3, attempts=3),
    "garbage after a tool": Trouble([asks(GOOD), garbage()], "model-bad-response", calls=4, noted=1, attempts=3),
    "truncated after a tool": Trouble([asks(GOOD), truncated_json()], "model-bad-response", 4, 1, attempts=3),
    "no choices after a tool": Trouble([asks(GOOD), empty_choices()], "model-bad-response", 4, 1, attempts=3),
    "10 MB after a tool": Trouble([asks(GOOD), huge()], "model-bad-response", 2, 1),
    "tool calls that are no list": Trouble(
        [raw(json.dumps({"choices": [{"message": {"tool_calls": "x"}}]}).encode())], "model-bad-response", 3, attempts=3
    ),
    # Goes through.
    "surrogates in the answer": Trouble([asks(GOOD), lone_surrogates()], noted=1),
    "9 MB of text": Trouble([asks(GOOD), text("x" * 9_000_000)], noted=1),
    "3 MB of text": Trouble([asks(GOOD), text("x" * 3_000_000)], calls=2, noted=1),
    "3 MB of arguments": Trouble([asks((NOTE, {"mark": "x" * 3_000_000})), DONE], noted=1),
}


@dataclass(frozen=True)
class Ended:
    """The execution's last document, and what the far ends saw."""

    document: dict[str, Any]
    calls: list[dict[str, Any]]
    noted: int


def _by_turns(answers: list[Behaviour]) -> Behaviour:
    """Play the behaviours in order, the last one for ever."""
    left = list(answers)

    async def respond(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        behaviour = left.pop(0) if len(left) > 1 else left[0]
        return await behaviour(request, body)

    return respond


@pytest.fixture(scope="module")
def endpoint() -> Iterator[ToolEndpoint]:
    """The far end of all tools; each agent's tool has a path of its own."""
    with tool_endpoint() as server:
        yield server


# The fixture that meets all troubles belongs to whichever test comes first.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ended(deployment: Services, counting_model: FakeModelServer, endpoint: ToolEndpoint) -> dict[str, Ended]:
    """How every trouble ended; they are met side by side, each by an agent and a model of its own."""
    try:
        found = _met(list(TROUBLES), deployment, counting_model, endpoint)
    except AssertionError:
        # A machine that stalls once would fail all tests of the module.
        found = _met(list(TROUBLES), deployment, counting_model, endpoint)
    # Two dozen at once on a busy machine lose attempts: one that fails is met once more, alone.
    for name in TROUBLES:
        if not _holds(TROUBLES[name], found[name]):
            found |= _met([name], deployment, counting_model, endpoint)
    return found


def _holds(trouble: Trouble, found: Ended) -> bool:
    try:
        _check(trouble, found)
    except AssertionError:
        return False
    return True


def _met(
    names: Sequence[str], deployment: Services, counting_model: FakeModelServer, endpoint: ToolEndpoint
) -> dict[str, Ended]:
    deployment.make_whole()
    counting_model.forget()
    rest = Rest(deployment.http)
    ids: dict[str, str] = {}
    marks = {name: uuid.uuid4().hex[:8] for name in names}
    for name in names:
        trouble = TROUBLES[name]
        counting_model.always(_by_turns(trouble.answers), task=word(marks[name]))
        agent = LoopingAgent(rest, endpoint)
        step = agent.step(marks[name], **{"retry": RETRY, **trouble.step})
        ids[name] = rest.start({"name": f"Trouble {marks[name]}", "steps": [step]})
    documents = {name: rest.end_of(execution_id, 90) for name, execution_id in ids.items()}
    found = {}
    for name, document in documents.items():
        bodies = [call.body for call in counting_model.calls(word(marks[name]))]
        # A call may come again, under its key.
        noted = len({request.key for request in endpoint.requests() if request.key.startswith(ids[name])})
        found[name] = Ended(document, bodies, noted)
    counting_model.forget()
    return found


@pytest.mark.parametrize("name", TROUBLES)
def test_each_nonsense_ends_in_its_documented_class(ended: dict[str, Ended], name: str) -> None:
    _check(TROUBLES[name], ended[name])


def _check(trouble: Trouble, found: Ended) -> None:
    error = found.document["error"]
    assert (error["type"] if error else None) == trouble.error, error
    assert found.document["status"] == ("completed" if trouble.error is None else "failed")
    assert len(found.calls) == trouble.calls
    assert found.noted == trouble.noted
    assert attempts(found.document) == {"loop": trouble.attempts}
    told = json.dumps(found.calls[-1]["messages"], ensure_ascii=False)
    assert trouble.told in told
    if error is not None:
        assert error["step"] == "loop" and "'loop'" in error["message"]


def test_every_tool_call_is_answered_under_an_id_of_its_own(ended: dict[str, Ended]) -> None:
    """The protocol wants one answer for each call of the message before, by its id."""
    for name, found in ended.items():
        asked: list[str] = []
        for message in found.calls[-1]["messages"]:
            if message["role"] == "assistant":
                assert not asked, name
                asked = [call["id"] for call in message.get("tool_calls", ())]
                for call in message.get("tool_calls", ()):
                    # Providers refuse a conversation that repeats what they would not take as a call.
                    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", call["function"]["name"]), name
                    assert isinstance(json.loads(call["function"]["arguments"], parse_constant=str), dict), name
                assert len(set(asked)) == len(asked), name
            elif message["role"] == "tool":
                asked.remove(message["tool_call_id"])
        assert not asked, name


def test_no_workflow_task_failed_over_and_over(services: Services, ended: dict[str, Ended]) -> None:
    async def stuck() -> dict[str, int]:
        return await stuck_executions(await connect(services.settings))

    assert asyncio.run(stuck()) == {}
