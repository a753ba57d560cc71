"""`limits.max_parallel_steps` bounds activities; what needs none goes on, and children have room of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.definition.limits import CHILDREN_IN_FLIGHT
from orchestrator.execution import commands as cm
from orchestrator.execution import events as ev
from orchestrator.execution.advancing import CAP_COUNTS_ACTIVITIES
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import ExecutionView, StartExecution, StepResult
from orchestrator.execution.ready_queue import ReadyQueue
from tests.support.machine_driver import Ids, MachineDriver, compiled
from tests.unit.execution.steps import agent, document, foreach, value, wait

ONE: dict[str, Any] = {"limits": {"max_parallel_steps": 1}}
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def child(step_id: str, **fields: Any) -> dict[str, Any]:
    return {"step_id": step_id, "step_type": "workflow", "workflow_id": "other", **fields}


def machine(patched: bool, *steps: dict[str, Any], asked: list[str] | None = None) -> Machine:
    definition = compiled(document(*steps, **ONE))
    state = new_state(definition, StartExecution(workflow_id="w", input={}), "ex-1", 1)

    def answer(rule: str) -> bool:
        if asked is not None:
            asked.append(rule)
        return patched

    return Machine(definition, state, Ids(), answer)


def begun(commands: list[cm.Command]) -> list[str]:
    found = [getattr(command, "activity_id", None) or getattr(command, "timer_id", None) for command in commands]
    return [str(name) for name in found if name is not None]


def states(driven: Machine) -> dict[str, str]:
    return {name: record.state for name, record in driven.state.scopes[""].steps.items()}


def test_steps_without_an_activity_pass_those_that_wait_for_room() -> None:
    driven = machine(True, agent("a"), agent("b"), value("t"), wait("w"), agent("c", depends_on=["t"]))
    assert begun(driven.apply(ev.Started(), BEGIN)) == ["a", "w"]
    assert states(driven) == {"a": "running", "b": "pending", "t": "completed", "w": "running", "c": "pending"}
    # Among those that wait for room the order stays.
    for ended, follower in (("a", ["b"]), ("b", ["c"]), ("c", [])):
        found = driven.apply(ev.ActivityCompleted(ended, StepResult(output=1)), BEGIN + timedelta(seconds=1))
        assert begun(found) == follower


def test_an_execution_of_before_keeps_its_order() -> None:
    driven = machine(False, agent("a"), agent("b"), value("t"), wait("w"), agent("c", depends_on=["t"]))
    assert begun(driven.apply(ev.Started(), BEGIN)) == ["a"]
    assert states(driven)["t"] == "pending"
    assert list(driven.snapshot().ready) == [("", "b"), ("", "t"), ("", "w")]
    assert begun(driven.apply(ev.ActivityCompleted("a", StepResult(output=1)), BEGIN)) == ["b"]
    assert begun(driven.apply(ev.ActivityCompleted("b", StepResult(output=1)), BEGIN)) == ["w", "c"]


def test_whether_the_rule_holds_is_asked_once_and_only_where_it_matters() -> None:
    """The question is an event of the history: executions that never meet it pay nothing."""
    asked: list[str] = []
    machine(True, agent("a"), agent("b"), asked=asked).apply(ev.Started(), BEGIN)
    assert asked == []
    machine(True, agent("a"), value("t"), value("u"), wait("w"), asked=asked).apply(ev.Started(), BEGIN)
    assert asked == [CAP_COUNTS_ACTIVITIES]


def test_awaited_children_take_no_room_from_activities() -> None:
    driven = machine(True, child("k"), child("l"), agent("a"), agent("b"))
    commands = driven.apply(ev.Started(), BEGIN)
    assert sum(isinstance(command, cm.StartChild) for command in commands) == 2
    assert states(driven) == {"k": "running", "l": "running", "a": "running", "b": "pending"}


def test_children_have_a_bound_of_their_own() -> None:
    steps = [foreach(f"f{number}", "range(0, 300)", child(f"k{number}"), max_concurrency=300) for number in range(2)]
    definition = compiled(document(*steps, agent("a")))
    driven = Machine(definition, new_state(definition, StartExecution(workflow_id="w", input={}), "ex-1", 1), Ids())
    commands = driven.apply(ev.Started(), BEGIN)
    assert sum(isinstance(command, cm.StartChild) for command in commands) == CHILDREN_IN_FLIGHT
    assert begun(commands) == ["a"]
    first = next(command for command in commands if isinstance(command, cm.StartChild))
    ended = ev.ChildCompleted(first.child_id, ExecutionView(workflow_id="other", status="completed"))
    assert sum(isinstance(command, cm.StartChild) for command in driven.apply(ended, BEGIN)) == 1


@pytest.mark.parametrize("most", [1, 3])
def test_a_capped_mixture_completes_and_carries(most: int) -> None:
    body = [agent("x"), value("y", "{{ steps.x.output }}"), wait("z", 1, depends_on=["y"]), child("k")]
    sent = document(foreach("f", "range(0, 4)", *body, max_concurrency=4), limits={"max_parallel_steps": most})
    driver = MachineDriver(sent).run()
    assert driver.state.outcome == "completed"


def test_what_is_held_is_carried_in_its_order() -> None:
    queue = ReadyQueue([("", name) for name in "abcd"])
    kinds: dict[str, Any] = {"a": "activity", "b": "child", "c": "activity", "d": None}
    taken = queue.take(lambda entry: kinds[entry[1]], ["activity", "child"])
    assert taken is not None
    assert taken[1] == ("", "d")
    assert [name for _, name in queue] == ["a", "b", "c"]
    assert queue.take(lambda entry: kinds[entry[1]], ["activity", "child"]) is None
    found = queue.take(lambda entry: kinds[entry[1]], ["activity"])
    assert found is not None
    assert found[1] == ("", "b")
    queue.put_back(taken)
    assert [name for _, name in queue] == ["a", "c", "d"]
