"""What providers are sent, which differs between OpenAI's own API and other servers."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
import pytest

from orchestrator.agents.model_requests import Capabilities, ModelRequest, call_arguments
from orchestrator.agents.prompted_tools import plain_messages, read_choice, union_schema
from orchestrator.execution.errors_steps import ModelRejected

TREE = {
    "type": "object",
    "properties": {"node": {"$ref": "#/$defs/node"}},
    "required": ["node"],
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["name"]}},
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [
    {"name": "get_weather", "description": "The weather.", "parameters": CITY},
    {"name": "store", "description": "Store a tree.", "parameters": TREE},
]


def sent(model: str = "tiny", can: Capabilities | None = None, **fields: Any) -> dict[str, Any]:
    request = ModelRequest(**{"model": f"own/{model}", "messages": [], **fields})
    found = call_arguments(request, model, can or Capabilities(), stream=False)
    return {key: value for key, value in found.items() if key not in ("model", "messages")}


BOUNDED: dict[str, Any] = {"temperature": 0.0, "max_output_tokens": 9}


@pytest.mark.parametrize("model", ["gpt-5-mini", "o4-mini"])
def test_reasoning_models_get_no_temperature_because_they_refuse_one(model: str) -> None:
    assert sent(model, Capabilities(official=True), **BOUNDED) == {"max_completion_tokens": 9}


def test_other_models_of_openai_get_it() -> None:
    assert sent("gpt-4.1-mini", Capabilities(official=True), **BOUNDED) == {
        "temperature": 0.0,
        "max_completion_tokens": 9,
    }


def test_other_servers_get_the_older_name_of_the_bound() -> None:
    assert sent("gpt-5-mini", **BOUNDED) == {"temperature": 0.0, "max_tokens": 9}


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        ("auto", "auto"),
        ("required", "required"),
        ("none", "none"),
        ("get_weather", {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tools_are_functions_and_a_choice_may_name_one(choice: str, written: Any) -> None:
    found = sent(tools=TOOLS, tool_choice=choice)
    assert found["tools"][0] == {"type": "function", "function": TOOLS[0]}
    assert found["tool_choice"] == written
    assert "tool_choice" not in sent(tools=TOOLS)


def test_tools_for_a_provider_without_any_are_refused_with_the_setting() -> None:
    with pytest.raises(ModelRejected) as caught:
        sent(can=Capabilities(tools="none"), tools=TOOLS)
    assert "PROVIDERS__<NAME>__TOOLS" in (caught.value.hint or "")


def test_an_idempotency_key_travels_in_a_header_whatever_its_letters() -> None:
    found = sent(idempotency_key="exec-1:päth/t1.0\n")
    assert found["extra_headers"] == {"Idempotency-Key": "exec-1:p%E4th/t1.0%0A"}


def test_a_stream_asks_for_its_usage() -> None:
    found = call_arguments(ModelRequest("own/tiny", []), "tiny", Capabilities(), stream=True)
    assert (found["stream"], found["stream_options"]) == (True, {"include_usage": True})


def prompted_schema(**fields: Any) -> jsonschema_rs.Draft202012Validator:
    found = sent(can=Capabilities(tools="prompted"), tools=TOOLS, **fields)
    assert "tools" not in found and "tool_choice" not in found
    return jsonschema_rs.Draft202012Validator(found["response_format"]["json_schema"]["schema"])


def test_prompted_tools_are_a_union_of_calls_and_the_answer() -> None:
    allowed = prompted_schema(output_schema=CITY)
    assert allowed.is_valid({"tool": "get_weather", "arguments": {"city": "Oslo"}})
    assert allowed.is_valid({"answer": {"city": "Oslo"}})
    for wrong in (
        {"tool": "get_weather", "arguments": {}},
        {"tool": "delete_all", "arguments": {"city": "Oslo"}},
        {"answer": "Oslo"},
        {"tool": "get_weather", "arguments": {"city": "Oslo"}, "answer": {"city": "Oslo"}},
    ):
        assert not allowed.is_valid(wrong), wrong


def test_prompted_tools_keep_references_inside_their_parameters() -> None:
    allowed = prompted_schema()
    assert allowed.is_valid({"tool": "store", "arguments": {"node": {"name": "a", "next": {"name": "b"}}}})
    assert not allowed.is_valid({"tool": "store", "arguments": {"node": {"name": "a", "next": {}}}})
    assert allowed.is_valid({"answer": "a text"})


def test_a_prompted_choice_leaves_no_answer_or_no_other_tool() -> None:
    required, named = prompted_schema(tool_choice="required"), prompted_schema(tool_choice="store")
    call = {"tool": "get_weather", "arguments": {"city": "Oslo"}}
    assert required.is_valid(call) and not required.is_valid({"answer": "no"})
    assert not named.is_valid(call) and named.is_valid({"tool": "store", "arguments": {"node": {"name": "a"}}})


def test_prompted_tools_are_told_with_their_arguments() -> None:
    _, message = union_schema(TOOLS, CITY, None)
    assert message["role"] == "system"
    for words in ("- get_weather: The weather.", '"city"', "The answer satisfies"):
        assert words in message["content"]


def test_without_tool_choice_prompted_tools_are_not_told() -> None:
    assert "response_format" not in sent(can=Capabilities(tools="prompted"), tools=TOOLS, tool_choice="none")


def test_earlier_calls_and_results_become_plain_messages_for_prompted_models() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    said = plain_messages(
        [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ]
    )
    assert said == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": '{"tool":"get_weather","arguments":{"city":"Oslo"}}'},
        {"role": "user", "content": "Result of get_weather: rain"},
    ]


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ('{"tool": "store", "arguments": {"a": 1}}', (None, ("store", '{"a":1}'))),
        ('{"tool": "store"}', (None, ("store", "{}"))),
        ('{"answer": "yes"}', ("yes", None)),
        ('{"answer": {"ok": true}}', ('{"ok":true}', None)),
        ('{"answer": 1, "more": 2}', ('{"answer": 1, "more": 2}', None)),
        ("just words", ("just words", None)),
        ("[1]", ("[1]", None)),
    ],
)
def test_a_prompted_answer_is_a_call_or_a_text(text: str, choice: Any) -> None:
    assert read_choice(text) == choice
