"""Compensation, end scopes and their time."""

from __future__ import annotations

from orchestrator.execution import events as ev
from orchestrator.execution.commands import StartChild
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import BOOM, agent, document, foreach, switch, value, wait

LATE = {"cleanup_seconds": 10}


def test_compensation_runs_one_at_a_time_in_reverse_order_of_completion() -> None:
    slow, fast = Play(seconds=4), Play(seconds=2)
    steps = [agent(name, compensate=agent(f"undo_{name}")) for name in ("a", "b", "c")]
    document_ = document(*steps, agent("bad", depends_on=["a", "b", "c"]))
    script = {"a": [slow], "b": [fast], "c": [Play(seconds=3)], "bad": [BOOM]}
    driver = MachineDriver(document_, script).run()
    assert driver.order[4:] == ["undo_a", "undo_c", "undo_b"]
    assert [at for path, at in driver.began if path.startswith("undo")] == [5.0, 6.0, 7.0]


def test_a_compensation_sees_its_siblings_and_what_its_step_saw() -> None:
    seen = {"sibling": "{{ steps.sibling.output }}", "item": "{{ item }}", "index": "{{ index }}", "v": "{{ vars.v }}"}
    undo = value("undo", seen, output="{{ result }}")
    body = [value("sibling", "{{ item * 10 }}"), agent("do", depends_on=["sibling"], compensate=undo)]
    set_later = {"step_id": "set", "step_type": "assign", "values": {"v": 2}, "depends_on": ["f"]}
    steps = [foreach("f", "[7, 8]", *body), set_later, agent("bad", depends_on=["set"])]
    driver = MachineDriver(document(*steps, vars={"v": 1}), {"bad": [BOOM]}).run()
    outputs = [scope.steps["undo"].output for scope in driver.state.scopes.values() if scope.part == "compensate"]
    assert outputs == [
        {"sibling": 80, "item": 8, "index": 1, "v": 1},
        {"sibling": 70, "item": 7, "index": 0, "v": 1},
    ]


def test_a_compensation_sees_its_siblings_after_hundreds_of_other_scopes() -> None:
    undo = value("undo", "{{ steps.sibling.output }}")
    first = switch("first", value("sibling", 5), agent("do", depends_on=["sibling"], compensate=undo))
    many = foreach("many", "range(0, 250)", value("x"), depends_on=["first"])
    script = {"bad": [BOOM]}
    driver = MachineDriver(document(first, many, agent("bad", depends_on=["many"])), script, restore_every=50).run()
    assert [scope.steps["undo"].output for scope in driver.state.scopes.values() if scope.part == "compensate"] == [5]
    assert driver.error_type() == "boom"


def test_a_failing_compensation_is_recorded_and_the_rest_go_on() -> None:
    steps = [
        agent("a", compensate=agent("undo_a")),
        agent("b", depends_on=["a"], compensate=agent("undo_b")),
        agent("bad", depends_on=["b"]),
    ]
    driver = MachineDriver(document(*steps), {"bad": [BOOM], "undo_b": [Play(error="stuck")]}).run()
    assert driver.order[-2:] == ["undo_b", "undo_a"]
    error = driver.state.error
    assert error is not None
    assert error.type == "compensation-failed"
    assert error.cause is not None
    assert error.cause.type == "boom"
    assert [item["type"] for item in error.details["errors"]] == ["stuck"]


def test_a_cancelled_execution_whose_compensation_fails_is_failed() -> None:
    steps = [agent("a", compensate=agent("undo")), wait("w", depends_on=["a"])]
    script = {"undo": [Play(error="stuck")]}
    driver = MachineDriver(document(*steps), script, messages=[(5.0, ev.CancelRequested())]).run()
    assert driver.state.outcome == "failed"
    assert driver.error_type() == "compensation-failed"


def test_cleanup_is_shielded_from_a_second_cancel() -> None:
    steps = [agent("a", compensate=agent("undo")), wait("w", depends_on=["a"])]
    messages = [(5.0, ev.CancelRequested()), (6.0, ev.CancelRequested())]
    driver = MachineDriver(document(*steps), {"undo": [Play(seconds=9)]}, messages=messages).run()
    assert driver.order == ["a", "undo"]
    assert driver.cancelled == []
    assert driver.state.outcome == "cancelled"


def test_handled_and_skipped_steps_are_not_undone() -> None:
    undo = [agent(f"undo_{name}") for name in ("handled", "skipped", "tolerated")]
    steps = [
        agent("handled", on_error=[{"output": 1}], compensate=undo[0]),
        agent("skipped", when=False, compensate=undo[1]),
        agent("tolerated", on_error=[{"continue": True}], compensate=undo[2]),
        agent("bad", depends_on=["handled", "skipped", "tolerated"], join="settled"),
    ]
    driver = MachineDriver(document(*steps), {"handled": [BOOM], "tolerated": [BOOM], "bad": [BOOM]}).run()
    assert sorted(driver.order) == ["bad", "handled", "tolerated"]


def test_nothing_of_the_cleanup_begins_after_its_time() -> None:
    steps = [agent("a", compensate=agent("undo")), agent("bad", depends_on=["a"])]
    script = {"bad": [BOOM], "undo": [Play(seconds=100, cancel_seconds=1)]}
    driver = MachineDriver(document(*steps, timeouts=LATE, on_failure=[agent("last")]), script).run()
    assert driver.order == ["a", "bad", "undo"]
    assert driver.elapsed == 13.0
    assert driver.error_type() == "compensation-failed"
    assert driver.state.error is not None
    assert driver.state.error.cause is not None
    assert driver.state.error.cause.type == "boom"


def test_an_end_scope_is_ended_when_the_time_of_the_cleanup_is_over() -> None:
    driver = MachineDriver(document(agent("bad"), timeouts=LATE, on_failure=[wait("w")]), {"bad": [BOOM]}).run()
    assert driver.elapsed == 11.0
    assert driver.error_type() == "boom"


def test_an_execution_that_fails_on_its_output_cleans_up_once() -> None:
    steps = [agent("a", compensate=agent("undo"))]
    script = {"undo": [Play(seconds=100)]}
    bad_output = {"output": "{{ steps.a.output.x.y }}", "timeouts": LATE, "on_failure": [agent("last")]}
    driver = MachineDriver(document(*steps, **bad_output), script).run()
    assert driver.order == ["a", "undo"]
    assert driver.elapsed == 11.0


def test_the_deadline_leads_to_compensation_and_on_failure() -> None:
    steps = [agent("a", compensate=agent("undo")), wait("w", depends_on=["a"])]
    driver = MachineDriver(
        document(*steps, timeouts={"execution_seconds": 20}, on_failure=[value("last", "{{ run.error.type }}")])
    ).run()
    assert driver.order == ["a", "undo"]
    assert driver.error_type() == "execution-timeout"
    assert driver.all_states()["last"] == "completed"


def test_each_try_of_a_block_is_undone_under_a_key_of_its_own() -> None:
    body = [agent("do", compensate=agent("undo")), agent("bad", depends_on=["do"])]
    block = switch("b", *body, retry={"max_attempts": 2, "initial_interval_seconds": 1})
    driver = MachineDriver(document(block), {"b.bad": [BOOM]}).run()
    assert driver.order == ["b.do", "b.bad", "b.do", "b.bad", "b.undo", "b.undo"]
    assert len(set(driver.keys)) == len(driver.keys)


def test_a_child_that_cleans_up_after_the_deadline_has_the_time_of_the_cleanup() -> None:
    child = {"step_id": "undo", "step_type": "workflow", "workflow_id": "other"}
    timeouts = {"execution_seconds": 10, "cleanup_seconds": 300}
    driver = MachineDriver(document(agent("a", compensate=child), wait("w"), timeouts=timeouts)).run()
    assert driver.error_type() == "execution-timeout"
    (started,) = [command.start for command in driver.commands if isinstance(command, StartChild)]
    assert started.deadline_at == "2026-01-01T00:05:10.000Z"
