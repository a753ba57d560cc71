"""The interpreter and a second, independent reading of the language agree on random definitions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.execution import events as ev
from orchestrator.execution.messages import ErrorInfo
from tests.support.machine_driver import BEGIN, MachineDriver
from tests.support.properties import looked_through
from tests.unit.execution.generated_documents import documents, script_of
from tests.unit.execution.reference_model import Reference
from tests.unit.execution.reference_parts import NEVER, SECOND, Ambiguous, Error

RELAXED = looked_through(250)


def shown(error: ErrorInfo | Error | None) -> tuple[str, str | None, str | None] | None:
    """Return what is compared of an error; the page does not say which E_ code an expression gives."""
    if error is None:
        return None
    kind = "E" if error.type.startswith("E_") else error.type
    return (kind, None, None) if kind in ("compensation-failed", "cancelled") else (kind, error.step, error.via)


def compare(document: dict[str, Any], seed: int, cancel_at: int = NEVER, restore_every: int = 3) -> None:
    """Run a definition both ways."""
    script = script_of(seed)
    try:
        outcome, root, variables = Reference(document, script).run(cancel_at)
    except Ambiguous:
        assume(False)
    messages = [(cancel_at / SECOND, ev.CancelRequested())] if cancel_at < NEVER else []
    driver = MachineDriver(document, script, messages=messages, restore_every=restore_every).run()
    state = driver.state
    began = [((BEGIN + timedelta(seconds=at) - BEGIN) // timedelta(microseconds=1), path) for path, at in driver.began]
    assert sorted(began) == sorted(root.trace.starts)
    states = driver.all_states()
    assert {path: states[path] for path in root.trace.states} == root.trace.states
    assert state.outcome == outcome, state.error
    assert shown(state.error) == shown(root.error if outcome != "completed" else None)
    assert state.vars == variables
    if outcome == "completed":
        assert state.output == root.output


@RELAXED
@given(documents(blocks=False), st.integers(0, 10_000))
def test_graphs_of_steps_end_as_the_reference_says(document: dict[str, Any], seed: int) -> None:
    compare(document, seed)


@RELAXED
@given(documents(blocks=True), st.integers(0, 10_000))
def test_nested_blocks_end_as_the_reference_says(document: dict[str, Any], seed: int) -> None:
    compare(document, seed)


@RELAXED
@given(documents(blocks=True), st.integers(0, 10_000), st.integers(100, 40_000))
def test_a_cancel_at_any_moment_ends_as_the_reference_says(document: dict[str, Any], seed: int, millis: int) -> None:
    compare(document, seed, millis * 1000 + 1)
