"""Blocks that run again, and steps that operators begin again."""

from __future__ import annotations

from orchestrator.execution import events as ev
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, agent, document, foreach, switch, value, wait

TWICE = {"max_attempts": 2, "initial_interval_seconds": 1}


def test_a_block_inside_a_block_that_are_both_retried_never_shares_ids_or_keys() -> None:
    inner = switch("c", agent("bad"), retry=TWICE)
    driver = MachineDriver(document(switch("b", inner, retry=TWICE)), {"b.c.bad": [BOOM]}).run()
    assert driver.order == ["b.c.bad"] * 4
    assert len(set(driver.keys)) == 4
    assert driver.error_type() == "boom"


def test_a_block_whose_when_fails_is_not_run_by_its_retry() -> None:
    steps = [switch("b", agent("x"), when="input.nope", retry=TWICE)]
    driver = MachineDriver(document(*steps)).run()
    assert driver.order == []
    assert driver.error_type() == "E_MISSING"
    assert driver.elapsed == 0.0


def test_a_block_whose_items_are_no_list_is_not_retried() -> None:
    driver = MachineDriver(document(foreach("f", "input", value("x"), retry=TWICE))).run()
    assert driver.error_type() == "invalid-step-input"
    assert driver.elapsed == 0.0


def test_a_block_is_retried_before_its_handlers_are_asked() -> None:
    steps = [switch("b", agent("bad"), retry=TWICE, on_error=[{"output": 9}])]
    driver = MachineDriver(document(*steps), {"b.bad": [BOOM]}).run()
    assert driver.order == ["b.bad", "b.bad"]
    assert driver.state.output == {"b": 9}


def test_a_retry_that_succeeds_goes_on() -> None:
    steps = [switch("b", agent("x"), agent("y"), retry=TWICE), agent("next", depends_on=["b"])]
    driver = MachineDriver(document(*steps), {"b.x": [BOOM, Play(result=1)]}).run()
    assert driver.order == ["b.x", "b.y", "b.x", "b.y", "next"]
    assert driver.state.outcome == "completed"


def test_a_pattern_that_is_not_retryable_ends_the_tries() -> None:
    steps = [switch("b", agent("bad"), retry={**TWICE, "non_retryable_errors": ["boom"]})]
    assert MachineDriver(document(*steps), {"b.bad": [BOOM]}).run().order == ["b.bad"]


def test_schedule_to_close_bounds_all_tries_of_a_block() -> None:
    bounded = {"retry": {"max_attempts": 50}, "timeouts": {"schedule_to_close_seconds": 30}}
    driver = MachineDriver(document(switch("b", agent("bad"), **bounded)), {"b.bad": [Play(8, error="boom")]}).run()
    assert driver.order == ["b.bad"] * 3
    assert driver.error_type() == "timeout"
    assert driver.elapsed == 30.0


def test_schedule_to_close_ends_what_runs_inside_and_can_be_handled() -> None:
    steps = [
        switch(
            "b", agent("x"), timeouts={"schedule_to_close_seconds": 3}, on_error=[{"errors": ["timeout"], "output": 4}]
        )
    ]
    driver = MachineDriver(document(*steps), {"b.x": [Play(seconds=60, cancel_seconds=2)]}).run()
    assert driver.state.output == {"b": 4}
    assert driver.elapsed == 5.0


def test_a_parked_step_begins_again_under_another_id_and_the_same_key() -> None:
    steps = [agent("x", on_error=[{"park": True}])]
    messages = [(10.0, ev.ParkedStepRepaired("x", "retry"))]
    driver = MachineDriver(document(*steps), {"x": [BOOM, Play(result=5)]}, messages=messages).run()
    assert driver.order == ["x", "x"]
    assert len(set(driver.keys)) == 1
    assert driver.state.output == {"x": 5}


def test_a_parked_block_begins_again_with_all_that_is_inside() -> None:
    steps = [switch("b", agent("x"), agent("y", depends_on=["x"]), on_error=[{"park": True}])]
    messages = [(10.0, ev.ParkedStepRepaired("b", "retry"))]
    driver = MachineDriver(document(*steps), {"b.y": [BOOM, Play(result=5)]}, messages=messages).run()
    assert driver.order == ["b.x", "b.y", "b.x", "b.y"]
    assert driver.state.outcome == "completed"


def test_a_parked_step_that_an_operator_skips_skips_what_depends_on_it() -> None:
    steps = [agent("x", on_error=[{"park": True}]), agent("y", depends_on=["x"])]
    messages = [(10.0, ev.ParkedStepRepaired("x", "skip"))]
    driver = MachineDriver(document(*steps), {"x": [BOOM]}, messages=messages).run()
    assert driver.states() == {"x": "skipped", "y": "skipped"}


def test_a_repair_of_a_step_that_is_not_parked_changes_nothing() -> None:
    messages = [(0.5, ev.ParkedStepRepaired("x", "skip")), (0.6, ev.ParkedStepRepaired("nowhere", "retry"))]
    driver = MachineDriver(document(agent("x")), messages=messages).run()
    assert driver.state.output == {"x": "x"}


def test_a_parked_step_ends_with_its_scope() -> None:
    steps = [agent("x", on_error=[{"park": True}]), wait("w", 20), agent("bad", depends_on=["w"])]
    driver = MachineDriver(document(*steps), {"x": [BOOM], "bad": [BOOM]}).run()
    assert driver.states() == {"x": "cancelled", "w": "completed", "bad": "failed"}
