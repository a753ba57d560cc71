"""Reading models' answers, and everything that models send instead."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agents.answers import parse_answer, read_completion
from orchestrator.agents.prompts import TaskContext, generic_prompt, prompt_messages, sane
from orchestrator.agents.records import check_record
from orchestrator.execution.errors import OrchestratorError
from orchestrator.execution.errors_steps import InvalidOutput, ModelBadResponse, ModelRejected
from orchestrator.expressions import ExpressionError

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer", "maximum": 100}}, "required": ["score"]}


def body(**choice: Any) -> bytes:
    return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode()


def test_text_and_usage_are_read() -> None:
    found = read_completion(body(message={"content": "hi"}, finish_reason="stop"), label="m")
    assert found.text == "hi"
    assert (found.usage.input_tokens, found.usage.output_tokens, found.usage.model_calls) == (3, 4, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [7]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": [1]}}]}',
        b'{"choices": [{"message": {"content": "half"}, "finish_reason": "length"}]}',
        b"[" * 100_000,
    ],
)
def test_what_does_not_speak_the_protocol_is_a_bad_response(data: bytes) -> None:
    with pytest.raises(ModelBadResponse, match=r"^the model: "):
        read_completion(data, label="the model")


def test_a_filtered_answer_is_refused_for_good() -> None:
    with pytest.raises(ModelRejected):
        read_completion(body(message={"content": ""}, finish_reason="content_filter"), label="m")


@given(st.binary(max_size=200))
def test_no_body_makes_anything_but_our_errors(data: bytes) -> None:
    try:
        read_completion(data, label="m")
    except OrchestratorError as error:
        str(error).encode()


@pytest.mark.parametrize(
    "text", ['{"score": 7}', ' \n{"score": 7} ', '```json\n{"score": 7}\n```', '```\n{"score": 7}```']
)
def test_json_is_read_with_and_without_fences(text: str) -> None:
    assert parse_answer(text, SCHEMA, label="a") == {"score": 7}


@pytest.mark.parametrize(
    "text",
    ["", "maybe", '{"score": NaN}', '{"score": 1e999}', '{"score": 99999999999999999999}', '{"score": 7', "[" * 99_999],
)
def test_what_is_not_json_is_an_invalid_output(text: str) -> None:
    with pytest.raises(InvalidOutput) as caught:
        parse_answer(text, SCHEMA, label="a")
    assert caught.value.retryable
    assert caught.value.details["errors"][0]["message"].startswith("not JSON")


def test_every_breach_of_the_schema_is_listed() -> None:
    schema = {**SCHEMA, "required": ["score", "tier"]}
    with pytest.raises(InvalidOutput) as caught:
        parse_answer('{"score": 101}', schema, label="a")
    assert {problem["pointer"] for problem in caught.value.details["errors"]} == {"", "/score"}


def test_values_nested_too_deeply_for_expressions_are_refused() -> None:
    with pytest.raises(InvalidOutput, match="nested deeper"):
        parse_answer("[" * 70 + "]" * 70, {}, label="a")
    assert parse_answer("[" * 59 + "]" * 59, {}, label="a")


def test_lone_surrogates_do_not_leave() -> None:
    assert parse_answer('{"a\\ud800": ["\\udc00"]}', {}, label="a") == {"a?": ["?"]}
    assert sane("a\ud800b") == "a?b"


def test_the_generic_prompt_shows_all_four() -> None:
    text = generic_prompt(TaskContext("summarise", {"tone": "dry"}, {"lead": "Acme"}, {"qualify": {"score": 5}}))
    for part in ("summarise", '{"tone":"dry"}', '{"lead":"Acme"}', '{"qualify":{"score":5}}'):
        assert part in text


def test_a_prompt_that_reads_what_is_missing_says_so() -> None:
    agent = check_record({"agent_type": "a", "tasks": {"t": {"prompt": "{{ input.lead.name }}"}}})
    with pytest.raises(ExpressionError) as caught:
        prompt_messages(agent, TaskContext("t", {}, {"laed": {}}, {}))
    assert caught.value.code == "E_MISSING"


def test_a_prompt_of_one_expression_is_sent_as_text() -> None:
    agent = check_record({"agent_type": "a", "tasks": {"t": {"prompt": "{{ input }}"}}})
    assert prompt_messages(agent, TaskContext("t", {}, {"n": 1}, {})) == [{"role": "user", "content": '{"n":1}'}]
