"""Faulty scenarios: every issue at once, with its pointer and a way out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.simulations import issues_of

CALL = {"step_type": "api_call", "url": "https://far.example.com/"}
FLOW: dict[str, Any] = {
    "steps": [
        {"step_id": "rows", "step_type": "foreach", "items": [1], "steps": [{"step_id": "save", **CALL}]},
        {
            "step_id": "charge",
            **CALL,
            "compensate": {"step_id": "refund", **CALL},
            "on_error": [{"errors": ["*"], "steps": [{"step_id": "tell", **CALL}]}],
        },
        {"step_id": "sum", "step_type": "transform", "value": 1},
        {"step_id": "kid", "step_type": "workflow", "workflow_id": "kid"},
        {"step_id": "ask", "step_type": "agent_task", "agent_type": "sales", "task": "t"},
    ],
    "on_failure": {"steps": [{"step_id": "page", **CALL}]},
}
KID = {"kid": {"steps": [{"step_id": "fetch", **CALL}]}}
KEYS = ["rows[0].save", "rows.save", "save", "charge.tell", "refund", "page", "kid", "kid/fetch", "ask", "ask:look"]


@pytest.mark.parametrize("key", KEYS)
def test_a_step_can_be_named_by_path_and_by_id(key: str) -> None:
    assert issues_of(FLOW, {key: {"output": 1}}, children=KID) == []


@pytest.mark.parametrize(
    ("mocks", "code", "pointer", "hint"),
    [
        ({"rows.sav": {}}, "unknown-step", "/mocks/rows.sav", "did you mean 'rows.save'?"),
        ({"kid/fetsh": {}}, "unknown-step", "/mocks/kid~1fetsh", "did you mean 'fetch'?"),
        ({"kit/fetch": {}}, "unknown-workflow", "/mocks/kit~1fetch", "did you mean 'kid/fetch'?"),
        ({"sum": {}}, "not-mockable", "/mocks/sum", "mock the steps that reach outside"),
        ({"charge:tool": {}}, "not-mockable", "/mocks/charge:tool", None),
        ({"charge": {"outputs": 1}}, "unknown-field", "/mocks/charge/outputs", "did you mean 'output'?"),
        ({"charge": [{"delay_seconds": "1"}]}, "wrong-type", "/mocks/charge/0/delay_seconds", None),
        ({"charge": [{"delay_seconds": -1}]}, "invalid-value", "/mocks/charge/0/delay_seconds", None),
        ({"charge": []}, "invalid-value", "/mocks/charge", None),
        ({"charge": 7}, "wrong-type", "/mocks/charge", None),
        ({"charge": {"output": 1, "hang": True}}, "invalid-value", "/mocks/charge", None),
        ({"ask": {"turn": {"tool_calls": 7}}}, "wrong-type", "/mocks/ask/turn/tool_calls", None),
        ([], "wrong-type", "/mocks", None),
    ],
)
def test_a_faulty_mock_is_pointed_at(mocks: Any, code: str, pointer: str, hint: str | None) -> None:
    (issue,) = issues_of(FLOW, mocks, children=KID)
    assert (issue.code, issue.pointer) == (code, pointer)
    assert hint is None or (issue.hint or "").startswith(hint)


@pytest.mark.parametrize(
    ("message", "pointer"),
    [
        ({"send": "sing"}, "/messages/0/send"),
        ({"send": "signal"}, "/messages/0"),
        ({"send": "approve"}, "/messages/0"),
        ({"send": "pause", "when": 3}, "/messages/0/when"),
        ({}, "/messages/0/send"),
        ("pause", "/messages/0"),
        ({"send": "raise_budget", "budget": {"token": 1}}, "/messages/0"),
    ],
)
def test_a_faulty_message_is_pointed_at(message: Any, pointer: str) -> None:
    (issue,) = issues_of(FLOW, {}, [message])
    assert issue.pointer == pointer


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = issues_of(FLOW, {"x": {}, "charge": 1}, "no", unmocked="maybe")
    assert sorted(issue.pointer for issue in found) == ["/messages", "/mocks/charge", "/mocks/x", "/unmocked"]
