"""Agents that call tools, repair, fall back and run out of budget: the promises hold whatever people do meanwhile."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution import events as ev
from orchestrator.execution.messages import BudgetRaise
from orchestrator.execution.state import TERMINAL
from tests.support.machine_driver import MachineDriver
from tests.support.properties import looked_through
from tests.unit.execution.generated_documents import everything, script_of
from tests.unit.execution.generated_loops import loops_of
from tests.unit.execution.test_machine_promises import AFTER_ALL, EVENTS, LAST, PATHS

CALLS = st.builds(lambda path, turn, number: f"{path}:t{turn}.{number}", PATHS, st.integers(0, 2), st.integers(0, 3))
TOLD: st.SearchStrategy[ev.Event] = st.one_of(
    EVENTS,
    st.builds(ev.ApprovalGiven, CALLS, st.sampled_from(["approved", "approved", "rejected"]), st.just("ann")),
    st.builds(
        ev.BudgetRaised,
        st.builds(BudgetRaise, tokens=st.just(2_000), model_calls=st.integers(1, 2), tool_calls=st.integers(1, 2)),
    ),
)
MESSAGES = st.lists(st.tuples(st.floats(0, 120), TOLD), max_size=16)


@looked_through(200)
@given(everything(loops=True), st.integers(0, 10_000), MESSAGES, st.sampled_from([1, 3]))
def test_promises_hold_for_agents_in_loops(
    document: dict[str, Any], seed: int, messages: list[tuple[float, ev.Event]], restore_every: int
) -> None:
    script = script_of(seed)
    driver = MachineDriver(
        document,
        script,
        messages=[*messages, *LAST],
        restore_every=restore_every,
        agents=loops_of(seed, script),
    ).run()
    assert driver.machine.closed
    assert driver.elapsed < AFTER_ALL + 1_000
    assert driver.state.budget is None or not driver.state.budget.reserved
    for scope in driver.state.scopes.values():
        assert all(record.state in TERMINAL for record in scope.steps.values())
