"""Whatever people do and whenever they do it: every promise holds after every event, and the execution ends."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.execution import events as ev
from orchestrator.execution.state import TERMINAL
from tests.support.machine_driver import MachineDriver
from tests.support.properties import looked_through
from tests.unit.execution.generated_documents import everything, script_of

HOLDERS = ("operator", "workflow")
AFTER_ALL = 10_000.0
"""The deadline has passed by then; the last pauses are taken away."""

PATHS = st.one_of(
    st.builds(lambda number: f"s{number}", st.integers(1, 6)),
    st.builds(lambda outer, inner: f"s{outer}.s{inner}", st.integers(1, 4), st.integers(2, 8)),
    st.builds(
        lambda outer, item, inner: f"s{outer}[{item}].s{inner}", st.integers(1, 4), st.integers(0, 1), st.integers(2, 8)
    ),
)
EVENTS: st.SearchStrategy[ev.Event] = st.one_of(
    st.builds(ev.PauseRequested, st.sampled_from(HOLDERS)),
    st.builds(ev.ResumeRequested, st.sampled_from(HOLDERS)),
    st.builds(ev.SignalReceived, st.sampled_from("st"), st.sampled_from([1, 2, "no", None])),
    st.builds(
        ev.ApprovalGiven, PATHS, st.sampled_from(["approved", "approved", "rejected"]), st.sampled_from(["ann", "bob"])
    ),
    st.builds(ev.ParkedStepRepaired, PATHS, st.sampled_from(["retry", "skip", "set_output"]), st.just(5)),
    st.just(ev.CancelRequested()),
)
MESSAGES = st.lists(st.tuples(st.floats(0, 120), EVENTS), max_size=12)
LAST: list[tuple[float, ev.Event]] = [(AFTER_ALL, ev.ResumeRequested(holder)) for holder in HOLDERS]


@looked_through(200)
@given(everything(), st.integers(0, 10_000), MESSAGES, st.sampled_from([1, 3]))
def test_promises_hold_whatever_people_do(
    document: dict[str, Any], seed: int, messages: list[tuple[float, ev.Event]], restore_every: int
) -> None:
    driver = MachineDriver(document, script_of(seed), messages=[*messages, *LAST], restore_every=restore_every).run()
    assert driver.machine.closed
    # Its own deadline, what is in flight, compensation and an end scope; the pauses come on top.
    assert driver.elapsed < AFTER_ALL + 1_000
    for scope in driver.state.scopes.values():
        assert all(record.state in TERMINAL for record in scope.steps.values())
