"""Tool records: what is accepted, every issue of what is not, and the requests that they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.agents.discovery import read_records
from orchestrator.agents.tools import ToolContext
from orchestrator.agents.tools.declared import http_request
from orchestrator.agents.tools.records import BUILTIN_NAMES, check_tool, read_tools, tool_document
from orchestrator.execution.errors_tools import InvalidTool, InvalidToolArguments, ToolFailed

EXAMPLES = Path(__file__).parents[3] / "examples" / "tools"
CONTEXT = ToolContext("ex-1", "ask", "ex-1/ask/t0.0", timeout_seconds=5)
RATE: dict[str, Any] = {
    "name": "exchange_rate",
    "description": "The exchange rate of two currencies.",
    "parameters": {
        "type": "object",
        "properties": {"base": {"type": "string"}, "day": {"type": "string"}},
        "required": ["base"],
    },
    "http": {
        "url": "https://rates.example.com/v1/{{ arguments.base }}",
        "query": {"day": "{{ arguments.day ?? 'latest' }}"},
        "headers": {"X-Base": "{{ arguments.base }}"},
        "output": "{{ response.body.rate }}",
    },
}


def issues_of(document: Any, **options: Any) -> dict[str, str]:
    with pytest.raises(InvalidTool) as caught:
        check_tool(document, **options)
    return {issue.pointer: issue.code for issue in caught.value.issues}


def test_a_sound_record_keeps_only_what_was_said() -> None:
    assert tool_document(check_tool(RATE)) == RATE
    spec = check_tool({"name": "report", "description": "Reports.", "workflow": {"workflow_id": "report"}}).spec()
    assert (spec.kind, spec.workflow_id, spec.version) == ("workflow", "report", None)
    assert spec.parameters["type"] == "object"


def test_every_fault_is_reported_at_once_with_its_pointer() -> None:
    document = {
        "name": "two words",
        "description": "",
        "parameters": {"type": "array"},
        "http": {"url": "{{ arguments.url }}", "query": {"a": "{{ nothing.here }}"}, "methd": "GET"},
    }
    assert issues_of(document) == {
        "/name": "invalid-value",
        "/description": "invalid-value",
        "/parameters/type": "invalid-schema",
        "/http/methd": "unknown-field",
        "/http/query/a": "E_NAME",
        "/http/url": "dynamic-host",
    }


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], {"": "wrong-type"}),
        ({"name": "a", "description": "b"}, {"": "invalid-value"}),
        ({**RATE, "workflow": {"workflow_id": "report"}}, {"": "invalid-value"}),
        ({**RATE, "name": "get_time"}, {"/name": "name-taken"}),
        ({**RATE, "http": {"url": "https://{{ arguments.host }}/x"}}, {"/http/url": "dynamic-host"}),
        ({**RATE, "http": {"url": "https://api.example.com{{ arguments.host }}/"}}, {"/http/url": "dynamic-host"}),
        ({**RATE, "http": {"url": "file:///etc/passwd"}}, {"/http/url": "dynamic-host"}),
        ({**RATE, "description": "x" * 300_000}, {"": "record-too-large"}),
    ],
)
def test_what_cannot_work_is_refused(document: Any, expected: dict[str, str]) -> None:
    assert issues_of(document) == expected


def test_the_path_may_give_the_name_but_not_another() -> None:
    nameless = {key: value for key, value in RATE.items() if key != "name"}
    assert check_tool(nameless, name="rate").name == "rate"
    assert issues_of(RATE, name="rate") == {"/name": "name-mismatch"}


def request_of(**arguments: Any) -> Any:
    http = check_tool(RATE).http
    assert http is not None
    return http_request(http, arguments, CONTEXT, "exchange_rate")


def test_arguments_fill_the_request_and_stay_in_their_place() -> None:
    request = request_of(base="E/U R?x=1#", day="2030-01-02")
    assert request.url == "https://rates.example.com/v1/E%2FU%20R%3Fx%3D1%23"
    assert request.query == {"day": "2030-01-02"}
    assert request.headers == {"X-Base": "E/U R?x=1#"}
    assert request.call.idempotency_key == "ex-1/ask/t0.0"
    assert not request.has_json


def test_an_argument_cannot_lead_to_another_path() -> None:
    with pytest.raises(InvalidToolArguments):
        request_of(base="..")


def test_a_template_that_reads_what_is_not_there_fails_the_call() -> None:
    with pytest.raises(ToolFailed) as caught:
        request_of()
    assert not caught.value.retryable


def test_the_shipped_tools_are_sound() -> None:
    assert [record.name for record in read_tools(EXAMPLES)] == ["exchange_rate", "look_up_order", "refund_order"]


def test_every_tool_that_a_shipped_agent_names_is_built_in_or_shipped() -> None:
    known = {*BUILTIN_NAMES, *(record.name for record in read_tools(EXAMPLES))}
    named = {name for record in read_records(EXAMPLES.parent / "agents") for name in record.tools}
    assert {"look_up_order", "refund_order", "http_request"} <= named <= known
