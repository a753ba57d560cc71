"""Retries and reruns: what completed is kept, what did not goes on, and nothing shares a key that must not."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution import events as ev
from orchestrator.execution.errors import RequestError
from orchestrator.execution.recovery import rerun, retried
from orchestrator.execution.state import ROOT, TERMINAL, StepRecord
from tests.support.machine_driver import MachineDriver, Play, Script, state_json
from tests.support.properties import looked_through
from tests.unit.execution.generated_documents import documents, everything, script_of
from tests.unit.execution.steps import BOOM, Json, agent, document, foreach, parallel, value, wait
from tests.unit.execution.test_machine_promises import LAST, MESSAGES

WELL: Script = {}


def retry_of(ended: MachineDriver, script: Script = WELL) -> MachineDriver:
    """Run the next attempt of an execution that ended."""
    state = retried(ended.definition, ended.state, "run-1")
    return MachineDriver(ended.document, script, ended.input, recovered=state).run()


def rerun_of(ended: MachineDriver, from_step: str, script: Script = WELL, **edited: Any) -> MachineDriver:
    """Run an execution again from a step."""
    state = rerun(ended.definition, ended.state, "ex-2", from_step, **edited)
    return MachineDriver(ended.document, script, recovered=state).run()


def undo(name: str) -> Json:
    return {"compensate": agent(name)}


# --- retry ------------------------------------------------------------------------------------------------------------


def test_a_retry_runs_what_failed_and_what_follows_with_the_same_keys() -> None:
    steps = [agent("a"), agent("b", depends_on=["a"]), agent("c", depends_on=["b"])]
    ended = MachineDriver(document(*steps), {"b": [BOOM]}).run()
    before = state_json(ended.state)
    again = retry_of(ended)
    assert again.order == ["b", "c"]
    assert again.keys == ["ex-1/b", "ex-1/c"]
    assert (again.state.outcome, again.state.output) == ("completed", {"c": "c"})
    assert (again.state.lineage.retry_of, again.state.lineage.attempt) == ("run-1", 2)
    assert state_json(ended.state) == before


def test_a_retry_that_fails_can_be_retried() -> None:
    ended = MachineDriver(document(agent("a"), agent("b", depends_on=["a"])), {"b": [BOOM]}).run()
    third = retry_of(retry_of(ended, {"b": [BOOM]}))
    assert third.order == ["b"]
    assert third.state.lineage.attempt == 3


def test_items_and_branches_that_completed_are_kept() -> None:
    inner = foreach("f", "[1, 2, 3, 4, 5]", agent("x"), agent("y", depends_on=["x"]), max_concurrency=2)
    sides = parallel("p", left=[agent("l")], right=[inner])
    ended = MachineDriver(document(sides), {"p.f[2].y": [BOOM]}).run()
    assert ended.error_type() == "boom"
    again = retry_of(ended)
    assert not set(ended.order) & set(again.order) - set(ended.cancelled) - {"p.f[2].y"}
    undisturbed = MachineDriver(document(sides)).run()
    assert again.state.output == undisturbed.state.output
    assert Counter(undisturbed.order) == Counter(set(ended.order) | set(again.order))


def test_a_loop_goes_on_with_its_iteration() -> None:
    loop = {
        "step_id": "l",
        "step_type": "loop",
        "until": "loop.iteration == 3",
        "max_iterations": 5,
        "steps": [agent("x"), agent("y", depends_on=["x"])],
    }
    ended = MachineDriver(document(loop), {"l[1].y": [BOOM]}).run()
    assert retry_of(ended).order == ["l[1].y", "l[2].x", "l[2].y", "l[3].x", "l[3].y"]


def test_a_retry_that_closes_an_iteration_waits_once_before_the_next() -> None:
    turn = {"until": "loop.iteration >= 1", "max_iterations": 4, "delay_seconds": 5}
    loop = {"step_id": "l", "step_type": "loop", **turn, "steps": [agent("x"), wait("w", 9, depends_on=["x"])]}
    ended = MachineDriver(document(loop)).run(until=5)
    # The last step of the iteration had completed, and the iteration had not closed.
    state = retried(ended.definition, ended.state, "run-1")
    state.scopes["l[0]:body"].steps["w"] = StepRecord(state="completed", output=None)
    again = MachineDriver(ended.document, recovered=state).run()
    assert (again.order, again.state.outcome) == (["l[1].x"], "completed")


def test_an_end_inside_a_retry_s_beginning_may_close_what_lies_beside_it() -> None:
    turn = {"while": "true", "max_iterations": 1, "delay_seconds": 50, "steps": [agent("x")]}
    loop = {"step_id": "l", "step_type": "loop", **turn}
    ended = MachineDriver(document(foreach("f", "[1, 2]", loop)), {"f[0].l[0].x": [Play(100)]}).run(until=10)
    again = retry_of(ended)
    assert (again.state.outcome, again.error_type()) == ("failed", "loop-exhausted")


def test_an_execution_that_was_terminated_goes_on() -> None:
    steps = [foreach("f", "[1, 2, 3]", agent("x"), wait("w", 5, depends_on=["x"])), agent("last", depends_on=["f"])]
    ended = MachineDriver(document(*steps)).run(until=3)
    assert not ended.machine.closed
    again = retry_of(ended)
    assert again.order == ["last"]
    assert again.state.outcome == "completed"


def test_a_cancelled_execution_goes_on() -> None:
    ended = MachineDriver(document(agent("a"), agent("b", depends_on=["a"])), messages=[(1.5, ev.CancelRequested())])
    again = retry_of(ended.run())
    assert (again.order, again.state.outcome) == (["b"], "completed")


def test_what_was_undone_runs_again_with_a_new_key_and_is_undone_again_under_another() -> None:
    steps = [agent("a", **undo("undo_a")), agent("b", depends_on=["a"]), agent("side"), agent("c", depends_on=["b"])]
    ended = MachineDriver(document(*steps), {"c": [BOOM]}).run()
    assert ended.order == ["a", "side", "b", "c", "undo_a"]
    again = retry_of(ended, {"c": [BOOM]})
    assert again.order == ["a", "b", "c", "undo_a"]
    assert not set(ended.keys) & set(again.keys) - {"ex-1/c"}
    assert again.keys[0] == "ex-1/a#1"


def test_children_of_a_retry_take_new_ids() -> None:
    child = {"step_id": "w", "step_type": "workflow", "workflow_id": "other", "input": {}}
    ended = MachineDriver(document(child), {"w": [BOOM]}).run()
    assert set(ended.keys).isdisjoint(retry_of(ended).keys)


def test_a_retry_of_a_child_has_no_part_in_the_place_of_who_awaited_it() -> None:
    ended = MachineDriver(document(agent("a")), {"a": [BOOM]}).run()
    ended.state.places = ["concurrency/orders/k"]
    assert retried(ended.definition, ended.state, "run-1").places == []


def test_a_failure_that_was_tolerated_or_handled_stays() -> None:
    steps = [
        agent("t", on_error=[{"continue": True}]),
        agent("h", on_error=[{"output": 1}]),
        agent("bad", depends_on=["h"]),
    ]
    ended = MachineDriver(document(*steps), {"t": [BOOM], "h": [BOOM], "bad": [Play(2, error="boom")]}).run()
    assert retry_of(ended).order == ["bad"]


HANDLER = [{"errors": ["*"], "steps": [agent("h1"), agent("h2", depends_on=["h1"])]}]


@pytest.mark.parametrize(
    "step", [agent("f", on_error=HANDLER), foreach("f", "[1, 2]", agent("x"), on_error=HANDLER)], ids=["leaf", "block"]
)
def test_a_retry_goes_on_inside_the_handler_that_failed(step: dict[str, Any]) -> None:
    failing = {"f": [BOOM], "f[1].x": [BOOM], "f.h2": [BOOM]}
    ended = MachineDriver(document(step), failing).run()
    assert ended.error_type() == "boom"
    again = retry_of(ended, {"f.h2": [BOOM]})
    assert (again.order, again.state.outcome) == (["f.h2"], "failed")
    assert again.state.error is not None and again.state.error.cause is not None
    last = retry_of(again)
    assert (last.order, last.state.outcome) == (["f.h2"], "completed")
    assert last.state.scopes[ROOT].steps["f"].handled


def test_the_deadline_of_a_retry_is_its_own() -> None:
    steps = [agent("a"), agent("b", depends_on=["a"])]
    ended = MachineDriver(document(*steps, timeouts={"execution_seconds": 5}), {"b": [Play(60)]}).run()
    assert ended.error_type() == "execution-timeout"
    assert retry_of(ended).state.outcome == "completed"


def test_an_execution_whose_steps_all_completed_fails_again_at_its_output() -> None:
    ended = MachineDriver(document(agent("a"), output="{{ steps.a.output.nothing }}")).run()
    again = retry_of(ended)
    assert (again.order, again.state.outcome) == ([], "failed")


@looked_through(60)
@given(documents(blocks=True), st.integers(0, 10_000), st.floats(0, 40))
def test_whatever_happened_a_retry_repeats_nothing_that_completed(
    source: dict[str, Any], seed: int, stop: float
) -> None:
    """No key that an activity completed under is used again, unless the step was undone."""
    ended = MachineDriver(source, script_of(seed)).run(until=stop)
    if ended.state.outcome == "completed":
        return
    completed = Counter(ended.completed)
    again = MachineDriver(
        source, script_of(seed + 1, failures=0), recovered=retried(ended.definition, ended.state, "r")
    ).run()
    assert again.machine.closed
    assert not set(completed) & set(again.keys)
    for scope in again.state.scopes.values():
        assert all(record.state in TERMINAL for record in scope.steps.values())


@looked_through(25)
@given(everything(), st.integers(0, 10_000), st.lists(st.floats(0, 60), min_size=1, max_size=3), MESSAGES)
def test_retries_of_retries_repeat_nothing_and_the_last_comes_to_its_end(
    source: dict[str, Any], seed: int, stops: list[float], messages: list[tuple[float, ev.Event]]
) -> None:
    driver = MachineDriver(source, script_of(seed), messages=messages, restore_every=0).run(until=stops[0])
    completed = set(driver.completed)
    for number, stop in enumerate([*stops[1:], None], 1):
        if driver.state.outcome == "completed":
            return
        driver = MachineDriver(
            source,
            script_of(seed + number, failures=25 if stop else 0),
            messages=[] if stop else LAST,
            recovered=retried(driver.definition, driver.state, "r"),
            restore_every=0,
        ).run(until=stop)
        assert not completed & set(driver.keys)
        completed |= set(driver.completed)
    assert driver.machine.closed


# --- rerun ------------------------------------------------------------------------------------------------------------


def test_a_rerun_repeats_the_step_and_what_depends_on_it_alone() -> None:
    steps = [agent("a"), agent("b", depends_on=["a"]), agent("c", depends_on=["b"]), agent("side")]
    ended = MachineDriver(document(*steps)).run()
    again = rerun_of(ended, "b")
    assert again.order == ["b", "c"]
    assert again.keys == ["ex-1/ex-2/b#1", "ex-1/ex-2/c#1"]
    assert (again.state.lineage.rerun_of, again.state.lineage.root) == ("ex-1", "ex-1")
    assert again.state.output == {"c": "c", "side": "side"}
    # Each rerun has keys of its own, and so has the rerun of a rerun.
    third = MachineDriver(ended.document, recovered=rerun(again.definition, again.state, "ex-3", "b")).run()
    assert third.keys == ["ex-1/ex-3/b#2", "ex-1/ex-3/c#2"]


def test_a_rerun_sees_edited_outputs_and_input() -> None:
    steps = [agent("a"), value("b", "{{ [steps.a.output, input.x] }}")]
    ended = MachineDriver(document(*steps), input={"x": 1}).run()
    state = rerun(ended.definition, ended.state, "ex-2", "b", outputs={"a": "edited"})
    state.input = {"x": 2}
    again = MachineDriver(ended.document, recovered=state).run()
    assert (again.order, again.state.output) == ([], {"b": ["edited", 2]})


def test_an_output_can_stand_for_a_step_that_failed() -> None:
    steps = [agent("a"), agent("b"), value("c", "{{ [steps.a.output, steps.b.output] }}")]
    ended = MachineDriver(document(*steps), {"b": [Play(2, error="boom")]}).run()
    again = rerun_of(ended, "a", outputs={"b": 7})
    assert (again.order, again.state.output) == (["a"], {"c": ["a", 7]})


def test_a_step_inside_a_block_runs_the_block_again() -> None:
    steps = [foreach("f", "[1, 2]", agent("x")), agent("z")]
    again = rerun_of(MachineDriver(document(*steps)).run(), "f[1].x")
    assert again.order == ["f[0].x", "f[1].x"]


def test_variables_are_as_the_kept_steps_left_them() -> None:
    count: Json = {"step_type": "assign", "values": {"n": "{{ vars.n + 1 }}"}}
    steps = [{"step_id": "one", **count}, {"step_id": "two", "depends_on": ["one"], **count}]
    ended = MachineDriver(document(*steps, vars={"n": 0})).run()
    assert ended.state.vars == {"n": 2}
    assert rerun_of(ended, "two").state.vars == {"n": 2}
    assert rerun_of(ended, "one").state.vars == {"n": 2}


def test_a_rerun_undoes_nothing_that_the_first_execution_did() -> None:
    steps = [agent("a", **undo("undo_a")), agent("b", depends_on=["a"], **undo("undo_b")), agent("c", depends_on=["b"])]
    again = rerun_of(MachineDriver(document(*steps)).run(), "b", {"c": [BOOM]})
    assert again.order == ["b", "c", "undo_b"]


@pytest.mark.parametrize(
    ("from_step", "outputs", "code", "hint"),
    [
        ("enrch", {}, "unknown-step", "did you mean 'enrich'?"),
        ("f[0].y", {}, "unknown-step", "did you mean 'x'?"),
        ("enrich[0]", {}, "unknown-step", ""),
        ("skipped", {}, "step-never-ran", "steps that ran: enrich, f, after"),
        ("enrich", {"after": 1}, "invalid-output-path", ""),
        ("enrich", {"f[0].x": 1}, "invalid-output-path", ""),
        ("enrich", {"ff": 1}, "unknown-step", "did you mean 'f'?"),
    ],
)
def test_what_cannot_be_rerun_is_named(from_step: str, outputs: dict[str, Any], code: str, hint: str) -> None:
    steps = [
        agent("enrich"),
        foreach("f", "[1]", agent("x")),
        agent("after", depends_on=["enrich"]),
        value("skipped", when=False),
    ]
    ended = MachineDriver(document(*steps)).run()
    with pytest.raises(RequestError) as raised:
        rerun(ended.definition, ended.state, "ex-2", from_step, outputs)
    assert [issue.code for issue in raised.value.issues] == [code]
    assert hint in (raised.value.hint or "")


def test_a_rerun_opens_the_handler_of_a_failed_condition_beside_the_one_that_closed() -> None:
    steps = [agent("a"), agent("b", when="steps.a.output > 20", depends_on=["a"], on_error=HANDLER)]
    ended = MachineDriver(document(*steps)).run()
    again = rerun_of(ended, "a")
    assert ended.order == again.order == ["a", "b.h1", "b.h2"]
    assert {"b:handler:0", "b:handler:0#1"} <= set(again.state.scopes)


def test_a_step_whose_condition_failed_into_its_handler_can_be_run_again() -> None:
    step = agent("b", when="input.bad > 1", on_error=[{"steps": [agent("h")]}])
    ended = MachineDriver(document(step)).run()
    assert (ended.order, ended.state.outcome) == (["b.h"], "completed")
    assert rerun_of(ended, "b").keys == ["ex-1/ex-2/b.h#1"]


def test_a_closed_scope_of_a_branch_that_lost_keeps_nobody_from_a_retry() -> None:
    inner = parallel("p", i1=[agent("x", when="input.nope")], i2=[agent("y")])
    outer = parallel("q", "any", b1=[agent("s"), inner], b2=[value("w")])
    slow = {path: [Play(50, cancel_seconds=5)] for path in ("q.s", "q.p.y")}
    ended = MachineDriver(document(outer), slow).run(until=1)
    assert not ended.machine.closed
    assert retry_of(ended).state.outcome == "completed"


def test_a_retry_goes_on_in_the_handler_of_a_step_whose_condition_failed() -> None:
    step = agent("b", when="input.bad > 1", on_error=[{"steps": [agent("h1"), agent("h2", depends_on=["h1"])]}])
    ended = MachineDriver(document(step), {"b.h2": [Play(60)]}).run(until=5)
    again = retry_of(ended)
    assert (again.order, again.state.outcome) == (["b.h2"], "completed")


@looked_through(60)
@given(documents(blocks=True), st.integers(0, 10_000), st.data())
def test_whatever_happened_a_rerun_comes_to_its_end(source: dict[str, Any], seed: int, data: st.DataObject) -> None:
    ended = MachineDriver(source, script_of(seed)).run()
    ran = [step_id for step_id, record in ended.state.scopes[""].steps.items() if record.started_at is not None]
    if not ran:
        return
    first = data.draw(st.sampled_from(ran))
    before = deepcopy(ended.state)
    again = MachineDriver(
        source, script_of(seed + 1, failures=0), recovered=rerun(ended.definition, ended.state, "ex-2", first)
    ).run()
    assert again.machine.closed
    assert not set(ended.keys) & set(again.keys)
    assert state_json(before) == state_json(ended.state)
    for scope in again.state.scopes.values():
        assert all(record.state in TERMINAL for record in scope.steps.values())


def test_a_bound_of_one_run_ends_it_before_its_definition_does() -> None:
    driver = MachineDriver(document(agent("a"), timeouts={"execution_seconds": 50}), {"a": [Play(100)]})
    driver.state.execution_seconds = 5.0
    assert driver.run().elapsed == 5.0
