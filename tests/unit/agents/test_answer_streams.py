"""A streamed answer that ends at any byte: whole once the model has said why it stopped, else one class of failure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from orchestrator.agents.answer_streams import StreamReader
from orchestrator.agents.answers import AnswerDraft, Completion
from orchestrator.execution.errors_steps import ModelBadResponse
from orchestrator.execution.messages import TokenUsage


def event(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": reason}]
    return b"data: " + json.dumps({"choices": choices, **fields}, ensure_ascii=False).encode() + b"\r\n\r\n"


def call(arguments: str, index: int, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": arguments, **fields}}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2}
BEFORE = [
    event({"role": "assistant", "content": ""}),
    event({"content": "zürich 😀 "}),
    event({"content": "\ud83d".encode("utf-16", "surrogatepass").decode("utf-16", "replace")}),
    event(call("", 1, name="second")),
    event(call('{"a"', 0, name="first")),
    event(call('{"b": 1', 1)),
    event(call(": 2}", 0)),
    event(call("}", 1)),
]
LAST = event({}, "tool_calls")
AFTER = [event(usage=USAGE), b"data: [DONE]\n\n"]


async def read(data: bytes, sizes: Callable[[int], int] = lambda _: 90, failing: Exception | None = None) -> Completion:
    async def chunks() -> AsyncIterator[bytes]:
        at = 0
        while at < len(data):
            size = sizes(at)
            yield data[at : at + size]
            at += size
        if failing is not None:
            raise failing

    return await StreamReader(AnswerDraft(), lambda _: None, label="m", stall_seconds=30).read(chunks())


@pytest.mark.parametrize("failing", [None, httpx2.RemoteProtocolError("cut")])
async def test_an_answer_cut_at_any_byte_is_whole_or_a_failure(failing: Exception | None) -> None:
    whole, begun = b"".join([*BEFORE, LAST, *AFTER]), len(b"".join(BEFORE))
    # The line of the last event may lack its end.
    complete = begun + len(LAST.rstrip()) + (2 if failing else 0)
    for end in range(len(whole) + 1):
        if end >= complete:
            found = await read(whole[:end], failing=failing)
            assert found.text.startswith("zürich 😀 ")
            assert [(item.name, item.arguments_text) for item in found.tool_calls] == [
                ("second", '{"b": 1}'),
                ("first", '{"a": 2}'),
            ]
        else:
            with pytest.raises((ModelBadResponse, httpx2.RemoteProtocolError)):
                await read(whole[:end], failing=failing)


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
async def test_an_answer_in_pieces_of_any_size_is_the_same(size: int) -> None:
    found = await read(b"".join([*BEFORE, LAST, *AFTER]), lambda _: size)
    assert (found.usage, found.usage_reported) == (TokenUsage(input_tokens=3, output_tokens=2, model_calls=1), True)


@pytest.mark.parametrize(
    "rest", [b"data: {nothing\n\n", b"data: 7\n\n", event(error={"code": 429}), event(error={"code": "400"})]
)
async def test_what_comes_after_a_whole_answer_does_not_undo_it(rest: bytes) -> None:
    found = await read(event({"content": "done"}) + event({}, "stop") + rest)
    assert (found.text, found.usage_reported) == ("done", False)
    with pytest.raises(Exception, match=r"^m"):
        await read(event({"content": "done"}) + rest)
