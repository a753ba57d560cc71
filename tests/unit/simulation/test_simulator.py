"""The simulator: what it plays, what it reports, and where it stops."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.simulation import Bounds
from tests.support.simulations import expired_after, played


def call(step_id: str = "call", **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "api_call", "url": "https://far.example.com/", **fields}


def child(step_id: str = "kid", **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "workflow", "workflow_id": "kid", **fields}


KID = {"steps": [call("fetch", json={"n": "{{ input.n }}"})], "output": "{{ steps.fetch.output }}"}
YEAR = 31_536_000


def test_a_year_of_waiting_takes_no_time_and_is_told() -> None:
    report = played({"step_id": "nap", "step_type": "wait", "seconds": YEAR})
    assert (report.status, report.virtual_seconds) == ("completed", YEAR)


def test_attempts_are_counted_and_spaced_by_the_steps_policy() -> None:
    retry = {"max_attempts": 4, "initial_interval_seconds": 2, "backoff_coefficient": 3}
    report = played(call(retry=retry), mocks={"call": [{"error": {"type": "http-503"}}] * 3 + [{"output": "fine"}]})
    assert [item.at_seconds for item in report.calls] == [0, 2, 8, 26]
    assert [item.attempt for item in report.calls] == [1, 2, 3, 4]
    assert (report.steps[0].attempts, report.output) == (4, {"call": "fine"})


def test_an_error_that_is_not_retryable_ends_the_step_at_once() -> None:
    mocks = {"call": {"error": {"type": "http-422", "message": "no", "retryable": False, "details": {"why": "x"}}}}
    report = played(call(), mocks=mocks)
    assert (report.status, report.call_counts) == ("failed", {"call": 1})
    assert report.error is not None
    assert (report.error.type, report.error.step, report.error.details) == ("http-422", "call", {"why": "x"})


def test_a_hanging_attempt_ends_by_its_timeout_and_is_tried_again() -> None:
    step = call(timeouts={"start_to_close_seconds": 10}, retry={"max_attempts": 2})
    report = played(step, mocks={"call": [{"hang": True}, {"output": 1}]})
    assert [(item.outcome, item.error_type) for item in report.calls] == [("failed", "timeout"), ("completed", None)]
    # The wrapper ends an attempt half a second before Temporal would; the next one comes a second later.
    assert report.calls[1].at_seconds == 10.5


def test_a_parked_attempt_is_not_counted() -> None:
    report = played(call(retry={"max_attempts": 1}), mocks={"call": [{"park_seconds": 30}, {"output": 1}]})
    assert (report.status, report.virtual_seconds, report.steps[0].attempts) == ("completed", 30, 1)


def test_the_path_lists_what_began_in_order_and_skips_have_reasons() -> None:
    steps: list[dict[str, Any]] = [
        {"step_id": "a", "step_type": "transform", "value": 1},
        {"step_id": "b", "step_type": "transform", "value": 2, "when": "steps.a.output > 1", "depends_on": ["a"]},
        {"step_id": "c", "step_type": "transform", "value": 3, "depends_on": ["b"]},
        {
            "step_id": "d",
            "step_type": "foreach",
            "items": [7, 8],
            "steps": [{"step_id": "e", "step_type": "transform", "value": "{{ item }}"}],
            "depends_on": ["a"],
        },
    ]
    report = played(*steps, output="{{ steps.d.output }}")
    assert sorted(entry.path for entry in report.path) == ["a", "d", "d[0].e", "d[1].e"]
    assert [entry.path for entry in report.path][:1] == ["a"]
    assert {entry.state for entry in report.path} == {"completed"}
    assert [(item.path, item.reason) for item in report.skipped] == [("b", "condition"), ("c", "dependencies")]
    assert report.skipped[1].message == "its join is not met: 'b' is skipped"


def test_a_step_without_a_mock_echoes_and_is_named() -> None:
    report = played(call(json={"x": 1}))
    assert report.output["call"]["body"]["json"] == {"x": 1}
    assert (report.unmocked, report.calls[0].mocked) == (["call"], False)
    assert report.warnings == ["step 'call' has no mock: it answered with what it was asked"]


def test_a_step_without_a_mock_fails_where_every_step_must_have_one() -> None:
    report = played(call(), unmocked="error")
    assert report.error is not None
    assert (report.status, report.error.type, report.call_counts) == ("failed", "unmocked-step", {"call": 1})


def test_a_mock_by_step_id_or_by_path_without_positions_answers_in_every_item() -> None:
    fan = {"step_id": "rows", "step_type": "foreach", "items": [1, 2, 3], "steps": [call("save")]}
    for key in ("save", "rows.save"):
        report = played(
            fan, mocks={key: {"output": 1}, "rows[1].save": {"output": 2}}, output="{{ steps.rows.output }}"
        )
        assert report.output == [{"save": 1}, {"save": 2}, {"save": 1}]


def test_each_path_plays_its_entries_from_the_first() -> None:
    fan = {"step_id": "rows", "step_type": "foreach", "items": [1, 2], "steps": [call("save")]}
    report = played(fan, mocks={"save": [{"error": {"type": "busy"}}, {"output": 1}]})
    assert report.call_counts == {"rows[0].save": 2, "rows[1].save": 2}


def test_a_mock_that_nobody_used_is_named() -> None:
    report = played(call("a"), call("b", when="false"), mocks={"a": {}, "b": {}})
    assert report.unused_mocks == ["b"]


def test_an_approval_is_given_when_it_is_asked_for_and_its_wait_costs_nothing() -> None:
    ask = {"step_id": "ok", "step_type": "approval", "title": "May we?", "depends_on": ["nap"]}
    nap = {"step_id": "nap", "step_type": "wait", "seconds": 60}
    report = played(nap, ask, messages=[{"send": "approve", "path": "ok", "by": "ann"}])
    assert (report.status, report.messages[0].at_seconds) == ("completed", 60)


def test_an_approval_that_nobody_gives_leaves_the_execution_waiting() -> None:
    report = played({"step_id": "ok", "step_type": "approval", "title": "May we?"})
    assert (report.status, report.detail) == ("awaiting", "approval")
    assert [item.path for item in report.approvals] == ["ok"]
    assert report.warnings == ["nothing more can happen: the execution is awaiting for approval"]


def test_a_message_that_is_never_taken_says_why() -> None:
    ask = {"step_id": "ok", "step_type": "approval", "title": "May we?", "approvers": ["ann"], "timeout_seconds": 5}
    report = played(ask, messages=[{"send": "approve", "path": "ok", "by": "eve"}])
    assert (report.status, report.messages[0].at_seconds) == ("failed", None)
    assert "never taken" in report.warnings[0]


def test_a_signal_comes_at_its_time() -> None:
    wait = {"step_id": "paid", "step_type": "wait_for_signal", "signal": "paid", "timeout_seconds": 100}
    late = {"send": "signal", "name": "paid", "payload": 7, "after_seconds": 101.0}
    assert played(wait, messages=[{**late, "after_seconds": 99.0}]).output == {"paid": 7}
    assert played(wait, messages=[late]).status == "failed"


def test_a_cancel_ends_what_hangs_and_is_told() -> None:
    report = played(call(), mocks={"call": {"hang": True}}, messages=[{"send": "cancel", "after_seconds": 5.0}])
    assert (report.status, report.virtual_seconds, report.cancelled_calls) == ("cancelled", 5, ["call"])


def test_a_child_runs_from_its_definition_with_mocks_of_its_own() -> None:
    report = played(
        child(input={"n": 4}),
        mocks={"kid/fetch": {"output": 9}},
        children={"kid": KID},
        output="{{ steps.kid.output }}",
    )
    assert (report.output, report.executions) == (9, 2)
    assert [entry.path for entry in report.path] == ["kid", "kid/fetch"]
    assert report.calls[0].asked == {"n": 4}


def test_a_mocked_child_does_not_run() -> None:
    report = played(child(), mocks={"kid": {"output": 5}}, children={"kid": KID})
    assert (report.output, report.executions, report.call_counts) == ({"kid": 5}, 1, {"kid": 1})
    failing = {"kid": {"error": {"type": "late", "message": "no"}}}
    assert played(child(), mocks=failing, children={"kid": KID}).status == "failed"


def test_a_hanging_mocked_child_is_cancelled_with_its_parent() -> None:
    report = played(
        child(),
        mocks={"kid": {"hang": True}},
        children={"kid": KID},
        messages=[{"send": "cancel", "after_seconds": 1.0}],
    )
    assert (report.status, report.cancelled_calls) == ("cancelled", ["kid"])


def test_a_child_that_is_not_stored_or_takes_another_input_fails_its_step() -> None:
    report = played(child())
    assert report.error is not None
    assert report.error.type == "workflow-not-found"
    picky = {**KID, "input_schema": {"type": "object", "required": ["n"]}}
    report = played(child(), children={"kid": picky})
    assert report.error is not None
    assert report.error.type == "invalid-input"


def test_an_agent_asks_for_tools_and_both_are_mocked() -> None:
    agent = {"step_id": "ask", "step_type": "agent_task", "agent_type": "sales", "task": "t"}
    turn = {"tool_calls": [{"call_id": "1", "tool": "look", "arguments": {"q": 1}}], "usage": {"model_calls": 1}}
    report = played(agent, mocks={"ask": [{"turn": turn}, {"turn": {"output": "ok"}}], "ask:look": {"output": 3}})
    assert report.output == {"ask": "ok"}
    assert [(item.path, item.asked) for item in report.calls if ":" in item.path] == [("ask:look", {"q": 1})]


def test_the_same_scenario_gives_the_same_report() -> None:
    steps = [{"step_id": "x", "step_type": "transform", "value": ["{{ uuid() }}", "{{ now() }}"]}, call()]
    assert played(*steps) == played(*steps)


@pytest.mark.parametrize(
    ("bounds", "stopped"),
    [
        (Bounds(events=50), "events"),
        (Bounds(live_bytes=100_000), "data"),
        (Bounds(expired=expired_after(20)), "time"),
    ],
)
def test_a_simulation_stops_at_its_bounds(bounds: Bounds, stopped: str) -> None:
    text = {"step_id": "v", "step_type": "assign", "values": {"big": "{{ range(20000) }}"}}
    nap = {"step_id": "nap", "step_type": "wait", "seconds": 1}
    body = [nap, {**text, "when": "loop.iteration > 40"}]
    loop = {"step_id": "on", "step_type": "loop", "max_iterations": 1000, "while": "true", "steps": body}
    report = played(loop, bounds=bounds)
    assert (report.status, report.stopped) == ("running", stopped)
    assert f"bounded in {stopped}" in report.warnings[-1]


def test_workflows_that_call_each_other_many_times_stop() -> None:
    fan = {"step_id": "all", "step_type": "foreach", "items": "{{ range(100) }}", "steps": [child("again")]}
    report = played(fan, children={"kid": {"steps": [fan]}}, bounds=Bounds(executions=150))
    assert report.stopped == "executions"
