"""What bounds an agent's loop holds beside tool calls in flight, approvals and children that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.execution import commands as cm
from orchestrator.execution import events as ev
from orchestrator.execution.messages import BudgetRaise
from orchestrator.execution.messages_agents import CallToolInput, InvokeModelInput, InvokeModelResult, ToolCallRequest
from tests.support.machine_driver import MachineDriver, Play
from tests.unit.execution.steps import agent, document

Json = dict[str, Any]
Told = list[tuple[float, ev.Event]]


def gated(number: int) -> ToolCallRequest:
    return ToolCallRequest(call_id=f"c{number}", tool="t", requires_approval=True)


def plain(number: int) -> ToolCallRequest:
    return ToolCallRequest(call_id=f"c{number}", tool="t")


def agents(*calls: ToolCallRequest, tool_seconds: float = 10) -> Callable[[cm.ScheduleActivity, int], Play]:
    """Return how agents go that ask for these tools in their first turn and answer in the second."""

    def play(command: cm.ScheduleActivity, begin: int) -> Play:
        request = command.arguments[0]
        if isinstance(request, CallToolInput):
            return Play(seconds=tool_seconds, result="found")
        assert isinstance(request, InvokeModelInput)
        asks = list(calls) if request.turn == 0 else []
        return Play(result=InvokeModelResult(output="done", max_turns=3, tool_calls=asks))

    return play


def budget(**bounds: Any) -> Json:
    return {"limits": {"budget": {**bounds, "on_exhausted": "park"}}}


def approved(path: str) -> ev.ApprovalGiven:
    return ev.ApprovalGiven(path, "approved", "ann")


def activities(driver: MachineDriver) -> list[str]:
    return [command.activity_id for command in driver.commands if isinstance(command, cm.ScheduleActivity)]


def test_no_more_tools_are_called_at_once_than_the_cap_allows() -> None:
    steps = document(agent("a"), limits={"max_parallel_steps": 2})
    driver = MachineDriver(steps, agents=agents(*(plain(number) for number in range(5)))).run()
    assert driver.most_in_flight == 2
    assert activities(driver) == ["a", *(f"a/t0.{number}" for number in range(5)), "a/m1"]
    assert driver.state.output == {"a": "done"}


def test_an_agent_is_parked_once_its_tools_have_ended() -> None:
    steps = document(agent("a"), **budget(tool_calls=1))
    told: Told = [(2.0, approved("a:t0.1")), (5.0, ev.ParkedStepRepaired("a", "set_output", "too early"))]
    driver = MachineDriver(steps, agents=agents(plain(0), gated(1)), messages=told).run(until=6)
    assert not driver.machine.parked("a")
    assert driver.states() == {"a": "running"}
    driver.run()
    assert driver.machine.parked("a")
    driver.feed(ev.ParkedStepRepaired("a", "set_output", "by hand"))
    assert driver.state.output == {"a": "by hand"}


def test_a_raise_brings_on_an_agent_whose_tools_still_run() -> None:
    steps = document(agent("a"), **budget(tool_calls=1))
    told: Told = [(2.0, approved("a:t0.1")), (5.0, ev.BudgetRaised(BudgetRaise(tool_calls=1)))]
    driver = MachineDriver(steps, agents=agents(plain(0), gated(1)), messages=told).run()
    assert driver.began == [("a", 0), ("a", 1), ("a", 5), ("a", 15)]
    assert driver.state.output == {"a": "done"}


def test_a_decision_about_one_call_leaves_a_parked_agent_parked() -> None:
    steps = document(agent("a"), **budget(tool_calls=1))
    told: Told = [(20.0, approved("a:t0.1")), (21.0, approved("a:t0.2"))]
    driver = MachineDriver(steps, agents=agents(plain(0), gated(1), gated(2)), messages=told).run()
    assert driver.machine.parked("a")
    driver.feed(ev.BudgetRaised(BudgetRaise(tool_calls=2)))
    driver.run()
    assert driver.state.output == {"a": "done"}


def test_a_raise_shows_the_approvals_of_an_agent_that_was_parked() -> None:
    steps = document(agent("a"), **budget(tool_calls=1))
    told: Told = [(20.0, approved("a:t0.1")), (21.0, ev.BudgetRaised(BudgetRaise(tool_calls=2)))]
    driver = MachineDriver(steps, agents=agents(plain(0), gated(1), gated(2)), messages=told).run()
    assert driver.state.scopes[""].steps["a"].awaits == "approval"
    driver.feed(approved("a:t0.2"))
    driver.run()
    assert driver.state.output == {"a": "done"}


def test_no_agent_waits_for_the_share_of_a_child_that_nobody_awaits() -> None:
    child = {"step_id": "c", "step_type": "workflow", "workflow_id": "other", "wait": False}
    steps = document(child, agent("a", depends_on=["c"]), agent("b", depends_on=["a"]), **budget(model_calls=2))
    driver = MachineDriver(steps, agents=agents()).run()
    # The child has one call, the parent the other: it is used up, and the next agent says so.
    assert driver.states() == {"c": "completed", "a": "completed", "b": "running"}
    assert driver.machine.parked("b")
    driver.feed(ev.BudgetRaised(BudgetRaise(model_calls=1)))
    driver.run()
    assert driver.state.outcome == "completed"
    assert driver.state.budget is not None
    assert driver.state.budget.reserved == {}


@pytest.mark.parametrize(("own", "attempt", "all_attempts"), [(None, 60, 3600), (5, 7, 3600), (4_000, 4_002, 8_004)])
def test_a_tool_takes_as_long_as_it_may(own: float | None, attempt: float, all_attempts: float) -> None:
    call = ToolCallRequest(call_id="c", tool="t", timeout_seconds=own)
    driver = MachineDriver(document(agent("a")), agents=agents(call)).run()
    (found,) = [
        command.timeouts
        for command in driver.commands
        if isinstance(command, cm.ScheduleActivity) and command.activity == "call_tool"
    ]
    assert (found.start_to_close, found.schedule_to_close) == (attempt, all_attempts)


def calling(*requests: ToolCallRequest) -> Callable[[cm.ScheduleActivity, int], Play]:
    """Return how agents go that ask for one of these tools in each turn of their first two tries, then give up."""
    left = list(requests)

    def play(command: cm.ScheduleActivity, begin: int) -> Play:
        request = command.arguments[0]
        if isinstance(request, CallToolInput):
            return Play(result="found")
        if not left or left[0].call_id == "stop":
            del left[:1]
            return Play(error="boom")
        return Play(result=InvokeModelResult(max_turns=9, tool_calls=[left.pop(0)]))

    return play


def test_a_loop_that_is_begun_again_keeps_the_keys_of_what_it_asks_for_again() -> None:
    def asks(name: str, **arguments: Any) -> ToolCallRequest:
        return ToolCallRequest(call_id=name, tool=name, arguments=arguments)

    first = asks("pay", cents=1, to="ann"), asks("look"), asks("look"), asks("stop")
    again = asks("look"), asks("pay", to="ann", cents=1), asks("pay", cents=2, to="ann"), asks("stop")
    steps = document(agent("a", on_error=[{"errors": ["*"], "park": True}]))
    driver = MachineDriver(steps, agents=calling(*first, *again)).run()
    driver.feed(ev.ParkedStepRepaired("a", "retry", None))
    driver.run()
    asked = [
        command.arguments[0].call.idempotency_key
        for command in driver.commands
        if isinstance(command, cm.ScheduleActivity) and isinstance(command.arguments[0], CallToolInput)
    ]
    paid, looked, looked_again = asked[:3]
    assert len(set(asked[:3])) == 3
    assert asked[3:5] == [looked, paid]
    assert asked[5] not in asked[:5]
    assert paid.startswith("ex-1/a/pay:") and looked_again == looked.replace(".0", ".1")
