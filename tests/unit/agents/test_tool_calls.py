"""Tool calls in answers, whole and in pieces, as servers really send them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.agents.answers import read_completion
from orchestrator.agents.tool_call_parts import MOST_TOOL_CALLS, MalformedToolCalls, ModelToolCall, ToolCallParts
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import ModelBadResponse, ModelRateLimited, ModelRejected, ModelUnavailable


def piece(name: str | None = None, arguments: Any = None, **fields: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **fields}


def put_together(*deltas: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    parts = ToolCallParts()
    for delta in deltas:
        parts.add(delta)
    return [(call.call_id, call.name, call.arguments_text) for call in parts.calls()]


def body(message: dict[str, Any], finish_reason: str = "tool_calls", **fields: Any) -> bytes:
    usage = {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 4}}
    choice = {"message": message, "finish_reason": finish_reason}
    return json.dumps({"choices": [choice], "usage": usage, "model": "tiny-2", **fields}).encode()


def test_pieces_belong_to_the_call_of_their_index() -> None:
    assert put_together(
        [piece("a", "", index=0, id="x")],
        [piece("b", '{"n"', index=1, id="y")],
        [piece(None, '{"m": 1}', index=0), piece(None, ": 2}", index=1)],
    ) == [("x", "a", '{"m": 1}'), ("y", "b", '{"n": 2}')]


def test_calls_that_all_have_index_zero_are_told_apart_by_their_ids() -> None:
    found = put_together([piece("a", "{}", index=0, id="x")], [piece("b", "{}", index=0, id="y")])
    assert found == [("x", "a", "{}"), ("y", "b", "{}")]


def test_calls_without_index_and_id_are_whole_ones() -> None:
    assert put_together([piece("a", {"n": 1}), piece("a", {"n": 2})]) == [
        ("call_0", "a", '{"n": 1}'),
        ("call_1", "a", '{"n": 2}'),
    ]


def test_pieces_without_index_and_id_go_on_with_the_last_call() -> None:
    found = put_together([piece("a", "", id="x")], [piece(None, '{"n": ')], [piece("", "1}")], [piece("b", "{}")])
    assert found == [("x", "a", '{"n": 1}'), ("call_1", "b", "{}")]


def test_pieces_that_name_their_call_each_time_belong_to_it() -> None:
    again = [[piece("a", part, index=0, id="x")] for part in ('{"n"', ": 1}", "")]
    assert put_together(*again) == [("x", "a", '{"n": 1}')]
    assert put_together(*[[piece("a", part, id="x")] for part in ('{"n"', ": 1}")]) == [("x", "a", '{"n": 1}')]


def test_pieces_of_calls_told_apart_by_id_alone_may_be_mixed() -> None:
    found = put_together([piece("a", '{"n"', id="x"), piece("b", "{", id="y")], [piece(None, ":1}", id="x")])
    assert found == [("x", "a", '{"n":1}'), ("y", "b", "{")]


@pytest.mark.parametrize("fields", [{"index": 0}, {"index": 0, "id": "x"}, {"id": "x"}])
def test_whole_calls_under_one_index_or_id_stay_calls_of_their_own(fields: dict[str, Any]) -> None:
    found = put_together([piece("a", '{"n": 1}', **fields), piece("a", '{"n": 2}', **fields)])
    assert [(name, arguments) for _, name, arguments in found] == [("a", '{"n": 1}'), ("a", '{"n": 2}')]
    assert len({call_id for call_id, _, _ in found}) == 2


def test_an_id_that_comes_twice_stays_one_of_its_own() -> None:
    found = put_together([piece("a", "{}", index=0, id="x"), piece("b", "{}", index=1, id="x")])
    assert [call_id for call_id, _, _ in found] == ["x", "x_"]


def test_arguments_that_are_missing_are_an_empty_object() -> None:
    assert put_together([piece("a", None, id="x")]) == [("x", "a", "{}")]


def test_a_character_cut_between_two_pieces_is_whole_again() -> None:
    found = put_together([piece("a", '"\ud83d', index=0, id="x")], [piece(None, '\ude00 \ud800"', index=0)])
    assert found == [("x", "a", '"😀 ?"')]


@pytest.mark.parametrize(
    "found",
    [
        {},
        "calls",
        [1],
        [{"id": "x"}],
        [{"function": None}],
        [piece("a", id=str(n)) for n in range(MOST_TOOL_CALLS + 1)],
    ],
)
def test_what_is_no_list_of_calls_is_malformed(found: Any) -> None:
    with pytest.raises(MalformedToolCalls):
        ToolCallParts().add(found)


@pytest.mark.parametrize(
    ("said", "repeated"),
    [
        (("look_up", '{"n": 1}'), ("look_up", {"n": 1})),
        (("functions.look up", "{}"), ("functions_look_up", {})),
        (("é" * 100, '{"n": '), ("_" * 64, {"not_an_object": '{"n": '})),
        (("a", "[1]"), ("a", {"not_an_object": "[1]"})),
        (("a", '{"n": NaN}'), ("a", {"not_an_object": '{"n": NaN}'})),
    ],
)
def test_a_call_is_repeated_as_providers_take_it(said: tuple[str, str], repeated: tuple[str, Any]) -> None:
    found = ModelToolCall("x", *said).as_function()
    assert (found["name"], json.loads(found["arguments"])) == repeated


def test_an_id_of_any_length_is_cut() -> None:
    found = put_together([piece("a", "{}", id="x" * 10_000), piece("b", "{}", id="x" * 9_999)])
    assert [call_id for call_id, _, _ in found] == ["x" * 64, "x" * 64 + "_"]


def test_an_answer_of_calls_alone_has_no_text() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "a", "arguments": "{}"}}
    found = read_completion(body({"content": None, "tool_calls": [call]}), label="m")
    assert (found.text, found.finish_reason, found.model) == ("", "tool_calls", "tiny-2")
    assert [(item.call_id, item.name, item.arguments_text) for item in found.tool_calls] == [("x", "a", "{}")]
    assert (found.usage.input_tokens, found.usage.cached_input_tokens, found.usage_reported) == (5, 4, True)


@pytest.mark.parametrize(
    "answer",
    [
        body({"content": "cut"}, "length"),
        body({"content": "held"}, "content_filter"),
        body({"content": None}),
        body({"content": None, "tool_calls": [{"function": {"arguments": "{}"}}]}),
        body({"content": None, "tool_calls": "no list"}),
        body({}, choices=[]),
    ],
)
def test_every_error_after_an_answer_knows_what_it_cost(answer: bytes) -> None:
    with pytest.raises(OrchestratorError) as caught:
        read_completion(answer, label="m")
    assert caught.value.usage is not None
    assert (caught.value.usage.input_tokens, caught.value.usage.output_tokens) == (5, 6)


def test_an_answer_without_usage_says_so() -> None:
    found = read_completion(body({"content": "x"}, usage=None), label="m")
    assert (found.usage_reported, found.usage.model_calls) == (False, 1)


def test_a_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    assert read_completion(body({"content": parts}), label="m").text == "ab"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "slow down", "code": 429}, ModelRateLimited),
        ({"message": "slow down", "type": "rate_limit_exceeded"}, ModelRateLimited),
        ({"message": "upstream", "code": 502}, ModelUnavailable),
        ({"message": "upstream is slow", "code": 408}, ModelUnavailable),
        ({"message": "too long for upstream", "code": 400}, ModelRejected),
        ({"message": "broken key", "code": "401"}, ModelRejected),
        ({"message": "broken prompt", "type": "exceed_context_size_error"}, ModelRejected),
        ("broken", ModelUnavailable),
    ],
)
def test_an_error_in_a_body_with_status_200_is_that_error(error: Any, kind: type[OrchestratorError]) -> None:
    with pytest.raises(kind, match=r"slow down|upstream|broken"):
        read_completion(json.dumps({"error": error}).encode(), label="m")


def test_an_error_of_null_is_none() -> None:
    with pytest.raises(ModelBadResponse):
        read_completion(b'{"error": null}', label="m")
