"""Scopes that end early end once: losers, siblings and items that only wait close in the same moment."""

from __future__ import annotations

import pytest

from orchestrator.execution import events as ev
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, Json, agent, document, foreach, parallel, switch, value, wait


def test_a_waiting_block_does_not_make_the_cleanup_run_twice() -> None:
    steps = [
        agent("one", compensate=agent("undo_one")),
        agent("two", depends_on=["one"], compensate=agent("undo_two")),
        agent("bad", depends_on=["two"]),
        switch("block", wait("w")),
    ]
    driver = MachineDriver(document(*steps, on_failure=[agent("last")]), {"bad": [BOOM]}).run()
    assert driver.order == ["one", "two", "bad", "undo_two", "undo_one", "last"]
    assert driver.states() == {"one": "completed", "two": "completed", "bad": "failed", "block": "cancelled"}
    assert driver.error_type() == "boom"


def test_a_foreach_whose_other_items_only_wait_fails_once() -> None:
    body = [value("first"), agent("call", when="item == 0", depends_on=["first"]), wait("w", when="item > 0")]
    driver = MachineDriver(document(foreach("f", "range(0, 3)", *body)), {"f[0].call": [BOOM]}).run()
    assert driver.state.outcome == "failed"
    assert driver.state.error is not None
    assert (driver.state.error.type, driver.state.error.step, driver.state.error.via) == ("boom", "f[0].call", "f")


def test_a_parallel_whose_losers_only_wait_completes_once() -> None:
    block = parallel("p", "any", fast=[agent("a")], slow=[wait("w")], slower=[wait("v")])
    driver = MachineDriver(document(block, agent("next", depends_on=["p"]), wait("aside", 5))).run()
    assert driver.state.outcome == "completed"
    assert driver.order == ["p.a", "next"]
    assert driver.state.scopes[""].steps["p"].output == {"fast": {"a": "p.a"}, "slow": None, "slower": None}


def test_cancelling_the_rest_waits_for_what_is_in_flight() -> None:
    block = parallel("p", "any", fast=[agent("a")], slow=[agent("b")])
    slow = Play(seconds=60, cancel_seconds=7)
    driver = MachineDriver(document(block, agent("next", depends_on=["p"])), {"p.b": [slow]}).run()
    assert dict(driver.began)["next"] == 8.0
    assert driver.cancelled == ["p.b"]


def test_what_completes_in_spite_of_its_cancel_is_completed_and_undone() -> None:
    stubborn = Play(seconds=60, on_cancel="completed", cancel_seconds=3, result="done")
    steps = [agent("bad"), agent("stubborn", compensate=agent("undo", parameters={"was": "{{ result }}"}))]
    driver = MachineDriver(document(*steps), {"bad": [BOOM], "stubborn": [stubborn]}).run()
    assert driver.states() == {"bad": "failed", "stubborn": "completed"}
    assert driver.order == ["bad", "stubborn", "undo"]


def test_what_fails_after_a_cancel_request_is_cancelled_with_its_outcome_unknown() -> None:
    stubborn = Play(seconds=60, on_cancel="failed", cancel_seconds=3)
    driver = MachineDriver(document(agent("bad"), agent("x")), {"bad": [BOOM], "x": [stubborn]}).run()
    record = driver.state.scopes[""].steps["x"]
    assert record.state == "cancelled"
    assert record.error is not None
    assert record.error.outcome_unknown


def test_the_first_reason_to_end_wins() -> None:
    hanging = Play(seconds=60, cancel_seconds=10)
    messages = [(3.0, ev.CancelRequested("late"))]
    driver = MachineDriver(document(agent("bad"), agent("x")), {"bad": [BOOM], "x": [hanging]}, messages=messages).run()
    assert driver.state.outcome == "failed"
    assert driver.error_type() == "boom"


@pytest.mark.parametrize("output", ["{{ input.nope }}", "{{ steps.f.output }}"])
def test_the_document_output_is_not_applied_to_a_finish(output: str) -> None:
    finish = {"step_id": "f", "step_type": "finish", "value": 7}
    driver = MachineDriver(document(finish, output=output, output_schema={"const": 7})).run()
    assert driver.state.outcome == "completed"
    assert driver.state.output == 7


def test_a_finish_whose_value_fails_fails() -> None:
    finish = {"step_id": "f", "step_type": "finish", "value": 7, "output": "{{ input.nope }}"}
    driver = MachineDriver(document(finish)).run()
    assert driver.states() == {"f": "failed"}
    assert driver.error_type() == "E_MISSING"


@pytest.mark.parametrize("inside", [False, True])
def test_a_finish_anywhere_cancels_the_rest_and_undoes_nothing(inside: bool) -> None:
    finish: Json = {"step_id": "f", "step_type": "finish", "value": 7, "when": "input.yes"}
    body = [agent("a", compensate=agent("undo")), {**finish, "depends_on": ["a"]}]
    last = foreach("each", "range(0, 2)", parallel("p", b=body, c=[agent("slow")])) if inside else switch("s", *body)
    slow = Play(seconds=50, cancel_seconds=4)
    driver = MachineDriver(document(last, agent("beside")), {"beside": [slow]}, input={"yes": True}, messages=[]).run()
    assert driver.state.outcome == "completed"
    assert driver.state.output == 7
    assert "undo" not in {path.rpartition(".")[2] for path in driver.order}
    assert driver.states()["beside"] == "cancelled"
    assert driver.elapsed == 5.0


def test_a_cancel_while_a_handler_runs_cancels_the_step() -> None:
    steps = [agent("bad", on_error=[{"steps": [wait("h")]}])]
    driver = MachineDriver(document(*steps), {"bad": [BOOM]}, messages=[(5.0, ev.CancelRequested())]).run()
    assert driver.state.outcome == "cancelled"
    assert driver.all_states() == {"bad": "cancelled", "bad.h": "cancelled"}


# --- which finish decides ---------------------------------------------------------------------------------------------


def finish(step_id: str, **fields: object) -> Json:
    return {"step_id": step_id, "step_type": "finish", "value": step_id, **fields}


NESTED = switch("outer", switch("inner", finish("deep")))


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([finish("a"), finish("b")], "a"),
        ([switch("s", finish("inside")), finish("b")], "inside"),
        ([NESTED, finish("b")], "deep"),
        ([finish("b"), NESTED], "b"),
        ([switch("s", agent("slow"), finish("late", depends_on=["slow"])), finish("b")], "b"),
        ([parallel("p", left=[NESTED], right=[finish("f")]), finish("b")], "deep"),
        ([parallel("p", left=[switch("s", value("v"))], right=[finish("f")]), finish("b")], "f"),
        ([finish("b", depends_on=["v"]), switch("s", finish("inside")), value("v")], "b"),
    ],
)
def test_of_finish_steps_that_are_ready_together_the_first_of_the_document_decides(
    steps: list[Json], wanted: str
) -> None:
    driver = MachineDriver(document(*steps)).run()
    assert (driver.state.outcome, driver.state.output) == ("completed", wanted)


def test_a_finish_goes_before_what_could_not_finish_the_execution() -> None:
    driver = MachineDriver(document(finish("now"), switch("s", agent("never")), agent("neither"))).run()
    assert (driver.state.output, driver.order) == ("now", [])


def test_of_items_that_finish_together_the_first_decides() -> None:
    body = [switch("s", {**finish("f"), "value": "{{ item }}"})]
    driver = MachineDriver(document(foreach("each", "[7, 8]", *body), finish("b"))).run()
    assert driver.state.output == 7
