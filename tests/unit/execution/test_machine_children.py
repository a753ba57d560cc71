"""Awaited children: tried again by their step's `retry`, and bounded by its schedule-to-close."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.execution import events as ev
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, Json, agent, document, wait

CANCEL: ev.Event = ev.CancelRequested()
TWICE = {"max_attempts": 2, "initial_interval_seconds": 3}


def child(**fields: Any) -> Json:
    return {"step_id": "c", "step_type": "workflow", "workflow_id": "other", **fields}


def test_a_child_that_fails_is_followed_by_another_after_the_delay() -> None:
    script = {"c": [BOOM, Play(result=7)]}
    driver = MachineDriver(document(child(retry=TWICE)), script).run()
    assert driver.state.output == {"c": 7}
    assert driver.began == [("c", 0.0), ("c", 4.0)]
    assert len(set(driver.keys)) == 2
    assert driver.state.scopes[""].steps["c"].attempts == 2


def test_a_childs_tries_may_be_used_up_or_be_of_no_use() -> None:
    assert MachineDriver(document(child(retry=TWICE)), {"c": [BOOM]}).run().order == ["c", "c"]
    never = {**TWICE, "non_retryable_errors": ["boom"]}
    assert MachineDriver(document(child(retry=never)), {"c": [BOOM]}).run().order == ["c"]
    assert MachineDriver(document(child()), {"c": [BOOM]}).run().order == ["c"]
    defaults = {"retry": {"max_attempts": 3}}
    assert MachineDriver(document(child(), defaults=defaults), {"c": [BOOM]}).run().order == ["c"]


def test_a_child_that_somebody_ended_is_not_tried_again() -> None:
    ended = {"c": [Play(error="child-terminated")]}
    assert MachineDriver(document(child(retry=TWICE)), ended).run().order == ["c"]


def test_a_childs_time_bounds_all_its_tries_and_its_end_is_awaited() -> None:
    fields: Json = {"retry": TWICE, "timeouts": {"schedule_to_close_seconds": 6}}
    slow = [BOOM, Play(seconds=50, cancel_seconds=4)]
    driver = MachineDriver(document(child(**fields)), {"c": slow}).run()
    assert (driver.error_type(), driver.elapsed) == ("timeout", 10.0)
    assert driver.cancelled == ["c"]
    waiting = MachineDriver(
        document(child(**{**fields, "retry": {**TWICE, "initial_interval_seconds": 30}})), {"c": [BOOM]}
    )
    assert (waiting.run().error_type(), waiting.elapsed) == ("timeout", 6.0)


def test_a_child_that_completes_in_spite_of_its_time_out_is_completed() -> None:
    stubborn = Play(seconds=50, on_cancel="completed", cancel_seconds=1, result=3)
    driver = MachineDriver(document(child(timeouts={"schedule_to_close_seconds": 6})), {"c": [stubborn]}).run()
    assert driver.state.output == {"c": 3}


def test_a_cancel_of_a_child_whose_time_is_over_asks_it_no_second_time() -> None:
    slow = {"c": [Play(seconds=50, cancel_seconds=10)]}
    steps = [child(timeouts={"schedule_to_close_seconds": 6}), wait("w")]
    driver = MachineDriver(document(*steps), slow, messages=[(7.0, ev.CancelRequested())]).run()
    assert (driver.state.outcome, driver.states()) == ("cancelled", {"c": "cancelled", "w": "cancelled"})
    assert driver.cancelled == ["c"]


def test_a_child_after_one_that_timed_out_is_cancelled_like_any_other() -> None:
    slow = {"c": [Play(seconds=50), Play(seconds=50)]}
    step = child(timeouts={"schedule_to_close_seconds": 6}, on_error=[{"park": True}])
    retry: ev.Event = ev.ParkedStepRepaired("c", "retry")
    messages = [(10.0, retry), (12.0, CANCEL)]
    driver = MachineDriver(document(step), slow, messages=messages).run()
    assert driver.state.outcome == "cancelled"
    assert driver.cancelled == ["c", "c"]


@pytest.mark.parametrize("inside", ["child", "block"])
def test_an_operators_retry_of_what_was_parked_counts_its_tries_anew(inside: str) -> None:
    fields: Json = {"retry": TWICE, "on_error": [{"park": True}]}
    block = {"step_id": "b", "step_type": "switch", "cases": [{"when": True, "steps": [agent("c")]}], **fields}
    step, path = (child(**fields), "c") if inside == "child" else (block, "b.c")
    script = {path: [BOOM, BOOM, BOOM, Play(result=7)]}
    parked = path.partition(".")[0]
    messages: list[tuple[float, ev.Event]] = [(20.0, ev.ParkedStepRepaired(parked, "retry"))]
    driver = MachineDriver(document(step, wait("w", 60)), script, messages=messages).run()
    assert driver.state.outcome == "completed"
    assert driver.order == [path] * 4
