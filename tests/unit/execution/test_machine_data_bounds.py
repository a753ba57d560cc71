"""What an execution holds, and what a block collects, is bounded; each bound has its own error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from orchestrator.definition.limits import COLLECTED_BYTES, LIVE_BYTES
from orchestrator.execution import events as ev
from orchestrator.execution.engine import RETAINED_BYTES
from orchestrator.execution.live_data import json_bytes
from orchestrator.execution.machine import Machine, new_state
from orchestrator.execution.messages import StartExecution, StepResult
from tests.support.machine_driver import Ids, MachineDriver, Play, compiled
from tests.unit.execution.steps import BOOM, Json, agent, document, foreach, switch, value

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MIB = 1024 * 1024


def driven(*steps: Json, outputs: dict[str, Any], patched: bool = True, **fields: Any) -> Machine:
    """Return a machine after every activity that it asked for returned what its path says."""
    definition = compiled(document(*steps, **fields))
    state = new_state(definition, StartExecution(workflow_id="w", input={}), "ex-1", 1)
    machine = Machine(definition, state, Ids(), lambda rule: patched)
    now, waiting = BEGIN, machine.apply(ev.Started(), BEGIN)
    while waiting:
        found = waiting.pop(0)
        identifier = getattr(found, "activity_id", None)
        now += timedelta(seconds=1)
        if identifier is not None and type(found).__name__ == "ScheduleActivity":
            output = outputs[identifier.split("[")[0]]
            waiting += machine.apply(ev.ActivityCompleted(identifier, StepResult(output=output)), now)
        elif type(found).__name__ == "StartTimer" and getattr(found, "timer_id", "") == "~yield":
            machine.new_activation()
            waiting += machine.apply(ev.TimerFired("~yield"), now)
    return machine


def chain(count: int) -> list[Json]:
    return [agent(f"s{n}", depends_on=[f"s{n - 1}"] if n else []) for n in range(count)]


def branches(complete_when: str) -> Json:
    held = {f"b{n}": {"steps": [agent(f"x{n}")]} for n in range(5)}
    return {"step_id": "f", "step_type": "parallel", "complete_when": complete_when, "branches": held}


def error_of(machine: Machine) -> str | None:
    return machine.state.error.type if machine.state.error is not None else None


def test_outputs_are_together_at_most_64_mebibytes() -> None:
    outputs = {f"s{n}": "x" * (9 * MIB) for n in range(8)}
    fine = driven(*chain(7), outputs=outputs, output=1)
    assert (fine.state.outcome, fine.state.live_bytes) == ("completed", 7 * (9 * MIB + 2) + 2)
    over = driven(*chain(8), outputs=outputs, output=1)
    assert (over.state.outcome, error_of(over)) == ("failed", "live-data-too-large")
    assert over.state.error is not None
    assert over.state.error.step == "s7"
    assert over.state.error.details["limit"] == LIVE_BYTES


def test_an_execution_that_was_over_before_the_bound_goes_on() -> None:
    outputs = {f"s{n}": "x" * (9 * MIB) for n in range(8)}
    assert driven(*chain(8), outputs=outputs, output=1, patched=False).state.outcome == "completed"


def test_what_is_too_large_can_be_handled_or_made_smaller() -> None:
    outputs = {f"s{n}": "x" * (9 * MIB) for n in range(8)}
    steps = chain(8)
    steps[7]["on_error"] = [{"errors": ["live-data-too-large"], "output": "left out"}]
    assert driven(*steps, outputs=outputs, output="{{ steps.s7.output }}").state.output == "left out"
    steps = [{**step, "output": "{{ len(result) }}"} for step in chain(8)]
    assert driven(*steps, outputs=outputs).state.outcome == "completed"


def test_variables_count_and_a_new_value_takes_the_place_of_the_old_one() -> None:
    keep: Json = {"step_id": "v", "step_type": "assign", "values": {"x": "{{ input.big }}"}, "output": None}
    loop: Json = {"step_id": "l", "step_type": "loop", "max_iterations": 60, "while": "loop.iteration < 50"}
    definition = compiled(document({**loop, "steps": [keep]}, output=1))
    start = StartExecution(workflow_id="w", input={"big": "x" * (2 * MIB)})
    machine = Machine(definition, new_state(definition, start, "ex-1", 1), Ids())
    machine.apply(ev.Started(), BEGIN)
    while not machine.closed:
        machine.new_activation()
        machine.apply(ev.TimerFired("~yield"), BEGIN)
    assert (machine.state.outcome, machine.state.error) == ("completed", None)
    assert 2 * MIB < machine.state.live_bytes < 5 * MIB
    grow = [{**keep, "step_id": f"v{n}", "values": {f"x{n}": "{{ input.big }}"}} for n in range(40)]
    for number, step in enumerate(grow):
        step["depends_on"] = [f"v{number - 1}"] if number else []
    definition = compiled(document(*grow))
    machine = Machine(definition, new_state(definition, start, "ex-1", 1), Ids())
    machine.apply(ev.Started(), BEGIN)
    while not machine.closed:
        machine.new_activation()
        machine.apply(ev.TimerFired("~yield"), BEGIN)
    assert error_of(machine) == "live-data-too-large"
    assert json_bytes(machine.state.vars) <= LIVE_BYTES


@pytest.mark.parametrize(
    "block",
    [
        foreach("f", "range(0, 5)", agent("x")),
        foreach("f", "range(0, 5)", agent("x"), item_output="{{ steps.x.output }}"),
        branches("all"),
        branches("settled"),
        switch("f", *(agent(f"x{n}") for n in range(5))),
    ],
)
def test_one_collected_output_has_at_most_10_mebibytes(block: Json) -> None:
    names = ["f", "x", *(f"f.x{n}" for n in range(5))]
    over = driven(block, outputs=dict.fromkeys(names, "x" * (3 * MIB)), output=1)
    assert error_of(over) == "collected-output-too-large"
    assert over.state.error is not None
    assert over.state.error.details["limit"] == COLLECTED_BYTES
    fine = driven(block, outputs=dict.fromkeys(names, "x" * (MIB + MIB // 2)), output=1)
    assert fine.state.outcome == "completed"


def test_the_executions_own_map_of_outputs_is_bounded_too() -> None:
    outputs = {f"s{n}": "x" * (3 * MIB) for n in range(4)}
    steps = [agent(f"s{n}") for n in range(4)]
    assert error_of(driven(*steps, outputs=outputs)) == "collected-output-too-large"
    assert driven(*steps, outputs=outputs, output=1).state.outcome == "completed"


def test_one_value_shared_by_many_items_is_counted_for_each() -> None:
    """In memory it is one; written out it would be 10,000."""
    block = foreach("f", "range(0, 10000)", value("x", "{{ input.big }}"), max_concurrency=100)
    definition = compiled(document(block))
    start = StartExecution(workflow_id="w", input={"big": "x" * 100_000})
    machine = Machine(definition, new_state(definition, start, "ex-1", 1), Ids())
    machine.apply(ev.Started(), BEGIN)
    while not machine.closed:
        machine.new_activation()
        machine.apply(ev.TimerFired("~yield"), BEGIN)
    assert error_of(machine) == "collected-output-too-large"


def test_cleaning_up_is_never_held_back() -> None:
    outputs = {f"s{n}": "x" * (9 * MIB) for n in range(8)} | {"undo": "x" * (9 * MIB)}
    steps = chain(8)
    steps[0]["compensate"] = agent("undo")
    over = driven(*steps, outputs=outputs, output=1)
    assert error_of(over) == "live-data-too-large"
    assert over.state.compensation_errors == []


@pytest.mark.parametrize("patched", [True, False])
def test_closed_items_give_their_data_back(patched: bool) -> None:
    block = foreach("f", "range(0, 20)", agent("x"), agent("y"), item_output=1, max_concurrency=2)
    ended = driven(block, outputs={"f": "x" * (4 * MIB)}, patched=patched)
    assert ended.state.outcome == "completed"
    assert ended.state.live_bytes < 100


@pytest.mark.parametrize("script", [{}, {"f[1].x": [BOOM]}, {"f[0].x": [Play(result="x" * 1000)]}])
def test_what_is_counted_is_what_is_held(script: Any) -> None:
    inner: Json = {"step_id": "v", "step_type": "assign", "values": {"n": "{{ index }}"}}
    block = foreach(
        "f", "range(0, 3)", agent("x"), inner, item_output="{{ steps.x.output ?? 0 }}", tolerate={"count": 1}
    )
    state = MachineDriver(document(block, value("t", [1, 2]), output="{{ steps.f.output }}"), script).run().state
    root = state.scopes[""].steps
    held = sum(json_bytes(record.output) for record in root.values()) + json_bytes(state.vars)
    held += sum(json_bytes(record.errors) for record in root.values() if record.errors)
    # A comma too many, and 4 bytes for the null of a failed item.
    assert abs(state.live_bytes - held) <= 6


def test_items_and_what_is_seen_of_them_count_while_their_block_runs() -> None:
    block = foreach("f", "{{ input }}", agent("x"), item_output=1, max_concurrency=2)
    driver = MachineDriver(document(block, output=1), input=["x" * MIB] * 6).run(until=0.5)
    assert 8 * MIB < driver.state.live_bytes < 8 * MIB + 1000
    assert driver.run().state.live_bytes < 100


def test_items_that_are_too_much_fail_their_block() -> None:
    steps = [foreach(f"f{n}", "{{ input }}", agent(f"x{n}"), item_output=1) for n in range(5)]
    over = MachineDriver(document(*steps, output=1), input=["x" * MIB] * 14).run()
    assert error_of(over.machine) == "live-data-too-large"


def test_what_a_compensation_will_see_counts_and_equal_variables_once() -> None:
    steps = [
        agent(f"s{n}", depends_on=[f"s{n - 1}"] if n else [], output=1, compensate=agent(f"undo{n}")) for n in range(3)
    ]
    ended = driven(*steps, outputs={f"s{n}": "x" * MIB for n in range(3)}, vars={"v": "y" * 500_000})
    assert 3 * MIB + 1_000_000 < ended.state.live_bytes < 3 * MIB + 1_001_000


def test_kept_messages_count_and_one_that_finds_no_room_is_dropped() -> None:
    waiting: Json = {"step_id": "w", "step_type": "wait_for_signal", "signal": "go", "accept_when": "result == 1"}
    messages = [(0.1 * n, ev.SignalReceived("go", "x" * (9 * MIB))) for n in range(1, 9)]
    driver = MachineDriver(document(waiting, agent("a", depends_on=["w"])), messages=messages, restore_every=0)
    state = driver.run(until=2).state
    assert (len(state.signals), state.signals_dropped) == (7, 1)
    assert state.live_bytes >= 7 * 9 * MIB
    driver.feed(ev.SignalReceived("go", 1))
    taken = MachineDriver(document(wait_for("w", "go")), messages=[(0.1, ev.SignalReceived("other", "x" * MIB))])
    assert taken.run(until=1).state.live_bytes > MIB


def wait_for(step_id: str, signal: str) -> Json:
    return {"step_id": step_id, "step_type": "wait_for_signal", "signal": signal}


def test_a_kept_message_that_is_taken_gives_its_room_back() -> None:
    later = wait_for("w", "go") | {"depends_on": ["a"], "output": 1}
    driver = MachineDriver(document(agent("a"), later), messages=[(0.1, ev.SignalReceived("go", "x" * MIB))])
    assert driver.run(until=0.5).state.live_bytes > MIB
    assert driver.run().state.live_bytes < 100


def test_closed_iterations_are_kept_for_inspection_as_far_as_there_is_room() -> None:
    loop: Json = {"step_id": "l", "step_type": "loop", "max_iterations": 40, "while": "loop.iteration < 30"}
    block = {**loop, "steps": [agent("x")], "iteration_output": 1}
    state = driven(block, outputs={"l": "x" * (2 * MIB)}, output=1).state
    assert state.outcome == "completed"
    assert 4 <= len(state.retained) <= RETAINED_BYTES // (2 * MIB)
    assert state.retained[-1] == "l[29]:body"


def test_half_of_a_surrogate_pair_has_a_size() -> None:
    assert json_bytes("\ud800") == len('"\\ud800"')
